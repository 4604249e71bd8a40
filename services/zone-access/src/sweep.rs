//! The background work of access: a reconciler without input. What is due is read from the store
//! each time, so it goes on after a crash where it was.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zone_barrier::{BarrierError, Batch};
use zone_ports::{Key, KeyRange};
use zone_types::{MountId, Timestamp};

use crate::mount::{Mount, UPGRADES};
use crate::mounts::TRASH;
use crate::record::{V1, decode};
use crate::{Access, AccessError};

/// How long the keys of a removed mount are looked for after it was removed: longer than any
/// request that was permitted before may take.
const GRACE: Duration = Duration::from_secs(600);
/// Removed mounts that one round takes up.
const MOUNTS: usize = 100;
/// Keys of each that one round removes.
const KEYS: usize = 50;

/// A mount that was removed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrashRecord {
    pub(crate) v: V1,
    /// When.
    pub(crate) since: Timestamp,
}

/// Background work of a service above, done in the rounds of [`Access::sweep`].
#[async_trait]
pub trait Chore: Send + Sync {
    /// Does some of what is due; whether there may be more at once. What is due is read from the
    /// store, so it can stop anywhere.
    async fn round(&self) -> Result<bool, AccessError>;
}

impl Access {
    /// Has `chore` done in each round from now on. When the head is put together.
    pub fn also_do(&self, chore: Arc<dyn Chore>) {
        self.chores.write().push(chore);
    }

    /// Does one round of what is due: the time floor, expired tokens and leases, revocations by
    /// path, descendants and leases of revoked tokens, leases that engines have to take back, data of removed mounts, changes of identity that were cut off, the chores of services
    /// above. `true` if there may be more to do at once. An error in one part does not keep the
    /// others from being done.
    pub async fn sweep(&self) -> Result<bool, AccessError> {
        self.state()?;
        self.instant();
        let floor = self.floor.persist(&self.barrier).await;
        let expired = self.sweep_expired().await;
        let prefixes = self.sweep_prefixes().await;
        let trees = self.sweep_trees().await;
        let trash = self.sweep_trash().await;
        let identity = self.sweep_identity().await;
        let upgrades = self.sweep_upgrades().await;
        let leases = self.sweep_leases().await;
        let chores: Vec<_> = self.chores.read().clone();
        let mut more = Ok(false);
        for chore in chores {
            more = match (chore.round().await, more) {
                (Err(error), _) | (_, Err(error)) => Err(error),
                (Ok(now), Ok(before)) => Ok(now | before),
            };
        }
        floor?;
        Ok(expired? | prefixes? | trees? | trash? | identity? | upgrades? | leases? | more?)
    }

    /// What marks a KV mount that becomes version 2 now.
    pub(crate) fn upgrade_record(&self) -> Result<Vec<u8>, AccessError> {
        let since = self.instant();
        Ok(serde_json::to_vec(&TrashRecord { v: V1, since })?)
    }

    /// Takes the marks of upgraded KV mounts away once no older request can be under way.
    async fn sweep_upgrades(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let now = self.instant();
        let range = KeyRange::prefix(UPGRADES);
        let mut progress = false;
        for (key, plain) in self.barrier.scan(&range, MOUNTS).await? {
            let place = &key.as_bytes()[UPGRADES.len()..];
            let mount = whole_mount(place).and_then(|id| state.mounts.by_id(&id));
            let since = decode::<TrashRecord>(&plain)?.since;
            if mount.is_some_and(|mount| mount.upgrading) || now < since.plus(GRACE) {
                continue;
            }
            let batch = Batch::new()
                .require(key.clone(), Some(plain.revision))
                .delete(key);
            match self.barrier.commit(batch).await {
                Ok(_) => progress = true,
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(progress)
    }

    /// The record that has every key `ns-id/mount-id/area/…` of `mount` removed in the
    /// background, for the batch that puts them out of reach.
    pub fn discard(&self, mount: &Mount, area: &str) -> Result<(Key, Vec<u8>), AccessError> {
        let key = Key::new(format!("{TRASH}{}/{}/{area}", mount.namespace, mount.id))?;
        let work = TrashRecord {
            v: V1,
            since: self.instant(),
        };
        Ok((key, serde_json::to_vec(&work)?))
    }

    async fn sweep_trash(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let now = self.instant();
        let found = self.barrier.scan(&KeyRange::prefix(TRASH), MOUNTS).await?;
        let mut progress = false;
        for (work, plain) in found {
            let mut prefix = work.as_bytes()[TRASH.len()..].to_vec();
            if let Some(mount) = whole_mount(&prefix)
                && (self.sweep_method(&state, &mount).await?
                    || self.drop_leases_of(&state, &prefix).await?)
            {
                progress = true;
                continue;
            }
            prefix.push(b'/');
            let keys: Vec<Key> = self
                .barrier
                .scan_keys(&KeyRange::prefix(prefix), KEYS)
                .await?;
            let mut batch = Batch::new();
            if keys.is_empty() {
                let since = decode::<TrashRecord>(&plain)?.since;
                if now < since.plus(GRACE) {
                    continue;
                }
                batch = batch
                    .require(work.clone(), Some(plain.revision))
                    .delete(work);
            }
            for key in keys {
                batch = batch.delete(key);
            }
            match self.barrier.commit(batch).await {
                Ok(_) => progress = true,
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(progress)
    }
}

/// The mount that a work record is about; `None` if it is about a part of one.
fn whole_mount(place: &[u8]) -> Option<MountId> {
    let (_, mount) = std::str::from_utf8(place).ok()?.split_once('/')?;
    MountId::parse(mount)
}
