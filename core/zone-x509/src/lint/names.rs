//! Rules about single names: of the subject, of the alternative names, of constraints.

use der::{Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use crate::names::{self, AltName, BOUNDS};
use crate::{Oid, is_dns_name, is_email, is_plain_text, is_uri};

const SERIAL_NUMBER: Oid = Oid::new_unwrap("2.5.4.5");
const COUNTRY: Oid = Oid::new_unwrap("2.5.4.6");

/// The upper bound of an attribute; `None` for types that this profile does not have.
pub(super) fn bound(attribute: &AttributeTypeAndValue) -> Option<usize> {
    BOUNDS
        .iter()
        .find(|(oid, ..)| *oid == attribute.oid)
        .map(|(.., bound)| *bound)
}

/// Whether the value is of a string type that its attribute may have: PrintableString, or
/// UTF8String where the attribute is a DirectoryString.
pub(super) fn has_string_type(attribute: &AttributeTypeAndValue) -> bool {
    match attribute.value.tag() {
        Tag::PrintableString => attribute.value.value().iter().all(|b| is_printable(*b)),
        Tag::Utf8String => {
            !matches!(attribute.oid, COUNTRY | SERIAL_NUMBER)
                && std::str::from_utf8(attribute.value.value()).is_ok()
        }
        _ => false,
    }
}

/// Whether the value has at least one character and at most as many as its bound.
pub(super) fn has_length(attribute: &AttributeTypeAndValue) -> bool {
    let length = names::text_of(&attribute.value).map_or(0, |text| text.chars().count());
    match bound(attribute) {
        // ub-country-name-alpha-length is a size, not a bound.
        Some(exactly) if attribute.oid == COUNTRY => length == exactly,
        Some(most) => (1..=most).contains(&length),
        None => length >= 1,
    }
}

/// Whether people see all of the value.
pub(super) fn is_plain(attribute: &AttributeTypeAndValue) -> bool {
    // Blanks at the ends are a matter of taste here; roles may have them.
    names::text_of(&attribute.value).is_some_and(|text| is_plain_text(text.trim_matches(' ')))
}

/// Whether an alternative name is well-formed.
pub(super) fn is_valid(name: &AltName) -> bool {
    match name {
        AltName::Dns(host) => is_dns_name(host.strip_prefix("*.").unwrap_or(host)),
        AltName::Email(mailbox) => is_email(mailbox),
        AltName::Uri(uri) => is_uri(uri),
        AltName::Ip(_) => true,
        AltName::Other { value, .. } => !value.is_empty(),
    }
}

/// Whether a wildcard, if there is one, is the whole leftmost label with a name below it, and
/// stands in a host name only.
pub(super) fn wildcard_is_right(name: &AltName) -> bool {
    match name {
        AltName::Dns(host) => !host.strip_prefix("*.").unwrap_or(host).contains('*'),
        AltName::Email(mailbox) => !mailbox
            .rsplit_once('@')
            .is_some_and(|(_, host)| host.contains('*')),
        _ => true,
    }
}

/// Whether a subtree of a name constraint is of a kind that readers know, with minimum 0, no
/// maximum, and a base in its form.
pub(super) fn subtree_is_valid(tree: &GeneralSubtree) -> bool {
    tree.minimum == 0
        && tree.maximum.is_none()
        && match &tree.base {
            GeneralName::DnsName(name) => {
                let host = name.as_str();
                let host = host.strip_prefix('.').unwrap_or(host);
                host.is_empty() || (!host.starts_with('*') && is_dns_name(host))
            }
            GeneralName::Rfc822Name(name) => {
                let text = name.as_str();
                is_email(text) || is_dns_name(text.strip_prefix('.').unwrap_or(text))
            }
            GeneralName::IpAddress(octets) => is_network(octets.as_bytes()),
            _ => false,
        }
}

/// Whether the octets are an address and a mask of leading ones, with no address bit beyond it.
fn is_network(octets: &[u8]) -> bool {
    if !matches!(octets.len(), 8 | 32) {
        return false;
    }
    let (address, mask) = octets.split_at(octets.len() / 2);
    let bits = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0u128, |all, byte| all << 8 | u128::from(*byte))
    };
    let width = mask.len() as u32 * 8;
    let (address, mask) = (bits(address), bits(mask));
    mask.count_ones() == (mask << (128 - width)).leading_ones() && address & !mask == 0
}

/// Whether a location is a URI in its form.
pub(super) fn is_location(name: &GeneralName) -> bool {
    matches!(name, GeneralName::UniformResourceIdentifier(uri) if is_uri(uri.as_str()))
}

/// Whether a distribution point's name is one or more URIs.
pub(super) fn is_full_name(name: Option<&DistributionPointName>) -> bool {
    let Some(DistributionPointName::FullName(names)) = name else {
        return false;
    };
    !names.is_empty() && names.iter().all(is_location)
}

fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        assert!(is_network(&[10, 0, 0, 0, 255, 0, 0, 0]));
        assert!(is_network(&[0; 8]));
        assert!(is_network(&[1, 2, 3, 4, 255, 255, 255, 255]));
        assert!(
            !is_network(&[10, 1, 0, 0, 255, 0, 0, 0]),
            "address beyond the mask"
        );
        assert!(!is_network(&[10, 0, 0, 0, 255, 0, 255, 0]), "sparse mask");
        assert!(!is_network(&[10, 0, 0, 0]), "no mask");
        let mut six = [0u8; 32];
        six[..2].copy_from_slice(&[0xfd, 0x00]);
        six[16] = 0xff;
        assert!(is_network(&six));
        six[16] = 0xfe;
        six[0] = 0xff;
        assert!(!is_network(&six));
        assert!(is_network(&[0xff; 32]));
    }
}
