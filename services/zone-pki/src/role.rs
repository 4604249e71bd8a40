//! Roles: what a caller may have certified. Vault's fields and defaults; where we are stricter a
//! field is refused when the role is written, not when it is used.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zone_crypto::sign::{Hash, KeyAlgorithm, KeyType};
use zone_types::Timestamp;
use zone_x509::{AltName, KeyUsage, Purpose, dns_name};

use crate::PkiError;
use crate::names::{self, ReservedNames};

/// Most entries in any list of a role.
const MAX_LIST: usize = 1000;
/// Longest entry in any list of a role, in octets.
const MAX_ENTRY: usize = 1024;

/// A role, in Vault's fields. Durations in seconds; zero means the mount's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "these are Vault's fields")]
pub struct Role {
    /// Which issuer signs: `default`, an id or a name.
    pub issuer_ref: String,
    /// Life of a certificate whose request names none.
    pub ttl: u64,
    /// Longest life of a certificate.
    pub max_ttl: u64,
    /// Whether `localhost` may be certified.
    pub allow_localhost: bool,
    /// Domains for the four `allow_…` rules below.
    pub allowed_domains: Vec<String>,
    /// Whether the domains themselves may be certified.
    pub allow_bare_domains: bool,
    /// Whether names below the domains may be.
    pub allow_subdomains: bool,
    /// Whether `*` in a domain stands for any run of characters.
    pub allow_glob_domains: bool,
    /// Whether a name may begin with `*.`.
    pub allow_wildcard_certificates: bool,
    /// Whether any name may be certified.
    pub allow_any_name: bool,
    /// Whether a common name must be a host name or a mailbox.
    pub enforce_hostnames: bool,
    /// Whether IP addresses may be certified.
    pub allow_ip_sans: bool,
    /// Globs for URIs.
    pub allowed_uri_sans: Vec<String>,
    /// `<oid>;UTF8:<glob>` for other names, or `*`.
    pub allowed_other_sans: Vec<String>,
    /// Globs for user ids.
    pub allowed_user_ids: Vec<String>,
    /// Globs for the subject's serial number.
    pub allowed_serial_numbers: Vec<String>,
    /// Whether certificates are for TLS servers.
    pub server_flag: bool,
    /// Whether certificates are for TLS clients.
    pub client_flag: bool,
    /// Whether certificates are for signing code.
    pub code_signing_flag: bool,
    /// Whether certificates are for mail.
    pub email_protection_flag: bool,
    /// `rsa`, `ec`, `ed25519`, or `any` (which only `sign` can serve).
    pub key_type: String,
    /// Bits of the key; zero for the type's usual.
    pub key_bits: u32,
    /// Bits of the hash under an RSA signature; zero for 256.
    pub signature_bits: u32,
    /// Key usages by Go's names.
    pub key_usage: Vec<String>,
    /// Purposes by Go's names.
    pub ext_key_usage: Vec<String>,
    /// Purposes by object identifier.
    pub ext_key_usage_oids: Vec<String>,
    /// Whether `sign` takes the common name from the request's CSR.
    pub use_csr_common_name: bool,
    /// Whether `sign` takes the alternative names from the request's CSR.
    pub use_csr_sans: bool,
    /// `OU` of every certificate.
    pub ou: Vec<String>,
    /// `O` of every certificate.
    pub organization: Vec<String>,
    /// `C` of every certificate.
    pub country: Vec<String>,
    /// `L` of every certificate.
    pub locality: Vec<String>,
    /// `ST` of every certificate.
    pub province: Vec<String>,
    /// `street` of every certificate.
    pub street_address: Vec<String>,
    /// `postalCode` of every certificate.
    pub postal_code: Vec<String>,
    /// Whether a common name is needed.
    pub require_cn: bool,
    /// How common names are judged: `email`, `hostname`, or `disabled` alone.
    pub cn_validations: Vec<String>,
    /// Policy object identifiers of every certificate.
    pub policy_identifiers: Vec<String>,
    /// Whether basic constraints stand in leaf certificates too.
    pub basic_constraints_valid_for_non_ca: bool,
    /// How long before the request a certificate begins, in seconds.
    pub not_before_duration: u64,
    /// The end of every certificate (RFC 3339); empty: by TTL.
    pub not_after: String,
    /// Whether certificates are not stored (and then can be revoked only by showing them).
    pub no_store: bool,
    /// Whether each certificate is revoked with the token that it was given to, by a lease. Never
    /// with `no_store`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generate_lease: bool,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            issuer_ref: "default".into(),
            ttl: 0,
            max_ttl: 0,
            allow_localhost: true,
            allowed_domains: Vec::new(),
            allow_bare_domains: false,
            allow_subdomains: false,
            allow_glob_domains: false,
            allow_wildcard_certificates: true,
            allow_any_name: false,
            enforce_hostnames: true,
            allow_ip_sans: true,
            allowed_uri_sans: Vec::new(),
            allowed_other_sans: Vec::new(),
            allowed_user_ids: Vec::new(),
            allowed_serial_numbers: Vec::new(),
            server_flag: true,
            client_flag: true,
            code_signing_flag: false,
            email_protection_flag: false,
            key_type: "rsa".into(),
            key_bits: 0,
            signature_bits: 0,
            key_usage: ["DigitalSignature", "KeyAgreement", "KeyEncipherment"]
                .map(Into::into)
                .into(),
            ext_key_usage: Vec::new(),
            ext_key_usage_oids: Vec::new(),
            use_csr_common_name: true,
            use_csr_sans: true,
            ou: Vec::new(),
            organization: Vec::new(),
            country: Vec::new(),
            locality: Vec::new(),
            province: Vec::new(),
            street_address: Vec::new(),
            postal_code: Vec::new(),
            require_cn: true,
            cn_validations: vec!["email".into(), "hostname".into()],
            policy_identifiers: Vec::new(),
            basic_constraints_valid_for_non_ca: false,
            not_before_duration: 30,
            not_after: String::new(),
            no_store: false,
            generate_lease: false,
        }
    }
}

/// What a role says about the key of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRule {
    /// Keys of this type, or for RSA of at least its size.
    Only(KeyType),
    /// Any key; the client brings it.
    Any,
}

impl Role {
    /// Brings the role into its one form, or refuses it.
    pub(crate) fn checked(mut self, reserved: &ReservedNames) -> Result<Self, PkiError> {
        // As in Vault: what is not stored has nothing to revoke.
        self.generate_lease &= !self.no_store;
        self.check_lists()?;
        self.normalise_key()?;
        self.check_times()?;
        self.check_usages()?;
        self.check_domains(reserved)?;
        self.check_cn_validations()?;
        for pattern in &self.allowed_uri_sans {
            check_uri_pattern(pattern, reserved)?;
        }
        for pattern in &self.allowed_other_sans {
            if pattern != "*" && AltName::parse_other(pattern).is_none() {
                return Err(PkiError::field(
                    "allowed_other_sans",
                    "expected <oid>;UTF8:<glob> or *",
                ));
            }
        }
        for oid in &self.policy_identifiers {
            if Purpose::from_oid(oid).is_none() {
                return Err(PkiError::field(
                    "policy_identifiers",
                    "expected object identifiers (1.2.3.4)",
                ));
            }
        }
        if self
            .country
            .iter()
            .any(|c| c.len() != 2 || !c.bytes().all(|b| b.is_ascii_alphabetic()))
        {
            return Err(PkiError::field("country", "expected codes of two letters"));
        }
        if self.issuer_ref.is_empty() {
            self.issuer_ref = "default".into();
        }
        Ok(self)
    }

    /// The role's rule for keys. The role was checked when it was written.
    pub(crate) fn key_rule(&self) -> Result<KeyRule, PkiError> {
        if self.key_type == "any" {
            return Ok(KeyRule::Any);
        }
        KeyType::from_family(&self.key_type, self.key_bits)
            .map(KeyRule::Only)
            .ok_or(PkiError::Corrupt("role"))
    }

    /// The hash under RSA signatures.
    pub(crate) fn hash(&self) -> Hash {
        match self.signature_bits {
            384 => Hash::Sha384,
            512 => Hash::Sha512,
            _ => Hash::Sha256,
        }
    }

    /// The usages of a certificate for a key of kind `algorithm`: those of the role that fit it.
    pub(crate) fn usage_for(&self, algorithm: KeyAlgorithm) -> Result<KeyUsage, PkiError> {
        let wanted: KeyUsage = self
            .key_usage
            .iter()
            .filter_map(|name| KeyUsage::from_name(name))
            .collect();
        let unfit = match algorithm {
            KeyAlgorithm::Rsa { .. } => KeyUsage::KEY_AGREEMENT,
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => {
                KeyUsage::KEY_ENCIPHERMENT | KeyUsage::DATA_ENCIPHERMENT
            }
            KeyAlgorithm::Ed25519 => {
                KeyUsage::KEY_ENCIPHERMENT | KeyUsage::DATA_ENCIPHERMENT | KeyUsage::KEY_AGREEMENT
            }
        };
        let fit = wanted.without(unfit);
        if fit.is_empty() && !wanted.is_empty() {
            return Err(PkiError::refused(format!(
                "the role's key_usage has nothing that fits a key of type {algorithm}"
            )));
        }
        Ok(fit)
    }

    /// The purposes of a certificate.
    pub(crate) fn purposes(&self) -> Vec<Purpose> {
        let flags = [
            (self.server_flag, Purpose::SERVER_AUTH),
            (self.client_flag, Purpose::CLIENT_AUTH),
            (self.code_signing_flag, Purpose::CODE_SIGNING),
            (self.email_protection_flag, Purpose::EMAIL_PROTECTION),
        ];
        let named = self
            .ext_key_usage
            .iter()
            .filter_map(|name| Purpose::from_name(name));
        let numbered = self
            .ext_key_usage_oids
            .iter()
            .filter_map(|oid| Purpose::from_oid(oid));
        let mut purposes = Vec::new();
        for purpose in flags
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, p)| p)
            .chain(named)
            .chain(numbered)
        {
            if !purposes.contains(&purpose) {
                purposes.push(purpose);
            }
        }
        purposes
    }

    /// How long before the request a certificate begins.
    pub(crate) fn backdate(&self) -> Duration {
        Duration::from_secs(self.not_before_duration)
    }

    fn check_lists(&self) -> Result<(), PkiError> {
        let lists = [
            ("allowed_domains", &self.allowed_domains),
            ("allowed_uri_sans", &self.allowed_uri_sans),
            ("allowed_other_sans", &self.allowed_other_sans),
            ("allowed_user_ids", &self.allowed_user_ids),
            ("allowed_serial_numbers", &self.allowed_serial_numbers),
            ("ou", &self.ou),
            ("organization", &self.organization),
            ("country", &self.country),
            ("locality", &self.locality),
            ("province", &self.province),
            ("street_address", &self.street_address),
            ("postal_code", &self.postal_code),
            ("policy_identifiers", &self.policy_identifiers),
        ];
        for (name, list) in lists {
            if list.len() > MAX_LIST || list.iter().any(|entry| entry.len() > MAX_ENTRY) {
                return Err(PkiError::field(name, "at most 1000 entries of 1024 octets"));
            }
            if list.iter().any(|entry| !zone_x509::is_plain_text(entry)) {
                return Err(PkiError::field(
                    name,
                    "an entry has control, bidirectional or invisible characters",
                ));
            }
        }
        Ok(())
    }

    fn normalise_key(&mut self) -> Result<(), PkiError> {
        if self.key_type == "any" {
            self.key_bits = 0;
        } else {
            let key_type = key_type(&self.key_type, self.key_bits)?;
            self.key_bits = match key_type {
                KeyType::Ed25519 => 0,
                other => other.algorithm().bits(),
            };
        }
        if !matches!(self.signature_bits, 0 | 256 | 384 | 512) {
            return Err(PkiError::field(
                "signature_bits",
                "expected 0, 256, 384 or 512",
            ));
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), PkiError> {
        if self.max_ttl != 0 && self.ttl > self.max_ttl {
            return Err(PkiError::refused(
                "\"ttl\" value must be less than \"max_ttl\" value",
            ));
        }
        if self.not_before_duration > 48 * 3600 {
            return Err(PkiError::field("not_before_duration", "at most 48 hours"));
        }
        if !self.not_after.is_empty() && Timestamp::parse_rfc3339(&self.not_after).is_none() {
            return Err(PkiError::field("not_after", "expected an RFC 3339 instant"));
        }
        Ok(())
    }

    fn check_usages(&self) -> Result<(), PkiError> {
        for name in &self.key_usage {
            let usage = KeyUsage::from_name(name)
                .ok_or_else(|| PkiError::field("key_usage", "unknown key usage"))?;
            if usage.intersects(KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN) {
                return Err(PkiError::field(
                    "key_usage",
                    "CertSign and CRLSign belong to CAs; a role issues leaf certificates",
                ));
            }
        }
        if self
            .ext_key_usage
            .iter()
            .any(|name| Purpose::from_name(name).is_none())
        {
            return Err(PkiError::field(
                "ext_key_usage",
                "unknown extended key usage",
            ));
        }
        if self
            .ext_key_usage_oids
            .iter()
            .any(|oid| Purpose::from_oid(oid).is_none())
        {
            return Err(PkiError::field(
                "ext_key_usage_oids",
                "expected object identifiers (1.2.3.4)",
            ));
        }
        if self.purposes().contains(&Purpose::OCSP_SIGNING) {
            return Err(PkiError::field(
                "ext_key_usage",
                "OCSPSigning would let the certificate answer for its issuer",
            ));
        }
        Ok(())
    }

    fn check_domains(&mut self, reserved: &ReservedNames) -> Result<(), PkiError> {
        for domain in &mut self.allowed_domains {
            let is_glob = self.allow_glob_domains && domain.contains('*');
            match dns_name(domain) {
                Some(name) => *domain = name,
                // Without enforce_hostnames a common name may be any text, so may a domain.
                None if is_glob || !self.enforce_hostnames || domain.contains('@') => {
                    *domain = domain.to_ascii_lowercase();
                }
                None => {
                    return Err(PkiError::field(
                        "allowed_domains",
                        "expected host names in ASCII; '*' needs allow_glob_domains",
                    ));
                }
            }
            if !is_glob && reserved.holds_text(domain) {
                return Err(PkiError::field(
                    "allowed_domains",
                    "a name of the zone or its head is reserved",
                ));
            }
        }
        Ok(())
    }

    fn check_cn_validations(&mut self) -> Result<(), PkiError> {
        let wrong = || {
            PkiError::field(
                "cn_validations",
                "expected email, hostname, both, or disabled alone",
            )
        };
        if self.cn_validations.is_empty() {
            self.cn_validations = Self::default().cn_validations;
        }
        for validation in &mut self.cn_validations {
            *validation = validation.to_ascii_lowercase();
            if !matches!(validation.as_str(), "email" | "hostname" | "disabled") {
                return Err(wrong());
            }
        }
        let disabled = self.cn_validations.iter().any(|v| v == "disabled");
        if disabled && self.cn_validations.len() > 1 {
            Err(wrong())
        } else {
            Ok(())
        }
    }
}

/// A key type out of Vault's two fields.
pub(crate) fn key_type(family: &str, bits: u32) -> Result<KeyType, PkiError> {
    if !matches!(family, "rsa" | "ec" | "ed25519") {
        return Err(PkiError::field(
            "key_type",
            "expected rsa, ec, ed25519 (or any, in a role)",
        ));
    }
    KeyType::from_family(family, bits).ok_or_else(|| {
        PkiError::field(
            "key_bits",
            "expected 2048, 3072, 4096 for rsa; 256, 384, 521 for ec; or 0",
        )
    })
}

/// C3: a pattern that is plainly for the zone's own SPIFFE ids is refused when it is written. A
/// broader one (`*`) may stand; each URI is judged again when a certificate is made.
fn check_uri_pattern(pattern: &str, reserved: &ReservedNames) -> Result<(), PkiError> {
    let lower = pattern.trim().to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("spiffe://") else {
        return Ok(());
    };
    let domain = rest.split('/').next().unwrap_or("");
    let probe = AltName::Uri(format!("spiffe://{domain}"));
    if !domain.contains('*') && reserved.holds(&probe) {
        return Err(PkiError::field(
            "allowed_uri_sans",
            "SPIFFE ids of the zone's trust domain are reserved",
        ));
    }
    Ok(())
}

/// Checks the name of a role.
pub(crate) fn check_name(name: &str) -> Result<(), PkiError> {
    names::check_role_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved() -> ReservedNames {
        ReservedNames::new("zone.example", &["head.zone.example".to_owned()])
    }

    fn check(change: impl Fn(&mut Role)) -> Result<Role, String> {
        let mut role = Role::default();
        change(&mut role);
        role.checked(&reserved()).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_vaults() {
        let role = check(|_| {}).unwrap();
        assert_eq!((role.key_type.as_str(), role.key_bits), ("rsa", 2048));
        assert_eq!(role.not_before_duration, 30);
        assert!(role.allow_localhost && role.require_cn && role.enforce_hostnames);
        assert!(!role.allow_any_name && !role.allow_subdomains && !role.no_store);
        assert_eq!(
            role.key_usage,
            ["DigitalSignature", "KeyAgreement", "KeyEncipherment"]
        );
    }

    #[test]
    fn each_fault_names_its_field() {
        type Change = fn(&mut Role);
        let cases: [(&str, Change); 12] = [
            ("key_type", |r| r.key_type = "dsa".into()),
            ("key_bits", |r| r.key_bits = 1024),
            ("signature_bits", |r| r.signature_bits = 160),
            ("key_usage", |r| r.key_usage = vec!["CertSign".into()]),
            ("key_usage", |r| r.key_usage = vec!["Everything".into()]),
            ("ext_key_usage", |r| {
                r.ext_key_usage = vec!["OCSPSigning".into()]
            }),
            ("ext_key_usage_oids", |r| {
                r.ext_key_usage_oids = vec!["x".into()]
            }),
            ("not_after", |r| r.not_after = "tomorrow".into()),
            ("cn_validations", |r| {
                r.cn_validations = vec!["disabled".into(), "email".into()]
            }),
            ("allowed_domains", |r| {
                r.allowed_domains = vec!["bücher.example".into()]
            }),
            ("country", |r| r.country = vec!["Germany".into()]),
            ("organization", |r| {
                r.organization = vec!["a\u{202e}b".into()]
            }),
        ];
        for (field, change) in cases {
            let error = check(change).unwrap_err();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(check(|r| (r.ttl, r.max_ttl) = (2, 1)).is_err());
    }

    #[test]
    fn c3_roles_for_reserved_names_are_refused() {
        for domain in ["head.zone.example", "HEAD.zone.example."] {
            assert!(
                check(|r| r.allowed_domains = vec![domain.into()]).is_err(),
                "{domain}"
            );
        }
        for uri in [
            "spiffe://zone.example/*",
            "SPIFFE://ZONE.example/x",
            "spiffe://zone.example.",
        ] {
            assert!(
                check(|r| r.allowed_uri_sans = vec![uri.into()]).is_err(),
                "{uri}"
            );
        }
        assert!(check(|r| r.allowed_uri_sans = vec!["spiffe://other.example/*".into()]).is_ok());
    }

    #[test]
    fn usages_fit_the_key() {
        let role = Role::default();
        let usage = |algorithm| role.usage_for(algorithm).unwrap();
        assert_eq!(
            usage(KeyAlgorithm::Rsa { bits: 2048 }),
            KeyUsage::DIGITAL_SIGNATURE | KeyUsage::KEY_ENCIPHERMENT
        );
        assert_eq!(
            usage(KeyAlgorithm::P256),
            KeyUsage::DIGITAL_SIGNATURE | KeyUsage::KEY_AGREEMENT
        );
        assert_eq!(usage(KeyAlgorithm::Ed25519), KeyUsage::DIGITAL_SIGNATURE);
        let role = Role {
            key_usage: vec!["KeyEncipherment".into()],
            ..Role::default()
        };
        assert!(role.usage_for(KeyAlgorithm::Ed25519).is_err());
    }
}
