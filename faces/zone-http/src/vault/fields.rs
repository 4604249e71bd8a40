//! Typed reading of Vault's loose request fields. Each fault is a 400 that names the field and
//! what was expected, and never the value.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use zeroize::Zeroize;
use zone_types::json::{self, JsonFault};
use zone_types::parse_duration;

use super::exchange::Fault;

/// The fields that a request brought; their texts are wiped when it is dropped (numbers and
/// names are not: they stand in the audit trail anyway).
#[derive(Debug, Default)]
pub struct Given(pub Map<String, Value>);

impl Drop for Given {
    fn drop(&mut self) {
        wipe_all(&mut self.0);
    }
}

impl std::ops::Deref for Given {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Wipes each text in `fields`.
pub(super) fn wipe_all(fields: &mut Map<String, Value>) {
    fields.values_mut().for_each(wipe);
}

/// Wipes each text in `value`.
pub(super) fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => wipe_all(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A body of one JSON object under the limits of `zone_types::json`; an empty one has no fields,
/// and neither has `null`: Vault's Go library sends it for a write without fields.
pub(super) fn parse_json(body: &[u8]) -> Result<Given, Fault> {
    if matches!(body.trim_ascii(), b"" | b"null") {
        return Ok(Given::default());
    }
    json::parse_object(body).map(Given).map_err(|fault| {
        let status = match fault {
            JsonFault::TooDeep | JsonFault::TooMany => 413,
            _ => 400,
        };
        Fault::new(status, fault.to_string())
    })
}

/// Reads the fields of one request.
///
/// Vault's clients send numbers and booleans as strings and lists as comma-separated text;
/// each reader takes all the spellings that Vault takes.
pub struct Fields<'a>(pub &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Text; a number or boolean counts as its JSON text, as in Vault.
    pub fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(flag)) => Ok(Some(flag.to_string())),
            Some(_) => Err(wrong(name, "text")),
        }
    }

    /// Text that must be there and not empty.
    pub fn required(&self, name: &str) -> Result<String, Fault> {
        match self.text(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(Fault::bad_request(format!("missing {name}"))),
        }
    }

    /// `true`, `false`, `"true"`, `"false"`, `1`, `0`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        match self.text(name)?.as_deref() {
            None | Some("") => Ok(None),
            Some("true" | "1" | "TRUE" | "True" | "t" | "T") => Ok(Some(true)),
            Some("false" | "0" | "FALSE" | "False" | "f" | "F") => Ok(Some(false)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// A whole number, as a number or as text.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.text(name)?.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| wrong(name, "a whole number")),
        }
    }

    /// Seconds, or Go's notation.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, Fault> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => parse_duration(&text)
                .map(Some)
                .map_err(|fault| Fault::bad_request(format!("field '{name}': {fault}"))),
        }
    }

    /// As [`Fields::duration`], in whole seconds. A part of a second counts as one: none would
    /// mean that nothing was asked for.
    pub fn seconds(&self, name: &str) -> Result<Option<u64>, Fault> {
        let span = self.duration(name)?;
        Ok(span.map(|span| span.as_secs() + u64::from(span.subsec_nanos() > 0)))
    }

    /// A list, or comma-separated text; parts are trimmed, empty ones dropped.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(
                text.split(',')
                    .map(|part| part.trim().to_owned())
                    .filter(|p| !p.is_empty())
                    .collect(),
            )),
            Some(Value::Array(items)) => {
                let text = |item: &Value| match item {
                    Value::String(text) => Ok(text.trim().to_owned()),
                    Value::Number(number) => Ok(number.to_string()),
                    _ => Err(wrong(name, "a list of texts")),
                };
                items.iter().map(text).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong(name, "a list of texts or comma-separated text")),
        }
    }

    /// A list of whole numbers, or comma-separated text.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        let Some(parts) = self.number_parts(name)? else {
            return Ok(None);
        };
        let whole = |part: &String| {
            part.parse()
                .map_err(|_| wrong(name, "a list of whole numbers"))
        };
        parts.iter().map(whole).collect::<Result<_, _>>().map(Some)
    }

    fn number_parts(&self, name: &str) -> Result<Option<Vec<String>>, Fault> {
        match self.0.get(name) {
            Some(Value::Number(number)) => Ok(Some(vec![number.to_string()])),
            _ => self.list(name),
        }
    }

    /// An object whose values are texts, or `["k=v"]`, or `"k=v"`.
    pub fn text_map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => {
                let entry = |(key, value): (&String, &Value)| match value {
                    Value::String(text) => Ok((key.clone(), text.clone())),
                    Value::Number(number) => Ok((key.clone(), number.to_string())),
                    Value::Bool(flag) => Ok((key.clone(), flag.to_string())),
                    _ => Err(wrong(name, "an object of texts")),
                };
                map.iter().map(entry).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => {
                let pair = |part: String| match part.split_once('=') {
                    Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                    None => Err(wrong(name, "an object of texts")),
                };
                self.list(name)?
                    .unwrap_or_default()
                    .into_iter()
                    .map(pair)
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
        }
    }

    /// An object of any values.
    pub fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(wrong(name, "an object")),
        }
    }
}

fn wrong(name: &str, expected: &str) -> Fault {
    Fault::bad_request(format!("field '{name}': expected {expected}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads field `x` of `value`: what `read` makes of it, or its refusal.
    fn with<T>(
        value: Value,
        read: impl FnOnce(&Fields<'_>) -> Result<T, Fault>,
    ) -> Result<T, String> {
        let mut map = Map::new();
        map.insert("x".to_owned(), value);
        read(&Fields(&map)).map_err(|fault| {
            assert_eq!(fault.status, 400);
            fault.errors.concat()
        })
    }

    /// Vault's Go library sends `null` to unwrap with the token of the client itself.
    #[test]
    fn a_body_of_nothing_or_null_has_no_fields() {
        for body in [&b""[..], b" \r\n", b"null", b" null\n"] {
            assert!(parse_json(body).unwrap().0.is_empty(), "{body:?}");
        }
        for body in [&b"nul"[..], b"null null", b"NULL", b"[]", b"\"null\"", b"0"] {
            assert_eq!(parse_json(body).err().unwrap().status, 400, "{body:?}");
        }
    }

    #[test]
    fn texts_take_numbers_and_flags() {
        let text = |value| with(value, |fields| fields.text("x"));
        assert_eq!(text(json!("a")), Ok(Some("a".into())));
        assert_eq!(text(json!(1.5)), Ok(Some("1.5".into())));
        assert_eq!(text(json!(true)), Ok(Some("true".into())));
        assert_eq!(text(json!(null)), Ok(None));
        assert_eq!(with(json!("a"), |fields| fields.text("y")), Ok(None));
        assert_eq!(text(json!([])), Err("field 'x': expected text".into()));
        let required = |value| with(value, |fields| fields.required("x"));
        for value in [json!(null), json!("")] {
            assert_eq!(required(value), Err("missing x".into()));
        }
    }

    #[test]
    fn flags_come_in_gos_spellings() {
        let flag = |value| with(value, |fields| fields.flag("x"));
        for yes in [
            json!(true),
            json!("true"),
            json!("1"),
            json!(1),
            json!("T"),
            json!("True"),
        ] {
            assert_eq!(flag(yes), Ok(Some(true)));
        }
        for no in [
            json!(false),
            json!("false"),
            json!(0),
            json!("F"),
            json!("FALSE"),
        ] {
            assert_eq!(flag(no), Ok(Some(false)));
        }
        assert_eq!(flag(json!("")), Ok(None));
        for bad in [json!("yes"), json!(2), json!([true]), json!({})] {
            assert!(flag(bad).is_err());
        }
    }

    #[test]
    fn numbers_and_spans_are_whole_and_bounded() {
        let number = |value| with(value, |fields| fields.number("x"));
        assert_eq!(number(json!(" 7 ")), Ok(Some(7)));
        assert_eq!(number(json!(-7)), Ok(Some(-7)));
        assert_eq!(number(json!("")), Ok(None));
        for bad in [
            json!("7s"),
            json!(1.5),
            json!(u64::MAX),
            json!(1e300),
            json!([7]),
            json!("0x7"),
        ] {
            assert!(number(bad).is_err());
        }
        let span = |value| with(value, |fields| fields.duration("x"));
        assert_eq!(span(json!(90)), Ok(Some(Duration::from_secs(90))));
        assert_eq!(
            span(json!("2160h0m0s")),
            Ok(Some(Duration::from_secs(7_776_000)))
        );
        assert_eq!(span(json!("")), Ok(Some(Duration::ZERO)));
        let seconds = |value| with(value, |fields| fields.seconds("x"));
        assert_eq!(seconds(json!("1m30s")), Ok(Some(90)));
        assert_eq!(seconds(json!("1ms")), Ok(Some(1)), "never the default");
        assert_eq!(seconds(json!(0)), Ok(Some(0)));
        for bad in [
            json!("-1s"),
            json!(-1),
            json!("soon"),
            json!("9999999999h"),
            json!([]),
        ] {
            assert!(span(bad).is_err());
        }
    }

    #[test]
    fn lists_come_as_arrays_and_as_text() {
        let list = |value| with(value, |fields| fields.list("x"));
        let some = |parts: &[&str]| Ok(Some(parts.iter().map(|part| (*part).to_owned()).collect()));
        assert_eq!(list(json!(" a, b,,c ")), some(&["a", "b", "c"]));
        assert_eq!(list(json!([" a ", 1])), some(&["a", "1"]));
        assert_eq!(list(json!("")), some(&[]));
        assert_eq!(list(json!(null)), Ok(None));
        for bad in [
            json!(1),
            json!([["a"]]),
            json!([{}]),
            json!({}),
            json!([null]),
        ] {
            assert!(list(bad).is_err());
        }
        let numbers = |value| with(value, |fields| fields.numbers("x"));
        assert_eq!(numbers(json!([1, "2"])), Ok(Some(vec![1, 2])));
        assert_eq!(numbers(json!("1,2")), Ok(Some(vec![1, 2])));
        assert_eq!(numbers(json!(3)), Ok(Some(vec![3])));
        assert!(numbers(json!("1,b")).is_err());
    }

    #[test]
    fn maps_come_as_objects_and_as_pairs() {
        let map = |value| with(value, |fields| fields.text_map("x"));
        let expected = Ok(Some(BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "true".to_owned()),
        ])));
        assert_eq!(map(json!({ "a": 1, "b": true })), expected);
        assert_eq!(map(json!(["a=1", "b=true"])), expected);
        assert_eq!(map(json!("a=1,b=true")), expected);
        for bad in [
            json!("a"),
            json!({ "a": [] }),
            json!({ "a": null }),
            json!(1),
        ] {
            assert!(map(bad).is_err());
        }
    }

    #[test]
    fn refusals_name_the_field_and_not_the_value() {
        let secret = || json!(["SECRET", ["SECRET"]]);
        let texts = [
            with(secret(), |fields| fields.text("x")).unwrap_err(),
            with(json!("SECRET"), |fields| fields.flag("x")).unwrap_err(),
            with(json!("SECRET"), |fields| fields.number("x")).unwrap_err(),
            with(json!("SECRET"), |fields| fields.duration("x")).unwrap_err(),
            with(secret(), |fields| fields.list("x")).unwrap_err(),
            with(json!("SECRET"), |fields| fields.numbers("x")).unwrap_err(),
            with(json!("SECRET"), |fields| fields.text_map("x")).unwrap_err(),
            with(json!("SECRET"), |fields| fields.object("x").map(|_| ())).unwrap_err(),
        ];
        for text in texts {
            assert!(text.contains("'x'") && !text.contains("SECRET"), "{text}");
        }
    }

    #[test]
    fn texts_are_wiped_wherever_they_stand() {
        let mut given = Given(
            json!({ "a": "s", "b": ["s", { "c": "s" }], "d": 1 })
                .as_object()
                .unwrap()
                .clone(),
        );
        wipe_all(&mut given.0);
        assert_eq!(
            Value::Object(given.0.clone()),
            json!({ "a": "", "b": ["", { "c": "" }], "d": 1 })
        );
    }

    #[test]
    fn bodies_are_one_object_or_nothing() {
        assert!(parse_json(b" \r\n\t ").unwrap().is_empty());
        let status = |body: &[u8]| parse_json(body).unwrap_err().status;
        assert_eq!(status(br#"{"a":"1","a":"2"}"#), 400);
        assert_eq!(status("[".repeat(100).as_bytes()), 413);
        let wide = format!("{{\"a\":[{}1]}}", "1,".repeat(10_000));
        assert_eq!(status(wide.as_bytes()), 413);
    }
}
