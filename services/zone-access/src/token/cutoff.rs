//! Marks that end batch tokens: all that were made up to an instant, by one role, for one entity,
//! or at all. A batch token is not stored, so this is the one way to end it before its time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zone_barrier::{BarrierError, Batch};
use zone_ports::{Key, KeyRange};
use zone_types::{EntityId, MountId, Timestamp};

use super::life::TRIES;
use super::{TokenId, TokenRecord, TokenStore};
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::{Access, AccessError, OpenState};

/// Whose batch tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum CutOff {
    /// Everybody's.
    All,
    /// Those that one role made.
    Role {
        /// The mount whose role it is.
        mount: MountId,
        /// Its name, as the mount spells it.
        name: String,
    },
    /// Those of one entity.
    Entity(EntityId),
}

/// A mark as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutMark {
    v: V1,
    /// Whose batch tokens it ends.
    pub of: CutOff,
    /// Those that were made up to this instant.
    pub issued_before: Timestamp,
}

impl CutOff {
    fn id(&self, tokens: &TokenStore) -> TokenId {
        let (kind, first, second) = match self {
            Self::All => ("all", "", ""),
            Self::Role { mount, name } => ("role", mount.as_str(), name.as_str()),
            Self::Entity(id) => ("entity", id.as_str(), ""),
        };
        tokens.tagged(b"cut\0", &format!("{kind}\0{first}\0{second}"))
    }
}

impl Access {
    /// Ends the batch tokens that were made up to `before`, or up to now. Durable and in force
    /// when it returns. A mark only ever moves forward: the instant that counts is returned.
    pub async fn cut_off_batch(
        &self,
        permit: &Permit,
        of: CutOff,
        before: Option<Timestamp>,
    ) -> Result<Timestamp, AccessError> {
        let state = self.state()?;
        let now = permit.now();
        if before.is_some_and(|before| before > now) {
            return Err(AccessError::invalid(
                "issued_before must not lie in the future",
            ));
        }
        let id = of.id(&state.tokens);
        let key = mark_key(&state, &id)?;
        for _ in 0..TRIES {
            let found = self.barrier.get(&key).await?;
            let revision = found.as_ref().map(|plain| plain.revision);
            let old = found.as_ref().map(decode::<CutMark>).transpose()?;
            let old = old.map_or(Timestamp::EPOCH, |mark| mark.issued_before);
            let mark = CutMark {
                v: V1,
                of: of.clone(),
                issued_before: before.unwrap_or(now).max(old),
            };
            let batch = Batch::new()
                .require(key.clone(), revision)
                .put(key.clone(), serde_json::to_vec(&mark)?);
            match self.change_mark(&state, batch, id.clone()).await {
                Ok(()) => return Ok(mark.issued_before),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    async fn change_mark(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
        id: TokenId,
    ) -> Result<(), BarrierError> {
        let then = move |state: &OpenState, _| {
            state.tokens.marks.remove(&id);
        };
        self.change(state, batch, then).await.map(|_| ())
    }

    /// All marks, in no order.
    pub async fn cut_off_marks(&self, _permit: &Permit) -> Result<Vec<CutMark>, AccessError> {
        let state = self.state()?;
        let mut range = KeyRange::prefix(state.tokens.mount.prefix("cut"));
        let mut marks = Vec::new();
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(marks);
            };
            range = range.after(last);
            for (_, plain) in &page {
                marks.push(decode(plain)?);
            }
        }
    }

    /// Whether a mark ends the batch token of `record`.
    pub(super) async fn is_cut_off(
        &self,
        state: &OpenState,
        record: &TokenRecord,
    ) -> Result<bool, AccessError> {
        let mut whose = vec![CutOff::All];
        if let Some(name) = &record.role {
            let mount = record.auth_mount.as_ref().unwrap_or(&state.tokens.mount.id);
            whose.push(CutOff::Role {
                mount: mount.clone(),
                name: name.clone(),
            });
        }
        whose.extend(record.entity.clone().map(CutOff::Entity));
        for of in whose {
            let mark = self.mark(state, of.id(&state.tokens)).await?;
            if mark.is_some_and(|mark| record.creation_time <= mark) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn mark(&self, state: &OpenState, id: TokenId) -> Result<Option<Timestamp>, AccessError> {
        // As with tokens, a change between our read and our insert wins.
        let guard = match state.tokens.marks.get_value_or_guard_async(&id).await {
            Ok(mark) => return Ok(mark),
            Err(guard) => guard,
        };
        let plain = self.barrier.get(&mark_key(state, &id)?).await?;
        let mark = plain.as_ref().map(decode::<CutMark>).transpose()?;
        let mark = mark.map(|mark| mark.issued_before);
        let _ = guard.insert(mark);
        Ok(mark)
    }
}

fn mark_key(state: &OpenState, id: &TokenId) -> Result<Key, AccessError> {
    Ok(state.tokens.mount.key("cut", id.as_str())?)
}
