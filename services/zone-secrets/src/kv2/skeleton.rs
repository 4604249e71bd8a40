//! A secret without its values. They are skipped while reading and never copied.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::KvError;

/// The keys of a secret: objects as objects, everything else and empty objects as null.
#[derive(Clone, PartialEq, Eq)]
pub struct Skeleton(Node);

#[derive(Clone, PartialEq, Eq)]
enum Node {
    Leaf,
    Object(Vec<(String, Node)>),
}

impl Skeleton {
    /// The keys of the JSON object `text` down to `depth` levels; 0 for all.
    pub(super) fn of(text: &str, depth: usize) -> Result<Self, KvError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let left = if depth == 0 { usize::MAX } else { depth };
        match (Level { left }).deserialize(&mut reader) {
            Ok(node @ Node::Object(_)) => Ok(Self(node)),
            _ => Err(KvError::Corrupt),
        }
    }
}

impl fmt::Debug for Skeleton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Skeleton")
    }
}

impl Serialize for Skeleton {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf => serializer.serialize_unit(),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, node) in fields {
                    map.serialize_entry(key, node)?;
                }
                map.end()
            }
        }
    }
}

/// Reads one value; `left` levels of objects may still be shown.
#[derive(Clone, Copy)]
struct Level {
    left: usize,
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// How `serde_json` hands over a number whose digits it keeps: as a map with this one key. No
/// stored object has it: `zone_types::json` refuses requests that do.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

impl<'de> Visitor<'de> for Level {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Leaf)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if self.left == 0 || key == NUMBER_TOKEN {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            let node = access.next_value_seed(Self {
                left: self.left - 1,
            })?;
            let empty = matches!(&node, Node::Object(inner) if inner.is_empty());
            fields.push((key, if empty { Node::Leaf } else { node }));
        }
        Ok(Node::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, depth: usize, expected: &str) {
        let skeleton = Skeleton::of(text, depth).unwrap();
        assert_eq!(
            serde_json::to_string(&skeleton).unwrap(),
            expected,
            "{text} at {depth}"
        );
    }

    #[test]
    fn values_become_null() {
        let text = r#"{"z":"s","n":1.5e3,"big":123456789012345678901,"l":[1,{"x":2}],"e":{},"o":{"p":{"q":true}},"u":null}"#;
        check(
            text,
            0,
            r#"{"z":null,"n":null,"big":null,"l":null,"e":null,"o":{"p":{"q":null}},"u":null}"#,
        );
        check("{}", 0, "{}");
    }

    #[test]
    fn depth_cuts() {
        let text = r#"{"a":{"b":{"c":{"d":1}}},"e":2}"#;
        check(text, 1, r#"{"a":null,"e":null}"#);
        check(text, 2, r#"{"a":{"b":null},"e":null}"#);
        check(text, 3, r#"{"a":{"b":{"c":null}},"e":null}"#);
        check(text, 4, r#"{"a":{"b":{"c":{"d":null}}},"e":null}"#);
        check(text, 9, r#"{"a":{"b":{"c":{"d":null}}},"e":null}"#);
    }

    #[test]
    fn only_an_object_is_a_secret() {
        assert!(Skeleton::of("[1]", 0).is_err());
        assert!(Skeleton::of("nonsense", 0).is_err());
    }
}
