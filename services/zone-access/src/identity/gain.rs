//! Nobody grants what he lacks (attack 8): who may change identity without sudo gives no policy
//! that gives more than he holds, takes away none that denies, and does not touch his own rights.
//!
//! As with policies the answer errs on one side: what is allowed is proved. What somebody's
//! metadata says is his keeper's to say: policies with templates trust whoever may write it, but
//! for the caller's own entity.

use std::collections::BTreeSet;

use super::group::Moves;
use super::record::{EntityRecord, GroupRecord};
use super::{EntityView, GroupView};
use crate::permit::Permit;
use crate::{Access, AccessError, OpenState};

/// What a change does to somebody's policies.
#[derive(Default)]
struct Shift {
    given: BTreeSet<String>,
    taken: BTreeSet<String>,
    /// Whether the caller is that somebody, or one of them.
    own: bool,
}

impl Shift {
    fn between(old: &[String], new: &[String]) -> Self {
        let missing = |from: &[String], in_: &[String]| {
            let gone = from.iter().filter(|name| !in_.contains(name));
            gone.cloned().collect()
        };
        Self {
            given: missing(new, old),
            taken: missing(old, new),
            own: false,
        }
    }
}

impl Access {
    pub(super) async fn refuse_entity_gain(
        &self,
        permit: &Permit,
        state: &OpenState,
        old: Option<&EntityView>,
        new: &EntityRecord,
    ) -> Result<(), AccessError> {
        let Some(old) = old else {
            return self
                .refuse_shift(permit, Shift::between(&[], &new.policies))
                .await;
        };
        let mut shift = Shift::between(&old.record.policies, &new.policies);
        shift.own = self.is_own(permit, state, old).await?;
        if old.record.disabled && !new.disabled {
            shift.given.extend(self.effective(state, old).await?);
        }
        let told = |record: &EntityRecord| (record.name.clone(), record.metadata.clone());
        if told(&old.record) != told(new) {
            self.refuse_retelling(permit, state, old).await?;
        }
        self.refuse_shift(permit, shift).await
    }

    /// Whoever holds the entity, or logs in as it, loses it.
    pub(super) async fn refuse_losing_entity(
        &self,
        permit: &Permit,
        state: &OpenState,
        entity: &EntityView,
    ) -> Result<(), AccessError> {
        let shift = Shift {
            taken: self.effective(state, entity).await?,
            own: self.is_own(permit, state, entity).await?,
            ..Shift::default()
        };
        self.refuse_shift(permit, shift).await
    }

    /// Somebody gets what the entity has.
    pub(super) async fn refuse_joining(
        &self,
        permit: &Permit,
        state: &OpenState,
        entity: &EntityView,
    ) -> Result<(), AccessError> {
        let shift = Shift {
            given: self.effective(state, entity).await?,
            ..Shift::default()
        };
        self.refuse_shift(permit, shift).await
    }

    /// Templates would be filled otherwise.
    pub(super) async fn refuse_retelling(
        &self,
        permit: &Permit,
        state: &OpenState,
        entity: &EntityView,
    ) -> Result<(), AccessError> {
        if permit.sudo || !self.is_own(permit, state, entity).await? {
            return Ok(());
        }
        let token = permit.token().ok_or(AccessError::Denied("no token"))?;
        let mut names: BTreeSet<String> = token.record.policies.iter().cloned().collect();
        // What the default policy says of names and ids gives nobody else's.
        names.remove("default");
        names.extend(self.effective(state, entity).await?);
        for policy in self.existing(&names).await? {
            if policy.has_templates() {
                return Err(AccessError::Denied(
                    "your own policies have templates: your entity can only be changed with sudo \
                     on this path",
                ));
            }
        }
        Ok(())
    }

    /// Refuses to let the permit's caller take policies away from those who log in at its mount:
    /// without sudo none that denies (attack 8).
    pub async fn refuse_to_take(
        &self,
        permit: &Permit,
        old: &[String],
        new: &[String],
    ) -> Result<(), AccessError> {
        let shift = Shift {
            given: BTreeSet::new(),
            ..Shift::between(old, new)
        };
        self.refuse_shift(permit, shift).await
    }

    /// Refuses to let the permit's caller have somebody in as `name` at its mount, if an entity
    /// of that name has more than he holds and he has no sudo (attack 8): whoever sets a password
    /// or a role id can log in with it.
    pub async fn refuse_to_let_in(&self, permit: &Permit, name: &str) -> Result<(), AccessError> {
        let state = self.state()?;
        if permit.sudo {
            return Ok(());
        }
        match self
            .entity_named(&state, &permit.mount().accessor, name)
            .await?
        {
            Some(entity) => self.refuse_joining(permit, &state, &entity).await,
            None => Ok(()),
        }
    }

    pub(super) async fn refuse_group_gain(
        &self,
        permit: &Permit,
        state: &OpenState,
        old: Option<&GroupView>,
        new: &GroupRecord,
        moves: &Moves,
    ) -> Result<(), AccessError> {
        if permit.sudo {
            return Ok(());
        }
        let old_policies = old.map_or(&[][..], |old| &old.record.policies);
        let mut shift = Shift::between(old_policies, &new.policies);
        let own = self.own_groups(permit, state).await?;
        shift.own = own.contains(new.id.as_str());
        let parents = old.map_or(&[][..], |old| &old.parents);
        let mut whole = self.policies_of_groups(state, parents).await?;
        whole.extend(new.policies.iter().cloned());
        if !moves.entities_in.is_empty() || !moves.groups_in.is_empty() {
            shift.given.extend(whole.iter().cloned());
        }
        if !moves.entities_out.is_empty() || !moves.groups_out.is_empty() {
            shift.taken.extend(whole);
            shift.taken.extend(old_policies.iter().cloned());
        }
        let retold = old.is_some_and(|old| {
            (&old.record.metadata, &old.record.name) != (&new.metadata, &new.name)
        });
        if retold
            && shift.own
            && let Some(entity) = self.own_entity(permit, state).await?
        {
            self.refuse_retelling(permit, state, &entity).await?;
        }
        self.refuse_shift(permit, shift).await
    }

    /// The members lose what the group gives.
    pub(super) async fn refuse_losing_group(
        &self,
        permit: &Permit,
        state: &OpenState,
        group: &GroupView,
    ) -> Result<(), AccessError> {
        let mut taken = self.policies_of_groups(state, &group.parents).await?;
        taken.extend(group.record.policies.iter().cloned());
        let own = self.own_groups(permit, state).await?;
        let shift = Shift {
            taken,
            own: own.contains(group.record.id.as_str()),
            ..Shift::default()
        };
        self.refuse_shift(permit, shift).await
    }

    /// Somebody may come into the group.
    pub(super) async fn refuse_opening_group(
        &self,
        permit: &Permit,
        state: &OpenState,
        group: &GroupRecord,
    ) -> Result<(), AccessError> {
        let parents = self.groups_of(state, group.id.as_str()).await?;
        let mut given = self.policies_of_groups(state, &parents).await?;
        given.extend(group.policies.iter().cloned());
        let shift = Shift {
            given,
            ..Shift::default()
        };
        self.refuse_shift(permit, shift).await
    }

    async fn refuse_shift(&self, permit: &Permit, shift: Shift) -> Result<(), AccessError> {
        if permit.sudo || (shift.given.is_empty() && shift.taken.is_empty()) {
            return Ok(());
        }
        if shift.own && !shift.taken.is_empty() {
            return Err(AccessError::Denied(
                "your own policies can only be taken away with sudo on this path",
            ));
        }
        for policy in self.existing(&shift.taken).await? {
            if policy.denials().next().is_some() {
                return Err(AccessError::Denied(
                    "a policy that denies can only be taken away with sudo on this path",
                ));
            }
        }
        let given: Vec<String> = shift.given.into_iter().collect();
        self.refuse_to_give(permit, &given).await
    }

    /// All policies that come by an entity.
    async fn effective(
        &self,
        state: &OpenState,
        entity: &EntityView,
    ) -> Result<BTreeSet<String>, AccessError> {
        let mut names = self.policies_of_groups(state, &entity.groups).await?;
        names.extend(entity.record.policies.iter().cloned());
        Ok(names)
    }

    async fn policies_of_groups(
        &self,
        state: &OpenState,
        direct: &[zone_types::GroupId],
    ) -> Result<BTreeSet<String>, AccessError> {
        let (all, _) = self.closure(state, direct).await?;
        let mut names = BTreeSet::new();
        for id in all {
            if let Some(group) = self.group_view(state, &id).await? {
                names.extend(group.record.policies.iter().cloned());
            }
        }
        Ok(names)
    }

    async fn own_entity(
        &self,
        permit: &Permit,
        state: &OpenState,
    ) -> Result<Option<std::sync::Arc<EntityView>>, AccessError> {
        let Some(id) = permit.token().and_then(|token| token.record.entity.clone()) else {
            return Ok(None);
        };
        match self.subject(state, &id).await? {
            Some(subject) => self.entity_view(state, &subject.entity).await,
            None => Ok(None),
        }
    }

    async fn is_own(
        &self,
        permit: &Permit,
        state: &OpenState,
        entity: &EntityView,
    ) -> Result<bool, AccessError> {
        let own = self.own_entity(permit, state).await?;
        Ok(own.is_some_and(|own| own.record.id == entity.record.id))
    }

    async fn own_groups(
        &self,
        permit: &Permit,
        state: &OpenState,
    ) -> Result<BTreeSet<String>, AccessError> {
        let Some(own) = self.own_entity(permit, state).await? else {
            return Ok(BTreeSet::new());
        };
        let (all, _) = self.closure(state, &own.groups).await?;
        Ok(all.iter().map(ToString::to_string).collect())
    }
}
