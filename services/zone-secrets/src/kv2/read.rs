//! Reading: one record for the list of versions, one for the version.

use std::fmt;

use serde_json::value::RawValue;
use zeroize::Zeroizing;
use zone_access::{Mount, Operation, Permit};
use zone_barrier::Batch;
use zone_types::Timestamp;

use super::place::{Area, Place};
use super::record::secret_text;
use super::skeleton::Skeleton;
use super::{KvError, KvService, VersionInfo};

/// Rereads while a version is being removed under the reader.
const REREADS: usize = 16;

/// One version as it was read.
pub struct Reading {
    /// What is known of it.
    pub info: VersionInfo,
    record: Option<Zeroizing<Vec<u8>>>,
}

impl Reading {
    /// The secret's JSON text as it was written; `None` if it is deleted or destroyed.
    pub fn data(&self) -> Result<Option<&RawValue>, KvError> {
        self.record
            .as_deref()
            .map(|record| secret_text(record))
            .transpose()
    }

    /// Whether there is no data any more.
    pub fn is_gone(&self) -> bool {
        self.record.is_none()
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, data [redacted]", self.info)
    }
}

/// The keys of one version.
#[derive(Debug)]
pub struct Subkeys {
    /// What is known of the version.
    pub info: VersionInfo,
    /// Its keys; `None` if it is deleted or destroyed.
    pub keys: Option<Skeleton>,
}

impl KvService {
    /// `data/PATH`: the current version, or `version`.
    ///
    /// # Errors
    ///
    /// [`KvError::NotFound`] if the secret does not exist or never had or no longer lists that
    /// version. A deleted or destroyed one is a [`Reading`] without data.
    pub async fn read(&self, permit: &Permit, version: Option<u64>) -> Result<Reading, KvError> {
        let place = Place::permitted(permit, Area::Data, &[Operation::Read])?;
        let reading = self.version(&place, version, permit.now()).await?;
        self.alert(permit, &place, &reading).await?;
        Ok(reading)
    }

    /// `subkeys/PATH`: the keys of the current version, or of `version`, down to `depth` levels
    /// (0: all), without their values. Errors as [`KvService::read`].
    pub async fn subkeys(
        &self,
        permit: &Permit,
        version: Option<u64>,
        depth: usize,
    ) -> Result<Subkeys, KvError> {
        let place = Place::permitted(permit, Area::Subkeys, &[Operation::Read])?;
        let reading = self.version(&place, version, permit.now()).await?;
        self.alert(permit, &place, &reading).await?;
        let keys = reading
            .data()?
            .map(|text| Skeleton::of(text.get(), depth))
            .transpose()?;
        Ok(Subkeys {
            info: reading.info,
            keys,
        })
    }

    /// Whether a write to `rest` (the path below the mount) meets something that exists. Decides
    /// between the capabilities `create` and `update` before the caller is judged, so it takes no
    /// permit and tells this one bit.
    pub async fn exists(&self, mount: &Mount, rest: &str) -> Result<bool, KvError> {
        if mount.kv_version() == 1 {
            return self.kv1_exists(mount, rest).await;
        }
        let path = rest
            .strip_prefix("data/")
            .or_else(|| rest.strip_prefix("metadata/"));
        // Vault asks for `update` on every endpoint that is not about one secret's existence.
        let Some(path) = path else { return Ok(true) };
        let place = Place::of(mount, path)?;
        Ok(self.barrier.get(place.metadata()).await?.is_some())
    }

    /// Tells that a watched secret was read, before anybody sees what it is: what cannot be told
    /// is not read.
    async fn alert(
        &self,
        permit: &Permit,
        place: &Place<'_>,
        reading: &Reading,
    ) -> Result<(), KvError> {
        if reading.is_gone() || !reading.info.is_canary() {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.announcements.push(self.canary_read(permit, place)?);
        self.barrier.commit(batch).await?;
        Ok(())
    }

    async fn version(
        &self,
        place: &Place<'_>,
        version: Option<u64>,
        now: Timestamp,
    ) -> Result<Reading, KvError> {
        let mut last_seen = None;
        for _ in 0..REREADS {
            let (metadata, revision) = self.metadata(place).await?.ok_or(KvError::NotFound)?;
            let number = version.unwrap_or(metadata.current);
            let listed = metadata.version(number).ok_or(KvError::NotFound)?;
            let info = metadata.info(number).ok_or(KvError::NotFound)?;
            if listed.destroyed || listed.is_deleted(now) {
                return Ok(Reading { info, record: None });
            }
            let key = place.version(metadata.generation, number)?;
            if let Some(plain) = self.barrier.get(&key).await? {
                return Ok(Reading {
                    info,
                    record: Some(plain.value),
                });
            }
            // Removed since the list was read, unless the list is still the same.
            if last_seen.replace(revision) == Some(revision) {
                return Err(KvError::Corrupt);
            }
        }
        Err(KvError::Barrier(zone_barrier::BarrierError::Conflict))
    }
}
