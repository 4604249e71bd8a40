//! Subjects and alternative names.
//!
//! What holds: a host name is an ASCII A-label name in lower case ([`dns_name`]); what a subject
//! shows to people has no control, bidirectional or invisible characters ([`is_plain_text`]).

use std::fmt;
use std::net::IpAddr;

use der::asn1::{Any, Ia5String, SetOfVec, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use serde::{Deserialize, Serialize};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};
use x509_cert::name::Name;

use crate::Oid;

pub(crate) const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: Oid = Oid::new_unwrap("2.5.4.5");
const COUNTRY: Oid = Oid::new_unwrap("2.5.4.6");
const LOCALITY: Oid = Oid::new_unwrap("2.5.4.7");
const PROVINCE: Oid = Oid::new_unwrap("2.5.4.8");
const STREET: Oid = Oid::new_unwrap("2.5.4.9");
const ORGANIZATION: Oid = Oid::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: Oid = Oid::new_unwrap("2.5.4.11");
const POSTAL_CODE: Oid = Oid::new_unwrap("2.5.4.17");

/// Attribute types of a subject with their upper bound in characters (RFC 5280 appendix A.1).
pub(crate) const BOUNDS: [(Oid, &str, usize); 9] = [
    (COMMON_NAME, "CN", 64),
    (SERIAL_NUMBER, "SERIALNUMBER", 64),
    (COUNTRY, "C", 2),
    (LOCALITY, "L", 128),
    (PROVINCE, "ST", 128),
    (STREET, "STREET", 128),
    (ORGANIZATION, "O", 64),
    (ORGANIZATIONAL_UNIT, "OU", 64),
    (POSTAL_CODE, "POSTALCODE", 40),
];

/// A distinguished name in Vault's fields. Empty texts are as good as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `CN`.
    pub common_name: String,
    /// `serialNumber`: the entity's, not the certificate's.
    pub serial_number: String,
    /// `C`: ISO 3166 codes of two letters.
    pub country: Vec<String>,
    /// `O`.
    pub organization: Vec<String>,
    /// `OU`.
    pub organizational_unit: Vec<String>,
    /// `L`.
    pub locality: Vec<String>,
    /// `ST`.
    pub province: Vec<String>,
    /// `street`.
    pub street_address: Vec<String>,
    /// `postalCode`.
    pub postal_code: Vec<String>,
}

impl Subject {
    /// Only a common name.
    pub fn common(name: &str) -> Self {
        Self {
            common_name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether no field holds a text.
    pub fn is_empty(&self) -> bool {
        self.attributes().next().is_none()
    }

    /// The DER `Name`: one attribute per RDN, in the order of Go's `pkix.Name` (Vault's).
    pub(crate) fn to_der(&self) -> der::Result<Vec<u8>> {
        let mut rdns = x509_cert::name::RdnSequence::default();
        for (oid, text) in self.attributes() {
            let ascii = matches!(oid, COUNTRY | SERIAL_NUMBER) && is_printable(text);
            let tag = if ascii {
                Tag::PrintableString
            } else {
                Tag::Utf8String
            };
            let value = Any::new(tag, text.as_bytes())?;
            let set = SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }])?;
            rdns.push(set.into());
        }
        rdns.to_der()
    }

    /// The fields that this type has of a DER `Name`; other attributes are dropped.
    pub(crate) fn from_der(der: &[u8]) -> der::Result<Self> {
        let name = Name::from_der(der)?;
        let mut subject = Self::default();
        for attribute in name.iter() {
            let Some(text) = text_of(&attribute.value) else {
                continue;
            };
            let list = match attribute.oid {
                COMMON_NAME => {
                    subject.common_name = text;
                    continue;
                }
                SERIAL_NUMBER => {
                    subject.serial_number = text;
                    continue;
                }
                COUNTRY => &mut subject.country,
                ORGANIZATION => &mut subject.organization,
                ORGANIZATIONAL_UNIT => &mut subject.organizational_unit,
                LOCALITY => &mut subject.locality,
                PROVINCE => &mut subject.province,
                STREET => &mut subject.street_address,
                POSTAL_CODE => &mut subject.postal_code,
                _ => continue,
            };
            list.push(text);
        }
        Ok(subject)
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (Oid, &str)> {
        let lists = [
            (COUNTRY, &self.country),
            (ORGANIZATION, &self.organization),
            (ORGANIZATIONAL_UNIT, &self.organizational_unit),
            (LOCALITY, &self.locality),
            (PROVINCE, &self.province),
            (STREET, &self.street_address),
            (POSTAL_CODE, &self.postal_code),
        ];
        lists
            .into_iter()
            .flat_map(|(oid, list)| list.iter().map(move |text| (oid, text.as_str())))
            .chain([
                (COMMON_NAME, self.common_name.as_str()),
                (SERIAL_NUMBER, self.serial_number.as_str()),
            ])
            .filter(|(_, text)| !text.is_empty())
    }
}

/// One subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AltName {
    /// A host name, perhaps with a leading `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A mailbox.
    Email(String),
    /// A URI.
    Uri(String),
    /// A UTF-8 value of some type (RFC 5280 `otherName`).
    Other {
        /// The type, dotted.
        oid: String,
        /// The value.
        value: String,
    },
}

impl AltName {
    /// Vault's notation of an other name: `1.2.3.4;UTF8:text` (or `utf-8`).
    pub fn parse_other(text: &str) -> Option<Self> {
        let (oid, rest) = text.split_once(';')?;
        let (kind, value) = rest.split_once(':')?;
        let utf8 = ["UTF8", "UTF-8"]
            .iter()
            .any(|name| kind.eq_ignore_ascii_case(name));
        (utf8 && Oid::new(oid).is_ok()).then(|| Self::Other {
            oid: oid.to_owned(),
            value: value.to_owned(),
        })
    }

    pub(crate) fn to_general_name(&self) -> der::Result<GeneralName> {
        Ok(match self {
            Self::Dns(name) => GeneralName::DnsName(Ia5String::new(name)?),
            Self::Email(name) => GeneralName::Rfc822Name(Ia5String::new(name)?),
            Self::Uri(uri) => GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?),
            Self::Ip(address) => GeneralName::from(*address),
            Self::Other { oid, value } => GeneralName::OtherName(OtherName {
                type_id: Oid::new(oid).map_err(der::Error::from)?,
                value: Any::encode_from(&Utf8StringRef::new(value)?)?,
            }),
        })
    }

    /// `None` for kinds that this type does not have (directory names, registered ids…).
    pub(crate) fn from_general_name(name: &GeneralName) -> Option<Self> {
        Some(match name {
            GeneralName::DnsName(name) => Self::Dns(name.as_str().to_owned()),
            GeneralName::Rfc822Name(name) => Self::Email(name.as_str().to_owned()),
            GeneralName::UniformResourceIdentifier(uri) => Self::Uri(uri.as_str().to_owned()),
            GeneralName::IpAddress(octets) => Self::Ip(address(octets.as_bytes())?),
            GeneralName::OtherName(other) => Self::Other {
                oid: other.type_id.to_string(),
                value: Utf8StringRef::try_from(&other.value)
                    .ok()?
                    .as_str()
                    .to_owned(),
            },
            _ => return None,
        })
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Ip(address) => write!(f, "IP:{address}"),
            Self::Email(name) => write!(f, "email:{name}"),
            Self::Uri(uri) => write!(f, "URI:{uri}"),
            Self::Other { oid, value } => write!(f, "othername:{oid};UTF8:{value}"),
        }
    }
}

/// Whether `text` is a host name that can stand in a certificate: A-labels in lower case, each
/// of 1 to 63 letters, digits and inner hyphens, 253 octets at most, one leading `*.` allowed, no
/// trailing dot, the last label not all digits.
pub fn is_dns_name(text: &str) -> bool {
    let host = text.strip_prefix("*.").unwrap_or(text);
    let label_ok = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
            // The third and fourth hyphen are kept for A-labels (RFC 5890 section 2.3.1).
            && (bytes.get(2..4) != Some(b"--") || label.starts_with("xn--") && bytes.len() > 4)
    };
    let last_is_number = host
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && host.split('.').all(label_ok) && !last_is_number
}

/// `text` as a host name of a certificate: lower case, one trailing dot cut. `None` if the rest
/// is not what [`is_dns_name`] allows; names in Unicode must come as A-labels.
pub fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    is_dns_name(&name).then_some(name)
}

/// Whether people see all of `text`: no control, bidirectional, invisible or replacement
/// characters, and no blank at either end.
pub fn is_plain_text(text: &str) -> bool {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
                | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
                | '\u{e0000}'..='\u{e0fff}')
    };
    !text.chars().any(hidden) && text.trim() == text
}

/// Whether `text` is a mailbox of the plain form (RFC 5321 dot-string) at a host name.
pub fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else {
        return false;
    };
    let atom = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    (1..=64).contains(&local.len())
        && local.split('.').all(atom)
        && !host.starts_with('*')
        && is_dns_name(&host.to_ascii_lowercase())
}

/// Whether `text` is an absolute URI in ASCII (RFC 3986) without blanks and quotes.
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !rest.is_empty()
        && rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
}

/// The text of a directory string, whatever its type.
pub(crate) fn text_of(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            std::str::from_utf8(value.value()).ok().map(str::to_owned)
        }
        // Latin-1 is what everybody writes into a TeletexString.
        Tag::TeletexString => Some(value.value().iter().map(|b| char::from(*b)).collect()),
        Tag::BmpString => {
            let units = value
                .value()
                .chunks_exact(2)
                .map(|c| u16::from_be_bytes([c[0], c[1]]));
            char::decode_utf16(units)
                .collect::<Result<String, _>>()
                .ok()
        }
        _ => None,
    }
}

/// An address out of 4 or 16 octets.
pub(crate) fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// The octets of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        let good = [
            "a",
            "a.b",
            "*.a.b",
            "xn--bcher-kva.example",
            "1.example",
            "a-b.c",
        ];
        for name in good {
            assert!(is_dns_name(name), "{name}");
        }
        let long = format!("{}.example", "a".repeat(64));
        let bad = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "*",
            "a.*.b",
            "**.a",
            "-a.b",
            "a-.b",
            "a_b",
            "A.b",
            "1.2.3.4",
            "a b",
            "a\u{200b}b",
            "bücher.example",
            "ab--cd.example",
            "xn--",
            &long,
            "a.b\0.c",
        ];
        for name in bad {
            assert!(!is_dns_name(name), "{name}");
        }
        assert_eq!(dns_name("WWW.Example."), Some("www.example".to_owned()));
        assert_eq!(dns_name("bücher.example"), None);
    }

    #[test]
    fn people_see_all_of_a_plain_text() {
        assert!(is_plain_text("Jörg Müller, Ltd."));
        for text in [
            "a\u{202e}b",
            "a\u{200d}b",
            "a\nb",
            " a",
            "a\u{feff}",
            "a\u{ad}b",
        ] {
            assert!(!is_plain_text(text), "{text:?}");
        }
    }

    #[test]
    fn mailboxes() {
        assert!(is_email("first.last@example.org"));
        for text in [
            "a", "@b.c", "a@", "a@@b.c", "a b@c.d", "a@*.c", ".a@b.c", "a@b_c",
        ] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn vaults_other_names() {
        let name = AltName::parse_other("1.3.6.1.4.1.311.20.2.3;UTF8:user@corp").unwrap();
        assert_eq!(
            AltName::from_general_name(&name.to_general_name().unwrap()),
            Some(name)
        );
        assert_eq!(AltName::parse_other("1.2.3;INT:5"), None);
        assert_eq!(AltName::parse_other("x;UTF8:a"), None);
    }
}
