//! What is measured, in which order.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::Method;
use serde_json::json;
use zone_cli::client::Client;
use zone_crypto::sign::KeyType;

use crate::head::{Head, Process};
use crate::load::{self, Outcome, Plan, Target};
use crate::{Options, leases, limits, logins, table, tokens, wrapping};

/// Cores of this machine.
fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// Limits of this machine, measured before anything else.
struct Limits {
    fsyncs: f64,
    /// Groups of two small records that callers have committed by the raw store, by their number.
    store: Vec<(usize, f64)>,
    /// The bare handler's rate by number of clients.
    empty: Vec<(usize, Outcome)>,
    /// The same for the head's cheapest call behind a token: TLS, permit, two audit lines, and an
    /// engine that only shows three numbers of its memory.
    call: Vec<(usize, Outcome)>,
    /// KV reads with one audit file.
    read: Vec<(usize, Outcome)>,
    /// Durable KV writes: what the store, the audit trail and HTTP allow to any write.
    write: Vec<(usize, Outcome)>,
}

/// One case and what its rate is compared to.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) plan: Arc<Plan>,
    pub(crate) against: Against,
    /// Whose calls they are; root's if nobody is named.
    pub(crate) token: Option<String>,
}

pub(crate) enum Against {
    EmptyHandler,
    Fsync,
    /// Signatures a second of one core, times the cores.
    Signing(f64),
}

/// Measures everything.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.directory)?;
    let scratch = tempfile::tempdir_in(&options.directory)?;
    let mut limits = measure_limits(options, scratch.path()).await?;
    let head = Head::create(options, &scratch.path().join("head")).await?;
    table::note("RSS, idle", head.process.rss()?, "MiB");
    furnish(&head.client).await?;
    let mut cases = cases(options, scratch.path())?;
    cases.extend(tokens::cases(&head.client).await?);
    cases.extend(logins::cases(&head.client).await?);
    cases.extend(wrapping::cases());
    cases.extend(leases::cases(&head.client).await?);
    let target = Target::new(&head.address, &head.ca, head.token.expose())?;
    measure_call(options, &target, &head.process, &mut limits).await?;
    table::head();
    for case in cases
        .iter()
        .filter(|case| case.name.contains(&options.only))
    {
        let token = case.token.as_deref();
        let target = match token.map(|token| Target::new(&head.address, &head.ca, token)) {
            Some(own) => &own?,
            None => &target,
        };
        for clients in &options.clients {
            let runs = repeat(options, target, &case.plan, *clients, &head.process).await?;
            let (outcome, spread) = table::median(runs);
            let ratio = ratio(case, &outcome, *clients, &limits);
            table::row(&case.name, *clients, &outcome, spread, &ratio);
            if case.name == KV_WRITE {
                limits.write.push((*clients, outcome));
            }
            if case.name == KV_READ {
                limits.read.push((*clients, outcome));
            }
        }
    }
    if !limits.read.is_empty() {
        audit(options, &head, &target, &limits).await?;
    }
    table::note("RSS, after the run", head.process.rss()?, "MiB");
    if options.only.is_empty() {
        logins::enumeration(&head.client).await?;
        tokens::evaluation(options)?;
        sizes(options, scratch.path()).await?;
        tokens::sizes(options, scratch.path()).await?;
        leases::sizes(options, scratch.path()).await?;
    }
    Ok(())
}

async fn measure_limits(options: &Options, directory: &Path) -> anyhow::Result<Limits> {
    let fsyncs = limits::fsyncs(directory, options.window())?;
    table::note("limit: 4 KiB append + fdatasync", fsyncs, "per second");
    let store = limits::store(options, &directory.join("store")).await?;
    let (process, address, ca) = limits::start_empty(directory)?;
    let target = Target::new(&address, &ca, "hvs.empty")?;
    let plan = plan(Method::GET, |_| "empty".to_owned(), |_| Bytes::new()).into();
    let mut empty = Vec::new();
    for clients in &options.clients {
        let runs = repeat(options, &target, &plan, *clients, &process).await?;
        let (outcome, _) = table::median(runs);
        let text = format!("limit: bare handler, {clients} clients");
        table::note(
            &text,
            outcome.rate,
            &format!("per second, {:.3} ms CPU each", outcome.cpu_ms),
        );
        empty.push((*clients, outcome));
    }
    Ok(Limits {
        fsyncs,
        store,
        empty,
        call: Vec::new(),
        read: Vec::new(),
        write: Vec::new(),
    })
}

async fn measure_call(
    options: &Options,
    target: &Target,
    process: &Process,
    limits: &mut Limits,
) -> anyhow::Result<()> {
    let plan = plan(
        Method::GET,
        |_| "sys/key-status".to_owned(),
        |_| Bytes::new(),
    )
    .into();
    for clients in &options.clients {
        let runs = repeat(options, target, &plan, *clients, process).await?;
        let (outcome, _) = table::median(runs);
        let text = format!("limit: cheapest audited call, {clients} clients");
        table::note(
            &text,
            outcome.rate,
            &format!("per second, {:.3} ms CPU each", outcome.cpu_ms),
        );
        limits.call.push((*clients, outcome));
    }
    Ok(())
}

async fn repeat(
    options: &Options,
    target: &Target,
    plan: &Arc<Plan>,
    clients: usize,
    process: &Process,
) -> anyhow::Result<Vec<Outcome>> {
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(load::run(target, plan, clients, options.window(), process).await?);
    }
    Ok(runs)
}

fn ratio(case: &Case, outcome: &Outcome, clients: usize, limits: &Limits) -> String {
    match case.against {
        Against::EmptyHandler => {
            let of = |list: &[(usize, Outcome)]| {
                let found = list.iter().find(|(of, _)| *of == clients);
                outcome.rate / found.map_or(f64::NAN, |(_, limit)| limit.rate)
            };
            let (call, bare) = (of(&limits.call), of(&limits.empty));
            format!("{call:.2} of an empty authenticated call, {bare:.2} of a bare handler")
        }
        Against::Fsync => {
            let raw = limits.store.iter().find(|(of, _)| *of == clients);
            format!(
                "{:.2} for each bare fsync, {:.2} for each group of the raw store",
                outcome.rate / limits.fsyncs,
                outcome.rate / raw.map_or(f64::NAN, |(_, rate)| *rate)
            )
        }
        Against::Signing(rate) => {
            let signing = rate * cores();
            match limits.write.iter().find(|(of, _)| *of == clients) {
                None => format!(
                    "{:.2} of bare signing on {} cores",
                    outcome.rate / signing,
                    cores()
                ),
                Some((_, write)) => {
                    let both = 1.0 / (1.0 / signing + 1.0 / write.rate);
                    format!(
                        "{:.2} of a KV write and bare signing in turn",
                        outcome.rate / both
                    )
                }
            }
        }
    }
}

pub(crate) fn plan(
    method: Method,
    path: impl Fn(u64) -> String + Send + Sync + 'static,
    body: impl Fn(u64) -> Bytes + Send + Sync + 'static,
) -> Plan {
    Plan {
        method,
        path: Box::new(path),
        body: Box::new(body),
        fields: Vec::new(),
        then: None,
    }
}

fn read_plan() -> Arc<Plan> {
    plan(
        Method::GET,
        |n| format!("secret/data/read/{}", n % READ),
        |_| Bytes::new(),
    )
    .into()
}

/// Audit lines a second (two for each read), and what one more device costs: a zone never runs
/// without one, so reads with one file are compared with reads with a file and a second device.
async fn audit(
    options: &Options,
    head: &Head,
    target: &Target,
    limits: &Limits,
) -> anyhow::Result<()> {
    for (clients, outcome) in &limits.read {
        let text = format!("audit lines, one file, {clients} clients");
        table::note(&text, outcome.rate * 2.0, "per second");
    }
    let file = head.audit_directory().join("second.log");
    let device = json!({ "type": "file", "options": { "file_path": file } });
    head.client.write("sys/audit/second", &device).await?;
    for (clients, one) in &limits.read {
        let runs = repeat(options, target, &read_plan(), *clients, &head.process).await?;
        let (two, spread) = table::median(runs);
        let (rate, cpu) = (two.rate / one.rate, two.cpu_ms / one.cpu_ms);
        let ratio = format!("{rate:.2} of the rate with one file, {cpu:.2} of its CPU");
        table::row("kv read, second audit file", *clients, &two, spread, &ratio);
    }
    head.client.delete("sys/audit/second", &[]).await?;
    Ok(())
}

pub(crate) fn json_body(value: &serde_json::Value) -> Bytes {
    Bytes::from(value.to_string())
}

/// The case that bounds every other write.
const KV_WRITE: &str = "kv write";
/// The case that shows what an audit device costs.
const KV_READ: &str = "kv read";
/// Secrets that the read case reads.
const READ: u64 = 1000;

async fn furnish(client: &Client) -> anyhow::Result<()> {
    client
        .write(
            "sys/mounts/secret",
            &json!({ "type": "kv", "options": { "version": "2" } }),
        )
        .await?;
    let value = json!({ "data": { "user": "app", "password": "correct horse battery staple" } });
    for number in 0..READ {
        client
            .write(&format!("secret/data/read/{number}"), &value)
            .await?;
    }
    furnish_pki(client).await
}

/// A root and roles for each kind of key, and `leased`, whose certificates have leases.
pub(crate) async fn furnish_pki(client: &Client) -> anyhow::Result<()> {
    client
        .write("sys/mounts/pki", &json!({ "type": "pki" }))
        .await?;
    let root =
        json!({ "common_name": "bench CA", "key_type": "ec", "key_bits": 256, "ttl": "8760h" });
    client.write("pki/root/generate/internal", &root).await?;
    for (name, key_type, bits) in [
        ("p256", "ec", 256),
        ("leased", "ec", 256),
        ("ed25519", "ed25519", 0),
        ("rsa2048", "rsa", 2048),
    ] {
        let role = json!({
            "allow_any_name": true, "enforce_hostnames": false,
            "key_type": key_type, "key_bits": bits, "max_ttl": "72h",
            "generate_lease": name == "leased",
        });
        client.write(&format!("pki/roles/{name}"), &role).await?;
    }
    Ok(())
}

fn cases(options: &Options, directory: &Path) -> anyhow::Result<Vec<Case>> {
    let value = json!({ "data": { "user": "app", "password": "correct horse battery staple" } });
    let value = json_body(&value);
    let mut cases = vec![
        Case {
            name: KV_READ.into(),
            plan: read_plan(),
            against: Against::EmptyHandler,
            token: None,
        },
        Case {
            name: "token lookup-self".into(),
            plan: plan(
                Method::GET,
                |_| "auth/token/lookup-self".to_owned(),
                |_| Bytes::new(),
            )
            .into(),
            against: Against::EmptyHandler,
            token: None,
        },
        Case {
            name: KV_WRITE.into(),
            plan: plan(
                Method::POST,
                |n| format!("secret/data/write/{}", n % 10_000),
                move |_| value.clone(),
            )
            .into(),
            against: Against::Fsync,
            token: None,
        },
    ];
    for (name, key) in [
        ("p256", KeyType::P256),
        ("ed25519", KeyType::Ed25519),
        ("rsa2048", KeyType::Rsa2048),
    ] {
        let bare = limits::signatures(None, options.window())?;
        let with_key = limits::signatures(Some(key), options.window())?;
        let csr = json_body(
            &json!({ "csr": request(name, directory)?, "common_name": "a.test", "ttl": "1h" }),
        );
        let ask = json_body(&json!({ "common_name": "a.test", "ttl": "1h" }));
        cases.push(Case {
            name: format!("pki issue {name}"),
            plan: plan(
                Method::POST,
                move |_| format!("pki/issue/{name}"),
                move |_| ask.clone(),
            )
            .into(),
            against: Against::Signing(with_key),
            token: None,
        });
        cases.push(Case {
            name: format!("pki sign {name}"),
            plan: plan(
                Method::POST,
                move |_| format!("pki/sign/{name}"),
                move |_| csr.clone(),
            )
            .into(),
            against: Against::Signing(bare),
            token: None,
        });
    }
    Ok(cases)
}

/// A certificate request, made by openssl.
fn request(kind: &str, directory: &Path) -> anyhow::Result<String> {
    let key: PathBuf = directory.join(format!("{kind}.key"));
    let algorithm: &[&str] = match kind {
        "p256" => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ed25519" => &["-newkey", "ed25519"],
        _ => &["-newkey", "rsa:2048"],
    };
    let made = Command::new("openssl")
        .args(["req", "-new", "-nodes", "-subj", "/CN=a.test"])
        .args(algorithm)
        .arg("-keyout")
        .arg(&key)
        .output()
        .context("openssl")?;
    anyhow::ensure!(
        made.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(String::from_utf8(made.stdout)?)
}

/// Start and memory, empty and with many secrets.
async fn sizes(options: &Options, directory: &Path) -> anyhow::Result<()> {
    let head = Head::create(options, &directory.join("sizes")).await?;
    furnish(&head.client).await?;
    let head = head.restart().await?;
    table::note(
        "start to unsealed, fresh",
        head.start.as_secs_f64() * 1000.0,
        "ms",
    );
    fill(options, &head).await?;
    report(options, head).await
}

/// Writes new secrets until there are as many as were asked for.
async fn fill(options: &Options, head: &Head) -> anyhow::Result<()> {
    let target = Target::new(&head.address, &head.ca, head.token.expose())?;
    let mut left = options.secrets as f64;
    for round in 0_u64.. {
        if left <= 0.0 {
            break;
        }
        let value = json_body(&json!({ "data": { "password": "correct horse battery staple" } }));
        let path = move |n| format!("secret/data/many/{round}/{n}");
        let fill = plan(Method::POST, path, move |_| value.clone()).into();
        let outcome = load::run(&target, &fill, 64, options.window(), &head.process).await?;
        left -= outcome.rate * options.window().as_secs_f64();
    }
    Ok(())
}

async fn report(options: &Options, head: Head) -> anyhow::Result<()> {
    let many = options.secrets;
    table::note(
        &format!("RSS after writing {many} secrets"),
        head.process.rss()?,
        "MiB",
    );
    let head = head.restart().await?;
    let millis = head.start.as_secs_f64() * 1000.0;
    table::note(
        &format!("start to unsealed after kill -9, {many} secrets"),
        millis,
        "ms",
    );
    table::note(
        &format!("RSS after start, {many} secrets"),
        head.process.rss()?,
        "MiB",
    );
    Ok(())
}
