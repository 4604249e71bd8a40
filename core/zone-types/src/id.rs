//! Ids that never change and carry no meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! short_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Sixteen hex digits from 64 random bits.
            pub fn from_random(bits: [u8; 8]) -> Self {
                Self(hex::encode(bits).into_boxed_str())
            }

            /// The text form, as it stands in storage keys.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

short_id! {
    /// A namespace. Every permit, token, mount and audit line carries one.
    NamespaceId
}

short_id! {
    /// A mount, for life: a rename or remount changes its path only.
    MountId
}

impl MountId {
    /// From the text form of [`MountId::from_random`].
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let fits = text.len() == 16 && text.bytes().all(digit);
        fits.then(|| Self(text.into()))
    }
}

impl NamespaceId {
    /// The namespace that every zone begins with.
    pub fn root() -> Self {
        Self("root".into())
    }
}

/// A text that is no UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a UUID")]
pub struct EntityIdFault;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// A version 4 UUID from 128 random bits.
            pub fn from_random(bits: [u8; 16]) -> Self {
                Self(RequestId::from_random(bits).to_string().into_boxed_str())
            }

            /// Reads a UUID of any version; upper-case digits become lower-case ones.
            pub fn parse(text: &str) -> Result<Self, EntityIdFault> {
                let digit = |(at, byte): (usize, u8)| match at {
                    8 | 13 | 18 | 23 => byte == b'-',
                    _ => byte.is_ascii_hexdigit(),
                };
                let fits = text.len() == 36 && text.bytes().enumerate().all(digit);
                fits.then(|| Self(text.to_ascii_lowercase().into_boxed_str()))
                    .ok_or(EntityIdFault)
            }

            /// The text form, as it stands in storage keys.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = EntityIdFault;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

uuid_id! {
    /// Who is behind tokens and aliases: a UUID in RFC 9562 text form, lower-case.
    EntityId
}

uuid_id! {
    /// A name under which an entity or a group is known to an auth method.
    AliasId
}

uuid_id! {
    /// A group of entities.
    GroupId
}

/// The id of one request, in RFC 9562 text form (version 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A version 4 UUID from 128 random bits.
    pub fn from_random(mut bits: [u8; 16]) -> Self {
        bits[6] = (bits[6] & 0x0f) | 0x40;
        bits[8] = (bits[8] & 0x3f) | 0x80;
        Self(bits)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 36];
        let mut at = 0;
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text[at] = b'-';
                at += 1;
            }
            text[at] = b"0123456789abcdef"[usize::from(byte >> 4)];
            text[at + 1] = b"0123456789abcdef"[usize::from(byte & 15)];
            at += 2;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_a_uuid_in_one_spelling() {
        let drawn = EntityId::from_random([7; 16]);
        assert_eq!(EntityId::parse(drawn.as_str()), Ok(drawn.clone()));
        let upper = drawn.as_str().to_ascii_uppercase();
        assert_eq!(EntityId::parse(&upper), Ok(drawn));
        for text in [
            "",
            "x",
            &"0".repeat(36),
            "00000000-0000-0000-0000-00000000000g",
            "00000000_0000-0000-0000-000000000000",
        ] {
            assert_eq!(EntityId::parse(text), Err(EntityIdFault), "{text}");
        }
    }

    #[test]
    fn a_mounts_id_is_read_as_it_is_written() {
        let id = MountId::from_random([0xab; 8]);
        assert_eq!(MountId::parse(id.as_str()), Some(id));
        for text in [
            "",
            "root",
            "ABABABABABABABAB",
            "ababababababab/b",
            "abababababababab0",
        ] {
            assert_eq!(MountId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn request_id_is_a_version_4_uuid() {
        let text = RequestId::from_random([0xff; 16]).to_string();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
