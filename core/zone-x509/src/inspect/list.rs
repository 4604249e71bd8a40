//! The report on a revocation list.

use std::fmt;

use serde::Serialize;
use zone_types::Timestamp;

use super::{Rows, Standing, number_text, standing_text};
use crate::chain::reason_name;
use crate::{Crl, Serial, colon_hex};

/// Most entries that a report names.
const MOST_ENTRIES: usize = 1000;

/// What a revocation list says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListReport {
    /// The issuer (RFC 4514).
    pub issuer: String,
    /// The list's number; `None` if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// When it was made.
    pub this_update: Timestamp,
    /// Until when it can be relied on; `None` if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_update: Option<Timestamp>,
    /// The instant of the report.
    pub now: Timestamp,
    /// Where that instant stands; `None` if there is no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
    /// How it was signed.
    pub signature: String,
    /// The authority key identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_key_id: Option<String>,
    /// The distribution points of a partial list; empty for a complete one.
    pub points: Vec<String>,
    /// How many certificates it names.
    pub entries: usize,
    /// The first thousand of them.
    pub revoked: Vec<EntryReport>,
    /// SHA-256 of the whole list, joined by colons.
    pub sha256: String,
}

/// A revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryReport {
    /// Its serial.
    pub serial: Serial,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why; `None` if the list does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl ListReport {
    /// What `list` says, and where `now` stands in its life.
    pub fn new(list: &Crl, now: Timestamp) -> Self {
        let next_update = list.next_update();
        // A list ends with its nextUpdate, which is no second of its life any more.
        let standing = next_update.map(|next| match Standing::of(now, list.this_update(), next) {
            Standing::Valid if now >= next => Standing::Expired,
            other => other,
        });
        let entry = |entry: &crate::CrlEntry| EntryReport {
            serial: entry.serial.clone(),
            at: entry.at,
            reason: entry.reason.map(reason_name),
        };
        Self {
            issuer: list.issuer(),
            number: list.number().map(number_text),
            this_update: list.this_update(),
            next_update,
            now,
            standing,
            signature: list
                .scheme()
                .map_or_else(|| "not accepted".to_owned(), |scheme| scheme.to_string()),
            authority_key_id: list.authority_key_id().map(colon_hex),
            points: list.distribution_points(),
            entries: list.entries().len(),
            revoked: list
                .entries()
                .iter()
                .take(MOST_ENTRIES)
                .map(entry)
                .collect(),
            sha256: colon_hex(&zone_crypto::hash::sha256(list.der())),
        }
    }
}

impl fmt::Display for ListReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Revocation list")?;
        let mut rows = Rows(f);
        rows.row("Issuer", &self.issuer)?;
        rows.optional("Number", self.number.as_ref())?;
        rows.row("Made", &self.this_update.to_string())?;
        if let (Some(next), Some(standing)) = (self.next_update, self.standing) {
            let standing = standing_text(standing, self.now, self.this_update, next);
            rows.row("Good until", &format!("{next} ({standing})"))?;
        } else {
            rows.row("Good until", "(it does not say)")?;
        }
        rows.row("Signature", &self.signature)?;
        rows.optional("Issuer's key id", self.authority_key_id.as_ref())?;
        if self.points.is_empty() {
            rows.row("Covers", "all certificates of its issuer")?;
        }
        rows.rows("Covers", &self.points)?;
        rows.row("SHA-256", &self.sha256)?;
        rows.row("Revoked", &self.entries.to_string())?;
        for EntryReport { serial, at, reason } in &self.revoked {
            let reason = reason
                .map(|reason| format!(" {reason}"))
                .unwrap_or_default();
            rows.row("  at", &format!("{at} {serial}{reason}"))?;
        }
        if self.revoked.len() < self.entries {
            rows.row(
                "  and",
                &format!("{} more", self.entries - self.revoked.len()),
            )?;
        }
        Ok(())
    }
}
