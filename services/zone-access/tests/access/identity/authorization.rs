//! What comes to a token by the entity behind it.

use std::sync::Arc;

use zone_access::{CreateToken, RefusalKind, RoleChange, TokenKind};
use zone_testkit::MemStore;

use super::*;
use crate::common::{ask, ask_for, create, create_at, said};
use crate::slow::SlowStore;

#[tokio::test]
async fn a_login_makes_one_entity_for_one_name() {
    let lab = lab().await;
    let first = log_in(&lab, "ann", &[]).await.unwrap();
    let before = lab.store.applies();
    let again = log_in(&lab, "ann", &[]).await.unwrap();
    assert_eq!(
        lab.store.applies(),
        before + 1,
        "one group, as without identity"
    );
    assert_eq!(entity_of(&first), entity_of(&again));
    let other = log_in(&lab, "Ann", &[]).await.unwrap();
    assert_ne!(entity_of(&first), entity_of(&other), "byte for byte");
    let permit = at_login(&lab, "auth/other").await;
    let made = lab
        .access
        .log_in(&permit, &grant("ann", &[]), Batch::new())
        .await;
    let elsewhere = made.unwrap().unwrap();
    assert_ne!(entity_of(&first), entity_of(&elsewhere), "by mount");
    let nobody = LoginGrant::default();
    let permit = at_login(&lab, "auth/approle").await;
    let made = lab.access.log_in(&permit, &nobody, Batch::new()).await;
    assert_eq!(made.unwrap().unwrap().entry.record.entity, None);
}

#[tokio::test]
async fn s1_logins_at_once_make_exactly_one_entity() {
    let lab = Arc::new(lab().await);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let lab = lab.clone();
            tokio::spawn(async move {
                let permit = at_login(&lab, "auth/approle").await;
                let grant = grant("ann", &[]);
                loop {
                    let made = lab.access.log_in(&permit, &grant, Batch::new());
                    if let Some(made) = made.await.unwrap() {
                        return entity_of(&made);
                    }
                }
            })
        })
        .collect();
    let mut entities = std::collections::BTreeSet::new();
    for task in tasks {
        entities.insert(task.await.unwrap());
    }
    assert_eq!(entities.len(), 1);
    let permit = by_root(&lab).await;
    assert_eq!(lab.access.entities(&permit).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn policies_come_by_the_entity_and_by_all_its_groups() {
    let lab = lab().await;
    for name in ["own", "direct", "above", "late"] {
        lab.policy(name, &allows(&format!("secret/{name}"), "read"))
            .await;
    }
    lab.mount(MountKind::Kv, "secret").await;
    let token = log_in(&lab, "ann", &[]).await.unwrap();
    let ann = entity_of(&token);
    assert!(!reads(&lab, &token, "secret/own").await);
    let by_id = |policies: &[&str]| EntityAsk {
        id: Some(ann.clone()),
        policies: Some(owned(policies)),
        ..EntityAsk::default()
    };
    write(&lab, by_id(&["own"])).await.unwrap();
    assert!(reads(&lab, &token, "secret/own").await, "at once");
    let direct = GroupAsk {
        policies: Some(owned(&["direct"])),
        member_entities: Some(vec![ann.clone()]),
        ..group("direct")
    };
    let direct = write_group(&lab, direct).await.unwrap();
    let above = GroupAsk {
        policies: Some(owned(&["above"])),
        member_groups: Some(vec![direct.clone()]),
        ..group("above")
    };
    let above = write_group(&lab, above).await.unwrap();
    for name in ["own", "direct", "above"] {
        assert!(
            reads(&lab, &token, &format!("secret/{name}")).await,
            "{name}"
        );
    }
    let all = lab
        .access
        .identity_policies(token.entry.record.entity.as_ref())
        .await
        .unwrap();
    assert_eq!(all, owned(&["above", "direct", "own"]));
    // A child has the same entity.
    lab.policy("maker", crate::common::MAKER).await;
    write(&lab, by_id(&["own", "maker"])).await.unwrap();
    let child = create(&lab, &token.text, ask()).await.unwrap();
    assert!(reads(&lab, &child, "secret/above").await);
    let late = GroupAsk {
        id: Some(above),
        policies: Some(owned(&["late"])),
        ..GroupAsk::default()
    };
    write_group(&lab, late).await.unwrap();
    for token in [&token, &child] {
        assert!(!reads(&lab, token, "secret/above").await);
        assert!(reads(&lab, token, "secret/late").await);
    }
    let permit = by_root(&lab).await;
    lab.access.delete_group(&permit, &direct).await.unwrap();
    assert!(!reads(&lab, &token, "secret/late").await);
    assert!(reads(&lab, &token, "secret/own").await);
}

#[tokio::test]
async fn a_token_of_a_disabled_or_deleted_entity_is_refused() {
    let lab = lab().await;
    let token = log_in(&lab, "ann", &[]).await.unwrap();
    let path = "auth/token/lookup-self";
    assert!(reads(&lab, &token, path).await);
    let switch = |disabled| EntityAsk {
        id: Some(entity_of(&token)),
        disabled: Some(disabled),
        ..EntityAsk::default()
    };
    write(&lab, switch(true)).await.unwrap();
    for lab in [&lab, &lab.reopen().await] {
        let refusal = lab.permit_of(&token.text, Operation::Read, path).await;
        let refusal = refusal.unwrap_err();
        assert!(matches!(refusal.kind, RefusalKind::Denied), "{refusal:?}");
        assert!(refusal.token.is_some(), "the trail knows who it was");
        assert_eq!(
            said(log_in(lab, "ann", &[]).await),
            "permission denied: the entity is disabled"
        );
    }
    write(&lab, switch(false)).await.unwrap();
    assert!(reads(&lab, &token, path).await);
    let permit = by_root(&lab).await;
    let id = entity_of(&token);
    lab.access.delete_entity(&permit, &id).await.unwrap();
    assert!(!reads(&lab, &token, path).await);
    let anew = log_in(&lab, "ann", &[]).await.unwrap();
    assert_ne!(entity_of(&anew), id);
    assert!(reads(&lab, &anew, path).await && !reads(&lab, &token, path).await);
}

#[tokio::test]
async fn templates_are_filled_for_each_entity() {
    let lab = lab().await;
    lab.mount(MountKind::Kv, "secret").await;
    let at = accessor(&lab, "auth/approle");
    let text = [
        "secret/id/{{identity.entity.id}}",
        "secret/team/{{identity.entity.metadata.team}}/*",
        &format!("secret/alias/{{{{identity.entity.aliases.{at}.name}}}}"),
        &format!("secret/role/{{{{identity.entity.aliases.{at}.metadata.role}}}}"),
        "secret/group/{{identity.groups.names.ops.id}}",
    ]
    .map(|path| allows(path, "read"))
    .concat();
    lab.policy("all", &text).await;
    let ann = log_in(&lab, "ann", &["all"]).await.unwrap();
    let bob = log_in(&lab, "bob", &["all"]).await.unwrap();
    for (token, other) in [(&ann, &bob), (&bob, &ann)] {
        assert!(reads(&lab, token, &format!("secret/id/{}", entity_of(token))).await);
        assert!(!reads(&lab, token, &format!("secret/id/{}", entity_of(other))).await);
    }
    assert!(reads(&lab, &ann, "secret/alias/ann").await);
    assert!(!reads(&lab, &bob, "secret/alias/ann").await);
    let team = |team: &str| EntityAsk {
        id: Some(entity_of(&ann)),
        metadata: Some([("team".to_owned(), team.to_owned())].into()),
        ..EntityAsk::default()
    };
    assert!(!reads(&lab, &ann, "secret/team/blue/x").await);
    write(&lab, team("blue")).await.unwrap();
    assert!(reads(&lab, &ann, "secret/team/blue/x").await, "at once");
    assert!(!reads(&lab, &bob, "secret/team/blue/x").await);
    for wide in ["*", "+", "blue/x", "+/x", ""] {
        write(&lab, team(wide)).await.unwrap();
        assert!(!reads(&lab, &ann, "secret/team/blue/x").await, "{wide:?}");
    }
    let ops = GroupAsk {
        member_entities: Some(vec![entity_of(&bob)]),
        ..group("ops")
    };
    let ops = write_group(&lab, ops).await.unwrap();
    assert!(reads(&lab, &bob, &format!("secret/group/{ops}")).await);
    assert!(!reads(&lab, &ann, &format!("secret/group/{ops}")).await);
    // What the method says of the alias is refreshed by a login, for the old token too.
    let permit = at_login(&lab, "auth/approle").await;
    let mut grant = grant("ann", &["all"]);
    let metadata = [("role".to_owned(), "web".to_owned())].into();
    grant.alias.as_mut().unwrap().metadata = metadata;
    assert!(!reads(&lab, &ann, "secret/role/web").await);
    lab.access
        .log_in(&permit, &grant, Batch::new())
        .await
        .unwrap();
    assert!(reads(&lab, &ann, "secret/role/web").await);
    // Without an entity nothing is filled; what others hold is not mixed up with that.
    let plain = lab.token(&["all"]).await;
    assert!(!reads(&lab, &plain, "secret/alias/ann").await);
    assert!(reads(&lab, &ann, "secret/alias/ann").await);
}

async fn slow_lab() -> (Arc<Lab>, Arc<SlowStore>) {
    let store = MemStore::new();
    let slow = Arc::new(SlowStore::new(store.clone()));
    let lab = Lab::through(store, slow.clone()).await;
    let permit = root_at(&lab, "sys/auth/approle").await;
    let new = NewMount::default();
    let mount = lab
        .access
        .enable(&permit, MountKind::AppRole, "auth/approle", new);
    mount.await.unwrap();
    (Arc::new(lab), slow)
}

#[tokio::test]
async fn identity_costs_no_read_of_the_store_once_it_is_known() {
    let (lab, slow) = slow_lab().await;
    lab.policy("p", &allows("secret/{{identity.entity.name}}", "read"))
        .await;
    let token = log_in(&lab, "ann", &[]).await.unwrap();
    let mut below = None;
    for n in 0..10 {
        let ask = GroupAsk {
            policies: Some(owned(&["p"])),
            member_entities: Some(vec![entity_of(&token)]),
            member_groups: Some(below.into_iter().collect()),
            ..group(&format!("g{n}"))
        };
        below = Some(write_group(&lab, ask).await.unwrap());
    }
    let path = "auth/token/lookup-self";
    assert!(reads(&lab, &token, path).await);
    let before = slow.reads();
    for _ in 0..3 {
        assert!(reads(&lab, &token, path).await);
    }
    assert_eq!(slow.reads(), before);
    // A change elsewhere costs nothing but what it is about.
    write(&lab, entity("somebody")).await.unwrap();
    let before = slow.reads();
    assert!(reads(&lab, &token, path).await);
    assert_eq!(slow.reads(), before);
}

/// A look-up has read the entity and is stopped; the entity is disabled meanwhile.
#[tokio::test]
async fn what_was_read_before_a_change_is_not_kept_after_it() {
    let (lab, slow) = slow_lab().await;
    let token = log_in(&lab, "ann", &[]).await.unwrap();
    slow.stop_read_of(&format!("entity/{}", entity_of(&token)));
    let path = "auth/token/lookup-self";
    let looker = tokio::spawn({
        let (lab, text) = (lab.clone(), token.text.clone());
        async move { lab.permit_of(&text, Operation::Read, path).await.is_ok() }
    });
    slow.stopped().await;
    let writer = tokio::spawn({
        let (lab, id) = (lab.clone(), entity_of(&token));
        async move {
            let ask = EntityAsk {
                id: Some(id),
                disabled: Some(true),
                ..EntityAsk::default()
            };
            write(&lab, ask).await.unwrap();
        }
    });
    slow.go_on();
    looker.await.unwrap();
    writer.await.unwrap();
    assert!(!reads(&lab, &token, path).await);
}

#[tokio::test]
async fn b2_sealing_forgets_identity() {
    let lab = lab().await;
    let token = log_in(&lab, "ann", &[]).await.unwrap();
    let path = "auth/token/lookup-self";
    assert!(reads(&lab, &token, path).await);
    let permit = by_root(&lab).await;
    lab.access.forget();
    assert!(matches!(
        lab.access.entities(&permit).await,
        Err(AccessError::Sealed)
    ));
    lab.seal_and_unseal().await;
    assert!(reads(&lab, &token, path).await);
}

#[tokio::test]
async fn a_role_gives_tokens_to_the_aliases_that_it_names() {
    let lab = lab().await;
    let role = root_at(&lab, "auth/token/roles/ci").await;
    let change = RoleChange {
        allowed_policies: Some(owned(&["app"])),
        allowed_entity_aliases: Some(owned(&["build-*", "Release"])),
        ..RoleChange::default()
    };
    lab.access
        .write_token_role(&role, "ci", &change)
        .await
        .unwrap();
    let at = |alias: &str| CreateToken {
        entity_alias: Some(alias.to_owned()),
        ..ask_for(&["app"])
    };
    let made = create_at(&lab, &lab.root, "create/ci", at("build-7")).await;
    let first = made.unwrap();
    let again = create_at(&lab, &lab.root, "create/ci", at("build-7")).await;
    assert_eq!(entity_of(&first), entity_of(&again.unwrap()));
    let other = create_at(&lab, &lab.root, "create/ci", at("Release")).await;
    let other = other.unwrap();
    assert_ne!(entity_of(&first), entity_of(&other));
    for alias in ["release", "Build-7", "x"] {
        let refused = said(create_at(&lab, &lab.root, "create/ci", at(alias)).await);
        assert_eq!(refused, "invalid 'entity_alias' value", "{alias}");
    }
    let refused = said(create(&lab, &lab.root, at("build-7")).await);
    assert!(refused.contains("token role"), "{refused}");
    lab.policy("p", &allows("auth/token/accessors", "read"))
        .await;
    let ask = EntityAsk {
        id: Some(entity_of(&first)),
        policies: Some(owned(&["p"])),
        ..EntityAsk::default()
    };
    write(&lab, ask).await.unwrap();
    let told = lab
        .access
        .identity_policies(first.entry.record.entity.as_ref());
    assert_eq!(told.await.unwrap(), ["p"]);
    let off = EntityAsk {
        id: Some(entity_of(&first)),
        disabled: Some(true),
        ..EntityAsk::default()
    };
    write(&lab, off).await.unwrap();
    assert!(!reads(&lab, &first, "auth/token/lookup-self").await);
    assert!(
        create_at(&lab, &lab.root, "create/ci", at("build-7"))
            .await
            .is_err()
    );
}

/// A batch token has nothing stored but what is behind it.
#[tokio::test]
async fn a_batch_token_is_its_entitys_too() {
    let lab = lab().await;
    let permit = at_login(&lab, "auth/approle").await;
    let grant = LoginGrant {
        kind: TokenKind::Batch,
        ..grant("ann", &[])
    };
    let made = lab.access.log_in(&permit, &grant, Batch::new()).await;
    let token = made.unwrap().unwrap();
    let service = log_in(&lab, "ann", &[]).await.unwrap();
    assert_eq!(entity_of(&token), entity_of(&service));
    let path = "auth/token/lookup-self";
    assert!(reads(&lab, &token, path).await);
    let off = EntityAsk {
        id: Some(entity_of(&token)),
        disabled: Some(true),
        ..EntityAsk::default()
    };
    write(&lab, off).await.unwrap();
    assert!(!reads(&lab, &token, path).await);
}
