//! `audit verify` and `audit search`: audit files, without the server that wrote them.

use std::path::PathBuf;

use clap::Command;
use serde_json::{Value, json};
use zone_audit::verify::{self as trail, Hit, Report};
use zone_crypto::sign::PublicKey;
use zone_types::Secret;

use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::table::{columns, row, table};
use crate::spec::{connected, flag, formatted, leaf, rest};
use crate::values;

pub(super) mod verify {
    //! `audit verify`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "verify",
            "Prove that audit files are what a head wrote",
            "Give the current file and the rotated ones, in any order. Names the first broken \
             line and why, and says what it cannot see. Without -key only accidents are found, \
             not a forger. The exit code is 0 if all lines are good, 2 if one is not, 1 if a file \
             cannot be read.",
            "zonehead audit verify -key=checkpoint.pem audit.log audit.log.*",
        );
        formatted(command.args([
            flag(
                "key",
                "key",
                "Public key of the checkpoints, as 'audit list -detailed' shows it (public_key, in \
                 hex), or a PEM file. Note it elsewhere while the head can be trusted.",
            ),
            rest("files", "FILES", "The audit files of one device.").required(true),
        ]))
    }

    pub(in crate::commands) async fn run(cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let key = cx.text("key").map(public_key).transpose()?;
        let files: Vec<PathBuf> = cx.all("files").into_iter().map(PathBuf::from).collect();
        let report = trail::verify_files(&files, key.as_ref())
            .map_err(|error| unreadable(&files, &error))?;
        let code = if report.is_intact() { 0 } else { 2 };
        if !output.is_table() {
            output.value(cx.console, &document(&report))?;
            return Ok(code);
        }
        cx.console.print(&summary(&report))?;
        for notice in report.notices() {
            cx.console.print(&format!("\n* {notice}"))?;
        }
        if let Some(broken) = &report.broken {
            cx.console.error(&format!(
                "\nBroken at {}: {}.",
                place(&report, broken.place.file, broken.place.line),
                broken.fault
            ))?;
        }
        Ok(code)
    }

    fn summary(report: &Report) -> String {
        let verdict = if report.is_intact() {
            "intact"
        } else {
            "BROKEN"
        };
        let signatures = match report.signatures_checked {
            true => format!("{}, signatures checked", report.checkpoints),
            false => format!("{}, signatures not checked", report.checkpoints),
        };
        let mut rows = vec![
            row("Audit trail", verdict),
            row("Files", &report.files.len().to_string()),
            row(
                "Good lines",
                &format!("{} of {}", report.good_lines, report.lines),
            ),
            row("Checkpoints", &signatures),
            row("Epochs", &report.epochs.to_string()),
        ];
        if let (Some(earliest), Some(latest)) = (report.earliest, report.latest) {
            rows.push(row("Time", &format!("{earliest} to {latest}")));
        }
        if let Some(head) = &report.head {
            rows.push(row(
                "Last line",
                &format!("{} {}", head.seq, hex::encode(head.hash)),
            ));
        }
        if let Some(revision) = report.last_revision {
            rows.push(row("Last commit", &revision.to_string()));
        }
        columns(&rows)
    }

    fn document(report: &Report) -> Value {
        let broken = report.broken.as_ref().map(|broken| {
            json!({
                "file": report.files.get(broken.place.file),
                "line": broken.place.line,
                "fault": broken.fault.to_string(),
            })
        });
        json!({
            "intact": report.is_intact(),
            "files": report.files,
            "lines": report.lines,
            "good_lines": report.good_lines,
            "checkpoints": report.checkpoints,
            "signatures_checked": report.signatures_checked,
            "epochs": report.epochs,
            "first_seq": report.first_seq,
            "last_seq": report.head.as_ref().map(|head| head.seq),
            "last_hash": report.head.as_ref().map(|head| hex::encode(head.hash)),
            "earliest": report.earliest,
            "latest": report.latest,
            "last_revision": report.last_revision,
            "lines_after_checkpoint": report.lines_after_checkpoint,
            "broken": broken,
            "notices": report.notices(),
        })
    }

    fn place(report: &Report, file: usize, line: u64) -> String {
        match report.files.get(file) {
            Some(file) => format!("{}:{line}", file.display()),
            None => format!("line {line}"),
        }
    }

    pub(in crate::commands) fn public_key(text: &str) -> Result<PublicKey, Failure> {
        let unusable = || Failure::usage("-key is neither a PEM file nor hex of an Ed25519 key");
        if let Ok(bytes) = hex::decode(text) {
            let spki = match bytes.len() {
                32 => [&ED25519_SPKI[..], &bytes[..]].concat(),
                _ => bytes,
            };
            return PublicKey::from_spki(&spki).map_err(|_| unusable());
        }
        let pem = std::fs::read_to_string(text)
            .map_err(|error| Failure::usage(format!("the key {text} cannot be read: {error}")))?;
        PublicKey::from_pem(&pem).map_err(|_| unusable())
    }

    /// What stands before the 32 bytes of an Ed25519 key (RFC 8410, section 4).
    const ED25519_SPKI: [u8; 12] = [
        0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
    ];
}

pub(super) use verify::public_key;

pub(super) mod search {
    //! `audit search`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "search",
            "Find the audit lines that hold a value",
            "Values stand as HMACs in the files. Either give the HMAC, then no server is asked, or \
             name the device with -device: the value is read from -value, or asked for without \
             echo, and the server makes its HMAC (sys/audit-hash). Shows where, when and by whom; \
             -format=json shows whole lines. The exit code is 2 if no line holds it.",
            "zonehead audit search hmac-sha256:… audit.log audit.log.*
             zonehead audit search -format=json -hmac=hmac-sha256:… audit.log
             zonehead audit search -device=file -value=@secret.txt audit.log",
        );
        connected(formatted(command.args([
            flag(
                "hmac",
                "hmac",
                "hmac-sha256: and 64 hex digits; also as the first argument.",
            ),
            flag(
                "device",
                "name",
                "The audit device whose key makes the HMAC.",
            ),
            flag(
                "value",
                "value",
                "@file or - (standard input), byte for byte as 'kv put' takes it.",
            ),
            rest("files", "FILES", "The audit files.").required(true),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let mut files = cx.all("files");
        let first = files
            .first()
            .filter(|first| first.starts_with("hmac-sha256:"));
        let given = cx
            .text("hmac")
            .map(str::to_owned)
            .or_else(|| first.cloned());
        if first.is_some() {
            files.remove(0);
        }
        let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
        if files.is_empty() {
            return Err(Failure::usage("Not enough arguments: FILES are missing"));
        }
        let hmac = match given {
            Some(hmac) => hmac,
            None => hashed(&mut cx).await?,
        };
        let mut hits = Vec::new();
        trail::search(&files, &hmac, |hit| hits.push(hit))
            .map_err(|error| unreadable(&files, &error))?;
        print(&mut cx, &output, &hits)?;
        Ok(if hits.is_empty() { 2 } else { 0 })
    }

    fn print(cx: &mut Context<'_>, output: &crate::output::Output, hits: &[Hit]) -> Outcome {
        if !output.is_table() {
            let hit = |hit: &Hit| {
                let text: Value = serde_json::from_str(&hit.text).unwrap_or(Value::Null);
                json!({ "file": hit.file, "line": hit.line, "text": text })
            };
            return output.value(cx.console, &hits.iter().map(hit).collect());
        }
        if hits.is_empty() {
            cx.console.warn("No line holds it.")?;
            return Ok(0);
        }
        let titles = [
            "Line",
            "Time",
            "Type",
            "Operation",
            "Path",
            "Who",
            "Request",
        ];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(hits.iter().map(row_of));
        cx.console.print(&table(&rows))?;
        Ok(0)
    }

    /// Where, when, what and who.
    fn row_of(hit: &Hit) -> Vec<String> {
        let line: Value = serde_json::from_str(&hit.text).unwrap_or(Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (request, auth) = (&line["request"], &line["auth"]);
        vec![
            format!("{}:{}", hit.file.display(), hit.line),
            text(&line["time"]),
            text(&line["type"]),
            text(&request["operation"]),
            text(&request["path"]),
            text(&auth["display_name"]),
            text(&request["id"]),
        ]
    }

    /// The HMAC of a value under a device's key.
    async fn hashed(cx: &mut Context<'_>) -> Result<String, Failure> {
        let Some(device) = cx.text("device").map(|device| trimmed(device).to_owned()) else {
            let text = "Give the HMAC (hmac-sha256:…), or a device with -device and the value";
            return Err(Failure::usage(text));
        };
        let value = value(cx)?;
        let body = json!({ "input": value.expose() });
        let reply = cx
            .client()?
            .write(&format!("sys/audit-hash/{device}"), &body)
            .await;
        let reply = reply.map_err(Failure::of("Error hashing the value"))?;
        let hash = reply
            .as_ref()
            .and_then(|reply| reply.field("hash"))
            .and_then(Value::as_str);
        let hash = hash.ok_or_else(|| Failure::failed("Error hashing the value: no answer"))?;
        Ok(hash.to_owned())
    }

    fn value(cx: &mut Context<'_>) -> Result<Secret<String>, Failure> {
        match cx.text("value").map(str::to_owned) {
            Some(source) if source == "-" || source.starts_with('@') => {
                Ok(values::read_one(&source, &mut *cx.console.input)?)
            }
            Some(_) => Err(Failure::usage(
                "-value takes @file or -, so that the value does not stand in the process list",
            )),
            None if cx.can_ask() => cx.ask("Value (will be hidden): "),

            None => Err(Failure::usage(
                "Give the value with -value=@file or -value=-",
            )),
        }
    }
}

pub(super) fn unreadable(files: &[PathBuf], error: &std::io::Error) -> Failure {
    match (error.kind(), files) {
        (std::io::ErrorKind::InvalidInput, _) => Failure::usage(error.to_string()),
        (_, [file]) => Failure::usage(format!("{} cannot be read: {error}", file.display())),
        _ => Failure::usage(format!("an audit file cannot be read: {error}")),
    }
}
