//! Rules about the fields of a certificate.

use zone_crypto::sign::{Hash, PublicKey, SignatureScheme};

use super::extensions::is_unique;
use super::view::{Holds, View};
use super::{Profile, Rule, names, rule};
use crate::{KeyUsage, asn1};

pub(super) const RULES: &[Rule<Holds>] = &[
    rule(
        "version-3",
        "RFC 5280 section 4.1.2.1",
        "the version is 3",
        |v| v.version == Some(&[2]),
    ),
    rule(
        "serial-positive",
        "RFC 5280 section 4.1.2.2",
        "the serial number is a positive integer",
        |v| v.serial[0] < 0x80 && v.serial != [0],
    ),
    rule(
        "serial-20-octets",
        "RFC 5280 section 4.1.2.2",
        "the serial number has at most 20 octets",
        |v| v.serial.len() <= 20,
    ),
    rule(
        "serial-64-bits",
        "BR section 7.1",
        "the serial number has room for 64 random bits",
        serial_has_64_bits,
    ),
    rule(
        "signature-algorithm",
        "RFC 5280 section 4.1.2.3, RFC 4055, RFC 5758, RFC 8410",
        "the signature algorithm is SHA-2 with RSA, ECDSA, or Ed25519, in its one encoding",
        |v| SignatureScheme::from_algorithm_identifier(v.algorithm).is_some(),
    ),
    rule(
        "signature-fits-issuer",
        "RFC 5280 section 4.1.1.2, BR section 7.1.3.2",
        "the signature algorithm belongs to the key that signs",
        |v| {
            signature_fits(
                v.algorithm,
                v.profile.issuer().map_or(v.spki, |i| i.spki_der()),
            )
        },
    ),
    rule(
        "issuer-name",
        "RFC 5280 section 4.1.2.4",
        "the issuer's name is not empty",
        |v| v.issuer != EMPTY_NAME,
    ),
    rule(
        "issuer-is-subject-of-issuer",
        "RFC 5280 section 6.1.3 (a)(4)",
        "the issuer's name is, byte for byte, the subject of the certificate that signs",
        |v| {
            v.issuer
                == v.profile
                    .issuer()
                    .map_or(v.subject, |issuer| issuer.subject_der())
        },
    ),
    rule(
        "issuer-may-sign",
        "RFC 5280 section 6.1.4 (k) to (n)",
        "the certificate that signs is a CA with keyCertSign, with room in its path length",
        issuer_may_sign,
    ),
    rule(
        "validity-form",
        "RFC 5280 section 4.1.2.5",
        "both instants are in UTC with seconds, as UTCTime through 2049 and GeneralizedTime after",
        |v| v.not_before.has_form() && v.not_after.has_form(),
    ),
    rule(
        "validity-order",
        "RFC 5280 section 4.1.2.5",
        "the certificate does not end before it begins",
        |v| span(v).is_some_and(|(from, to)| from <= to),
    ),
    rule(
        "within-issuer",
        "RFC 5280 section 6.1.3 (a)(2), zonehead C1",
        "the certificate lives within the life of the certificate that signs",
        within_issuer,
    ),
    rule(
        "ca-subject",
        "RFC 5280 section 4.1.2.6",
        "the subject of a CA is not empty",
        |v| !v.profile.is_ca() || v.subject != EMPTY_NAME,
    ),
    rule(
        "subject-attributes",
        "RFC 5280 section 4.1.2.6, BR section 7.1.4.2",
        "the subject has one attribute in each of its parts, of a type that is issued",
        |v| {
            v.name.iter_rdn().all(|part| part.len() == 1)
                && v.name
                    .iter()
                    .all(|attribute| names::bound(attribute).is_some())
        },
    ),
    rule(
        "subject-strings",
        "RFC 5280 section 4.1.2.4 and appendix A.1",
        "attributes are PrintableString or UTF8String; country and serial number the former",
        |v| v.name.iter().all(names::has_string_type),
    ),
    rule(
        "subject-lengths",
        "RFC 5280 appendix A.1 (ub-…)",
        "no attribute of the subject is empty or longer than its bound",
        |v| v.name.iter().all(names::has_length),
    ),
    rule(
        "subject-text",
        "RFC 5280 section 8 (names that look alike)",
        "the subject has no control, bidirectional or invisible characters",
        |v| v.name.iter().all(names::is_plain),
    ),
    rule(
        "subject-key",
        "RFC 5280 section 4.1.2.7, RFC 3279, RFC 5480, RFC 8410, BR section 6.1.5",
        "the key is RSA of 2048 bits at least, P-256, P-384, P-521 or Ed25519, encoded as such",
        |v| PublicKey::from_spki(v.spki).is_ok(),
    ),
    rule(
        "no-unique-ids",
        "RFC 5280 section 4.1.2.8",
        "there are no unique identifiers",
        |v| !v.has_unique_id,
    ),
    rule(
        "extensions-not-empty",
        "RFC 5280 section 4.1.2.9",
        "there are extensions",
        |v| !v.all().is_empty(),
    ),
    rule(
        "extensions-unique",
        "RFC 5280 section 4.2",
        "no extension occurs twice",
        |v| is_unique(v.all().iter().map(|extension| extension.oid)),
    ),
];

const EMPTY_NAME: &[u8] = &[0x30, 0];

fn serial_has_64_bits(view: &View<'_>) -> bool {
    let magnitude = view.serial.strip_prefix(&[0]).unwrap_or(view.serial);
    magnitude.len() > 8 || (magnitude.len() == 8 && magnitude[0] >= 0x80)
}

fn issuer_may_sign(view: &View<'_>) -> bool {
    let Some(issuer) = view.profile.issuer() else {
        return true;
    };
    let is_last = matches!(issuer.authority(), Some(Some(0)));
    issuer.authority().is_some()
        && issuer
            .key_usage()
            .is_none_or(|usage| usage.contains(KeyUsage::CERT_SIGN))
        && !(is_last && matches!(view.profile, Profile::Authority(_)))
}

fn span(view: &View<'_>) -> Option<(zone_types::Timestamp, zone_types::Timestamp)> {
    let (from, to) = (view.not_before.time()?, view.not_after.time()?);
    Some((asn1::timestamp(from), asn1::timestamp(to)))
}

fn within_issuer(view: &View<'_>) -> bool {
    let Some(issuer) = view.profile.issuer() else {
        return true;
    };
    span(view).is_some_and(|(from, to)| issuer.not_before() <= from && to <= issuer.not_after())
}

/// The kind of a key, as far as rules ask. Taken from the encoding of its algorithm alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

/// The kind of the key in a `SubjectPublicKeyInfo`; `None` for others.
pub(super) fn key_kind(spki: &[u8]) -> Option<KeyKind> {
    const KINDS: [(&[u8], KeyKind); 5] = [
        (
            b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
            KeyKind::Rsa,
        ),
        (
            b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
            KeyKind::P256,
        ),
        (
            b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
            KeyKind::P384,
        ),
        (
            b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23",
            KeyKind::P521,
        ),
        (b"\x30\x05\x06\x03\x2b\x65\x70", KeyKind::Ed25519),
    ];
    let algorithm = super::pieces::inside(spki)?.first()?.tlv;
    KINDS
        .iter()
        .find(|(encoding, _)| *encoding == algorithm)
        .map(|(_, kind)| *kind)
}

/// Whether a key signs by an algorithm: each curve with its own hash only.
pub(super) fn signature_fits(algorithm: &[u8], spki: &[u8]) -> bool {
    use SignatureScheme as S;
    let scheme = S::from_algorithm_identifier(algorithm);
    match key_kind(spki) {
        Some(KeyKind::Rsa) => matches!(scheme, Some(S::RsaPkcs1(_) | S::RsaPss(_))),
        Some(KeyKind::P256) => scheme == Some(S::Ecdsa(Hash::Sha256)),
        Some(KeyKind::P384) => scheme == Some(S::Ecdsa(Hash::Sha384)),
        Some(KeyKind::P521) => scheme == Some(S::Ecdsa(Hash::Sha512)),
        Some(KeyKind::Ed25519) => scheme == Some(S::Ed25519),
        None => false,
    }
}
