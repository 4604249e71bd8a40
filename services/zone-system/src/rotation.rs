//! When a new term of the barrier's key begins by itself: after so many records, or so much time.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zone_access::Permit;
use zone_barrier::Batch;
use zone_ports::Key;

use crate::{System, SystemError};

const RECORD: &str = "core/rotation";
/// Records under one term, as in Vault: some 10 % below 2^32.
const MAX_OPERATIONS: u64 = 3_865_470_566;
/// The least that can be set, as in Vault.
const LEAST_OPERATIONS: u64 = 1_000_000;
/// The shortest interval that can be set, as in Vault.
const LEAST_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// What `sys/rotate/config` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationConfig {
    /// Whether terms also begin by time. By count they always do (B3).
    pub enabled: bool,
    /// Records under one term: 1,000,000 to 3,865,470,566.
    pub max_operations: u64,
    /// Seconds after which a term ends; zero for never, else a day or more.
    pub interval: u64,
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max_operations: MAX_OPERATIONS,
            interval: 0,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u8,
    config: RotationConfig,
}

impl System {
    /// What is configured.
    pub fn rotation(&self, _permit: &Permit) -> RotationConfig {
        *self.rotation.lock()
    }

    /// Changes it, durably; holds for the active term too.
    pub async fn set_rotation(
        &self,
        _permit: &Permit,
        config: RotationConfig,
    ) -> Result<(), SystemError> {
        let invalid = |text: &str| Err(SystemError::Invalid(text.into()));
        if !(LEAST_OPERATIONS..=MAX_OPERATIONS).contains(&config.max_operations) {
            return invalid("field 'max_operations': expected 1000000 to 3865470566");
        }
        if config.interval > 0 && config.interval < LEAST_INTERVAL.as_secs() {
            return invalid("field 'interval': expected 0 (never) or at least 24h");
        }
        let record = Record { v: 1, config };
        let value = serde_json::to_vec(&record).map_err(|_| SystemError::Corrupt)?;
        let _one = self.turning.lock().await;
        let batch = Batch::new().put(key(), value);
        self.barrier.commit(batch).await?;
        self.take_rotation(config);
        Ok(())
    }

    /// Reads it when the zone opens.
    pub(crate) async fn load_rotation(&self) -> Result<(), SystemError> {
        let config = match self.barrier.get(&key()).await? {
            None => RotationConfig::default(),
            Some(plain) => match serde_json::from_slice::<Record>(&plain.value) {
                Ok(Record { v: 1, config }) => config,
                _ => return Err(SystemError::Corrupt),
            },
        };
        self.take_rotation(config);
        Ok(())
    }

    fn take_rotation(&self, config: RotationConfig) {
        *self.rotation.lock() = config;
        self.barrier.set_rotation_bound(config.max_operations);
    }

    /// Begins a new term if the active one is older than the interval.
    pub(crate) async fn rotate_if_due(&self) -> Result<(), SystemError> {
        let config = *self.rotation.lock();
        if !config.enabled || config.interval == 0 {
            return Ok(());
        }
        let now = self.access.now()?;
        let status = self.barrier.key_status()?;
        if now.since(status.install_time) >= Duration::from_secs(config.interval) {
            let next = self.barrier.rotate(now).await?;
            tracing::info!(term = next.term, "a new term of the storage key, by time");
        }
        Ok(())
    }
}

fn key() -> Key {
    Key::new(RECORD).expect("a short key")
}
