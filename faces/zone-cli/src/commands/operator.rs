//! `operator …`.

use clap::Command;
use http::Method;
use serde_json::{Map, Value, json};
use zone_types::Secret;

use super::status;
use crate::client::{ClientError, texts};
use crate::console::Console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::output::table::{columns, plain, row};
use crate::spec::{connected, formatted, leaf, many, number, optional, switch};
use crate::values;

pub(super) mod init {
    //! `operator init`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "init",
            "Initialise a new store: make its keys, shares and root token",
            "Prints the shares of the unseal key and the root token once; nobody can get them \
             again. With -age-recipients each share is encrypted for one recipient, in order, and \
             only they can read it. The store stays sealed: 'operator unseal' comes next. With \
             -status the exit code is 0 if the store is initialised, 2 if it is not, 1 on errors.",
            "zonehead operator init -key-shares=5 -key-threshold=3
             zonehead operator init -key-shares=2 -key-threshold=2 -age-recipients=age1…,age1…
             zonehead operator init -status",
        );
        connected(formatted(command.args([
            number("key-shares", "Number of shares. Default: 5.").alias("n"),
            number("key-threshold", "Shares that open the store. Default: 3.").alias("t"),
            many(
                "age-recipients",
                "recipient",
                "One age recipient (age1…) for each share, separated by commas.",
            ),
            switch("status", "Only tell whether the store is initialised."),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        if cx.is_on("status") {
            // 2 means that it is not initialised.
            return initialised(&mut cx, &output)
                .await
                .map_err(|failure| failure.with_code(1));
        }
        let shares = cx.number("key-shares").unwrap_or(5);
        let threshold = cx.number("key-threshold").unwrap_or(3);
        let mut body = json!({ "secret_shares": shares, "secret_threshold": threshold });
        let recipients = cx.list("age-recipients");
        if !recipients.is_empty() {
            body["age_recipients"] = recipients.into();
        }
        let client = cx.client()?;
        let answer = client.document(Method::PUT, "sys/init", Some(&body)).await;
        let answer = answer.map_err(Failure::of("Error initializing"))?;
        let made = Made::read(&answer)?;
        if !output.is_table() {
            return output.value(cx.console, &made.document(shares, threshold));
        }
        made.print(cx.console, shares, threshold)?;
        Ok(0)
    }

    async fn initialised(cx: &mut Context<'_>, output: &Output) -> Outcome {
        let answer = cx.client()?.document(Method::GET, "sys/init", None).await;
        let answer = answer.map_err(Failure::of("Error checking init status"))?;
        let done = answer["initialized"] == true;
        if output.is_table() {
            let not = if done { "" } else { "not " };
            cx.console
                .print(&format!("The store is {not}initialized"))?;
        } else {
            output.value(cx.console, &json!({ "initialized": done }))?;
        }
        Ok(if done { 0 } else { 2 })
    }

    /// What initialisation made. Shares are hex and base64, or age files.
    struct Made {
        hex: Vec<String>,
        base64: Vec<String>,
        age: Vec<String>,
        root_token: Secret<String>,
    }

    impl Made {
        fn read(answer: &Value) -> Result<Self, Failure> {
            let root_token = answer["root_token"].as_str();
            let root_token = root_token.ok_or_else(|| {
                Failure::failed("Error initializing: the answer holds no root token")
            })?;
            Ok(Self {
                hex: texts(answer.get("keys")),
                base64: texts(answer.get("keys_base64")),
                age: texts(answer.get("keys_age")),
                root_token: Secret::new(root_token.to_owned()),
            })
        }

        /// Vault's document for machines, which is not that of the API.
        fn document(&self, shares: i64, threshold: i64) -> Value {
            let mut document = json!({
                "unseal_keys_b64": self.base64,
                "unseal_keys_hex": self.hex,
                "unseal_shares": shares,
                "unseal_threshold": threshold,
                "recovery_keys_b64": [],
                "recovery_keys_hex": [],
                "recovery_keys_shares": 0,
                "recovery_keys_threshold": 0,
                "root_token": self.root_token.expose(),
            });
            if !self.age.is_empty() {
                document["unseal_keys_age"] = self.age.clone().into();
            }
            document
        }

        fn print(&self, console: &mut Console, shares: i64, threshold: i64) -> std::io::Result<()> {
            let encrypted = !self.age.is_empty();
            let keys = if encrypted { &self.age } else { &self.base64 };
            for (number, key) in (1..).zip(keys) {
                match encrypted {
                    true => {
                        console.print(&format!("Unseal Key {number} (age):\n{}\n", key.trim()))?
                    }
                    false => console.print(&format!("Unseal Key {number}: {key}"))?,
                }
            }
            console.print(&format!(
                "\nInitial Root Token: {}\n",
                self.root_token.expose()
            ))?;
            console.print(&format!(
                "The store is initialized with {shares} key shares and a threshold of {threshold}. \
                 Give the\nshares to their holders now: nobody can print them again. After each \
                 start and\neach seal, {threshold} of them unseal the store. Without {threshold} \
                 of them it stays sealed for ever."
            ))
        }
    }
}

pub(super) mod unseal {
    //! `operator unseal`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "unseal",
            "Hand in one share of the unseal key",
            "Without an argument the share is asked for, without echo, or read from standard \
             input. Run it once for each share until the threshold is reached. A share that is \
             given as an argument can be seen in the process list.",
            "zonehead operator unseal
             age -d -i me.key share.age | zonehead operator unseal
             zonehead operator unseal -reset",
        );
        connected(formatted(command.args([
            switch("reset", "Drop the shares that were handed in so far."),
            optional(
                "share",
                "SHARE",
                "One share, hex or base64; @file; - for standard input.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let (body, failure) = match cx.is_on("reset") {
            true => (json!({ "reset": true }), "Error resetting unseal process"),
            false => {
                let share = share(&mut cx)?;
                (json!({ "key": share.expose() }), "Error unsealing")
            }
        };
        let client = cx.client()?;
        let answer = client
            .document(Method::PUT, "sys/unseal", Some(&body))
            .await;
        let answer = answer.map_err(Failure::of(failure))?;
        status::print(cx.console, &output, &client, answer).await?;
        Ok(0)
    }

    fn share(cx: &mut Context<'_>) -> Result<Secret<String>, Failure> {
        let share = match cx.text("share").map(str::to_owned) {
            Some(given) => values::read_one(&given, &mut *cx.console.input)?,
            None if cx.is_on("non-interactive") => {
                return Err(Failure::usage(
                    "Not enough arguments: -non-interactive wants the share as an argument",
                ));
            }
            None if cx.can_ask() => cx.ask("Unseal Key (will be hidden): ")?,
            None => values::read_one("-", &mut *cx.console.input)?,
        };
        let share = Secret::new(share.expose().trim().to_owned());
        match share.expose().is_empty() {
            true => Err(Failure::usage("The share is empty")),
            false => Ok(share),
        }
    }
}

pub(super) mod seal {
    //! `operator seal`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        connected(leaf(
            "seal",
            "Seal the store: wipe its keys from memory",
            "Every request but status and unseal fails until the threshold of shares was handed in \
             again. Needs sudo on sys/seal.",
            "zonehead operator seal",
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let reply = cx.client()?.write("sys/seal", &json!({})).await;
        reply.map_err(Failure::of("Error sealing"))?;
        cx.console.print("Success! The store is sealed.")?;
        Ok(0)
    }
}

pub(super) mod rotate {
    //! `operator rotate`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        connected(formatted(leaf(
            "rotate",
            "Begin a new term of the encryption key",
            "What is written from now on is encrypted with the new key; what is stored stays \
             readable. The shares do not change.",
            "zonehead operator rotate",
        )))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let client = cx.client()?;
        let reply = client.write("sys/rotate", &json!({})).await;
        reply.map_err(Failure::of("Error rotating key"))?;
        let status = read(client.read("sys/key-status", &[]).await)?;
        if output.is_table() {
            cx.console.print("Success! Rotated key\n")?;
        }
        print(&mut cx, &output, status)
    }
}

pub(super) mod key_status {
    //! `operator key-status`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        connected(formatted(leaf(
            "key-status",
            "Show the term of the encryption key",
            "And how often it was used.",
            "zonehead operator key-status",
        )))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let status = read(cx.client()?.read("sys/key-status", &[]).await)?;
        print(&mut cx, &output, status)
    }
}

fn read(
    reply: Result<Option<crate::client::Reply>, ClientError>,
) -> Result<Map<String, Value>, Failure> {
    let reply = reply.map_err(Failure::of("Error reading key status"))?;
    let data = reply.and_then(|reply| reply.data);
    data.ok_or_else(|| Failure::failed("Error reading key status: the answer is empty"))
}

fn print(cx: &mut Context<'_>, output: &Output, status: Map<String, Value>) -> Outcome {
    if !output.is_table() {
        return output.value(cx.console, &Value::Object(status));
    }
    let shown = |name: &str| plain(status.get(name).unwrap_or(&Value::Null));
    cx.console.print(&columns(&[
        row("Key Term", &shown("term")),
        row("Install Time", &rfc822(&shown("install_time"))),
        row("Encryption Count", &shown("encryptions")),
    ]))?;
    Ok(0)
}

/// `2026-11-18T11:06:40.12Z` as `18 Nov 26 11:06 UTC`; any other text as it is.
fn rfc822(text: &str) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let short = || {
        // Its Display is RFC 3339 in UTC.
        let text = zone_types::Timestamp::parse_rfc3339(text)?.to_string();
        let month: usize = text.get(5..7)?.parse().ok()?;
        let month = MONTHS.get(month.checked_sub(1)?)?;
        let (year, day, clock) = (text.get(2..4)?, text.get(8..10)?, text.get(11..16)?);
        Some(format!("{day} {month} {year} {clock} UTC"))
    };
    short().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::rfc822;

    #[test]
    fn install_time_is_short() {
        assert_eq!(rfc822("2026-11-18T11:06:40.12Z"), "18 Nov 26 11:06 UTC");
        assert_eq!(rfc822("2026-01-01T00:30:00+01:00"), "31 Dec 25 23:30 UTC");
        assert_eq!(rfc822("soon"), "soon");
    }
}
