//! `read`, `write`, `list`, `delete`, `patch`: any path of the API.

use clap::Command;
use serde_json::{Value, json};

use crate::client::{Reply, Request};
use crate::console::Console;
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Output};
use crate::spec::{connected, fielded, flag, formatted, leaf, number, required, rest, switch};
use crate::values;

const DATA: &str = "key=value, key=@file, key=- (standard input), @file.json or - (JSON from \
                    standard input).";

pub(super) mod read {
    //! `read`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "read",
            "Read any path",
            "Prints what the API answers for the path. -format=raw prints the body as it came, \
             for endpoints like pki/ca/pem that answer no JSON.",
            "zonehead read sys/mounts/secret/tune
             zonehead read -field=certificate pki/cert/ca
             zonehead read -format=raw pki/crl/pem",
        );
        connected(fielded(command.args([
            required("path", "PATH", "Path below /v1/."),
            rest("data", "DATA", "key=value arguments for the query string."),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let path = trimmed(cx.required("path")).to_owned();
        let query = query(&mut cx)?;
        let client = cx.client()?;
        let failure = format!("Error reading {path}");
        if output.format == Format::Raw {
            let request = Request {
                method: http::Method::GET,
                path: &path,
                query: &query,
                body: None,
                plain: false,
            };
            let response = client.send(&request).await.map_err(Failure::of(&failure))?;
            if !(200..300).contains(&response.status) {
                return Err(Failure::of(&failure)(client.refused(response).into()));
            }
            return output::raw(cx.console, &response.body);
        }
        let reply = client
            .read(&path, &query)
            .await
            .map_err(Failure::of(failure))?;
        let reply = reply.ok_or_else(|| Failure::failed(format!("No value found at {path}")))?;
        output.reply(cx.console, &reply)
    }
}

pub(super) mod write {
    //! `write`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "write",
            "Write to any path",
            "Values are text; a JSON document with other types comes from @file.json or -. For \
             secrets in a key-value engine use 'kv put'.",
            "zonehead write pki/issue/web common_name=db.example ttl=24h
             zonehead write auth/token/create @token.json
             zonehead write -force sys/rotate",
        );
        connected(fielded(command.args([
            switch("force", "Write without data.").alias("f"),
            required("path", "PATH", "Path below /v1/."),
            rest("data", "DATA", DATA),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let (path, data) = path_and_data(&mut cx)?;
        let result = cx.client()?.write(&path, &data).await;
        written(&mut cx, &output, result, &path)
    }
}

pub(super) mod patch {
    //! `patch`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "patch",
            "Change parts of what is at a path",
            "Sends a JSON merge patch (RFC 7396): keys that are not given stay, null removes one. \
             For secrets in a key-value engine use 'kv patch'.",
            "zonehead patch pki/roles/web ttl=12h
             zonehead patch secret/metadata/app @notes.json",
        );
        connected(fielded(command.args([
            switch("force", "Patch without data.").alias("f"),
            required("path", "PATH", "Path below /v1/."),
            rest("data", "DATA", DATA),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let (path, data) = path_and_data(&mut cx)?;
        let result = cx.client()?.patch(&path, &data).await;
        written(&mut cx, &output, result, &path)
    }
}

pub(super) mod list {
    //! `list`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "list",
            "List what is below a path",
            "The exit code is 2 if nothing is there.",
            "zonehead list pki/certs
             zonehead list -format=json auth/token/accessors",
        );
        connected(formatted(command.args([
            flag("after", "key", "Only keys behind this one."),
            number("limit", "At most so many keys."),
            required("path", "PATH", "Path below /v1/."),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let path = trimmed(cx.required("path")).to_owned();
        let mut query = Vec::new();
        if let Some(after) = cx.text("after") {
            query.push(("after".to_owned(), after.to_owned()));
        }
        if let Some(limit) = cx.number("limit").filter(|limit| *limit > 0) {
            query.push(("limit".to_owned(), limit.to_string()));
        }
        let reply = cx.client()?.list(&path, &query).await;
        let reply = reply.map_err(Failure::of(format!("Error listing {path}")))?;
        listed(cx.console, &output, reply, &path)
    }
}

pub(super) mod delete {
    //! `delete`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "delete",
            "Delete what is at a path",
            "For secrets in a key-value engine use 'kv delete'.",
            "zonehead delete pki/roles/web
             zonehead delete sys/policies/acl/old",
        );
        connected(fielded(command.args([
            required("path", "PATH", "Path below /v1/."),
            rest("data", "DATA", "key=value arguments for the query string."),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let path = trimmed(cx.required("path")).to_owned();
        let query = query(&mut cx)?;
        let result = cx.client()?.delete(&path, &query).await;
        let success = format!("Success! Data deleted (if it existed) at: {path}");
        let failure = format!("Error deleting {path}");
        super::super::written(cx.console, &output, result, &failure, &success)
    }
}

/// Prints the keys of a list; the exit code is 2 if there are none.
pub(super) fn listed(
    console: &mut Console,
    output: &Output,
    reply: Option<Reply>,
    path: &str,
) -> Outcome {
    let Some(reply) = reply else {
        if !output.is_table() {
            output.value(console, &json!({}))?;
            return Ok(2);
        }
        return Err(Failure::failed(format!("No value found at {path}")));
    };
    match reply.keys() {
        Some(keys) => output.keys(console, &reply, &keys),
        None if output.is_table() && reply.data.is_none() => output.reply(console, &reply),
        None if output.is_table() => Err(Failure::failed(format!("No entries found at {path}"))),
        None => {
            output.value(console, &json!({}))?;
            Ok(2)
        }
    }
}

fn query(cx: &mut Context<'_>) -> Result<Vec<(String, String)>, Failure> {
    let data = cx.all("data");
    let data = data.iter().map(String::as_str);
    Ok(values::read_pairs(data, &mut *cx.console.input)?)
}

/// What `write` and `patch` say in the end.
fn written(
    cx: &mut Context<'_>,
    output: &Output,
    result: Result<Option<Reply>, crate::client::ClientError>,
    path: &str,
) -> Outcome {
    let success = format!("Success! Data written to: {path}");
    let failure = format!("Error writing data to {path}");
    super::written(cx.console, output, result, &failure, &success)
}

fn path_and_data(cx: &mut Context<'_>) -> Result<(String, Value), Failure> {
    let path = trimmed(cx.required("path")).to_owned();
    let data = cx.all("data");
    if data.is_empty() && !cx.is_on("force") {
        return Err(Failure::usage("Must supply data or use -force"));
    }
    let data = values::read(data.iter().map(String::as_str), &mut *cx.console.input)?;
    Ok((path, Value::Object(data)))
}
