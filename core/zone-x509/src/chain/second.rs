//! The second opinion: webpki on the path that was accepted here.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::path::Path;
use super::{Question, Refusal};
use crate::{AltName, Certificate, NameConstraints, Purpose, Subtree};

const SECOND: (&str, &str) = ("webpki", "RFC 5280 section 6, as webpki reads it");

/// Refuses what webpki refuses. It has no say about CAs, trusted certificates themselves, and
/// mailboxes below constraints on mailboxes, all of which it refuses whatever they say.
pub(super) fn ask(question: &Question<'_>, path: &Path<'_>) -> Result<(), Refusal> {
    if path.len() < 2 || path[0].authority().is_some() || judges_no_mailboxes(path) {
        return Ok(());
    }
    verdict(question, path).map_err(|error| {
        let text = format!("the library webpki refuses it: {error}");
        Refusal::new(
            SECOND,
            path[0],
            text,
            "TLS clients that use webpki will refuse it too.",
        )
    })
}

/// Whether the path has both mailboxes and constraints on them.
pub(super) fn judges_no_mailboxes(path: &Path<'_>) -> bool {
    let is_mailbox = |name: &AltName| matches!(name, AltName::Email(_));
    let limits_mailboxes = |issuer: &&Certificate| {
        issuer.name_constraints().is_ok_and(
            |NameConstraints {
                 permitted,
                 excluded,
             }| {
                permitted
                    .iter()
                    .chain(&excluded)
                    .any(|tree| matches!(tree, Subtree::Email(_)))
            },
        )
    };
    path.iter().any(limits_mailboxes)
        && path
            .iter()
            .any(|certificate| certificate.alternative_names().iter().any(is_mailbox))
}

fn verdict(question: &Question<'_>, path: &Path<'_>) -> Result<(), Error> {
    let ders: Vec<_> = path.iter().map(|certificate| der_of(certificate)).collect();
    let (leaf, rest) = ders.split_first().ok_or(Error::UnknownIssuer)?;
    let (root, between) = rest.split_last().ok_or(Error::UnknownIssuer)?;
    let anchors = [webpki::anchor_from_trusted_cert(root)?];
    let end = EndEntityCert::try_from(leaf)?;
    let secs = u64::try_from(question.at.secs()).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(secs));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let usage = Usage(question.purpose);
    end.verify_for_usage(algorithms, &anchors, between, at, usage, None, None)?;
    let server = match question.name {
        Some(AltName::Dns(host)) => ServerName::try_from(host.as_str()).ok(),
        Some(AltName::Ip(address)) => Some(ServerName::from(*address)),
        _ => None,
    };
    server.map_or(Ok(()), |name| end.verify_is_valid_for_subject_name(&name))
}

fn der_of(certificate: &Certificate) -> CertificateDer<'_> {
    CertificateDer::from(certificate.der())
}

/// The purpose, as far as webpki knows it by name; others were judged before.
struct Usage(Option<Purpose>);

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        match self.0 {
            Some(Purpose::SERVER_AUTH) => KeyUsage::server_auth().validate(purposes),
            Some(Purpose::CLIENT_AUTH) => KeyUsage::client_auth().validate(purposes),
            _ => Ok(()),
        }
    }
}
