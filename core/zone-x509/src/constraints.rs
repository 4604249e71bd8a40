//! Name constraints (RFC 5280 section 4.2.1.10): written for our CAs, read from any.

use std::net::IpAddr;

use der::asn1::{Ia5String, OctetString};
use serde::{Deserialize, Serialize};
use x509_cert::ext::pkix as ext;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use crate::names::{AltName, address, octets};

/// A set of names, for a name constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subtree {
    /// A domain and all below it. A leading dot excludes the domain itself.
    Dns(String),
    /// A network in CIDR terms.
    Ip {
        /// Any address of the network.
        address: IpAddr,
        /// Length of the prefix in bits.
        prefix: u8,
    },
    /// A mailbox (`a@b.c`), all mailboxes of a host (`b.c`) or of its subdomains (`.b.c`).
    Email(String),
}

impl Subtree {
    /// Reads `10.0.0.0/8`; `None` if it is no network.
    pub fn parse_cidr(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self::Ip { address, prefix })
    }

    fn to_general(&self) -> der::Result<GeneralSubtree> {
        let base = match self {
            Self::Dns(domain) => GeneralName::DnsName(Ia5String::new(domain)?),
            Self::Email(rule) => GeneralName::Rfc822Name(Ia5String::new(rule)?),
            Self::Ip { address, prefix } => {
                let mut network = masked(*address, *prefix);
                let mask = (0..network.len())
                    .map(|i| mask_octet(*prefix, i))
                    .collect::<Vec<_>>();
                network.extend(mask);
                GeneralName::IpAddress(OctetString::new(network)?)
            }
        };
        Ok(GeneralSubtree {
            base,
            minimum: 0,
            maximum: None,
        })
    }

    fn from_general(tree: &GeneralSubtree) -> Option<Self> {
        if tree.minimum != 0 || tree.maximum.is_some() {
            return None;
        }
        match &tree.base {
            GeneralName::DnsName(domain) => Some(Self::Dns(domain.as_str().to_owned())),
            GeneralName::Rfc822Name(rule) => Some(Self::Email(rule.as_str().to_owned())),
            GeneralName::IpAddress(network) => network_of(network.as_bytes()),
            _ => None,
        }
    }

    /// Whether `name` is of this subtree; `None` if it is of another kind.
    pub(crate) fn holds(&self, name: &AltName) -> Option<bool> {
        match (self, name) {
            (Self::Dns(domain), AltName::Dns(host)) => Some(below(host, domain)),
            (Self::Email(rule), AltName::Email(mailbox)) => Some(mail_matches(rule, mailbox)),
            (Self::Ip { address, prefix }, AltName::Ip(ip)) => Some(
                address.is_ipv4() == ip.is_ipv4()
                    && masked(*address, *prefix) == masked(*ip, *prefix),
            ),
            _ => None,
        }
    }

    /// Whether a wildcard stands for a name in this subtree though its parent is not in it:
    /// `*.b.c` for the domain `a.b.c`. Excluding that domain excludes the wildcard.
    fn is_under_wildcard(&self, name: &AltName) -> bool {
        let (Self::Dns(domain), AltName::Dns(host)) = (self, name) else {
            return false;
        };
        let parent = domain.split_once('.').map(|(_, parent)| parent);
        let wildcard = host.strip_prefix("*.");
        parent
            .zip(wildcard)
            .is_some_and(|(parent, base)| parent.eq_ignore_ascii_case(base))
    }
}

/// Name constraints of a CA certificate. There is no URI kind: webpki refuses every certificate
/// with a URI name below such a constraint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameConstraints {
    /// If a kind occurs here, names of that kind must be in one of its subtrees.
    pub permitted: Vec<Subtree>,
    /// Names in these are refused.
    pub excluded: Vec<Subtree>,
}

impl NameConstraints {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// Whether a certificate below these constraints may bear `name` (RFC 5280 4.2.1.10).
    pub fn allow(&self, name: &AltName) -> bool {
        let mut of_kind = self
            .permitted
            .iter()
            .filter_map(|tree| tree.holds(name))
            .peekable();
        let permitted = of_kind.peek().is_none() || of_kind.any(|holds| holds);
        let excludes =
            |tree: &Subtree| tree.holds(name) == Some(true) || tree.is_under_wildcard(name);
        permitted && !self.excluded.iter().any(excludes)
    }

    pub(crate) fn to_extension(&self) -> der::Result<ext::NameConstraints> {
        let subtrees = |list: &[Subtree]| {
            let all = list
                .iter()
                .map(Subtree::to_general)
                .collect::<der::Result<Vec<_>>>()?;
            der::Result::Ok((!all.is_empty()).then_some(all))
        };
        Ok(ext::NameConstraints {
            permitted_subtrees: subtrees(&self.permitted)?,
            excluded_subtrees: subtrees(&self.excluded)?,
        })
    }

    /// `None` if a subtree is of a kind that [`Subtree`] has not, or has bounds of depth, which
    /// RFC 5280 forbids.
    pub(crate) fn from_extension(limits: &ext::NameConstraints) -> Option<Self> {
        let subtrees = |list: &Option<Vec<GeneralSubtree>>| {
            list.iter()
                .flatten()
                .map(Subtree::from_general)
                .collect::<Option<Vec<_>>>()
        };
        Some(Self {
            permitted: subtrees(&limits.permitted_subtrees)?,
            excluded: subtrees(&limits.excluded_subtrees)?,
        })
    }
}

/// A network out of an address and a mask of the same length, whose ones lead.
fn network_of(bytes: &[u8]) -> Option<Subtree> {
    let (network, mask) = bytes.split_at(bytes.len() / 2);
    let address = address(network)?;
    let prefix = u8::try_from(mask.iter().map(|octet| octet.count_ones()).sum::<u32>()).ok()?;
    let leading = mask
        .iter()
        .enumerate()
        .all(|(i, octet)| *octet == mask_octet(prefix, i));
    (mask.len() == network.len() && leading).then_some(Subtree::Ip { address, prefix })
}

/// Octets of `address` with all bits beyond `prefix` cleared.
fn masked(address: IpAddr, prefix: u8) -> Vec<u8> {
    let mut bytes = octets(address);
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte &= mask_octet(prefix, i);
    }
    bytes
}

/// Octet `i` of a mask with `prefix` leading ones.
fn mask_octet(prefix: u8, i: usize) -> u8 {
    let ones = usize::from(prefix).saturating_sub(i * 8).min(8);
    (0xff00u16 >> ones) as u8
}

fn below(host: &str, domain: &str) -> bool {
    let host = host.strip_prefix("*.").unwrap_or(host).to_ascii_lowercase();
    let domain = domain.to_ascii_lowercase();
    match domain.strip_prefix('.') {
        Some(parent) => host.len() > parent.len() + 1 && host.ends_with(&domain),
        None if domain.is_empty() => true,
        None => host == domain || host.ends_with(&format!(".{domain}")),
    }
}

fn mail_matches(rule: &str, mailbox: &str) -> bool {
    let Some((local, host)) = mailbox.rsplit_once('@') else {
        return false;
    };
    match (rule.rsplit_once('@'), rule.strip_prefix('.')) {
        (Some((rule_local, rule_host)), _) => {
            local == rule_local && host.eq_ignore_ascii_case(rule_host)
        }
        (None, Some(_)) => below(host, rule),
        (None, None) => host.eq_ignore_ascii_case(rule),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold_per_kind() {
        let limits = NameConstraints {
            permitted: vec![
                Subtree::Dns("example.org".into()),
                Subtree::parse_cidr("10.1.0.0/16").unwrap(),
            ],
            excluded: vec![Subtree::Dns("bad.example.org".into())],
        };
        let dns = |name: &str| AltName::Dns(name.into());
        assert!(limits.allow(&dns("example.org")));
        assert!(limits.allow(&dns("*.a.example.org")));
        assert!(!limits.allow(&dns("notexample.org")));
        assert!(!limits.allow(&dns("x.bad.example.org")));
        assert!(limits.allow(&AltName::Ip("10.1.2.3".parse().unwrap())));
        assert!(!limits.allow(&AltName::Ip("10.2.2.3".parse().unwrap())));
        assert!(limits.allow(&AltName::Email("a@elsewhere.net".into())));
    }

    #[test]
    fn a_wildcard_over_an_excluded_name_is_excluded() {
        let dns = |text: &str| AltName::Dns(text.to_owned());
        for (tree, name, allowed) in [
            ("a.b.c", "*.b.c", false),
            (".b.c", "*.b.c", false),
            ("b.c", "*.b.c", false),
            ("c", "*.b.c", false),
            ("x.a.b.c", "*.b.c", true),
            ("a.d.c", "*.b.c", true),
            ("a.b.c", "x.b.c", true),
        ] {
            let excluded = vec![Subtree::Dns(tree.into())];
            let limits = NameConstraints {
                excluded,
                ..NameConstraints::default()
            };
            assert_eq!(limits.allow(&dns(name)), allowed, "{tree} {name}");
        }
    }

    #[test]
    fn networks_of_one_family_permit_none_of_the_other() {
        let permitted = vec![Subtree::parse_cidr("10.0.0.0/8").unwrap()];
        let limits = NameConstraints {
            permitted,
            ..NameConstraints::default()
        };
        assert!(!limits.allow(&AltName::Ip("::1".parse().unwrap())));
        let excluded = vec![Subtree::parse_cidr("10.0.0.0/8").unwrap()];
        let limits = NameConstraints {
            excluded,
            ..NameConstraints::default()
        };
        assert!(limits.allow(&AltName::Ip("::1".parse().unwrap())));
    }

    #[test]
    fn mailboxes_of_a_host_or_below_it() {
        assert!(mail_matches("example.org", "a@example.org"));
        assert!(!mail_matches("example.org", "a@x.example.org"));
        assert!(mail_matches(".example.org", "a@x.example.org"));
        assert!(mail_matches("a@example.org", "a@EXAMPLE.org"));
        assert!(!mail_matches("a@example.org", "A@example.org"));
    }

    #[test]
    fn constraints_survive_the_extension() {
        let limits = NameConstraints {
            permitted: vec![
                Subtree::Dns("example.org".into()),
                Subtree::parse_cidr("10.1.0.0/16").unwrap(),
                Subtree::parse_cidr("2001:db8::/33").unwrap(),
            ],
            excluded: vec![Subtree::Email(".example.org".into())],
        };
        let extension = limits.to_extension().unwrap();
        assert_eq!(NameConstraints::from_extension(&extension), Some(limits));
        assert_eq!(network_of(&[10, 0, 0, 0, 255, 0, 255, 0]), None);
        assert_eq!(network_of(&[10, 0, 0, 0, 255, 0, 0]), None);
        assert_eq!(network_of(&[]), None);
    }
}
