//! Changes of any size: one batch, or all steps written down and then done one after the other.
//!
//! A change that fits is one batch. Of a larger one the first batch does its first steps, under
//! the conditions of the change, and writes down all others; then each batch does some of them and
//! moves the mark, so that each step is done exactly once. Nothing else that is changed under the
//! turn begins before that is done: whoever takes the turn finishes what he finds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use zone_barrier::{BarrierError, Batch};
use zone_ports::Key;
use zone_ports::store::Revision;
use zone_types::{EntityId, GroupId};

use super::Turn;
use super::record::encoded;
use crate::record::{V1, decode};
use crate::{Access, AccessError, OpenState};

/// Steps in one batch: the few conditions and the two records of the plan itself come on top.
const STEPS: usize = 40;
/// Bytes of values in one batch.
const BYTES: usize = 128 * 1024;
/// Most steps of one change.
const MOST: usize = 40_000;

/// A change that is to be.
#[derive(Default)]
pub(super) struct Plan {
    conditions: Batch,
    steps: Vec<Step>,
    entities: Vec<EntityId>,
    groups: Vec<GroupId>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    key: String,
    /// What is put there; a removal has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanRecord {
    v: V1,
    steps: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkRecord {
    v: V1,
    /// Steps that are done.
    done: usize,
}

impl Plan {
    /// The record at `key` must be as it was read (`None`: absent).
    pub(super) fn require(&mut self, key: Key, revision: Option<Revision>) {
        let conditions = std::mem::take(&mut self.conditions);
        self.conditions = conditions.require(key, revision);
    }

    pub(super) fn put(&mut self, key: &Key, record: &impl Serialize) -> Result<(), AccessError> {
        let value = String::from_utf8(encoded(record)?).map_err(|_| AccessError::Corrupt)?;
        self.step(key, Some(value))
    }

    pub(super) fn mark(&mut self, key: &Key) -> Result<(), AccessError> {
        self.step(key, Some(crate::record::MARK.to_owned()))
    }

    pub(super) fn delete(&mut self, key: &Key) -> Result<(), AccessError> {
        self.step(key, None)
    }

    fn step(&mut self, key: &Key, value: Option<String>) -> Result<(), AccessError> {
        let key = std::str::from_utf8(key.as_bytes()).map_err(|_| AccessError::Corrupt)?;
        self.steps.push(Step {
            key: key.to_owned(),
            value,
        });
        Ok(())
    }

    /// What is in memory of this entity is out of date afterwards.
    pub(super) fn concerns(&mut self, entity: &EntityId) {
        self.entities.push(entity.clone());
    }

    pub(super) fn concerns_group(&mut self, group: &GroupId) {
        self.groups.push(group.clone());
    }
}

impl Access {
    /// Takes the turn, and finishes a change that was cut off.
    pub(super) async fn begin(&self, state: &Arc<OpenState>) -> Result<Turn, AccessError> {
        let turn = state.identity.turn().await;
        self.finish(state, &turn).await?;
        Ok(turn)
    }

    /// Does all of `plan`. `false`: a condition did not hold, and nothing was done.
    pub(super) async fn carry_out(
        &self,
        state: &Arc<OpenState>,
        turn: &Turn,
        plan: Plan,
    ) -> Result<bool, AccessError> {
        if plan.steps.len() > MOST {
            return Err(AccessError::invalid("the change concerns too much at once"));
        }
        let Plan {
            mut conditions,
            steps,
            entities,
            groups,
        } = plan;
        let first = chunk(&steps);
        conditions = with(conditions, &steps[..first])?;
        if first < steps.len() {
            let rest = PlanRecord {
                v: V1,
                steps: steps[first..].to_vec(),
            };
            conditions = conditions
                .put(plan_key(state)?, serde_json::to_vec(&rest)?)
                .put(
                    mark_key(state)?,
                    serde_json::to_vec(&MarkRecord { v: V1, done: 0 })?,
                );
        }
        let held = turn.clone();
        let then = move |state: &OpenState, _| {
            state.identity.drop_cached(&entities, &groups);
            drop(held);
        };
        match self.change(state, conditions, then).await {
            Ok(_) => {}
            Err(BarrierError::Conflict) => return Ok(false),
            Err(other) => return Err(other.into()),
        }
        if first < steps.len() {
            self.finish(state, turn).await?;
        }
        Ok(true)
    }

    /// Does what is left of a change that did not fit into one batch.
    async fn finish(&self, state: &Arc<OpenState>, turn: &Turn) -> Result<bool, AccessError> {
        let Some(mark) = self.barrier.get(&mark_key(state)?).await? else {
            return Ok(false);
        };
        let plain = self.barrier.get(&plan_key(state)?).await?;
        let plan: PlanRecord = decode(&plain.ok_or(AccessError::Corrupt)?)?;
        let mut done = decode::<MarkRecord>(&mark)?.done;
        let mut revision = mark.revision;
        loop {
            let rest = plan.steps.get(done..).ok_or(AccessError::Corrupt)?;
            let next = chunk(rest);
            let mut batch = with(Batch::new(), &rest[..next])?;
            batch = batch.require(mark_key(state)?, Some(revision));
            done += next;
            let ends = next == rest.len();
            batch = match ends {
                true => batch.delete(mark_key(state)?).delete(plan_key(state)?),
                false => batch.put(
                    mark_key(state)?,
                    serde_json::to_vec(&MarkRecord { v: V1, done })?,
                ),
            };
            let held = turn.clone();
            let then = move |state: &OpenState, _| {
                state.identity.drop_all_cached();
                drop(held);
            };
            revision = self.change(state, batch, then).await?;
            if ends {
                return Ok(true);
            }
        }
    }

    /// Finishes a change that was cut off; for the sweep. `true` if there was one.
    pub(crate) async fn sweep_identity(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        if self.barrier.get(&mark_key(&state)?).await?.is_none() {
            return Ok(false);
        }
        let turn = state.identity.turn().await;
        self.finish(&state, &turn).await
    }
}

impl super::IdentityStore {
    /// A subject that was put together before is not found again under the next generation.
    pub(super) fn drop_cached(&self, entities: &[EntityId], groups: &[GroupId]) {
        for id in entities {
            self.entities.remove(id);
        }
        for id in groups {
            self.groups.remove(id);
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn drop_all_cached(&self) {
        self.entities.clear();
        self.groups.clear();
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// How many of the first steps fit into one batch.
fn chunk(steps: &[Step]) -> usize {
    let mut bytes = 0;
    let fits = |step: &&Step| {
        bytes += step.key.len() + step.value.as_ref().map_or(0, String::len);
        bytes <= BYTES
    };
    let count = steps.iter().take(STEPS).take_while(fits).count();
    count.max(1).min(steps.len())
}

fn with(mut batch: Batch, steps: &[Step]) -> Result<Batch, AccessError> {
    for step in steps {
        let key = Key::new(step.key.clone())?;
        batch = match &step.value {
            Some(value) => batch.put(key, value.clone()),
            None => batch.delete(key),
        };
    }
    Ok(batch)
}

fn plan_key(state: &OpenState) -> Result<Key, AccessError> {
    state.identity.key("work", "plan")
}

fn mark_key(state: &OpenState) -> Result<Key, AccessError> {
    state.identity.key("work", "mark")
}
