//! The zone's leases against the model's, and those that nobody was told of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use zone_ports::KeyRange;
use zone_types::Timestamp;

use super::records::id_below;
use crate::head::Head;
use crate::model::{Lease, Model, PLACES, Verdict};

/// Seconds that a revocation by path is kept at least.
pub(super) const GRACE: i64 = 600;

/// Whether all leases are as `model` says, under each name; what was seen to be gone is noted.
pub(super) async fn judge(head: &Head, model: &mut Model) -> Result<()> {
    if model.leases.is_empty() {
        return Ok(());
    }
    let permit = head.permit("sys/leases/lookup").await?;
    for at in 0..model.leases.len() {
        let lease = model.leases[at].clone();
        let found = head.access.lease(&permit, &lease.id).await?;
        let here = format!("{}/{}", model.engine_path(lease.place), lease.uid);
        let by_place = head.access.lease(&permit, &here).await?;
        ensure!(found == by_place, "lease {at} by its two names");
        model.see_lease(at, found.is_some())?;
        let Some(found) = found else { continue };
        let end = found.expire_time.map(Timestamp::secs);
        ensure!(end == Some(lease.end), "lease {at}: {end:?}, {lease:?}");
        let took = head.world.engine.took(lease.number);
        ensure!(!took, "lease {at} counts, and was taken back: {lease:?}");
    }
    Ok(())
}

/// Revocations by path stand in the store as long as a request from before may be under way, and
/// nobody asked for any other.
pub(super) async fn judge_marks(head: &Head, model: &Model) -> Result<()> {
    let mut stored = BTreeSet::new();
    let range = KeyRange::prefix("core/lease-prefix/");
    for (_, plain) in head.barrier.scan(&range, 1000).await? {
        let record: Value = serde_json::from_slice(&plain.value)?;
        let since = record["since"].as_str();
        let since = since.and_then(Timestamp::parse_rfc3339);
        let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
        let since = since.context("a time")?.secs();
        let force = record["force"].as_bool().unwrap_or(false);
        stored.insert((text("mount"), text("prefix"), since, force));
    }
    let mut last = BTreeMap::new();
    for mark in &model.marks {
        let of = (mark.mount.clone(), mark.prefix.clone());
        last.insert(of, (mark.since, mark.force));
    }
    let token_mount = head.access.token_mount()?;
    for ((mount, prefix), (since, force)) in last {
        let mount = match &*mount {
            "" => token_mount.id.to_string(),
            _ => mount,
        };
        let there = stored.remove(&(mount, prefix.clone(), since, force));
        ensure!(
            there || model.high > since + GRACE,
            "the revocation of {prefix} is lost"
        );
    }
    ensure!(stored.is_empty(), "nobody revoked {stored:?}");
    Ok(())
}

/// Each lease that has ended was taken back, or could be let go.
pub(super) fn all_taken_back(head: &Head, model: &Model) -> Result<()> {
    for (at, lease) in model.leases.iter().enumerate() {
        // With a mount goes all that its leases stood for.
        let stands = model.engine.as_ref() == Some(&lease.mount);
        let gone = model.lease_verdict(at) == Verdict::Gone;
        let took = head.world.engine.took(lease.number);
        ensure!(
            !gone || !stands || took || model.is_forced(lease),
            "lease {at} was never taken back: {lease:?}"
        );
    }
    Ok(())
}

/// Leases that the store has and `before` has not.
pub(crate) async fn strays(head: &Head, before: &Model) -> Result<Vec<Lease>> {
    let area = "core/lease/";
    let mut found = Vec::new();
    for (key, plain) in head.barrier.scan(&KeyRange::prefix(area), 1000).await? {
        let uid = id_below(&key, area)?;
        if before.leases.iter().all(|lease| lease.uid != uid) {
            let record = serde_json::from_slice(&plain.value)?;
            found.push(stray(before, uid, &record)?);
        }
    }
    Ok(found)
}

fn stray(before: &Model, uid: String, record: &Value) -> Result<Lease> {
    let text = |field: &str| record[field].as_str().unwrap_or_default();
    let time = |field: &str| {
        let time = Timestamp::parse_rfc3339(text(field));
        time.map(Timestamp::secs).context("a time of a new lease")
    };
    let number = |field: &str| record[field].as_u64().context("a number of a new lease");
    let owner = before.tokens.iter().position(|it| it.id == text("token"));
    let place = PLACES.iter().position(|place| *place == text("rest"));
    let born = time("issue_time")?;
    Ok(Lease {
        id: format!("{}{}/{uid}", text("at"), text("rest")),
        uid,
        number: text("data").parse()?,
        mount: text("mount").to_owned(),
        place: place.context("a place")? as u64,
        owner: owner.filter(|_| !text("token").is_empty()),
        born,
        ttl: number("ttl")?,
        last: born.saturating_add_unsigned(number("max_ttl")?),
        end: time("expire_time")?,
        renewable: record["renewable"].as_bool().unwrap_or(false),
        ended: false,
    })
}
