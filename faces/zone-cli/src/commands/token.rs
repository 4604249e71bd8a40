//! `token …`.

use clap::Command;
use serde_json::{Map, Value, json};
use zone_types::Secret;

use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::spec::{
    connected, fielded, flag, formatted, leaf, many, number, optional, rest, switch,
};
use crate::values;

pub(super) mod create {
    //! `token create`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "create",
            "Make a token",
            "The token is a child of yours, dies with it, and has your policies unless -policy \
             names others.",
            "zonehead token create -policy=app -ttl=24h
             zonehead token create -orphan -period=1h -policy=backup -field=token",
        );
        connected(fielded(command.args([
            many("policy", "name", "A policy; can be given several times."),
            flag("ttl", "duration", "Life, like 30s or 24h."),
            flag(
                "explicit-max-ttl",
                "duration",
                "Longest life, renewals included.",
            ),
            flag(
                "period",
                "duration",
                "Renewable for ever, each time by so much.",
            ),
            switch("renewable", "Whether it can be renewed. Default: true."),
            switch("orphan", "Without a parent: it outlives your token."),
            switch("no-default-policy", "Without the policy named default."),
            number("use-limit", "Requests that it can make; 0 for no limit."),
            flag("display-name", "name", "A name for the audit trail."),
            many(
                "metadata",
                "key=value",
                "A note for the audit trail; several times.",
            ),
            flag(
                "id",
                "token",
                "The token's text; needs sudo. @file and - work.",
            ),
            flag("role", "name", "A token role."),
            flag(
                "type",
                "type",
                "service, or batch: not stored, not renewable, ends by its time.",
            ),
            flag(
                "entity-alias",
                "name",
                "With a role: the identity behind the token.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let body = body(&mut cx)?;
        let path = match cx.text("role") {
            Some(role) => format!("auth/token/create/{role}"),
            None => "auth/token/create".to_owned(),
        };
        let reply = cx.client()?.write(&path, &Value::Object(body)).await;
        let reply = reply.map_err(Failure::of("Error creating token"))?;
        match reply {
            Some(reply) => output.reply(cx.console, &reply),
            None => Err(Failure::failed("Error creating token: the answer is empty")),
        }
    }

    fn body(cx: &mut Context<'_>) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if let Some(id) = cx.text("id").map(str::to_owned) {
            let id = values::read_one(&id, &mut *cx.console.input)?;
            body.insert("id".into(), id.expose().trim().into());
        }
        let texts = [
            ("ttl", "ttl"),
            ("explicit-max-ttl", "explicit_max_ttl"),
            ("period", "period"),
            ("display-name", "display_name"),
            ("type", "type"),
            ("entity-alias", "entity_alias"),
        ];
        for (flag, field) in texts {
            if let Some(text) = cx.text(flag) {
                body.insert(field.into(), text.into());
            }
        }
        let policies = cx.list("policy");
        if !policies.is_empty() {
            body.insert("policies".into(), policies.into());
        }
        let meta = cx.pairs("metadata")?;
        if !meta.is_empty() {
            let meta: Map<String, Value> = meta
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect();
            body.insert("meta".into(), meta.into());
        }
        if let Some(uses) = cx.number("use-limit") {
            body.insert("num_uses".into(), uses.into());
        }
        body.insert("no_parent".into(), cx.is_on("orphan").into());
        body.insert(
            "no_default_policy".into(),
            cx.is_on("no-default-policy").into(),
        );
        body.insert(
            "renewable".into(),
            cx.switch("renewable").unwrap_or(true).into(),
        );
        Ok(body)
    }
}

pub(super) mod lookup {
    //! `token lookup`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "lookup",
            "Show what the server knows of a token",
            "Of your own one if none is named.",
            "zonehead token lookup
             zonehead token lookup -accessor 8609694a-cdbc-db9b-d345-e782dbb562ed",
        );
        connected(fielded(command.args([
            switch(
                "accessor",
                "The argument is an accessor; the token is not shown.",
            ),
            optional(
                "token",
                "TOKEN",
                "The token or accessor; - for standard input.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let named = named(&mut cx)?;
        let client = cx.client()?;
        let reply = match named {
            None => client.read("auth/token/lookup-self", &[]).await,
            Some((field, text)) => {
                let path = if field == "token" {
                    "lookup"
                } else {
                    "lookup-accessor"
                };
                let body = json!({ field: text.expose() });
                client.write(&format!("auth/token/{path}"), &body).await
            }
        };
        let reply = reply.map_err(Failure::of("Error looking up token"))?;
        match reply {
            Some(reply) => output.reply(cx.console, &reply),
            None => Err(Failure::failed(
                "Error looking up token: the answer is empty",
            )),
        }
    }
}

pub(super) mod renew {
    //! `token renew`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "renew",
            "Make a token live longer",
            "Your own one if none is named.",
            "zonehead token renew
             zonehead token renew -increment=30m hvs.…",
        );
        connected(formatted(
            command.args([
                switch(
                    "accessor",
                    "The argument is an accessor; the token is not shown.",
                ),
                flag(
                    "increment",
                    "duration",
                    "How much longer; the server may give less.",
                )
                .alias("i"),
                optional(
                    "token",
                    "TOKEN",
                    "The token or accessor; - for standard input.",
                ),
            ]),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let named = named(&mut cx)?;
        let mut body = Map::new();
        if let Some(increment) = cx.text("increment") {
            body.insert("increment".into(), increment.into());
        }
        let path = match &named {
            None => "renew-self",
            Some((field, text)) => {
                body.insert((*field).into(), text.expose().as_str().into());
                if *field == "token" {
                    "renew"
                } else {
                    "renew-accessor"
                }
            }
        };
        let reply = cx
            .client()?
            .write(&format!("auth/token/{path}"), &body.into())
            .await;
        let reply = reply.map_err(Failure::of("Error renewing token"))?;
        match reply {
            Some(reply) => output.reply(cx.console, &reply),
            None => Err(Failure::failed("Error renewing token: the answer is empty")),
        }
    }
}

pub(super) mod revoke {
    //! `token revoke`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "revoke",
            "Revoke a token and its children",
            "Name the token, its accessor with -accessor, or your own with -self.",
            "zonehead token revoke -accessor 8609694a-cdbc-db9b-d345-e782dbb562ed
             zonehead token revoke -self
             zonehead token revoke -mode=orphan hvs.…
             zonehead token revoke -mode=path auth/approle/login",
        );
        connected(command.args([
            switch("accessor", "The argument is an accessor."),
            switch("self", "Revoke your own token."),
            flag(
                "mode",
                "mode",
                "orphan: leave the children alive. path: the argument is a path, and all tokens \
                 made below it end.",
            ),
            optional(
                "token",
                "TOKEN",
                "The token or accessor; - for standard input.",
            ),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let named = named(&mut cx)?;
        let (own, mode) = (cx.is_on("self"), cx.text("mode").unwrap_or_default());
        let (path, body) = match (named, own, mode) {
            (None, true, "") => ("revoke-self", json!({})),
            (Some(_), true, _) => {
                return Err(Failure::usage("Too many arguments with -self"));
            }
            (_, true, _) => return Err(Failure::usage("Cannot use -self with -mode")),
            (None, false, _) => {
                return Err(Failure::usage(
                    "Not enough arguments: name the token or use -self",
                ));
            }
            (Some(("accessor", text)), _, "") => {
                ("revoke-accessor", json!({ "accessor": text.expose() }))
            }
            (Some(("accessor", _)), ..) => {
                return Err(Failure::usage("Cannot use -accessor with -mode"));
            }
            (Some((_, text)), _, "") => ("revoke", json!({ "token": text.expose() })),
            (Some((_, text)), _, "orphan") => ("revoke-orphan", json!({ "token": text.expose() })),
            (Some((_, text)), _, "path") => {
                let path = trimmed(text.expose()).to_owned();
                return by_path(cx, &path).await;
            }
            (.., mode) => return Err(Failure::usage(format!("Invalid mode: {mode}"))),
        };
        let reply = cx
            .client()?
            .write(&format!("auth/token/{path}"), &body)
            .await;
        reply.map_err(Failure::of("Error revoking token"))?;
        cx.console.print("Success! Revoked token (if it existed)")?;
        Ok(0)
    }
}

/// `token revoke -mode=path`.
async fn by_path(mut cx: Context<'_>, path: &str) -> Outcome {
    let path = format!("sys/leases/revoke-prefix/{path}");
    let reply = cx.client()?.write(&path, &json!({})).await;
    reply.map_err(Failure::of("Error revoking token"))?;
    cx.console.print("Success! Revoked token (if it existed)")?;
    Ok(0)
}

pub(super) mod capabilities {
    //! `token capabilities`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "capabilities",
            "Show what a token may do at a path",
            "Your own one if only a path is given.",
            "zonehead token capabilities secret/data/app
             zonehead token capabilities hvs.… secret/data/app",
        );
        connected(formatted(command.args([
            switch("accessor", "The first of two arguments is an accessor."),
            rest(
                "arguments",
                "[TOKEN] PATH",
                "The token, or none for your own; and the path.",
            ),
        ])))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let arguments = cx.all("arguments");
        let (endpoint, body, path) = match &arguments[..] {
            [] => return Err(Failure::usage("Not enough arguments: PATH is missing")),
            [path] => ("capabilities-self", json!({ "paths": [path] }), path),
            [accessor, path] if cx.is_on("accessor") => (
                "capabilities-accessor",
                json!({ "accessor": accessor, "paths": [path] }),
                path,
            ),
            [token, path] => {
                let token = values::read_one(token, &mut *cx.console.input)?;
                let token = token.expose().trim();
                (
                    "capabilities",
                    json!({ "token": token, "paths": [path] }),
                    path,
                )
            }
            _ => return Err(Failure::usage("Too many arguments")),
        };
        let reply = cx.client()?.write(&format!("sys/{endpoint}"), &body).await;
        let reply = reply.map_err(Failure::of("Error listing capabilities"))?;
        let granted = reply
            .as_ref()
            .and_then(|reply| reply.field("capabilities").or_else(|| reply.field(path)));
        let granted = crate::client::texts(granted);
        match granted.is_empty() {
            true => Err(Failure::usage("No capabilities found")),
            false => print(&mut cx, &output, granted),
        }
    }

    fn print(cx: &mut Context<'_>, output: &Output, mut granted: Vec<String>) -> Outcome {
        if !output.is_table() {
            return output.value(cx.console, &granted.into());
        }
        granted.sort();
        cx.console.print(&granted.join(", "))?;
        Ok(0)
    }
}

/// The token or accessor that is named, with the field that holds it in a request.
fn named(cx: &mut Context<'_>) -> Result<Option<(&'static str, Secret<String>)>, Failure> {
    let is_accessor = cx.is_on("accessor");
    let Some(text) = cx.text("token").map(str::to_owned) else {
        return match is_accessor {
            true => Err(Failure::usage(
                "Not enough arguments with -accessor: name the accessor",
            )),
            false => Ok(None),
        };
    };
    let text = values::read_one(&text, &mut *cx.console.input)?;
    let text = Secret::new(text.expose().trim().to_owned());
    Ok(Some((if is_accessor { "accessor" } else { "token" }, text)))
}
