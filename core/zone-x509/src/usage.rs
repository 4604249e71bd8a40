//! Key usages and purposes by the names that Vault's clients send.

use std::fmt;
use std::ops::BitOr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_cert::ext::pkix as ext;

use crate::Oid;

/// A set of key usages (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUsage(u16);

const USAGES: [(&str, ext::KeyUsages); 9] = [
    ("DigitalSignature", ext::KeyUsages::DigitalSignature),
    ("ContentCommitment", ext::KeyUsages::NonRepudiation),
    ("KeyEncipherment", ext::KeyUsages::KeyEncipherment),
    ("DataEncipherment", ext::KeyUsages::DataEncipherment),
    ("KeyAgreement", ext::KeyUsages::KeyAgreement),
    ("CertSign", ext::KeyUsages::KeyCertSign),
    ("CRLSign", ext::KeyUsages::CRLSign),
    ("EncipherOnly", ext::KeyUsages::EncipherOnly),
    ("DecipherOnly", ext::KeyUsages::DecipherOnly),
];

impl KeyUsage {
    /// No usage.
    pub const NONE: Self = Self(0);
    /// `digitalSignature`.
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// `nonRepudiation`, since renamed.
    pub const CONTENT_COMMITMENT: Self = Self(1 << 1);
    /// `keyEncipherment`: RSA only.
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// `dataEncipherment`: RSA only.
    pub const DATA_ENCIPHERMENT: Self = Self(1 << 3);
    /// `keyAgreement`: ECDH keys only.
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// `keyCertSign`: CAs only.
    pub const CERT_SIGN: Self = Self(1 << 5);
    /// `cRLSign`: CAs only.
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// One usage by its name in Go, as Vault takes it; case and a leading `KeyUsage` do not
    /// matter.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let name = match name.get(..8) {
            Some(head) if head.eq_ignore_ascii_case("KeyUsage") => &name[8..],
            _ => name,
        };
        let bit = USAGES
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(Self(1 << bit))
    }

    /// Whether all of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in this set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the usages in this set, as [`KeyUsage::from_name`] reads them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..USAGES.len())
            .filter(move |bit| self.0 & (1 << bit) != 0)
            .map(|bit| USAGES[bit].0)
    }

    pub(crate) fn to_extension(self) -> ext::KeyUsage {
        let mut flags = der::flagset::FlagSet::default();
        for (bit, (_, flag)) in USAGES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                flags |= *flag;
            }
        }
        ext::KeyUsage(flags)
    }

    pub(crate) fn from_extension(usage: &ext::KeyUsage) -> Self {
        let has = |flag| usage.0.contains(flag);
        let bits = USAGES
            .iter()
            .enumerate()
            .filter(|(_, (_, flag))| has(*flag));
        Self(bits.fold(0, |set, (bit, _)| set | (1 << bit)))
    }
}

impl BitOr for KeyUsage {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<KeyUsage> for KeyUsage {
    fn from_iter<I: IntoIterator<Item = KeyUsage>>(usages: I) -> Self {
        usages.into_iter().fold(Self::NONE, BitOr::bitor)
    }
}

impl fmt::Debug for KeyUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What a certificate is for (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Purpose(Oid);

/// Go's `x509.ExtKeyUsage…` names, which Vault's `ext_key_usage` takes.
const PURPOSES: [(&str, Purpose); 13] = [
    ("Any", Purpose(Oid::new_unwrap("2.5.29.37.0"))),
    ("ServerAuth", Purpose::SERVER_AUTH),
    ("ClientAuth", Purpose::CLIENT_AUTH),
    ("CodeSigning", Purpose::CODE_SIGNING),
    ("EmailProtection", Purpose::EMAIL_PROTECTION),
    (
        "IPSECEndSystem",
        Purpose(Oid::new_unwrap("1.3.6.1.5.5.7.3.5")),
    ),
    ("IPSECTunnel", Purpose(Oid::new_unwrap("1.3.6.1.5.5.7.3.6"))),
    ("IPSECUser", Purpose(Oid::new_unwrap("1.3.6.1.5.5.7.3.7"))),
    (
        "TimeStamping",
        Purpose(Oid::new_unwrap("1.3.6.1.5.5.7.3.8")),
    ),
    ("OCSPSigning", Purpose::OCSP_SIGNING),
    (
        "MicrosoftServerGatedCrypto",
        Purpose(Oid::new_unwrap("1.3.6.1.4.1.311.10.3.3")),
    ),
    (
        "NetscapeServerGatedCrypto",
        Purpose(Oid::new_unwrap("2.16.840.1.113730.4.1")),
    ),
    (
        "MicrosoftCommercialCodeSigning",
        Purpose(Oid::new_unwrap("1.3.6.1.4.1.311.2.1.22")),
    ),
];

impl Purpose {
    /// A TLS server.
    pub const SERVER_AUTH: Self = Self(Oid::new_unwrap("1.3.6.1.5.5.7.3.1"));
    /// A TLS client.
    pub const CLIENT_AUTH: Self = Self(Oid::new_unwrap("1.3.6.1.5.5.7.3.2"));
    /// Signing code.
    pub const CODE_SIGNING: Self = Self(Oid::new_unwrap("1.3.6.1.5.5.7.3.3"));
    /// Signed and encrypted mail.
    pub const EMAIL_PROTECTION: Self = Self(Oid::new_unwrap("1.3.6.1.5.5.7.3.4"));
    /// Answers of an OCSP responder.
    pub const OCSP_SIGNING: Self = Self(Oid::new_unwrap("1.3.6.1.5.5.7.3.9"));

    /// A purpose by Go's name as Vault takes it; case and a leading `ExtKeyUsage` do not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let name = match name.get(..11) {
            Some(head) if head.eq_ignore_ascii_case("ExtKeyUsage") => &name[11..],
            _ => name,
        };
        let known = PURPOSES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, purpose)| *purpose)
    }

    /// A purpose by its dotted object identifier (`ext_key_usage_oids`).
    pub fn from_oid(dotted: &str) -> Option<Self> {
        Oid::new(dotted.trim()).ok().map(Self)
    }

    /// The object identifier.
    pub const fn oid(self) -> Oid {
        self.0
    }
}

impl From<Oid> for Purpose {
    fn from(oid: Oid) -> Self {
        Self(oid)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PURPOSES.iter().find(|(_, purpose)| purpose == self) {
            Some((name, _)) => f.write_str(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Purpose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Purpose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let purpose = Self::from_name(&text).or_else(|| Self::from_oid(&text));
        purpose.ok_or_else(|| de::Error::custom("not a purpose"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_vault_reads_them() {
        assert_eq!(KeyUsage::from_name("CertSign"), Some(KeyUsage::CERT_SIGN));
        assert_eq!(
            KeyUsage::from_name(" keyusagedigitalsignature"),
            Some(KeyUsage::DIGITAL_SIGNATURE)
        );
        assert_eq!(KeyUsage::from_name("Everything"), None);
        assert_eq!(
            Purpose::from_name("ExtKeyUsageServerAuth"),
            Some(Purpose::SERVER_AUTH)
        );
        assert_eq!(Purpose::from_name("clientauth"), Some(Purpose::CLIENT_AUTH));
        assert_eq!(
            Purpose::from_oid("1.2.3").map(|p| p.to_string()),
            Some("1.2.3".into())
        );
    }

    #[test]
    fn usages_survive_the_extension() {
        for (name, _) in USAGES {
            let usage = KeyUsage::from_name(name).unwrap();
            assert_eq!(
                KeyUsage::from_extension(&usage.to_extension()),
                usage,
                "{name}"
            );
            assert_eq!(usage.names().collect::<Vec<_>>(), [name]);
        }
    }
}
