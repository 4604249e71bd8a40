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
