//! `kv …`: secrets in a key-value engine, version 2 or 1.

pub(super) mod metadata;
mod place;
mod versions;

use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use super::{generic, written};
use crate::client::{Client, ClientError, Reply};
use crate::console::Console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::table::{banner, banner_over, key_values};
use crate::output::{Output, warnings};
use crate::spec::{
    connected, fielded, flag, formatted, leaf, many, number, optional, required, rest,
};
use crate::values;
use place::Place;
pub(super) use versions::{destroy, rollback, undelete};

const DATA: &str = "key=value, key=@file, key=- (standard input), @file.json or - (JSON).";

pub(super) mod get {
    //! `kv get`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "get",
            "Read a secret",
            "The newest version, or the one that -version names.",
            "zonehead kv get -mount=secret app/db
             zonehead kv get -mount=secret -field=password app/db
             zonehead kv get -mount=secret -version=1 app/db",
        );
        connected(fielded(command.args([
            number("version", "Which version. Default: the newest."),
            mount(),
            required(
                "key",
                "KEY",
                "The secret; with its mount in front if -mount is not given.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let client = cx.client()?;
        let place = Place::find(&mut cx, &client).await?;
        let path = place.at("data");
        let mut query = Vec::new();
        if let Some(version) = cx
            .number("version")
            .filter(|version| place.v2 && *version > 0)
        {
            query.push(("version".to_owned(), version.to_string()));
        }
        let reply = client.read(&path, &query).await;
        let reply = reply.map_err(Failure::of(format!("Error reading {path}")))?;
        let reply = reply.ok_or_else(|| Failure::failed(format!("No value found at {path}")))?;
        match &output.field {
            Some(name) if place.v2 => field(&mut cx, &output, &reply, name, &path),
            None if output.is_table() => secret(&mut cx, &reply, &place, &path),
            _ => output.reply(cx.console, &reply),
        }
    }

    /// A field of a secret; `data` is the whole of it, unless it has a field of that name.
    fn field(
        cx: &mut Context<'_>,
        output: &Output,
        reply: &Reply,
        name: &str,
        path: &str,
    ) -> Outcome {
        let data = reply.field("data").filter(|data| !data.is_null());
        let data = data.ok_or_else(|| Failure::failed(format!("No data found at {path}")))?;
        let value = match data.get(name) {
            None if name == "data" => Some(data),
            value => value,
        };
        output.one_field(cx.console, value, name, "secret")
    }

    fn secret(cx: &mut Context<'_>, reply: &Reply, place: &Place, path: &str) -> Outcome {
        warnings(cx.console, reply)?;
        let metadata = reply.field("metadata").and_then(Value::as_object);
        if place.v2 {
            print_path(cx.console, path, "Secret Path")?;
        }
        if let Some(metadata) = metadata {
            print_banner(cx.console, "Metadata", metadata)?;
            cx.console.print("")?;
        }
        let data = match place.v2 {
            true => reply.field("data").and_then(Value::as_object),
            false => reply.data.as_ref(),
        };
        if let Some(data) = data {
            print_banner(cx.console, "Data", data)?;
        }
        Ok(0)
    }
}

pub(super) mod put {
    //! `kv put`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "put",
            "Write a secret",
            "Makes a new version that holds exactly what is given; 'kv patch' keeps the other \
             keys.",
            "zonehead kv put -mount=secret app/db user=app password=@password.txt
             zonehead kv put -mount=secret -cas=0 app/db @secret.json
             pwgen 32 1 | zonehead kv put -mount=secret app/db password=-",
        );
        connected(fielded(command.args([
            number(
                "cas",
                "Write only if this is the newest version; 0: only if there is none.",
            ),
            mount(),
            required(
                "key",
                "KEY",
                "The secret; with its mount in front if -mount is not given.",
            ),
            rest("data", "DATA", DATA),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let mut data = Value::Object(data(&mut cx, true)?);
        let client = cx.client()?;
        let place = Place::find(&mut cx, &client).await?;
        let path = place.at("data");
        if place.v2 {
            let cas = cx.number("cas").filter(|cas| *cas > -1);
            data = json!({ "data": data, "options": options(cas) });
        }
        let result = client.write(&path, &data).await;
        stored(&mut cx, &output, result, &path)
    }
}

pub(super) mod patch {
    //! `kv patch`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "patch",
            "Change some keys of a secret, keep the others",
            "Makes a new version. Sends a merge patch, which wants the capability 'patch'; if that \
             is refused it reads, changes and writes with a check that nobody wrote in between. \
             -method=patch or -method=rw chooses one of the two.",
            "zonehead kv patch -mount=secret app/db password=@new.txt
             zonehead kv patch -mount=secret -remove-data=old app/db",
        );
        connected(fielded(command.args([
            number("cas", "Write only if this is the newest version."),
            flag("method", "method", "patch or rw. Default: patch, then rw."),
            many(
                "remove-data",
                "key",
                "A key to remove; can be given several times.",
            ),
            mount(),
            required(
                "key",
                "KEY",
                "The secret; with its mount in front if -mount is not given.",
            ),
            rest("data", "DATA", DATA),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let removed = cx.all("remove-data");
        let mut changes = data(&mut cx, removed.is_empty())?;
        changes.extend(removed.into_iter().map(|key| (key, Value::Null)));
        let method = cx.text("method").unwrap_or_default().to_owned();
        if !matches!(method.as_str(), "" | "rw" | "patch") {
            return Err(Failure::usage(format!(
                "Unsupported method provided to -method: {method}"
            )));
        }
        let cas = cx.number("cas").filter(|cas| *cas > 0);
        let client = cx.client()?;
        let place = Place::find(&mut cx, &client).await?;
        place.must_be_v2("patch")?;
        let path = place.at("data");
        let result = match method.as_str() {
            "rw" => rewrite(&client, &path, changes, cas).await?,
            _ => {
                let body = json!({ "data": changes, "options": options(cas) });
                match client.patch(&path, &body).await {
                    Err(error) if method.is_empty() && can_go_on(&error) => {
                        let rewritten = rewrite(&client, &path, changes, cas).await?;
                        advise(cx.console, &path, &rewritten)?;
                        rewritten
                    }
                    result => result,
                }
            }
        };
        stored(&mut cx, &output, result, &path)
    }

    /// Whether reading and writing may do where patching was refused.
    fn can_go_on(error: &ClientError) -> bool {
        matches!(error.status(), Some(403 | 405))
    }

    fn advise(
        console: &mut Console,
        path: &str,
        result: &Result<Option<Reply>, ClientError>,
    ) -> std::io::Result<()> {
        match result {
            Ok(_) => console.warn(&format!(
                "The server refused to patch {path}, so it was read and written again. Grant the \
                 capability 'patch' to spare that.\n"
            )),
            Err(_) => Ok(()),
        }
    }

    /// Reads, changes and writes, if nobody wrote in between and `cas` is the newest version.
    async fn rewrite(
        client: &Client,
        path: &str,
        changes: Map<String, Value>,
        cas: Option<i64>,
    ) -> Result<Result<Option<Reply>, ClientError>, Failure> {
        let (mut data, version) = versions::read_for_write(client, path, None, "patch").await?;
        for (key, value) in changes {
            match value {
                Value::Null => drop(data.shift_remove(&key)),
                value => drop(data.insert(key, value)),
            }
        }
        let version = cas.map_or(version, Value::from);
        let body = json!({ "data": data, "options": { "cas": version } });
        Ok(client.write(path, &body).await)
    }
}

pub(super) mod list {
    //! `kv list`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "list",
            "List secrets",
            "Names that end in / hold more. The exit code is 2 if nothing is there.",
            "zonehead kv list -mount=secret
             zonehead kv list -mount=secret app/",
        );
        connected(formatted(command.args([
            mount(),
            optional(
                "key",
                "PATH",
                "Where; with the mount in front if -mount is not given.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        if cx.text("mount").is_none() && cx.text("key").is_none() {
            return Err(Failure::usage("Not enough arguments: PATH is missing"));
        }
        let client = cx.client()?;
        let place = Place::find(&mut cx, &client).await?;
        let path = place.at("metadata");
        let reply = client.list(&path, &[]).await;
        let reply = reply.map_err(Failure::of(format!("Error listing {path}")))?;
        generic::listed(cx.console, &output, reply, &path)
    }
}

pub(super) mod delete {
    //! `kv delete`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "delete",
            "Hide versions of a secret",
            "The newest version, or those that -versions names. 'kv undelete' brings them back, \
             'kv destroy' removes them for good, 'kv metadata delete' removes the whole secret.",
            "zonehead kv delete -mount=secret app/db
             zonehead kv delete -mount=secret -versions=1,2 app/db",
        );
        connected(fielded(command.args([
            many("versions", "n,…", "Which versions. Default: the newest."),
            mount(),
            required(
                "key",
                "KEY",
                "The secret; with its mount in front if -mount is not given.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let numbers = cx.list("versions");
        let client = cx.client()?;
        let place = Place::find(&mut cx, &client).await?;
        let path = place.at("data");
        let result = match place.v2 && !numbers.is_empty() {
            true => {
                client
                    .write(&place.at("delete"), &json!({ "versions": numbers }))
                    .await
            }
            false => client.delete(&path, &[]).await,
        };
        let success = format!("Success! Data deleted (if it existed) at: {path}");
        written(
            cx.console,
            &output,
            result,
            &format!("Error deleting {path}"),
            &success,
        )
    }
}

pub(super) mod enable_versioning {
    //! `kv enable-versioning`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "enable-versioning",
            "Make a mount of version 1 one of version 2",
            "The secrets are moved in the background, also across a restart; until all are moved \
             the mount answers 400. There is no way back.",
            "zonehead kv enable-versioning secret/",
        );
        connected(command.arg(required("mount", "MOUNT", "Where the engine is mounted.")))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let mount = cx.text("mount").unwrap_or_default().trim_matches('/');
        let path = format!("sys/mounts/{mount}/tune");
        let success = format!("Success! Tuned the secrets engine at: {mount}/");
        let client = cx.client()?;
        let body = json!({ "options": { "version": "2" } });
        let tuned = client.write(&path, &body).await;
        tuned.map_err(Failure::of("Error tuning secrets engine"))?;
        cx.console.print(&success)?;
        Ok(0)
    }
}

/// `-mount`.
fn mount() -> Arg {
    flag(
        "mount",
        "path",
        "Where the engine is mounted. Without it the first argument begins with the mount, and \
         the server is asked where that ends.",
    )
}

fn options(cas: Option<i64>) -> Value {
    cas.map_or_else(|| json!({}), |cas| json!({ "cas": cas }))
}

/// The arguments behind the key.
fn data(cx: &mut Context<'_>, must_be_there: bool) -> Result<Map<String, Value>, Failure> {
    let data = cx.all("data");
    if data.is_empty() && must_be_there {
        return Err(Failure::usage("Must supply data"));
    }
    Ok(values::read(
        data.iter().map(String::as_str),
        &mut *cx.console.input,
    )?)
}

/// Prints the answer to a write of a secret: what is known of the new version.
fn stored(
    cx: &mut Context<'_>,
    output: &Output,
    result: Result<Option<Reply>, ClientError>,
    path: &str,
) -> Outcome {
    if let (Ok(Some(reply)), true, None) = (&result, output.is_table(), &output.field)
        && let Some(data) = &reply.data
    {
        warnings(cx.console, reply)?;
        print_path(cx.console, path, "Secret Path")?;
        print_banner(cx.console, "Metadata", data)?;
        return Ok(0);
    }
    let success = format!("Success! Data written to: {path}");
    written(
        cx.console,
        output,
        result,
        &format!("Error writing data to {path}"),
        &success,
    )
}

fn print_path(console: &mut Console, path: &str, title: &str) -> std::io::Result<()> {
    console.print(&banner(title, path.len()))?;
    console.print(path)?;
    console.print("")
}

/// Prints a titled table.
fn print_banner(
    console: &mut Console,
    title: &str,
    map: &Map<String, Value>,
) -> std::io::Result<()> {
    console.print(&banner_over(title, map))?;
    match map.is_empty() {
        true => Ok(()),
        false => console.print(&key_values(map)),
    }
}
