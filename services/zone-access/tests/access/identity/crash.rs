//! S1: power goes at each write of a change, before it is durable or just after.

use std::collections::BTreeSet;

use serde_json::Value;
use zone_testkit::Fault;

use super::*;
use crate::common::{keys_with, records};

/// Enough that a change of all of them needs several batches.
const MANY: usize = 90;

struct Scene {
    lab: Lab,
    many: Vec<String>,
    busy: String,
    full: String,
    other: String,
}

/// `full` has `many` members and `busy`; `busy` is in as many groups.
async fn beginning() -> Scene {
    let lab = lab().await;
    let mut many = Vec::new();
    for n in 0..MANY {
        many.push(write(&lab, entity(&format!("e{n}"))).await.unwrap());
    }
    let token = log_in(&lab, "busy", &[]).await.unwrap();
    let busy = entity_of(&token);
    let mut members = many.clone();
    members.push(busy.clone());
    let full = GroupAsk {
        member_entities: Some(members),
        ..group("full")
    };
    let full = write_group(&lab, full).await.unwrap();
    for n in 0..MANY {
        let ask = GroupAsk {
            member_entities: Some(vec![busy.clone()]),
            ..group(&format!("g{n}"))
        };
        write_group(&lab, ask).await.unwrap();
    }
    let other = write(&lab, entity("other")).await.unwrap();
    Scene {
        lab,
        many,
        busy,
        full,
        other,
    }
}

const STEPS: usize = 5;

async fn step(scene: &Scene, lab: &Lab, number: usize) -> Result<(), AccessError> {
    let permit = by_root(lab).await;
    match number {
        0 => {
            let half = scene.many.iter().step_by(2).cloned().collect();
            let ask = GroupAsk {
                id: Some(scene.full.clone()),
                policies: Some(owned(&["p"])),
                member_entities: Some(half),
                ..GroupAsk::default()
            };
            lab.access.write_group(&permit, ask).await.map(drop)
        }
        1 => {
            let from = [scene.busy.clone()];
            lab.access
                .merge_entities(&permit, &scene.other, &from, &[])
                .await
        }
        2 => lab.access.delete_entity(&permit, &scene.other).await,
        3 => lab.access.delete_group(&permit, &scene.full).await,
        _ => lab.access.delete_entities(&permit, &scene.many).await,
    }
}

/// Whatever happened: each record is borne out by the others, and nothing is left over.
async fn check_whole(lab: &Lab) {
    let area = super::store::identity_area(lab);
    let all = async |kind: &str| records(lab, &format!("{area}{kind}/")).await;
    let none = Value::Array(Vec::new());
    let (entities, groups) = (all("entity").await, all("group").await);
    let texts = |value: &Value| value.as_str().unwrap().to_owned();
    let ids: BTreeSet<_> = entities.keys().chain(groups.keys()).cloned().collect();
    let mut of = BTreeSet::new();
    for member in all("member").await.keys() {
        let parts: Vec<_> = member.split('/').collect();
        assert!(
            groups.contains_key(parts[0]) && ids.contains(parts[2]),
            "{member}"
        );
        of.insert(format!("{}/{}", parts[2], parts[0]));
    }
    let kept: BTreeSet<_> = all("of").await.into_keys().collect();
    assert_eq!(kept, of, "both records of each membership");
    for (kind, owners) in [("entity-name", &entities), ("group-name", &groups)] {
        let names = all(kind).await;
        assert_eq!(names.len(), owners.len());
        for name in names.values() {
            assert_eq!(owners[&texts(&name["id"])]["name"], name["name"]);
        }
    }
    let mut aliases = BTreeSet::new();
    for (id, entity) in &entities {
        for alias in entity["aliases"]
            .as_array()
            .unwrap_or(none.as_array().unwrap())
        {
            aliases.insert((texts(&alias["id"]), id.clone()));
        }
    }
    let index = all("alias").await;
    let index: BTreeSet<_> = index
        .iter()
        .map(|(id, record)| (id.clone(), texts(&record["owner"])))
        .collect();
    assert_eq!(index, aliases);
    assert_eq!(all("alias-name").await.len(), aliases.len());
    for owner in all("merged").await.values() {
        assert!(entities.contains_key(&texts(&owner["owner"])));
    }
    assert_eq!(
        keys_with(lab, &[&format!("{area}work/")]),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn s1_each_change_is_whole_after_a_crash_at_any_write() {
    for number in 0..STEPS {
        for fault in [Fault::Lost, Fault::AnswerLost] {
            let mut cut_off = 0;
            for nth in 1..=6 {
                let scene = beginning().await;
                for before in 0..number {
                    step(&scene, &scene.lab, before).await.unwrap();
                }
                scene.lab.store.fail_at(nth, fault);
                let result = step(&scene, &scene.lab, number).await;
                let lab = scene.lab.reopen().await;
                let begun = !keys_with(&lab, &["/mark"]).is_empty();
                cut_off += usize::from(begun);
                lab.settle().await;
                check_whole(&lab).await;
                if result.is_err() && !begun {
                    // Nothing was done, or all.
                    let again = step(&scene, &lab, number).await;
                    assert!(
                        matches!(again, Ok(()) | Err(AccessError::Invalid(_))),
                        "step {number}, write {nth}: {again:?} after {result:?}"
                    );
                }
                check_done(&scene, &lab, number).await;
            }
            // The last one takes a slice of its ids at a time, each of which is one batch.
            let several = number + 1 < STEPS && fault == Fault::Lost;
            assert!(cut_off > 0 || !several, "step {number}");
        }
    }
}

async fn check_done(scene: &Scene, lab: &Lab, number: usize) {
    let permit = by_root(lab).await;
    match number {
        0 => {
            let full = lab
                .access
                .group(&permit, &scene.full)
                .await
                .unwrap()
                .unwrap();
            let (members, _) = lab.access.members(&full).await.unwrap();
            assert_eq!(members.len(), MANY / 2);
            assert_eq!(full.record.policies, ["p"]);
        }
        1 => {
            let other = lab.access.entity(&permit, &scene.other).await;
            assert!(other.unwrap().unwrap().groups.len() >= MANY);
        }
        _ => {}
    }
    check_whole(lab).await;
}

/// The store fails in the middle and comes back: the head goes on without a restart, and a login
/// by a name whose entity is half gone finds none of it.
#[tokio::test]
async fn s1_a_change_that_was_cut_off_is_finished_by_whoever_comes_next() {
    for nth in 2..4 {
        let scene = beginning().await;
        let lab = &scene.lab;
        lab.store.fail_at(nth, Fault::Lost);
        let permit = by_root(lab).await;
        let deleted = lab.access.delete_entity(&permit, &scene.busy).await;
        assert!(deleted.is_err());
        let token = log_in(lab, "busy", &[]).await.unwrap();
        assert_ne!(entity_of(&token), scene.busy);
        let found = lab.access.entity(&permit, &entity_of(&token)).await;
        assert!(found.unwrap().unwrap().groups.is_empty());
        write(lab, entity("next")).await.unwrap();
        check_whole(lab).await;
    }
}
