//! Which versions of the program have opened the zone, and when each did so first.

use serde::{Deserialize, Serialize};
use zone_access::Permit;
use zone_barrier::{BarrierError, Batch};
use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use crate::{System, SystemError, known_version};

const PREFIX: &str = "core/version/";
/// Most that are shown, and kept.
const MOST: usize = 1000;

/// One version of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The version.
    pub version: String,
    /// When it opened the zone after another one had.
    pub at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(deserialize_with = "known_version")]
    v: u8,
    version: String,
    installed: Timestamp,
}

impl System {
    /// The versions, the oldest first. One that came back stands there again.
    pub async fn version_history(&self, _permit: &Permit) -> Result<Vec<Installed>, SystemError> {
        self.installed().await
    }

    /// Notes the running version, if another one opened the zone last.
    pub(crate) async fn note_version(&self) -> Result<(), SystemError> {
        let known = self.installed().await?;
        let same = known
            .last()
            .is_some_and(|last| last.version == self.version);
        if same || known.len() >= MOST {
            return Ok(());
        }
        let record = Record {
            v: 1,
            version: self.version.to_owned(),
            installed: self.clock.now(),
        };
        let key = Key::new(format!("{PREFIX}{:08x}", known.len()));
        let key = key.map_err(|_| SystemError::Corrupt)?;
        let value = serde_json::to_vec(&record).map_err(|_| SystemError::Corrupt)?;
        let batch = Batch::new().require_absent(key.clone()).put(key, value);
        match self.barrier.commit(batch).await {
            // Another unseal was faster.
            Ok(_) | Err(BarrierError::Conflict) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    async fn installed(&self) -> Result<Vec<Installed>, SystemError> {
        let found = self.barrier.scan(&KeyRange::prefix(PREFIX), MOST).await?;
        let read = |(_, plain): &(Key, zone_barrier::Plain)| {
            let record: Record =
                serde_json::from_slice(&plain.value).map_err(|_| SystemError::Corrupt)?;
            Ok(Installed {
                version: record.version,
                at: record.installed,
            })
        };
        found.iter().map(read).collect()
    }
}
