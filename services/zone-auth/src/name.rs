//! Names of roles and users, in their one spelling.

use std::fmt;

use zone_access::{MountKind, Permit};

use crate::AuthError;

/// Longest name in bytes.
const LONGEST: usize = 128;

/// The name of a role or of a user: trimmed and lower-cased, so that two spellings of one name
/// are one user with one alias and one lock (CVE-2025-6004, CVE-2025-6013).
///
/// As in Vault letters, digits and `_` of ASCII, between them also `-`, `.` and `@`: nothing that
/// acts in a pattern or looks like something else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// `None` for what no role or user can be called.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let inner = |byte: u8| word(byte) || matches!(byte, b'-' | b'.' | b'@');
        let bytes = text.as_bytes();
        let ends =
            bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
        let fits = ends && bytes.len() <= LONGEST && bytes.iter().all(|byte| inner(*byte));
        fits.then(|| Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// The one spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The second segment of `permit.rest()`, below `area`. What was judged is what is served
    /// (A3): another spelling does not come this far.
    pub(crate) fn of(permit: &Permit, area: &str) -> Result<Self, AuthError> {
        let mut segments = permit.rest().split('/');
        let (found, text) = (segments.next(), segments.next().unwrap_or(""));
        if found != Some(area) {
            return Err(AuthError::WrongPermit);
        }
        Self::parse(text)
            .filter(|name| name.as_str() == text)
            .ok_or_else(|| {
                AuthError::invalid(
                    "a name has letters, digits and '_', between them also '-', '.' and '@', at \
                     most 128 in all",
                )
            })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `rest` below a mount of `kind`, with the name in it in its one spelling. Applied before the
/// policies judge, so that a rule for one spelling holds for all. `None`: there is none, or it is
/// none.
pub fn canonical(kind: MountKind, rest: &str) -> Option<String> {
    let (area, below) = rest.split_once('/')?;
    let named = match kind {
        MountKind::AppRole => area == "role",
        MountKind::Userpass => matches!(area, "users" | "login"),
        _ => false,
    };
    let (name, tail) = match below.find('/') {
        Some(at) => below.split_at(at),
        None => (below, ""),
    };
    let name = Name::parse(name).filter(|_| named)?;
    Some(format!("{area}/{name}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2025_6004_one_name_has_one_spelling() {
        for text in [
            "ann.b@x-1",
            "ANN.b@X-1",
            " Ann.B@x-1\t",
            "\u{2003}ann.b@x-1\u{a0}",
        ] {
            assert_eq!(Name::parse(text).unwrap().as_str(), "ann.b@x-1", "{text:?}");
        }
        let long = "a".repeat(129);
        for text in [
            "",
            " ",
            "-a",
            "a-",
            ".a",
            "a.",
            "@a",
            "a b",
            "a/b",
            "a*",
            "+",
            "a,b",
            "{{x}}",
            "ä",
            "аnn",
            "a\u{200b}b",
            "a\0",
            "a%20",
            &long,
        ] {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a3_paths_have_one_spelling_before_they_are_judged() {
        let role = |rest| canonical(MountKind::AppRole, rest);
        assert_eq!(role("role/Web").as_deref(), Some("role/web"));
        assert_eq!(
            role("role/ Web /secret-id/").as_deref(),
            Some("role/web/secret-id/")
        );
        for rest in [
            "login",
            "role/",
            "role",
            "tidy/Secret-id",
            "users/Ann",
            "role/a b",
        ] {
            assert_eq!(role(rest), None, "{rest}");
        }
        let user = |rest| canonical(MountKind::Userpass, rest);
        assert_eq!(user("login/ANN").as_deref(), Some("login/ann"));
        assert_eq!(
            user("users/Ann/password").as_deref(),
            Some("users/ann/password")
        );
        assert_eq!(user("role/Web"), None);
        assert_eq!(canonical(MountKind::Kv, "users/Ann"), None);
    }
}
