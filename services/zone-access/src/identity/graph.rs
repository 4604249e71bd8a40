//! Who is in which group: two records for each membership, so that both questions are one scan.
//!
//! `member/GROUP/e/ENTITY` (or `g/GROUP`) says who is in a group, `of/MEMBER/GROUP` in which
//! groups somebody is. Both come and go in one step after the other of one plan.

use std::collections::BTreeSet;

use zone_types::{EntityId, GroupId};

use super::plan::Plan;
use crate::{Access, AccessError, OpenState};

/// Most groups that one entity or group is in itself.
pub(super) const PARENTS: usize = 256;
/// Most groups above or below one another.
const DEEPEST: usize = 32;
/// Most groups that are looked at for one answer.
const WIDEST: usize = 2048;
/// Most members of a group.
pub(super) const MEMBERS: usize = 5000;

/// Who is in a group.
#[derive(Clone, Copy)]
pub(super) enum Member<'a> {
    Entity(&'a EntityId),
    Group(&'a GroupId),
}

impl Member<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Entity(id) => id.as_str(),
            Self::Group(id) => id.as_str(),
        }
    }

    fn concerned(&self, plan: &mut Plan) {
        match self {
            Self::Entity(id) => plan.concerns(id),
            Self::Group(id) => plan.concerns_group(id),
        }
    }

    fn keys(
        &self,
        state: &OpenState,
        group: &GroupId,
    ) -> Result<[zone_ports::Key; 2], AccessError> {
        let letter = match self {
            Self::Entity(_) => 'e',
            Self::Group(_) => 'g',
        };
        Ok([
            state
                .identity
                .key("member", &format!("{group}/{letter}/{}", self.id()))?,
            state
                .identity
                .key("of", &format!("{}/{group}", self.id()))?,
        ])
    }
}

/// Adds a member.
pub(super) fn tie(
    state: &OpenState,
    plan: &mut Plan,
    group: &GroupId,
    member: Member<'_>,
) -> Result<(), AccessError> {
    for key in member.keys(state, group)? {
        plan.mark(&key)?;
    }
    member.concerned(plan);
    Ok(())
}

/// Takes a member away.
pub(super) fn cut(
    state: &OpenState,
    plan: &mut Plan,
    group: &GroupId,
    member: Member<'_>,
) -> Result<(), AccessError> {
    // The one that authorization reads goes first.
    for key in member.keys(state, group)?.iter().rev() {
        plan.delete(key)?;
    }
    member.concerned(plan);
    Ok(())
}

impl Access {
    /// The groups that `member` is in itself.
    pub(super) async fn groups_of(
        &self,
        state: &OpenState,
        member: &str,
    ) -> Result<Vec<GroupId>, AccessError> {
        let ends = self
            .ends(state, "of", &format!("{member}/"), WIDEST)
            .await?;
        let ids: Option<Vec<_>> = ends.iter().map(|end| GroupId::parse(end).ok()).collect();
        ids.ok_or(AccessError::Corrupt)
    }

    pub(super) async fn member_entities(
        &self,
        state: &OpenState,
        group: &GroupId,
    ) -> Result<Vec<EntityId>, AccessError> {
        let ends = self
            .ends(state, "member", &format!("{group}/e/"), usize::MAX)
            .await?;
        let ids: Option<Vec<_>> = ends.iter().map(|end| EntityId::parse(end).ok()).collect();
        ids.ok_or(AccessError::Corrupt)
    }

    pub(super) async fn member_groups(
        &self,
        state: &OpenState,
        group: &GroupId,
    ) -> Result<Vec<GroupId>, AccessError> {
        let ends = self
            .ends(state, "member", &format!("{group}/g/"), usize::MAX)
            .await?;
        let ids: Option<Vec<_>> = ends.iter().map(|end| GroupId::parse(end).ok()).collect();
        ids.ok_or(AccessError::Corrupt)
    }

    /// `direct` and all groups that contain them, with the number of levels. Too many of either
    /// is an error: who does not know all groups of a caller does not know what they deny him.
    pub(super) async fn closure(
        &self,
        state: &OpenState,
        direct: &[GroupId],
    ) -> Result<(BTreeSet<GroupId>, usize), AccessError> {
        let mut seen = BTreeSet::new();
        let mut level: Vec<GroupId> = direct.to_vec();
        let mut levels = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for id in level {
                // A group that is being deleted may still stand in the index.
                let Some(group) = self.group_view(state, &id).await? else {
                    continue;
                };
                if seen.insert(id) {
                    next.extend(group.parents.iter().cloned());
                }
            }
            levels += 1;
            level = next;
            too_much(seen.len(), levels)?;
        }
        Ok((seen, levels))
    }

    /// How many levels of groups are in `group`, itself among them; refuses to find `searched`.
    async fn height(
        &self,
        state: &OpenState,
        group: &GroupId,
        forbidden: &BTreeSet<GroupId>,
    ) -> Result<usize, AccessError> {
        let mut seen = BTreeSet::new();
        let mut level = vec![group.clone()];
        let mut levels = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for id in level {
                if forbidden.contains(&id) {
                    return Err(AccessError::invalid(
                        "cyclic relationship detected: a group cannot contain itself",
                    ));
                }
                if seen.insert(id.clone()) {
                    next.extend(self.member_groups(state, &id).await?);
                }
            }
            levels += 1;
            level = next;
            too_much(seen.len(), levels)?;
        }
        Ok(levels)
    }

    /// Refuses a circle, and a line of groups that is too long.
    pub(super) async fn check_nesting(
        &self,
        state: &OpenState,
        group: &GroupId,
        new: &[GroupId],
    ) -> Result<(), AccessError> {
        if new.is_empty() {
            return Ok(());
        }
        let parents = self.groups_of(state, group.as_str()).await?;
        let (mut above, depth) = self.closure(state, &parents).await?;
        above.insert(group.clone());
        for member in new {
            let height = self.height(state, member, &above).await?;
            too_much(0, depth + 1 + height)?;
        }
        Ok(())
    }
}

fn too_much(groups: usize, levels: usize) -> Result<(), AccessError> {
    if groups > WIDEST || levels > DEEPEST {
        return Err(AccessError::invalid(format!(
            "groups can be nested {DEEPEST} deep, and an entity is in at most {WIDEST}"
        )));
    }
    Ok(())
}
