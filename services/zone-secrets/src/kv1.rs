//! KV version 1: one value for each path, as Vault serves it, and the way to version 2.
//!
//! ```text
//! s/PATH      one secret: the JSON text as it was written, in the form of a version of KV 2
//! ```
//!
//! A mount becomes version 2 by one batch of [`zone_access::Access::tune`], which writes a mark.
//! Each write of version 1 demands that the mark is absent, so nothing is written behind the back
//! of [`Upgrades`], which moves one secret after the other, each by one batch. Until all are moved
//! both versions refuse. Stored forms: `docs/formats/kv.md`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;
use zone_access::event::Event;
use zone_access::{Access, AccessError, Chore, Mount, MountKind, Operation, Permit};
use zone_barrier::batch::Change;
use zone_barrier::{BarrierError, Batch};
use zone_ports::store::Revision;
use zone_ports::{Key, KeyRange, random};
use zone_types::Timestamp;

use crate::kv2::place::{Place, judged};
use crate::kv2::record::{Config, Metadata, secret_text, version_record};
use crate::kv2::{KvError, KvService, MAX_PATH};

/// Attempts before somebody else's writes are reported.
const ATTEMPTS: usize = 16;
/// Secrets that one round of an upgrade moves.
const ROUND: usize = 100;

/// A secret as it was read.
pub struct Secret1 {
    record: Zeroizing<Vec<u8>>,
}

impl Secret1 {
    /// Its JSON text as it was written.
    pub fn data(&self) -> Result<&RawValue, KvError> {
        secret_text(&self.record)
    }

    /// The field that says how long the secret may be kept: `ttl`, or else `lease`.
    pub fn ttl(&self) -> Result<Option<Value>, KvError> {
        #[derive(serde::Deserialize)]
        struct Times {
            ttl: Option<Value>,
            lease: Option<Value>,
        }
        let text = self.data()?.get();
        let times: Times = serde_json::from_str(text).map_err(|_| KvError::Corrupt)?;
        Ok(times.ttl.or(times.lease))
    }
}

impl fmt::Debug for Secret1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret of KV 1")
    }
}

impl KvService {
    /// `PATH` of a mount of version 1: the secret.
    ///
    /// # Errors
    ///
    /// [`KvError::NotFound`], [`KvError::Upgrading`].
    pub async fn kv1_read(&self, permit: &Permit) -> Result<Secret1, KvError> {
        let key = permitted(permit, &[Operation::Read])?;
        match self.barrier.get(&key).await? {
            Some(plain) => Ok(Secret1 {
                record: plain.value,
            }),
            None => {
                // It may have been moved since the permit was made.
                self.unless_upgrading(permit).await?;
                Err(KvError::NotFound)
            }
        }
    }

    /// `PATH` of a mount of version 1: writes `data` in the place of what is there.
    ///
    /// # Errors
    ///
    /// [`KvError::NoData`], [`KvError::SecretTooLarge`], [`KvError::Upgrading`].
    pub async fn kv1_write(
        &self,
        permit: &Permit,
        data: &Map<String, Value>,
    ) -> Result<(), KvError> {
        let key = permitted(permit, &[Operation::Create, Operation::Update])?;
        if data.is_empty() {
            return Err(KvError::NoData);
        }
        let _turn = self.turns.wait(&key).await;
        for _ in 0..ATTEMPTS {
            let revision = self.barrier.get(&key).await?.map(|plain| plain.revision);
            judged(permit, revision.is_some())?;
            let record = version_record(data)?;
            let change = Change::Put(key.clone(), record);
            if self.kv1_change(permit, &key, revision, change).await? {
                return Ok(());
            }
        }
        Err(BarrierError::Conflict.into())
    }

    /// `PATH` of a mount of version 1: removes the secret. Nothing there: no error, as in Vault.
    pub async fn kv1_delete(&self, permit: &Permit) -> Result<(), KvError> {
        let key = permitted(permit, &[Operation::Delete])?;
        let _turn = self.turns.wait(&key).await;
        for _ in 0..ATTEMPTS {
            let Some(plain) = self.barrier.get(&key).await? else {
                return self.unless_upgrading(permit).await;
            };
            let change = Change::Delete(key.clone());
            let at = Some(plain.revision);
            if self.kv1_change(permit, &key, at, change).await? {
                return Ok(());
            }
        }
        Err(BarrierError::Conflict.into())
    }

    /// `PATH/` of a mount of version 1: the names below a folder, those of folders with `/`.
    pub async fn kv1_list(&self, permit: &Permit) -> Result<Vec<String>, KvError> {
        let operations = [Operation::List];
        let prefix = prefix(permit, &operations)?;
        let names = self.names_below(prefix, None, None).await?;
        if names.is_empty() {
            self.unless_upgrading(permit).await?;
        }
        Ok(names)
    }

    pub(crate) async fn kv1_exists(&self, mount: &Mount, path: &str) -> Result<bool, KvError> {
        Ok(self.barrier.get(&key_of(mount, path)?).await?.is_some())
    }

    /// `false` if somebody was faster.
    async fn kv1_change(
        &self,
        permit: &Permit,
        key: &Key,
        at: Option<Revision>,
        change: Change,
    ) -> Result<bool, KvError> {
        let mark = upgrade_key(permit.mount())?;
        let mut batch = Batch::new().require_absent(mark).require(key.clone(), at);
        batch.announcements.push(self.changed(permit, &change)?);
        batch.changes.push(change);
        match self.barrier.commit(batch).await {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => {
                self.unless_upgrading(permit).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a change tells of itself (docs/formats/events.md).
    fn changed(&self, permit: &Permit, change: &Change) -> Result<Zeroizing<Vec<u8>>, KvError> {
        let path = permit.path().as_str();
        let about = |kind| Event::about(permit, &*self.random, kind, path).with("modified", "true");
        let event = match change {
            Change::Put(..) => about("kv-v1/write").with("data_path", path),
            _ => about("kv-v1/delete"),
        };
        event.encode().map_err(|_| KvError::Corrupt)
    }

    async fn unless_upgrading(&self, permit: &Permit) -> Result<(), KvError> {
        match self.barrier.get(&upgrade_key(permit.mount())?).await? {
            Some(_) => Err(KvError::Upgrading),
            None => Ok(()),
        }
    }

    /// Moves some secrets of version 1 to version 2; whether there may be more.
    async fn upgrade_some(&self, mount: &Mount, now: Timestamp) -> Result<bool, KvError> {
        let prefix = mount.prefix("s");
        let range = KeyRange::prefix(prefix.clone());
        let keys = self.barrier.scan_keys(&range, ROUND).await?;
        for key in &keys {
            let path = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
            let path = path.map_err(|_| KvError::Corrupt)?;
            self.upgrade_one(mount, key, path, now).await?;
        }
        Ok(!keys.is_empty())
    }

    async fn upgrade_one(
        &self,
        mount: &Mount,
        key: &Key,
        path: &str,
        now: Timestamp,
    ) -> Result<(), KvError> {
        let Some(plain) = self.barrier.get(key).await? else {
            return Ok(());
        };
        let place = Place::of(mount, path)?;
        let generation = u64::from_be_bytes(random::bytes(&*self.random));
        let mut metadata = Metadata::new(generation, now);
        metadata.add_version(now, &Config::default());
        let version = place.version(generation, metadata.current)?;
        let mut batch = Batch::new()
            .require(key.clone(), Some(plain.revision))
            .require_absent(place.metadata().clone())
            .delete(key.clone());
        let metadata = Change::Put(place.metadata().clone(), metadata.encode()?);
        batch.changes.push(metadata);
        batch.changes.push(Change::Put(version, plain.value));
        match self.barrier.commit(batch).await {
            // Another head was faster.
            Ok(_) | Err(BarrierError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Moves the secrets of mounts that became version 2, in the background and across crashes.
pub struct Upgrades {
    kv: Arc<KvService>,
    access: Access,
}

impl Upgrades {
    /// For [`Access::also_do`].
    pub fn new(kv: Arc<KvService>, access: Access) -> Self {
        Self { kv, access }
    }
}

#[async_trait]
impl Chore for Upgrades {
    async fn round(&self) -> Result<bool, AccessError> {
        let mut progress = false;
        for mount in self.access.mounts()? {
            if mount.kind != MountKind::Kv || !mount.upgrading {
                continue;
            }
            progress = true;
            let more = self.kv.upgrade_some(&mount, self.access.now()?).await;
            match more {
                Ok(true) => {}
                Ok(false) => self.access.upgraded(&mount.id).await?,
                Err(KvError::Barrier(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(%error, "a secret cannot be moved to KV version 2");
                    return Err(AccessError::Corrupt);
                }
            }
        }
        Ok(progress)
    }
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrades")
    }
}

/// The key of the secret that `permit` is for.
fn permitted(permit: &Permit, operations: &[Operation]) -> Result<Key, KvError> {
    allowed(permit, operations)?;
    match permit.rest() {
        "" if permit.operation() == Operation::Read => Err(KvError::NotFound),
        "" => Err(KvError::MissingPath),
        path if path.ends_with('/') => match permit.operation() {
            Operation::Read => Err(KvError::NotFound),
            _ => Err(KvError::FolderPath),
        },
        path => key_of(permit.mount(), path),
    }
}

/// What the keys of the secrets below the permit's folder begin with.
fn prefix(permit: &Permit, operations: &[Operation]) -> Result<Vec<u8>, KvError> {
    allowed(permit, operations)?;
    let folder = permit.rest();
    if !matches!(folder.as_bytes().last(), None | Some(b'/')) {
        return Err(KvError::WrongPermit);
    }
    if folder.len() > MAX_PATH {
        return Err(KvError::PathTooLong);
    }
    let mut prefix = permit.mount().prefix("s");
    prefix.extend_from_slice(folder.as_bytes());
    Ok(prefix)
}

fn allowed(permit: &Permit, operations: &[Operation]) -> Result<(), KvError> {
    let fits = operations.contains(&permit.operation());
    match fits && permit.mount().kv_version() == 1 {
        true => Ok(()),
        false => Err(KvError::WrongPermit),
    }
}

fn key_of(mount: &Mount, path: &str) -> Result<Key, KvError> {
    if path.len() > MAX_PATH {
        return Err(KvError::PathTooLong);
    }
    mount.key("s", path).map_err(|_| KvError::PathTooLong)
}

fn upgrade_key(mount: &Mount) -> Result<Key, KvError> {
    mount.upgrade_key().map_err(|_| KvError::Corrupt)
}
