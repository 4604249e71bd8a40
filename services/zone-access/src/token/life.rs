//! Renewing, using up and listing tokens.

use std::sync::Arc;

use parking_lot::Mutex;
use zone_barrier::{BarrierError, Batch};
use zone_ports::KeyRange;

use super::create::renewed_until;
use super::{TokenEntry, TokenId, TokenRecord};
use crate::expiry::{self, ExpiryKind};
use crate::permit::Permit;
use crate::{Access, AccessError, OpenState};

/// How often a change that lost a race is tried again.
pub(super) const TRIES: usize = 64;

impl Access {
    /// Renews `token` by `increment` seconds (zero: by what it was made with), within its
    /// maximum.
    pub async fn renew_token(
        &self,
        permit: &Permit,
        token: &TokenEntry,
        increment: u64,
    ) -> Result<Arc<TokenEntry>, AccessError> {
        let state = self.state()?;
        for _ in 0..TRIES {
            let now = permit.now();
            let found = self.read_token(&state, &token.id).await?;
            let current = found.ok_or(AccessError::Missing("token not found"))?;
            if !current.record.renewable {
                return Err(AccessError::invalid("lease is not renewable"));
            }
            let mut record = current.record.clone();
            let end = renewed_until(
                &record,
                state.tokens.mount.config.max_lease_ttl,
                increment,
                now,
            );
            if end <= now {
                return Err(AccessError::invalid("past the max TTL, cannot renew"));
            }
            record.expire_time = Some(end);
            record.last_renewal = Some(now);
            if let Some(entry) = self.rewrite(&state, &current, record).await? {
                return Ok(entry);
            }
        }
        Err(AccessError::Busy)
    }

    /// Counts one use of a token with limited uses, exactly once for each request. `None` if
    /// there is no use left. The last use ends the token; this request still goes on with it.
    pub(crate) async fn use_token(
        &self,
        state: &OpenState,
        entry: Arc<TokenEntry>,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if entry.record.num_uses == 0 {
            return Ok(Some(entry));
        }
        for _ in 0..TRIES {
            let Some(current) = self.read_token(state, &entry.id).await? else {
                return Ok(None);
            };
            if current.record.num_uses == 1 {
                return match self.revoke_if_unchanged(state, &current).await? {
                    true => Ok(Some(Arc::new(current))),
                    false => continue,
                };
            }
            let mut record = current.record.clone();
            record.num_uses -= 1;
            if let Some(entry) = self.rewrite(state, &current, record).await? {
                return Ok(Some(entry));
            }
        }
        Err(AccessError::Busy)
    }

    /// Replaces the record of `current`; `None` if somebody else was faster.
    async fn rewrite(
        &self,
        state: &OpenState,
        current: &TokenEntry,
        record: TokenRecord,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        let key = state.tokens.key(&current.id)?;
        let mut batch = Batch::new()
            .require(key.clone(), Some(current.revision))
            .put(key, serde_json::to_vec(&record)?);
        if record.expire_time != current.record.expire_time {
            if let Some(end) = current.record.expire_time {
                batch = batch.delete(expiry::key(end, ExpiryKind::Token, current.id.as_str())?);
            }
            if let Some(end) = record.expire_time {
                batch = batch.put(
                    expiry::key(end, ExpiryKind::Token, current.id.as_str())?,
                    "{\"v\":1}",
                );
            }
        }
        match self.barrier.commit(batch).await {
            Ok(revision) => {
                state.tokens.drop_cached(&current.id);
                let id = current.id.clone();
                let entry = TokenEntry {
                    id,
                    record,
                    revision,
                    compiled: Mutex::new(None),
                };
                Ok(Some(Arc::new(entry)))
            }
            Err(BarrierError::Conflict) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The accessors of all tokens that count now, in no order.
    pub async fn accessors(&self, permit: &Permit) -> Result<Vec<String>, AccessError> {
        let state = self.state()?;
        let mut accessors = Vec::new();
        let prefix = state.tokens.mount.prefix("token");
        let mut range = KeyRange::prefix(prefix.clone());
        loop {
            let keys = self.barrier.scan_keys(&range, 1000).await?;
            let Some(last) = keys.last() else {
                return Ok(accessors);
            };
            range = range.after(last);
            for key in &keys {
                let hex = key.as_bytes().get(prefix.len()..).unwrap_or_default();
                let id = TokenId(String::from_utf8_lossy(hex).into());
                if let Some(entry) = self.live(&state, &id, permit.now()).await? {
                    accessors.push(entry.record.accessor.clone());
                }
            }
        }
    }
}
