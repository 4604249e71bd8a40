//! `policy test`: cases from a file, judged by the rules that the head judges by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Command;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zone_policy::{Acl, Ask, Decision, Identity, Operation, Policy};
use zone_types::{RequestPath, parse_duration};

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::table::table;
use crate::spec::{formatted, leaf, rest, switch};

pub(super) fn describe() -> Command {
    let command = leaf(
        "test",
        "Judge cases from a file by policies from files",
        "No server is asked. Each case names a path, an operation and what must come out; the rules \
         are those of the head. The form of the file (TOML, or YAML by its name) is in \
         docs/how-to/policies.md. The exit code is 0 if every case comes out as expected, 2 if one \
         does not, 1 if a file cannot be used.",
        "zonehead policy test policies/tests.toml
         zonehead policy test -failed policies/*.toml",
    );
    formatted(command.args([
        switch("failed", "Show only the cases that came out otherwise."),
        rest("files", "FILES", "Files with cases.").required(true),
    ]))
}

pub(super) async fn run(cx: Context<'_>) -> Outcome {
    let output = cx.output()?;
    let mut judged = Vec::new();
    for file in cx.all("files") {
        let file = PathBuf::from(file);
        let suite = Suite::load(&file)
            .map_err(|text| Failure::usage(format!("{}: {text}", file.display())))?;
        judged.extend(
            suite
                .judge()
                .map_err(|text| Failure::usage(format!("{}: {text}", file.display())))?,
        );
    }
    let failed = judged.iter().filter(|case| !case.passed()).count();
    let total = judged.len();
    if cx.is_on("failed") {
        judged.retain(|case| !case.passed());
    }
    if output.is_table() {
        if !judged.is_empty() {
            let titles = ["", "Case", "Operation", "Path", "Expected", "Got", "Rule"];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            rows.extend(judged.iter().map(Judged::row));
            cx.console.print(&table(&rows))?;
            cx.console.print("")?;
        }
        cx.console.print(&format!(
            "{} of {total} cases came out as expected",
            total - failed
        ))?;
    } else {
        let cases: Vec<Value> = judged.iter().map(Judged::document).collect();
        output.value(
            cx.console,
            &json!({ "cases": cases, "failed": failed, "total": total }),
        )?;
    }
    Ok(if failed == 0 { 0 } else { 2 })
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Name to file, relative to this one.
    policies: BTreeMap<String, PathBuf>,
    #[serde(default, rename = "case")]
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    name: String,
    /// Those of the caller; all of the file if absent.
    policies: Option<Vec<String>>,
    path: String,
    operation: Operation,
    #[serde(default)]
    parameters: Map<String, Value>,
    wrap_ttl: Option<String>,
    entity: Option<Entity>,
    expect: Verdict,
    /// `policy:line`, `policy`, or `none`.
    by: Option<String>,
    sudo: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entity {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Allow,
    Deny,
}

struct Suite {
    file: File,
    policies: BTreeMap<String, Policy>,
}

/// One case and what came out.
struct Judged {
    name: String,
    operation: &'static str,
    path: String,
    expected: String,
    got: String,
    rule: String,
    /// What is otherwise; empty if nothing is.
    differences: Vec<&'static str>,
}

impl Suite {
    fn load(path: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        let yaml = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        let file: File = match yaml {
            true => serde_saphyr::from_str(&text).map_err(|error| error.to_string())?,
            false => toml::from_str(&text).map_err(|error| error.to_string())?,
        };
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut policies = BTreeMap::new();
        for (name, place) in &file.policies {
            let place = beside.join(place);
            let text = std::fs::read_to_string(&place)
                .map_err(|error| format!("{}: cannot be read: {error}", place.display()))?;
            let policy = Policy::parse(name, &text)
                .map_err(|fault| format!("{}: {fault}", place.display()))?;
            policies.insert(name.clone(), policy);
        }
        if file.cases.is_empty() {
            return Err("holds no [[case]]".to_owned());
        }
        Ok(Self { file, policies })
    }

    fn judge(&self) -> Result<Vec<Judged>, String> {
        let cases = self.file.cases.iter().enumerate();
        cases
            .map(|(at, case)| {
                let judged = self.judge_one(case);
                judged.map_err(|text| format!("case {} ({}): {text}", at + 1, case.name))
            })
            .collect()
    }

    fn judge_one(&self, case: &Case) -> Result<Judged, String> {
        let mut path = RequestPath::from_text(&case.path).map_err(|fault| fault.to_string())?;
        if case.operation == Operation::List {
            path = path.as_prefix();
        }
        let wrap_ttl = case.wrap_ttl.as_deref().map(parse_duration).transpose();
        let acl = self.acl(case)?;
        let decision = acl.check(&Ask {
            path: &path,
            operation: case.operation,
            parameters: (!case.parameters.is_empty()).then_some(&case.parameters),
            wrap_ttl: wrap_ttl.map_err(|fault| format!("wrap_ttl: {fault}"))?,
        });
        Ok(case.compare(&path, &decision))
    }

    fn acl(&self, case: &Case) -> Result<Acl, String> {
        let all = || self.policies.keys().cloned().collect();
        let names: Vec<String> = case.policies.clone().unwrap_or_else(all);
        if names.iter().any(|name| name == "root") {
            return Ok(Acl::root());
        }
        let mut policies = Vec::new();
        for name in &names {
            let policy = self.policies.get(name);
            policies.push(policy.ok_or_else(|| format!("no policy '{name}' in this file"))?);
        }
        let identity = case.entity.as_ref().map(|entity| Identity {
            id: entity.id.clone(),
            name: entity.name.clone(),
            metadata: entity.metadata.clone(),
            ..Identity::default()
        });
        Ok(Acl::compile_for(policies.into_iter(), identity.as_ref()))
    }
}

impl Case {
    fn compare(&self, path: &RequestPath, decision: &Decision<'_>) -> Judged {
        let mut differences = Vec::new();
        if decision.allowed != (self.expect == Verdict::Allow) {
            differences.push("verdict");
        }
        if self.by.as_deref().is_some_and(|by| !is_by(decision, by)) {
            differences.push("rule");
        }
        if self.sudo.is_some_and(|sudo| sudo != decision.sudo) {
            differences.push("sudo");
        }
        let got = match decision.denied_because {
            None if decision.sudo => "allow, sudo".to_owned(),
            None => "allow".to_owned(),
            Some(denial) => format!("deny: {denial}"),
        };
        Judged {
            name: self.name.clone(),
            operation: self.operation.as_str(),
            path: path.as_str().to_owned(),
            expected: self.expected(),
            got,
            rule: decision
                .rule
                .map_or_else(|| "none".to_owned(), |rule| rule.to_string()),
            differences,
        }
    }

    fn expected(&self) -> String {
        let mut text = match self.expect {
            Verdict::Allow => "allow".to_owned(),
            Verdict::Deny => "deny".to_owned(),
        };
        match self.sudo {
            Some(true) => text += ", sudo",
            Some(false) => text += ", no sudo",
            None => {}
        }
        if let Some(by) = &self.by {
            text += &format!(" by {by}");
        }
        text
    }
}

/// Whether the rule that decided is `policy:line`, from `policy`, or `none`.
fn is_by(decision: &Decision<'_>, by: &str) -> bool {
    let Some(rule) = &decision.rule else {
        return by == "none";
    };
    match by.rsplit_once(':') {
        Some((policy, line)) => {
            let line = line.parse().ok();
            rule.lines()
                .any(|(name, at)| name == policy && line.is_some() && at == line)
        }
        None => rule.policies().any(|name| name == by),
    }
}

impl Judged {
    fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    fn row(&self) -> Vec<String> {
        let mark = match self.passed() {
            true => "ok".to_owned(),
            false => format!("FAILED ({})", self.differences.join(", ")),
        };
        vec![
            mark,
            self.name.clone(),
            self.operation.to_owned(),
            self.path.clone(),
            self.expected.clone(),
            self.got.clone(),
            self.rule.clone(),
        ]
    }

    fn document(&self) -> Value {
        json!({
            "name": self.name,
            "operation": self.operation,
            "path": self.path,
            "expected": self.expected,
            "got": self.got,
            "rule": self.rule,
            "passed": self.passed(),
            "differences": self.differences,
        })
    }
}
