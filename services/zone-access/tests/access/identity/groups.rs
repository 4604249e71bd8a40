//! Groups: members, nesting, names from outside.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::common::said;

async fn members(
    lab: &Lab,
    id: &str,
    entities: &[&str],
    groups: &[&str],
) -> Result<(), AccessError> {
    let ask = GroupAsk {
        id: Some(id.to_owned()),
        member_entities: Some(owned(entities)),
        member_groups: Some(owned(groups)),
        ..GroupAsk::default()
    };
    write_group(lab, ask).await.map(drop)
}

async fn all_groups(lab: &Lab, entity: &str) -> (Vec<String>, Vec<String>) {
    let permit = by_root(lab).await;
    let found = lab.access.entity(&permit, entity).await.unwrap().unwrap();
    let (direct, inherited) = lab.access.groups_of_entity(&found).await.unwrap();
    let texts = |ids: Vec<zone_types::GroupId>| ids.iter().map(ToString::to_string).collect();
    (texts(direct), texts(inherited))
}

#[tokio::test]
async fn an_entity_is_in_the_groups_that_contain_its_groups() {
    let lab = lab().await;
    let ada = write(&lab, entity("ada")).await.unwrap();
    let (low, mid, top) = (
        write_group(&lab, group("low")).await.unwrap(),
        write_group(&lab, group("mid")).await.unwrap(),
        write_group(&lab, group("top")).await.unwrap(),
    );
    members(&lab, &low, &[&ada], &[]).await.unwrap();
    members(&lab, &mid, &[], &[&low]).await.unwrap();
    members(&lab, &top, &[&ada], &[&mid]).await.unwrap();
    let (direct, inherited) = all_groups(&lab, &ada).await;
    let want: BTreeSet<String> = [low.clone(), top.clone()].into();
    assert_eq!(direct.into_iter().collect::<BTreeSet<_>>(), want);
    assert_eq!(inherited, std::slice::from_ref(&mid));
    let permit = by_root(&lab).await;
    let view = lab.access.group(&permit, &mid).await.unwrap().unwrap();
    assert_eq!(view.parents[0].to_string(), top);
    lab.access.delete_group(&permit, &mid).await.unwrap();
    members(&lab, &top, &[], &[]).await.unwrap();
    assert_eq!(all_groups(&lab, &ada).await, (vec![low.clone()], vec![]));
    lab.access.delete_entity(&permit, &ada).await.unwrap();
    let view = lab.access.group(&permit, &low).await.unwrap().unwrap();
    assert!(lab.access.members(&view).await.unwrap().0.is_empty());
    for id in [low, top] {
        lab.access.delete_group(&permit, &id).await.unwrap();
    }
    let left = crate::common::keys_with(&lab, &[&super::store::identity_area(&lab)]);
    assert_eq!(left, Vec::<String>::new(), "nothing is left behind");
}

#[tokio::test]
async fn a_circle_of_groups_is_refused_and_so_is_a_tower() {
    let lab = lab().await;
    let mut line = vec![write_group(&lab, group("g0")).await.unwrap()];
    for n in 1..32 {
        let id = write_group(&lab, group(&format!("g{n}"))).await.unwrap();
        members(&lab, &id, &[], &[&line[n - 1]]).await.unwrap();
        line.push(id);
    }
    for (below, above) in [(0, 0), (1, 0), (31, 0), (20, 10)] {
        let refused = said(members(&lab, &line[above], &[], &[&line[below]]).await);
        assert!(refused.contains("cyclic"), "{below} in {above}: {refused}");
    }
    let top = write_group(&lab, group("top")).await.unwrap();
    let refused = said(members(&lab, &top, &[], &[&line[31]]).await);
    assert!(refused.contains("nested 32 deep"), "{refused}");
    members(&lab, &top, &[], &[&line[30]]).await.unwrap();
    let unknown = said(members(&lab, &top, &["x"], &[]).await);
    assert!(unknown.contains("member_entity_ids"), "{unknown}");
}

#[tokio::test]
async fn an_external_group_has_its_members_from_outside() {
    let lab = lab().await;
    let permit = by_root(&lab).await;
    let inner = write_group(&lab, group("inner")).await.unwrap();
    let outer = write_group(&lab, external("outer")).await.unwrap();
    let refused = said(members(&lab, &outer, &[], &[]).await);
    assert!(refused.contains("can't be set"), "{refused}");
    let kind = GroupAsk {
        id: Some(inner.clone()),
        kind: Some(GroupKind::External),
        ..GroupAsk::default()
    };
    assert!(said(write_group(&lab, kind).await).contains("type cannot be changed"));
    let ask = |name: &str, group: Option<&String>| AliasAsk {
        name: Some(name.to_owned()),
        mount_accessor: Some(accessor(&lab, "auth/approle")),
        canonical_id: group.cloned(),
        ..AliasAsk::default()
    };
    let on_inner = lab
        .access
        .write_group_alias(&permit, ask("cn=a", Some(&inner)));
    assert!(said(on_inner.await).contains("internal"));
    let made = lab
        .access
        .write_group_alias(&permit, ask("cn=a", Some(&outer)));
    let (id, owner) = made.await.unwrap().unwrap();
    assert_eq!(owner.to_string(), outer);
    let taken = lab
        .access
        .write_group_alias(&permit, ask("cn=a", None))
        .await;
    assert!(said(taken).contains("already in use"));
    let (second, made) = lab
        .access
        .write_group_alias(&permit, ask("cn=A", None))
        .await
        .unwrap()
        .unwrap();
    assert!(made != owner && second != id, "byte for byte");
    let moved = AliasAsk {
        id: Some(id.to_string()),
        ..ask("cn=b", None)
    };
    lab.access.write_group_alias(&permit, moved).await.unwrap();
    let at = accessor(&lab, "auth/approle");
    let found = lab.access.group_by_factors(&permit, &at, "cn=b").await;
    assert_eq!(found.unwrap().unwrap().record.id, owner);
    let old = lab.access.group_by_factors(&permit, &at, "cn=a").await;
    assert!(old.unwrap().is_none());
    lab.access
        .delete_group_alias(&permit, id.as_str())
        .await
        .unwrap();
    let gone = lab.access.group_by_alias(&permit, id.as_str()).await;
    assert!(gone.unwrap().is_none());
    let left = lab.access.group_aliases(&permit).await.unwrap().entries;
    assert_eq!(left.len(), 1);
}

#[derive(Debug, Clone)]
enum Move {
    Members(usize, Vec<usize>, Vec<usize>),
    DropGroup(usize),
    DropEntity(usize),
    Reopen,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let some = || prop::collection::vec(0..4usize, 0..4);
    let one = prop_oneof![
        6 => (0..4usize, some(), some()).prop_map(|(g, e, m)| Move::Members(g, e, m)),
        1 => (0..4usize).prop_map(Move::DropGroup),
        1 => (0..4usize).prop_map(Move::DropEntity),
        1 => Just(Move::Reopen),
    ];
    prop::collection::vec(one, 1..12)
}

/// Who is in which group, kept as plain sets.
#[derive(Default)]
struct Model {
    entities: BTreeSet<usize>,
    groups: BTreeSet<usize>,
    ties: BTreeSet<(bool, usize, usize)>,
}

impl Model {
    fn above(&self, of_group: bool, member: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut todo = vec![(of_group, member)];
        while let Some((kind, id)) = todo.pop() {
            for (_, _, group) in self.ties.iter().filter(|tie| (tie.0, tie.1) == (kind, id)) {
                if found.insert(*group) {
                    todo.push((true, *group));
                }
            }
        }
        found
    }

    fn circle(&self) -> bool {
        self.groups
            .iter()
            .any(|group| self.above(true, *group).contains(group))
    }
}

async fn play(moves: Vec<Move>) {
    let mut lab = lab().await;
    let (mut entities, mut groups) = (Vec::new(), Vec::new());
    let mut model = Model::default();
    for n in 0..4 {
        entities.push(write(&lab, entity(&format!("e{n}"))).await.unwrap());
        groups.push(write_group(&lab, group(&format!("g{n}"))).await.unwrap());
        model.entities.insert(n);
        model.groups.insert(n);
    }
    for step in moves {
        match step {
            Move::Reopen => lab = lab.reopen().await,
            Move::DropGroup(n) => {
                let permit = by_root(&lab).await;
                lab.access.delete_group(&permit, &groups[n]).await.unwrap();
                model.groups.remove(&n);
                model
                    .ties
                    .retain(|tie| tie.2 != n && (!tie.0 || tie.1 != n));
            }
            Move::DropEntity(n) => {
                let permit = by_root(&lab).await;
                lab.access
                    .delete_entity(&permit, &entities[n])
                    .await
                    .unwrap();
                model.entities.remove(&n);
                model.ties.retain(|tie| tie.0 || tie.1 != n);
            }
            Move::Members(n, some, below) => {
                let ids = |which: &[usize], all: &[String]| -> Vec<String> {
                    which.iter().map(|n| all[*n].clone()).collect()
                };
                let ask = GroupAsk {
                    id: Some(groups[n].clone()),
                    member_entities: Some(ids(&some, &entities)),
                    member_groups: Some(ids(&below, &groups)),
                    ..GroupAsk::default()
                };
                let mut ties = model.ties.clone();
                ties.retain(|tie| tie.2 != n);
                ties.extend(some.iter().map(|e| (false, *e, n)));
                ties.extend(below.iter().map(|g| (true, *g, n)));
                let next = Model {
                    ties,
                    entities: model.entities.clone(),
                    groups: model.groups.clone(),
                };
                let known = model.groups.contains(&n)
                    && some.iter().all(|e| model.entities.contains(e))
                    && below.iter().all(|g| model.groups.contains(g));
                let done = write_group(&lab, ask).await.is_ok();
                assert_eq!(done, known && !next.circle());
                if done {
                    model = next;
                }
            }
        }
        for n in &model.entities {
            let (direct, inherited) = all_groups(&lab, &entities[*n]).await;
            let found: BTreeSet<_> = direct.into_iter().chain(inherited).collect();
            let above = model.above(false, *n);
            assert_eq!(found, above.iter().map(|g| groups[*g].clone()).collect());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn groups_are_as_plain_sets_would_be(moves in moves()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(moves));
    }
}
