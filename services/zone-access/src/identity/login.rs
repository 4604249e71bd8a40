//! Who logs in: from the name that an auth method asserts to an entity.
//!
//! A name that nobody had yet makes an entity in the batch of the token, on the condition that it
//! is still nobody's: of two logins at once one makes it, and the other finds it when it judges
//! again. A known name costs no write but the token's, unless the method says something new of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use zone_barrier::{BarrierError, Batch};
use zone_types::{EntityId, NamespaceId, Timestamp};

use super::EntityView;
use super::entity::{factors_key, name_key, owner};
use super::record::{NameRecord, check_alias_name, check_metadata, encoded};
use crate::permit::Permit;
use crate::record::V1;
use crate::token::{AliasName, TRIES};
use crate::{Access, AccessError, OpenState};

/// The entity of a login.
pub(crate) struct Recognised {
    pub(crate) entity: EntityId,
    /// Whether what is in memory of it is out of date after the batch.
    pub(crate) changed: bool,
}

impl Access {
    /// Finds the entity that logs in as `alias` at the auth mount of that accessor, and adds to
    /// `batch` what is new: the entity itself, or what the method says of the alias.
    pub(crate) async fn recognise(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
        (namespace, accessor): (&NamespaceId, &str),
        alias: &AliasName,
        now: Timestamp,
    ) -> Result<(Recognised, Batch), AccessError> {
        check_alias_name(&alias.name)?;
        check_metadata("alias metadata", &alias.metadata)?;
        let factors = factors_key(state, "alias-name", accessor, &alias.name)?;
        let Some(known) = self.entity_of_factors(state, &factors).await? else {
            return self.introduce(state, batch, (namespace, accessor), alias, now);
        };
        if known.record.disabled {
            return Err(AccessError::Denied("the entity is disabled"));
        }
        if known.record.namespace != *namespace {
            return Err(AccessError::Denied("the entity is of another namespace"));
        }
        self.retell(state, batch, &known, (accessor, alias), now)
    }

    /// The entity of an alias of `auth/token/` that a token is made for; made if there was none.
    pub(crate) async fn entity_of_alias(
        &self,
        state: &Arc<OpenState>,
        permit: &Permit,
        name: &str,
    ) -> Result<EntityId, AccessError> {
        let alias = AliasName {
            name: name.to_owned(),
            metadata: BTreeMap::new(),
        };
        let at = (permit.namespace(), &*permit.mount().accessor);
        for _ in 0..TRIES {
            let found = self.recognise(state, Batch::new(), at, &alias, permit.now());
            let (known, batch) = found.await?;
            let entity = known.entity.clone();
            if batch.changes.is_empty() {
                return Ok(entity);
            }
            let then = move |state: &OpenState, _| known.forget_in(state);
            match self.change(state, batch, then).await {
                Ok(_) => return Ok(entity),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    /// The entity that a name of an auth mount belongs to. If it points to one that is gone, a
    /// removal or a merge was cut off: that is finished first.
    async fn entity_of_factors(
        &self,
        state: &Arc<OpenState>,
        factors: &zone_ports::Key,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        for _ in 0..2 {
            let Some(owner) = self.owner_at(factors).await? else {
                return Ok(None);
            };
            let id = EntityId::parse(&owner).map_err(|_| AccessError::Corrupt)?;
            if let Some(entity) = self.entity_view(state, &id).await? {
                return Ok(Some(entity));
            }
            self.begin(state).await?;
        }
        Err(AccessError::Busy)
    }

    /// The entity that logs in as `name` at the auth mount of that accessor.
    pub(super) async fn entity_named(
        &self,
        state: &Arc<OpenState>,
        accessor: &str,
        name: &str,
    ) -> Result<Option<Arc<EntityView>>, AccessError> {
        let factors = factors_key(state, "alias-name", accessor, name)?;
        self.entity_of_factors(state, &factors).await
    }

    /// A new entity with this alias.
    fn introduce(
        &self,
        state: &OpenState,
        batch: Batch,
        (namespace, accessor): (&NamespaceId, &str),
        alias: &AliasName,
        now: Timestamp,
    ) -> Result<(Recognised, Batch), AccessError> {
        let mut record = self.new_entity(namespace.clone(), now);
        let made = self.new_alias(accessor, &alias.name, said(&alias.metadata), now);
        let name = NameRecord {
            v: V1,
            id: record.id.to_string(),
            name: record.name.clone(),
        };
        let name_key = name_key(state, "entity-name", &record.name)?;
        let factors = factors_key(state, "alias-name", accessor, &alias.name)?;
        let owner = encoded(&owner(&record.id))?;
        let alias_key = state.identity.key("alias", made.id.as_str())?;
        record.aliases.push(made);
        let key = state.identity.key("entity", record.id.as_str())?;
        let batch = batch
            .require_absent(factors.clone())
            .require_absent(name_key.clone())
            .put(key, encoded(&record)?)
            .put(name_key, encoded(&name)?)
            .put(factors, owner.clone())
            .put(alias_key, owner);
        let recognised = Recognised {
            entity: record.id,
            changed: false,
        };
        Ok((recognised, batch))
    }

    /// What the method says of a known alias now.
    fn retell(
        &self,
        state: &OpenState,
        batch: Batch,
        known: &EntityView,
        (accessor, alias): (&str, &AliasName),
        now: Timestamp,
    ) -> Result<(Recognised, Batch), AccessError> {
        let mut record = known.record.clone();
        let entity = record.id.clone();
        let is_it = |known: &&mut super::Alias| {
            known.mount_accessor == accessor && known.name == alias.name
        };
        let own = record.aliases.iter_mut().find(is_it);
        let own = own.ok_or(AccessError::Corrupt)?;
        let metadata = said(&alias.metadata);
        if own.metadata == metadata {
            let recognised = Recognised {
                entity,
                changed: false,
            };
            return Ok((recognised, batch));
        }
        own.metadata = metadata;
        own.last_update_time = now;
        let key = state.identity.key("entity", entity.as_str())?;
        let batch = batch
            .require(key.clone(), Some(known.revision))
            .put(key, encoded(&record)?);
        let recognised = Recognised {
            entity,
            changed: true,
        };
        Ok((recognised, batch))
    }
}

impl Recognised {
    /// Brings memory up to date after the batch.
    pub(crate) fn forget_in(&self, state: &OpenState) {
        if self.changed {
            state
                .identity
                .drop_cached(std::slice::from_ref(&self.entity), &[]);
        }
    }
}

fn said(metadata: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!metadata.is_empty()).then(|| metadata.clone())
}
