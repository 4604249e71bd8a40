//! The shape that HCL and JSON documents share before anyone looks at what they mean.

use serde_json::{Map, Number, Value};

/// A value and the line on which it begins (`None` in JSON).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins, from 1.
    pub line: Option<u32>,
    /// What it is.
    pub kind: Kind,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// JSON's `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A decimal number, its text kept.
    Number(Number),
    /// A quoted string.
    Text(String),
    /// `[…]`.
    List(Vec<Node>),
    /// `{…}`.
    Object(Vec<Item>),
}

/// `key = value`, `key { … }` or `key "label" { … }`. Keys may occur twice; whoever reads the
/// tree decides where that is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Where it begins, from 1.
    pub line: Option<u32>,
    /// The word before `=` or `{`.
    pub key: String,
    /// Quoted words between the key and `{`.
    pub labels: Vec<String>,
    /// What stands behind.
    pub value: Node,
}

impl Node {
    /// From JSON that was read under strict rules (no key twice, bounded depth).
    pub fn from_json(value: Value) -> Self {
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
    /// stands; whoever reads the tree refuses such objects before.
    pub fn into_json(self) -> Value {
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
    pub fn kind_name(&self) -> &'static str {
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

/// The items of a JSON object.
pub fn items_from_json(map: Map<String, Value>) -> Vec<Item> {
    map.into_iter()
        .map(|(key, value)| Item {
            line: None,
            key,
            labels: Vec::new(),
            value: Node::from_json(value),
        })
        .collect()
}
