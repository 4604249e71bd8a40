//! Where the server is.

use std::fmt;
use std::path::{Path, PathBuf};

use http::Uri;

/// Why an address was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// Not a URL with `https` or `http` and a host, or with `unix` and a path.
    #[error("the address {0:?} is not of the form https://HOST:PORT or unix:///PATH")]
    Malformed(String),
    /// Plain HTTP beyond this machine.
    #[error(
        "the address {0:?} would send tokens and secrets in the clear; http:// is for loopback \
         addresses only, use https://"
    )]
    Clear(String),
}

/// A server's address: `https://HOST[:PORT][/PREFIX]`, `http://` on loopback, or `unix:///PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A Unix socket; then host and port stand in the request alone.
    socket: Option<PathBuf>,
    tls: bool,
    host: String,
    port: u16,
    prefix: String,
}

impl Address {
    /// Reads an address. The usual port of the scheme counts if none is given.
    ///
    /// # Errors
    ///
    /// It is no such URL, or plain HTTP to a host that is not loopback.
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        let malformed = || AddressFault::Malformed(text.to_owned());
        if let Some(path) = text.trim().strip_prefix("unix://") {
            return Self::of_socket(path).ok_or_else(malformed);
        }
        let uri: Uri = text.trim().parse().map_err(|_| malformed())?;
        let (tls, usual) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() || authority.as_str().contains('@') || uri.query().is_some() {
            return Err(malformed());
        }
        let address = Self {
            socket: None,
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(usual),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        };
        if !tls && !address.names_loopback() {
            return Err(AddressFault::Clear(text.to_owned()));
        }
        Ok(address)
    }

    fn of_socket(path: &str) -> Option<Self> {
        path.starts_with('/').then(|| Self {
            socket: Some(path.into()),
            tls: false,
            host: "localhost".into(),
            port: 80,
            prefix: String::new(),
        })
    }

    /// The Unix socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// What messages call the server: its socket, or `HOST:PORT`.
    pub(super) fn shown(&self) -> String {
        match &self.socket {
            Some(path) => path.display().to_string(),
            None => self.authority(),
        }
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host's name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The URL of a target on this server.
    pub(super) fn url(&self, target: &str) -> String {
        if let Some(path) = &self.socket {
            return format!(
                "unix://{}{}{target}",
                path.display(),
                if target.is_empty() { "" } else { ":" }
            );
        }
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{target}", self.authority())
    }

    /// The path of a target below this address, percent-encoded; `path` begins with `/`.
    pub(super) fn target(&self, path: &str) -> String {
        format!("{}{}", self.prefix, encode_path(path))
    }

    fn names_loopback(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url(&self.prefix))
    }
}

/// A path with each byte encoded that may not stand in one (RFC 3986, section 3.3).
fn encode_path(path: &str) -> String {
    encode(path, b"-._~!$&'()*+,;=:@/")
}

/// A query string (RFC 3986, section 3.4; spaces as `%20`).
pub(super) fn encode_query(pairs: &[(String, String)]) -> String {
    let pair = |(name, value): &(String, String)| {
        format!("{}={}", encode(name, b"-._~"), encode(value, b"-._~"))
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_host_port_and_prefix() {
        let address = Address::parse("https://zone.example/vault/").unwrap();
        assert_eq!(address.to_string(), "https://zone.example:443/vault");
        assert_eq!(address.target("/v1/sys/health"), "/vault/v1/sys/health");
        let address = Address::parse("https://[::1]:8200").unwrap();
        assert_eq!((address.host(), address.port()), ("::1", 8200));
        assert_eq!(address.to_string(), "https://[::1]:8200");
    }

    #[test]
    fn a_socket_is_a_path() {
        let address = Address::parse("unix:///run/zonehead/api.sock").unwrap();
        assert_eq!(address.socket(), Some(Path::new("/run/zonehead/api.sock")));
        assert_eq!(address.to_string(), "unix:///run/zonehead/api.sock");
        assert_eq!(address.target("/v1/sys/health"), "/v1/sys/health");
        assert!(!address.is_tls());
        for bad in ["unix://", "unix://run/api.sock", "unix:/run/api.sock"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for good in [
            "http://127.0.0.1:8200",
            "http://localhost:8200",
            "http://[::1]:8200",
        ] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1:8200",
            "http://zone.example",
            "http://localhost.example",
        ] {
            let fault = Address::parse(bad).unwrap_err();
            assert!(matches!(fault, AddressFault::Clear(_)), "{bad}: {fault}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "",
            "127.0.0.1:8200",
            "ftp://a",
            "https://",
            "https://u:p@h",
            "https://h?q=1",
        ] {
            let fault = Address::parse(bad).unwrap_err();
            assert!(
                matches!(fault, AddressFault::Malformed(_)),
                "{bad}: {fault}"
            );
        }
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        let address = Address::parse("http://127.0.0.1:1").unwrap();
        assert_eq!(
            address.target("/v1/kv/data/a b%?#ü"),
            "/v1/kv/data/a%20b%25%3F%23%C3%BC"
        );
        let pairs = [("after".to_owned(), "a&b=c".to_owned())];
        assert_eq!(encode_query(&pairs), "after=a%26b%3Dc");
    }
}
