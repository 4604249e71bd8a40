//! Cases and figures about leases, which certificates of a PKI role have.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use zone_cli::client::Client;

use crate::cases::{Against, Case, json_body, plan};
use crate::head::Head;
use crate::load::{self, Next, Plan, Target};
use crate::{Options, table};

/// Cases of a head whose PKI mount has the role `leased`.
pub(crate) async fn cases(client: &Client) -> anyhow::Result<Vec<Case>> {
    let made = client.write("pki/issue/leased", &certificate()).await?;
    let id = made.map(|made| made.lease_id).filter(|id| !id.is_empty());
    let id = id.context("the certificate has no lease")?;
    let ask = json_body(&json!({ "lease_id": id }));
    let lookup = plan(
        Method::POST,
        |_| "sys/leases/lookup".to_owned(),
        move |_| ask.clone(),
    );
    let ended = Plan {
        then: Some(revoke),
        ..issue()
    };
    let case = |name: &str, plan: Plan, against| Case {
        name: name.to_owned(),
        plan: plan.into(),
        against,
        token: None,
    };
    Ok(vec![
        case("lease lookup", lookup, Against::EmptyHandler),
        case("lease taken and revoked", ended, Against::Fsync),
    ])
}

fn certificate() -> Value {
    json!({ "common_name": "a.test", "ttl": "1h" })
}

fn issue() -> Plan {
    let ask = json_body(&certificate());
    let path = |_| "pki/issue/leased".to_owned();
    plan(Method::POST, path, move |_| ask.clone())
}

fn revoke(issued: &Value) -> Option<Next> {
    let id = issued["lease_id"].as_str()?;
    Some(Next {
        path: "sys/leases/revoke",
        token: None,
        body: json_body(&json!({ "lease_id": id, "sync": true })),
    })
}

/// Memory, start and end of many leases.
pub(crate) async fn sizes(options: &Options, directory: &Path) -> anyhow::Result<()> {
    let head = Head::create(options, &directory.join("leases")).await?;
    crate::cases::furnish_pki(&head.client).await?;
    let target = Target::new(&head.address, &head.ca, head.token.expose())?;
    let (plan, mut made) = (issue().into(), 0.0);
    while made < options.leases as f64 {
        let run = load::run(&target, &plan, 64, options.window(), &head.process).await?;
        made += run.rate * options.window().as_secs_f64();
    }
    let many = made.round();
    let text = format!("RSS after taking {many} leases");
    table::note(&text, head.process.rss()?, "MiB");
    let head = head.restart().await?;
    let text = format!("start to unsealed after kill -9, {many} leases");
    table::note(&text, head.start.as_secs_f64() * 1000.0, "ms");
    let text = format!("RSS after start, {many} leases");
    table::note(&text, head.process.rss()?, "MiB");
    let begun = Instant::now();
    let all = "sys/leases/revoke-prefix/pki/issue/leased";
    head.client.write(all, &json!({ "sync": false })).await?;
    let text = format!("{many} leases ended by their path: in force after");
    table::note(&text, begun.elapsed().as_secs_f64() * 1000.0, "ms");
    while waiting(&head.client).await? > 0 {}
    table::note(
        "revoked by their engine after",
        begun.elapsed().as_secs_f64(),
        "s",
    );
    table::note("RSS then", head.process.rss()?, "MiB");
    Ok(())
}

/// Leases that their engine is still to be asked to end.
async fn waiting(client: &Client) -> anyhow::Result<u64> {
    let query = [("type".to_owned(), "revoking".to_owned())];
    let reply = client.read("sys/leases/count", &query).await?;
    let data = reply.and_then(|reply| reply.data).context("no data")?;
    data.get("lease_count")
        .and_then(Value::as_u64)
        .context("no count")
}
