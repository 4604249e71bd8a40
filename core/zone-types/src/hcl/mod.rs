//! HCL 1, the language of Vault's policies and configuration files, as far as those use it.
//!
//! Read here and not by an HCL 2 library, for two reasons. Vault reads HCL 1: several blocks on
//! one line, quoted keys and `key { "x" = … }` are legal there and wrong in HCL 2. And a library
//! that yields maps has dropped the first of two equal keys before anybody can refuse them.
//!
//! What comes out is a tree with line numbers, the same from HCL and from JSON; whoever reads it
//! decides what it means.
//!
//! Not read: heredocs, interpolation (`${`), octal and hex numbers. They are refused by name.
//! Depth is bounded by [`MAX_DEPTH`].

mod tree;

use serde_json::Number;

pub use tree::{Item, Kind, Node, items_from_json};

/// Deepest nesting of blocks, objects and lists.
pub const MAX_DEPTH: usize = 16;

/// What is wrong, and on which line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HclFault {
    /// Where, from 1.
    pub line: u32,
    /// What was expected.
    pub message: &'static str,
}

/// Reads a whole document.
pub fn parse(text: &str) -> Result<Vec<Item>, HclFault> {
    let mut reader = Reader {
        rest: text,
        line: 1,
    };
    let items = reader.items(0)?;
    if reader.rest.is_empty() {
        return Ok(items);
    }
    Err(reader.fault("a '}' without its '{'"))
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
}

impl Reader<'_> {
    /// Items up to a closing brace or the end, which is left in place.
    fn items(&mut self, depth: usize) -> Result<Vec<Item>, HclFault> {
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Ok(items);
            }
            items.push(self.item(depth)?);
            self.skip_blank()?;
            self.take(',');
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item, HclFault> {
        let line = self.line;
        let key = self.key()?;
        let mut labels = Vec::new();
        loop {
            self.skip_blank()?;
            if self.rest.starts_with('{') {
                let value = self.value(depth)?;
                return Ok(Item {
                    line: Some(line),
                    key,
                    labels,
                    value,
                });
            }
            if self.take('=') {
                if !labels.is_empty() {
                    return Err(self.fault("'=' after a label: write the block without '='"));
                }
                self.skip_blank()?;
                let value = self.value(depth)?;
                return Ok(Item {
                    line: Some(line),
                    key,
                    labels,
                    value,
                });
            }
            if self.rest.is_empty() {
                return Err(self.fault("the text ends after a key: expected '=' or '{'"));
            }
            labels.push(self.key()?);
        }
    }

    /// An identifier or a quoted string.
    fn key(&mut self) -> Result<String, HclFault> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        match self.word() {
            "" => Err(self.fault("expected a key, which is a word or a quoted string")),
            word => Ok(word.to_owned()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, HclFault> {
        let line = self.line;
        let kind = match self.rest.as_bytes().first() {
            Some(b'"') => Kind::Text(self.quoted()?),
            Some(b'[') => Kind::List(self.list(self.deeper(depth)?)?),
            Some(b'{') => Kind::Object(self.object(self.deeper(depth)?)?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(b'<') => return Err(self.fault("heredocs are not read here")),
            _ => match self.word() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                _ => {
                    return Err(self.fault(
                        "expected a value: a quoted string, a number, true, false, [ or {",
                    ));
                }
            },
        };
        Ok(Node {
            line: Some(line),
            kind,
        })
    }

    fn deeper(&self, depth: usize) -> Result<usize, HclFault> {
        if depth >= MAX_DEPTH {
            return Err(self.fault("nested deeper than 16 levels"));
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Item>, HclFault> {
        self.take('{');
        let items = self.items(depth)?;
        if !self.take('}') {
            return Err(self.fault("the text ends before a '}'"));
        }
        Ok(items)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, HclFault> {
        self.take('[');
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.take(']') {
                return Ok(items);
            }
            items.push(self.value(depth)?);
            self.skip_blank()?;
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err(self.fault("expected ',' or ']' in a list"));
            }
        }
    }

    fn quoted(&mut self) -> Result<String, HclFault> {
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(text);
                }
                '\n' => return Err(self.fault("a quoted string ends on the line it begins on")),
                '$' if chars.as_str().starts_with('{') => {
                    return Err(self.fault("interpolation with ${…} is not read here"));
                }
                '\\' => text.push(
                    escaped(&mut chars)
                        .ok_or_else(|| self.fault("an unknown escape in a quoted string"))?,
                ),
                _ => text.push(c),
            }
        }
        Err(self.fault("the text ends inside a quoted string"))
    }

    /// A JSON number (RFC 8259).
    fn number(&mut self) -> Result<Number, HclFault> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '+' | '_'))
            .unwrap_or(self.rest.len());
        let number = serde_json::from_str(&self.rest[..end])
            .map_err(|_| self.fault("expected a decimal number"))?;
        self.rest = &self.rest[end..];
        Ok(number)
    }

    /// A word, perhaps empty.
    fn word(&mut self) -> &str {
        let begins = self
            .rest
            .starts_with(|c: char| c.is_alphabetic() || c == '_');
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(if begins { end } else { 0 });
        self.rest = rest;
        word
    }

    /// White space and comments.
    fn skip_blank(&mut self) -> Result<(), HclFault> {
        loop {
            let rest = self
                .rest
                .trim_start_matches([' ', '\t', '\r', '\n', '\u{feff}']);
            self.step_to(rest.len());
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.step_to(self.rest.len() - end);
            } else if self.rest.starts_with("/*") {
                let end = self
                    .rest
                    .find("*/")
                    .ok_or_else(|| self.fault("a comment never ends"))?;
                self.step_to(self.rest.len() - end - 2);
            } else {
                return Ok(());
            }
        }
    }

    /// Moves on so that `left` bytes remain, and counts lines.
    fn step_to(&mut self, left: usize) {
        let (gone, rest) = self.rest.split_at(self.rest.len() - left);
        let lines = gone.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self
            .line
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
    }

    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn fault(&self, message: &'static str) -> HclFault {
        HclFault {
            line: self.line,
            message,
        }
    }
}

/// The character of an escape whose backslash was just read.
fn escaped(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let digits = match chars.next()?.1 {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'r' => return Some('\r'),
        '"' => return Some('"'),
        '\\' => return Some('\\'),
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + chars.next()?.1.to_digit(16)?;
    }
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> String {
        fn show(node: &Node) -> String {
            match &node.kind {
                Kind::List(list) => {
                    format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(","))
                }
                Kind::Object(items) => format!("{{{}}}", items.iter().map(one).collect::<String>()),
                Kind::Text(text) => format!("{text:?}"),
                Kind::Number(number) => number.to_string(),
                other => format!("{other:?}"),
            }
        }
        fn one(item: &Item) -> String {
            let labels: String = item
                .labels
                .iter()
                .map(|label| format!(" {label:?}"))
                .collect();
            format!(
                "{}:{}{labels}={};",
                item.line.unwrap_or(0),
                item.key,
                show(&item.value)
            )
        }
        match parse(text) {
            Ok(items) => items.iter().map(one).collect(),
            Err(fault) => format!("line {}: {}", fault.line, fault.message),
        }
    }

    #[test]
    fn reads_what_vault_reads() {
        let cases = [
            ("", ""),
            ("a = 1", "1:a=1;"),
            ("a=\"x\" b = true", "1:a=\"x\";1:b=Bool(true);"),
            ("# c\n// c\n/* c\nc */ a = -1.5e3", "4:a=-1.5e+3;"),
            (
                "path \"a\" {x=[\"r\",\"w\",]} path \"b\" {}",
                "1:path \"a\"={1:x=[\"r\",\"w\"];};1:path \"b\"={};",
            ),
            (
                "\"path\" \"a\" {\n p {\n \"*\" = []\n}\n}",
                "1:path \"a\"={2:p={3:*=[];};};",
            ),
            (
                "path = { \"a\" = { c = [] }, \"b\" = {} }",
                "1:path={1:a={1:c=[];};1:b={};};",
            ),
            ("a = \"\\\"\\\\\\n\\u00e4\"", "1:a=\"\\\"\\\\\\nä\";"),
            ("\u{feff}a = \"\"\r\n", "1:a=\"\";"),
        ];
        for (text, expected) in cases {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn names_the_line_of_a_fault() {
        let cases = [
            (
                "a",
                "line 1: the text ends after a key: expected '=' or '{'",
            ),
            ("\na = ", "line 2: expected a value"),
            ("path \"a\" {\n", "line 2: the text ends before a '}'"),
            ("}", "line 1: a '}' without its '{'"),
            ("a = [1 2]", "line 1: expected ',' or ']' in a list"),
            ("a = [", "line 1: expected a value"),
            ("a = \"x", "line 1: the text ends inside a quoted string"),
            (
                "a = \"x\n\"",
                "line 1: a quoted string ends on the line it begins on",
            ),
            ("a = \"${x}\"", "line 1: interpolation"),
            ("a = \"\\x\"", "line 1: an unknown escape"),
            ("a = \"\\uD800\"", "line 1: an unknown escape"),
            ("a = <<EOF\nEOF", "line 1: heredocs"),
            ("a = 0x10", "line 1: expected a decimal number"),
            ("a = yes", "line 1: expected a value"),
            ("a b = 1", "line 1: '=' after a label"),
            ("/* a", "line 1: a comment never ends"),
            ("= 1", "line 1: expected a key"),
        ];
        for (text, expected) in cases {
            assert!(shape(text).starts_with(expected), "{text}: {}", shape(text));
        }
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("[", "]"), ("{ a = ", "}"), ("{ a ", "}")] {
            let nested = |depth| format!("a = {}{}", open.repeat(depth), close.repeat(depth));
            let deep = shape(&nested(100_000));
            assert!(deep.starts_with("line 1: nested deeper"), "{open}: {deep}");
        }
        assert!(parse(&format!("a = {}{}", "[".repeat(16), "]".repeat(16))).is_ok());
    }
}
