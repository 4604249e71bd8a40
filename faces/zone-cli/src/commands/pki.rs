//! `pki verify` and `pki inspect`: certificates and lists, offline.

use std::path::Path;

use clap::Command;
use serde_json::{Value, json};
use zone_types::{Secret, Timestamp};
use zone_x509::chain::{Question, Unlisted};
use zone_x509::inspect::inspect as look_into;
use zone_x509::{AltName, Certificate, Crl, Purpose, is_email, is_uri};

use crate::console::read_bounded;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::spec::{flag, formatted, leaf, many, required, rest, switch};

pub(super) mod verify {
    //! `pki verify`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "verify",
            "Verify a certificate up to an authority, with revocation",
            "The first certificate of the first file is the one in question; the others may stand \
             between it and an authority. Names the first certificate and rule by which it fails. \
             Without a list of its issuer a certificate counts as not revoked, and the answer says \
             so; -require-crl refuses it. The exit code is 0 if it is good, 2 if it is refused, 1 \
             if something cannot be read.",
            "zonehead pki verify -ca=ca.pem -crl=crl.pem server.pem
             zonehead pki verify -ca=root.pem -require-crl -crl=chain.crl -purpose=ServerAuth -name=db.example server.pem int.pem",
        );
        formatted(
            command.args([
                many(
                    "ca",
                    "file",
                    "Certificates that are trusted; can be given several times.",
                )
                .required(true),
                many(
                    "crl",
                    "file",
                    "Revocation lists; can be given several times.",
                ),
                switch("require-crl", "Refuse what no list speaks of."),
                flag(
                    "name",
                    "name",
                    "A DNS name, IP address, mailbox or URI that it must bear.",
                ),
                flag(
                    "purpose",
                    "purpose",
                    "ServerAuth, ClientAuth, …, or a dotted identifier.",
                ),
                flag("at", "instant", "As of when (RFC 3339). Default: now."),
                rest("files", "FILES", "PEM or DER; - for standard input.").required(true),
            ]),
        )
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let mut given = certificates(&mut cx, "files")?;
        let roots = certificates(&mut cx, "ca")?;
        let lists = lists(&mut cx)?;
        let certificate = given.remove(0);
        let name = cx.text("name").map(name).transpose()?;
        let question = Question {
            certificate: &certificate,
            intermediates: &given,
            roots: &roots,
            lists: &lists,
            at: instant(&cx)?,
            purpose: cx.text("purpose").map(purpose).transpose()?,
            name: name.as_ref(),
            unlisted: match cx.is_on("require-crl") {
                true => Unlisted::Refuse,
                false => Unlisted::Accept,
            },
        };
        match (question.answer(), output.is_table()) {
            (Ok(verified), true) => {
                cx.console.print(verified.to_string().trim_end())?;
                Ok(0)
            }
            (Err(refusal), true) => Err(Failure::failed(refusal.to_string())),
            (Ok(verified), false) => {
                output.value(cx.console, &json!({ "good": true, "verified": verified }))
            }
            (Err(refusal), false) => {
                output.value(cx.console, &json!({ "good": false, "refusal": refusal }))?;
                Ok(2)
            }
        }
    }

    fn purpose(text: &str) -> Result<Purpose, Failure> {
        let known = match text.to_ascii_lowercase().as_str() {
            "server" => Some(Purpose::SERVER_AUTH),
            "client" => Some(Purpose::CLIENT_AUTH),
            _ => Purpose::from_name(text).or_else(|| Purpose::from_oid(text)),
        };
        known.ok_or_else(|| {
            Failure::usage(format!(
                "-purpose: {text:?} is none; ServerAuth and ClientAuth are"
            ))
        })
    }

    fn name(text: &str) -> Result<AltName, Failure> {
        if let Ok(address) = text.parse() {
            return Ok(AltName::Ip(address));
        }
        if let Some(name) = zone_x509::dns_name(text) {
            return Ok(AltName::Dns(name));
        }
        match text {
            text if is_email(text) => Ok(AltName::Email(text.to_owned())),
            text if is_uri(text) => Ok(AltName::Uri(text.to_owned())),
            _ => Err(Failure::usage(format!(
                "-name: {text:?} is no DNS name (in ASCII), IP address, mailbox or URI"
            ))),
        }
    }

    fn certificates(cx: &mut Context<'_>, argument: &str) -> Result<Vec<Certificate>, Failure> {
        let mut all = Vec::new();
        for file in cx.all(argument) {
            let content = content(cx, &file)?;
            let found = match pem(content.expose()) {
                Some(text) => Certificate::all_from_pem(text),
                None => Certificate::from_der(content.expose()).map(|one| vec![one]),
            };
            let found = found.map_err(|fault| Failure::usage(format!("{file}: {fault}")))?;
            if found.is_empty() {
                return Err(Failure::usage(format!("{file} holds no certificate")));
            }
            all.extend(found);
        }
        Ok(all)
    }

    fn lists(cx: &mut Context<'_>) -> Result<Vec<Crl>, Failure> {
        let mut all = Vec::new();
        for file in cx.all("crl") {
            let content = content(cx, &file)?;
            let found = match pem(content.expose()) {
                Some(text) => Crl::all_from_pem(text),
                None => Crl::from_der(content.expose()).map(|one| vec![one]),
            };
            let found = found.map_err(|fault| Failure::usage(format!("{file}: {fault}")))?;
            if found.is_empty() {
                return Err(Failure::usage(format!("{file} holds no revocation list")));
            }
            all.extend(found);
        }
        Ok(all)
    }
}

pub(super) mod inspect {
    //! `pki inspect`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "inspect",
            "Show what stands in a certificate, list or request",
            "Reads PEM with any number of them, or one in DER. Checks no signatures but those of \
             requests: that is what 'pki verify' is for.",
            "zonehead pki inspect server.pem
             zonehead read -format=raw pki/crl/pem | zonehead pki inspect -",
        );
        formatted(command.args([
            flag("at", "instant", "As of when (RFC 3339). Default: now."),
            required("file", "FILE", "PEM or DER; - for standard input."),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let at = instant(&cx)?;
        let file = cx.required("file").to_owned();
        let content = content(&mut cx, &file)?;
        let reports = look_into(content.expose(), at)
            .map_err(|fault| Failure::usage(format!("{file}: {fault}")))?;
        if !output.is_table() {
            let reports = serde_json::to_value(&reports).unwrap_or(Value::Null);
            return output.value(cx.console, &reports);
        }
        let texts: Vec<String> = reports.iter().map(ToString::to_string).collect();
        cx.console.print(texts.join("\n").trim_end())?;
        Ok(0)
    }
}

fn content(cx: &mut Context<'_>, file: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let content = match file {
        "-" => cx.console.input.read_all(),
        path => std::fs::File::open(Path::new(path)).and_then(read_bounded),
    };
    content.map_err(|error| Failure::usage(format!("{file} cannot be read: {error}")))
}

/// The text if it holds PEM.
fn pem(content: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(content).ok()?;
    text.contains("-----BEGIN ").then_some(text)
}

fn instant(cx: &Context<'_>) -> Result<Timestamp, Failure> {
    match cx.text("at") {
        None => Ok((cx.console.clock)()),
        Some(text) => Timestamp::parse_rfc3339(text).ok_or_else(|| {
            Failure::usage(format!(
                "-at: {text:?} is not of the form 2026-11-26T09:00:00Z"
            ))
        }),
    }
}
