//! Audit files as evidence: verified first, then read request by request.

use std::path::PathBuf;

use clap::{Arg, Command};
use serde::Deserialize;
use serde_json::Value;
use zone_audit::verify::{self as chain, Report};
use zone_types::Timestamp;

use super::audit_offline::{public_key, unreadable};
use crate::context::Context;
use crate::failure::Failure;
use crate::spec::{flag, rest, switch};

/// Flags and arguments of a command that reads a trail.
pub(super) fn evidence(command: Command) -> Command {
    let files: Arg = rest(
        "files",
        "FILES",
        "The audit files of one device, rotated ones too.",
    );
    command.args([
        flag(
            "key",
            "key",
            "Public key of the checkpoints, as 'audit list -detailed' shows it, or a PEM file. \
             Without it a forger is not found.",
        ),
        switch(
            "unverified",
            "Take files whose chain or signatures were not verified.",
        ),
        files.required(true),
    ])
}

/// The files of a run, and what verification says of them.
pub(super) struct Evidence {
    pub(super) files: Vec<PathBuf>,
    pub(super) report: Report,
}

impl Evidence {
    /// Verifies the files that the command names.
    pub(super) fn of(cx: &Context<'_>, files: Vec<String>) -> Result<Self, Failure> {
        let key = cx.text("key").map(public_key).transpose()?;
        let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
        if files.is_empty() {
            return Err(Failure::usage("Not enough arguments: FILES are missing"));
        }
        let report = chain::verify_files(&files, key.as_ref())
            .map_err(|error| unreadable(&files, &error))?;
        Ok(Self { files, report })
    }

    /// Whether each line was proved to be what a head wrote.
    pub(super) fn is_proved(&self) -> bool {
        self.report.is_intact() && self.report.signatures_checked
    }

    /// What was proved, in a few words.
    pub(super) fn verdict(&self) -> String {
        match (&self.report.broken, self.report.signatures_checked) {
            (Some(broken), _) => format!(
                "BROKEN at {}:{}: {}",
                self.report.files[broken.place.file].display(),
                broken.place.line,
                broken.fault
            ),
            (None, true) => "intact, signatures checked".to_owned(),
            (None, false) => "intact, signatures not checked (no -key)".to_owned(),
        }
    }

    /// Hands each request and response line to `take`, in the order of the chain; of files that
    /// were proved, only what was proved: a head may have written on since.
    pub(super) fn each(&self, mut take: impl FnMut(Entry)) -> Result<(), Failure> {
        let mut left = match self.report.is_intact() {
            true => self.report.good_lines,
            false => u64::MAX,
        };
        let read = |text: &str| {
            let proved = left > 0;
            left = left.saturating_sub(1);
            if proved
                && let Ok(entry) = serde_json::from_str::<Entry>(text)
                && matches!(entry.kind.as_str(), "request" | "response")
            {
                take(entry);
            }
        };
        chain::each_line(&self.files, read).map_err(|error| unreadable(&self.files, &error))
    }
}

/// What is read of a line about a request (docs/formats/audit.md).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) time: Timestamp,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) auth: Option<Auth>,
    pub(super) request: Asked,
    pub(super) response: Option<Answered>,
    pub(super) error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Auth {
    #[serde(default)]
    pub(super) display_name: String,
    #[serde(default)]
    pub(super) accessor: String,
    #[serde(default)]
    pub(super) policies: Vec<String>,
    #[serde(default)]
    pub(super) identity_policies: Vec<String>,
    #[serde(default)]
    pub(super) entity_id: String,
    #[serde(default)]
    pub(super) token_type: String,
    pub(super) policy_results: Option<Results>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Results {
    pub(super) allowed: bool,
    pub(super) rule: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) operation: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) mount_point: String,
    #[serde(default)]
    pub(super) mount_type: String,
    #[serde(default)]
    pub(super) remote_address: String,
    #[serde(default)]
    pub(super) remote_port: u16,
    #[serde(default)]
    pub(super) headers: Value,
    #[serde(default)]
    pub(super) wrap_ttl: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Answered {
    pub(super) status: u16,
}
