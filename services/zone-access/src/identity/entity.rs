//! Entities: made, changed, read, listed and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use zone_ports::store::Revision;
use zone_ports::{KeyRange, random};
use zone_types::{EntityId, GroupId, NamespaceId, Timestamp};

use super::plan::Plan;
use super::record::{EntityRecord, NameRecord, OwnerRecord, check_metadata, check_name, folded};
use super::{Listed, Turn, policies};
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::token::TRIES;
use crate::{Access, AccessError, OpenState};

/// Entities that one batch-delete takes up at a time.
const TOGETHER: usize = 20;

/// What a caller wants an entity to be; what is not given stays as it is.
#[derive(Debug, Default)]
pub struct EntityAsk {
    /// Which; else the one of that name, else a new one.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its policies.
    pub policies: Option<Vec<String>>,
    /// Its metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Whether its tokens are refused.
    pub disabled: Option<bool>,
}

/// An entity as it was found.
#[derive(Debug)]
pub struct EntityView {
    /// What is stored of it.
    pub record: EntityRecord,
    /// The groups that it is in itself.
    pub groups: Vec<GroupId>,
    pub(super) revision: Revision,
}

impl Access {
    /// The entity of that id in the permit's namespace.
    pub async fn entity(
        &self,
        permit: &Permit,
        id: &str,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        let state = self.state()?;
        let Ok(id) = EntityId::parse(id) else {
            return Ok(None);
        };
        let found = self.entity_view(&state, &id).await?;
        Ok(found.filter(|entity| entity.record.namespace == *permit.namespace()))
    }

    /// The entity of that name, in any case.
    pub async fn entity_by_name(
        &self,
        permit: &Permit,
        name: &str,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        let state = self.state()?;
        match self.owner_of_name(&state, "entity-name", name).await? {
            Some(id) => self.entity(permit, &id).await,
            None => Ok(None),
        }
    }

    /// Makes an entity, or changes one. The entity, and whether it is new.
    pub async fn write_entity(
        &self,
        permit: &Permit,
        ask: EntityAsk,
    ) -> Result<(EntityRecord, bool), AccessError> {
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let old = self.entity_meant(permit, &ask).await?;
            let record = self.changed_entity(permit, old.as_deref(), &ask)?;
            self.refuse_entity_gain(permit, &state, old.as_deref(), &record)
                .await?;
            let old_name = old.as_ref().map(|old| &*old.record.name);
            if self
                .name_is_taken(&state, "entity-name", &record.name, old_name)
                .await?
            {
                return Err(AccessError::invalid("entity name is already in use"));
            }
            let mut plan = Plan::default();
            put_entity(&state, &mut plan, &record, old.as_deref())?;
            let names = (old_name, &*record.name);
            rename(&state, &mut plan, "entity-name", record.id.as_str(), names)?;
            if self.carry_out(&state, &turn, plan).await? {
                return Ok((record, old.is_none()));
            }
        }
        Err(AccessError::Busy)
    }

    async fn entity_meant(
        &self,
        permit: &Permit,
        ask: &EntityAsk,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        if let Some(id) = &ask.id {
            let found = self.entity(permit, id).await?;
            return match found {
                Some(entity) => Ok(Some(entity)),
                None => Err(AccessError::invalid("entity not found from id")),
            };
        }
        match &ask.name {
            Some(name) => self.entity_by_name(permit, name).await,
            None => Ok(None),
        }
    }

    fn changed_entity(
        &self,
        permit: &Permit,
        old: Option<&EntityView>,
        ask: &EntityAsk,
    ) -> Result<EntityRecord, AccessError> {
        let now = permit.now();
        let mut record = match old {
            Some(old) => old.record.clone(),
            None => self.new_entity(permit.namespace().clone(), now),
        };
        record.last_update_time = now;
        // Who was found by his name keeps its spelling.
        if let Some(name) = ask
            .name
            .as_ref()
            .filter(|_| old.is_none() || ask.id.is_some())
        {
            check_name(name)?;
            record.name.clone_from(name);
        }
        if let Some(given) = &ask.policies {
            record.policies = policies(given)?;
        }
        if let Some(metadata) = &ask.metadata {
            check_metadata("metadata", metadata)?;
            record.metadata = Some(metadata.clone());
        }
        record.disabled = ask.disabled.unwrap_or(record.disabled);
        Ok(record)
    }

    /// An entity that nobody has named yet.
    pub(super) fn new_entity(&self, namespace: NamespaceId, now: Timestamp) -> EntityRecord {
        let suffix = hex::encode(random::bytes::<4>(&*self.random));
        EntityRecord {
            v: V1,
            id: EntityId::from_random(random::bytes(&*self.random)),
            namespace,
            name: format!("entity_{suffix}"),
            policies: Vec::new(),
            disabled: false,
            metadata: None,
            aliases: Vec::new(),
            merged: Vec::new(),
            creation_time: now,
            last_update_time: now,
        }
    }

    /// Deletes an entity; one that is not there is no error. Its tokens are refused from then on.
    pub async fn delete_entity(&self, permit: &Permit, id: &str) -> Result<(), AccessError> {
        self.delete_entities(permit, &[id.to_owned()]).await
    }

    /// Deletes entities; those that are not there are no error.
    pub async fn delete_entities(
        &self,
        permit: &Permit,
        ids: &[String],
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for some in ids.chunks(TOGETHER) {
            self.delete_some(permit, &state, &turn, some).await?;
        }
        Ok(())
    }

    async fn delete_some(
        &self,
        permit: &Permit,
        state: &Arc<OpenState>,
        turn: &Turn,
        ids: &[String],
    ) -> Result<(), AccessError> {
        for _ in 0..TRIES {
            let mut plan = Plan::default();
            let mut seen = Vec::new();
            for id in ids {
                let Some(entity) = self.entity(permit, id).await? else {
                    continue;
                };
                if seen.contains(&entity.record.id) {
                    continue;
                }
                self.refuse_losing_entity(permit, state, &entity).await?;
                remove_entity(state, &mut plan, &entity)?;
                seen.push(entity.record.id.clone());
            }
            if seen.is_empty() || self.carry_out(state, turn, plan).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// All entities of the permit's namespace, by id.
    pub async fn entities(&self, permit: &Permit) -> Result<Listed<EntityRecord>, AccessError> {
        let state = self.state()?;
        let mut range = KeyRange::prefix(state.identity.mount.prefix("entity"));
        let mut entries = Vec::new();
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(Listed { entries });
            };
            range = range.after(last);
            for (_, plain) in &page {
                let record: EntityRecord = decode(plain)?;
                if record.namespace == *permit.namespace() {
                    entries.push((record.id.to_string(), record));
                }
            }
        }
    }

    /// The entity `id`, from memory if it was needed before.
    pub(super) async fn entity_view(
        &self,
        state: &OpenState,
        id: &EntityId,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        let cache = &state.identity.entities;
        if let Some(entity) = cache.get(id) {
            return Ok(Some(entity));
        }
        // As for tokens: a change between our read and our insert wins.
        let guard = match cache.get_value_or_guard_async(id).await {
            Ok(entity) => return Ok(Some(entity)),
            Err(guard) => guard,
        };
        let key = state.identity.key("entity", id.as_str())?;
        let Some(plain) = self.barrier.get(&key).await? else {
            return Ok(None);
        };
        let view = Arc::new(EntityView {
            record: decode(&plain)?,
            groups: self.groups_of(state, id.as_str()).await?,
            revision: plain.revision,
        });
        let _ = guard.insert(view.clone());
        Ok(Some(view))
    }

    /// Who has `name`, in any case.
    pub(super) async fn owner_of_name(
        &self,
        state: &OpenState,
        kind: &str,
        name: &str,
    ) -> Result<Option<String>, AccessError> {
        let key = name_key(state, kind, name)?;
        match self.barrier.get(&key).await? {
            Some(plain) => Ok(Some(decode::<NameRecord>(&plain)?.id)),
            None => Ok(None),
        }
    }

    /// Whether somebody else than who is called `old` is called `new`.
    pub(super) async fn name_is_taken(
        &self,
        state: &OpenState,
        kind: &str,
        new: &str,
        old: Option<&str>,
    ) -> Result<bool, AccessError> {
        let same = old.is_some_and(|old| folded(old) == folded(new));
        Ok(!same && self.owner_of_name(state, kind, new).await?.is_some())
    }
}

/// Adds the write of an entity that is still as `old`.
pub(super) fn put_entity(
    state: &OpenState,
    plan: &mut Plan,
    record: &EntityRecord,
    old: Option<&EntityView>,
) -> Result<(), AccessError> {
    let key = state.identity.key("entity", record.id.as_str())?;
    plan.require(key.clone(), old.map(|old| old.revision));
    plan.put(&key, record)?;
    plan.concerns(&record.id);
    Ok(())
}

/// Adds what changes in the index of names when `id` is called otherwise.
pub(super) fn rename(
    state: &OpenState,
    plan: &mut Plan,
    kind: &str,
    id: &str,
    (old, new): (Option<&str>, &str),
) -> Result<(), AccessError> {
    if old == Some(new) {
        return Ok(());
    }
    let key = name_key(state, kind, new)?;
    match old.map(|old| name_key(state, kind, old)).transpose()? {
        Some(old) if old == key => {}
        Some(old) => {
            plan.require(key.clone(), None);
            plan.delete(&old)?;
        }
        None => plan.require(key.clone(), None),
    }
    let record = NameRecord {
        v: V1,
        id: id.to_owned(),
        name: new.to_owned(),
    };
    plan.put(&key, &record)
}

/// Adds the removal of all that is stored of an entity. Its record goes first: from then on its
/// tokens are refused, and its aliases log nobody in. What a login may have said of an alias
/// meanwhile goes with it, so there is no condition.
fn remove_entity(
    state: &OpenState,
    plan: &mut Plan,
    entity: &EntityView,
) -> Result<(), AccessError> {
    let (record, identity) = (&entity.record, &state.identity);
    let key = identity.key("entity", record.id.as_str())?;
    plan.delete(&key)?;
    plan.delete(&name_key(state, "entity-name", &record.name)?)?;
    for alias in &record.aliases {
        plan.delete(&identity.key("alias", alias.id.as_str())?)?;
        plan.delete(&factors_key(
            state,
            "alias-name",
            &alias.mount_accessor,
            &alias.name,
        )?)?;
    }
    for group in &entity.groups {
        super::graph::cut(state, plan, group, super::graph::Member::Entity(&record.id))?;
    }
    for merged in &record.merged {
        plan.delete(&identity.key("merged", merged.as_str())?)?;
    }
    plan.concerns(&record.id);
    Ok(())
}

/// Where it stands who is called `name`, whatever the case.
pub(super) fn name_key(
    state: &OpenState,
    kind: &str,
    name: &str,
) -> Result<zone_ports::Key, AccessError> {
    let code = state
        .tokens
        .code_of(&[kind.as_bytes(), b"\0", folded(name).as_bytes()]);
    state.identity.key(kind, &code)
}

/// Where it stands whose a name of an auth mount is, byte for byte.
pub(super) fn factors_key(
    state: &OpenState,
    kind: &str,
    accessor: &str,
    name: &str,
) -> Result<zone_ports::Key, AccessError> {
    // An accessor has no zero byte: it is one of ours.
    let parts = [
        kind.as_bytes(),
        b"\0",
        accessor.as_bytes(),
        b"\0",
        name.as_bytes(),
    ];
    state.identity.key(kind, &state.tokens.code_of(&parts))
}

/// The record that says whose an alias is.
pub(super) fn owner(id: impl ToString) -> OwnerRecord {
    OwnerRecord {
        v: V1,
        owner: id.to_string(),
    }
}
