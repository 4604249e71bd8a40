//! Merging entities: one takes over the aliases, policies, groups and tokens of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use zone_types::EntityId;

use super::EntityView;
use super::alias::ALIASES;
use super::entity::{factors_key, name_key, owner, put_entity};
use super::graph::{Member, cut, tie};
use super::plan::Plan;
use super::record::{Alias, EntityRecord};
use crate::permit::Permit;
use crate::token::TRIES;
use crate::{Access, AccessError, OpenState};

/// Most entities that are merged at once.
const MOST: usize = 100;

impl Access {
    /// Merges the entities `from` into `to`. Where both have an alias of one mount, `keep` names
    /// the one that stays; without it they are not merged.
    pub async fn merge_entities(
        &self,
        permit: &Permit,
        to: &str,
        from: &[String],
        keep: &[String],
    ) -> Result<(), AccessError> {
        if from.len() > MOST {
            return Err(AccessError::invalid(format!(
                "field 'from_entity_ids': at most {MOST}"
            )));
        }
        if from.len() > 1 && keep.len() > 1 {
            return Err(AccessError::invalid(
                "aliases conflicts cannot be resolved with multiple from entity ids - merge one \
                 entity at a time",
            ));
        }
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let (to, from) = self.to_be_merged(permit, to, from).await?;
            self.refuse_joining(permit, &state, &to).await?;
            for entity in &from {
                self.refuse_joining(permit, &state, entity).await?;
                self.refuse_losing_entity(permit, &state, entity).await?;
            }
            let mut plan = Plan::default();
            merged(permit, &state, &mut plan, (&to, &from), keep)?;
            if self.carry_out(&state, &turn, plan).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    async fn to_be_merged(
        &self,
        permit: &Permit,
        to: &str,
        from: &[String],
    ) -> Result<(Arc<EntityView>, Vec<Arc<EntityView>>), AccessError> {
        let to = self.entity(permit, to).await?;
        let to = to.ok_or_else(|| AccessError::invalid("entity id to merge to is invalid"))?;
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        for id in from {
            let found = self.entity(permit, id).await?;
            let entity =
                found.ok_or_else(|| AccessError::invalid("entity id to merge from is invalid"))?;
            if entity.record.id == to.record.id {
                return Err(AccessError::invalid(
                    "to_entity_id should not be present in from_entity_ids",
                ));
            }
            if seen.insert(entity.record.id.clone()) {
                all.push(entity);
            }
        }
        Ok((to, all))
    }
}

/// Adds all steps of a merge. The records of the entities come first: from then on the one has all
/// rights, and the others' tokens are refused until the step that points them to it.
fn merged(
    permit: &Permit,
    state: &OpenState,
    plan: &mut Plan,
    (to, from): (&EntityView, &[Arc<EntityView>]),
    keep: &[String],
) -> Result<(), AccessError> {
    let mut record = to.record.clone();
    record.last_update_time = permit.now();
    let mut dropped = Vec::new();
    for entity in from {
        dropped.extend(take_aliases(&mut record, &entity.record, keep)?);
        record
            .policies
            .extend(entity.record.policies.iter().cloned());
        record.merged.extend(entity.record.merged.iter().cloned());
        record.merged.push(entity.record.id.clone());
    }
    record.policies.sort();
    record.policies.dedup();
    if record.aliases.len() > ALIASES {
        return Err(AccessError::invalid(format!(
            "an entity has at most {ALIASES} aliases"
        )));
    }
    put_entity(state, plan, &record, Some(to))?;
    let key = |entity: &EntityRecord| state.identity.key("entity", entity.id.as_str());
    for entity in from {
        plan.delete(&key(&entity.record)?)?;
        plan.concerns(&entity.record.id);
    }
    for alias in &dropped {
        plan.delete(&state.identity.key("alias", alias.id.as_str())?)?;
        plan.delete(&factors_key(
            state,
            "alias-name",
            &alias.mount_accessor,
            &alias.name,
        )?)?;
    }
    let mut groups: BTreeSet<_> = to.groups.iter().cloned().collect();
    for entity in from {
        move_rest(state, plan, entity, &record)?;
        for group in &entity.groups {
            cut(state, plan, group, Member::Entity(&entity.record.id))?;
            if groups.insert(group.clone()) {
                tie(state, plan, group, Member::Entity(&record.id))?;
            }
        }
    }
    Ok(())
}

/// Lets `to` have the aliases of `from`. Those that stay with nobody.
fn take_aliases(
    to: &mut EntityRecord,
    from: &EntityRecord,
    keep: &[String],
) -> Result<Vec<Alias>, AccessError> {
    let kept = |alias: &Alias| keep.iter().any(|id| alias.id.as_str() == id);
    let mut dropped = Vec::new();
    for alias in &from.aliases {
        let same_mount = |known: &Alias| known.mount_accessor == alias.mount_accessor;
        if let Some(at) = to.aliases.iter().position(same_mount) {
            if kept(&to.aliases[at]) {
                dropped.push(alias.clone());
                continue;
            }
            if !kept(alias) {
                return Err(AccessError::invalid(
                    "toEntity and at least one fromEntity have aliases with the same mount \
                     accessor: repeat the merge request with one fromEntity and \
                     conflicting_alias_ids_to_keep",
                ));
            }
            dropped.push(to.aliases.remove(at));
        }
        let mut alias = alias.clone();
        alias.merged_from.push(from.id.clone());
        to.aliases.push(alias);
    }
    Ok(dropped)
}

/// Adds the steps that point to `to` whatever pointed to `from`.
fn move_rest(
    state: &OpenState,
    plan: &mut Plan,
    from: &EntityView,
    to: &EntityRecord,
) -> Result<(), AccessError> {
    let identity = &state.identity;
    let from = &from.record;
    plan.delete(&name_key(state, "entity-name", &from.name)?)?;
    let ids: Vec<&EntityId> = from.merged.iter().chain([&from.id]).collect();
    for id in ids {
        plan.put(&identity.key("merged", id.as_str())?, &owner(&to.id))?;
        plan.concerns(id);
    }
    let moved = |alias: &&Alias| to.aliases.iter().any(|known| known.id == alias.id);
    for alias in from.aliases.iter().filter(moved) {
        plan.put(&identity.key("alias", alias.id.as_str())?, &owner(&to.id))?;
        let factors = factors_key(state, "alias-name", &alias.mount_accessor, &alias.name)?;
        plan.put(&factors, &owner(&to.id))?;
    }
    Ok(())
}
