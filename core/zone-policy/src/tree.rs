//! The shape that HCL and JSON policies share before anyone looks at what it means.

use serde_json::{Map, Number, Value};

/// A value and the line on which it begins (`None` in JSON).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: Option<u32>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Item>),
}

/// `key = value`, `key { … }` or `key "label" { … }`. Keys may occur twice; whoever reads the
/// tree decides where that is allowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) line: Option<u32>,
    pub(crate) key: String,
    pub(crate) labels: Vec<String>,
    pub(crate) value: Node,
}

impl Node {
    /// From JSON that was read under strict rules (no key twice, bounded depth).
    pub(crate) fn from_json(value: Value) -> Self {
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(value),
            Value::Number(value) => Kind::Number(value),
            Value::String(value) => Kind::Text(value),
            Value::Array(items) => Kind::List(items.into_iter().map(Self::from_json).collect()),
            Value::Object(map) => Kind::Object(items_from_json(map)),
        };
        Self { line: None, kind }
    }

    /// As a JSON value, to be compared with a request's fields. Of a key given twice the first
    /// stands; [`crate::policy`] refuses such objects before.
    pub(crate) fn into_json(self) -> Value {
        match self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Number(value) => Value::Number(value),
            Kind::Text(value) => Value::String(value),
            Kind::List(items) => items.into_iter().map(Self::into_json).collect(),
            Kind::Object(items) => {
                let mut map = Map::new();
                for item in items {
                    map.entry(item.key).or_insert(item.value.into_json());
                }
                Value::Object(map)
            }
        }
    }

    /// What it is, for a message.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a bool",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a string",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }
}

pub(crate) fn items_from_json(map: Map<String, Value>) -> Vec<Item> {
    map.into_iter()
        .map(|(key, value)| Item {
            line: None,
            key,
            labels: Vec::new(),
            value: Node::from_json(value),
        })
        .collect()
}
