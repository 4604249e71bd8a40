//! Typed reading of Vault's loose request fields. Each fault is a 400 that names the field and
//! what was expected, and never the value.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};
use zone_types::parse_duration;

use super::exchange::Fault;

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
