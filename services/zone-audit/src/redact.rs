//! Bodies with every string replaced by its HMAC, without building a JSON tree.
//!
//! What must hold: no string value of a body reaches the output in the clear, whatever the shape
//! of the JSON (A1). Text that is not JSON becomes one HMAC as a whole, so a mistake of the
//! caller cannot leak. Keys, numbers, booleans and null stay, as in Vault.

use std::io::Write as _;

use serde_json::Value;
use zone_crypto::hmac;
use zone_types::Secret;

use crate::entry::Data;

/// Deepest nesting that is walked; deeper text becomes one HMAC.
const MAX_DEPTH: usize = 128;

/// Writes bodies for one device.
pub(crate) struct Redactor<'a> {
    /// The device's key.
    pub(crate) key: &'a hmac::Key,
    /// Strings whose innermost object key is one of these stay in the clear (Vault's
    /// `audit_non_hmac_*_keys`).
    pub(crate) clear: &'a [String],
}

impl Redactor<'_> {
    /// Appends `data` as one JSON value.
    pub(crate) fn data(&self, out: &mut Vec<u8>, data: Data<'_>) {
        match data {
            Data::Map(map) => self.object(out, map),
            Data::Bytes(bytes) => push_hmac(out, self.key, bytes),
            Data::Json(text) => {
                let start = out.len();
                let scan = Scan {
                    text,
                    at: 0,
                    out: &mut *out,
                    redactor: self,
                };
                if scan.document().is_none() {
                    out.truncate(start);
                    push_hmac(out, self.key, text.as_bytes());
                }
            }
        }
    }

    fn object(&self, out: &mut Vec<u8>, map: &serde_json::Map<String, Value>) {
        out.push(b'{');
        for (i, (key, value)) in map.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_string(out, key);
            out.push(b':');
            self.value(out, value, self.is_clear(key));
        }
        out.push(b'}');
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value, clear: bool) {
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Number(number) => drop(write!(out, "{number}")),
            Value::String(text) if clear => push_string(out, text),
            Value::String(text) => push_hmac(out, self.key, text.as_bytes()),
            Value::Object(map) => self.object(out, map),
            Value::Array(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.value(out, item, clear);
                }
                out.push(b']');
            }
        }
    }

    fn is_clear(&self, key: &str) -> bool {
        self.clear.iter().any(|clear| clear == key)
    }
}

/// Appends `"hmac-sha256:<hex>"`.
pub(crate) fn push_hmac(out: &mut Vec<u8>, key: &hmac::Key, value: &[u8]) {
    out.push(b'"');
    push_hmac_text(out, key, value);
    out.push(b'"');
}

fn push_hmac_text(out: &mut Vec<u8>, key: &hmac::Key, value: &[u8]) {
    out.extend_from_slice(b"hmac-sha256:");
    push_hex(out, &key.sign(value));
}

/// `hmac-sha256:<hex>` of `value`, as the lines hold it.
pub(crate) fn hmac_text(key: &hmac::Key, value: &[u8]) -> String {
    let mut out = Vec::with_capacity(76);
    push_hmac_text(&mut out, key, value);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends lower-case hex digits.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Appends `text` as a JSON string. Control characters are escaped, so no value can end a line.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 | 0x7f => &[],
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        out.extend_from_slice(escape);
        if escape.is_empty() {
            out.extend_from_slice(b"\\u00");
            push_hex(out, &[byte]);
        }
        copied = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
    out.push(b'"');
}

/// One pass over JSON text. Each method returns `None` for what is not JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    out: &'a mut Vec<u8>,
    redactor: &'a Redactor<'a>,
}

impl<'a> Scan<'a> {
    fn document(mut self) -> Option<()> {
        self.value(false, 0)?;
        self.space();
        (self.at == self.text.len()).then_some(())
    }

    fn value(&mut self, clear: bool, depth: usize) -> Option<()> {
        self.space();
        match self.peek()? {
            b'{' if depth < MAX_DEPTH => self.object(depth + 1),
            b'[' if depth < MAX_DEPTH => self.array(clear, depth + 1),
            b'"' => {
                let raw = self.string()?;
                if clear {
                    self.out.extend_from_slice(raw.as_bytes());
                } else {
                    self.redact(raw)?;
                }
                Some(())
            }
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.copy(b'{')?;
        self.space();
        if self.peek()? == b'}' {
            return self.copy(b'}');
        }
        loop {
            self.space();
            let raw = self.string()?;
            self.out.extend_from_slice(raw.as_bytes());
            let clear = !self.redactor.clear.is_empty() && self.is_clear(raw)?;
            self.space();
            self.copy(b':')?;
            self.value(clear, depth)?;
            self.space();
            match self.peek()? {
                b',' => self.copy(b',')?,
                _ => return self.copy(b'}'),
            }
        }
    }

    fn array(&mut self, clear: bool, depth: usize) -> Option<()> {
        self.copy(b'[')?;
        self.space();
        if self.peek()? == b']' {
            return self.copy(b']');
        }
        loop {
            self.value(clear, depth)?;
            self.space();
            match self.peek()? {
                b',' => self.copy(b',')?,
                _ => return self.copy(b']'),
            }
        }
    }

    /// The string that begins here, with its quotes, as it stands in the text.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.skip(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    fn redact(&mut self, raw: &str) -> Option<()> {
        let inner = raw.get(1..raw.len() - 1)?;
        if inner.contains('\\') {
            let value = Secret::new(serde_json::from_str::<String>(raw).ok()?);
            push_hmac(self.out, self.redactor.key, value.expose().as_bytes());
        } else {
            push_hmac(self.out, self.redactor.key, inner.as_bytes());
        }
        Some(())
    }

    fn is_clear(&self, raw: &str) -> Option<bool> {
        let key: std::borrow::Cow<'_, str> = serde_json::from_str(raw).ok()?;
        Some(self.redactor.is_clear(&key))
    }

    fn number(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let digits = |b: u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.bytes().take_while(|b| digits(*b)).count();
        self.out.extend_from_slice(&rest.as_bytes()[..len]);
        self.at += len;
        Some(())
    }

    fn literal(&mut self, word: &'static str) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then_some(())?;
        self.out.extend_from_slice(word.as_bytes());
        self.at += word.len();
        Some(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then_some(())?;
        self.at += 1;
        Some(())
    }

    fn copy(&mut self, byte: u8) -> Option<()> {
        self.skip(byte)?;
        self.out.push(byte);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Map;

    fn redact(data: Data<'_>, clear: &[&str]) -> String {
        let clear: Vec<String> = clear.iter().map(|key| (*key).to_owned()).collect();
        let key = hmac::Key::new(&[7; 32]);
        let mut out = Vec::new();
        Redactor {
            key: &key,
            clear: &clear,
        }
        .data(&mut out, data);
        String::from_utf8(out).unwrap()
    }

    fn hashed(value: &str) -> String {
        hmac_text(&hmac::Key::new(&[7; 32]), value.as_bytes())
    }

    #[test]
    fn the_innermost_key_decides_what_stays_clear() {
        let text = r#"{"a":["x",{"b":"y"}], "b":["z"],"c":{"a":"w"}}"#;
        let want = format!(
            r#"{{"a":["x",{{"b":"{}"}}],"b":["{}"],"c":{{"a":"w"}}}}"#,
            hashed("y"),
            hashed("z")
        );
        assert_eq!(redact(Data::Json(text), &["a"]), want);
        // A key is what it means, not how it is spelled.
        assert_eq!(
            redact(Data::Json(r#"{"\u0061":"x"}"#), &["a"]),
            r#"{"\u0061":"x"}"#
        );
        let map: Map<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(redact(Data::Map(&map), &["a"]), want);
    }

    #[test]
    fn a1_text_that_is_not_json_is_one_hmac() {
        for text in [
            "",
            "CANARY",
            "{\"a\":\"CANARY",
            "{\"a\":\"x\"} CANARY",
            "{CANARY:1}",
            "\"\\ud800CANARY\"",
            "[tCANARY]",
            "\"CANARY\n\"",
            "{\"a\" \"CANARY\"}",
            "\"\\",
            "\"\\é\"",
            "[1,]",
        ] {
            assert_eq!(
                redact(Data::Json(text), &[]),
                format!("\"{}\"", hashed(text)),
                "{text}"
            );
        }
        let deep = format!("{}\"CANARY\"{}", "[".repeat(500), "]".repeat(500));
        assert_eq!(
            redact(Data::Json(&deep), &[]),
            format!("\"{}\"", hashed(&deep))
        );
        assert_eq!(
            redact(Data::Bytes(b"CANARY"), &[]),
            format!("\"{}\"", hashed("CANARY"))
        );
    }

    #[test]
    fn strings_cannot_end_a_line_or_a_value() {
        let mut out = Vec::new();
        push_string(&mut out, "a\"b\\c\n\r\t\0\u{1f}\u{7f}é\u{2028}");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u001f\\u007fé\u{2028}\""
        );
        assert!(serde_json::from_str::<String>(&text).is_ok());
    }

    /// JSON in which every string value holds the canary.
    fn canaries() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "\\PC{0,12}".prop_map(|noise| format!("{noise}CANARY{noise}")),
            "[\\x00-\\x7f]{0,12}".prop_map(|noise| format!("{noise}CANARY\"\\{noise}")),
            Just("CANARY".repeat(2_000)),
        ];
        let leaf = prop_oneof![
            text.prop_map(Value::String),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::Bool),
            Just(Value::Null),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec(("\\PC{0,6}", inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// `value` with every character of every string escaped, as `\u` where it was not.
    fn escaped(text: &str) -> String {
        let mut out = String::new();
        let mut inside = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    inside = !inside;
                    out.push(c);
                }
                '\\' => {
                    out.push(c);
                    let escape = chars.next();
                    out.extend(escape);
                    let digits = if escape == Some('u') { 4 } else { 0 };
                    out.extend(chars.by_ref().take(digits));
                }
                c if inside => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out
    }

    /// What the redacted form must be: the same shape, each string replaced.
    fn model(value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(hashed(text)),
            Value::Array(items) => Value::Array(items.iter().map(model).collect()),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), model(value)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn a1_no_string_survives_in_any_shape(value in canaries()) {
            let text = value.to_string();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            for form in [&text, &pretty, &escaped(&text)] {
                let out = redact(Data::Json(form), &[]);
                prop_assert!(!out.contains("CANARY"));
                prop_assert_eq!(&serde_json::from_str::<Value>(&out).unwrap(), &model(&value));
            }
            if let Value::Object(map) = &value {
                prop_assert_eq!(redact(Data::Map(map), &[]), redact(Data::Json(&text), &[]));
            }
        }

        #[test]
        fn a1_cut_json_never_leaks(value in canaries(), at in any::<prop::sample::Index>()) {
            let text = value.to_string();
            let at = at.index(text.len() + 1);
            if let Some(part) = text.get(..at) {
                prop_assert!(!redact(Data::Json(part), &[]).contains("CANARY"));
            }
        }
    }
}
