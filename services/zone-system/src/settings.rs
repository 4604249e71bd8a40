//! What operators set for the zone as a whole: which web pages may call, which request headers
//! the audit trail shows, which headers a user interface is to send.
//!
//! One record, in memory while the zone is open. A change is conditional on the record that it
//! was made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zone_access::Permit;
use zone_barrier::{BarrierError, Batch};
use zone_ports::Key;

use crate::{System, SystemError, known_version};

const RECORD: &str = "core/settings";
/// Largest record in bytes.
const LARGEST: usize = 32 * 1024;
/// How often a change that lost a race is tried again.
const TRIES: usize = 16;

/// The settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Cross-origin requests; `None`: not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Request headers in the audit trail, by lower-case name.
    pub audited_headers: BTreeMap<String, AuditedHeader>,
    /// Headers for a user interface, by lower-case name.
    pub ui_headers: BTreeMap<String, Vec<String>>,
}

/// Which web pages may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins (`https://ui.example`), or `*` alone for all.
    pub allowed_origins: Vec<String>,
    /// Request headers that they may send.
    pub allowed_headers: Vec<String>,
}

/// How a request header stands in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditedHeader {
    /// As an HMAC, else in the clear.
    pub hmac: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(deserialize_with = "known_version")]
    v: u8,
    settings: Settings,
}

impl System {
    /// The settings; those of a new zone while sealed.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Changes the settings. Durable and in force when it returns.
    ///
    /// # Errors
    ///
    /// What `change` says, or [`SystemError::Invalid`] if they become too large.
    pub async fn change_settings(
        &self,
        _permit: &Permit,
        change: impl Fn(&mut Settings) -> Result<(), SystemError> + Send + Sync,
    ) -> Result<(), SystemError> {
        let _one = self.changing_settings.lock().await;
        for _ in 0..TRIES {
            let stored = self.stored_settings().await?;
            let revision = stored.as_ref().map(|(_, revision)| *revision);
            let mut settings = stored.map_or_else(Settings::default, |(settings, _)| settings);
            change(&mut settings)?;
            let record = Record { v: 1, settings };
            let value = serde_json::to_vec(&record).map_err(|_| SystemError::Corrupt)?;
            if value.len() > LARGEST {
                let text = "the settings of a zone have at most 32 KiB";
                return Err(SystemError::Invalid(text.into()));
            }
            let batch = Batch::new().require(key()?, revision).put(key()?, value);
            match self.barrier.commit(batch).await {
                Ok(_) => {
                    self.settings.store(Arc::new(record.settings));
                    return Ok(());
                }
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(SystemError::Invalid(
            "the settings changed meanwhile: try again".into(),
        ))
    }

    pub(crate) async fn load_settings(&self) -> Result<(), SystemError> {
        let stored = self.stored_settings().await?;
        let settings = stored.map_or_else(Settings::default, |(settings, _)| settings);
        self.settings.store(Arc::new(settings));
        Ok(())
    }

    pub(crate) fn forget_settings(&self) {
        self.settings.store(Arc::default());
    }

    async fn stored_settings(
        &self,
    ) -> Result<Option<(Settings, zone_ports::store::Revision)>, SystemError> {
        let Some(plain) = self.barrier.get(&key()?).await? else {
            return Ok(None);
        };
        let record: Record =
            serde_json::from_slice(&plain.value).map_err(|_| SystemError::Corrupt)?;
        Ok(Some((record.settings, plain.revision)))
    }
}

fn key() -> Result<Key, SystemError> {
    Key::new(RECORD).map_err(|_| SystemError::Corrupt)
}
