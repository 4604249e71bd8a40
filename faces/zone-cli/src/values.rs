//! `key=value` arguments.
//!
//! ```text
//! key=text   key=@file   key=-   key=\@text   @file.json   -
//! ```
//!
//! What must hold: a value is text, as in Vault (`5` is `"5"`); a value that is read from a file
//! or standard input never stands in an error.

use std::path::Path;

use serde_json::{Map, Value};
use zone_types::Secret;

use crate::console::{Input, read_bounded};

/// Why arguments were refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ValueFault {
    #[error("{0:?} is not of the form key=value, key=@file, key=-, @file or -")]
    Malformed(String),
    #[error("the key is missing in an argument that begins with '='")]
    NoKey,
    #[error("the file {path} cannot be read: {error}")]
    File { path: String, error: std::io::Error },
    #[error("standard input cannot be read: {0}")]
    Input(std::io::Error),
    #[error("standard input is asked for twice; it can be read once")]
    InputTwice,
    #[error("what {0} holds is not UTF-8")]
    NotText(String),
    #[error("what {0} holds is not a JSON object")]
    NotJson(String),
}

/// Reads arguments into a JSON object. A key that comes twice becomes a list, as in Vault.
pub(crate) fn read<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    input: &mut dyn Input,
) -> Result<Map<String, Value>, ValueFault> {
    let mut reader = Reader { input, used: false };
    let mut map = Map::new();
    for argument in arguments {
        if argument == "-" || argument.starts_with('@') {
            let (text, name) = reader.text(argument)?;
            let object: Map<String, Value> =
                serde_json::from_str(text.expose()).map_err(|_| ValueFault::NotJson(name))?;
            object
                .into_iter()
                .for_each(|(key, value)| add(&mut map, key, value));
            continue;
        }
        let (key, value) = argument
            .split_once('=')
            .ok_or_else(|| ValueFault::Malformed(shown(argument)))?;
        if key.is_empty() {
            return Err(ValueFault::NoKey);
        }
        let value = reader.value(value)?;
        add(
            &mut map,
            key.to_owned(),
            Value::String(value.expose().clone()),
        );
    }
    Ok(map)
}

/// Reads one value: `@file`, `-`, `\@text` or the text itself.
pub(crate) fn read_one(value: &str, input: &mut dyn Input) -> Result<Secret<String>, ValueFault> {
    Reader { input, used: false }.value(value)
}

/// As [`read`], with each value as texts, for query strings.
pub(crate) fn read_pairs<'a>(
    arguments: impl IntoIterator<Item = &'a str>,
    input: &mut dyn Input,
) -> Result<Vec<(String, String)>, ValueFault> {
    let mut pairs = Vec::new();
    for (key, value) in read(arguments, input)? {
        match value {
            Value::Array(items) => {
                pairs.extend(items.iter().map(|item| (key.clone(), plain(item))));
            }
            value => pairs.push((key, plain(&value))),
        }
    }
    Ok(pairs)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn add(map: &mut Map<String, Value>, key: String, value: Value) {
    match map.get_mut(&key) {
        None => drop(map.insert(key, value)),
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// The start of an argument, for a message: what follows may be a secret.
fn shown(argument: &str) -> String {
    match argument.char_indices().nth(8) {
        Some((at, _)) => format!("{}…", &argument[..at]),
        None => argument.to_owned(),
    }
}

struct Reader<'a> {
    input: &'a mut dyn Input,
    used: bool,
}

impl Reader<'_> {
    fn value(&mut self, value: &str) -> Result<Secret<String>, ValueFault> {
        if let Some(text) = value.strip_prefix("\\@") {
            return Ok(Secret::new(format!("@{text}")));
        }
        match value == "-" || value.starts_with('@') {
            true => Ok(self.text(value)?.0),
            false => Ok(Secret::new(value.to_owned())),
        }
    }

    /// The content that `-` or `@file` names, and a name for messages.
    fn text(&mut self, source: &str) -> Result<(Secret<String>, String), ValueFault> {
        let (bytes, name) = match source.strip_prefix('@') {
            Some(path) => (file(path)?, format!("the file {path}")),
            None => {
                if std::mem::replace(&mut self.used, true) {
                    return Err(ValueFault::InputTwice);
                }
                let bytes = self.input.read_all().map_err(ValueFault::Input)?;
                (bytes, "standard input".to_owned())
            }
        };
        match std::str::from_utf8(bytes.expose()) {
            Ok(text) => Ok((Secret::new(text.to_owned()), name)),
            Err(_) => Err(ValueFault::NotText(name)),
        }
    }
}

fn file(path: &str) -> Result<Secret<Vec<u8>>, ValueFault> {
    let content = std::fs::File::open(Path::new(path)).and_then(read_bounded);
    content.map_err(|error| ValueFault::File {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use expect_test::{Expect, expect};

    use super::*;

    struct Piped(&'static str);

    impl Input for Piped {
        fn is_terminal(&self) -> bool {
            false
        }

        fn read_all(&mut self) -> io::Result<Secret<Vec<u8>>> {
            Ok(Secret::new(self.0.as_bytes().to_vec()))
        }

        fn read_hidden(&mut self, _prompt: &str) -> io::Result<Secret<String>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn check(arguments: &[&str], input: &'static str, expected: Expect) {
        let shown = match read(arguments.iter().copied(), &mut Piped(input)) {
            Ok(map) => Value::Object(map).to_string(),
            Err(fault) => format!("error: {fault}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn values_are_texts_as_in_vault() {
        check(
            &["a=b", "n=5", "t=true", "e=", "q=x=y", "j={\"a\":1}"],
            "",
            expect![[r#"{"a":"b","n":"5","t":"true","e":"","q":"x=y","j":"{\"a\":1}"}"#]],
        );
        check(
            &["a=1", "a=2", "a=3"],
            "",
            expect![[r#"{"a":["1","2","3"]}"#]],
        );
        check(&[r"a=\@home"], "", expect![[r#"{"a":"@home"}"#]]);
        check(&[], "", expect!["{}"]);
    }

    #[test]
    fn values_come_from_files_and_standard_input() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().join("value.txt");
        std::fs::write(&text, "hunter2\n").unwrap();
        let json = directory.path().join("all.json");
        std::fs::write(&json, r#"{"n": 5, "deep": {"a": null}}"#).unwrap();
        let at = |path: &Path| path.to_str().unwrap().to_owned();
        check(
            &[&format!("a=@{}", at(&text))],
            "",
            expect![[r#"{"a":"hunter2\n"}"#]],
        );
        check(
            &[&format!("@{}", at(&json)), "b=c"],
            "",
            expect![[r#"{"n":5,"deep":{"a":null},"b":"c"}"#]],
        );
        check(&["a=-"], "from stdin", expect![[r#"{"a":"from stdin"}"#]]);
        check(
            &["-"],
            r#"{"big": 12345678901234567890123}"#,
            expect![[r#"{"big":12345678901234567890123}"#]],
        );
    }

    #[test]
    fn faults_name_the_argument_and_hide_values() {
        check(
            &["hunter2hunter2"],
            "",
            expect![[
                r#"error: "hunter2h…" is not of the form key=value, key=@file, key=-, @file or -"#
            ]],
        );
        check(
            &["=b"],
            "",
            expect!["error: the key is missing in an argument that begins with '='"],
        );
        check(
            &["a=-", "b=-"],
            "",
            expect!["error: standard input is asked for twice; it can be read once"],
        );
        check(
            &["-"],
            "hunter2",
            expect!["error: what standard input holds is not a JSON object"],
        );
        check(
            &["a=@/nowhere/x"],
            "",
            expect![
                "error: the file /nowhere/x cannot be read: No such file or directory (os error 2)"
            ],
        );
    }

    #[test]
    fn query_strings_repeat_lists() {
        let pairs = read_pairs(["a=1", "a=2", "b=c"], &mut Piped("")).unwrap();
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(pairs, [("a", "1"), ("a", "2"), ("b", "c")]);
    }
}
