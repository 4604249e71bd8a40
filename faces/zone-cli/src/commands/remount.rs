//! `secrets move`, `auth move`.

use clap::Command;
use serde_json::{Value, json};

use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, leaf, required};

pub(super) mod secrets {
    //! `secrets move`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        described(
            "Move a secrets engine to another path",
            "zonehead secrets move secret/ team/secret/",
        )
    }

    pub(in crate::commands) async fn run(cx: Context<'_>) -> Outcome {
        moved(cx, "", "secrets engine").await
    }
}

pub(super) mod auth {
    //! `auth move`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        described(
            "Move an auth method to another path",
            "zonehead auth move approle/ machines/",
        )
    }

    pub(in crate::commands) async fn run(cx: Context<'_>) -> Outcome {
        moved(cx, "auth/", "auth method").await
    }
}

fn described(about: &'static str, example: &'static str) -> Command {
    let command = leaf(
        "move",
        about,
        "All that it holds moves along, at once. Policies and clients that name the old path must \
         be changed by hand. Needs sudo on sys/remount.",
        example,
    );
    connected(command.args([
        required("from", "FROM", "Where it is mounted."),
        required("to", "TO", "Where it is to be."),
    ]))
}

async fn moved(mut cx: Context<'_>, below: &str, what: &str) -> Outcome {
    let (from, to) = (side(&cx, below, "from"), side(&cx, below, "to"));
    let client = cx.client()?;
    let failure = || Failure::of(format!("Error moving {what} {from}/ to {to}/"));
    let reply = client
        .write("sys/remount", &json!({ "from": from, "to": to }))
        .await;
    let reply = reply.map_err(failure())?;
    let data = reply.and_then(|reply| reply.data).unwrap_or_default();
    let id = data
        .get("migration_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // Done when it answered; asked all the same, as other servers go on in the background.
    let status = client.read(&format!("sys/remount/status/{id}"), &[]).await;
    let status = status
        .map_err(failure())?
        .and_then(|reply| reply.data)
        .unwrap_or_default();
    match status.get("migration_info").map(|info| &info["status"]) {
        Some(Value::String(status)) if status == "success" => {
            cx.console
                .print(&format!("Success! Moved {what} {from}/ to {to}/"))?;
            Ok(0)
        }
        _ => Err(Failure::failed(format!(
            "The {what} is not moved yet: see 'zonehead read sys/remount/status/{id}'"
        ))),
    }
}

/// A path below `sys/`, whether or not it was given with what it stands below.
fn side(cx: &Context<'_>, below: &str, name: &str) -> String {
    let path = trimmed(cx.required(name));
    format!("{below}{}", path.strip_prefix(below).unwrap_or(path))
}
