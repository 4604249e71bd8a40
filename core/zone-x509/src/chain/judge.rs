//! Judging one path: everything but signatures, which the search checked, and revocation.

use std::time::Duration;

use const_oid::AssociatedOid;
use der::Decode;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix as ext;
use x509_cert::ext::pkix::name::GeneralName;

use super::path::Path;
use super::{Question, Refusal, label};
use crate::lint::usages_of;
use crate::{AltName, Certificate, KeyUsage, Oid};

const VERSION: (&str, &str) = ("version", "RFC 5280 section 6.1.4 (k)");
const EXTENSION: (&str, &str) = ("extension", "RFC 5280 section 4.2");
const CRITICAL: (&str, &str) = ("critical-extension", "RFC 5280 section 6.1.4 (o)");
const EXPIRED: (&str, &str) = ("validity", "RFC 5280 section 6.1.3 (a)(2)");
const AUTHORITY: (&str, &str) = ("ca", "RFC 5280 section 6.1.4 (k)");
const PATH_LENGTH: (&str, &str) = ("path-length", "RFC 5280 section 6.1.4 (l), (m)");
const USAGE: (&str, &str) = ("key-usage", "RFC 5280 section 6.1.4 (n)");
const KEY: (&str, &str) = ("key", "BR section 6.1.5");
const NO_LEAF: (&str, &str) = ("leaf", "RFC 5280 section 4.2.1.9");
const PURPOSE: (&str, &str) = ("purpose", "RFC 5280 section 4.2.1.12");
const CONSTRAINTS: (&str, &str) = ("name-constraints", "RFC 5280 section 6.1.3 (b), (c)");
const NAME: (&str, &str) = ("name", "RFC 9525 section 6");

/// Judges a path whose signatures are right and whose last certificate is trusted.
pub(super) fn judge(question: &Question<'_>, path: &Path<'_>) -> Result<(), Refusal> {
    for certificate in path {
        check_extensions(certificate)?;
        check_key(certificate)?;
        check_time(question, certificate)?;
    }
    for (at, issuer) in path.iter().enumerate().skip(1) {
        check_issuer(issuer, &path[1..at], at + 1 == path.len())?;
    }
    check_purpose(question, path)?;
    for (at, issuer) in path.iter().enumerate().skip(1) {
        check_constraints(issuer, &path[..at])?;
    }
    match question.name {
        Some(name) => check_name(path[0], name),
        None => Ok(()),
    }
}

/// An extension that is there must be readable: elsewhere, one that is not reads as absent.
fn check_extensions(certificate: &Certificate) -> Result<(), Refusal> {
    for extension in certificate.extensions() {
        match is_readable(extension) {
            Some(true) => {}
            Some(false) => {
                let text = format!("its extension {} is malformed", extension.extn_id);
                let next = "Have it issued again by another CA program.";
                return Err(Refusal::new(EXTENSION, certificate, text, next));
            }
            None if extension.critical => {
                let text = format!(
                    "its critical extension {} is not understood",
                    extension.extn_id
                );
                let next = "It is not meant for a program like this one.";
                return Err(Refusal::new(CRITICAL, certificate, text, next));
            }
            None => {}
        }
    }
    Ok(())
}

/// Whether an extension decodes; `None` for kinds that are not understood.
fn is_readable(extension: &Extension) -> Option<bool> {
    fn reads<T: for<'a> Decode<'a>>(extension: &Extension) -> Option<bool> {
        Some(T::from_der(extension.extn_value.as_bytes()).is_ok())
    }
    match extension.extn_id {
        ext::BasicConstraints::OID => reads::<ext::BasicConstraints>(extension),
        ext::KeyUsage::OID => reads::<ext::KeyUsage>(extension),
        ext::ExtendedKeyUsage::OID => {
            let read = ext::ExtendedKeyUsage::from_der(extension.extn_value.as_bytes());
            Some(read.is_ok_and(|usage| !usage.0.is_empty()))
        }
        ext::SubjectAltName::OID => {
            let read = ext::SubjectAltName::from_der(extension.extn_value.as_bytes());
            Some(read.is_ok_and(|names| names.0.iter().all(has_right_size)))
        }
        ext::NameConstraints::OID => {
            let read = ext::NameConstraints::from_der(extension.extn_value.as_bytes());
            Some(read.is_ok_and(|constraints| has_subtrees(&constraints)))
        }
        ext::CrlDistributionPoints::OID => reads::<ext::CrlDistributionPoints>(extension),
        // Never critical in what follows the profile; ignored as such, refused if critical.
        ext::SubjectKeyIdentifier::OID if !extension.critical => {
            reads::<ext::SubjectKeyIdentifier>(extension)
        }
        ext::AuthorityKeyIdentifier::OID if !extension.critical => {
            reads::<ext::AuthorityKeyIdentifier>(extension)
        }
        _ => None,
    }
}

fn has_right_size(name: &GeneralName) -> bool {
    match name {
        GeneralName::IpAddress(octets) => matches!(octets.as_bytes().len(), 4 | 16),
        _ => true,
    }
}

/// Constraints without a subtree must not be issued: nobody knows what is meant.
fn has_subtrees(constraints: &ext::NameConstraints) -> bool {
    let lists = [
        &constraints.permitted_subtrees,
        &constraints.excluded_subtrees,
    ];
    let mut given = lists.into_iter().flatten().peekable();
    given.peek().is_some() && given.all(|list| !list.is_empty())
}

fn check_key(certificate: &Certificate) -> Result<(), Refusal> {
    certificate.public_key().map(|_| ()).map_err(|fault| {
        let text = format!("its key is refused: {fault}");
        Refusal::new(
            KEY,
            certificate,
            text,
            "Make a new key and have it certified.",
        )
    })
}

fn check_time(question: &Question<'_>, certificate: &Certificate) -> Result<(), Refusal> {
    let at = question.at;
    if at < certificate.not_before() {
        return Err(Refusal::new(
            EXPIRED,
            certificate,
            format!(
                "it begins to be valid at {}, after {at}",
                certificate.not_before()
            ),
            "Check the clock of this host and of the CA.",
        ));
    }
    // The last second counts whole.
    if at >= certificate.not_after().plus(Duration::from_secs(1)) {
        return Err(Refusal::new(
            EXPIRED,
            certificate,
            format!("it expired at {}, before {at}", certificate.not_after()),
            "Have it issued again.",
        ));
    }
    Ok(())
}

/// `between` are the certificates between the issuer and the end of the path.
fn check_issuer(issuer: &Certificate, between: &Path<'_>, is_root: bool) -> Result<(), Refusal> {
    // A trusted certificate of version 1 has no extensions to say anything (RFC 5280 6.1.1 d).
    if !issuer.is_version3() {
        if is_root {
            return Ok(());
        }
        let text = "it is of version 1 and cannot say that it is a CA";
        return Err(Refusal::new(
            VERSION,
            issuer,
            text,
            "Have the CA made again.",
        ));
    }
    if issuer.subject_der() == [0x30, 0] {
        let text = "it signed a certificate and has no subject (RFC 5280 section 4.1.2.6)";
        return Err(Refusal::new(
            AUTHORITY,
            issuer,
            text,
            "Have the CA made again.",
        ));
    }
    let Some(path_length) = issuer.authority() else {
        let text = "it signed a certificate and is no CA by its basic constraints";
        let next = "Only trust what it signed if you trust it as a root; better: use a CA.";
        return Err(Refusal::new(AUTHORITY, issuer, text, next));
    };
    let below = between
        .iter()
        .filter(|certificate| !certificate.is_self_issued())
        .count();
    if let Some(most) = path_length.filter(|most| below > usize::from(*most)) {
        let text = format!("its path length allows {most} CAs below it; there are {below}");
        let next = "Issue from a CA further up, or make this CA again with a longer path.";
        return Err(Refusal::new(PATH_LENGTH, issuer, text, next));
    }
    if issuer
        .key_usage()
        .is_some_and(|usage| !usage.contains(KeyUsage::CERT_SIGN))
    {
        let text = "its key usage does not let it sign certificates (keyCertSign)";
        return Err(Refusal::new(USAGE, issuer, text, "Have the CA made again."));
    }
    Ok(())
}

/// The purpose must be in each extended key usage of the path; anyExtendedKeyUsage does not stand
/// for it, as with OpenSSL and webpki.
fn check_purpose(question: &Question<'_>, path: &Path<'_>) -> Result<(), Refusal> {
    let Some(purpose) = question.purpose else {
        return Ok(());
    };
    for certificate in path {
        let allowed = certificate.purposes();
        if !allowed.is_empty() && !allowed.contains(&purpose) {
            let list: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let text = format!("it is for {}, not for {purpose}", list.join(", "));
            let next = "Use a certificate of a role that has this purpose.";
            return Err(Refusal::new(PURPOSE, certificate, text, next));
        }
    }
    let leaf = path[0];
    // A self-signed certificate that says CA is often what a single server has; it is pinned.
    if leaf.authority().is_some() && path.len() > 1 {
        let text = format!("it is a CA; rustls refuses it for {purpose}");
        let next = "Have a leaf issued, or ask without a purpose.";
        return Err(Refusal::new(NO_LEAF, leaf, text, next));
    }
    let wanted = usages_of(purpose).filter(|_| leaf.authority().is_none());
    if let (Some(wanted), Some(usage)) = (wanted, leaf.key_usage())
        && !usage.intersects(wanted)
    {
        let list: Vec<&str> = usage.names().collect();
        let text = format!(
            "its key usage ({}) is of no use for {purpose}",
            list.join(", ")
        );
        let next = "Use a certificate of a role with the key usage DigitalSignature.";
        return Err(Refusal::new(USAGE, leaf, text, next));
    }
    Ok(())
}

fn check_constraints(issuer: &Certificate, below: &Path<'_>) -> Result<(), Refusal> {
    let Ok(constraints) = issuer.name_constraints() else {
        let text = "its name constraints are of a kind that is not judged here";
        let next = "Only host names, mailboxes and networks are.";
        return Err(Refusal::new(CONSTRAINTS, issuer, text, next));
    };
    if constraints.is_empty() {
        return Ok(());
    }
    for (at, certificate) in below.iter().enumerate() {
        if at > 0 && certificate.is_self_issued() {
            continue;
        }
        let names = certificate.alternative_names();
        let mut all = names
            .iter()
            .chain(&mailboxes(certificate))
            .cloned()
            .collect::<Vec<_>>();
        all.retain(|name| !constraints.allow(name) || has_two_hosts(name));
        if let Some(name) = all.first() {
            let text = format!("the name constraints of {} forbid {name}", label(issuer));
            let next = "Issue that name from a CA that may.";
            return Err(Refusal::new(CONSTRAINTS, certificate, text, next));
        }
    }
    Ok(())
}

/// `a@b@c`: readers do not agree on the host.
fn has_two_hosts(name: &AltName) -> bool {
    matches!(name, AltName::Email(mailbox) if mailbox.matches('@').count() > 1)
}

/// Mailboxes in the subject, to which constraints on mailboxes apply too (RFC 5280 4.2.1.10).
fn mailboxes(certificate: &Certificate) -> Vec<AltName> {
    const EMAIL: Oid = Oid::new_unwrap("1.2.840.113549.1.9.1");
    let Ok(name) = x509_cert::name::Name::from_der(certificate.subject_der()) else {
        return Vec::new();
    };
    let attributes = name.iter().filter(|attribute| attribute.oid == EMAIL);
    attributes
        .filter_map(|a| crate::names::text_of(&a.value))
        .map(AltName::Email)
        .collect()
}

fn check_name(leaf: &Certificate, name: &AltName) -> Result<(), Refusal> {
    let names = leaf.alternative_names();
    let bears = match name {
        AltName::Dns(host) => names
            .iter()
            .any(|n| matches!(n, AltName::Dns(p) if covers(p, host))),
        other => names.contains(other),
    };
    if bears {
        return Ok(());
    }
    let list: Vec<String> = names.iter().map(ToString::to_string).collect();
    let has = if list.is_empty() {
        "no alternative name".to_owned()
    } else {
        list.join(", ")
    };
    let text = format!("it does not bear the name {name}; it has {has}");
    let next = "A common name does not count. Issue it with that alternative name.";
    Err(Refusal::new(NAME, leaf, text, next))
}

/// Whether a presented host name covers `host`: equal, or with a wildcard for the first label.
fn covers(presented: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match presented.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(parent)),
        None => presented.eq_ignore_ascii_case(host),
    }
}
