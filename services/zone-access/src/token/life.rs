//! Renewing, using up and listing tokens.

use std::sync::Arc;

use zone_barrier::{BarrierError, Batch};
use zone_ports::KeyRange;

use super::create::{or, renewed_until};
use super::tree::Children;
use super::{TokenEntry, TokenKind, TokenRecord};
use crate::expiry::{self, ExpiryKind};
use crate::mount::MountKind;
use crate::permit::Permit;
use crate::record::{MARK, decode};
use crate::{Access, AccessError, OpenState};

/// How often a change that lost a race is tried again.
pub(crate) const TRIES: usize = 64;

impl Access {
    /// Renews `token` by `increment` seconds (zero: by what it was made with), within its
    /// maximum.
    pub async fn renew_token(
        &self,
        _permit: &Permit,
        token: &TokenEntry,
        increment: u64,
    ) -> Result<Arc<TokenEntry>, AccessError> {
        let state = self.state()?;
        if token.kind == TokenKind::Batch {
            return Err(AccessError::invalid("batch tokens cannot be renewed"));
        }
        for _ in 0..TRIES {
            let now = self.instant();
            let found = self.read_token(&state, &token.id).await?;
            let current = found
                .filter(|token| !token.record.expired(now))
                .ok_or(AccessError::Missing("token not found"))?;
            if !current.record.renewable {
                return Err(AccessError::invalid("lease is not renewable"));
            }
            let mut record = current.record.clone();
            let ttl = self.renew_by_role(&state, &mut record).await?;
            let increment = or(increment, ttl);
            let end = renewed_until(&record, self.longest(&state, &record), increment, now);
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

    /// Lets the role that made a token have its say once more. The time to live that it gives;
    /// zero if it does not say.
    async fn renew_by_role(
        &self,
        state: &OpenState,
        record: &mut TokenRecord,
    ) -> Result<u64, AccessError> {
        if let Some(terms) = self.renewal_terms(record).await? {
            (record.max_ttl, record.period) = (terms.max_ttl, terms.period);
            return Ok(terms.ttl);
        }
        let (Some(name), None) = (&record.role, &record.auth_mount) else {
            return Ok(0);
        };
        match self.stored_role(state, name).await? {
            Some(role) => {
                role.renew(record);
                Ok(0)
            }
            None => Err(AccessError::invalid(
                "original token role could not be found, not renewing",
            )),
        }
    }

    /// Counts one use of a token with limited uses, exactly once for each request. `None` if
    /// there is no use left. The last use ends the token; this request still goes on with it.
    pub(crate) async fn use_token(
        &self,
        state: &Arc<OpenState>,
        entry: Arc<TokenEntry>,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        // The one use of a wrapping token ends it together with what it wraps.
        if entry.record.num_uses == 0 || entry.record.is_wrapping() {
            return Ok(Some(entry));
        }
        // One use after the other: of many at once all but one would lose each round.
        let _turn = state.tokens.turn(&entry.id).lock().await;
        for _ in 0..TRIES {
            let Some(current) = self.read_token(state, &entry.id).await? else {
                return Ok(None);
            };
            if current.record.num_uses == 1 {
                if self
                    .end_if_unchanged(state, &current, Children::End)
                    .await?
                {
                    return Ok(Some(Arc::new(current)));
                }
                continue;
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
        state: &Arc<OpenState>,
        current: &TokenEntry,
        record: TokenRecord,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        let id = current.id.clone();
        let key = state.tokens.key(&id)?;
        let mut batch = Batch::new()
            .require(key.clone(), Some(current.revision))
            .put(key, serde_json::to_vec(&record)?);
        if record.expire_time != current.record.expire_time {
            if let Some(end) = current.record.expire_time {
                batch = batch.delete(expiry::key(end, ExpiryKind::Token, id.as_str())?);
            }
            if let Some(end) = record.expire_time {
                batch = batch.put(expiry::key(end, ExpiryKind::Token, id.as_str())?, MARK);
            }
        }
        match self.change_tokens(state, batch, vec![id.clone()]).await {
            Ok(revision) => Ok(Some(Arc::new(TokenEntry::new(id, record, revision)))),
            Err(BarrierError::Conflict) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The accessors of all tokens that count now, in no order.
    pub async fn accessors(&self, _permit: &Permit) -> Result<Vec<String>, AccessError> {
        let state = self.state()?;
        let now = self.instant();
        let mut accessors = Vec::new();
        let mut range = KeyRange::prefix(state.tokens.mount.prefix("token"));
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(accessors);
            };
            range = range.after(last);
            for (_, plain) in &page {
                let record: TokenRecord = decode(plain)?;
                // Past the cache, which is for tokens that are used.
                let counts = match &record.parent {
                    _ if record.expired(now) || !state.token_stands(&record) => false,
                    None => true,
                    Some(parent) => self.parent_counts(&state, parent, now).await?,
                };
                if counts {
                    accessors.push(record.accessor);
                }
            }
        }
    }
}

impl Access {
    /// The longest lease time of the mount that made a token.
    fn longest(&self, state: &OpenState, record: &TokenRecord) -> u64 {
        let mount = match &record.auth_mount {
            Some(id) => state.mounts.by_id(id),
            None => state.mounts.built_in(MountKind::Token),
        };
        mount.map_or(self.times.max, |mount| self.lease_times(&mount).max)
    }
}
