//! Groups: made, changed, read, listed and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zone_ports::store::Revision;
use zone_ports::{KeyRange, random};
use zone_types::{EntityId, GroupId};

use super::entity::{factors_key, name_key, rename};
use super::graph::{MEMBERS, Member, PARENTS, cut, tie};
use super::plan::Plan;
use super::record::{GroupKind, GroupRecord, check_metadata, check_name};
use super::{EntityView, Listed, policies};
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::token::TRIES;
use crate::{Access, AccessError, OpenState};

/// What a caller wants a group to be; what is not given stays as it is.
#[derive(Debug, Default)]
pub struct GroupAsk {
    /// Which; else the one of that name, else a new one.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Who says who is in it; cannot be changed.
    pub kind: Option<GroupKind>,
    /// Its policies.
    pub policies: Option<Vec<String>>,
    /// Its metadata.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The entities in it, all of them.
    pub member_entities: Option<Vec<String>>,
    /// The groups in it, all of them.
    pub member_groups: Option<Vec<String>>,
}

/// A group as it was found.
#[derive(Debug)]
pub struct GroupView {
    /// What is stored of it.
    pub record: GroupRecord,
    /// The groups that it is in itself.
    pub parents: Vec<GroupId>,
    pub(super) revision: Revision,
}

/// How the members of a group change.
#[derive(Default)]
pub(super) struct Moves {
    pub(super) entities_in: Vec<EntityId>,
    pub(super) entities_out: Vec<EntityId>,
    pub(super) groups_in: Vec<GroupId>,
    pub(super) groups_out: Vec<GroupId>,
}

impl Access {
    /// The group of that id in the permit's namespace.
    pub async fn group(
        &self,
        permit: &Permit,
        id: &str,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        let state = self.state()?;
        let Ok(id) = GroupId::parse(id) else {
            return Ok(None);
        };
        let found = self.group_view(&state, &id).await?;
        Ok(found.filter(|group| group.record.namespace == *permit.namespace()))
    }

    /// The group of that name, in any case.
    pub async fn group_by_name(
        &self,
        permit: &Permit,
        name: &str,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        let state = self.state()?;
        match self.owner_of_name(&state, "group-name", name).await? {
            Some(id) => self.group(permit, &id).await,
            None => Ok(None),
        }
    }

    /// The ids of the entities and of the groups in a group.
    pub async fn members(
        &self,
        group: &GroupView,
    ) -> Result<(Vec<EntityId>, Vec<GroupId>), AccessError> {
        let state = self.state()?;
        let id = &group.record.id;
        Ok((
            self.member_entities(&state, id).await?,
            self.member_groups(&state, id).await?,
        ))
    }

    /// How many entities are in a group, and in how many groups it is itself.
    pub async fn member_counts(&self, id: &GroupId) -> Result<(usize, usize), AccessError> {
        let state = self.state()?;
        Ok((
            self.member_entities(&state, id).await?.len(),
            self.groups_of(&state, id.as_str()).await?.len(),
        ))
    }

    /// All groups of an entity: those that it is in itself, and those that contain these.
    pub async fn groups_of_entity(
        &self,
        entity: &EntityView,
    ) -> Result<(Vec<GroupId>, Vec<GroupId>), AccessError> {
        let state = self.state()?;
        let (all, _) = self.closure(&state, &entity.groups).await?;
        let (direct, inherited) = all.into_iter().partition(|id| entity.groups.contains(id));
        Ok((direct, inherited))
    }

    /// Makes a group, or changes one. The group, and whether it is new.
    pub async fn write_group(
        &self,
        permit: &Permit,
        ask: GroupAsk,
    ) -> Result<(GroupRecord, bool), AccessError> {
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let old = self.group_meant(permit, &ask).await?;
            let record = self.changed_group(permit, old.as_deref(), &ask)?;
            let old_name = old.as_ref().map(|old| &*old.record.name);
            if self
                .name_is_taken(&state, "group-name", &record.name, old_name)
                .await?
            {
                return Err(AccessError::invalid("group name is already in use"));
            }
            let moves = self.moves(permit, &state, &record, &ask).await?;
            self.check_nesting(&state, &record.id, &moves.groups_in)
                .await?;
            self.refuse_group_gain(permit, &state, old.as_deref(), &record, &moves)
                .await?;
            // Who leaves gets none of the new policies, who comes none of the old.
            let mut plan = Plan::default();
            moves.leave(&state, &mut plan, &record.id)?;
            put_group(&state, &mut plan, &record, old.as_deref())?;
            let names = (old_name, &*record.name);
            rename(&state, &mut plan, "group-name", record.id.as_str(), names)?;
            moves.enter(&state, &mut plan, &record.id)?;
            if self.carry_out(&state, &turn, plan).await? {
                return Ok((record, old.is_none()));
            }
        }
        Err(AccessError::Busy)
    }

    async fn group_meant(
        &self,
        permit: &Permit,
        ask: &GroupAsk,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        if let Some(id) = &ask.id {
            let found = self.group(permit, id).await?;
            return match found {
                Some(group) => Ok(Some(group)),
                None => Err(AccessError::invalid("group not found from id")),
            };
        }
        match &ask.name {
            Some(name) => self.group_by_name(permit, name).await,
            None => Ok(None),
        }
    }

    fn changed_group(
        &self,
        permit: &Permit,
        old: Option<&GroupView>,
        ask: &GroupAsk,
    ) -> Result<GroupRecord, AccessError> {
        let mut record = match old {
            Some(old) => old.record.clone(),
            None => self.new_group(permit, ask.kind.unwrap_or(GroupKind::Internal)),
        };
        record.last_update_time = permit.now();
        record.modify_index += 1;
        if ask.kind.is_some_and(|kind| kind != record.kind) {
            return Err(AccessError::invalid("group type cannot be changed"));
        }
        // What was found by its name keeps its spelling.
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
        Ok(record)
    }

    pub(super) fn new_group(&self, permit: &Permit, kind: GroupKind) -> GroupRecord {
        let suffix = hex::encode(random::bytes::<4>(&*self.random));
        GroupRecord {
            v: V1,
            id: GroupId::from_random(random::bytes(&*self.random)),
            namespace: permit.namespace().clone(),
            name: format!("group_{suffix}"),
            kind,
            policies: Vec::new(),
            metadata: None,
            alias: None,
            modify_index: 0,
            creation_time: permit.now(),
            last_update_time: permit.now(),
        }
    }

    /// What the lists of members in `ask` change.
    async fn moves(
        &self,
        permit: &Permit,
        state: &OpenState,
        record: &GroupRecord,
        ask: &GroupAsk,
    ) -> Result<Moves, AccessError> {
        let mut moves = Moves::default();
        let external = record.kind == GroupKind::External;
        if let Some(given) = &ask.member_entities {
            if external {
                return Err(AccessError::invalid(
                    "member entities can't be set manually for external groups",
                ));
            }
            let wanted = self.known_entities(permit, given).await?;
            let present = self.member_entities(state, &record.id).await?;
            (moves.entities_in, moves.entities_out) = compared(present, &wanted);
        }
        if let Some(given) = &ask.member_groups {
            if external {
                return Err(AccessError::invalid(
                    "member groups can't be set for external groups",
                ));
            }
            let wanted = self.known_groups(permit, given).await?;
            let present = self.member_groups(state, &record.id).await?;
            (moves.groups_in, moves.groups_out) = compared(present, &wanted);
        }
        self.check_room(state, &moves).await?;
        Ok(moves)
    }

    /// Nobody is in more groups than authorization is ready to look at.
    async fn check_room(&self, state: &OpenState, moves: &Moves) -> Result<(), AccessError> {
        let groups = moves.groups_in.iter().map(GroupId::as_str);
        for id in moves.entities_in.iter().map(EntityId::as_str).chain(groups) {
            if self.groups_of(state, id).await?.len() >= PARENTS {
                return Err(AccessError::invalid(format!(
                    "an entity or a group is in at most {PARENTS} groups itself"
                )));
            }
        }
        Ok(())
    }

    async fn known_entities(
        &self,
        permit: &Permit,
        given: &[String],
    ) -> Result<BTreeSet<EntityId>, AccessError> {
        check_count(given)?;
        let mut known = BTreeSet::new();
        for id in given {
            let entity = self.entity(permit, id).await?.ok_or_else(|| {
                AccessError::invalid("field 'member_entity_ids': no entity has one of these ids")
            })?;
            known.insert(entity.record.id.clone());
        }
        Ok(known)
    }

    async fn known_groups(
        &self,
        permit: &Permit,
        given: &[String],
    ) -> Result<BTreeSet<GroupId>, AccessError> {
        check_count(given)?;
        let mut known = BTreeSet::new();
        for id in given {
            let group = self.group(permit, id).await?.ok_or_else(|| {
                AccessError::invalid("field 'member_group_ids': no group has one of these ids")
            })?;
            known.insert(group.record.id.clone());
        }
        Ok(known)
    }

    /// Deletes a group; one that is not there is no error. Its members stay.
    pub async fn delete_group(&self, permit: &Permit, id: &str) -> Result<(), AccessError> {
        let state = self.state()?;
        let turn = self.begin(&state).await?;
        for _ in 0..TRIES {
            let Some(group) = self.group(permit, id).await? else {
                return Ok(());
            };
            let (entities, groups) = self.members(&group).await?;
            self.refuse_losing_group(permit, &state, &group).await?;
            let mut plan = Plan::default();
            let record = &group.record;
            let key = state.identity.key("group", record.id.as_str())?;
            plan.require(key.clone(), Some(group.revision));
            plan.delete(&key)?;
            plan.delete(&name_key(&state, "group-name", &record.name)?)?;
            if let Some(alias) = &record.alias {
                plan.delete(&state.identity.key("group-alias", alias.id.as_str())?)?;
                let (accessor, name) = (&alias.mount_accessor, &alias.name);
                plan.delete(&factors_key(&state, "group-alias-name", accessor, name)?)?;
            }
            let moves = Moves {
                entities_out: entities,
                groups_out: groups,
                ..Moves::default()
            };
            moves.leave(&state, &mut plan, &record.id)?;
            for parent in &group.parents {
                cut(&state, &mut plan, parent, Member::Group(&record.id))?;
            }
            plan.concerns_group(&record.id);
            if self.carry_out(&state, &turn, plan).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// All groups of the permit's namespace, by id.
    pub async fn groups(&self, permit: &Permit) -> Result<Listed<GroupRecord>, AccessError> {
        let state = self.state()?;
        let mut range = KeyRange::prefix(state.identity.mount.prefix("group"));
        let mut entries = Vec::new();
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(Listed { entries });
            };
            range = range.after(last);
            for (_, plain) in &page {
                let record: GroupRecord = decode(plain)?;
                if record.namespace == *permit.namespace() {
                    entries.push((record.id.to_string(), record));
                }
            }
        }
    }

    /// The group `id`, from memory if it was needed before.
    pub(super) async fn group_view(
        &self,
        state: &OpenState,
        id: &GroupId,
    ) -> Result<Option<Arc<GroupView>>, AccessError> {
        let cache = &state.identity.groups;
        if let Some(group) = cache.get(id) {
            return Ok(Some(group));
        }
        let guard = match cache.get_value_or_guard_async(id).await {
            Ok(group) => return Ok(Some(group)),
            Err(guard) => guard,
        };
        let key = state.identity.key("group", id.as_str())?;
        let Some(plain) = self.barrier.get(&key).await? else {
            return Ok(None);
        };
        let view = Arc::new(GroupView {
            record: decode(&plain)?,
            parents: self.groups_of(state, id.as_str()).await?,
            revision: plain.revision,
        });
        let _ = guard.insert(view.clone());
        Ok(Some(view))
    }
}

impl Moves {
    fn leave(
        &self,
        state: &OpenState,
        plan: &mut Plan,
        group: &GroupId,
    ) -> Result<(), AccessError> {
        for id in &self.entities_out {
            cut(state, plan, group, Member::Entity(id))?;
        }
        for id in &self.groups_out {
            cut(state, plan, group, Member::Group(id))?;
        }
        Ok(())
    }

    fn enter(
        &self,
        state: &OpenState,
        plan: &mut Plan,
        group: &GroupId,
    ) -> Result<(), AccessError> {
        for id in &self.entities_in {
            tie(state, plan, group, Member::Entity(id))?;
        }
        for id in &self.groups_in {
            tie(state, plan, group, Member::Group(id))?;
        }
        Ok(())
    }
}

/// Adds the write of a group that is still as `old`.
pub(super) fn put_group(
    state: &OpenState,
    plan: &mut Plan,
    record: &GroupRecord,
    old: Option<&GroupView>,
) -> Result<(), AccessError> {
    let key = state.identity.key("group", record.id.as_str())?;
    plan.require(key.clone(), old.map(|old| old.revision));
    plan.put(&key, record)?;
    plan.concerns_group(&record.id);
    Ok(())
}

/// Who comes and who goes.
fn compared<T: Ord + Clone>(present: Vec<T>, wanted: &BTreeSet<T>) -> (Vec<T>, Vec<T>) {
    let present: BTreeSet<T> = present.into_iter().collect();
    let comes = wanted.difference(&present).cloned().collect();
    let goes = present.difference(wanted).cloned().collect();
    (comes, goes)
}

fn check_count(given: &[String]) -> Result<(), AccessError> {
    if given.len() > MEMBERS {
        return Err(AccessError::invalid(format!(
            "a group has at most {MEMBERS} members of each kind"
        )));
    }
    Ok(())
}
