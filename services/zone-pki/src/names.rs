//! Which names this authority never gives out (C3), and the small rules of names and globs.

use std::net::IpAddr;

use zone_x509::AltName;

use crate::PkiError;

/// Names that no PKI mount may put into a certificate, whatever its roles say (C3, attack 1):
/// SPIFFE ids of the zone's trust domain, and the names and addresses of the head.
///
/// `localhost` and loopback addresses are everybody's names and are never reserved: no anchor
/// that a client keeps for the head is an ancestor of a PKI mount.
#[derive(Clone, Debug, Default)]
pub struct ReservedNames {
    trust_domain: String,
    hosts: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl ReservedNames {
    /// Reserves `trust_domain` for SPIFFE, and `head_names` (host names and IP addresses).
    pub fn new(trust_domain: &str, head_names: &[String]) -> Self {
        let mut reserved = Self {
            trust_domain: folded(trust_domain),
            hosts: Vec::new(),
            addresses: Vec::new(),
        };
        for name in head_names {
            let name = name.trim();
            let bare = name
                .strip_prefix('[')
                .and_then(|n| n.strip_suffix(']'))
                .unwrap_or(name);
            match bare.parse::<IpAddr>() {
                Ok(address) if address.to_canonical().is_loopback() => {}
                Ok(address) => reserved.addresses.push(address.to_canonical()),
                Err(_) => match folded(name).as_str() {
                    "" | "localhost" => {}
                    host => reserved.hosts.push(host.to_owned()),
                },
            }
        }
        reserved
    }

    /// Whether a certificate with `name` would speak for the zone or its head.
    pub fn holds(&self, name: &AltName) -> bool {
        match name {
            AltName::Dns(host) => self.holds_host(host),
            AltName::Ip(address) => self.addresses.contains(&address.to_canonical()),
            AltName::Email(mailbox) => mailbox
                .rsplit_once('@')
                .is_some_and(|(_, host)| self.holds_host(host)),
            AltName::Uri(uri) => self.holds_uri(uri),
            AltName::Other { value, .. } => self.holds_text(value),
        }
    }

    /// Whether free text (a common name) is or contains a reserved name.
    pub fn holds_text(&self, text: &str) -> bool {
        let text = text.trim();
        match text.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address.to_canonical()),
            Err(_) if text.contains(':') => self.holds_uri(text),
            Err(_) => self.holds_host(text.rsplit('@').next().unwrap_or(text)),
        }
    }

    /// Whether a host name, in any case, with or without a trailing dot, is one of the head's; a
    /// wildcard is if it covers one.
    pub fn holds_host(&self, host: &str) -> bool {
        let host = folded(host);
        self.hosts.iter().any(|reserved| {
            *reserved == host
                || host.split_once('.').is_some_and(|(label, parent)| {
                    label.contains('*')
                        && reserved
                            .split_once('.')
                            .is_some_and(|(own, rest)| rest == parent && glob(label, own))
                })
        })
    }

    /// Whether a URI names the zone's trust domain or the head. A `spiffe:` URI that is not in
    /// the one plain form counts as reserved: what one reader takes for a foreign trust domain,
    /// another might take for ours.
    fn holds_uri(&self, uri: &str) -> bool {
        let Some((scheme, rest)) = uri.split_once(':') else {
            return false;
        };
        let authority = rest
            .strip_prefix("//")
            .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
        if scheme.trim().eq_ignore_ascii_case("spiffe") {
            let Some(domain) = authority else { return true };
            let plain = !domain.is_empty()
                && domain
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
                && !domain.ends_with('.')
                && scheme == "spiffe";
            return !plain || domain == self.trust_domain;
        }
        let Some(authority) = authority else {
            return false;
        };
        let host = authority.rsplit('@').next().unwrap_or(authority);
        if let Some(v6) = host.strip_prefix('[').and_then(|h| h.split(']').next()) {
            return v6
                .parse()
                .is_ok_and(|a: IpAddr| self.addresses.contains(&a.to_canonical()));
        }
        let host = host.split(':').next().unwrap_or(host);
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address.to_canonical()),
            Err(_) => self.holds_host(host),
        }
    }
}

/// Lower case without trailing dots.
fn folded(name: &str) -> String {
    name.trim().trim_end_matches('.').to_ascii_lowercase()
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Checks the name of a role: letters, digits, `_`, and inner `-` and `.`, at most 200 octets.
pub(crate) fn check_role_name(name: &str) -> Result<(), PkiError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = name.as_bytes();
    let ok = (1..=200).contains(&bytes.len())
        && bytes.iter().all(|b| word(*b) || matches!(b, b'-' | b'.'))
        && bytes.first().is_some_and(|b| word(*b))
        && bytes.last().is_some_and(|b| word(*b));
    if ok {
        Ok(())
    } else {
        Err(PkiError::refused(
            "a role's name has 1 to 200 letters, digits, '_', and '-' or '.' between them",
        ))
    }
}

/// Checks the name of an issuer or key; an empty one means none.
pub(crate) fn check_given_name(field: &str, name: &str) -> Result<(), PkiError> {
    if name.is_empty() {
        return Ok(());
    }
    if name == "default" {
        return Err(PkiError::field(field, "'default' is a reserved name"));
    }
    let looks_like_id = name.len() == 36 && name.bytes().filter(|b| *b == b'-').count() == 4;
    if looks_like_id || check_role_name(name).is_err() {
        return Err(PkiError::field(
            field,
            "expected 1 to 200 letters, digits, '_', and '-' or '.' between them, not an id",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved() -> ReservedNames {
        let names = [
            "Head.Zone.Example.",
            "10.0.0.1",
            "[2001:db8::1]",
            "localhost",
            "127.0.0.1",
        ];
        ReservedNames::new("Zone.Example", &names.map(str::to_owned))
    }

    #[test]
    fn c3_every_spelling_of_the_heads_names_is_reserved() {
        let reserved = reserved();
        for host in [
            "head.zone.example",
            "HEAD.zone.EXAMPLE",
            "head.zone.example.",
            "*.zone.example",
            "*.ZONE.example.",
            "h*.zone.example",
            "*d.zone.example",
        ] {
            assert!(reserved.holds(&AltName::Dns(host.into())), "{host}");
            assert!(reserved.holds_text(host), "{host}");
        }
        for host in [
            "zone.example",
            "a.zone.example",
            "*.head.zone.example",
            "x*.zone.example",
        ] {
            assert!(!reserved.holds(&AltName::Dns(host.into())), "{host}");
        }
        assert!(reserved.holds(&AltName::Email("root@head.zone.example".into())));
        assert!(reserved.holds(&AltName::Ip("10.0.0.1".parse().unwrap())));
        assert!(reserved.holds(&AltName::Ip("::ffff:10.0.0.1".parse().unwrap())));
        assert!(reserved.holds(&AltName::Ip("2001:db8::1".parse().unwrap())));
        assert!(!reserved.holds(&AltName::Ip("10.0.0.2".parse().unwrap())));
        assert!(!reserved.holds(&AltName::Dns("localhost".into())));
        assert!(!reserved.holds(&AltName::Ip("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn c3_every_spelling_of_the_trust_domain_is_reserved() {
        let reserved = reserved();
        for uri in [
            "spiffe://zone.example/web",
            "spiffe://zone.example",
            "SPIFFE://zone.example/web",
            "spiffe://Zone.Example/web",
            "spiffe://zone.example./web",
            "spiffe://zone%2eexample/web",
            "spiffe://user@zone.example/web",
            "spiffe://zone.example:443/web",
            "spiffe:zone.example/web",
            "spiffe:///web",
            "spiffe://zone.example?x",
            "https://head.zone.example/",
            "https://me@HEAD.zone.example:8200/",
            "https://[2001:db8::1]:8200/",
        ] {
            assert!(reserved.holds(&AltName::Uri(uri.into())), "{uri}");
            assert!(reserved.holds_text(uri), "{uri}");
        }
        for uri in [
            "spiffe://other.example/web",
            "https://zone.example/",
            "urn:x:y",
        ] {
            assert!(!reserved.holds(&AltName::Uri(uri.into())), "{uri}");
        }
    }

    #[test]
    fn globs_match_runs() {
        for (pattern, text, is_match) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "axxbxxc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "ac", true),
            ("aa*aa", "aaa", false),
            ("*.example.com", "example.com", false),
            ("ftp*.example.com", "ftp1.example.com", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), is_match, "{pattern} {text}");
        }
    }

    #[test]
    fn names_of_roles_and_issuers() {
        for name in ["web", "a.b-c_d", "9", "_x"] {
            assert!(check_role_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "a/b", "a b", "ä", &"a".repeat(201)] {
            assert!(check_role_name(name).is_err(), "{name}");
        }
        assert!(check_given_name("issuer_name", "").is_ok());
        assert!(check_given_name("issuer_name", "root-2026").is_ok());
        assert!(check_given_name("issuer_name", "default").is_err());
        let id = "0a1b2c3d-0000-4000-8000-000000000000";
        assert!(check_given_name("issuer_name", id).is_err());
    }
}
