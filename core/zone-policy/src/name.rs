//! Names of policies, in one spelling.
//!
//! Vault and OpenBao were broken three times by names that were compared in two spellings
//! (CVE-2025-5999, CVE-2025-64761: `" Root"` became `root`). So there is one type, and its only
//! constructor trims and lower-cases.

use std::fmt;

/// Why a name was refused. Holds no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing is left after trimming.
    #[error("a policy name must not be empty")]
    Empty,
    /// Over [`PolicyName::MAX`] bytes.
    #[error("a policy name has at most 128 bytes")]
    TooLong,
    /// A character that could make two names look or act alike.
    #[error(
        "a policy name must not hold control or invisible characters, '*', ',' or quotes, \
         nor an empty, '.' or '..' segment"
    )]
    Character,
}

/// The name of a policy: trimmed of white space of any kind, lower-cased, never empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Box<str>);

impl PolicyName {
    /// The longest name, in bytes.
    pub const MAX: usize = 128;

    /// Reads a name in any spelling.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let name = text.trim().to_lowercase();
        if name.is_empty() {
            return Err(NameFault::Empty);
        }
        if name.len() > Self::MAX {
            return Err(NameFault::TooLong);
        }
        let unfit =
            |c: char| matches!(c, '*' | ',' | '"' | '\'' | '`') || (c.is_whitespace() && c != ' ');
        let canonical = zone_types::RequestPath::from_text(&name);
        if name.contains(unfit) || name.ends_with('/') || canonical.is_err() {
            return Err(NameFault::Character);
        }
        Ok(Self(name.into_boxed_str()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `root`, which stands for every right and has no text.
    pub fn is_root(&self) -> bool {
        &*self.0 == "root"
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_8_each_spelling_of_root_is_root() {
        let spellings = [
            "root",
            " Root",
            "ROOT",
            "root\n",
            "\u{2003}rOOt\u{a0}",
            "\t root \u{3000}",
            "\u{85}Root",
        ];
        for text in spellings {
            assert!(PolicyName::parse(text).unwrap().is_root(), "{text:?}");
        }
        for text in [
            "ro\u{200b}ot",
            "\u{feff}root",
            "root\0",
            "ro\u{2003}ot",
            "root,default",
        ] {
            assert_eq!(
                PolicyName::parse(text),
                Err(NameFault::Character),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_name_read_again_is_the_same_name() {
        for text in ["App-Team", "team/app", "a b", "ÄÖ", "ΑΣ", "İx", "K8s"] {
            let name = PolicyName::parse(text).unwrap();
            assert_eq!(PolicyName::parse(name.as_str()), Ok(name));
        }
    }

    #[test]
    fn refuses_what_is_no_name() {
        assert_eq!(PolicyName::parse(" \u{2003}"), Err(NameFault::Empty));
        assert_eq!(PolicyName::parse(&"a".repeat(129)), Err(NameFault::TooLong));
        for text in ["a*", "../a", "a//b", "a/", "/a", "a\u{202e}b"] {
            assert_eq!(
                PolicyName::parse(text),
                Err(NameFault::Character),
                "{text:?}"
            );
        }
    }
}
