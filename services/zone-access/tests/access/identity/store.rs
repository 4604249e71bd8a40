//! Entities and their aliases, as they are kept.

use zone_access::identity::{AliasAsk, EntityAsk};

use super::*;
use crate::common::said;

#[tokio::test]
async fn an_entity_is_found_by_each_of_its_names() {
    let lab = lab().await;
    let id = write(&lab, entity("Ada Lovelace")).await.unwrap();
    let alias_id = alias(&lab, &id, "ada@x").await.unwrap();
    let permit = by_root(&lab).await;
    for again in [&lab, &lab.reopen().await] {
        let access = &again.access;
        let by_id = access.entity(&permit, &id).await.unwrap().unwrap();
        assert_eq!(by_id.record.name, "Ada Lovelace");
        let by_name = access.entity_by_name(&permit, "ada lovelace").await;
        assert_eq!(by_name.unwrap().unwrap().record, by_id.record);
        let (owner, found) = access.alias(&permit, &alias_id).await.unwrap().unwrap();
        assert_eq!((&owner.record, &*found.name), (&by_id.record, "ada@x"));
        let at = accessor(&lab, "auth/approle");
        let found = access.alias_by_factors(&permit, &at, "ada@x").await;
        assert_eq!(found.unwrap().unwrap().1.id.to_string(), alias_id);
        for other in ["Ada@x", "ada@x ", ""] {
            let found = access.alias_by_factors(&permit, &at, other).await;
            assert!(found.unwrap().is_none(), "byte for byte: {other:?}");
        }
        let listed = access.entities(&permit).await.unwrap().entries;
        assert_eq!(listed.len(), 1);
    }
    lab.access.delete_entity(&permit, &id).await.unwrap();
    assert!(lab.access.entity(&permit, &id).await.unwrap().is_none());
    assert!(
        lab.access
            .alias(&permit, &alias_id)
            .await
            .unwrap()
            .is_none()
    );
    let left = crate::common::keys_with(&lab, &[&identity_area(&lab)]);
    assert_eq!(left, Vec::<String>::new(), "nothing is left behind");
    // Once more is no error.
    lab.access.delete_entity(&permit, &id).await.unwrap();
}

pub(super) fn identity_area(lab: &Lab) -> String {
    let mount = lab.access.identity_mount().unwrap();
    format!("{}/{}/", mount.namespace, mount.id)
}

#[tokio::test]
async fn what_is_not_said_stays_as_it_is() {
    let lab = lab().await;
    let ask = EntityAsk {
        policies: Some(owned(&[" B ", "a", "A"])),
        metadata: Some([("team".to_owned(), "blue".to_owned())].into()),
        ..entity("ada")
    };
    let id = write(&lab, ask).await.unwrap();
    lab.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(write(&lab, entity("ADA")).await.unwrap(), id);
    let renamed = EntityAsk {
        id: Some(id.clone()),
        disabled: Some(true),
        ..entity("eve")
    };
    write(&lab, renamed).await.unwrap();
    let permit = by_root(&lab).await;
    let found = lab.access.entity(&permit, &id).await.unwrap().unwrap();
    let record = &found.record;
    assert_eq!((&*record.name, record.disabled), ("eve", true));
    assert_eq!(record.policies, ["a", "b"]);
    assert_eq!(record.metadata.as_ref().unwrap()["team"], "blue");
    assert!(record.creation_time < record.last_update_time);
    let old = lab.access.entity_by_name(&permit, "ada").await.unwrap();
    assert!(old.is_none(), "the old name is free");
    assert_ne!(write(&lab, entity("ada")).await.unwrap(), id);
}

#[tokio::test]
async fn cve_2025_6013_names_that_differ_in_case_are_one() {
    let lab = lab().await;
    let id = write(&lab, entity("Ada")).await.unwrap();
    for name in ["ada", "ADA", "aDA"] {
        assert_eq!(write(&lab, entity(name)).await.unwrap(), id);
    }
    let other = write(&lab, entity("bob")).await.unwrap();
    let clash = EntityAsk {
        id: Some(other),
        ..entity("adA")
    };
    let refused = said(write(&lab, clash).await);
    assert_eq!(refused, "entity name is already in use");
    let group_id = write_group(&lab, group("Ops")).await.unwrap();
    assert_eq!(write_group(&lab, group("oPS")).await.unwrap(), group_id);
    for name in [
        "",
        " ada",
        "ada ",
        "a\u{200b}da",
        "a//b",
        "..",
        "ada/",
        "a\0",
    ] {
        assert!(
            said(write(&lab, entity(name)).await).contains("field 'name'"),
            "{name:?}"
        );
        assert!(
            said(write_group(&lab, group(name)).await).contains("field 'name'"),
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn an_alias_belongs_to_one_entity_and_an_entity_has_one_for_each_mount() {
    let lab = lab().await;
    let permit = by_root(&lab).await;
    let ada = write(&lab, entity("ada")).await.unwrap();
    let bob = write(&lab, entity("bob")).await.unwrap();
    let first = alias(&lab, &ada, "x").await.unwrap();
    assert!(said(alias(&lab, &ada, "y").await).contains("already exists"));
    // Named again by its mount and name, it moves.
    assert_eq!(alias(&lab, &bob, "x").await.unwrap(), first);
    let (owner, _) = lab.access.alias(&permit, &first).await.unwrap().unwrap();
    assert_eq!(owner.record.name, "bob");
    let same = AliasAsk {
        id: Some(first.clone()),
        name: Some("x".into()),
        ..AliasAsk::default()
    };
    assert!(
        lab.access
            .write_alias(&permit, same)
            .await
            .unwrap()
            .is_none()
    );
    let elsewhere = AliasAsk {
        id: Some(first.clone()),
        mount_accessor: Some(accessor(&lab, "auth/other")),
        custom_metadata: Some([("k".to_owned(), "v".to_owned())].into()),
        ..AliasAsk::default()
    };
    lab.access.write_alias(&permit, elsewhere).await.unwrap();
    let at = accessor(&lab, "auth/approle");
    let gone = lab
        .access
        .alias_by_factors(&permit, &at, "x")
        .await
        .unwrap();
    assert!(gone.is_none());
    for bad in ["", "approle_00000000", "secret", "auth/approle/"] {
        let ask = AliasAsk {
            name: Some("z".into()),
            mount_accessor: Some(bad.into()),
            ..AliasAsk::default()
        };
        let refused = said(lab.access.write_alias(&permit, ask).await);
        assert!(refused.contains("mount_accessor"), "{bad}: {refused}");
    }
    lab.access.delete_alias(&permit, &first).await.unwrap();
    assert!(lab.access.alias(&permit, &first).await.unwrap().is_none());
    assert!(
        lab.access
            .aliases(&permit)
            .await
            .unwrap()
            .entries
            .is_empty()
    );
}

#[tokio::test]
async fn a_long_name_of_an_alias_is_no_key() {
    let lab = lab().await;
    let ada = write(&lab, entity("ada")).await.unwrap();
    let name = format!("spiffe://zone/{}", "a/".repeat(1000));
    alias(&lab, &ada, &name).await.unwrap();
    let made = log_in(&lab, &name, &[]).await.unwrap();
    assert_eq!(entity_of(&made), ada);
    let too_long = "x".repeat(2049);
    assert!(said(log_in(&lab, &too_long, &[]).await).contains("2048"));
}

#[tokio::test]
async fn limits_are_told_by_field() {
    let lab = lab().await;
    let long = |field: usize, value: usize| Some([("k".repeat(field), "v".repeat(value))].into());
    for metadata in [long(129, 1), long(1, 513), long(0, 1)] {
        let ask = EntityAsk {
            metadata,
            ..entity("ada")
        };
        let refused = said(write(&lab, ask).await);
        assert!(
            refused.starts_with("field 'metadata'") && !refused.contains("kk"),
            "{refused}"
        );
    }
    let many: Vec<String> = (0..257).map(|n| format!("p{n}")).collect();
    let ask = EntityAsk {
        policies: Some(many),
        ..entity("ada")
    };
    assert!(said(write(&lab, ask).await).starts_with("field 'policies'"));
}

#[tokio::test]
async fn merged_entities_are_one() {
    let lab = lab().await;
    let permit = by_root(&lab).await;
    lab.policy("p1", &allows("secret/one", "read")).await;
    let token = log_in(&lab, "old", &[]).await.unwrap();
    let from = entity_of(&token);
    let ask = EntityAsk {
        id: Some(from.clone()),
        policies: Some(owned(&["p1"])),
        ..EntityAsk::default()
    };
    write(&lab, ask).await.unwrap();
    let to = write(&lab, entity("ada")).await.unwrap();
    let members = GroupAsk {
        member_entities: Some(vec![from.clone()]),
        ..group("ops")
    };
    let ops = write_group(&lab, members).await.unwrap();
    let merge = |to: &str, from: &str, keep: &[&str]| {
        let (access, permit) = (lab.access.clone(), &permit);
        let (to, from, keep) = (to.to_owned(), vec![from.to_owned()], owned(keep));
        async move { access.merge_entities(permit, &to, &from, &keep).await }
    };
    assert!(said(merge(&to, &to, &[]).await).contains("should not be present"));
    assert!(said(merge(&to, "x", &[]).await).contains("merge from is invalid"));
    merge(&to, &from, &[]).await.unwrap();
    assert!(lab.access.entity(&permit, &from).await.unwrap().is_none());
    let found = lab.access.entity(&permit, &to).await.unwrap().unwrap();
    assert_eq!(found.record.policies, ["p1"]);
    assert_eq!(found.record.merged[0].to_string(), from);
    assert_eq!(found.record.aliases[0].merged_from[0].to_string(), from);
    assert_eq!(found.groups[0].to_string(), ops);
    let again = log_in(&lab, "old", &[]).await.unwrap();
    assert_eq!(entity_of(&again), to);
    // The token of before is the other's now, also after a second merge.
    let last = write(&lab, entity("last")).await.unwrap();
    for lab in [&lab, &lab.reopen().await] {
        assert!(
            lab.access
                .identity_policies(token.entry.record.entity.as_ref())
                .await
                .unwrap()
                == owned(&["p1"])
        );
    }
    let clash = alias(&lab, &last, "mine").await.unwrap();
    let refused = said(merge(&last, &to, &[]).await);
    assert!(refused.contains("same mount accessor"), "{refused}");
    merge(&last, &to, &[&clash]).await.unwrap();
    let found = lab.access.entity(&permit, &last).await.unwrap().unwrap();
    assert_eq!(found.record.aliases.len(), 1);
    assert_eq!(found.record.merged.len(), 2);
    assert_eq!(
        lab.access
            .identity_policies(token.entry.record.entity.as_ref())
            .await
            .unwrap(),
        owned(&["p1"])
    );
    let stranger = log_in(&lab, "old", &[]).await.unwrap();
    assert_ne!(
        entity_of(&stranger),
        last,
        "the alias that was not kept is nobody's"
    );
    lab.access.delete_entity(&permit, &last).await.unwrap();
    assert_eq!(
        lab.access
            .identity_policies(token.entry.record.entity.as_ref())
            .await
            .unwrap(),
        owned(&[])
    );
}
