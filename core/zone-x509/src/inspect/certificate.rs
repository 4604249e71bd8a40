//! The report on a certificate.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use x509_cert::ext::pkix as ext;
use x509_cert::ext::pkix::name::GeneralName;
use zone_types::Timestamp;

use super::{KeyReport, Rows, Standing, standing_text};
use crate::{AltName, Certificate, NameConstraints, Oid, Serial, Subtree, colon_hex};

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateReport {
    /// The subject (RFC 4514); empty for none.
    pub subject: String,
    /// The issuer (RFC 4514).
    pub issuer: String,
    /// Whether issuer and subject are the same name and the certificate's own key signed it.
    pub is_self_signed: bool,
    /// The serial.
    pub serial: Serial,
    /// The version, from 1.
    pub version: u8,
    /// The first second of validity.
    pub not_before: Timestamp,
    /// The last second of validity.
    pub not_after: Timestamp,
    /// The instant of the report.
    pub now: Timestamp,
    /// Where that instant stands.
    pub standing: Standing,
    /// Seconds from that instant to the end; negative if it is past.
    pub seconds_left: i64,
    /// The key.
    pub key: KeyReport,
    /// How it was signed.
    pub signature: String,
    /// Whether it is a CA.
    pub is_ca: bool,
    /// How many CAs may stand below it; `None` for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_length: Option<u8>,
    /// The key usages; `None` if the extension is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_usage: Option<Vec<String>>,
    /// The purposes; empty if the extension is absent.
    pub purposes: Vec<String>,
    /// The alternative names.
    pub names: Vec<String>,
    /// Name constraints, `permitted …` and `excluded …`.
    pub name_constraints: Vec<String>,
    /// Certificate policies.
    pub policies: Vec<String>,
    /// The subject key identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The authority key identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_key_id: Option<String>,
    /// CRL distribution points.
    pub crl_points: Vec<String>,
    /// OCSP responders.
    pub ocsp: Vec<String>,
    /// Where the issuer's certificate is.
    pub issuer_urls: Vec<String>,
    /// Each extension that is there.
    pub extensions: Vec<ExtensionReport>,
    /// SHA-256 of the whole certificate, joined by colons.
    pub sha256: String,
}

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionReport {
    /// Its object identifier.
    pub oid: String,
    /// Its name; empty if it is not known here.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'static str,
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
}

const EXTENSIONS: [(&str, &str); 16] = [
    ("2.5.29.9", "subjectDirectoryAttributes"),
    ("2.5.29.14", "subjectKeyIdentifier"),
    ("2.5.29.15", "keyUsage"),
    ("2.5.29.17", "subjectAltName"),
    ("2.5.29.18", "issuerAltName"),
    ("2.5.29.19", "basicConstraints"),
    ("2.5.29.30", "nameConstraints"),
    ("2.5.29.31", "cRLDistributionPoints"),
    ("2.5.29.32", "certificatePolicies"),
    ("2.5.29.33", "policyMappings"),
    ("2.5.29.35", "authorityKeyIdentifier"),
    ("2.5.29.36", "policyConstraints"),
    ("2.5.29.37", "extKeyUsage"),
    ("2.5.29.46", "freshestCRL"),
    ("1.3.6.1.5.5.7.1.1", "authorityInfoAccess"),
    ("1.3.6.1.5.5.7.1.24", "tlsFeature"),
];

impl CertificateReport {
    /// What `certificate` says, and where `now` stands in its life.
    pub fn new(certificate: &Certificate, now: Timestamp) -> Self {
        let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
        let own_key = certificate.public_key().ok();
        let own = |key| certificate.is_self_issued() && certificate.signed_by(key);
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            is_self_signed: own_key.as_ref().is_some_and(own),
            serial: certificate.serial().clone(),
            version: if certificate.is_version3() { 3 } else { 1 },
            not_before,
            not_after,
            now,
            standing: Standing::of(now, not_before, not_after),
            seconds_left: not_after.secs().saturating_sub(now.secs()),
            key: KeyReport::new(certificate.spki_der()),
            signature: certificate
                .scheme()
                .map_or_else(|| "not accepted".to_owned(), |scheme| scheme.to_string()),
            is_ca: certificate.authority().is_some(),
            path_length: certificate.authority().flatten(),
            key_usage: certificate
                .key_usage()
                .map(|usage| usage.names().map(str::to_owned).collect()),
            purposes: certificate
                .purposes()
                .iter()
                .map(ToString::to_string)
                .collect(),
            names: names(certificate),
            name_constraints: constraints(certificate),
            policies: policies(certificate),
            key_id: certificate.key_id().map(|id| colon_hex(&id)),
            authority_key_id: certificate.authority_key_id().map(|id| colon_hex(&id)),
            crl_points: certificate.crl_distribution_points(),
            ocsp: access(certificate, OCSP),
            issuer_urls: access(certificate, CA_ISSUERS),
            extensions: certificate.extensions().iter().map(extension).collect(),
            sha256: colon_hex(&zone_crypto::hash::sha256(certificate.der())),
        }
    }
}

fn extension(extension: &x509_cert::ext::Extension) -> ExtensionReport {
    let oid = extension.extn_id.to_string();
    let known = EXTENSIONS.iter().find(|(known, _)| *known == oid);
    ExtensionReport {
        name: known.map_or("", |(_, name)| name),
        oid,
        critical: extension.critical,
    }
}

/// All alternative names, also those of kinds that are issued nowhere here.
fn names(certificate: &Certificate) -> Vec<String> {
    let names = certificate.extension::<ext::SubjectAltName>();
    names
        .iter()
        .flat_map(|names| names.0.iter())
        .map(general_name)
        .collect()
}

fn general_name(name: &GeneralName) -> String {
    match (AltName::from_general_name(name), name) {
        (Some(name), _) => name.to_string(),
        (None, GeneralName::DirectoryName(name)) => format!("dirName:{name}"),
        (None, GeneralName::RegisteredId(oid)) => format!("registeredID:{oid}"),
        (None, GeneralName::OtherName(other)) => format!("othername:{};(binary)", other.type_id),
        (None, GeneralName::IpAddress(octets)) => {
            format!("IP:(malformed {})", hex::encode(octets.as_bytes()))
        }
        (None, _) => "(a kind that is not shown)".to_owned(),
    }
}

fn constraints(certificate: &Certificate) -> Vec<String> {
    let Ok(NameConstraints {
        permitted,
        excluded,
    }) = certificate.name_constraints()
    else {
        return vec!["of a kind that is not judged here".to_owned()];
    };
    let permitted = permitted
        .iter()
        .map(|tree| format!("permitted {}", subtree(tree)));
    let excluded = excluded
        .iter()
        .map(|tree| format!("excluded {}", subtree(tree)));
    permitted.chain(excluded).collect()
}

fn subtree(tree: &Subtree) -> String {
    match tree {
        Subtree::Dns(domain) => format!("DNS:{domain}"),
        Subtree::Email(rule) => format!("email:{rule}"),
        Subtree::Ip {
            address: IpAddr::V4(v4),
            prefix,
        } => format!("IP:{v4}/{prefix}"),
        Subtree::Ip {
            address: IpAddr::V6(v6),
            prefix,
        } => format!("IP:{v6}/{prefix}"),
    }
}

fn policies(certificate: &Certificate) -> Vec<String> {
    let policies = certificate.extension::<ext::CertificatePolicies>();
    let list = policies.iter().flat_map(|policies| policies.0.iter());
    list.map(|policy| policy.policy_identifier.to_string())
        .collect()
}

const OCSP: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.48.2");

fn access(certificate: &Certificate, method: Oid) -> Vec<String> {
    let access = certificate.extension::<ext::AuthorityInfoAccessSyntax>();
    let uri = |description: &ext::AccessDescription| match &description.access_location {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    let list = access.iter().flat_map(|access| access.0.iter());
    list.filter(|description| description.access_method == method)
        .filter_map(uri)
        .collect()
}

impl fmt::Display for CertificateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Certificate")?;
        let mut rows = Rows(f);
        self.write_identity(&mut rows)?;
        self.write_limits(&mut rows)?;
        rows.optional("Key id", self.key_id.as_ref())?;
        rows.optional("Issuer's key id", self.authority_key_id.as_ref())?;
        rows.rows("Revocation list", &self.crl_points)?;
        rows.rows("OCSP", &self.ocsp)?;
        rows.rows("Issuer at", &self.issuer_urls)?;
        rows.row("SHA-256", &self.sha256)?;
        rows.row("Key SHA-256", &self.key.sha256)?;
        for ExtensionReport {
            oid,
            name,
            critical,
        } in &self.extensions
        {
            let critical = if *critical { ", critical" } else { "" };
            let space = if name.is_empty() { "" } else { " " };
            rows.row("Extension", &format!("{oid}{space}{name}{critical}"))?;
        }
        Ok(())
    }
}

impl CertificateReport {
    fn write_identity(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        rows.row(
            "Subject",
            if self.subject.is_empty() {
                "(none)"
            } else {
                &self.subject
            },
        )?;
        let own = if self.is_self_signed {
            " (self-signed)"
        } else {
            ""
        };
        rows.row("Issuer", &format!("{}{own}", self.issuer))?;
        rows.row("Serial", &self.serial.to_string())?;
        rows.row("Valid from", &self.not_before.to_string())?;
        let standing = standing_text(self.standing, self.now, self.not_before, self.not_after);
        rows.row("Valid until", &format!("{} ({standing})", self.not_after))?;
        rows.row("Key", &self.key.algorithm)?;
        rows.row("Signature", &self.signature)?;
        rows.rows("Name", &self.names)
    }

    fn write_limits(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let authority = match (self.is_ca, self.path_length) {
            (false, _) => "no".to_owned(),
            (true, None) => "yes".to_owned(),
            (true, Some(length)) => format!("yes, path length {length}"),
        };
        rows.row("CA", &authority)?;
        let usage = self.key_usage.as_ref().map(|usage| usage.join(", "));
        rows.row("Key usage", usage.as_deref().unwrap_or("any (not limited)"))?;
        let purposes = self.purposes.join(", ");
        rows.row(
            "Purposes",
            if purposes.is_empty() {
                "any (not limited)"
            } else {
                &purposes
            },
        )?;
        rows.rows("Names below it", &self.name_constraints)?;
        rows.rows("Policy", &self.policies)
    }
}
