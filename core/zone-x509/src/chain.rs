//! Verifying a chain offline, with revocation, and saying what was checked.
//!
//! What holds of every [`Verified`]: this module and webpki both accept the path. (webpki does not
//! judge a CA as the end of a path, a certificate that is itself trusted, and mailboxes below
//! constraints on mailboxes; then this module alone does.) For each certificate below the trusted one the result says by which list it was
//! not revoked, or that nobody looked.
//!
//! webpki decides but does not explain: its error names no certificate. So the path is built and
//! judged here first, in the order in which people look for faults, and what is accepted here is
//! shown to webpki. Revocation is judged here alone: webpki takes the first list that fits, though
//! it be stale.
//!
//! Absent by intent: certificate policies, indirect and delta lists, name constraints of other
//! kinds than [`crate::Subtree`] has (refused), any network.
//!
//! Start at [`Question::answer`].

mod judge;
mod path;
mod revocation;
mod second;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;
use zone_types::Timestamp;

use crate::inspect::shown;
use crate::{AltName, Certificate, Crl, Purpose, Serial};

pub use revocation::Revocation;
pub(crate) use revocation::reason_name;

/// What is asked about a certificate.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The certificate in question.
    pub certificate: &'a Certificate,
    /// Certificates that may stand between it and a root, in any order.
    pub intermediates: &'a [Certificate],
    /// The certificates that are trusted; they need not be self-signed.
    pub roots: &'a [Certificate],
    /// Revocation lists, of any issuer, complete or partial.
    pub lists: &'a [Crl],
    /// The instant of which is asked.
    pub at: Timestamp,
    /// What the certificate is to be used for; `None` for anything.
    pub purpose: Option<Purpose>,
    /// The name that it must bear; `None` for any.
    pub name: Option<&'a AltName>,
    /// What to do about certificates for which no list is given.
    pub unlisted: Unlisted,
}

/// What to do about a certificate for whose issuer no list was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unlisted {
    /// Accept it and say so.
    #[default]
    Accept,
    /// Refuse it.
    Refuse,
}

/// A certificate that was accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The instant that was asked about.
    pub at: Timestamp,
    /// The certificate, those above it, and last the trusted one.
    pub path: Vec<Link>,
    /// The name that the certificate was found to bear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The purpose that each certificate of the path allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// What the reader should know beside.
    pub notes: Vec<String>,
}

/// One certificate of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its subject.
    pub subject: String,
    /// Its serial.
    pub serial: Serial,
    /// Its last second.
    pub not_after: Timestamp,
    /// What is known of its revocation.
    pub revocation: Revocation,
}

/// Why a certificate was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The rule's name.
    pub rule: &'static str,
    /// Where it comes from.
    pub section: &'static str,
    /// The certificate that breaks it: its subject and serial.
    pub certificate: String,
    /// How it breaks the rule.
    pub text: String,
    /// What can be done.
    pub next_step: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            section,
            certificate,
            text,
            next_step,
        } = self;
        write!(
            f,
            "{certificate}: {text} (rule {rule}, {section}). {next_step}"
        )
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    fn new(
        (rule, section): (&'static str, &'static str),
        certificate: &Certificate,
        text: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            section,
            certificate: label(certificate),
            text: text.into(),
            next_step: next_step.into(),
        }
    }
}

impl Question<'_> {
    /// Builds a path to a root, judges it, and looks for revocations.
    ///
    /// # Errors
    ///
    /// Of the path that came furthest: the first certificate and rule that it fails by.
    pub fn answer(&self) -> Result<Verified, Refusal> {
        let mut notes = Vec::new();
        let accepted = path::first_good(self, |path| {
            judge::judge(self, path)?;
            second::ask(self, path)?;
            revocation::check(self, path)
        })?;
        let (path, states) = accepted;
        if path.len() == 1 {
            notes.push("the certificate itself is trusted: no signature was checked".to_owned());
        }
        let anchor = path[path.len() - 1];
        if !anchor.is_self_issued() {
            notes.push(format!("{} is trusted but not self-signed", label(anchor)));
        }
        if second::judges_no_mailboxes(&path) {
            notes.push(
                "TLS clients that use webpki refuse it: mailboxes below constraints on mailboxes"
                    .to_owned(),
            );
        }
        for (certificate, state) in path.iter().zip(&states) {
            if let Revocation::NotChecked { why } = state {
                notes.push(format!(
                    "{}: revocation not checked, {why}",
                    label(certificate)
                ));
            }
        }
        let links = path
            .iter()
            .zip(states)
            .map(|(certificate, revocation)| Link {
                subject: certificate.subject(),
                serial: certificate.serial().clone(),
                not_after: certificate.not_after(),
                revocation,
            });
        Ok(Verified {
            at: self.at,
            path: links.collect(),
            name: self.name.map(ToString::to_string),
            purpose: self.purpose,
            notes,
        })
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "The chain is good at {}.", self.at)?;
        for (depth, link) in self.path.iter().enumerate() {
            let Link {
                subject,
                serial,
                not_after,
                revocation,
            } = link;
            let subject = if subject.is_empty() {
                "(no subject)"
            } else {
                subject
            };
            writeln!(f, "  {depth}: {}", shown(subject))?;
            writeln!(f, "     serial {serial}, valid until {not_after}")?;
            writeln!(f, "     {revocation}")?;
        }
        if let Some(name) = &self.name {
            writeln!(f, "It bears the name {name}.")?;
        }
        if let Some(purpose) = &self.purpose {
            writeln!(f, "Each certificate allows the purpose {purpose}.")?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "Note: {note}."))
    }
}

/// How a certificate is named in messages.
fn label(certificate: &Certificate) -> String {
    let subject = certificate.subject();
    let subject = if subject.is_empty() {
        let names = certificate.alternative_names();
        names
            .first()
            .map_or_else(|| "(no subject)".to_owned(), ToString::to_string)
    } else {
        subject
    };
    format!("{}, serial {}", shown(&subject), certificate.serial())
}
