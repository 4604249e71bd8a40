//! Aliases of entities: the names under which they log in.

use std::collections::BTreeMap;
use std::sync::Arc;

use zone_ports::random;
use zone_types::{AliasId, EntityId, Timestamp};

use super::entity::{factors_key, owner, put_entity, rename};
use super::plan::Plan;
use super::record::{Alias, EntityRecord, Metadata, OwnerRecord, check_alias_name, check_metadata};
use super::{EntityView, Listed};
use crate::permit::Permit;
use crate::record::decode;
use crate::token::TRIES;
use crate::{Access, AccessError, OpenState};

/// Most aliases of one entity.
pub(super) const ALIASES: usize = 64;

/// What a caller wants an alias to be; what is not given stays as it is.
#[derive(Debug, Default)]
pub struct AliasAsk {
    /// Which; else the one of that mount and name, else a new one.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The accessor of the auth mount.
    pub mount_accessor: Option<String>,
    /// The entity (the group) that it belongs to; for a new one none makes one.
    pub canonical_id: Option<String>,
    /// What operators say of it.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// What became of a wish for an alias.
type Changed = Option<(AliasId, EntityId)>;

impl Access {
    /// The entity that has the alias of that id, and the alias.
    pub async fn alias(
        &self,
        permit: &Permit,
        id: &str,
    ) -> Result<Option<(Arc<EntityView>, Alias)>, AccessError> {
        let state = self.state()?;
        let Ok(id) = AliasId::parse(id) else {
            return Ok(None);
        };
        let key = state.identity.key("alias", id.as_str())?;
        let Some(owner) = self.owner_at(&key).await? else {
            return Ok(None);
        };
        let entity = self.entity(permit, &owner).await?;
        Ok(entity.and_then(|entity| {
            let alias = entity.record.aliases.iter().find(|alias| alias.id == id);
            let alias = alias.cloned()?;
            Some((entity, alias))
        }))
    }

    /// The entity that logs in as `name` at the auth mount of that accessor, and the alias.
    pub async fn alias_by_factors(
        &self,
        permit: &Permit,
        accessor: &str,
        name: &str,
    ) -> Result<Option<(Arc<EntityView>, Alias)>, AccessError> {
        let state = self.state()?;
        let key = factors_key(&state, "alias-name", accessor, name)?;
        let Some(owner) = self.owner_at(&key).await? else {
            return Ok(None);
        };
        let entity = self.entity(permit, &owner).await?;
        Ok(entity.and_then(|entity| {
            let alias = entity.record.alias_of(accessor, name).cloned()?;
            Some((entity, alias))
        }))
    }

    /// Makes an alias, or changes one. `None`: it is like that already.
    pub async fn write_alias(
        &self,
        permit: &Permit,
        ask: AliasAsk,
    ) -> Result<Changed, AccessError> {
        if let Some(metadata) = &ask.custom_metadata {
            check_metadata("custom_metadata", metadata)?;
        }
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let mut plan = Plan::default();
            let known = match (&ask.id, &ask.mount_accessor, &ask.name) {
                (Some(id), _, _) => {
                    let found = self.alias(permit, id).await?;
                    Some(found.ok_or_else(|| AccessError::invalid("invalid alias ID provided"))?)
                }
                (None, Some(accessor), Some(name)) => {
                    self.named_auth_mount(permit, accessor)?;
                    self.alias_by_factors(permit, accessor, name).await?
                }
                _ => {
                    return Err(AccessError::invalid(
                        "'id' or 'mount_accessor' and 'name' must be provided",
                    ));
                }
            };
            let changed = match known {
                Some((entity, alias)) => {
                    self.change_alias(permit, &state, &mut plan, &ask, (&entity, alias))
                        .await?
                }
                None => Some(self.make_alias(permit, &state, &mut plan, &ask).await?),
            };
            if changed.is_none() || self.carry_out(&state, &turn, plan).await? {
                return Ok(changed);
            }
        }
        Err(AccessError::Busy)
    }

    async fn make_alias(
        &self,
        permit: &Permit,
        state: &OpenState,
        plan: &mut Plan,
        ask: &AliasAsk,
    ) -> Result<(AliasId, EntityId), AccessError> {
        let (accessor, name) = (&ask.mount_accessor, &ask.name);
        let (accessor, name) = (
            accessor.as_deref().unwrap_or(""),
            name.as_deref().unwrap_or(""),
        );
        check_alias_name(name)?;
        let old = self.canonical(permit, ask.canonical_id.as_deref()).await?;
        let mut record = match &old {
            Some(old) => old.record.clone(),
            None => self.new_entity(permit.namespace().clone(), permit.now()),
        };
        if record
            .aliases
            .iter()
            .any(|alias| alias.mount_accessor == accessor)
        {
            return Err(AccessError::invalid(
                "Alias already exists for requested entity and mount accessor",
            ));
        }
        if let Some(old) = &old {
            self.refuse_joining(permit, state, old).await?;
        } else {
            let names = (None, &*record.name);
            rename(state, plan, "entity-name", record.id.as_str(), names)?;
        }
        let mut alias = self.new_alias(accessor, name, None, permit.now());
        alias.custom_metadata.clone_from(&ask.custom_metadata);
        let id = alias.id.clone();
        add_alias(state, plan, &mut record, alias)?;
        record.last_update_time = permit.now();
        put_entity(state, plan, &record, old.as_deref())?;
        Ok((id, record.id))
    }

    async fn canonical(
        &self,
        permit: &Permit,
        id: Option<&str>,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        let Some(id) = id else { return Ok(None) };
        match self.entity(permit, id).await? {
            Some(entity) => Ok(Some(entity)),
            None => Err(AccessError::invalid("invalid canonical ID")),
        }
    }

    pub(super) fn new_alias(
        &self,
        accessor: &str,
        name: &str,
        metadata: Option<Metadata>,
        now: Timestamp,
    ) -> Alias {
        Alias {
            id: AliasId::from_random(random::bytes(&*self.random)),
            mount_accessor: accessor.to_owned(),
            name: name.to_owned(),
            metadata,
            custom_metadata: None,
            merged_from: Vec::new(),
            creation_time: now,
            last_update_time: now,
        }
    }

    async fn change_alias(
        &self,
        permit: &Permit,
        state: &OpenState,
        plan: &mut Plan,
        ask: &AliasAsk,
        (entity, old): (&Arc<EntityView>, Alias),
    ) -> Result<Changed, AccessError> {
        let mut alias = old.clone();
        alias.mount_accessor = ask.mount_accessor.clone().unwrap_or(alias.mount_accessor);
        alias.name = ask.name.clone().unwrap_or(alias.name);
        if let Some(metadata) = &ask.custom_metadata {
            alias.custom_metadata = Some(metadata.clone());
        }
        let moved = match self.canonical(permit, ask.canonical_id.as_deref()).await? {
            Some(to) if to.record.id != entity.record.id => Some(to),
            _ => None,
        };
        if alias == old && moved.is_none() {
            return Ok(None);
        }
        let renamed = (&alias.mount_accessor, &alias.name) != (&old.mount_accessor, &old.name);
        if renamed {
            self.check_renamed(permit, &alias).await?;
            plan.delete(&factors_key(
                state,
                "alias-name",
                &old.mount_accessor,
                &old.name,
            )?)?;
        }
        alias.last_update_time = permit.now();
        let id = alias.id.clone();
        let mut from = entity.record.clone();
        from.aliases.retain(|known| known.id != id);
        from.last_update_time = permit.now();
        let Some(to) = moved else {
            if renamed {
                self.refuse_losing_entity(permit, state, entity).await?;
                self.refuse_joining(permit, state, entity).await?;
            }
            self.refuse_retelling(permit, state, entity).await?;
            place_alias(state, plan, &mut from, alias, renamed)?;
            put_entity(state, plan, &from, Some(entity))?;
            return Ok(Some((id, from.id)));
        };
        self.refuse_losing_entity(permit, state, entity).await?;
        self.refuse_joining(permit, state, &to).await?;
        let mut record = to.record.clone();
        place_alias(state, plan, &mut record, alias, renamed)?;
        record.last_update_time = permit.now();
        put_entity(state, plan, &from, Some(entity))?;
        put_entity(state, plan, &record, Some(&to))?;
        Ok(Some((id, record.id)))
    }

    async fn check_renamed(&self, permit: &Permit, alias: &Alias) -> Result<(), AccessError> {
        check_alias_name(&alias.name)?;
        self.named_auth_mount(permit, &alias.mount_accessor)?;
        let (accessor, name) = (&alias.mount_accessor, &alias.name);
        if self
            .alias_by_factors(permit, accessor, name)
            .await?
            .is_some()
        {
            return Err(AccessError::invalid(
                "alias with combination of mount accessor and name already exists",
            ));
        }
        Ok(())
    }

    /// Deletes an alias; one that is not there is no error. Its entity stays.
    pub async fn delete_alias(&self, permit: &Permit, id: &str) -> Result<(), AccessError> {
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let Some((entity, alias)) = self.alias(permit, id).await? else {
                return Ok(());
            };
            self.refuse_losing_entity(permit, &state, &entity).await?;
            let mut plan = Plan::default();
            let mut record = entity.record.clone();
            record.aliases.retain(|known| known.id != alias.id);
            record.last_update_time = permit.now();
            put_entity(&state, &mut plan, &record, Some(&entity))?;
            plan.delete(&state.identity.key("alias", alias.id.as_str())?)?;
            let (accessor, name) = (&alias.mount_accessor, &alias.name);
            plan.delete(&factors_key(&state, "alias-name", accessor, name)?)?;
            if self.carry_out(&state, &turn, plan).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// All aliases of entities of the permit's namespace, by id, with their entity's id.
    pub async fn aliases(&self, permit: &Permit) -> Result<Listed<(EntityId, Alias)>, AccessError> {
        let mut entries = Vec::new();
        for (_, entity) in self.entities(permit).await?.entries {
            let id = entity.id;
            let tell = |alias: Alias| (alias.id.to_string(), (id.clone(), alias));
            entries.extend(entity.aliases.into_iter().map(tell));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Listed { entries })
    }

    /// Whose something is, by its index record.
    pub(super) async fn owner_at(
        &self,
        key: &zone_ports::Key,
    ) -> Result<Option<String>, AccessError> {
        match self.barrier.get(key).await? {
            Some(plain) => Ok(Some(decode::<OwnerRecord>(&plain)?.owner)),
            None => Ok(None),
        }
    }
}

impl EntityRecord {
    /// Its alias of that auth mount and name.
    pub(super) fn alias_of(&self, accessor: &str, name: &str) -> Option<&Alias> {
        let is_it = |alias: &&Alias| alias.mount_accessor == accessor && alias.name == name;
        self.aliases.iter().find(is_it)
    }
}

/// Gives an entity a new alias.
pub(super) fn add_alias(
    state: &OpenState,
    plan: &mut Plan,
    record: &mut EntityRecord,
    alias: Alias,
) -> Result<(), AccessError> {
    place_alias(state, plan, record, alias, true)
}

/// Gives an entity an alias, perhaps one that was another's. `renamed`: under a name that must be
/// free.
fn place_alias(
    state: &OpenState,
    plan: &mut Plan,
    record: &mut EntityRecord,
    alias: Alias,
    renamed: bool,
) -> Result<(), AccessError> {
    let same_mount = |known: &Alias| known.mount_accessor == alias.mount_accessor;
    if record.aliases.iter().any(same_mount) {
        return Err(AccessError::invalid(
            "Alias cannot be updated as the entity already has an alias for this mount",
        ));
    }
    if record.aliases.len() >= ALIASES {
        return Err(AccessError::invalid(format!(
            "an entity has at most {ALIASES} aliases"
        )));
    }
    let factors = factors_key(state, "alias-name", &alias.mount_accessor, &alias.name)?;
    if renamed {
        plan.require(factors.clone(), None);
    }
    plan.put(&factors, &owner(&record.id))?;
    plan.put(
        &state.identity.key("alias", alias.id.as_str())?,
        &owner(&record.id),
    )?;
    record.aliases.push(alias);
    Ok(())
}
