//! JSON and YAML with sorted keys, as Vault writes them.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Keys of Vault's envelope, which stand in this order; those of most objects are sorted.
const ENVELOPE: [&str; 6] = [
    "request_id",
    "lease_id",
    "lease_duration",
    "renewable",
    "data",
    "warnings",
];
/// The same for a token.
const AUTH: [&str; 10] = [
    "client_token",
    "accessor",
    "policies",
    "token_policies",
    "identity_policies",
    "metadata",
    "orphan",
    "entity_id",
    "lease_duration",
    "renewable",
];

/// JSON, indented by two spaces.
pub(super) fn json(value: &Value) -> String {
    // Text keys and numbers from JSON cannot fail to be written.
    serde_json::to_string_pretty(&Sorted {
        value,
        numbers: Numbers::AsTheyCame,
    })
    .unwrap_or_default()
}

/// YAML, without a last newline.
pub(super) fn yaml(value: &Value) -> String {
    let text = serde_saphyr::to_string(&Sorted {
        value,
        numbers: Numbers::Native,
    });
    text.unwrap_or_default().trim_end().to_owned()
}

/// How numbers are handed on.
#[derive(Clone, Copy)]
enum Numbers {
    /// All digits, in a form that only serde_json knows.
    AsTheyCame,
    /// As integers or floating point.
    Native,
}

struct Sorted<'a> {
    value: &'a Value,
    numbers: Numbers,
}

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let below = |value| Sorted {
            value,
            numbers: self.numbers,
        };
        match self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::String(text) => serializer.serialize_str(text),
            Value::Number(number) => match self.numbers {
                Numbers::AsTheyCame => number.serialize(serializer),
                Numbers::Native => native(number, serializer),
            },
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items
                    .iter()
                    .try_for_each(|item| list.serialize_element(&below(item)))?;
                list.end()
            }
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| (rank(key, map), key.as_str()));
                let mut out = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    out.serialize_entry(key, &below(value))?;
                }
                out.end()
            }
        }
    }
}

/// Where a key stands among those of its object.
fn rank(key: &str, map: &serde_json::Map<String, Value>) -> usize {
    let first: &[&str] = if map.contains_key("request_id") && map.contains_key("lease_id") {
        &ENVELOPE
    } else if map.contains_key("client_token") {
        &AUTH
    } else {
        &[]
    };
    let at = first.iter().position(|first| *first == key);
    at.unwrap_or(first.len())
}

fn native<S: Serializer>(number: &serde_json::Number, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(whole) = number.as_i64() {
        return serializer.serialize_i64(whole);
    }
    if let Some(whole) = number.as_u64() {
        return serializer.serialize_u64(whole);
    }
    match number.as_f64() {
        Some(float) if float.is_finite() && !is_whole(number) => serializer.serialize_f64(float),
        // Too large for either: as text rather than with other digits.
        _ => serializer.serialize_str(&number.to_string()),
    }
}

fn is_whole(number: &serde_json::Number) -> bool {
    !number.to_string().contains(['.', 'e', 'E'])
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        serde_json::from_str(
            r#"{"warnings": null, "request_id": "r", "lease_id": "", "data":
            {"z": [1, 2.5, "x: y"], "b": 12345678901234567890123, "a": {}, "l": [], "t": "true",
             "pem": "line 1\nline 2\n", "n": null, "e": ""},
            "renewable": false, "lease_duration": 0}"#,
        )
        .unwrap()
    }

    #[test]
    fn json_keeps_digits_and_vaults_order() {
        expect![[r#"
            {
              "request_id": "r",
              "lease_id": "",
              "lease_duration": 0,
              "renewable": false,
              "data": {
                "a": {},
                "b": 12345678901234567890123,
                "e": "",
                "l": [],
                "n": null,
                "pem": "line 1\nline 2\n",
                "t": "true",
                "z": [
                  1,
                  2.5,
                  "x: y"
                ]
              },
              "warnings": null
            }"#]]
        .assert_eq(&json(&sample()));
        assert_eq!(json(&json!(["a"])), "[\n  \"a\"\n]");
    }

    #[test]
    fn yaml_has_the_same_values() {
        expect![[r#"
            request_id: r
            lease_id: ""
            lease_duration: 0
            renewable: false
            data:
              a: {}
              b: "12345678901234567890123"
              e: ""
              l: []
              "n": null
              pem: |
                line 1
                line 2
              t: "true"
              z:
              - 1
              - 2.5
              - "x: y"
            warnings: null"#]]
        .assert_eq(&yaml(&sample()));
    }
}
