//! The one canonical path (A3): what the policy judged is byte for byte what the router serves.
//!
//! Attack this stops: `secret/../sys/raw`, `secret%2fadmin`, `secret//admin` and friends judged
//! by the policy in one spelling and served in another (CVE-2026-3605 and its kind). There is no
//! normalisation: a path is canonical or it is refused, so two spellings of one path cannot exist.

use std::fmt;

/// Longest path in bytes, judged before anything looks inside.
pub const MAX_PATH: usize = 4096;
/// Most segments.
pub const MAX_SEGMENTS: usize = 64;

/// Why a path was refused. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Over [`MAX_PATH`] bytes.
    #[error("the path is longer than 4096 bytes")]
    TooLong,
    /// Over [`MAX_SEGMENTS`] segments.
    #[error("the path has more than 64 segments")]
    TooManySegments,
    /// A `.` or `..` segment.
    #[error("the path has a '.' or '..' segment")]
    DotSegment,
    /// An empty segment: `//`, or a `/` in front.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A percent sign that does not begin two hex digits.
    #[error("the path has a malformed percent-encoding")]
    Encoding,
    /// `%2f`.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// A control byte, a backslash, or one of Unicode's invisible formatting characters.
    #[error("the path has a control character")]
    Control,
    /// Not UTF-8 once decoded.
    #[error("the path is not UTF-8")]
    NotUtf8,
}

/// A canonical path below `/v1/`, percent-decoded: non-empty segments joined by `/`, perhaps with
/// one `/` at its end (which asks for a list, or names a prefix). May be empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestPath(Box<str>);

impl RequestPath {
    /// Reads the path of a request target as it came over the wire, without its leading `/v1/`.
    pub fn from_wire(raw: &str) -> Result<Self, PathFault> {
        if raw.len() > MAX_PATH {
            return Err(PathFault::TooLong);
        }
        if raw.bytes().filter(|b| *b == b'/').count() >= MAX_SEGMENTS {
            return Err(PathFault::TooManySegments);
        }
        let decoded = percent_decode(raw)?;
        Self::from_text(&decoded)
    }

    /// Reads a path that was never percent-encoded (a JSON field, a command's argument).
    pub fn from_text(text: &str) -> Result<Self, PathFault> {
        if text.len() > MAX_PATH {
            return Err(PathFault::TooLong);
        }
        if text.chars().any(is_hidden) {
            return Err(PathFault::Control);
        }
        let body = text.strip_suffix('/').unwrap_or(text);
        if body.is_empty() {
            return if text.is_empty() {
                Ok(Self("".into()))
            } else {
                Err(PathFault::EmptySegment)
            };
        }
        let mut segments = 0;
        for segment in body.split('/') {
            segments += 1;
            match segment {
                "" => return Err(PathFault::EmptySegment),
                "." | ".." => return Err(PathFault::DotSegment),
                _ => {}
            }
        }
        if segments > MAX_SEGMENTS {
            return Err(PathFault::TooManySegments);
        }
        Ok(Self(text.into()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it ends in `/`.
    pub fn is_prefix(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The same path with `/` at its end (a list is judged and served in this form).
    #[must_use]
    pub fn as_prefix(&self) -> Self {
        if self.0.is_empty() || self.is_prefix() {
            return self.clone();
        }
        Self(format!("{}/", self.0).into_boxed_str())
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a mount hangs: a canonical, non-empty path that ends in `/`, at most 200 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountPath(Box<str>);

impl MountPath {
    /// Reads `text` with or without `/` at its end.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        let path = RequestPath::from_text(text)?.as_prefix();
        if path.as_str().is_empty() {
            return Err(PathFault::EmptySegment);
        }
        if path.as_str().len() > 200 {
            return Err(PathFault::TooLong);
        }
        Ok(Self(path.0))
    }

    /// The text, with `/` at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two lies inside the other, so that they cannot both be mounts.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&*other.0) || other.0.starts_with(&*self.0)
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for MountPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for MountPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for MountPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Control characters, the backslash, and characters that change how a path looks but not what
/// it is (bidi controls, zero-width characters, byte order mark).
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\\' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn percent_decode(raw: &str) -> Result<String, PathFault> {
    if !raw.contains('%') {
        return Ok(raw.to_owned());
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let value = hex_digit(bytes.next())? << 4 | hex_digit(bytes.next())?;
        if value == b'/' {
            return Err(PathFault::EncodedSlash);
        }
        out.push(value);
    }
    String::from_utf8(out).map_err(|_| PathFault::NotUtf8)
}

fn hex_digit(byte: Option<u8>) -> Result<u8, PathFault> {
    match byte {
        Some(b @ b'0'..=b'9') => Ok(b - b'0'),
        Some(b @ b'a'..=b'f') => Ok(b - b'a' + 10),
        Some(b @ b'A'..=b'F') => Ok(b - b'A' + 10),
        _ => Err(PathFault::Encoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a3_accepts_canonical_paths_unchanged() {
        for path in [
            "",
            "sys/health",
            "secret/data/a b",
            "secret/metadata/",
            "a/b.c/..d",
            "ä/ö",
        ] {
            assert_eq!(RequestPath::from_wire(path).unwrap().as_str(), path);
        }
        assert_eq!(
            RequestPath::from_wire("a%20b/%C3%A4").unwrap().as_str(),
            "a b/ä"
        );
    }

    #[test]
    fn a3_refuses_each_other_spelling() {
        let cases = [
            ("secret/../sys", PathFault::DotSegment),
            ("secret/%2e%2e/sys", PathFault::DotSegment),
            ("./sys", PathFault::DotSegment),
            ("secret%2fdata", PathFault::EncodedSlash),
            ("secret%2Fdata", PathFault::EncodedSlash),
            ("secret//data", PathFault::EmptySegment),
            ("/sys", PathFault::EmptySegment),
            ("/", PathFault::EmptySegment),
            ("a//", PathFault::EmptySegment),
            ("a%00b", PathFault::Control),
            ("a%0ab", PathFault::Control),
            ("a\\b", PathFault::Control),
            ("a%7f", PathFault::Control),
            ("a%E2%80%AEb", PathFault::Control),
            ("a%ff", PathFault::NotUtf8),
            ("a%2", PathFault::Encoding),
            ("a%zz", PathFault::Encoding),
        ];
        for (path, fault) in cases {
            assert_eq!(RequestPath::from_wire(path), Err(fault), "{path}");
        }
        assert_eq!(
            RequestPath::from_wire(&"a".repeat(4097)),
            Err(PathFault::TooLong)
        );
        assert_eq!(
            RequestPath::from_wire(&"a/".repeat(65)),
            Err(PathFault::TooManySegments)
        );
    }

    #[test]
    fn mounts_overlap_when_one_holds_the_other() {
        let mount = |text| MountPath::parse(text).unwrap();
        assert!(mount("a/b").overlaps(&mount("a")));
        assert!(mount("a").overlaps(&mount("a/b/")));
        assert!(!mount("ab").overlaps(&mount("a")));
        assert!(MountPath::parse("").is_err());
    }
}
