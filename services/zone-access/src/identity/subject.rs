//! What authorization needs to know of an entity: its policies, its groups' policies, and the
//! values for templates.
//!
//! Put together from memory when identity has changed since, so a request costs one look-up, and
//! the first one after a change as many as the entity has groups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use zone_policy::{AliasFacts, GroupFacts, Identity};
use zone_types::EntityId;

use super::EntityView;
use super::record::{Alias, GroupRecord, Metadata};
use crate::{Access, AccessError, OpenState};

/// An entity as authorization sees it.
pub(crate) struct Subject {
    /// Which: another one than the token names, if that was merged.
    pub(crate) entity: EntityId,
    /// Whether its tokens are refused.
    pub(crate) disabled: bool,
    /// Its policies and those of its groups: sorted, no duplicates, never `root`.
    pub(crate) policies: Vec<String>,
    /// Values for templates.
    pub(crate) facts: Identity,
    /// Differs whenever `facts` differ; greater than [`crate::policies::NOBODY`].
    pub(crate) stamp: u64,
}

impl Access {
    /// Who is behind a token of that entity; `None` if nobody is any more.
    pub(crate) async fn subject(
        &self,
        state: &OpenState,
        id: &EntityId,
    ) -> Result<Option<Arc<Subject>>, AccessError> {
        let generation = state.identity.generation();
        let known = state.identity.subjects.get(id);
        if let Some((of, subject)) = &known
            && *of == generation
        {
            return Ok(Some(subject.clone()));
        }
        let Some(entity) = self.entity_behind(state, id).await? else {
            return Ok(None);
        };
        let mut subject = self.put_together(state, &entity).await?;
        subject.stamp = match &known {
            Some((_, known)) if known.facts == subject.facts => known.stamp,
            _ => state.identity.stamps.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let subject = Arc::new(subject);
        let kept = (generation, subject.clone());
        state.identity.subjects.insert(id.clone(), kept);
        Ok(Some(subject))
    }

    /// The entity `id`, or the one that it was merged into.
    async fn entity_behind(
        &self,
        state: &OpenState,
        id: &EntityId,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        if let Some(entity) = self.entity_view(state, id).await? {
            return Ok(Some(entity));
        }
        let key = state.identity.key("merged", id.as_str())?;
        let Some(owner) = self.owner_at(&key).await? else {
            return Ok(None);
        };
        let into = EntityId::parse(&owner).map_err(|_| AccessError::Corrupt)?;
        self.entity_view(state, &into).await
    }

    async fn put_together(
        &self,
        state: &OpenState,
        entity: &EntityView,
    ) -> Result<Subject, AccessError> {
        let record = &entity.record;
        let mut policies: BTreeSet<String> = record.policies.iter().cloned().collect();
        let mut groups = Vec::new();
        for id in self.closure(state, &entity.groups).await?.0 {
            let Some(group) = self.group_view(state, &id).await? else {
                continue;
            };
            if group.record.namespace == record.namespace {
                policies.extend(group.record.policies.iter().cloned());
                groups.push(facts_of_group(&group.record));
            }
        }
        // None was ever stored; if it is there all the same, it counts for nothing.
        policies.remove("root");
        Ok(Subject {
            entity: record.id.clone(),
            disabled: record.disabled,
            policies: policies.into_iter().collect(),
            facts: Identity {
                id: record.id.to_string(),
                name: record.name.clone(),
                metadata: told(record.metadata.as_ref()),
                aliases: record.aliases.iter().map(facts_of_alias).collect(),
                groups,
            },
            stamp: 0,
        })
    }
}

fn facts_of_alias(alias: &Alias) -> AliasFacts {
    AliasFacts {
        accessor: alias.mount_accessor.clone(),
        id: alias.id.to_string(),
        name: alias.name.clone(),
        metadata: told(alias.metadata.as_ref()),
        custom_metadata: told(alias.custom_metadata.as_ref()),
    }
}

fn facts_of_group(group: &GroupRecord) -> GroupFacts {
    GroupFacts {
        id: group.id.to_string(),
        name: group.name.clone(),
        metadata: told(group.metadata.as_ref()),
    }
}

fn told(metadata: Option<&Metadata>) -> Metadata {
    metadata.cloned().unwrap_or_default()
}
