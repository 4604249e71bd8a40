//! JSON from outside, with limits that hold before anybody is authenticated.
//!
//! Stricter than Vault (which silently keeps the last of two equal keys): the same key twice, a
//! second value, rubbish after the value, invalid UTF-8 and lone surrogates are refused, because
//! each of them is a way to make the policy see one request and the engine another.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting of objects and arrays.
pub const MAX_DEPTH: usize = 64;
/// Most object keys and array elements in one document.
pub const MAX_KEYS: usize = 10_000;

/// Why a document was refused. Holds no part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON, or more than one value.
    #[error("the body is not one JSON document (line {line}, column {column})")]
    Malformed {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// An object holds one key twice.
    #[error("a JSON object has the same key twice")]
    DuplicateKey,
    /// Nesting beyond [`MAX_DEPTH`].
    #[error("the JSON is nested deeper than 64 levels")]
    TooDeep,
    /// More than [`MAX_KEYS`] keys and elements.
    #[error("the JSON has more than 10000 keys and elements")]
    TooMany,
    /// The document is not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// An object has a key that the JSON library would take for a value of its own when what was
    /// stored is read again: another value than the one that was judged, or none at all.
    #[error("a JSON object has a reserved key")]
    ReservedKey,
}

/// Reads one JSON object under the limits of this module. Numbers keep their text exactly.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    match parse_value(bytes)? {
        Value::Object(map) => Ok(map),
        _ => Err(JsonFault::NotAnObject),
    }
}

/// Reads one JSON value under the limits of this module. Numbers keep their text exactly.
pub fn parse_value(bytes: &[u8]) -> Result<Value, JsonFault> {
    let mut budget = Budget {
        left: MAX_KEYS,
        fault: None,
        input: bytes.as_ptr_range(),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let result = Strict {
        depth: 0,
        budget: &mut budget,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value));
    result.map_err(|error| {
        budget.fault.take().unwrap_or(JsonFault::Malformed {
            line: error.line(),
            column: error.column(),
        })
    })
}

struct Budget {
    left: usize,
    fault: Option<JsonFault>,
    /// Where the document stands, to tell its own keys from the library's.
    input: Range<*const u8>,
}

impl Budget {
    fn spend(&mut self) -> Result<(), JsonFault> {
        self.left = self.left.checked_sub(1).ok_or(JsonFault::TooMany)?;
        Ok(())
    }
}

struct Strict<'a> {
    depth: usize,
    budget: &'a mut Budget,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&mut self, fault: JsonFault) -> E {
        self.budget.fault = Some(fault);
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(JsonFault::TooDeep));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict {
            depth,
            budget: self.budget,
        })? {
            self.budget.spend().map_err(|fault| self.refuse(fault))?;
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(KeyOf(&self.budget.input))? {
            let key = match key {
                Key::NumberToken => {
                    return number(&access.next_value::<String>()?)
                        .ok_or_else(|| A::Error::custom("not a number"));
                }
                Key::Written(key) if key.starts_with(RESERVED) => {
                    return Err(self.refuse(JsonFault::ReservedKey));
                }
                Key::Written(key) => key,
            };
            self.budget.spend().map_err(|fault| self.refuse(fault))?;
            if map.contains_key(&key) {
                return Err(self.refuse(JsonFault::DuplicateKey));
            }
            let value = access.next_value_seed(Strict {
                depth,
                budget: self.budget,
            })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Keys that begin so have a meaning of their own for `serde_json`.
const RESERVED: &str = "$serde_json::private::";
/// With exact numbers on, `serde_json` hands a number over as a map with this one key.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// A key of an object.
enum Key {
    /// One that stands in the document.
    Written(String),
    /// [`NUMBER_TOKEN`], put in by the library.
    NumberToken,
}

/// Reads a key and tells whether it stands in the document, which begins and ends here. The
/// library's own key is a constant elsewhere in memory.
struct KeyOf<'a>(&'a Range<*const u8>);

impl<'de> DeserializeSeed<'de> for KeyOf<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyOf<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key, E> {
        match key == NUMBER_TOKEN && !self.0.contains(&key.as_ptr()) {
            true => Ok(Key::NumberToken),
            false => Ok(Key::Written(key.to_owned())),
        }
    }

    /// A key with escapes, which is copied out of the document.
    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(Key::Written(key.to_owned()))
    }
}

fn number(text: &str) -> Option<Value> {
    text.parse::<Number>().ok().map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        let text = r#"{"a":12345678901234567890123,"b":1.10,"c":-0,"d":[1e400]}"#;
        let map = parse_object(text.as_bytes()).unwrap();
        let back = serde_json::to_string(&map).unwrap();
        assert_eq!(back.replace("1e+400", "1e400"), text);
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        let fault = |text: &[u8]| parse_object(text).unwrap_err();
        assert_eq!(fault(br#"{"a":1,"a":2}"#), JsonFault::DuplicateKey);
        assert_eq!(
            fault(br#"{"x":{"a":1,"\u0061":2}}"#),
            JsonFault::DuplicateKey
        );
        assert!(matches!(
            fault(br#"{"a":1} {"b":2}"#),
            JsonFault::Malformed { .. }
        ));
        assert!(matches!(fault(br#"{"a":1}x"#), JsonFault::Malformed { .. }));
        assert!(matches!(
            fault(br#"{"a":"\ud800"}"#),
            JsonFault::Malformed { .. }
        ));
        assert!(matches!(
            fault(b"{\"a\":\"\xff\"}"),
            JsonFault::Malformed { .. }
        ));
        assert_eq!(fault(b"[1]"), JsonFault::NotAnObject);
    }

    #[test]
    fn keys_that_the_library_would_misread_are_refused() {
        for text in [
            r#"{"$serde_json::private::Number":"1"}"#,
            r#"{"a":[{"\u0024serde_json::private::Number":"x"}]}"#,
            r#"{"$serde_json::private::RawValue":""}"#,
            r#"{"b":1,"$serde_json::private::RawValue":"{\"a\":1,\"a\":2}"}"#,
        ] {
            assert_eq!(
                parse_object(text.as_bytes()),
                Err(JsonFault::ReservedKey),
                "{text}"
            );
        }
        assert!(parse_object(br#"{"$serde_json":1,"n":2}"#).is_ok());
    }

    #[test]
    fn limits_hold() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(parse_value(deep.as_bytes()), Err(JsonFault::TooDeep));
        let fine = format!("{}{}", "[".repeat(64), "]".repeat(64));
        assert!(parse_value(fine.as_bytes()).is_ok());
        let wide = format!("[{}1]", "1,".repeat(10_000));
        assert_eq!(parse_value(wide.as_bytes()), Err(JsonFault::TooMany));
    }
}
