//! `unwrap`: the answer behind a wrapping token.

use clap::Command;
use serde_json::json;
use zone_types::Secret;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, fielded, leaf, optional};
use crate::values;

pub(super) fn describe() -> Command {
    let command = leaf(
        "unwrap",
        "Show the answer behind a wrapping token, once",
        "The token is used up by it. Without an argument it is the token that is at hand \
         (VAULT_TOKEN); no other token is needed.",
        "zonehead unwrap hvs.…
         zonehead unwrap -field=secret_id @wrapped",
    );
    connected(fielded(command.args([optional(
        "token",
        "TOKEN",
        "The wrapping token; - for standard input, @file for a file.",
    )])))
}

pub(super) async fn run(mut cx: Context<'_>) -> Outcome {
    let output = cx.output()?;
    let client = match cx.text("token").map(str::to_owned) {
        Some(text) => {
            let text = values::read_one(&text, &mut *cx.console.input)?;
            cx.client_with(Secret::new(text.expose().trim().to_owned()))?
        }
        None => cx.client()?,
    };
    if !client.has_token() {
        return Err(Failure::usage(
            "Not enough arguments: give the wrapping token",
        ));
    }
    let reply = client.write("sys/wrapping/unwrap", &json!({})).await;
    super::written(cx.console, &output, reply, "Error unwrapping", "")
}
