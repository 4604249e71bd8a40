//! Aliases of external groups: the names by which auth mounts know them.

use std::sync::Arc;

use zone_ports::random;
use zone_types::{AliasId, GroupId};

use super::entity::{factors_key, owner, rename};
use super::group::put_group;
use super::plan::Plan;
use super::record::{GroupAlias, GroupKind, check_alias_name};
use super::{AliasAsk, GroupView, Listed};
use crate::permit::Permit;
use crate::token::TRIES;
use crate::{Access, AccessError, OpenState};

impl Access {
    /// The group that has the alias of that id.
    pub async fn group_by_alias(
        &self,
        permit: &Permit,
        id: &str,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        let state = self.state()?;
        let Ok(id) = AliasId::parse(id) else {
            return Ok(None);
        };
        let key = state.identity.key("group-alias", id.as_str())?;
        match self.owner_at(&key).await? {
            Some(group) => self.group(permit, &group).await,
            None => Ok(None),
        }
    }

    /// The group that the auth mount of that accessor knows as `name`.
    pub async fn group_by_factors(
        &self,
        permit: &Permit,
        accessor: &str,
        name: &str,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        let state = self.state()?;
        let key = factors_key(&state, "group-alias-name", accessor, name)?;
        match self.owner_at(&key).await? {
            Some(group) => self.group(permit, &group).await,
            None => Ok(None),
        }
    }

    /// Makes the alias of a group, or changes one. `None`: it is like that already.
    pub async fn write_group_alias(
        &self,
        permit: &Permit,
        ask: AliasAsk,
    ) -> Result<Option<(AliasId, GroupId)>, AccessError> {
        let name = ask.name.as_deref().unwrap_or("");
        let accessor = ask.mount_accessor.as_deref().unwrap_or("");
        if name.is_empty() || accessor.is_empty() {
            return Err(AccessError::invalid("missing alias name or mount_accessor"));
        }
        check_alias_name(name)?;
        self.named_auth_mount(permit, accessor)?;
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let mut plan = Plan::default();
            let changed = self
                .place_group_alias(permit, &state, &mut plan, &ask)
                .await?;
            if changed.is_none() || self.carry_out(&state, &turn, plan).await? {
                return Ok(changed);
            }
        }
        Err(AccessError::Busy)
    }

    async fn place_group_alias(
        &self,
        permit: &Permit,
        state: &Arc<OpenState>,
        plan: &mut Plan,
        ask: &AliasAsk,
    ) -> Result<Option<(AliasId, GroupId)>, AccessError> {
        let name = ask.name.clone().unwrap_or_default();
        let accessor = ask.mount_accessor.clone().unwrap_or_default();
        let from = match &ask.id {
            Some(id) => {
                let found = self.group_by_alias(permit, id).await?;
                Some(found.ok_or_else(|| AccessError::invalid("invalid group alias ID"))?)
            }
            None => None,
        };
        let to = self
            .external_group(permit, ask.canonical_id.as_deref())
            .await?;
        let old = from.as_ref().and_then(|group| group.record.alias.clone());
        let stays = to.is_none() || same_group(from.as_deref(), to.as_deref());
        let named = |old: &GroupAlias| (&old.name, &old.mount_accessor) == (&name, &accessor);
        let renamed = !old.as_ref().is_some_and(named);
        if old.is_some() && stays && !renamed {
            return Ok(None);
        }
        let factors = factors_key(state, "group-alias-name", &accessor, &name)?;
        if renamed {
            if self.owner_at(&factors).await?.is_some() {
                return Err(AccessError::invalid(
                    "combination of mount and group alias name is already in use",
                ));
            }
            plan.require(factors.clone(), None);
            if let Some(old) = &old {
                let (accessor, name) = (&old.mount_accessor, &old.name);
                plan.delete(&factors_key(state, "group-alias-name", accessor, name)?)?;
            }
        }
        let alias = GroupAlias {
            id: match &old {
                Some(old) => old.id.clone(),
                None => AliasId::from_random(random::bytes(&*self.random)),
            },
            mount_accessor: accessor,
            name,
            creation_time: old.as_ref().map_or(permit.now(), |old| old.creation_time),
            last_update_time: permit.now(),
        };
        let id = alias.id.clone();
        let group = if stays {
            self.give_group_alias(permit, state, plan, from.as_deref(), alias)
                .await?
        } else {
            if let Some(from) = &from {
                self.drop_group_alias(permit, state, plan, from).await?;
            }
            self.give_group_alias(permit, state, plan, to.as_deref(), alias)
                .await?
        };
        plan.put(&factors, &owner(&group))?;
        plan.put(
            &state.identity.key("group-alias", id.as_str())?,
            &owner(&group),
        )?;
        Ok(Some((id, group)))
    }

    async fn external_group(
        &self,
        permit: &Permit,
        id: Option<&str>,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        let Some(id) = id else { return Ok(None) };
        match self.group(permit, id).await? {
            Some(group) if group.record.kind == GroupKind::External => Ok(Some(group)),
            Some(_) => Err(AccessError::invalid(
                "alias can't be set on an internal group",
            )),
            None => Err(AccessError::invalid(
                "invalid group ID given in 'canonical_id'",
            )),
        }
    }

    /// Gives `old`, or a new group, the alias.
    async fn give_group_alias(
        &self,
        permit: &Permit,
        state: &Arc<OpenState>,
        plan: &mut Plan,
        old: Option<&GroupView>,
        alias: GroupAlias,
    ) -> Result<GroupId, AccessError> {
        let mut record = match old {
            Some(old) => old.record.clone(),
            None => self.new_group(permit, GroupKind::External),
        };
        if let Some(known) = record.alias.as_ref().filter(|known| known.id != alias.id) {
            // As in Vault a group has one alias: the new one takes its place.
            plan.delete(&state.identity.key("group-alias", known.id.as_str())?)?;
            let (accessor, name) = (&known.mount_accessor, &known.name);
            plan.delete(&factors_key(state, "group-alias-name", accessor, name)?)?;
        }
        record.alias = Some(alias);
        record.modify_index += 1;
        record.last_update_time = permit.now();
        if old.is_none() {
            let names = (None, &*record.name);
            rename(state, plan, "group-name", record.id.as_str(), names)?;
        } else {
            // Whoever the auth mount names so is in the group from now on.
            self.refuse_opening_group(permit, state, &record).await?;
        }
        put_group(state, plan, &record, old)?;
        Ok(record.id)
    }

    async fn drop_group_alias(
        &self,
        permit: &Permit,
        state: &Arc<OpenState>,
        plan: &mut Plan,
        group: &GroupView,
    ) -> Result<(), AccessError> {
        self.refuse_losing_group(permit, state, group).await?;
        let mut record = group.record.clone();
        record.alias = None;
        record.modify_index += 1;
        record.last_update_time = permit.now();
        put_group(state, plan, &record, Some(group))
    }

    /// Deletes the alias of a group; one that is not there is no error. The group stays.
    pub async fn delete_group_alias(&self, permit: &Permit, id: &str) -> Result<(), AccessError> {
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let Some(group) = self.group_by_alias(permit, id).await? else {
                return Ok(());
            };
            let Some(alias) = &group.record.alias else {
                return Ok(());
            };
            let mut plan = Plan::default();
            self.drop_group_alias(permit, &state, &mut plan, &group)
                .await?;
            plan.delete(&state.identity.key("group-alias", alias.id.as_str())?)?;
            let (accessor, name) = (&alias.mount_accessor, &alias.name);
            plan.delete(&factors_key(&state, "group-alias-name", accessor, name)?)?;
            if self.carry_out(&state, &turn, plan).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// All aliases of groups of the permit's namespace, by id, with their group's id.
    pub async fn group_aliases(
        &self,
        permit: &Permit,
    ) -> Result<Listed<(GroupId, GroupAlias)>, AccessError> {
        let mut entries = Vec::new();
        for (_, group) in self.groups(permit).await?.entries {
            if let Some(alias) = group.alias {
                entries.push((alias.id.to_string(), (group.id, alias)));
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Listed { entries })
    }
}

fn same_group(one: Option<&GroupView>, other: Option<&GroupView>) -> bool {
    let id = |group: Option<&GroupView>| group.map(|group| group.record.id.clone());
    id(one) == id(other)
}
