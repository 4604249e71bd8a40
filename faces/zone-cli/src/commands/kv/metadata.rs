//! `kv metadata …`.

use clap::{Arg, Command};
use serde_json::{Map, Value};

use super::place::Place;
use super::{mount, print_banner, print_path};
use crate::client::{Client, Reply};
use crate::commands::written;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::warnings;
use crate::spec::{connected, fielded, flag, formatted, leaf, many, number, required, switch};

const KEY: &str = "The secret; with its mount in front if -mount is not given.";

pub(in crate::commands) mod get {
    //! `kv metadata get`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "get",
            "Show the versions, limits and notes of a secret",
            "Shows no data of the secret.",
            "zonehead kv metadata get -mount=secret app/db",
        );
        connected(fielded(
            command.args([mount(), required("key", "KEY", KEY)]),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let (client, path) = place(&mut cx).await?;
        let reply = client.read(&path, &[]).await;
        let reply = reply.map_err(Failure::of(format!("Error reading {path}")))?;
        let reply = reply.ok_or_else(|| Failure::failed(format!("No value found at {path}")))?;
        match output.is_table() && output.field.is_none() {
            true => print(&mut cx, reply, &path),
            false => output.reply(cx.console, &reply),
        }
    }

    fn print(cx: &mut Context<'_>, reply: Reply, path: &str) -> Outcome {
        warnings(cx.console, &reply)?;
        let mut data = reply.data.unwrap_or_default();
        let versions = data.remove("versions");
        let versions = versions.as_ref().and_then(Value::as_object);
        let versions =
            versions.ok_or_else(|| Failure::failed(format!("No value found at {path}")))?;
        print_path(cx.console, path, "Metadata Path")?;
        print_banner(cx.console, "Metadata", &data)?;
        let mut numbered: Vec<(u64, &Map<String, Value>)> = versions
            .iter()
            .filter_map(|(number, version)| Some((number.parse().ok()?, version.as_object()?)))
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        for (number, version) in numbered {
            cx.console.print("")?;
            print_banner(cx.console, &format!("Version {number}"), version)?;
        }
        Ok(0)
    }
}

pub(in crate::commands) mod put {
    //! `kv metadata put`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "put",
            "Set the limits and notes of a secret",
            "Notes that are not given are dropped; 'kv metadata patch' keeps them.",
            "zonehead kv metadata put -mount=secret -max-versions=5 app/db
             zonehead kv metadata put -mount=secret -custom-metadata=owner=shop app/db",
        );
        connected(formatted(
            command
                .args(limits())
                .args([mount(), required("key", "KEY", KEY)]),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let mut body = fields(&cx);
        let notes = notes(&cx)?;
        if !notes.is_empty() {
            body.insert("custom_metadata".into(), notes.into());
        }
        let (client, path) = place(&mut cx).await?;
        let result = client.write(&path, &body.into()).await;
        let success = format!("Success! Data written to: {path}");
        written(
            cx.console,
            &output,
            result,
            &format!("Error writing data to {path}"),
            &success,
        )
    }
}

pub(in crate::commands) mod patch {
    //! `kv metadata patch`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "patch",
            "Change some limits and notes of a secret, keep the others",
            "Needs the capability 'patch'.",
            "zonehead kv metadata patch -mount=secret -custom-metadata=owner=shop app/db
             zonehead kv metadata patch -mount=secret -remove-custom-metadata=owner app/db",
        );
        connected(formatted(command.args(limits()).args([
            many(
                "remove-custom-metadata",
                "key",
                "A note to remove; can be given several times.",
            ),
            mount(),
            required("key", "KEY", KEY),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let mut body = fields(&cx);
        let mut notes = notes(&cx)?;
        notes.extend(
            cx.all("remove-custom-metadata")
                .into_iter()
                .map(|key| (key, Value::Null)),
        );
        if !notes.is_empty() {
            body.insert("custom_metadata".into(), notes.into());
        }
        let (client, path) = place(&mut cx).await?;
        let result = client.patch(&path, &body.into()).await;
        let success = format!("Success! Data written to: {path}");
        written(
            cx.console,
            &output,
            result,
            &format!("Error writing data to {path}"),
            &success,
        )
    }
}

pub(in crate::commands) mod delete {
    //! `kv metadata delete`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "delete",
            "Remove a secret with all its versions",
            "There is no way back.",
            "zonehead kv metadata delete -mount=secret app/db",
        );
        connected(command.args([mount(), required("key", "KEY", KEY)]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let (client, path) = place(&mut cx).await?;
        let reply = client.delete(&path, &[]).await;
        reply.map_err(Failure::of(format!("Error deleting {path}")))?;
        cx.console
            .print(&format!("Success! Data deleted (if it existed) at: {path}"))?;
        Ok(0)
    }
}

async fn place(cx: &mut Context<'_>) -> Result<(Client, String), Failure> {
    let client = cx.client()?;
    let place = Place::find(cx, &client).await?;
    place.must_be_v2("metadata")?;
    let path = place.at("metadata");
    Ok((client, path))
}

fn limits() -> [Arg; 4] {
    [
        number(
            "max-versions",
            "How many versions are kept; 0: what the mount says.",
        ),
        switch(
            "cas-required",
            "Whether each write must name the newest version (-cas).",
        ),
        flag(
            "delete-version-after",
            "duration",
            "When versions are deleted by themselves.",
        ),
        many(
            "custom-metadata",
            "key=value",
            "A note; can be given several times.",
        ),
    ]
}

fn fields(cx: &Context<'_>) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(most) = cx.number("max-versions").filter(|most| *most >= 0) {
        body.insert("max_versions".into(), most.into());
    }
    if let Some(required) = cx.switch("cas-required") {
        body.insert("cas_required".into(), required.into());
    }
    if let Some(span) = cx.text("delete-version-after") {
        body.insert("delete_version_after".into(), span.into());
    }
    body
}

fn notes(cx: &Context<'_>) -> Result<Map<String, Value>, Failure> {
    let notes = cx.pairs("custom-metadata")?;
    Ok(notes
        .into_iter()
        .map(|(key, value)| (key, value.into()))
        .collect())
}
