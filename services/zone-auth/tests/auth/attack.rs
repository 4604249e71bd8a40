//! Attacks of the review: what comes by identity counts too when somebody is let in as another,
//! and what denies is not taken away.

use std::collections::BTreeMap;

use zone_access::identity::{AliasAsk, EntityAsk};
use zone_auth::{RoleChange, TokenChange, UserChange};
use zone_types::Secret;

use crate::common::{Bench, secret};
use crate::giving::{bench, permit};

fn password(text: &str) -> UserChange {
    UserChange {
        password: Some(secret(text)),
        ..UserChange::default()
    }
}

/// Root makes an entity that has `more`, and lets `name` at `mount` be its alias.
async fn entity_of(bench: &Bench, mount: &str, name: &str) {
    let at = bench.root("identity/entity").await;
    let ask = EntityAsk {
        name: Some(format!("entity-of-{name}")),
        policies: Some(vec!["more".into()]),
        metadata: Some(BTreeMap::new()),
        ..EntityAsk::default()
    };
    let (entity, _) = bench.lab.access.write_entity(&at, ask).await.unwrap();
    let ask = AliasAsk {
        name: Some(name.to_owned()),
        mount_accessor: Some(bench.mount(&format!("{mount}/x")).accessor.clone()),
        canonical_id: Some(entity.id.to_string()),
        ..AliasAsk::default()
    };
    bench.lab.access.write_alias(&at, ask).await.unwrap();
}

async fn gained(bench: &Bench, created: &zone_access::Created) -> Vec<String> {
    let entity = created.entry.record.entity.as_ref();
    bench.lab.access.identity_policies(entity).await.unwrap()
}

#[tokio::test]
async fn attack_8_nobody_takes_over_a_user_whose_entity_has_more() {
    let (bench, admin) = bench().await;
    bench.user("boss", "old", TokenChange::default()).await;
    entity_of(&bench, "auth/userpass", "boss").await;
    let at = permit(&bench, &admin, "userpass/users/boss/password").await;
    let done = bench.auth.change_user(&at, &password("mine now")).await;
    if let Ok(created) = bench.enter("boss", "mine now").await {
        panic!(
            "logged in as boss with {:?}",
            gained(&bench, &created).await
        );
    }
    assert!(done.is_err());
}

#[tokio::test]
async fn attack_8_nobody_makes_a_user_for_whom_an_entity_with_more_waits() {
    let (bench, admin) = bench().await;
    entity_of(&bench, "auth/userpass", "boss").await;
    let at = permit(&bench, &admin, "userpass/users/boss").await;
    let done = bench.auth.write_user(&at, &password("mine")).await;
    if let Ok(created) = bench.enter("boss", "mine").await {
        panic!(
            "logged in as boss with {:?}",
            gained(&bench, &created).await
        );
    }
    assert!(done.is_err());
}

#[tokio::test]
async fn attack_8_nobody_gives_a_role_the_role_id_of_an_entity_with_more() {
    let (bench, admin) = bench().await;
    entity_of(&bench, "auth/approle", "role-id-of-boss").await;
    let at = permit(&bench, &admin, "approle/role/mine").await;
    let change = RoleChange {
        role_id: Some("role-id-of-boss".into()),
        ..RoleChange::default()
    };
    let done = bench.auth.write_role(&at, &change).await;
    if done.is_ok() {
        let at = permit(&bench, &admin, "approle/role/mine/secret-id").await;
        let new = zone_auth::NewSecretId::default();
        let made = bench.auth.generate_secret_id(&at, &new).await.unwrap();
        let text = Secret::new(made.secret_id.expose().clone());
        let created = bench.log_in("role-id-of-boss", &text).await.unwrap();
        panic!("logged in with {:?}", gained(&bench, &created).await);
    }
}

#[tokio::test]
async fn attack_8_a_policy_that_denies_is_not_taken_from_a_role_or_a_user() {
    let (bench, admin) = bench().await;
    let both = TokenChange {
        policies: Some(vec!["more".into(), "wall".into()]),
        ..TokenChange::default()
    };
    let without = TokenChange {
        policies: Some(vec!["more".into()]),
        ..TokenChange::default()
    };
    bench.user("ann", "p", both.clone()).await;
    let change = RoleChange {
        token: both,
        ..RoleChange::default()
    };
    bench.role("web", change).await;
    let at = permit(&bench, &admin, "userpass/users/ann/policies").await;
    let change = UserChange {
        token: without.clone(),
        ..UserChange::default()
    };
    let user = bench.auth.change_user(&at, &change).await;
    let at = permit(&bench, &admin, "approle/role/web").await;
    let change = RoleChange {
        token: without,
        ..RoleChange::default()
    };
    let role = bench.auth.write_role(&at, &change).await;
    assert!(user.is_err() && role.is_err(), "{user:?} {role:?}");
}
