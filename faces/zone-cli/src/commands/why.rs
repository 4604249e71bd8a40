//! `why`: what was decided about one request, by which line of which policy.

use clap::Command;
use serde_json::{Value, json};

use super::trail::{Auth, Entry, Evidence, evidence};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::table::{columns, row};
use crate::spec::{formatted, leaf, required};

pub(super) fn describe() -> Command {
    let command = leaf(
        "why",
        "Tell why a request was allowed or denied",
        "Reads audit files; no server is asked. Tells who asked for what, when and from where, what \
         the policies said and by which line of which policy, and what came of it. Answers carry \
         their request_id; those without one are found with 'audit search'. The exit code is 0 if \
         the request is found and the files are intact, 2 if not, 1 if a file cannot be read.",
        "zonehead why 3f9c0a1b-2c3d-4e5f-8a9b-0c1d2e3f4a5b audit.log audit.log.*
         zonehead why -key=checkpoint.pem 3f9c0a1b-2c3d-4e5f-8a9b-0c1d2e3f4a5b audit.log",
    );
    formatted(evidence(command.arg(required(
        "id",
        "REQUEST_ID",
        "The request_id of the answer.",
    ))))
}

pub(super) async fn run(cx: Context<'_>) -> Outcome {
    let output = cx.output()?;
    let wanted = cx.required("id").trim().to_ascii_lowercase();
    if wanted.is_empty() {
        return Err(Failure::usage("Name the request by its request_id"));
    }
    let evidence = Evidence::of(&cx, cx.all("files"))?;
    let mut lines = Vec::new();
    evidence.each(|entry| {
        if entry.request.id == wanted {
            lines.push(entry);
        }
    })?;
    let intact = evidence.report.is_intact();
    if !intact && !cx.is_on("unverified") {
        let text = format!("The trail is {}.", evidence.verdict());
        cx.console.warn(&text)?;
    }
    let Some(case) = Case::of(&lines) else {
        cx.console.warn("No line is about that request.")?;
        return Ok(2);
    };
    if output.is_table() {
        cx.console
            .print(&columns(&case.rows(&evidence.verdict())))?;
    } else {
        output.value(cx.console, &case.document(&evidence))?;
    }
    Ok(if intact { 0 } else { 2 })
}

/// The lines about one request.
struct Case<'a> {
    request: &'a Entry,
    response: Option<&'a Entry>,
}

impl<'a> Case<'a> {
    fn of(lines: &'a [Entry]) -> Option<Self> {
        let of_kind = |kind| lines.iter().find(|line| line.kind == kind);
        let response = of_kind("response");
        Some(Self {
            request: of_kind("request").or(response)?,
            response,
        })
    }

    fn auth(&self) -> Option<&Auth> {
        self.request.auth.as_ref()
    }

    fn rows(&self, verdict: &str) -> Vec<Vec<String>> {
        let asked = &self.request.request;
        let who = self.auth().map_or_else(nobody, who);
        let policies = self.auth().map(considered).unwrap_or_default();
        vec![
            row("Request", &asked.id),
            row("When", &self.request.time.to_string()),
            row("Who", &who),
            row("From", &self.from()),
            row("What", &self.what()),
            row("Policies", &policies.join(", ")),
            row("Decision", &self.decision()),
            row("Rule", &self.rule()),
            row("Outcome", &self.outcome()),
            row("Trail", verdict),
        ]
    }

    fn from(&self) -> String {
        let asked = &self.request.request;
        let agent = asked.headers["user-agent"][0].as_str();
        let agent = agent.map(|agent| format!(", {agent}"));
        format!(
            "{} port {}{}",
            asked.remote_address,
            asked.remote_port,
            agent.unwrap_or_default()
        )
    }

    fn what(&self) -> String {
        let asked = &self.request.request;
        let mut text = format!("{} {}", asked.operation, asked.path);
        if !asked.mount_point.is_empty() {
            text += &format!(" (mount {}, {})", asked.mount_point, asked.mount_type);
        }
        if asked.wrap_ttl > 0 {
            text += &format!(", wrapped for {}s", asked.wrap_ttl);
        }
        text
    }

    fn decision(&self) -> String {
        let why = self
            .request
            .error
            .as_deref()
            .unwrap_or("no reason recorded");
        match self.auth().and_then(|auth| auth.policy_results.as_ref()) {
            Some(results) if results.allowed => "allowed".to_owned(),
            Some(_) => format!("denied: {why}"),
            // An open endpoint, or a token that did not count: no policy was asked.
            None if self.request.error.is_some() && self.response.is_none() => {
                format!("refused before any policy was asked: {why}")
            }
            None => "no policy was asked".to_owned(),
        }
    }

    fn rule(&self) -> String {
        let results = self.auth().and_then(|auth| auth.policy_results.as_ref());
        match results {
            Some(results) => results
                .rule
                .clone()
                .unwrap_or_else(|| "none matches".to_owned()),
            None => String::new(),
        }
    }

    fn outcome(&self) -> String {
        match self.response {
            Some(line) => {
                let status = line.response.as_ref().map_or(0, |response| response.status);
                let error = line.error.as_deref();
                let error = error.map(|error| format!(": {error}")).unwrap_or_default();
                format!("status {status}{error}")
            }
            None if self.request.error.is_some() => "not served".to_owned(),
            None => "no answer was recorded: it ran, but the client got none, or the head ended"
                .to_owned(),
        }
    }

    fn document(&self, evidence: &Evidence) -> Value {
        let asked = &self.request.request;
        let auth = self.auth();
        let results = auth.and_then(|auth| auth.policy_results.as_ref());
        json!({
            "request_id": asked.id,
            "time": self.request.time,
            "display_name": auth.map(|auth| auth.display_name.as_str()),
            "accessor": auth.map(|auth| auth.accessor.as_str()),
            "entity_id": auth.map(|auth| auth.entity_id.as_str()),
            "policies": auth.map(considered),
            "remote_address": asked.remote_address,
            "operation": asked.operation,
            "path": asked.path,
            "mount_point": asked.mount_point,
            "allowed": results.map(|results| results.allowed),
            "rule": results.and_then(|results| results.rule.as_deref()),
            "error": self.request.error,
            "status": self.response.and_then(|line| line.response.as_ref()).map(|part| part.status),
            "outcome": self.outcome(),
            "trail": evidence.verdict(),
        })
    }
}

fn nobody() -> String {
    "a caller without a token that counts".to_owned()
}

fn who(auth: &Auth) -> String {
    let mut text = format!("{} ({} token", auth.display_name, auth.token_type);
    if !auth.entity_id.is_empty() {
        text += &format!(", entity {}", auth.entity_id);
    }
    text + &format!(", accessor {})", auth.accessor)
}

/// The policies that were considered.
fn considered(auth: &Auth) -> Vec<String> {
    let mut names = auth.policies.clone();
    for name in &auth.identity_policies {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}
