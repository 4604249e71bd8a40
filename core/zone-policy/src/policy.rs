//! One policy: from its text to rules, or to a fault that tells where and what was expected.
//!
//! HCL and JSON give the same tree (`zone_types::hcl`); this file says what the tree may hold. A fault
//! quotes only what the language itself defines, path patterns, and words that look like a
//! mistyped keyword: never a value, since a policy text may have been a secret put in the wrong
//! place (E1).

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use zone_types::hcl::{self, Item, Kind, Node, items_from_json};
use zone_types::json::JsonFault;

use crate::NameFault;
use crate::name::PolicyName;
use crate::parameters::Parameters;
use crate::pattern::{Pattern, PatternFault};
use crate::permissions::{Capabilities, Permissions};
use crate::template::{Template, TemplateFault};

/// The longest policy text, in bytes.
pub const MAX_TEXT: usize = 256 * 1024;

/// Why a policy text was refused. Tells the line (in HCL), the path, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFault {
    line: Option<u32>,
    path: Option<String>,
    message: String,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "path {path:?}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for PolicyFault {}

impl PolicyFault {
    fn new(line: Option<u32>, message: impl Into<String>) -> Self {
        Self {
            line,
            path: None,
            message: message.into(),
        }
    }

    fn at_path(mut self, path: &str) -> Self {
        self.path
            .get_or_insert_with(|| path.chars().take(120).collect());
        self
    }
}

/// A policy that was read and understood as a whole.
#[derive(Debug, Clone)]
pub struct Policy {
    name: PolicyName,
    pub(crate) rules: Vec<PathRule>,
}

/// What a policy says about one pattern.
#[derive(Debug, Clone)]
pub(crate) struct PathRule {
    pub(crate) place: Place,
    pub(crate) line: Option<u32>,
    pub(crate) permissions: Permissions,
}

/// Where a rule holds.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// For every caller at the same place.
    Fixed(Pattern),
    /// For each caller at a place of its own.
    Template(Template),
}

impl Place {
    fn parse(text: &str) -> Result<Self, TemplateFault> {
        match Template::is_one(text) {
            true => Template::parse(text).map(Self::Template),
            false => Pattern::parse(text)
                .map(Self::Fixed)
                .map_err(TemplateFault::Pattern),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Fixed(pattern) => pattern.text(),
            Self::Template(template) => template.text(),
        }
    }
}

impl Policy {
    /// Reads a policy in HCL or, if its first character is `{`, in JSON. An empty text is a
    /// policy without rules, which grants nothing.
    ///
    /// # Errors
    ///
    /// [`PolicyFault`] for what is no policy, for whatever is not understood, for a name that is
    /// none, and for `root`, which has no text.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyFault> {
        let name = PolicyName::parse(name)
            .map_err(|fault: NameFault| PolicyFault::new(None, fault.to_string()))?;
        if name.is_root() {
            return Err(PolicyFault::new(None, "the policy 'root' has no text"));
        }
        if text.len() > MAX_TEXT {
            return Err(PolicyFault::new(None, "a policy has at most 256 KiB"));
        }
        let mut rules = Vec::new();
        for item in read_items(text)? {
            match item.key.as_str() {
                "path" => read_paths(item, &mut rules)?,
                "name" => check_name(&item, &name)?,
                other => return Err(unknown(item.line, "key", other, "path")),
            }
        }
        Ok(Self { name, rules })
    }

    /// Its name.
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// Whether some rule holds for each caller at a place of its own.
    pub fn has_templates(&self) -> bool {
        let templated = |rule: &PathRule| matches!(rule.place, Place::Template(_));
        self.rules.iter().any(templated)
    }

    /// The patterns of its rules in the order of the text, without a leading `/`, templates as
    /// they are written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.place.text())
    }

    /// The patterns that it denies. Taking such a rule away gives rights to whoever has them from
    /// another policy, so [`Acl::covers`](crate::Acl::covers) alone cannot judge that.
    pub fn denials(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter(|rule| rule.permissions.capabilities.has(Capabilities::DENY))
            .map(|rule| rule.place.text())
    }
}

fn read_items(text: &str) -> Result<Vec<Item>, PolicyFault> {
    if !text
        .trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n'])
        .starts_with('{')
    {
        return hcl::parse(text).map_err(|fault| PolicyFault::new(Some(fault.line), fault.message));
    }
    match zone_types::json::parse_object(text.as_bytes()) {
        Ok(map) => Ok(items_from_json(map)),
        Err(JsonFault::Malformed { line, column }) => Err(PolicyFault::new(
            u32::try_from(line).ok(),
            format!("not one JSON document (column {column})"),
        )),
        Err(fault) => Err(PolicyFault::new(None, fault.to_string())),
    }
}

/// The name inside the text, which Vault ignores, must at least not contradict.
fn check_name(item: &Item, name: &PolicyName) -> Result<(), PolicyFault> {
    let same = matches!(&item.value.kind, Kind::Text(text)
        if item.labels.is_empty() && PolicyName::parse(text).as_ref() == Ok(name));
    if same {
        return Ok(());
    }
    Err(PolicyFault::new(
        item.line,
        "'name' is not the name under which the policy is written",
    ))
}

/// `path "x" { … }`, or `path = { "x" = { … } }`, each `{ … }` perhaps in a list (as JSON made
/// from HCL has it).
fn read_paths(item: Item, rules: &mut Vec<PathRule>) -> Result<(), PolicyFault> {
    match <[String; 1]>::try_from(item.labels) {
        Ok([path]) => read_stanzas(&path, item.line, item.value, rules),
        Err(labels) if labels.is_empty() => {
            for table in one_or_list(item.value) {
                let line = table.line;
                let Kind::Object(entries) = table.kind else {
                    return Err(expected(
                        line,
                        "'path'",
                        "a block: path \"…\" { … }",
                        &table,
                    ));
                };
                refuse_doubles(&entries)?;
                for entry in entries {
                    if !entry.labels.is_empty() {
                        return Err(PolicyFault::new(
                            entry.line,
                            "expected path \"…\" { … }: the pattern in quotes before the '{'",
                        ));
                    }
                    read_stanzas(&entry.key, entry.line, entry.value, rules)?;
                }
            }
            Ok(())
        }
        Err(_) => Err(PolicyFault::new(
            item.line,
            "expected one pattern after 'path'",
        )),
    }
}

fn one_or_list(node: Node) -> Vec<Node> {
    match node.kind {
        Kind::List(items) => items,
        kind => vec![Node {
            line: node.line,
            kind,
        }],
    }
}

fn read_stanzas(
    path: &str,
    line: Option<u32>,
    value: Node,
    rules: &mut Vec<PathRule>,
) -> Result<(), PolicyFault> {
    let place = Place::parse(path)
        .map_err(|fault| PolicyFault::new(line, place_message(fault)).at_path(path))?;
    for stanza in one_or_list(value) {
        let permissions = read_stanza(stanza).map_err(|fault| fault.at_path(path))?;
        rules.push(PathRule {
            place: place.clone(),
            line,
            permissions,
        });
    }
    Ok(())
}

fn place_message(fault: TemplateFault) -> String {
    match fault {
        TemplateFault::Unbalanced => "a template is '{{', a value's name, and '}}'".to_owned(),
        TemplateFault::Unknown => {
            "unknown template: expected identity.entity.{id,name,metadata.KEY}, \
             identity.entity.aliases.ACCESSOR.{id,name,metadata.KEY,custom_metadata.KEY} or \
             identity.groups.{ids.ID,names.NAME}.{id,name,metadata.KEY}"
                .to_owned()
        }
        TemplateFault::List => "a list or map cannot stand in a path: name one value".to_owned(),
        TemplateFault::Pattern(fault) => pattern_message(fault),
    }
}

fn pattern_message(fault: PatternFault) -> String {
    match fault {
        PatternFault::InnerStar => {
            "'*' stands for any rest and only at the end; '+' stands for one segment".to_owned()
        }
        PatternFault::PlusStar => {
            "'+*' is forbidden: '+' is a whole segment, so write '+/*' or '*'".to_owned()
        }
        PatternFault::Unreachable(fault) => format!("no request can match this: {fault}"),
    }
}

/// The attributes of one stanza as they were given.
#[derive(Default)]
struct Stanza {
    capabilities: Option<Vec<Node>>,
    legacy: Option<(Option<u32>, String)>,
    allowed: Vec<(String, Vec<Value>)>,
    denied: Vec<(String, Vec<Value>)>,
    required: Vec<String>,
    min_wrapping_ttl: Option<Duration>,
    max_wrapping_ttl: Option<Duration>,
}

const ATTRIBUTES: &str = "capabilities, policy, allowed_parameters, denied_parameters, \
     required_parameters, min_wrapping_ttl, max_wrapping_ttl or comment";

fn read_stanza(stanza: Node) -> Result<Permissions, PolicyFault> {
    let line = stanza.line;
    let Kind::Object(items) = stanza.kind else {
        return Err(expected(line, "a path", "a block with attributes", &stanza));
    };
    refuse_doubles(&items)?;
    let mut given = Stanza::default();
    for item in items {
        if !item.labels.is_empty() {
            return Err(PolicyFault::new(
                item.line,
                "an attribute has no label: expected 'a = …'",
            ));
        }
        read_attribute(item, &mut given)?;
    }
    if let (Some(min), Some(max)) = (given.min_wrapping_ttl, given.max_wrapping_ttl)
        && max < min
    {
        return Err(PolicyFault::new(
            line,
            "max_wrapping_ttl is below min_wrapping_ttl",
        ));
    }
    let capabilities = read_capabilities(&given)?;
    if capabilities.has(Capabilities::DENY) {
        return Ok(Permissions::deny());
    }
    Ok(Permissions {
        capabilities,
        parameters: Parameters::new(given.allowed, given.denied, given.required),
        min_wrapping_ttl: given.min_wrapping_ttl,
        max_wrapping_ttl: given.max_wrapping_ttl,
    })
}

fn read_attribute(item: Item, given: &mut Stanza) -> Result<(), PolicyFault> {
    let Item {
        line, key, value, ..
    } = item;
    match key.as_str() {
        "capabilities" => given.capabilities = Some(list(line, "'capabilities'", value)?),
        "policy" => given.legacy = Some((line, text(line, "'policy'", value)?)),
        "allowed_parameters" => given.allowed = value_lists(line, "'allowed_parameters'", value)?,
        "denied_parameters" => given.denied = value_lists(line, "'denied_parameters'", value)?,
        "required_parameters" => {
            for name in list(line, "'required_parameters'", value)? {
                given
                    .required
                    .push(text(line, "a required parameter", name)?);
            }
        }
        "min_wrapping_ttl" => given.min_wrapping_ttl = duration(line, "'min_wrapping_ttl'", value)?,
        "max_wrapping_ttl" => given.max_wrapping_ttl = duration(line, "'max_wrapping_ttl'", value)?,
        "comment" => drop(text(line, "'comment'", value)?),
        "mfa_methods"
        | "control_group"
        | "expiration"
        | "pagination_limit"
        | "list_scan_response_keys_filter_path"
        | "subscribe_event_types" => {
            return Err(PolicyFault::new(
                line,
                format!("'{key}' is not supported; a rule that ignored it would grant too much"),
            ));
        }
        other => return Err(unknown(line, "attribute", other, ATTRIBUTES)),
    }
    Ok(())
}

fn read_capabilities(given: &Stanza) -> Result<Capabilities, PolicyFault> {
    let mut capabilities = Capabilities::default();
    for node in given.capabilities.iter().flatten() {
        let line = node.line;
        let Kind::Text(word) = &node.kind else {
            return Err(expected(line, "a capability", "a quoted word", node));
        };
        let one = Capabilities::from_word(word)
            .ok_or_else(|| unknown(line, "capability", word, Capabilities::EXPECTED))?;
        capabilities = capabilities | one;
    }
    if let Some((line, word)) = &given.legacy {
        let more = Capabilities::from_legacy(word)
            .ok_or_else(|| unknown(*line, "policy", word, "deny, read, write or sudo"))?;
        capabilities = capabilities | more;
    }
    Ok(capabilities)
}

fn text(line: Option<u32>, what: &str, value: Node) -> Result<String, PolicyFault> {
    match value.kind {
        Kind::Text(text) => Ok(text),
        _ => Err(expected(line, what, "a quoted string", &value)),
    }
}

fn list(line: Option<u32>, what: &str, value: Node) -> Result<Vec<Node>, PolicyFault> {
    match value.kind {
        Kind::List(items) => Ok(items),
        _ => Err(expected(line, what, "a list: [\"…\", …]", &value)),
    }
}

/// `{ "name" = [values] }`.
fn value_lists(
    line: Option<u32>,
    what: &str,
    value: Node,
) -> Result<Vec<(String, Vec<Value>)>, PolicyFault> {
    let Kind::Object(items) = value.kind else {
        return Err(expected(
            line,
            what,
            "an object: { \"name\" = [values] }",
            &value,
        ));
    };
    refuse_doubles(&items)?;
    let mut lists = Vec::new();
    for item in items {
        if !item.labels.is_empty() {
            return Err(PolicyFault::new(item.line, "a parameter has no label"));
        }
        let values = list(item.line, "a parameter", item.value)?;
        for value in &values {
            refuse_inner_doubles(value)?;
        }
        lists.push((item.key, values.into_iter().map(Node::into_json).collect()));
    }
    Ok(lists)
}

/// Seconds, or a text like `1h30m`. Zero bounds nothing, as in Vault.
fn duration(line: Option<u32>, what: &str, value: Node) -> Result<Option<Duration>, PolicyFault> {
    let text = match &value.kind {
        Kind::Text(text) => text.clone(),
        Kind::Number(number) => number.to_string(),
        _ => return Err(expected(line, what, "seconds or a quoted duration", &value)),
    };
    let span = zone_types::duration::parse_duration(&text)
        .map_err(|fault| PolicyFault::new(line, format!("{what}: {fault}")))?;
    Ok(Some(span).filter(|span| !span.is_zero()))
}

fn refuse_doubles(items: &[Item]) -> Result<(), PolicyFault> {
    let mut seen = std::collections::HashSet::new();
    match items
        .iter()
        .find(|item| !seen.insert((&item.key, &item.labels)))
    {
        Some(item) => Err(PolicyFault::new(
            item.line,
            "the same key stands here twice",
        )),
        None => Ok(()),
    }
}

fn refuse_inner_doubles(node: &Node) -> Result<(), PolicyFault> {
    match &node.kind {
        Kind::List(items) => items.iter().try_for_each(refuse_inner_doubles),
        Kind::Object(items) => {
            refuse_doubles(items)?;
            match items.iter().find(|item| !item.labels.is_empty()) {
                Some(item) => Err(PolicyFault::new(item.line, "a value has no label")),
                None => items
                    .iter()
                    .try_for_each(|item| refuse_inner_doubles(&item.value)),
            }
        }
        _ => Ok(()),
    }
}

fn expected(line: Option<u32>, what: &str, wanted: &str, found: &Node) -> PolicyFault {
    let kind = found.kind_name();
    PolicyFault::new(
        found.line.or(line),
        format!("{what}: expected {wanted}, found {kind}"),
    )
}

fn unknown(line: Option<u32>, what: &str, word: &str, known: &str) -> PolicyFault {
    let like_keyword =
        |word: &str| word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let quoted = if like_keyword(word) {
        format!(" '{word}'")
    } else {
        String::new()
    };
    PolicyFault::new(line, format!("unknown {what}{quoted}: expected {known}"))
}
