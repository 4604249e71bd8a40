//! The stored records of tokens against each other, when all background work is done.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use zone_access::MountKind;
use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use crate::head::Head;

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
    same("expiry", &want.ends, &keys(head, "core/expiry/").await?)?;
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
