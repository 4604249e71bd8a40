//! `operator rekey`, `operator generate-root`, `operator step-down`: what key holders do together.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::Command;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;
use zone_types::Secret;

use crate::client::{ClientError, Reply, texts};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::output::table::{columns, plain, row};
use crate::spec::{connected, flag, formatted, leaf, many, number, optional, switch};
use crate::values;

pub(super) mod rekey {
    //! `operator rekey`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "rekey",
            "Replace the shares of the unseal key",
            "One operator begins with -init and tells the nonce to the holders. Each of them hands \
             in his share. With the last one the new shares are printed, once. With \
             -verify at the beginning they count only when their holders have handed them in with \
             -verify too; else they count at once. Needs sudo on sys/rekey/*.",
            "zonehead operator rekey -init -key-shares=5 -key-threshold=3 -verify
             zonehead operator rekey -nonce=NONCE
             zonehead operator rekey -verify -nonce=VERIFICATION-NONCE
             zonehead operator rekey -status
             zonehead operator rekey -cancel",
        );
        connected(formatted(
            command.args([
                switch("init", "Begin."),
                switch(
                    "cancel",
                    "End it without effect; with -verify: begin the verification anew.",
                ),
                switch("status", "Tell how far it is."),
                switch(
                    "verify",
                    "With -init: the new shares must be verified. Else: hand in a new share.",
                ),
                number(
                    "key-shares",
                    "With -init: number of new shares. Default: 5.",
                )
                .alias("n"),
                number(
                    "key-threshold",
                    "With -init: shares that open the store. Default: 3.",
                )
                .alias("t"),
                many(
                    "age-recipients",
                    "recipient",
                    "With -init: one age recipient (age1…) for each share, separated by commas.",
                ),
                flag(
                    "nonce",
                    "nonce",
                    "That of the operation; asked for if it is not given.",
                ),
                optional(
                    "share",
                    "SHARE",
                    "One share, hex or base64; @file; - for standard input.",
                ),
            ]),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = match cx.is_on("verify") {
            true => "sys/rekey/verify",
            false => "sys/rekey/init",
        };
        if cx.is_on("init") {
            return begin(cx).await;
        }
        if cx.is_on("cancel") {
            return cancelled(
                &mut cx,
                path,
                "Success! Canceled rekeying (if it was started)",
            )
            .await;
        }
        if cx.is_on("status") {
            return shown(&mut cx, path, "Error reading the rekey").await;
        }
        let update = match cx.is_on("verify") {
            true => "sys/rekey/verify",
            false => "sys/rekey/update",
        };
        let status = data(
            cx.client()?.read(path, &[]).await,
            "Error reading the rekey",
        )?;
        let reply = give(&mut cx, update, &status, "Error updating the rekey").await?;
        print(&mut cx, reply)
    }

    async fn begin(mut cx: Context<'_>) -> Outcome {
        let mut body = json!({
            "secret_shares": cx.number("key-shares").unwrap_or(5),
            "secret_threshold": cx.number("key-threshold").unwrap_or(3),
            "require_verification": cx.is_on("verify"),
        });
        let recipients = cx.list("age-recipients");
        if !recipients.is_empty() {
            body["age_recipients"] = recipients.into();
        }
        let reply = cx.client()?.write("sys/rekey/init", &body).await;
        let begun = data(reply, "Error initializing the rekey")?;
        rows(&mut cx, begun)
    }

    /// The new shares, or how far it is.
    fn print(cx: &mut Context<'_>, answer: Map<String, Value>) -> Outcome {
        let output = cx.output()?;
        if !output.is_table() || answer.get("keys").is_none() {
            return rows(cx, answer);
        }
        let age = texts(answer.get("keys_age"));
        let keys = match age.is_empty() {
            true => texts(answer.get("keys_base64")),
            false => age,
        };
        for (number, key) in (1..).zip(&keys) {
            cx.console.print(&format!("Key {number}: {}", key.trim()))?;
        }
        let next = match answer.get("verification_required") == Some(&Value::Bool(true)) {
            true => format!(
                "The new shares do not count yet: the old ones open the store until the holders \
                 have\nhanded in the new ones with\n\n  zonehead operator rekey -verify -nonce={}",
                plain(answer.get("verification_nonce").unwrap_or(&Value::Null))
            ),
            false => "The new shares count from now on; the old ones are retired.".to_owned(),
        };
        cx.console.print(&format!(
            "\nGive the shares to their holders now: nobody can print them again.\n{next}"
        ))?;
        Ok(0)
    }
}

pub(super) mod generate_root {
    //! `operator generate-root`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "generate-root",
            "Make a root token from a threshold of key shares",
            "One operator begins with -init and keeps the one-time password; the holders hand in \
             their shares with the nonce. The last one gets the token encoded, and the operator \
             reads it with -decode and -otp. Needs sudo on sys/generate-root/*.",
            "zonehead operator generate-root -init
             zonehead operator generate-root -nonce=NONCE
             zonehead operator generate-root -decode=ENCODED -otp=OTP
             zonehead operator generate-root -status
             zonehead operator generate-root -cancel",
        );
        connected(formatted(command.args([
            switch(
                "init",
                "Begin; prints a new one-time password unless -otp gives one.",
            ),
            switch("cancel", "End it without effect."),
            switch("status", "Tell how far it is."),
            flag(
                "otp",
                "password",
                "The one-time password, as long as a token.",
            ),
            flag(
                "decode",
                "encoded",
                "Decode a token with -otp. Works offline.",
            ),
            flag(
                "nonce",
                "nonce",
                "That of the operation; asked for if it is not given.",
            ),
            optional(
                "share",
                "SHARE",
                "One share, hex or base64; @file; - for standard input.",
            ),
        ])))
    }

    const ATTEMPT: &str = "sys/generate-root/attempt";

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        if let Some(encoded) = cx.text("decode").map(str::to_owned) {
            return decode(&mut cx, &encoded);
        }
        if cx.is_on("init") {
            let body = match cx.text("otp") {
                Some(otp) => json!({ "otp": otp }),
                None => json!({}),
            };
            let reply = cx.client()?.write(ATTEMPT, &body).await;
            let begun = data(reply, "Error initializing root generation")?;
            return rows(&mut cx, begun);
        }
        if cx.is_on("cancel") {
            let success = "Success! Root token generation canceled (if it was started)";
            return cancelled(&mut cx, ATTEMPT, success).await;
        }
        if cx.is_on("status") {
            return shown(&mut cx, ATTEMPT, "Error getting root generation status").await;
        }
        let failure = "Error posting unseal key";
        let status = data(cx.client()?.read(ATTEMPT, &[]).await, failure)?;
        let reply = give(&mut cx, "sys/generate-root/update", &status, failure).await?;
        rows(&mut cx, reply)
    }

    fn decode(cx: &mut Context<'_>, encoded: &str) -> Outcome {
        let otp = cx
            .text("otp")
            .ok_or_else(|| Failure::usage("-decode needs -otp"))?;
        let wrong = || Failure::usage("The token and the password do not belong together");
        let bytes = STANDARD_NO_PAD
            .decode(encoded.trim_end_matches('='))
            .map_err(|_| wrong())?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() != otp.len() {
            return Err(wrong());
        }
        let plain = bytes
            .iter()
            .zip(otp.bytes())
            .map(|(a, b)| char::from(a ^ b));
        let token = Secret::new(plain.collect::<String>());
        let output = cx.output()?;
        if !output.is_table() {
            return output.value(cx.console, &json!({ "token": token.expose() }));
        }
        cx.console.print(token.expose())?;
        Ok(0)
    }
}

pub(super) mod step_down {
    //! `operator step-down`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        connected(leaf(
            "step-down",
            "Have another head take over",
            "A zone has one head so far, so nothing happens. Needs sudo on sys/step-down.",
            "zonehead operator step-down",
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let reply = cx.client()?.write("sys/step-down", &json!({})).await;
        reply.map_err(Failure::of("Error stepping down"))?;
        cx.console
            .print("Success! Stepped down: there is no other head")?;
        Ok(0)
    }
}

fn data(
    reply: Result<Option<Reply>, ClientError>,
    failure: &'static str,
) -> Result<Map<String, Value>, Failure> {
    let reply = reply.map_err(Failure::of(failure))?;
    let data = reply.and_then(|reply| reply.data);
    data.ok_or_else(|| Failure::failed(format!("{failure}: the answer is empty")))
}

/// Hands in one share.
async fn give(
    cx: &mut Context<'_>,
    path: &str,
    status: &Map<String, Value>,
    failure: &'static str,
) -> Result<Map<String, Value>, Failure> {
    if status.get("started") != Some(&Value::Bool(true)) {
        return Err(Failure::failed(format!(
            "{failure}: nothing is under way; begin with -init"
        )));
    }
    let nonce = match cx.text("nonce") {
        Some(nonce) => nonce.to_owned(),
        None if cx.can_ask() => {
            let own = plain(status.get("nonce").unwrap_or(&Value::Null));
            cx.console.print(&format!("Operation nonce: {own}"))?;
            own
        }
        None => {
            let text = "Not enough arguments: -nonce is needed, so that no share goes astray";
            return Err(Failure::usage(text));
        }
    };
    let share = match cx.text("share").map(str::to_owned) {
        Some(given) => values::read_one(&given, &mut *cx.console.input)?,
        None if cx.can_ask() => cx.ask("Unseal Key (will be hidden): ")?,
        None => values::read_one("-", &mut *cx.console.input)?,
    };
    let body = json!({ "key": share.expose().trim(), "nonce": nonce });
    data(cx.client()?.write(path, &body).await, failure)
}

async fn cancelled(cx: &mut Context<'_>, path: &str, success: &str) -> Outcome {
    let query: Vec<_> = cx
        .text("nonce")
        .map(|nonce| ("nonce".to_owned(), nonce.to_owned()))
        .into_iter()
        .collect();
    let reply = cx.client()?.delete(path, &query).await;
    reply.map_err(Failure::of("Error canceling"))?;
    cx.console.print(success)?;
    Ok(0)
}

async fn shown(cx: &mut Context<'_>, path: &str, failure: &'static str) -> Outcome {
    let status = data(cx.client()?.read(path, &[]).await, failure)?;
    rows(cx, status)
}

/// What an answer says, a row each; what says nothing is left out.
fn rows(cx: &mut Context<'_>, answer: Map<String, Value>) -> Outcome {
    const NAMES: [(&str, &str); 12] = [
        ("nonce", "Nonce"),
        ("started", "Started"),
        ("progress", "Progress"),
        ("required", "Required Shares"),
        ("t", "New Threshold"),
        ("n", "New Shares"),
        ("verification_required", "Verification Required"),
        ("verification_nonce", "Verification Nonce"),
        ("complete", "Complete"),
        ("otp", "OTP"),
        ("otp_length", "OTP Length"),
        ("encoded_token", "Encoded Token"),
    ];
    let output: Output = cx.output()?;
    if !output.is_table() {
        return output.value(cx.console, &Value::Object(answer));
    }
    let shown = NAMES.iter().filter_map(|(name, title)| {
        let text = plain(answer.get(*name).filter(|value| !value.is_null())?);
        (!text.is_empty()).then(|| row(title, &text))
    });
    cx.console.print(&columns(&shown.collect::<Vec<_>>()))?;
    Ok(0)
}
