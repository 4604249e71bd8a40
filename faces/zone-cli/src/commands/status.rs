//! `status`: whether the server is sealed.

use clap::Command;
use http::Method;
use serde_json::{Map, Value};

use crate::client::{Client, ClientError};
use crate::console::Console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::output::table::{headed, plain, row};
use crate::spec::{connected, fielded, leaf};

pub(super) fn describe() -> Command {
    connected(fielded(leaf(
        "status",
        "Show whether the server is sealed",
        "Needs no token. The exit code is 0 if the server is unsealed, 2 if it is sealed, 1 if it \
         cannot be asked.",
        "zonehead status
         zonehead status -format=json",
    )))
}

pub(super) async fn run(mut cx: Context<'_>) -> Outcome {
    match show(&mut cx).await {
        // 2 means sealed here.
        Err(failure) => Err(failure.with_code(1)),
        code => code,
    }
}

async fn show(cx: &mut Context<'_>) -> Outcome {
    let output = cx.output()?;
    let client = cx.client()?;
    let status = client.document(Method::GET, "sys/seal-status", None).await;
    let status = status.map_err(Failure::of("Error checking seal status"))?;
    let sealed = print(cx.console, &output, &client, status).await?;
    Ok(if sealed { 2 } else { 0 })
}

/// Prints a seal status with what `sys/leader` adds to it. Tells whether the server is sealed.
pub(super) async fn print(
    console: &mut Console,
    output: &Output,
    client: &Client,
    status: Value,
) -> Result<bool, Failure> {
    let Value::Object(mut status) = status else {
        return Err(Failure::failed(
            "the seal status cannot be read: it is no JSON object",
        ));
    };
    let sealed = is_true(&status, "sealed");
    let leader = match client.document(Method::GET, "sys/leader", None).await {
        Ok(leader) => leader,
        // A sealed Vault with high availability does not tell.
        Err(ClientError::Api(error)) if error.status == 503 => {
            serde_json::json!({ "ha_enabled": true })
        }
        Err(error) => return Err(Failure::of("Error checking leader status")(error)),
    };
    add_leader(&mut status, &leader);
    if let Some(name) = &output.field {
        output.one_field(console, status.get(name), name, "seal status")?;
    } else if output.is_table() {
        console.print(&headed(rows(&status)))?;
    } else {
        output.value(console, &Value::Object(status))?;
    }
    Ok(sealed)
}

fn add_leader(status: &mut Map<String, Value>, leader: &Value) {
    let Some(leader) = leader.as_object() else {
        return;
    };
    let enabled = is_true(leader, "ha_enabled");
    status.insert("ha_enabled".into(), enabled.into());
    let more = [
        "is_self",
        "active_time",
        "leader_address",
        "leader_cluster_address",
    ];
    for name in more.into_iter().filter(|_| enabled) {
        if let Some(value) = leader.get(name) {
            status.insert(name.into(), value.clone());
        }
    }
}

fn rows(status: &Map<String, Value>) -> Vec<Vec<String>> {
    let shown = |name: &str| plain(status.get(name).unwrap_or(&Value::Null));
    let mut rows = vec![
        row("Seal Type", &shown("type")),
        row("Initialized", &shown("initialized")),
        row("Sealed", &shown("sealed")),
        row("Total Shares", &shown("n")),
        row("Threshold", &shown("t")),
    ];
    if is_true(status, "sealed") {
        let progress = format!("{}/{}", shown("progress"), shown("t"));
        rows.push(row("Unseal Progress", &progress));
        rows.push(row("Unseal Nonce", &shown("nonce")));
    }
    let more = [
        ("Version", "version"),
        ("Zonehead Version", "zonehead_version"),
        ("Build Date", "build_date"),
        ("Storage Type", "storage_type"),
        ("Cluster Name", "cluster_name"),
        ("Cluster ID", "cluster_id"),
        ("HA Enabled", "ha_enabled"),
    ];
    for (title, name) in more {
        match status.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(value) => rows.push(row(title, &plain(value))),
        }
    }
    if is_true(status, "ha_enabled") && !is_true(status, "sealed") {
        let mode = if is_true(status, "is_self") {
            "active"
        } else {
            "standby"
        };
        rows.push(row("HA Cluster", &shown("leader_cluster_address")));
        rows.push(row("HA Mode", mode));
    }
    rows
}

fn is_true(map: &Map<String, Value>, name: &str) -> bool {
    map.get(name).and_then(Value::as_bool).unwrap_or(false)
}
