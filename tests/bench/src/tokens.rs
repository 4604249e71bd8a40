//! Cases and figures about tokens and policies.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use zone_cli::client::Client;
use zone_policy::{Acl, Operation, Policy};
use zone_types::RequestPath;

use crate::cases::{Against, Case, json_body, plan};
use crate::head::Head;
use crate::load::{self, Target};
use crate::{Options, table};

/// Policies of the token that has many.
const POLICIES: usize = 100;
/// Rules of the policies that are timed without a head.
const RULES: [usize; 4] = [10, 100, 1000, 10_000];
/// Rules of one of these policies at most.
const LARGEST: usize = 1000;

/// Cases of a head with many policies; what they need is made here.
pub(crate) async fn cases(client: &Client) -> anyhow::Result<Vec<Case>> {
    let mut names = Vec::new();
    for number in 0..POLICIES {
        let name = format!("bench-{number}");
        let rules = json!({ "policy": policy(number, 10) });
        client
            .write(&format!("sys/policies/acl/{name}"), &rules)
            .await?;
        names.push(name);
    }
    let many = made(client, &json!({ "policies": names, "ttl": "24h" })).await?;
    let batch = json!({ "policies": names, "ttl": "24h", "type": "batch" });
    let batch = made(client, &batch).await?;
    let lookup = |name: &str, token: String| Case {
        name: name.to_owned(),
        plan: plan(
            Method::GET,
            |_| "auth/token/lookup-self".to_owned(),
            |_| bytes::Bytes::new(),
        )
        .into(),
        against: Against::EmptyHandler,
        token: Some(token),
    };
    Ok(vec![
        lookup("token lookup, 100 policies", many),
        lookup("batch lookup, 100 policies", batch),
        create("token create", &json!({ "policies": "default" })),
        create(
            "batch token create",
            &json!({ "policies": "default", "type": "batch" }),
        ),
    ])
}

/// A service token is one durable write; a batch token is none, and costs a call.
fn create(name: &str, body: &Value) -> Case {
    let against = match body.get("type") {
        None => Against::Fsync,
        Some(_) => Against::EmptyHandler,
    };
    let body = json_body(body);
    let path = |_| "auth/token/create".to_owned();
    Case {
        name: name.to_owned(),
        plan: plan(Method::POST, path, move |_| body.clone()).into(),
        against,
        token: None,
    }
}

async fn made(client: &Client, ask: &Value) -> anyhow::Result<String> {
    let reply = client.write("auth/token/create", ask).await?;
    let auth = reply.and_then(|reply| reply.auth);
    let auth = auth.context("no token was made")?;
    Ok(auth.client_token.expose().clone())
}

/// A policy of `rules` rules of the usual kinds.
fn policy(number: usize, rules: usize) -> String {
    let rule = |at: usize| {
        let pattern = match at % 3 {
            0 => format!("secret/data/team-{number}/app-{at}"),
            1 => format!("secret/data/team-{number}/{at}/*"),
            _ => format!("secret/+/team-{number}/{at}/*"),
        };
        format!("path \"{pattern}\" {{ capabilities = [\"read\", \"list\"] }}\n")
    };
    (0..rules).map(rule).collect()
}

/// What judging one request costs, by the number of rules, without a head around it.
pub(crate) fn evaluation(options: &Options) -> anyhow::Result<()> {
    for rules in RULES {
        let acl = compiled(rules)?;
        for (what, path) in [
            ("exact", "secret/data/team-0/app-0"),
            ("prefix", "secret/data/team-0/1/x/y"),
            ("none", "elsewhere/x"),
        ] {
            let path = RequestPath::from_text(path)?;
            let nanos = timed(options, || {
                black_box(acl.check(&zone_policy::Ask {
                    path: black_box(&path),
                    operation: Operation::Read,
                    parameters: None,
                    wrap_ttl: None,
                }));
            });
            table::note(&format!("policy check, {rules} rules, {what}"), nanos, "ns");
        }
    }
    Ok(())
}

/// A list of `rules` rules, from as many policies as that takes.
fn compiled(rules: usize) -> anyhow::Result<Acl> {
    let parse = |number| {
        let text = policy(number, rules.min(LARGEST));
        Policy::parse(&format!("bench-{number}"), &text)
    };
    let policies: Vec<Policy> = (0..rules.div_ceil(LARGEST))
        .map(parse)
        .collect::<Result<_, _>>()?;
    Ok(Acl::compile(policies.iter()))
}

/// Nanoseconds for each call of `work`, over one window.
fn timed(options: &Options, work: impl Fn()) -> f64 {
    let begun = Instant::now();
    let mut calls = 0_u64;
    while begun.elapsed() < options.window() {
        for _ in 0..1000 {
            work();
        }
        calls += 1000;
    }
    begun.elapsed().as_nanos() as f64 / calls as f64
}

/// Memory and start of a head with many tokens.
pub(crate) async fn sizes(options: &Options, directory: &Path) -> anyhow::Result<()> {
    let head = Head::create(options, &directory.join("tokens")).await?;
    let target = Target::new(&head.address, &head.ca, head.token.expose())?;
    let case = create("", &json!({ "policies": "default", "ttl": "24h" }));
    let mut made = 0.0;
    while made < options.tokens as f64 {
        let run = load::run(&target, &case.plan, 64, options.window(), &head.process).await?;
        made += run.rate * options.window().as_secs_f64();
    }
    let many = made.round();
    table::note(
        &format!("RSS after making {many} tokens"),
        head.process.rss()?,
        "MiB",
    );
    let head = head.restart().await?;
    table::note(
        &format!("start to unsealed after kill -9, {many} tokens"),
        head.start.as_secs_f64() * 1000.0,
        "ms",
    );
    table::note(
        &format!("RSS after start, {many} tokens"),
        head.process.rss()?,
        "MiB",
    );
    Ok(())
}
