//! `secrets …`: mounts of secrets engines.

use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use crate::client::Reply;
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::table::{plain, table};
use crate::spec::{connected, flag, formatted, leaf, many, number, required, switch};

pub(super) mod list {
    //! `secrets list`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "list",
            "List the secrets engines",
            "With -detailed also their lives, options and ids.",
            "zonehead secrets list
             zonehead secrets list -detailed",
        );
        connected(formatted(
            command.arg(switch("detailed", "Show more columns.")),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let reply = cx.client()?.read("sys/mounts", &[]).await;
        let reply = reply.map_err(Failure::of("Error listing secrets engines"))?;
        let mounts = mounts(reply);
        if !output.is_table() {
            return output.value(cx.console, &Value::Object(mounts));
        }
        let titles: &[&str] = match cx.is_on("detailed") {
            true => &DETAILED,
            false => &SIMPLE,
        };
        cx.console.print(&table(&rows(&mounts, titles)))?;
        Ok(0)
    }

    const SIMPLE: [&str; 4] = ["Path", "Type", "Accessor", "Description"];
    const DETAILED: [&str; 12] = [
        "Path",
        "Plugin",
        "Accessor",
        "Default TTL",
        "Max TTL",
        "Force No Cache",
        "Replication",
        "Seal Wrap",
        "External Entropy Access",
        "Options",
        "Description",
        "UUID",
    ];
}

/// A table of mounts, of engines or auth methods, by path under `titles`.
pub(super) fn rows(mounts: &Map<String, Value>, titles: &[&str]) -> Vec<Vec<String>> {
    let mut rows = vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    let mut mounts: Vec<_> = mounts.iter().collect();
    mounts.sort_by_key(|(path, _)| path.as_str());
    for (path, mount) in mounts {
        let shown = |name: &str| mount.get(name).map(plain).unwrap_or_default();
        let cell = |title: &&str| match *title {
            "Path" => path.clone(),
            "Type" | "Plugin" => shown("type"),
            "Accessor" => shown("accessor"),
            "Description" => shown("description"),
            "Default TTL" => life(mount, "default_lease_ttl"),
            "Max TTL" => life(mount, "max_lease_ttl"),
            "Force No Cache" => plain(&mount["config"]["force_no_cache"]),
            "Token Type" => plain(&mount["config"]["token_type"]),
            "Replication" if mount["local"] == true => "local".to_owned(),
            "Replication" => "replicated".to_owned(),
            "Seal Wrap" => shown("seal_wrap"),
            "External Entropy Access" => shown("external_entropy_access"),
            "Options" if mount["options"].is_null() => "map[]".to_owned(),
            "Options" => shown("options"),
            _ => shown("uuid"),
        };
        rows.push(titles.iter().map(cell).collect());
    }
    rows
}

/// How long leases of a mount live.
fn life(mount: &Value, name: &str) -> String {
    match mount["config"][name].as_u64() {
        _ if mount["type"] == "system" || mount["type"] == "cubbyhole" => String::new(),
        None | Some(0) => "system".to_owned(),
        Some(seconds) => seconds.to_string(),
    }
}

pub(super) mod enable {
    //! `secrets enable`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "enable",
            "Mount a secrets engine",
            "Engines: kv-v2 for secrets with versions, kv for secrets without (or -version=2), pki for \
             certificates.",
            "zonehead secrets enable -path=secret kv-v2
             zonehead secrets enable -path=pki_int -max-lease-ttl=8760h pki",
        );
        connected(
            command
                .arg(flag(
                    "path",
                    "path",
                    "Where to mount it. Default: the type.",
                ))
                .args(tunable())
                .args([
                    switch("force-no-cache", "Never cache what the engine stores."),
                    switch("local", "Do not replicate."),
                    switch("seal-wrap", "Wrap critical values with the seal."),
                    switch("external-entropy-access", "Use the seal's randomness."),
                    required("type", "TYPE", "The kind of engine."),
                ]),
        )
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let kind = cx.required("type").trim().to_owned();
        let path = trimmed(cx.text("path").unwrap_or(&kind)).to_owned();
        let mut config = Map::new();
        lives(&cx, &mut config);
        lists(&cx, &mut config);
        if cx.is_on("force-no-cache") {
            config.insert("force_no_cache".into(), true.into());
        }
        let mut body = json!({
            "type": kind,
            "description": cx.text("description").unwrap_or_default(),
            "config": config,
            "options": options(&cx)?,
        });
        for (flag, field) in [
            ("local", "local"),
            ("seal-wrap", "seal_wrap"),
            ("external-entropy-access", "external_entropy_access"),
        ] {
            if cx.is_on(flag) {
                body[field] = true.into();
            }
        }
        let reply = cx
            .client()?
            .write(&format!("sys/mounts/{path}"), &body)
            .await;
        reply.map_err(Failure::of("Error enabling"))?;
        cx.console.print(&format!(
            "Success! Enabled the {kind} secrets engine at: {path}/"
        ))?;
        Ok(0)
    }
}

pub(super) mod disable {
    //! `secrets disable`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "disable",
            "Remove a secrets engine and all that it stores",
            "There is no way back.",
            "zonehead secrets disable pki_int/",
        );
        connected(command.arg(required("path", "PATH", "Where it is mounted.")))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = trimmed(cx.required("path")).to_owned();
        let reply = cx
            .client()?
            .delete(&format!("sys/mounts/{path}"), &[])
            .await;
        reply.map_err(Failure::of(format!(
            "Error disabling secrets engine at {path}/"
        )))?;
        let text = format!("Success! Disabled the secrets engine (if it existed) at: {path}/");
        cx.console.print(&text)?;
        Ok(0)
    }
}

pub(super) mod tune {
    //! `secrets tune`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "tune",
            "Change the settings of a secrets engine",
            "What is not given stays. 'zonehead read sys/mounts/PATH/tune' shows the settings.",
            "zonehead secrets tune -max-lease-ttl=8760h pki/
             zonehead secrets tune -description='secrets of the shop' secret/",
        );
        connected(command.args(tunable()).arg(required(
            "path",
            "PATH",
            "Where the engine is mounted.",
        )))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = trimmed(cx.required("path")).to_owned();
        let mut body = Map::new();
        lives(&cx, &mut body);
        lists(&cx, &mut body);
        if let Some(description) = cx.text("description") {
            body.insert("description".into(), description.into());
        }
        let options = options(&cx)?;
        if !options.is_null() {
            body.insert("options".into(), options);
        }
        let reply = cx
            .client()?
            .write(&format!("sys/mounts/{path}/tune"), &body.into())
            .await;
        reply.map_err(Failure::of(format!("Error tuning secrets engine {path}/")))?;
        cx.console
            .print(&format!("Success! Tuned the secrets engine at: {path}/"))?;
        Ok(0)
    }
}

fn tunable() -> [Arg; 8] {
    [
        flag("description", "text", "What the engine is for."),
        flag(
            "default-lease-ttl",
            "duration",
            "Usual life of leases and certificates.",
        ),
        flag(
            "max-lease-ttl",
            "duration",
            "Longest life of leases and certificates.",
        ),
        flag(
            "listing-visibility",
            "word",
            "unauth: anybody may see the mount; hidden.",
        ),
        many(
            "audit-non-hmac-request-keys",
            "key",
            "A key whose value stands clear in the audit.",
        ),
        many(
            "audit-non-hmac-response-keys",
            "key",
            "The same for answers.",
        ),
        many(
            "options",
            "key=value",
            "An option of the engine; can be given several times.",
        ),
        number("version", "Version of the engine, for kv."),
    ]
}

pub(super) fn lives(cx: &Context<'_>, config: &mut Map<String, Value>) {
    for (flag, field) in [
        ("default-lease-ttl", "default_lease_ttl"),
        ("max-lease-ttl", "max_lease_ttl"),
        ("listing-visibility", "listing_visibility"),
    ] {
        if let Some(text) = cx.text(flag) {
            config.insert(field.into(), text.into());
        }
    }
}

pub(super) fn lists(cx: &Context<'_>, config: &mut Map<String, Value>) {
    for (flag, field) in [
        ("audit-non-hmac-request-keys", "audit_non_hmac_request_keys"),
        (
            "audit-non-hmac-response-keys",
            "audit_non_hmac_response_keys",
        ),
    ] {
        // Given as an empty text: none from now on.
        if !cx.all(flag).is_empty() {
            config.insert(field.into(), cx.list(flag).into());
        }
    }
}

/// The options of a mount; null if there are none.
fn options(cx: &Context<'_>) -> Result<Value, Failure> {
    let mut options = Map::new();
    for (key, value) in cx.pairs("options")? {
        options.insert(key, value.into());
    }
    if let Some(version) = cx.number("version").filter(|version| *version > 0) {
        options.insert("version".into(), version.to_string().into());
    }
    Ok(if options.is_empty() {
        Value::Null
    } else {
        Value::Object(options)
    })
}

/// The entries of `sys/mounts` or `sys/audit`.
pub(super) fn mounts(reply: Option<Reply>) -> Map<String, Value> {
    let mut all = reply.and_then(|reply| reply.data).unwrap_or_default();
    all.retain(|_, entry| entry.is_object());
    all
}
