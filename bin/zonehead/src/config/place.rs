//! Where a listener listens: a TCP address, a Unix socket, or a socket that systemd passes on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `ADDRESS:PORT`, `unix:/PATH` or `systemd:NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    /// The absolute path of the socket.
    Unix(PathBuf),
    /// The socket's `FileDescriptorName=` (systemd.socket(5)).
    Passed(String),
}

impl Place {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            // `sun_path` holds 108 bytes with the closing zero (unix(7)).
            let fits = path.is_absolute() && path.as_os_str().len() < 100;
            return fits.then_some(Self::Unix(path));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            let fits = !name.is_empty() && name.len() <= 255 && !name.contains([':', ' ']);
            return fits.then(|| Self::Passed(name.to_owned()));
        }
        text.parse().ok().map(Self::Tcp)
    }

    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Passed(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Passed(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(
                "expected ADDRESS:PORT, unix:/PATH (absolute, below 100 bytes) or systemd:NAME",
            )
        })
    }
}

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SocketRights {
    /// Permission bits; 0600 unless the file says otherwise.
    pub(crate) mode: Option<u32>,
    /// A name or a number; the head's own unless the file says otherwise.
    pub(crate) user: Option<String>,
    /// As `user`.
    pub(crate) group: Option<String>,
}

/// Octal text such as `0660`; nothing beyond the nine permission bits.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_three_forms() {
        for (text, shown) in [
            ("127.0.0.1:8200", Some("127.0.0.1:8200")),
            ("[::]:8200", Some("[::]:8200")),
            (
                "unix:/run/zonehead/api.sock",
                Some("unix:/run/zonehead/api.sock"),
            ),
            ("systemd:api", Some("systemd:api")),
            ("unix:run/api.sock", None),
            ("unix:", None),
            ("systemd:", None),
            ("systemd:a b", None),
            ("localhost:8200", None),
            ("", None),
        ] {
            let parsed = Place::parse(text).map(|place| place.to_string());
            assert_eq!(parsed.as_deref(), shown, "{text}");
        }
        let long = format!("unix:/{}", "a".repeat(120));
        assert_eq!(Place::parse(&long), None);
    }

    #[test]
    fn modes_are_nine_bits_in_octal() {
        assert_eq!(parse_mode("0660"), Some(0o660));
        assert_eq!(parse_mode("660"), Some(0o660));
        for text in ["", "0888", "1777", "u+rw", "-1"] {
            assert_eq!(parse_mode(text), None, "{text}");
        }
    }
}
