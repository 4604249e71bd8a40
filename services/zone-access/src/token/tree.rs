//! Ending tokens: a token and all its descendants by one durable batch, then the cleaning up.
//!
//! The batch deletes the token's record, which ends the whole tree (see the module above), and
//! writes one work record. `sweep_trees` then removes the descendants' records step by step; each
//! step is a batch of its own that leaves the work records right, so a crash anywhere resumes at
//! the next unseal. `revoke_orphan` is the same with a work record that says that the children
//! live on; until the sweep has rewritten them, a look-up reads that record.
//!
//! A work record is written without a look for children, since one may be made at this very
//! moment; and it is deleted only when there are none, which stays true because a child can only
//! be made while its parent's record is there. The same holds for what the token kept in its
//! cubbyhole.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zone_barrier::{BarrierError, Batch};
use zone_ports::store::Revision;
use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use super::life::TRIES;
use super::wrap::answer_key;
use super::{TokenEntry, TokenId};
use crate::expiry::{self, ExpiryKind};
use crate::record::{V1, decode};
use crate::{Access, AccessError, OpenState};

const WORK: &str = "core/token-tree/";
/// Children that one step removes: five operations each stay below a batch's sixty.
pub(crate) const STEP: usize = 10;
/// Work records that one round takes up.
const ROUND: usize = 250;
/// Work records that one batch deletes.
const TOGETHER: usize = 50;

/// What becomes of the children of a token that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Children {
    /// They have ended with it.
    End,
    /// They live on, as orphans.
    Released,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkRecord {
    v: V1,
    children: Children,
}

/// One work record as it was found.
struct Work {
    parent: TokenId,
    children: Children,
    revision: Revision,
}

impl Access {
    /// Ends a token and its descendants. Durable and in force when it returns.
    pub async fn revoke_token(&self, id: &TokenId) -> Result<(), AccessError> {
        let state = self.state()?;
        for _ in 0..TRIES {
            let Some(entry) = self.read_token(&state, id).await? else {
                return Ok(());
            };
            if self.end_if_unchanged(&state, &entry, Children::End).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// Ends a token; its children live on as orphans. Durable and in force when it returns. Of a
    /// token that has ended already, by itself or with an ancestor, the children have too: they
    /// must not come back, so the whole line has to count at the moment of the change.
    pub async fn revoke_orphan(&self, id: &TokenId) -> Result<(), AccessError> {
        let state = self.state()?;
        for _ in 0..TRIES {
            let mut line = Vec::new();
            let lives = self.walk(&state, id, self.instant(), |entry| line.push(entry));
            let (true, Some((entry, ancestors))) = (lives.await?, line.split_first()) else {
                return self.revoke_token(id).await;
            };
            let mut batch = ending(&state, Batch::new(), entry, Children::Released)?;
            for ancestor in ancestors {
                let key = state.tokens.key(&ancestor.id)?;
                batch = batch.require(key, Some(ancestor.revision));
            }
            match self.change_tokens(&state, batch, vec![id.clone()]).await {
                Ok(_) => return Ok(()),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    /// `false` if somebody else changed the token meanwhile.
    pub(super) async fn end_if_unchanged(
        &self,
        state: &Arc<OpenState>,
        entry: &TokenEntry,
        children: Children,
    ) -> Result<bool, AccessError> {
        let batch = ending(state, Batch::new(), entry, children)?;
        let ended = vec![entry.id.clone()];
        match self.change_tokens(state, batch, ended).await {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends all of `tokens` at once, if none of them was changed meanwhile, together with `batch`.
    /// At most [`STEP`] in all.
    pub(crate) async fn end_all(
        &self,
        state: &Arc<OpenState>,
        tokens: &[TokenEntry],
        mut batch: Batch,
    ) -> Result<bool, AccessError> {
        for entry in tokens {
            batch = ending(state, batch, entry, Children::End)?;
        }
        let ended = tokens.iter().map(|entry| entry.id.clone()).collect();
        match self.change_tokens(state, batch, ended).await {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Whether a token that counts has no parent: it never had one, or that one was ended by
    /// [`Access::revoke_orphan`], whatever of the work behind it is done.
    pub async fn is_orphan(&self, entry: &TokenEntry) -> Result<bool, AccessError> {
        let Some(parent) = &entry.record.parent else {
            return Ok(true);
        };
        let state = self.state()?;
        Ok(self.stored_token(&state, parent).await?.is_none()
            && self.children_of_ended(parent).await? != Some(Children::End))
    }

    /// What became of the children of a token that has no record; `None` if it had none, or they
    /// are taken care of.
    pub(super) async fn children_of_ended(
        &self,
        id: &TokenId,
    ) -> Result<Option<Children>, AccessError> {
        Ok(self.work_of(id).await?.map(|work| work.children))
    }

    /// Whether the children of `parent` count, as far as their ancestors tell.
    pub(super) async fn parent_counts(
        &self,
        state: &OpenState,
        parent: &TokenId,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        Ok(self.live(state, parent, now).await?.is_some()
            || self.children_of_ended(parent).await? == Some(Children::Released))
    }

    async fn work_of(&self, id: &TokenId) -> Result<Option<Work>, AccessError> {
        let Some(plain) = self.barrier.get(&work_key(id)?).await? else {
            return Ok(None);
        };
        Ok(Some(Work {
            parent: id.clone(),
            children: decode::<WorkRecord>(&plain)?.children,
            revision: plain.revision,
        }))
    }

    /// Removes what revoked trees left behind; `true` if something was done, so that there may
    /// be more.
    pub(crate) async fn sweep_trees(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let found = self.barrier.scan(&KeyRange::prefix(WORK), ROUND).await?;
        let mut progress = false;
        let mut empty = Vec::new();
        for (key, plain) in &found {
            let parent = TokenId::from_hex(&key.as_bytes()[WORK.len()..]);
            let (Some(parent), Ok(record)) = (parent, decode::<WorkRecord>(plain)) else {
                tracing::error!("a work record of a token tree is corrupt and is left alone");
                continue;
            };
            let work = Work {
                parent,
                children: record.children,
                revision: plain.revision,
            };
            match self.sweep_work(&state, &work).await {
                Ok(Swept::All) => empty.push(work),
                Ok(Swept::Some) => progress = true,
                Ok(Swept::Nothing) => {}
                Err(AccessError::Corrupt) => {
                    tracing::error!("a child of a revoked token is corrupt and is left alone");
                }
                Err(other) => return Err(other),
            }
        }
        for works in empty.chunks(TOGETHER) {
            progress |= self.end_works(&state, works).await?;
        }
        Ok(progress)
    }

    /// Removes what an earlier token of the same id left behind.
    pub(super) async fn sweep_tree_of(
        &self,
        state: &Arc<OpenState>,
        id: &TokenId,
    ) -> Result<(), AccessError> {
        let Some(work) = self.work_of(id).await? else {
            return Ok(());
        };
        if matches!(self.sweep_work(state, &work).await?, Swept::All) {
            self.end_works(state, &[work]).await?;
        }
        Ok(())
    }

    async fn end_works(&self, state: &Arc<OpenState>, works: &[Work]) -> Result<bool, AccessError> {
        let mut batch = Batch::new();
        for work in works {
            let key = work_key(&work.parent)?;
            batch = batch.require(key.clone(), Some(work.revision)).delete(key);
        }
        match self.change_tokens(state, batch, Vec::new()).await {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// One step. All that it is based on is a condition of its batch, so two sweeps at once, or a
    /// token made anew with a custom id, cannot be mixed up.
    async fn sweep_work(&self, state: &Arc<OpenState>, work: &Work) -> Result<Swept, AccessError> {
        let children = self.children(state, &work.parent).await?;
        if children.is_empty() {
            return self.sweep_cubbyhole(state, work).await;
        }
        let mut batch = Batch::new().require(work_key(&work.parent)?, Some(work.revision));
        for child in &children {
            let found = self.read_token(state, child).await?;
            let own = found.filter(|entry| entry.record.parent.as_ref() == Some(&work.parent));
            batch = match (own, work.children) {
                (Some(entry), Children::End) => ending(state, batch, &entry, Children::End)?,
                (Some(entry), Children::Released) => released(state, batch, &entry)?,
                (None, _) => batch,
            }
            .delete(state.tokens.child_key(&work.parent, child)?);
        }
        match self.change_tokens(state, batch, children).await {
            Ok(_) => Ok(Swept::Some),
            Err(BarrierError::Conflict) => Ok(Swept::Nothing),
            Err(other) => Err(other.into()),
        }
    }

    /// One step of a token without children. Nothing can be added to its cubbyhole any more: that
    /// takes the token's record.
    async fn sweep_cubbyhole(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
    ) -> Result<Swept, AccessError> {
        let kept = self
            .left_in_cubbyhole(state, &work.parent, TOGETHER)
            .await?;
        if kept.is_empty() {
            return self.sweep_leases_of(state, work).await;
        }
        let mut batch = Batch::new().require(work_key(&work.parent)?, Some(work.revision));
        for key in kept {
            batch = batch.delete(key);
        }
        match self.barrier.commit(batch).await {
            Ok(_) => Ok(Swept::Some),
            Err(BarrierError::Conflict) => Ok(Swept::Nothing),
            Err(other) => Err(other.into()),
        }
    }

    /// One step of a token with neither children nor a cubbyhole.
    async fn sweep_leases_of(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
    ) -> Result<Swept, AccessError> {
        let batch = Batch::new().require(work_key(&work.parent)?, Some(work.revision));
        let batch = self.end_leases_of_token(state, &work.parent, batch).await?;
        let Some(batch) = batch else {
            return Ok(Swept::All);
        };
        Ok(match self.changed(state, batch).await? {
            true => Swept::Some,
            false => Swept::Nothing,
        })
    }

    /// The first few children of `parent`.
    async fn children(
        &self,
        state: &OpenState,
        parent: &TokenId,
    ) -> Result<Vec<TokenId>, AccessError> {
        let mut prefix = state.tokens.mount.prefix("child");
        prefix.extend_from_slice(parent.as_str().as_bytes());
        prefix.push(b'/');
        let range = KeyRange::prefix(prefix.clone());
        let keys = self.barrier.scan_keys(&range, STEP).await?;
        let id = |key: &Key| TokenId::from_hex(&key.as_bytes()[prefix.len()..]);
        let ids: Option<Vec<_>> = keys.iter().map(id).collect();
        ids.ok_or(AccessError::Corrupt)
    }
}

enum Swept {
    /// Nothing is left.
    All,
    /// Some of it is done.
    Some,
    /// Somebody else was faster.
    Nothing,
}

/// Adds the removal of all records of one token that is as it was read, and the work record for
/// its children and its cubbyhole. A wrapping token has neither, but the answer that it wraps.
pub(super) fn ending(
    state: &OpenState,
    batch: Batch,
    entry: &TokenEntry,
    children: Children,
) -> Result<Batch, AccessError> {
    let tokens = &state.tokens;
    let key = tokens.key(&entry.id)?;
    let mut batch = batch
        .require(key.clone(), Some(entry.revision))
        .delete(key)
        .delete(tokens.accessor_key(&entry.record.accessor)?);
    if let Some(end) = entry.record.expire_time {
        batch = batch.delete(expiry::key(end, ExpiryKind::Token, entry.id.as_str())?);
    }
    if let Some(parent) = &entry.record.parent {
        batch = batch.delete(tokens.child_key(parent, &entry.id)?);
    }
    if let Some(mount) = &entry.record.auth_mount {
        batch = batch.delete(tokens.method_key(mount, &entry.id)?);
    }
    if entry.record.is_wrapping() {
        batch = batch.delete(answer_key(state, &entry.id)?);
    } else {
        let work = WorkRecord { v: V1, children };
        batch = batch.put(work_key(&entry.id)?, serde_json::to_vec(&work)?);
    }
    Ok(batch)
}

/// Adds what makes one token an orphan.
fn released(state: &OpenState, batch: Batch, entry: &TokenEntry) -> Result<Batch, AccessError> {
    let mut record = entry.record.clone();
    record.parent = None;
    let key = state.tokens.key(&entry.id)?;
    Ok(batch
        .require(key.clone(), Some(entry.revision))
        .put(key, serde_json::to_vec(&record)?))
}

/// Where the work for the children of `id` stands.
pub(super) fn work_key(id: &TokenId) -> Result<Key, AccessError> {
    Ok(Key::new(format!("{WORK}{}", id.as_str()))?)
}
