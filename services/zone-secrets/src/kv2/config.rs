//! The settings of a mount.

use std::time::Duration;

use zone_access::{Operation, Permit};
use zone_barrier::Batch;
use zone_barrier::batch::Change;

use super::place::config_key;
use super::{KvError, KvService, MOST_VERSIONS};

/// After what time the versions of a mount are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// As each secret says.
    Unset,
    /// After this time, or sooner if the secret says so. Whole seconds, a fraction counts as one.
    After(Duration),
    /// Never, whatever a secret says.
    Disabled,
}

/// The settings of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountSettings {
    /// Versions to keep; 0: the default of 10. The larger one of mount and secret counts.
    pub max_versions: u32,
    /// Whether each write needs check-and-set.
    pub cas_required: bool,
    /// Whether each change of metadata needs check-and-set.
    pub metadata_cas_required: bool,
    /// When versions are deleted.
    pub delete_version_after: Expiry,
}

/// What to change; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigUpdate {
    /// See [`MountSettings::max_versions`].
    pub max_versions: Option<u32>,
    /// See [`MountSettings::cas_required`].
    pub cas_required: Option<bool>,
    /// See [`MountSettings::metadata_cas_required`].
    pub metadata_cas_required: Option<bool>,
    /// See [`MountSettings::delete_version_after`].
    pub delete_version_after: Option<Expiry>,
}

impl KvService {
    /// `config`: the settings.
    pub async fn read_config(&self, permit: &Permit) -> Result<MountSettings, KvError> {
        permitted(permit, &[Operation::Read])?;
        let (config, _) = self.config(permit.mount()).await?;
        Ok(MountSettings {
            max_versions: config.max_versions,
            cas_required: config.cas_required,
            metadata_cas_required: config.metadata_cas_required,
            delete_version_after: config.expiry(),
        })
    }

    /// `config`: changes settings. They hold for writes from then on.
    pub async fn write_config(&self, permit: &Permit, update: ConfigUpdate) -> Result<(), KvError> {
        permitted(permit, &[Operation::Create, Operation::Update])?;
        if update.max_versions.is_some_and(|most| most > MOST_VERSIONS) {
            return Err(KvError::TooManyVersions);
        }
        let key = config_key(permit.mount())?;
        let _turn = self.turns.wait(&key).await;
        let (mut config, revision) = self.config(permit.mount()).await?;
        let before = config.clone();
        config.max_versions = update.max_versions.unwrap_or(config.max_versions);
        config.cas_required = update.cas_required.unwrap_or(config.cas_required);
        config.metadata_cas_required = update
            .metadata_cas_required
            .unwrap_or(config.metadata_cas_required);
        if let Some(expiry) = update.delete_version_after {
            config.delete_after = stored(expiry);
        }
        if config == before {
            return Ok(());
        }
        let mut batch = Batch::new().require(key.clone(), revision);
        batch.changes.push(Change::Put(key, config.encode()?));
        batch.announcements.push(self.config_written(permit)?);
        // Writers in this head have taken turns, so a conflict means another head.
        self.barrier.commit(batch).await?;
        Ok(())
    }
}

fn permitted(permit: &Permit, operations: &[Operation]) -> Result<(), KvError> {
    super::place::versioned(permit)?;
    match permit.rest() == "config" && operations.contains(&permit.operation()) {
        true => Ok(()),
        false => Err(KvError::WrongPermit),
    }
}

fn stored(expiry: Expiry) -> i64 {
    match expiry {
        Expiry::Unset => 0,
        Expiry::Disabled => -1,
        Expiry::After(span) => i64::try_from(whole_seconds(span)).unwrap_or(i64::MAX),
    }
}

/// Seconds, rounded up: a time below one second must not become "never".
pub(super) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
