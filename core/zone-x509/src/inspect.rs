//! Certificates, lists and requests for people to read, and the same as data.
//!
//! What holds: a report depends on the object and the given instant alone. Its text shows no
//! control, bidirectional or invisible character of the object, but an escape (`\u{202e}`), so
//! that nothing read from a stranger moves a terminal's cursor; the data are as they stand.
//! Signatures are not checked but for requests: that is [`crate::chain`]'s.
//!
//! Start at [`inspect`].

mod certificate;
mod list;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;
use zone_crypto::sign::PublicKey;
use zone_types::Timestamp;

use crate::{Certificate, Crl, ParseFault, Request, colon_hex, is_plain_text};

pub use certificate::{CertificateReport, ExtensionReport};
pub use list::{EntryReport, ListReport};

/// What was found out about one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// A certificate.
    Certificate(Box<CertificateReport>),
    /// A revocation list.
    Crl(ListReport),
    /// A certification request.
    Request(RequestReport),
}

/// A certification request, whose signature by its own key was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestReport {
    /// The subject that it asks for, `TYPE=value` each.
    pub subject: Vec<String>,
    /// The alternative names that it asks for.
    pub names: Vec<String>,
    /// The key.
    pub key: KeyReport,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// Algorithm and strength, or why the key is refused.
    pub algorithm: String,
    /// SHA-256 of the DER `SubjectPublicKeyInfo`, joined by colons.
    pub sha256: String,
}

/// Where an instant stands in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Before it.
    NotYetValid,
    /// In it.
    Valid,
    /// After it.
    Expired,
}

/// All certificates, lists and requests in `input`: one DER object, or PEM, of which certificates
/// come first, then lists, then requests. Blocks of other kinds, such as keys, are passed over.
///
/// # Errors
///
/// If a block cannot be read, or there is none.
pub fn inspect(input: &[u8], now: Timestamp) -> Result<Vec<Report>, ParseFault> {
    match std::str::from_utf8(input) {
        Ok(text) if text.contains("-----BEGIN ") => inspect_pem(text, now),
        _ => Ok(vec![inspect_der(input, now)?]),
    }
}

fn inspect_pem(text: &str, now: Timestamp) -> Result<Vec<Report>, ParseFault> {
    let mut reports = Vec::new();
    for certificate in Certificate::all_from_pem(text)? {
        reports.push(Report::of_certificate(&certificate, now));
    }
    for list in Crl::all_from_pem(text)? {
        reports.push(Report::Crl(ListReport::new(&list, now)));
    }
    if text.contains("CERTIFICATE REQUEST-----") {
        reports.push(Report::Request(RequestReport::new(&Request::from_pem(
            text,
        )?)));
    }
    if reports.is_empty() {
        return Err(ParseFault::Profile(
            "no certificate, revocation list or request in this PEM",
        ));
    }
    Ok(reports)
}

fn inspect_der(der: &[u8], now: Timestamp) -> Result<Report, ParseFault> {
    let refusal = match Certificate::from_der(der) {
        Ok(certificate) => return Ok(Report::of_certificate(&certificate, now)),
        Err(refusal) => refusal,
    };
    if let Ok(list) = Crl::from_der(der) {
        return Ok(Report::Crl(ListReport::new(&list, now)));
    }
    match Request::from_der(der) {
        Ok(request) => Ok(Report::Request(RequestReport::new(&request))),
        // Whose structure was right says more than who was not meant.
        Err(other @ (ParseFault::Profile(_) | ParseFault::Key(_))) => Err(other),
        Err(_) => Err(refusal),
    }
}

impl Report {
    /// A certificate's.
    pub fn of_certificate(certificate: &Certificate, now: Timestamp) -> Self {
        Self::Certificate(Box::new(CertificateReport::new(certificate, now)))
    }
}

impl RequestReport {
    /// What a request asks for.
    pub fn new(request: &Request) -> Self {
        let subject = request.subject().attributes();
        Self {
            subject: subject
                .map(|(oid, text)| format!("{}={text}", attribute_name(oid)))
                .collect(),
            names: request
                .alternative_names()
                .iter()
                .map(ToString::to_string)
                .collect(),
            key: KeyReport::new(request.public_key().spki_der()),
        }
    }
}

fn attribute_name(oid: crate::Oid) -> String {
    let known = crate::names::BOUNDS
        .iter()
        .find(|(known, ..)| *known == oid);
    known.map_or_else(|| oid.to_string(), |(_, name, _)| (*name).to_owned())
}

impl KeyReport {
    fn new(spki: &[u8]) -> Self {
        let algorithm = match PublicKey::from_spki(spki) {
            Ok(key) => key.algorithm().to_string(),
            Err(fault) => format!("refused: {fault}"),
        };
        Self {
            algorithm,
            sha256: colon_hex(&zone_crypto::hash::sha256(spki)),
        }
    }
}

impl Standing {
    /// Of `now` in a span that includes its last second.
    fn of(now: Timestamp, from: Timestamp, to: Timestamp) -> Self {
        if now < from {
            Self::NotYetValid
        } else if now.secs() > to.secs() {
            Self::Expired
        } else {
            Self::Valid
        }
    }
}

/// `n days left`, `expired n days ago`, `not yet valid, begins in n days`.
fn standing_text(standing: Standing, now: Timestamp, from: Timestamp, to: Timestamp) -> String {
    match standing {
        Standing::NotYetValid => format!("not yet valid, begins in {}", span(now, from)),
        Standing::Valid => format!("{} left", span(now, to)),
        Standing::Expired => format!("expired {} ago", span(to, now)),
    }
}

/// Days, or hours and minutes below two days; rounded down.
fn span(from: Timestamp, to: Timestamp) -> String {
    let minutes = to.since(from).as_secs() / 60;
    match (minutes / (24 * 60), minutes / 60) {
        (days, _) if days >= 2 => format!("{days} days"),
        (_, hours) if hours >= 1 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{minutes} min"),
    }
}

/// `text` with whatever people do not see written as an escape.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == ' ' || is_plain_text(c.encode_utf8(&mut [0; 4])) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out
}

/// A big-endian number: decimal up to 16 octets, else hex.
pub(crate) fn number_text(octets: &[u8]) -> String {
    if octets.len() <= 16 {
        let number = octets
            .iter()
            .fold(0u128, |all, octet| all << 8 | u128::from(*octet));
        return number.to_string();
    }
    format!("0x{}", hex::encode(octets))
}

/// Writes `label: value` rows.
struct Rows<'f, 'g>(&'f mut fmt::Formatter<'g>);

impl Rows<'_, '_> {
    fn row(&mut self, label: &str, value: &str) -> fmt::Result {
        writeln!(self.0, "  {:<18} {}", format!("{label}:"), shown(value))
    }

    /// One row for each value; none if there is none.
    fn rows(&mut self, label: &str, values: &[String]) -> fmt::Result {
        values.iter().try_for_each(|value| self.row(label, value))
    }

    fn optional(&mut self, label: &str, value: Option<&String>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.row(label, value))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(report) => report.fmt(f),
            Self::Crl(report) => report.fmt(f),
            Self::Request(report) => report.fmt(f),
        }
    }
}

impl fmt::Display for RequestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Certificate request, signed by its own key")?;
        let mut rows = Rows(f);
        rows.row("Subject", &self.subject.join(", "))?;
        rows.rows("Name", &self.names)?;
        rows.row("Key", &self.key.algorithm)?;
        rows.row("Key SHA-256", &self.key.sha256)
    }
}
