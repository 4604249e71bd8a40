//! Revocation by lists: which one speaks for a certificate, whether it can be believed, and what
//! it says (RFC 5280 section 6.3).

use std::fmt;

use serde::Serialize;
use zone_types::Timestamp;

use super::path::Path;
use super::{Question, Refusal, Unlisted, label};
use crate::inspect::number_text;
use crate::{Certificate, Crl, KeyUsage};

const REVOKED: (&str, &str) = ("revoked", "RFC 5280 section 6.1.3 (a)(3)");
const MISSING: (&str, &str) = ("crl-given", "RFC 5280 section 6.3");
const SCOPE: (&str, &str) = ("crl-scope", "RFC 5280 section 6.3.3 (b)");
const SIGNER: (&str, &str) = ("crl-signer", "RFC 5280 section 6.3.3 (f)");
const SIGNATURE: (&str, &str) = ("crl-signature", "RFC 5280 section 6.3.3 (g)");
const FRESH: (&str, &str) = ("crl-fresh", "RFC 5280 section 6.3.3 (a)");

/// What is known of a certificate's revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Revocation {
    /// It is trusted as it is; nobody revokes it.
    Trusted,
    /// A list of its issuer covers it and does not name it.
    Good {
        /// The list's number; empty if it has none.
        number: String,
        /// When the list was made.
        this_update: Timestamp,
        /// Until when it can be relied on.
        next_update: Timestamp,
        /// The distribution points of a partial list; empty for a complete one.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        points: Vec<String>,
    },
    /// Nobody looked.
    NotChecked {
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted => f.write_str("trusted"),
            Self::Good {
                number,
                this_update,
                next_update,
                points,
            } => {
                write!(
                    f,
                    "not revoked by list {number} of {this_update}, good until {next_update}"
                )?;
                if !points.is_empty() {
                    write!(f, " ({})", points.join(", "))?;
                }
                Ok(())
            }
            Self::NotChecked { why } => write!(f, "revocation not checked: {why}"),
        }
    }
}

/// What is known of each certificate of a path, which is good in all other ways.
pub(super) fn check(question: &Question<'_>, path: &Path<'_>) -> Result<Vec<Revocation>, Refusal> {
    let mut states = vec![Revocation::Trusted];
    // From the root down: a list is believed only after its signer.
    for pair in path.windows(2).rev() {
        states.push(status(question, pair[0], pair[1])?);
    }
    states.reverse();
    Ok(states)
}

fn status(
    question: &Question<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<Revocation, Refusal> {
    let lists: Vec<&Crl> = question
        .lists
        .iter()
        .filter(|list| is_by(list, issuer))
        .collect();
    if lists.is_empty() {
        return unlisted(question, certificate, issuer);
    }
    if issuer
        .key_usage()
        .is_some_and(|usage| !usage.contains(KeyUsage::CRL_SIGN))
    {
        let text = "a list by it was given, but its key usage does not let it sign any (cRLSign)";
        return Err(Refusal::new(SIGNER, issuer, text, "Do not use that list."));
    }
    let covering: Vec<&Crl> = lists
        .iter()
        .copied()
        .filter(|list| list.covers(certificate))
        .collect();
    if covering.is_empty() {
        return Err(uncovered(certificate, lists.len()));
    }
    let key = issuer.public_key().ok();
    for list in &covering {
        if !key.as_ref().is_some_and(|key| list.signed_by(key)) {
            let text = format!(
                "a list that names {} as issuer is not signed by it",
                label(issuer)
            );
            let next = "The list was changed, or another key of that CA made it: fetch it again.";
            return Err(Refusal::new(SIGNATURE, certificate, text, next));
        }
    }
    // A stale list no longer proves that a certificate is good, but still that it is revoked.
    for list in &covering {
        if let Some(entry) = list.entry(certificate.serial()) {
            let reason = entry.reason.map(|code| format!(" ({})", reason_name(code)));
            let text = format!(
                "it was revoked at {}{}, says list {}",
                entry.at,
                reason.unwrap_or_default(),
                number(list)
            );
            return Err(Refusal::new(
                REVOKED,
                certificate,
                text,
                "Use another certificate.",
            ));
        }
    }
    covering
        .iter()
        .find_map(|list| good(question, list))
        .ok_or_else(|| stale(question, certificate, &covering))
}

/// Whether a list claims to be by this CA and key.
fn is_by(list: &Crl, issuer: &Certificate) -> bool {
    list.issuer_der() == issuer.subject_der()
        && match (list.authority_key_id(), issuer.key_id()) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        }
}

fn good(question: &Question<'_>, list: &Crl) -> Option<Revocation> {
    let next_update = list.next_update()?;
    let is_fresh = list.this_update() <= question.at && question.at < next_update;
    is_fresh.then(|| Revocation::Good {
        number: number(list),
        this_update: list.this_update(),
        next_update,
        points: list.distribution_points(),
    })
}

fn unlisted(
    question: &Question<'_>,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<Revocation, Refusal> {
    let why = format!("no list of {} was given", label(issuer));
    match question.unlisted {
        Unlisted::Accept => Ok(Revocation::NotChecked { why }),
        Unlisted::Refuse => Err(Refusal::new(MISSING, certificate, why, fetch(certificate))),
    }
}

fn uncovered(certificate: &Certificate, count: usize) -> Refusal {
    let lists = if count == 1 {
        "the list".to_owned()
    } else {
        format!("none of the {count} lists")
    };
    let verb = if count == 1 {
        "does not cover"
    } else {
        "covers"
    };
    let text = format!("{lists} of its issuer {verb} it");
    Refusal::new(SCOPE, certificate, text, fetch(certificate))
}

fn stale(question: &Question<'_>, certificate: &Certificate, lists: &[&Crl]) -> Refusal {
    let at = question.at;
    let newest = lists.iter().max_by_key(|list| list.this_update());
    let text = match newest.map(|list| (list.this_update(), list.next_update())) {
        Some((this, _)) if this > at => format!("the list that covers it is of {this}, after {at}"),
        Some((_, Some(next))) => {
            format!("the list that covers it was good until {next}, before {at}")
        }
        _ => "the list that covers it does not say until when it is good".to_owned(),
    };
    Refusal::new(FRESH, certificate, text, fetch(certificate))
}

fn fetch(certificate: &Certificate) -> String {
    match &certificate.crl_distribution_points()[..] {
        [] => "Fetch the newest complete list of its issuer.".to_owned(),
        points => format!(
            "Fetch the newest complete list of its issuer, or the part at {}.",
            points.join(" or ")
        ),
    }
}

fn number(list: &Crl) -> String {
    list.number().map(number_text).unwrap_or_default()
}

/// RFC 5280 section 5.3.1.
pub(crate) fn reason_name(code: u32) -> &'static str {
    match code {
        0 => "unspecified",
        1 => "keyCompromise",
        2 => "cACompromise",
        3 => "affiliationChanged",
        4 => "superseded",
        5 => "cessationOfOperation",
        6 => "certificateHold",
        8 => "removeFromCRL",
        9 => "privilegeWithdrawn",
        10 => "aACompromise",
        _ => "unknown reason",
    }
}
