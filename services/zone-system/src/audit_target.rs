//! Where the lines of an audit device go: its options, judged once, and their stored form
//! (docs/formats/system.md).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SystemError;

/// The log of this machine.
const LOCAL_LOG: &str = "/dev/log";
/// How long a receiver may take to take a line, unless somebody says otherwise, as in Vault.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// The facilities of RFC 5424 by their numbers.
const FACILITIES: [&str; 24] = [
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV",
    "FTP", "NTP", "AUDIT", "ALERT", "CLOCK", "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4",
    "LOCAL5", "LOCAL6", "LOCAL7",
];

/// Where the lines of a device go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// A file, by its absolute path: chained and signed.
    File(String),
    /// A receiver from which nothing can be read back.
    Stream(StreamTarget),
}

/// A receiver from which nothing can be read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum StreamTarget {
    /// The system's log.
    Syslog {
        /// Its number, 0 to 23.
        facility: u8,
        /// The word that stands before each line.
        tag: String,
        /// The path of a datagram socket, or `host:port` for UDP.
        address: String,
    },
    /// A socket.
    Socket {
        /// How to get there.
        transport: Transport,
        /// `host:port`, or the path of a socket.
        address: String,
        /// How long the receiver may take, in milliseconds.
        write_timeout_ms: u64,
        /// Whether it answers each line with its number, so that lines there satisfy A1.
        acknowledge: bool,
    },
}

/// Kinds of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A stream to `host:port`.
    Tcp,
    /// Datagrams to `host:port`.
    Udp,
    /// A stream to a socket of this machine.
    Unix,
}

impl Transport {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        }
    }
}

impl StreamTarget {
    /// The system's log: facility `AUTH`, tag `zonehead`, `/dev/log` unless they are given.
    pub fn syslog(
        facility: Option<&str>,
        tag: Option<&str>,
        address: Option<&str>,
    ) -> Result<Self, SystemError> {
        let name = facility.unwrap_or("AUTH").to_ascii_uppercase();
        let number = FACILITIES.iter().position(|known| *known == name);
        let Some(facility) = number.and_then(|number| u8::try_from(number).ok()) else {
            return invalid(
                "options.facility: expected a facility of syslog, such as AUTH or LOCAL0",
            );
        };
        let tag = tag.unwrap_or("zonehead");
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_./".contains(&c);
        if tag.is_empty() || tag.len() > 32 || !tag.bytes().all(fits) {
            return invalid("options.tag: expected 1 to 32 letters, digits, '-', '_', '.' and '/'");
        }
        let address = address.unwrap_or(LOCAL_LOG);
        if !is_path(address) && !is_host(address) {
            return invalid("options.address: expected an absolute path, or host:port");
        }
        Ok(Self::Syslog {
            facility,
            tag: tag.to_owned(),
            address: address.to_owned(),
        })
    }

    /// A socket: `tcp`, two seconds, not acknowledged unless it is said otherwise.
    pub fn socket(
        address: &str,
        kind: Option<&str>,
        write_timeout: Option<Duration>,
        acknowledge: bool,
    ) -> Result<Self, SystemError> {
        let transport = match kind.unwrap_or("tcp") {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "unix" => Transport::Unix,
            _ => return invalid("options.socket_type: expected tcp, udp or unix"),
        };
        match transport {
            Transport::Unix if !is_path(address) => {
                return invalid("options.address: expected the absolute path of a socket");
            }
            Transport::Tcp | Transport::Udp if !is_host(address) => {
                return invalid("options.address: expected host:port");
            }
            Transport::Udp if acknowledge => {
                return invalid(
                    "options.acknowledge: datagrams cannot be acknowledged; use tcp or unix",
                );
            }
            _ => {}
        }
        let write_timeout = write_timeout.unwrap_or(WRITE_TIMEOUT);
        if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&write_timeout) {
            return invalid("options.write_timeout: expected 10ms to 60s");
        }
        Ok(Self::Socket {
            transport,
            address: address.to_owned(),
            write_timeout_ms: u64::try_from(write_timeout.as_millis()).unwrap_or(u64::MAX),
            acknowledge,
        })
    }

    /// Its address, as the configuration allows it or not.
    pub fn address(&self) -> &str {
        match self {
            Self::Syslog { address, .. } | Self::Socket { address, .. } => address,
        }
    }

    /// Whether it is the log of this machine, which is always allowed.
    pub fn is_local_log(&self) -> bool {
        matches!(self, Self::Syslog { address, .. } if address == LOCAL_LOG)
    }

    /// Whether lines there satisfy A1.
    pub fn acknowledges(&self) -> bool {
        matches!(
            self,
            Self::Socket {
                acknowledge: true,
                ..
            }
        )
    }
}

impl AuditTarget {
    /// Vault's name of the type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Stream(StreamTarget::Syslog { .. }) => "syslog",
            Self::Stream(StreamTarget::Socket { .. }) => "socket",
        }
    }

    /// Vault's options.
    pub fn options(&self) -> BTreeMap<&'static str, String> {
        match self {
            Self::File(path) => [("file_path", path.clone())].into(),
            Self::Stream(StreamTarget::Syslog {
                facility,
                tag,
                address,
            }) => {
                let name = FACILITIES.get(usize::from(*facility)).unwrap_or(&"AUTH");
                [
                    ("facility", (*name).to_owned()),
                    ("tag", tag.clone()),
                    ("address", address.clone()),
                ]
                .into()
            }
            Self::Stream(StreamTarget::Socket {
                transport,
                address,
                write_timeout_ms,
                acknowledge,
            }) => [
                ("socket_type", transport.as_str().to_owned()),
                ("address", address.clone()),
                ("write_timeout", format!("{write_timeout_ms}ms")),
                ("acknowledge", acknowledge.to_string()),
            ]
            .into(),
        }
    }
}

fn is_path(text: &str) -> bool {
    // The longest path that a socket's address holds.
    text.starts_with('/') && text.len() <= 107 && !text.bytes().any(|c| c.is_ascii_control())
}

fn is_host(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
    let good = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= 253 && host.bytes().all(fits),
    };
    good && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn invalid<T>(text: &str) -> Result<T, SystemError> {
    Err(SystemError::Invalid(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_judged_and_shown() {
        let syslog = StreamTarget::syslog(None, None, None).unwrap();
        assert!(syslog.is_local_log() && !syslog.acknowledges());
        let shown = AuditTarget::Stream(syslog).options();
        assert_eq!(shown["facility"], "AUTH");
        let local0 = StreamTarget::syslog(Some("local0"), Some("x"), Some("log.example:514"));
        assert!(matches!(
            local0.unwrap(),
            StreamTarget::Syslog { facility: 16, .. }
        ));
        assert!(StreamTarget::syslog(Some("LOCAL9"), None, None).is_err());
        assert!(StreamTarget::syslog(None, Some("a b"), None).is_err());
        assert!(StreamTarget::syslog(None, None, Some("log")).is_err());
        let socket = |address, kind, acknowledge| {
            StreamTarget::socket(address, kind, None, acknowledge).is_ok()
        };
        for (address, kind, acknowledge, good) in [
            ("127.0.0.1:9090", None, true, true),
            ("[::1]:9090", Some("tcp"), false, true),
            ("log.example:9090", Some("udp"), false, true),
            ("log.example:9090", Some("udp"), true, false),
            ("/run/log.socket", Some("unix"), true, true),
            ("run/log.socket", Some("unix"), false, false),
            ("/run/log.socket", None, false, false),
            ("log.example", None, false, false),
            ("log.example:0", None, false, false),
            ("log.example:70000", None, false, false),
            ("::1:9090", None, false, false),
            ("http://log:80", None, false, false),
            ("log.example:9090", Some("TCP"), false, false),
        ] {
            assert_eq!(
                socket(address, kind, acknowledge),
                good,
                "{address} {kind:?}"
            );
        }
        for (span, good) in [(1, false), (10, true), (60_000, true), (60_001, false)] {
            let span = Some(Duration::from_millis(span));
            assert_eq!(StreamTarget::socket("a:1", None, span, false).is_ok(), good);
        }
    }
}
