//! The stored records of tokens against each other, when all background work is done.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use zone_access::MountKind;
use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use crate::head::Head;
use crate::model::{Model, Verdict};

/// What the keys of one kind of token records begin with.
pub(crate) fn area(head: &Head, kind: &str) -> Result<String> {
    let mount = head.access.token_mount()?;
    Ok(String::from_utf8(mount.prefix(kind))?)
}

/// The rest of a key behind `prefix`.
pub(crate) fn id_below(key: &Key, prefix: &str) -> Result<String> {
    let rest = key
        .as_bytes()
        .get(prefix.len()..)
        .context("a key of another area")?;
    Ok(String::from_utf8(rest.to_vec())?)
}

/// Holds every record of tokens against every other one: nothing is left over, nothing is
/// missing. Gives the ids of all tokens but root.
pub(crate) async fn whole(head: &Head) -> Result<BTreeSet<String>> {
    let tokens = values(head, &area(head, "token")?).await?;
    let mut want = Hanging::default();
    for (id, token) in &tokens {
        want.add(id, token)?;
    }
    let accessors = values(head, &area(head, "accessor")?).await?;
    for (key, accessor) in &accessors {
        let owner = accessor["token"].as_str().unwrap_or_default();
        ensure!(tokens.contains_key(owner), "accessor {key} of no token");
    }
    ensure!(accessors.len() == tokens.len(), "an accessor is missing");
    same(
        "children",
        &want.children,
        &keys(head, &area(head, "child")?).await?,
    )?;
    same(
        "methods",
        &want.methods,
        &keys(head, &area(head, "method")?).await?,
    )?;
    let ends = keys(head, "core/expiry/").await?;
    let ends = ends.into_iter().filter(|key| key.contains("/token/"));
    same("expiry", &want.ends, &ends.collect())?;
    same(
        "work",
        &BTreeSet::new(),
        &keys(head, "core/token-tree/").await?,
    )?;
    kept(head, &tokens, &want.wrapping).await?;
    for parent in &want.parents {
        ensure!(tokens.contains_key(parent), "a token has lost its parent");
    }
    let all = tokens
        .into_iter()
        .filter(|(_, token)| token["policies"][0] != "root");
    Ok(all.map(|(id, _)| id).collect())
}

/// What hangs on tokens, as keys.
#[derive(Default)]
struct Hanging {
    children: BTreeSet<String>,
    methods: BTreeSet<String>,
    ends: BTreeSet<String>,
    parents: BTreeSet<String>,
    wrapping: BTreeSet<String>,
}

impl Hanging {
    fn add(&mut self, id: &str, token: &Value) -> Result<()> {
        if let Some(parent) = token["parent"].as_str() {
            self.children.insert(format!("{parent}/{id}"));
            self.parents.insert(parent.to_owned());
        }
        if let Some(mount) = token["auth_mount"].as_str() {
            self.methods.insert(format!("{mount}/{id}"));
        }
        if let Some(end) = token["expire_time"].as_str() {
            let end = Timestamp::parse_rfc3339(end).context("a time")?;
            self.ends.insert(format!("{:016x}/token/{id}", end.secs()));
        }
        if token["policies"][0] == "response-wrapping" {
            self.wrapping.insert(id.to_owned());
        }
        Ok(())
    }
}

/// Wrapped answers belong to wrapping tokens, one each; entries of cubbyholes to tokens.
async fn kept(
    head: &Head,
    tokens: &BTreeMap<String, Value>,
    wrapping: &BTreeSet<String>,
) -> Result<()> {
    let mounts = head.access.mounts()?;
    let cubbyhole = mounts
        .iter()
        .find(|mount| mount.kind == MountKind::Cubbyhole);
    let cubbyhole = cubbyhole.context("no cubbyhole")?;
    let wrapped = String::from_utf8(cubbyhole.prefix("wrapped"))?;
    same("wrapped answers", wrapping, &keys(head, &wrapped).await?)?;
    let entries = String::from_utf8(cubbyhole.prefix("entry"))?;
    for entry in keys(head, &entries).await? {
        let owner = entry.split('/').next().unwrap_or_default();
        ensure!(tokens.contains_key(owner), "a cubbyhole of no token");
    }
    Ok(())
}

/// Secret ids of the role, each with its accessor and its entry by time, and no others.
pub(crate) async fn secret_ids(head: &Head, model: &Model) -> Result<()> {
    let Some(mount) = head.access.mount_of(&model.method_path(""))? else {
        return Ok(());
    };
    let stored = values(head, &String::from_utf8(mount.prefix("s"))?).await?;
    let (ids, accessors): (Vec<_>, Vec<_>) =
        stored.iter().partition(|(key, _)| key.contains("/id/"));
    ensure!(ids.len() == accessors.len(), "secret ids and accessors");
    let entries = keys(head, "core/expiry/").await?;
    for (key, id) in ids
        .iter()
        .filter(|(_, id)| !id["expiration_time"].is_null())
    {
        let end = id["expiration_time"].as_str();
        let end = end.and_then(Timestamp::parse_rfc3339).context("a time")?;
        let code = key.rsplit('/').next().unwrap_or_default();
        let entry = format!("{:016x}/keys/{code}", end.secs());
        ensure!(entries.contains(&entry), "a secret id without an end");
    }
    // What was removed with its role leaves its entry until then.
    let now = format!("{:016x}/", model.now);
    let late = |entry: &&String| entry.contains("/keys/") && **entry < now;
    ensure!(entries.iter().find(late).is_none(), "a late entry");
    let known = (0..model.secrets.len()).map(|at| model.secret_verdict(at));
    let known: Vec<_> = known.filter(|it| *it != Verdict::Gone).collect();
    let surely = known.iter().filter(|it| **it == Verdict::Lives).count();
    ensure!(
        (surely..=known.len()).contains(&ids.len()),
        "{} secret ids: {known:?}",
        ids.len()
    );
    Ok(())
}

/// Holds every record of leases against every other one.
pub(crate) async fn leases(head: &Head, model: &Model) -> Result<()> {
    let stored = values(head, "core/lease/").await?;
    let (mut ends, mut queue, mut owners) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut places = BTreeSet::new();
    for (uid, lease) in &stored {
        places.insert(format!("{}/{uid}", lease["rest"].as_str().unwrap_or("")));
        let time = |at: &Value| at.as_str().and_then(Timestamp::parse_rfc3339);
        if let Some(ending) = lease.get("ending") {
            let due = time(&ending["due"]).context("a time")?;
            queue.insert(format!("{:016x}/{uid}", due.secs()));
            let number = lease["data"].as_str().context("a number")?.parse()?;
            let attempts = ending["attempts"].as_u64().unwrap_or(0);
            let asked = u64::from(head.world.engine.asked(number));
            ensure!(attempts <= asked, "{attempts} tries, asked {asked} times");
            continue;
        }
        let end = time(&lease["expire_time"]).context("a time")?;
        ends.insert(format!("{:016x}/lease/{uid}", end.secs()));
        if let Some(token) = lease["token"].as_str() {
            owners.insert(format!("{token}/{uid}"));
        }
    }
    let mut found = keys(head, "core/expiry/").await?;
    found.retain(|key| key.contains("/lease/"));
    same("ends of leases", &ends, &found)?;
    same("queue", &queue, &keys(head, "core/lease-queue/").await?)?;
    let found = keys(head, &area(head, "token-lease")?).await?;
    same("owners", &owners, &found)?;
    if let Some(mount) = head.access.mount_of(&model.engine_path(0))? {
        let found = keys(head, &String::from_utf8(mount.prefix("lease-at"))?).await?;
        same("places", &places, &found)?;
    }
    Ok(())
}

/// No lease waits for its engine, and no revocation by path is under way.
pub(crate) async fn nothing_waits(head: &Head) -> Result<()> {
    let none = BTreeSet::new();
    same("queue", &none, &keys(head, "core/lease-queue/").await?)?;
    same("by path", &none, &keys(head, "core/lease-prefix/").await?)
}

fn same(what: &str, want: &BTreeSet<String>, found: &BTreeSet<String>) -> Result<()> {
    let odd: Vec<_> = want.symmetric_difference(found).collect();
    ensure!(odd.is_empty(), "{what}: missing or left over: {odd:?}");
    Ok(())
}

async fn keys(head: &Head, prefix: &str) -> Result<BTreeSet<String>> {
    let range = KeyRange::prefix(prefix.to_owned());
    let keys = head.barrier.scan_keys(&range, 1000).await?;
    keys.iter().map(|key| id_below(key, prefix)).collect()
}

async fn values(head: &Head, prefix: &str) -> Result<BTreeMap<String, Value>> {
    let range = KeyRange::prefix(prefix.to_owned());
    let mut values = BTreeMap::new();
    for (key, plain) in head.barrier.scan(&range, 1000).await? {
        values.insert(
            id_below(&key, prefix)?,
            serde_json::from_slice(&plain.value)?,
        );
    }
    Ok(values)
}
