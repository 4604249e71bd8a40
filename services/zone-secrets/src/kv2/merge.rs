//! JSON merge patch (RFC 7396), and wiping of what was parsed for it.

use serde_json::{Map, Value};
use zeroize::Zeroize;

/// Applies `patch` to `target`: null removes, objects merge, all else replaces. Keys that stay
/// keep their order; new ones come behind.
pub(super) fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, change) in patch {
        match change {
            Value::Null => {
                if let Some(mut old) = target.shift_remove(key) {
                    wipe(&mut old);
                }
            }
            Value::Object(inner) => {
                let slot = target
                    .entry(key.as_str())
                    .or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    wipe(slot);
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(slot) = slot {
                    merge(slot, inner);
                }
            }
            value => {
                if let Some(mut old) = target.insert(key.clone(), value.clone()) {
                    wipe(&mut old);
                }
            }
        }
    }
}

/// A parsed secret, its strings wiped when it is dropped. (Keys and the digits of numbers are
/// only freed: their types cannot be wiped.)
#[derive(Default)]
pub(super) struct Wiped(pub(super) Map<String, Value>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, patch: &str, expected: &str) {
        let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let mut merged = parse(target);
        merge(&mut merged, &parse(patch));
        assert_eq!(
            serde_json::to_string(&merged).unwrap(),
            expected,
            "{target} + {patch}"
        );
    }

    /// The object cases of RFC 7396, appendix A.
    #[test]
    fn rfc_7396_examples() {
        check(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#);
        check(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#);
        check(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#);
        check(
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":{"b":"d","c":null}}"#,
            r#"{"a":{"b":"d"}}"#,
        );
        check(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#);
        check(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#);
        check(
            r#"{}"#,
            r#"{"a":{"bb":{"ccc":null}}}"#,
            r#"{"a":{"bb":{}}}"#,
        );
    }

    #[test]
    fn order_and_numbers_survive() {
        check(
            r#"{"z":1.10,"y":{"k":12345678901234567890123},"x":0}"#,
            r#"{"x":2.50,"z":null,"w":1}"#,
            r#"{"y":{"k":12345678901234567890123},"x":2.50,"w":1}"#,
        );
        check(r#"{"a":"text"}"#, r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#);
    }
}
