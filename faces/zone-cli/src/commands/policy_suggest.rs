//! `policy suggest`: the least policy that a trail justifies.
//!
//! What must hold: the policy allows each request that the trail shows as allowed by a policy, and
//! without `-fold` nothing else; a trail that is not proved is refused unless the operator says
//! so, since whoever can write it would write the policy.

use std::collections::{BTreeMap, BTreeSet};

use clap::Command;
use serde_json::{Value, json};
use zone_access::open;
use zone_policy::Policy;
use zone_types::{Timestamp, parse_duration};

use super::trail::{Entry, Evidence, evidence};
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, flag, formatted, leaf, number};

/// What the trail says of requests that no policy was needed for.
const OPEN: &str = "open endpoint";

pub(super) fn describe() -> Command {
    let command = leaf(
        "suggest",
        "Write the least policy that an audit trail justifies",
        "Reads audit files and prints a policy with exactly the paths and operations that policies \
         allowed to one entity, one token or one display name. Denied requests are counted and not \
         in it. Refuses files that do not verify, or without -key, unless -unverified is given: \
         whoever can write the files would write the policy. Read it before you use it.",
        "zonehead policy suggest -entity=7d2e3179-f69b-450c-7179-ac8ee8bd8ca9 -since=30d -key=302a… audit.log audit.log.*
         zonehead policy suggest -display-name=approle -fold=5 -unverified audit.log",
    );
    let command = command.args([
        flag("entity", "id", "Whose requests: an entity's id."),
        flag(
            "token-accessor",
            "accessor",
            "Whose requests: a token's accessor, as its HMAC; in the clear with -device.",
        ),
        flag(
            "display-name",
            "name",
            "Whose requests: a token's display name.",
        ),
        flag(
            "device",
            "name",
            "The audit device whose key makes the accessor's HMAC (sys/audit-hash).",
        ),
        flag(
            "since",
            "duration",
            "Only requests of the last … (30d, 12h). Default: all.",
        ),
        number(
            "fold",
            "Fold at least so many siblings with the same capabilities into +, and what repeats at \
             two depths into *. Grants more than the trail shows. Default: never.",
        ),
    ]);
    connected(formatted(evidence(command)))
}

pub(super) async fn run(mut cx: Context<'_>) -> Outcome {
    let output = cx.output()?;
    let fold = fold_of(&cx)?;
    let since = since_of(&cx)?;
    let whose = Whose::of(&mut cx).await?;
    let evidence = Evidence::of(&cx, cx.all("files"))?;
    if !evidence.is_proved() && !cx.is_on("unverified") {
        let text = format!(
            "The trail is {}. Give -key and whole files, or -unverified to take it as it is",
            evidence.verdict()
        );
        return Err(Failure::failed(text));
    }
    let mut uses = Uses::default();
    evidence.each(|entry| {
        if since.is_none_or(|since| entry.time >= since) && whose.asked(&entry) {
            uses.take(&entry);
        }
    })?;
    if uses.grants.is_empty() {
        cx.console
            .warn("The trail shows no request that a policy allowed to them.")?;
        return Ok(2);
    }
    let rules = match fold {
        Some(least) => folded(uses.rules(), least),
        None => uses.rules(),
    };
    let text = written(&whose, &evidence, &uses, &rules, fold);
    if output.is_table() {
        cx.console.print(text.trim_end())?;
    } else {
        let paths: Vec<&str> = rules.keys().map(String::as_str).collect();
        let document = json!({
            "policy": text,
            "paths": paths,
            "requests": uses.requests,
            "denied": uses.denied,
            "left_out": uses.inexpressible,
            "trail": evidence.verdict(),
        });
        output.value(cx.console, &document)?;
    }
    for path in &uses.inexpressible {
        let text = format!("No pattern means just this path, so it is left out: {path}");
        cx.console.warn(&text)?;
    }
    Ok(0)
}

fn fold_of(cx: &Context<'_>) -> Result<Option<usize>, Failure> {
    match cx.number("fold") {
        None => Ok(None),
        Some(least) => match usize::try_from(least) {
            Ok(least) if least >= 2 => Ok(Some(least)),
            _ => Err(Failure::usage(
                "-fold wants a number of siblings, 2 or more",
            )),
        },
    }
}

fn since_of(cx: &Context<'_>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = cx.text("since") else {
        return Ok(None);
    };
    let span = parse_duration(text).map_err(|fault| Failure::usage(format!("-since: {fault}")))?;
    Ok(Some((cx.console.clock)().minus(span)))
}

/// Whose requests are looked for.
enum Whose {
    Entity(String),
    Accessor(String),
    DisplayName(String),
}

impl Whose {
    async fn of(cx: &mut Context<'_>) -> Result<Self, Failure> {
        let given = {
            let text = |name| {
                let text = cx.text(name).filter(|text| !text.is_empty());
                text.map(str::to_owned)
            };
            (text("entity"), text("token-accessor"), text("display-name"))
        };
        match given {
            (Some(id), None, None) => Ok(Self::Entity(id)),
            (None, None, Some(name)) => Ok(Self::DisplayName(name)),
            (None, Some(accessor), None) => Ok(Self::Accessor(hashed(cx, accessor).await?)),
            _ => Err(Failure::usage(
                "Give one of -entity, -token-accessor and -display-name",
            )),
        }
    }

    fn asked(&self, entry: &Entry) -> bool {
        let Some(auth) = &entry.auth else {
            return false;
        };
        match self {
            Self::Entity(id) => auth.entity_id == *id,
            Self::Accessor(accessor) => auth.accessor == *accessor,
            Self::DisplayName(name) => auth.display_name == *name,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Entity(id) => format!("the entity {id:?}"),
            Self::Accessor(accessor) => format!("the token with the accessor {accessor:?}"),
            Self::DisplayName(name) => format!("tokens with the display name {name:?}"),
        }
    }
}

/// The accessor as it stands in the lines.
async fn hashed(cx: &mut Context<'_>, accessor: String) -> Result<String, Failure> {
    let Some(device) = cx.text("device").map(|device| trimmed(device).to_owned()) else {
        return Ok(accessor);
    };
    let body = json!({ "input": accessor });
    let path = format!("sys/audit-hash/{device}");
    let reply = cx.client()?.write(&path, &body).await;
    let reply = reply.map_err(Failure::of("Error hashing the accessor"))?;
    let hash = reply.as_ref().and_then(|reply| reply.field("hash"));
    match hash.and_then(Value::as_str) {
        Some(hash) => Ok(hash.to_owned()),
        None => Err(Failure::failed("Error hashing the accessor: no answer")),
    }
}

/// Patterns and what they are to allow.
type Rules = BTreeMap<String, BTreeSet<String>>;

/// What was found.
#[derive(Default)]
struct Uses {
    grants: Rules,
    requests: u64,
    denied: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Paths that a pattern would read as a wildcard.
    inexpressible: BTreeSet<String>,
}

impl Uses {
    fn take(&mut self, entry: &Entry) {
        let results = entry
            .auth
            .as_ref()
            .and_then(|auth| auth.policy_results.as_ref());
        let (Some(results), "request") = (results, entry.kind.as_str()) else {
            return;
        };
        if !results.allowed {
            self.denied += 1;
            return;
        }
        if results.rule.as_deref() == Some(OPEN) {
            return;
        }
        self.requests += 1;
        self.first = Some(self.first.map_or(entry.time, |first| first.min(entry.time)));
        self.last = Some(self.last.map_or(entry.time, |last| last.max(entry.time)));
        let asked = &entry.request;
        if !is_literal(&asked.path) {
            self.inexpressible.insert(asked.path.clone());
            return;
        }
        let capabilities = self.grants.entry(asked.path.clone()).or_default();
        capabilities.insert(asked.operation.clone());
        if needs_sudo(entry) {
            capabilities.insert("sudo".to_owned());
        }
    }

    fn rules(&self) -> Rules {
        self.grants.clone()
    }
}

/// Whether a pattern of that text means the path and nothing else: no wildcard, no template. Whoever
/// chooses paths must not thereby choose patterns.
fn is_literal(path: &str) -> bool {
    let wild = path.contains('*') || path.split('/').any(|segment| segment == "+");
    let text = stanza(path, "\"read\"");
    let read = Policy::parse("one", &text);
    read.is_ok_and(|policy| {
        !wild && !policy.has_templates() && policy.patterns().eq(std::iter::once(path))
    })
}

fn stanza(path: &str, capabilities: &str) -> String {
    let path = path.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\npath \"{path}\" {{\n  capabilities = [{capabilities}]\n}}")
}

/// Whether the endpoint needs sudo on top of its capability.
fn needs_sudo(entry: &Entry) -> bool {
    let asked = &entry.request;
    let rest = asked.path.strip_prefix(asked.mount_point.as_str());
    let kinds = open::SUDO.iter().map(|(kind, _)| *kind);
    let mut of_type = kinds.filter(|kind| kind.as_str() == asked.mount_type);
    rest.is_some_and(|rest| of_type.any(|kind| open::needs_sudo(kind, rest)))
}

/// Folds siblings from the last segment to the first, then what repeats at two depths.
fn folded(mut rules: Rules, least: usize) -> Rules {
    let depth = rules.keys().map(|path| path.split('/').count()).max();
    for from_end in 0..depth.unwrap_or(0) {
        rules = folded_at(rules, from_end, least);
    }
    let deep: Vec<(String, BTreeSet<String>)> = rules
        .iter()
        .filter_map(|(pattern, capabilities)| {
            let parent = pattern.strip_suffix("/+/+")?;
            (rules.get(&format!("{parent}/+"))? == capabilities)
                .then(|| (parent.to_owned(), capabilities.clone()))
        })
        .collect();
    for (parent, capabilities) in deep {
        let below = format!("{parent}/");
        rules.retain(|pattern, known| !(pattern.starts_with(&below) && *known == capabilities));
        rules.insert(format!("{parent}/*"), capabilities);
    }
    rules
}

/// Puts `+` for the segment that stands `from_end` before the last one (a `/` at the end of a
/// list's path is no segment), where enough siblings differ in it alone.
fn folded_at(rules: Rules, from_end: usize, least: usize) -> Rules {
    let mut groups: BTreeMap<(String, BTreeSet<String>), Vec<String>> = BTreeMap::new();
    let mut kept = Rules::new();
    for (path, capabilities) in rules {
        match masked(&path, from_end) {
            Some(mask) => groups.entry((mask, capabilities)).or_default().push(path),
            None => {
                kept.insert(path, capabilities);
            }
        }
    }
    for ((mask, capabilities), paths) in groups {
        if paths.len() >= least {
            kept.entry(mask).or_default().extend(capabilities);
        } else {
            kept.extend(paths.into_iter().map(|path| (path, capabilities.clone())));
        }
    }
    kept
}

/// `path` with one segment as `+`; `None` if it has no such segment, if it is the first one (the
/// mount stays), or a wildcard already.
fn masked(path: &str, from_end: usize) -> Option<String> {
    let (bare, end) = match path.strip_suffix('/') {
        Some(bare) => (bare, "/"),
        None => (path, ""),
    };
    let mut segments: Vec<&str> = bare.split('/').collect();
    let at = segments
        .len()
        .checked_sub(from_end + 1)
        .filter(|at| *at > 0)?;
    if segments[at] == "+" {
        return None;
    }
    segments[at] = "+";
    Some(segments.join("/") + end)
}

fn written(
    whose: &Whose,
    evidence: &Evidence,
    uses: &Uses,
    rules: &Rules,
    fold: Option<usize>,
) -> String {
    let mut lines = vec![
        format!("# What policies allowed to {}.", whose.told()),
        format!(
            "# {} requests, trail {}.",
            uses.requests,
            evidence.verdict()
        ),
    ];
    if let (Some(first), Some(last)) = (uses.first, uses.last) {
        lines.push(format!("# From {first} to {last}."));
    }
    if uses.denied > 0 {
        lines.push(format!(
            "# {} requests were denied and are not in it.",
            uses.denied
        ));
    }
    if let Some(least) = fold {
        lines.push(format!(
            "# Folded where at least {least} siblings had the same capabilities: grants more."
        ));
    }
    for (path, capabilities) in rules {
        let words: Vec<String> = capabilities
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect();
        lines.push(stanza(path, &words.join(", ")));
    }
    lines.join("\n") + "\n"
}
