//! `kv undelete|destroy|rollback`: older versions.

use clap::Command;
use serde_json::{Map, Value, json};

use super::place::Place;
use super::{mount, stored};
use crate::client::Client;
use crate::commands::written;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, formatted, leaf, many, number, required};

const KEY: &str = "The secret; with its mount in front if -mount is not given.";

pub(in crate::commands) mod undelete {
    //! `kv undelete`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "undelete",
            "Bring back versions of a secret that 'kv delete' hid",
            "Versions that were destroyed do not come back.",
            "zonehead kv undelete -mount=secret -versions=3 app/db",
        );
        connected(formatted(command.args([
            many("versions", "n,…", "Which versions."),
            mount(),
            required("key", "KEY", KEY),
        ])))
    }

    pub(in crate::commands) async fn run(cx: Context<'_>) -> Outcome {
        change(cx, "undelete").await
    }
}

pub(in crate::commands) mod destroy {
    //! `kv destroy`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "destroy",
            "Remove the data of versions for good",
            "What is known about the versions stays.",
            "zonehead kv destroy -mount=secret -versions=1,2 app/db",
        );
        connected(formatted(command.args([
            many("versions", "n,…", "Which versions."),
            mount(),
            required("key", "KEY", KEY),
        ])))
    }

    pub(in crate::commands) async fn run(cx: Context<'_>) -> Outcome {
        change(cx, "destroy").await
    }
}

pub(in crate::commands) mod rollback {
    //! `kv rollback`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "rollback",
            "Make an older version of a secret the newest one",
            "Its data becomes a new version. Fails if somebody writes in between.",
            "zonehead kv rollback -mount=secret -version=2 app/db",
        );
        connected(formatted(command.args([
            number("version", "Which version."),
            mount(),
            required("key", "KEY", KEY),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let version = match cx.number("version") {
            Some(version) if version > 0 => version,
            Some(version) => {
                return Err(Failure::usage(format!(
                    "Invalid value {version} for -version"
                )));
            }
            None => return Err(Failure::usage("Say which version with -version")),
        };
        let client = cx.client()?;
        let place = Place::find(&mut cx, &client).await?;
        place.must_be_v2("rollback")?;
        let path = place.at("data");
        // A deleted newest version can be rolled back over: only its number is needed.
        let newest = newest(&client, &path).await?;
        let (data, _) = read_for_write(&client, &path, Some(version), "rollback").await?;
        let body = json!({ "data": data, "options": { "cas": newest } });
        let result = client.write(&path, &body).await;
        stored(&mut cx, &output, result, &path)
    }

    async fn newest(client: &Client, path: &str) -> Result<Value, Failure> {
        let reply = client.peek(path, &[]).await;
        let reply = reply.map_err(Failure::of(format!("Error doing pre-read at {path}")))?;
        let metadata = reply.as_ref().and_then(|reply| reply.field("metadata"));
        let version = metadata
            .and_then(|metadata| metadata.get("version"))
            .cloned();
        version.ok_or_else(|| Failure::failed(format!("No value found at {path}")))
    }
}

/// Posts version numbers to an area of the API.
async fn change(mut cx: Context<'_>, area: &str) -> Outcome {
    let output = cx.output()?;
    let numbers = cx.list("versions");
    if numbers.is_empty() {
        let text = format!("No versions provided, use -versions to name the versions to {area}");
        return Err(Failure::usage(text));
    }
    let client = cx.client()?;
    let place = Place::find(&mut cx, &client).await?;
    place.must_be_v2(area)?;
    let path = place.at(area);
    let result = client.write(&path, &json!({ "versions": numbers })).await;
    let success = format!("Success! Data written to: {path}");
    written(
        cx.console,
        &output,
        result,
        &format!("Error writing data to {path}"),
        &success,
    )
}

/// The data of a version that is to be written again, and the version's number.
pub(super) async fn read_for_write(
    client: &Client,
    path: &str,
    version: Option<i64>,
    what: &str,
) -> Result<(Map<String, Value>, Value), Failure> {
    let query: Vec<_> = version
        .iter()
        .map(|version| ("version".to_owned(), version.to_string()))
        .collect();
    let reply = client.peek(path, &query).await;
    let reply = reply.map_err(Failure::of(format!("Error doing pre-read at {path}")))?;
    let data = reply.and_then(|reply| reply.data);
    let mut data = data.ok_or_else(|| Failure::failed(format!("No value found at {path}")))?;
    let metadata = data.get("metadata").cloned().unwrap_or_default();
    if metadata["destroyed"] == true {
        let text = format!("Cannot {what}: the version at {path} has been destroyed");
        return Err(Failure::failed(text));
    }
    if metadata["deletion_time"]
        .as_str()
        .is_some_and(|at| !at.is_empty())
    {
        let text = format!("Cannot {what}: the version at {path} has been deleted");
        return Err(Failure::failed(text));
    }
    match data.remove("data") {
        Some(Value::Object(content)) => Ok((content, metadata["version"].clone())),
        _ => Err(Failure::failed(format!(
            "No data found at {path}; {what} only works on existing data"
        ))),
    }
}
