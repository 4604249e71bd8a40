//! Values as Vault's files spell them, and the place of a fault.

use std::path::Path;

use zone_types::hcl::{Item, Kind, Node};

use crate::config::ConfigFault;

/// Where something stands.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) file: &'a Path,
    pub(super) line: Option<u32>,
}

impl<'a> At<'a> {
    /// The same file at the line of `item`.
    pub(super) fn of(&self, item: &Item) -> At<'a> {
        At {
            file: self.file,
            line: item.line.or(self.line),
        }
    }

    pub(super) fn fault(&self, text: &str) -> ConfigFault {
        let text = match self.line {
            Some(line) => format!("line {line}: {text}"),
            None => text.to_owned(),
        };
        ConfigFault {
            file: self.file.to_owned(),
            text,
        }
    }

    fn expected(&self, key: &str, what: &str, found: &Node) -> ConfigFault {
        self.fault(&format!(
            "key '{key}': expected {what}, found {}",
            found.kind_name()
        ))
    }

    /// Text; a number counts as its digits.
    pub(super) fn text(&self, item: &Item) -> Result<String, ConfigFault> {
        match &item.value.kind {
            _ if !item.labels.is_empty() => Err(self.expected(&item.key, "a text", &item.value)),
            Kind::Text(text) => Ok(text.clone()),
            Kind::Number(number) => Ok(number.to_string()),
            _ => Err(self.expected(&item.key, "a text", &item.value)),
        }
    }

    /// `true`, `"true"`, `1`, as Vault reads them.
    pub(super) fn flag(&self, item: &Item) -> Result<bool, ConfigFault> {
        let text = match &item.value.kind {
            Kind::Bool(flag) => return Ok(*flag),
            Kind::Text(text) => text.clone(),
            Kind::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match text.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(self.expected(&item.key, "true or false", &item.value)),
        }
    }

    /// A list of texts; one text counts as a list, with commas between its parts.
    pub(super) fn texts(&self, item: &Item) -> Result<Vec<String>, ConfigFault> {
        match &item.value.kind {
            Kind::Text(text) => Ok(text
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect()),
            Kind::List(nodes) => nodes
                .iter()
                .map(|node| match &node.kind {
                    Kind::Text(text) => Ok(text.clone()),
                    _ => Err(self.expected(&item.key, "a list of texts", node)),
                })
                .collect(),
            _ => Err(self.expected(&item.key, "a list of texts", &item.value)),
        }
    }
}

/// A block, with its label if it has one.
pub(super) struct Block {
    pub(super) label: Option<String>,
    pub(super) items: Vec<Item>,
}

/// The blocks that an item stands for: `key "label" { … }`, `key { … }`, `key = { label = { … } }`,
/// and lists of those, as JSON has them.
pub(super) fn blocks(at: &At<'_>, item: Item) -> Result<Vec<Block>, ConfigFault> {
    let Item {
        key, labels, value, ..
    } = item;
    if labels.len() > 1 {
        return Err(at.fault(&format!("'{key}': expected one label before the '{{'")));
    }
    let mut found = Vec::new();
    collect(at, &key, labels.into_iter().next(), value, &mut found)?;
    Ok(found)
}

fn collect(
    at: &At<'_>,
    key: &str,
    label: Option<String>,
    value: Node,
    found: &mut Vec<Block>,
) -> Result<(), ConfigFault> {
    match value.kind {
        Kind::List(nodes) => {
            for node in nodes {
                collect(at, key, label.clone(), node, found)?;
            }
        }
        Kind::Object(items) if label.is_none() && is_table(&items) => {
            for item in items {
                collect(at, key, Some(item.key), item.value, found)?;
            }
        }
        Kind::Object(items) => found.push(Block { label, items }),
        _ => return Err(at.expected(key, "a block", &value)),
    }
    Ok(())
}

/// Whether an object maps labels to blocks.
fn is_table(items: &[Item]) -> bool {
    let holds_block = |node: &Node| match &node.kind {
        Kind::Object(_) => true,
        Kind::List(nodes) => {
            !nodes.is_empty()
                && nodes
                    .iter()
                    .all(|node| matches!(node.kind, Kind::Object(_)))
        }
        _ => false,
    };
    !items.is_empty()
        && items
            .iter()
            .all(|item| item.labels.is_empty() && holds_block(&item.value))
}
