//! The step with the audit trail: it is proved from its file alone, and a changed copy is caught.

use anyhow::Context;
use serde_json::json;
use zone_audit::verify::{Report, verify_readers};
use zone_cli::client::Client;
use zone_crypto::sign::PublicKey;

use super::super::DevZone;
use super::super::shell::shell_word;
use super::claim;
use super::screen::Screen;

/// What the trail must hold of the steps before, and what it must not.
pub(super) struct Traces {
    /// The id of a request.
    pub(super) request: String,
    /// A value that was stored and read.
    pub(super) secret: &'static str,
}

/// The audit device that writes the file.
struct Device {
    name: String,
    /// Signs the checkpoints; hex, as `audit verify` takes it.
    key: String,
}

/// What was found in the file.
struct Findings {
    report: Report,
    /// In a copy with one changed character.
    changed: Changed,
}

/// Numbers of lines, from 1.
struct Changed {
    /// Where a character was changed.
    line: u64,
    /// What verification names.
    found: Option<u64>,
}

/// Proves the audit trail of `zone` offline.
pub(super) async fn verify(
    zone: &DevZone,
    traces: &Traces,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    screen.step("The audit trail is proved, without asking the zone")?;
    let file = zone.directory.join("audit").join("audit.log");
    let device = Device::of_file(&zone.client, &file.display().to_string()).await?;
    let hash = device.hash(&zone.client, traces.secret).await?;
    let key = PublicKey::from_spki(&hex::decode(&device.key)?)?;
    let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let trail = String::from_utf8(bytes).context("the audit trail is not UTF-8")?;
    claim(!trail.contains(traces.secret), || {
        "the audit trail holds a secret in clear".into()
    })?;
    claim(trail.contains(&hash), || {
        "the audit trail does not hold the secret's HMAC".into()
    })?;
    let request = traces.request.clone();
    let found = tokio::task::spawn_blocking(move || examine(&trail, &request, &key)).await??;
    check(&found)?;
    show(&found, screen)?;
    let file = shell_word(&file);
    screen.command(&format!("zonehead audit verify -key={} {file}", device.key))?;
    let hashing = format!(
        "zonehead write -field=hash {} input={}",
        device.hashes(),
        traces.secret
    );
    screen.command(&format!("zonehead audit search \"$({hashing})\" {file}"))?;
    Ok(())
}

impl Device {
    async fn of_file(client: &Client, file: &str) -> anyhow::Result<Self> {
        let devices = client.read("sys/audit", &[]).await?;
        let devices = devices.and_then(|reply| reply.data).unwrap_or_default();
        let (path, device) = devices
            .iter()
            .find(|(_, device)| device["options"]["file_path"] == file)
            .with_context(|| format!("no audit device writes to {file}"))?;
        let key = device["public_key"].as_str();
        Ok(Self {
            name: path.trim_end_matches('/').to_owned(),
            key: key
                .context("sys/audit names no key of the device")?
                .to_owned(),
        })
    }

    /// How a value stands in the trail.
    async fn hash(&self, client: &Client, value: &str) -> anyhow::Result<String> {
        let reply = client
            .write(&self.hashes(), &json!({ "input": value }))
            .await?;
        let reply = reply.context("no answer from sys/audit-hash")?;
        let hash = reply.field("hash").and_then(|hash| hash.as_str());
        Ok(hash.context("sys/audit-hash gave no hash")?.to_owned())
    }

    fn hashes(&self) -> String {
        format!("sys/audit-hash/{}", self.name)
    }
}

fn examine(trail: &str, request: &str, key: &PublicKey) -> anyhow::Result<Findings> {
    let at = trail
        .find(request)
        .context("the revocation is not in the audit trail")?;
    let report = verify_readers([trail.as_bytes()], Some(key))?;
    let mut copy = trail.as_bytes().to_vec();
    copy[at] = if copy[at] == b'0' { b'1' } else { b'0' };
    let broken = verify_readers([&*copy], Some(key))?.broken;
    let lines_before = trail[..at].bytes().filter(|byte| *byte == b'\n').count();
    let changed = Changed {
        line: lines_before as u64 + 1,
        found: broken.map(|broken| broken.place.line),
    };
    Ok(Findings { report, changed })
}

fn show(found: &Findings, screen: &mut Screen) -> std::io::Result<()> {
    let Findings { report, changed } = found;
    screen.shown(&format!(
        "{} lines form an unbroken chain, {} of them signed checkpoints",
        report.lines, report.checkpoints
    ))?;
    screen.shown("the revocation stands in it; of the secret only an HMAC")?;
    let line = changed.line;
    screen.shown(&format!(
        "one changed character in a copy was found, in line {line}"
    ))?;
    report
        .notices()
        .iter()
        .try_for_each(|notice| screen.note(notice))
}

fn check(found: &Findings) -> anyhow::Result<()> {
    let Findings { report, changed } = found;
    claim(report.is_intact(), || match &report.broken {
        Some(broken) => format!("line {} is broken: {}", broken.place.line, broken.fault),
        None => "the chain is broken".into(),
    })?;
    claim(report.signatures_checked && report.lines > 0, || {
        "no signature was checked".into()
    })?;
    claim(changed.found == Some(changed.line), || {
        match changed.found {
            Some(line) => format!(
                "line {} was changed, but line {line} was named",
                changed.line
            ),
            None => format!("line {} was changed, and nothing was found", changed.line),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_and_a_blind_verification_end_the_tour() {
        let good = || Findings {
            report: Report {
                lines: 3,
                signatures_checked: true,
                ..Report::default()
            },
            changed: Changed {
                line: 2,
                found: Some(2),
            },
        };
        check(&good()).unwrap();
        let mut found = good();
        found.changed.found = None;
        assert!(check(&found).is_err());
        found.changed.found = Some(3);
        assert!(check(&found).is_err());
        let mut found = good();
        found.report.signatures_checked = false;
        assert!(check(&found).is_err());
    }
}
