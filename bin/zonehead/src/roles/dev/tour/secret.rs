//! The step with a secret: two versions are stored, both are read.

use anyhow::Context;
use serde_json::json;
use zone_cli::client::{Client, Reply};

use super::claim;
use super::screen::Screen;

const PATH: &str = "secret/data/orders/database";
const FIRST: &str = "tour-password-one";
const SECOND: &str = "tour-password-two";

/// Stores two versions and reads both; the value of the second one.
pub(super) async fn store_and_read(
    client: &Client,
    screen: &mut Screen,
) -> anyhow::Result<&'static str> {
    screen.step("orders.svc.test keeps a secret, in two versions")?;
    let old = store(client, FIRST).await?;
    let new = store(client, SECOND).await?;
    claim(new == old + 1, || {
        format!("version {new} follows version {old}")
    })?;
    let current = read(client, &[]).await?;
    claim(current == SECOND, || {
        "the newest version is not what was stored last".into()
    })?;
    let earlier = read(client, &[("version".to_owned(), old.to_string())]).await?;
    claim(earlier == FIRST, || {
        format!("version {old} is not what was stored first")
    })?;
    screen.shown(&format!(
        "versions {old} and {new} were stored, and both read back"
    ))?;
    for value in [FIRST, SECOND] {
        screen.command(&format!(
            "zonehead kv put secret/orders/database password={value}"
        ))?;
    }
    screen.command("zonehead kv get -field=password secret/orders/database")?;
    screen.command(&format!(
        "zonehead kv get -version={old} secret/orders/database"
    ))?;
    Ok(SECOND)
}

/// Stores a version; its number.
async fn store(client: &Client, password: &str) -> anyhow::Result<u64> {
    let body = json!({ "data": { "password": password } });
    let reply = client
        .write(PATH, &body)
        .await?
        .context("no answer to a stored secret")?;
    let version = reply.field("version").and_then(|version| version.as_u64());
    version.context("a stored secret has no version")
}

async fn read(client: &Client, query: &[(String, String)]) -> anyhow::Result<String> {
    let reply: Reply = client
        .read(PATH, query)
        .await?
        .context("the secret is not there")?;
    let password = reply.field("data").and_then(|data| data.get("password"));
    let password = password
        .and_then(|value| value.as_str())
        .context("the secret has no password")?;
    Ok(password.to_owned())
}
