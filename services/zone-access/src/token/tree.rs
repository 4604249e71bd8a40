//! Ending tokens: a token and all its descendants by one durable batch, then the cleaning up.
//!
//! The batch deletes the token's record, which ends the whole tree (see the module above), and
//! writes one work record if there are children. [`Access::sweep_trees`] then removes the
//! descendants' records step by step; each step is a batch of its own that leaves the work
//! records right, so a crash anywhere resumes at the next unseal.

use zone_barrier::{BarrierError, Batch};
use zone_ports::{Key, KeyRange};

use super::{TokenEntry, TokenId};
use crate::expiry::{self, ExpiryKind};
use crate::{Access, AccessError, OpenState};

const WORK: &str = "core/token-tree/";
/// Children that one step removes: five operations each stay below a batch's sixty.
const STEP: usize = 10;

impl Access {
    /// Ends a token and its descendants. Durable and in force when it returns.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), AccessError> {
        let state = self.state()?;
        for _ in 0..64 {
            let Some(entry) = self.read_token(&state, id).await? else {
                return Ok(());
            };
            if self.revoke_if_unchanged(&state, &entry).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// Ends a token and leaves its children as orphans' orphans: each child loses its parent.
    pub async fn revoke_orphan(&self, id: &TokenId) -> Result<(), AccessError> {
        let state = self.state()?;
        self.release_children(&state, id).await?;
        self.revoke_token(id).await
    }

    pub(crate) async fn revoke_if_unchanged(
        &self,
        state: &OpenState,
        entry: &TokenEntry,
    ) -> Result<bool, AccessError> {
        // The work record is written without a look for children: one that is being made at this
        // very moment would be missed.
        let batch = self
            .removal(state, Batch::new(), entry)?
            .require(state.tokens.key(&entry.id)?, Some(entry.revision))
            .put(work_key(&entry.id)?, "{\"v\":1}");
        let result = self.barrier.commit(batch).await;
        state.tokens.drop_cached(&entry.id);
        match result {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Adds the removal of all records of one token.
    fn removal(
        &self,
        state: &OpenState,
        batch: Batch,
        entry: &TokenEntry,
    ) -> Result<Batch, AccessError> {
        let tokens = &state.tokens;
        let mut batch = batch
            .delete(tokens.key(&entry.id)?)
            .delete(tokens.accessor_key(&entry.record.accessor)?);
        if let Some(end) = entry.record.expire_time {
            batch = batch.delete(expiry::key(end, ExpiryKind::Token, entry.id.as_str())?);
        }
        if let Some(parent) = &entry.record.parent {
            batch = batch.delete(tokens.child_key(parent, &entry.id)?);
        }
        Ok(batch)
    }

    /// Removes what revoked trees left behind; `true` if there may be more. Called in a loop by
    /// the zone's background work.
    pub(crate) async fn sweep_trees(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let work = self.barrier.scan_keys(&KeyRange::prefix(WORK), 16).await?;
        for key in &work {
            let hex = key.as_bytes().get(WORK.len()..).unwrap_or_default();
            let parent = TokenId(String::from_utf8_lossy(hex).into());
            self.sweep_one(&state, &parent).await?;
        }
        Ok(!work.is_empty())
    }

    async fn sweep_one(&self, state: &OpenState, parent: &TokenId) -> Result<(), AccessError> {
        let children = self.children(state, parent, STEP).await?;
        if children.is_empty() {
            self.barrier
                .commit(Batch::new().delete(work_key(parent)?))
                .await?;
            return Ok(());
        }
        let mut batch = Batch::new();
        for child in &children {
            match self.read_token(state, child).await? {
                Some(entry) => {
                    batch = self.removal(state, batch, &entry)?;
                    if !self.children(state, child, 1).await?.is_empty() {
                        batch = batch.put(work_key(child)?, "{\"v\":1}");
                    }
                }
                None => batch = batch.delete(state.tokens.child_key(parent, child)?),
            }
        }
        let result = self.barrier.commit(batch).await;
        for child in &children {
            state.tokens.drop_cached(child);
        }
        result.map(|_| ()).map_err(Into::into)
    }

    async fn release_children(&self, state: &OpenState, id: &TokenId) -> Result<(), AccessError> {
        loop {
            let children = self.children(state, id, STEP).await?;
            if children.is_empty() {
                return Ok(());
            }
            for child in &children {
                let mut batch = Batch::new().delete(state.tokens.child_key(id, child)?);
                if let Some(entry) = self.read_token(state, child).await? {
                    let mut record = entry.record.clone();
                    record.parent = None;
                    let key = state.tokens.key(child)?;
                    batch = batch
                        .require(key.clone(), Some(entry.revision))
                        .put(key, serde_json::to_vec(&record)?);
                }
                match self.barrier.commit(batch).await {
                    Ok(_) | Err(BarrierError::Conflict) => state.tokens.drop_cached(child),
                    Err(other) => return Err(other.into()),
                }
            }
        }
    }

    async fn children(
        &self,
        state: &OpenState,
        parent: &TokenId,
        limit: usize,
    ) -> Result<Vec<TokenId>, AccessError> {
        let mut prefix = state.tokens.mount.prefix("child");
        prefix.extend_from_slice(parent.as_str().as_bytes());
        prefix.push(b'/');
        let keys = self
            .barrier
            .scan_keys(&KeyRange::prefix(prefix.clone()), limit)
            .await?;
        let id = |key: &Key| {
            let hex = key.as_bytes().get(prefix.len()..).unwrap_or_default();
            TokenId(String::from_utf8_lossy(hex).into())
        };
        Ok(keys.iter().map(id).collect())
    }
}

fn work_key(id: &TokenId) -> Result<Key, AccessError> {
    Ok(Key::new(format!("{WORK}{}", id.as_str()))?)
}
