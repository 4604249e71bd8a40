//! What ends when: one ordered index on disk in place of a timer for each token.
//!
//! Keys are `core/expiry/<seconds, 16 hex digits>/<kind>/<id>`, so the first page of a scan is
//! what ends first, whatever the number of entries.

use std::collections::VecDeque;

use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use crate::token::TokenId;
use crate::{Access, AccessError};

const PREFIX: &str = "core/expiry/";

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiryKind {
    /// A token.
    Token,
}

impl ExpiryKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
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

impl Access {
    /// Ends what has expired, at most one page; `true` if there may be more.
    pub(crate) async fn sweep_expired(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let now = state.floor.now(&*self.clock);
        let end = format!("{PREFIX}{:016x}", u64::try_from(now.secs()).unwrap_or(0));
        let range = KeyRange {
            start: PREFIX.into(),
            end: Some(end.into()),
        };
        let mut due: VecDeque<Key> = self.barrier.scan_keys(&range, 256).await?.into();
        let any = !due.is_empty();
        while let Some(key) = due.pop_front() {
            self.expire(&key, now).await?;
        }
        Ok(any)
    }

    async fn expire(&self, key: &Key, now: Timestamp) -> Result<(), AccessError> {
        let text = String::from_utf8_lossy(key.as_bytes()).into_owned();
        let id = text.rsplit('/').next().unwrap_or_default();
        let id = TokenId::from_hex(id);
        let state = self.state()?;
        match self.read_token(&state, &id).await? {
            Some(entry) if entry.record.expire_time.is_some_and(|end| end <= now) => {
                self.revoke_token(&id).await
            }
            // Renewed meanwhile, or gone: only the entry is left over.
            _ => {
                let batch = zone_barrier::Batch::new().delete(key.clone());
                self.barrier
                    .commit(batch)
                    .await
                    .map(|_| ())
                    .map_err(Into::into)
            }
        }
    }
}
