//! What ends when: one ordered index on disk in place of a timer for each token.
//!
//! Keys are `core/expiry/<seconds, 16 hex digits>/<kind>/<id>`, so the first page of a scan is
//! what ends first, whatever the number of entries. Of a token the index says no more than that
//! it may have ended, and the same of a lease; of other services' records it names the keys that go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zone_barrier::Batch;
use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use crate::record::{V1, decode};
use crate::token::{TokenId, tree};
use crate::{Access, AccessError, OpenState};

const PREFIX: &str = "core/expiry/";
/// Entries that one round takes up.
const PAGE: usize = 250;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiryKind {
    /// A token.
    Token,
    /// A lease.
    Lease,
    /// Records of a service above.
    Keys,
}

impl ExpiryKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Lease => "lease",
            Self::Keys => "keys",
        }
    }
}

/// The index entry of `id`, which ends at `end`.
pub(crate) fn key(end: Timestamp, kind: ExpiryKind, id: &str) -> Result<Key, AccessError> {
    let secs = u64::try_from(end.secs()).unwrap_or(0);
    Ok(Key::new(format!(
        "{PREFIX}{secs:016x}/{}/{id}",
        kind.as_str()
    ))?)
}

/// Most keys of one [`keys_entry`].
pub const MOST_KEYS: usize = 3;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysRecord {
    v: V1,
    keys: Vec<String>,
}

/// The index entry that has `keys` removed once `end` has passed, for records of a service above.
/// It belongs into the batch that writes them, and its removal into the batch that removes them:
/// the sweep does not look at what it removes. `id` tells entries of one second apart.
pub fn keys_entry(end: Timestamp, id: &str, keys: &[&Key]) -> Result<(Key, Vec<u8>), AccessError> {
    debug_assert!(keys.len() <= MOST_KEYS, "a step of the sweep is one batch");
    let text = |key: &&Key| match std::str::from_utf8(key.as_bytes()) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(AccessError::invalid("a name in the request is not UTF-8")),
    };
    let record = KeysRecord {
        v: V1,
        keys: keys.iter().map(text).collect::<Result<_, _>>()?,
    };
    Ok((
        key(end, ExpiryKind::Keys, id)?,
        serde_json::to_vec(&record)?,
    ))
}

impl Access {
    /// Ends what has expired, at most one page; `true` if something was done, so that there may
    /// be more.
    pub(crate) async fn sweep_expired(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let now = self.instant();
        let end = format!("{PREFIX}{:016x}", u64::try_from(now.secs()).unwrap_or(0));
        let range = KeyRange {
            start: PREFIX.into(),
            end: Some(end.into()),
        };
        let due = self.barrier.scan_keys(&range, PAGE).await?;
        let mut progress = false;
        for some in due.chunks(tree::STEP) {
            progress |= self.expire(&state, some, now).await?;
        }
        Ok(progress)
    }

    async fn expire(
        &self,
        state: &Arc<OpenState>,
        due: &[Key],
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let (mut tokens, mut leftovers) = (Vec::new(), Batch::new());
        for key in due {
            if is_of(key, ExpiryKind::Keys) {
                leftovers = self.with_keys_of(key, leftovers).await?;
                continue;
            }
            if is_of(key, ExpiryKind::Lease) {
                leftovers = self.lease_due(state, key, now, leftovers).await?;
                continue;
            }
            let found = match TokenId::of_key(key) {
                Some(id) => self.read_token(state, &id).await,
                None => Err(AccessError::Corrupt),
            };
            match found {
                Ok(Some(entry)) if entry.record.expire_time.is_some_and(|end| end <= now) => {
                    tokens.push(entry);
                }
                // Renewed meanwhile, or gone: only the entry is left over.
                Ok(_) => leftovers = leftovers.delete(key.clone()),
                Err(AccessError::Corrupt) => {
                    tracing::error!("a token that is due is corrupt and is left alone");
                }
                Err(other) => return Err(other),
            }
        }
        if tokens.is_empty() && leftovers.changes.is_empty() {
            return Ok(false);
        }
        self.end_all(state, &tokens, leftovers).await
    }

    /// Adds the removal of `entry` and of what it names. Whoever wrote them anew meanwhile has
    /// removed the entry, so it must still be as it was read.
    async fn with_keys_of(&self, entry: &Key, mut batch: Batch) -> Result<Batch, AccessError> {
        let Some(plain) = self.barrier.get(entry).await? else {
            return Ok(batch);
        };
        let Ok(record) = decode::<KeysRecord>(&plain) else {
            tracing::error!("an expiry entry is corrupt and does nothing");
            return Ok(batch);
        };
        batch = batch
            .require(entry.clone(), Some(plain.revision))
            .delete(entry.clone());
        for key in record.keys.into_iter().take(MOST_KEYS) {
            batch = batch.delete(Key::new(key)?);
        }
        Ok(batch)
    }
}

fn is_of(key: &Key, kind: ExpiryKind) -> bool {
    let mut segments = key.as_bytes()[PREFIX.len()..].split(|byte| *byte == b'/');
    segments.nth(1) == Some(kind.as_str().as_bytes())
}
