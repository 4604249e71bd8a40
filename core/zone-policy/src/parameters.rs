//! Constraints on the fields of a request: `allowed_parameters`, `denied_parameters`,
//! `required_parameters`.
//!
//! They look at the fields that stand at the top of a request body (or query), never below. So
//! they do nothing for the values of KV v2, whose requests carry `data` and `options` only;
//! Vault's documentation says the same.
//!
//! As in Vault: names compare without regard to case; a text may begin or end with `*`; an
//! empty list stands for any value; the name `*` for any field; denied beats allowed; what a
//! policy requires must stand in the request under its lower-case name.
//!
//! Stricter than Vault where a denial could be dodged: a denied value is also found as an
//! element of a list, and in another JSON type with the same text (`"3600"` for `3600`). And
//! numbers compare by value (`1.0` is `1`); in Vault a number in a policy never equals one in a
//! request.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

use crate::acl::Denial;

/// The constraints of one pattern.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Parameters {
    allowed: BTreeMap<String, Vec<Value>>,
    denied: BTreeMap<String, Vec<Value>>,
    required: BTreeSet<String>,
}

impl Parameters {
    /// Names are lower-cased here.
    pub(crate) fn new(
        allowed: Vec<(String, Vec<Value>)>,
        denied: Vec<(String, Vec<Value>)>,
        required: Vec<String>,
    ) -> Self {
        let mut parameters = Self::default();
        merge(
            &mut parameters.allowed,
            allowed.into_iter().map(|(k, v)| (k.to_lowercase(), v)),
        );
        merge(
            &mut parameters.denied,
            denied.into_iter().map(|(k, v)| (k.to_lowercase(), v)),
        );
        parameters.required = required.iter().map(|name| name.to_lowercase()).collect();
        parameters
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty()
    }

    /// Values of the same name are joined; an empty list (any value) swallows the other.
    pub(crate) fn unite(&mut self, other: &Self) {
        merge(&mut self.allowed, other.allowed.clone());
        merge(&mut self.denied, other.denied.clone());
        self.required.extend(other.required.iter().cloned());
    }

    /// Judges the fields of a request.
    pub(crate) fn check(&self, fields: Option<&Map<String, Value>>) -> Result<(), Denial> {
        if self.is_empty() {
            return Ok(());
        }
        let missing = |name: &String| fields.is_none_or(|fields| !fields.contains_key(name));
        if self.required.iter().any(missing) {
            return Err(Denial::ParameterMissing);
        }
        let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
            return Ok(());
        };
        if self.denied.contains_key("*") {
            return Err(Denial::ParameterDenied);
        }
        let allows_others = self.allowed.is_empty() || self.allowed.contains_key("*");
        for (name, value) in fields {
            let name = name.to_lowercase();
            if let Some(values) = self.denied.get(&name)
                && (values.is_empty() || values.iter().any(|denied| is_denied(denied, value)))
            {
                return Err(Denial::ParameterDenied);
            }
            let fits = match self.allowed.get(&name) {
                Some(values) => values.is_empty() || values.iter().any(|one| same(one, value)),
                None => allows_others,
            };
            if !fits {
                return Err(Denial::ParameterNotAllowed);
            }
        }
        Ok(())
    }
}

fn merge(
    into: &mut BTreeMap<String, Vec<Value>>,
    from: impl IntoIterator<Item = (String, Vec<Value>)>,
) {
    for (name, values) in from {
        match into.get_mut(&name) {
            Some(known) if known.is_empty() || values.is_empty() => known.clear(),
            Some(known) => known.extend(values),
            None => {
                into.insert(name, values);
            }
        }
    }
}

/// Whether the policy's value `rule` and the request's `given` are the same value.
fn same(rule: &Value, given: &Value) -> bool {
    match (rule, given) {
        (Value::String(rule), Value::String(given)) => glob(rule, given),
        (Value::Number(rule), Value::Number(given)) => decimal(rule) == decimal(given),
        (Value::Array(rule), Value::Array(given)) => {
            rule.len() == given.len() && rule.iter().zip(given).all(|(a, b)| exactly(a, b))
        }
        _ => exactly(rule, given),
    }
}

/// Equality without globs, numbers by value.
fn exactly(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => decimal(a) == decimal(b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| exactly(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| exactly(a, b)))
        }
        _ => a == b,
    }
}

fn is_denied(rule: &Value, given: &Value) -> bool {
    if same(rule, given) {
        return true;
    }
    match (rule, given) {
        (_, Value::Array(items)) => items.iter().any(|item| is_denied(rule, item)),
        (Value::String(rule), Value::Number(given)) => glob(rule, &given.to_string()),
        (Value::String(rule), Value::Bool(given)) => glob(rule, &given.to_string()),
        (Value::Number(rule), Value::String(given)) => {
            let given: Result<Number, _> = serde_json::from_str(given.trim());
            given.is_ok_and(|given| decimal(rule) == decimal(&given))
        }
        (Value::Bool(rule), Value::String(given)) => {
            given
                .trim()
                .eq_ignore_ascii_case(if *rule { "true" } else { "false" })
        }
        _ => false,
    }
}

/// Vault's globs: one `*` in front, at the end, or both. `*` alone is just that character.
fn glob(rule: &str, text: &str) -> bool {
    if rule.len() < 2 {
        return rule == text;
    }
    match (rule.strip_prefix('*'), rule.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(&rule[1..rule.len() - 1]),
        (Some(end), None) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (None, None) => rule == text,
    }
}

/// A JSON number as sign, significant digits and power of ten, so that equal values are equal.
fn decimal(number: &Number) -> (bool, String, i64) {
    let text = number.to_string();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    // An exponent beyond i64 saturates: two such numbers may compare equal, which a policy
    // with such a number can bear.
    let exponent = exponent
        .trim_start_matches('+')
        .parse::<i64>()
        .unwrap_or(i64::MAX);
    let power = exponent
        .saturating_sub(fraction.len() as i64)
        .saturating_add(trailing as i64);
    (negative, significant.to_owned(), power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn lists(value: Value) -> Vec<(String, Vec<Value>)> {
        map(value)
            .into_iter()
            .map(|(k, v)| (k, v.as_array().unwrap().clone()))
            .collect()
    }

    fn judge(allowed: Value, denied: Value, required: &[&str], fields: Value) -> Option<Denial> {
        let required = required.iter().map(|name| (*name).to_owned()).collect();
        let parameters = Parameters::new(lists(allowed), lists(denied), required);
        parameters.check(Some(&map(fields))).err()
    }

    #[test]
    fn allowed_values() {
        let none = || json!({});
        let cases = [
            (json!({"a": []}), json!({"a": "x"}), true),
            (json!({"a": []}), json!({"b": "x"}), false),
            (json!({"a": ["x", "y"]}), json!({"a": "y"}), true),
            (json!({"a": ["x"]}), json!({"a": "y"}), false),
            (json!({"A": ["x"]}), json!({"a": "x"}), true),
            (json!({"a": ["x"]}), json!({"A": "x"}), true),
            (json!({"*": []}), json!({"b": 1, "c": null}), true),
            (json!({"a": ["x"], "*": []}), json!({"b": 1}), true),
            (json!({"a": ["x"], "*": []}), json!({"a": "y"}), false),
            (json!({"a": ["pre*"]}), json!({"a": "prefix"}), true),
            (json!({"a": ["*fix"]}), json!({"a": "prefix"}), true),
            (json!({"a": ["*ef*"]}), json!({"a": "prefix"}), true),
            (json!({"a": ["p*x"]}), json!({"a": "prefix"}), false),
            (json!({"a": ["*"]}), json!({"a": "x"}), false),
            (json!({"a": ["**"]}), json!({"a": "x"}), true),
            (json!({"a": [1]}), json!({"a": 1}), true),
            (json!({"a": [1]}), json!({"a": 1.0}), true),
            (json!({"a": [1]}), json!({"a": "1"}), false),
            (json!({"a": [true]}), json!({"a": true}), true),
            (json!({"a": [true]}), json!({"a": "true"}), false),
            (json!({"a": [["x", "y"]]}), json!({"a": ["x", "y"]}), true),
            (json!({"a": ["x"]}), json!({"a": ["x"]}), false),
            (json!({"a": [null]}), json!({"a": null}), true),
            (json!({}), json!({"b": 1}), true),
            (json!({"a": ["x"]}), json!({}), true),
        ];
        for (allowed, fields, ok) in cases {
            let got = judge(allowed.clone(), none(), &[], fields.clone());
            assert_eq!(got.is_none(), ok, "{allowed} {fields}: {got:?}");
        }
    }

    #[test]
    fn denied_values_beat_allowed_ones() {
        let cases = [
            (json!({"a": []}), json!({"a": "x"}), false),
            (json!({"a": []}), json!({"b": "x"}), true),
            (json!({"a": ["x"]}), json!({"A": "x"}), false),
            (json!({"a": ["x"]}), json!({"a": "y"}), true),
            (json!({"a": ["x*"]}), json!({"a": "xyz"}), false),
            (json!({"*": []}), json!({"a": "x"}), false),
            (json!({"*": []}), json!({}), true),
            (json!({"a": [3600]}), json!({"a": "3600"}), false),
            (json!({"a": [3600]}), json!({"a": 36e2}), false),
            (json!({"a": ["3600"]}), json!({"a": 3600}), false),
            (json!({"a": [true]}), json!({"a": "True"}), false),
            (
                json!({"a": ["admin"]}),
                json!({"a": ["dev", "admin"]}),
                false,
            ),
            (json!({"a": ["admin"]}), json!({"a": ["dev"]}), true),
        ];
        for (denied, fields, ok) in cases {
            let got = judge(json!({"*": []}), denied.clone(), &[], fields.clone());
            assert_eq!(got.is_none(), ok, "{denied} {fields}: {got:?}");
        }
    }

    #[test]
    fn required_names_must_stand_there_in_lower_case() {
        let judge = |fields| judge(json!({}), json!({}), &["Foo"], fields);
        assert_eq!(judge(json!({"foo": null})), None);
        assert_eq!(judge(json!({"Foo": 1})), Some(Denial::ParameterMissing));
        assert_eq!(judge(json!({})), Some(Denial::ParameterMissing));
    }

    #[test]
    fn numbers_compare_by_value() {
        let same = [
            ("1", "1.0"),
            ("100", "1e2"),
            ("0.10", "1e-1"),
            ("0", "-0.0"),
            ("12e+1", "120"),
        ];
        for (a, b) in same {
            let [a, b] = [a, b].map(|text| serde_json::from_str::<Number>(text).unwrap());
            assert_eq!(decimal(&a), decimal(&b), "{a} {b}");
        }
        let big = ["9007199254740993", "9007199254740992"];
        let [a, b] = big.map(|text| serde_json::from_str::<Number>(text).unwrap());
        assert_ne!(decimal(&a), decimal(&b));
    }
}
