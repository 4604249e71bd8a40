//! `policy …`.

use clap::Command;
use serde_json::{Value, json};

use crate::console::read_bounded;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::spec::{connected, formatted, leaf, required};

pub(super) mod list {
    //! `policy list`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        connected(formatted(leaf(
            "list",
            "List the names of all policies",
            "One name a line.",
            "zonehead policy list",
        )))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let reply = cx.client()?.list("sys/policies/acl", &[]).await;
        let reply = reply.map_err(Failure::of("Error listing policies"))?;
        let reply = reply.unwrap_or_default();
        let names = reply.keys().unwrap_or_default();
        if !output.is_table() {
            return output.value(cx.console, &Value::from(names));
        }
        for name in names {
            cx.console.print(name)?;
        }
        Ok(0)
    }
}

pub(super) mod read {
    //! `policy read`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "read",
            "Show the text of a policy",
            "As it was written.",
            "zonehead policy read app",
        );
        connected(formatted(command.arg(required(
            "name",
            "NAME",
            "The policy.",
        ))))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let name = lowered(cx.required("name"));
        let reply = cx
            .client()?
            .read(&format!("sys/policies/acl/{name}"), &[])
            .await;
        let reply = reply.map_err(Failure::of(format!("Error reading policy named {name}")))?;
        let text = reply
            .as_ref()
            .and_then(|reply| reply.field("policy"))
            .and_then(Value::as_str);
        let text = text.ok_or_else(|| Failure::failed(format!("No policy named: {name}")))?;
        if !output.is_table() {
            return output.value(cx.console, &json!({ "policy": text }));
        }
        cx.console.print(text.trim())?;
        Ok(0)
    }
}

pub(super) mod write {
    //! `policy write`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "write",
            "Write a policy from a file or standard input",
            "Takes effect at once, also for tokens that have it already.",
            "zonehead policy write app app.hcl
             echo 'path \"secret/data/app\" { capabilities = [\"read\"] }' | zonehead policy write app -",
        );
        connected(command.args([
            required("name", "NAME", "The policy; the name is made lower-case."),
            required("file", "FILE", "HCL or JSON; - for standard input."),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let given = cx.required("name").to_owned();
        let (name, file) = (lowered(&given), cx.required("file").trim().to_owned());
        let content = match file.as_str() {
            "-" => cx.console.input.read_all(),
            path => std::fs::File::open(path).and_then(read_bounded),
        };
        let content = content
            .map_err(|error| Failure::failed(format!("Error reading policy {file}: {error}")))?;
        let text = std::str::from_utf8(content.expose()).map_err(|_| {
            Failure::failed(format!("Error reading policy {file}: it is not UTF-8"))
        })?;
        let body = json!({ "policy": text });
        let reply = cx
            .client()?
            .write(&format!("sys/policies/acl/{name}"), &body)
            .await;
        reply.map_err(Failure::of("Error uploading policy"))?;
        if given != name {
            let text = format!("Policy name was converted from \"{given}\" to \"{name}\"");
            cx.console.warn(&text)?;
        }
        cx.console
            .print(&format!("Success! Uploaded policy: {name}"))?;
        Ok(0)
    }
}

pub(super) mod delete {
    //! `policy delete`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "delete",
            "Delete a policy",
            "Tokens that have it keep its name and lose what it granted.",
            "zonehead policy delete app",
        );
        connected(command.arg(required("name", "NAME", "The policy.")))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let name = lowered(cx.required("name"));
        let reply = cx
            .client()?
            .delete(&format!("sys/policies/acl/{name}"), &[])
            .await;
        reply.map_err(Failure::of(format!("Error deleting {name}")))?;
        cx.console
            .print(&format!("Success! Deleted policy: {name}"))?;
        Ok(0)
    }
}

fn lowered(name: &str) -> String {
    name.trim().to_lowercase()
}
