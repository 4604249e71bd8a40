//! What ends when: one ordered index on disk in place of a timer for each token.
//!
//! Keys are `core/expiry/<seconds, 16 hex digits>/<kind>/<id>`, so the first page of a scan is
//! what ends first, whatever the number of entries.

use std::sync::Arc;

use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

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
        let (mut tokens, mut leftovers) = (Vec::new(), Vec::new());
        for key in due {
            let digits = key.as_bytes().rsplit(|byte| *byte == b'/').next();
            let found = match digits.and_then(TokenId::from_hex) {
                Some(id) => self.read_token(state, &id).await,
                None => Err(AccessError::Corrupt),
            };
            match found {
                Ok(Some(entry)) if entry.record.expire_time.is_some_and(|end| end <= now) => {
                    tokens.push(entry);
                }
                // Renewed meanwhile, or gone: only the entry is left over.
                Ok(_) => leftovers.push(key.clone()),
                Err(AccessError::Corrupt) => {
                    tracing::error!("a token that is due is corrupt and is left alone");
                }
                Err(other) => return Err(other),
            }
        }
        if tokens.is_empty() && leftovers.is_empty() {
            return Ok(false);
        }
        self.end_all(state, &tokens, &leftovers).await
    }
}
