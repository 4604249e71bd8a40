//! Tokens that an auth method makes.

use std::time::Duration;

use zone_access::{AccessError, Created, LoginGrant, MountConfig, MountKind, NewMount};
use zone_barrier::Batch;
use zone_ports::Key;
use zone_testkit::Lab;

use crate::common::{at_login, lives, root_at, said, token_area};

async fn lab_with(config: MountConfig) -> Lab {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/auth/approle").await;
    let new = NewMount {
        config,
        ..NewMount::default()
    };
    let enabled = lab
        .access
        .enable(&permit, MountKind::AppRole, "auth/approle", new);
    enabled.await.unwrap();
    lab
}

async fn lab() -> Lab {
    lab_with(MountConfig::default()).await
}

async fn log_in(lab: &Lab, grant: &LoginGrant) -> Result<Created, AccessError> {
    let permit = at_login(lab, "auth/approle").await;
    let made = lab.access.log_in(&permit, grant, Batch::new()).await?;
    Ok(made.expect("no condition fails"))
}

/// Tokens follow their method as leases follow their engine: who looks for them below the new path
/// finds them, and who ends them there has ended them.
#[tokio::test]
async fn tokens_of_a_method_that_was_moved_are_found_and_ended_by_its_new_path() {
    let lab = lab().await;
    let grant = LoginGrant {
        policies: vec!["app".into()],
        ..LoginGrant::default()
    };
    let token = log_in(&lab, &grant).await.unwrap();
    let permit = root_at(&lab, "sys/remount").await;
    let moved = lab
        .access
        .remount(&permit, "auth/approle", "auth/team/login");
    moved.await.unwrap();
    let id = format!("h{}", token.entry.id.as_str());
    let names = lab
        .access
        .leases_below(&permit, "auth/team/login/login")
        .await;
    assert_eq!(names.unwrap(), std::slice::from_ref(&id));
    for path in ["auth/approle/login", "auth/team/login/login"] {
        let found = lab.access.lease(&permit, &format!("{path}/{id}")).await;
        assert!(found.unwrap().is_some(), "{path}");
    }
    let end = async |prefix: &str| {
        let ended = lab.access.revoke_prefix(&permit, prefix, false, false);
        ended.await.unwrap();
    };
    end("auth/approle/login").await;
    end("auth/team/login/log").await;
    assert!(lives(&lab, &token).await, "no part of a path that it has");
    end("auth/team/login/login").await;
    assert!(!lives(&lab, &token).await);
    while lab.access.sweep().await.unwrap() {}
    assert!(!lives(&lab.reopen().await, &token).await);
}

#[tokio::test]
async fn a_login_makes_an_orphan_that_remembers_where_it_came_from() {
    let lab = lab().await;
    let grant = LoginGrant {
        policies: vec![" App ".into(), "app".into()],
        display_name: "approle".into(),
        role: Some("web".into()),
        bound_cidrs: vec!["10.0.0.0/8".parse().unwrap()],
        ..LoginGrant::default()
    };
    let made = log_in(&lab, &grant).await.unwrap();
    assert!(lives(&lab, &made).await);
    let record = &made.entry.record;
    assert_eq!(record.policies, ["app", "default"]);
    assert!(record.orphan() && record.renewable);
    assert_eq!(record.path, "auth/approle/login");
    assert_eq!(record.role.as_deref(), Some("web"));
    assert_eq!(record.bound_cidrs, ["10.0.0.0/8"]);
    let mount = lab.access.mount_of("auth/approle/login").unwrap().unwrap();
    assert_eq!(record.auth_mount.as_ref(), Some(&mount.id));
    let again = lab.reopen().await;
    let found = again.access.token(made.text.expose()).await.unwrap();
    assert_eq!(&found.unwrap().record, record, "as it was stored");
}

#[tokio::test]
async fn cve_2025_5999_no_spelling_of_root_comes_of_a_login() {
    let lab = lab().await;
    for name in ["root", "ROOT", " Root", "root\t"] {
        let grant = LoginGrant {
            policies: vec![name.into()],
            ..LoginGrant::default()
        };
        let refused = said(log_in(&lab, &grant).await);
        assert!(refused.contains("root"), "{name:?}: {refused}");
    }
}

#[tokio::test]
async fn logins_are_for_auth_methods_alone() {
    let lab = lab().await;
    let grant = LoginGrant::default();
    for path in ["auth/token/create", "sys/policies/acl/x"] {
        let permit = root_at(&lab, path).await;
        let made = lab.access.log_in(&permit, &grant, Batch::new()).await;
        assert!(matches!(made, Err(AccessError::Denied(_))), "{path}");
    }
}

#[tokio::test]
async fn s1_a_login_and_what_it_uses_up_are_one_group() {
    let lab = lab().await;
    let key = Key::new("test/uses").unwrap();
    let first = lab.barrier.commit(Batch::new().put(key.clone(), "1")).await;
    let first = first.unwrap();
    let using = || {
        Batch::new()
            .require(key.clone(), Some(first))
            .put(key.clone(), "0")
    };
    let permit = at_login(&lab, "auth/approle").await;
    let grant = LoginGrant::default();
    let before = lab.store.applies();
    let made = lab.access.log_in(&permit, &grant, using()).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1);
    assert!(lives(&lab, &made.unwrap()).await);
    let tokens = token_records(&lab).await;
    let lost = lab.access.log_in(&permit, &grant, using()).await.unwrap();
    assert!(lost.is_none(), "the use was gone");
    assert_eq!(token_records(&lab).await, tokens, "nothing was made");
}

async fn token_records(lab: &Lab) -> usize {
    let area = token_area(lab);
    crate::common::records(lab, &area).await.len()
}

#[tokio::test]
async fn the_mount_and_the_role_bound_every_span() {
    let lab = lab_with(MountConfig {
        default_lease_ttl: 100,
        max_lease_ttl: 1000,
        ..MountConfig::default()
    })
    .await;
    for (ttl, max_ttl, explicit_max_ttl, period, lives_for) in [
        (0, 0, 0, 0, 100),
        (50, 0, 0, 0, 50),
        (5000, 0, 0, 0, 1000),
        (5000, 300, 0, 0, 300),
        (5000, 5000, 0, 0, 1000),
        (5000, 0, 200, 0, 200),
        (5000, 0, 0, 7000, 7000),
        (5000, 0, 200, 7000, 200),
    ] {
        let grant = LoginGrant {
            ttl,
            max_ttl,
            explicit_max_ttl,
            period,
            ..LoginGrant::default()
        };
        let made = log_in(&lab, &grant).await.unwrap();
        assert_eq!(made.entry.record.creation_ttl, lives_for, "{grant:?}");
        assert_eq!(made.entry.record.ttl(lab.access.now().unwrap()), lives_for);
    }
}

#[tokio::test]
async fn renewals_keep_to_the_maximum_of_the_role_and_of_the_method() {
    let lab = lab_with(MountConfig {
        max_lease_ttl: 1000,
        ..MountConfig::default()
    })
    .await;
    for (max_ttl, longest) in [(0, 1000), (300, 300), (4000, 1000)] {
        let grant = LoginGrant {
            ttl: 100,
            max_ttl,
            ..LoginGrant::default()
        };
        let made = log_in(&lab, &grant).await.unwrap();
        lab.clock.advance(Duration::from_secs(50));
        let permit = root_at(&lab, "auth/token/renew").await;
        let renewed = lab.access.renew_token(&permit, &made.entry, 5000).await;
        let left = renewed.unwrap().record.ttl(lab.access.now().unwrap());
        assert_eq!(left, longest - 50, "max_ttl {max_ttl}");
    }
}

#[tokio::test]
async fn tokens_end_with_the_method_that_made_them() {
    let lab = lab().await;
    let policy = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    lab.policy("maker", policy).await;
    let grant = LoginGrant {
        policies: vec!["maker".into()],
        ..LoginGrant::default()
    };
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(log_in(&lab, &grant).await.unwrap());
    }
    let below = crate::common::child(&lab, &made[0].text).await;
    let stays = crate::common::child(&lab, &lab.root).await;
    let before = lab.store.applies();
    let permit = root_at(&lab, "sys/auth/approle").await;
    let path = "auth/approle";
    lab.access.disable_auth(&permit, path).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1, "one durable operation");
    for token in made.iter().chain([&below]) {
        assert!(!lives(&lab, token).await);
    }
    let list = root_at(&lab, "auth/token/accessors").await;
    assert_eq!(lab.access.accessors(&list).await.unwrap().len(), 2);
    // Another method of that name is another method.
    let new = NewMount::default();
    let again = lab.access.enable(&permit, MountKind::AppRole, path, new);
    again.await.unwrap();
    assert!(!lives(&lab, &made[1]).await && !lives(&lab, &below).await);
    assert!(lives(&lab, &stays).await);
    crate::common::only_left(&lab, &[&stays]).await;
    let area = format!("{}method/", token_area(&lab));
    assert_eq!(crate::common::records(&lab, &area).await.len(), 0);
}

/// Kill -9 at each write of the sweep: what is left is removed by the next head.
#[tokio::test]
async fn s1_a_crash_while_tokens_of_a_method_are_removed_is_made_good() {
    for at in 1..=6 {
        let lab = lab().await;
        for _ in 0..25 {
            log_in(&lab, &LoginGrant::default()).await.unwrap();
        }
        let permit = root_at(&lab, "sys/auth/approle").await;
        lab.access
            .disable_auth(&permit, "auth/approle")
            .await
            .unwrap();
        lab.store.fail_at(at, zone_testkit::Fault::CrashBefore);
        tokio::select! {
            () = lab.settle() => {}
            () = lab.store.died() => {}
        }
        let again = lab.reopen().await;
        crate::common::only_left(&again, &[]).await;
    }
}

#[tokio::test]
async fn an_ended_login_leaves_nothing() {
    let lab = lab().await;
    let made = log_in(&lab, &LoginGrant::default()).await.unwrap();
    lab.access.revoke_token(&made.entry.id).await.unwrap();
    crate::common::only_left(&lab, &[]).await;
    let area = format!("{}method/", token_area(&lab));
    assert_eq!(crate::common::records(&lab, &area).await.len(), 0);
}

#[tokio::test]
async fn keys_of_a_service_go_when_their_time_has_passed() {
    let lab = lab().await;
    let key = |text: &'static str| Key::new(text).unwrap();
    let end = lab.access.now().unwrap().plus(Duration::from_secs(60));
    let (a, b, other) = (key("x/a"), key("x/b"), key("x/c"));
    let (entry, value) = zone_access::expiry::keys_entry(end, "0001", &[&a, &b]).unwrap();
    let batch = Batch::new().put(a.clone(), "1").put(b, "2").put(other, "3");
    lab.barrier.commit(batch.put(entry, value)).await.unwrap();
    lab.settle().await;
    assert!(lab.barrier.get(&a).await.unwrap().is_some(), "not yet");
    lab.clock.advance(Duration::from_secs(61));
    lab.settle().await;
    assert_eq!(crate::common::keys_with(&lab, &["x/"]), ["x/c"]);
    assert_eq!(crate::common::keys_with(&lab, &["core/expiry/"]).len(), 0);
}

#[tokio::test]
async fn a_part_of_a_mount_is_discarded_and_no_more() {
    let lab = lab().await;
    let mount = lab.access.mount_of("auth/approle/x").unwrap().unwrap();
    let mut batch = Batch::new();
    for area in ["s/1/", "s/2/", "s/11/"] {
        for at in 0..20 {
            let key = mount.key("s", format!("{}{at}", &area[2..])).unwrap();
            batch = batch.put(key, "1");
        }
    }
    let (work, value) = lab.access.discard(&mount, "s/1").unwrap();
    lab.barrier.commit(batch).await.unwrap();
    lab.barrier
        .commit(Batch::new().put(work, value))
        .await
        .unwrap();
    lab.settle().await;
    assert_eq!(crate::common::keys_with(&lab, &["/s/"]).len(), 40 + 1);
    lab.clock.advance(Duration::from_secs(601));
    lab.settle().await;
    assert_eq!(crate::common::keys_with(&lab, &["/s/"]).len(), 40);
    assert_eq!(
        crate::common::keys_with(&lab, &["core/mount-trash/"]).len(),
        0
    );
}

#[tokio::test]
async fn auth_methods_hang_below_auth_and_nothing_else_does() {
    let lab = lab().await;
    let permit = root_at(&lab, "sys/mounts/x").await;
    for (kind, path) in [
        (MountKind::Kv, "auth/kv"),
        (MountKind::AppRole, "approle"),
        (MountKind::AppRole, "auth"),
        (MountKind::AppRole, "auth/token"),
        (MountKind::AppRole, "auth/token/below"),
        (MountKind::Userpass, "auth/approle/below"),
        (MountKind::Token, "auth/other"),
    ] {
        let enabled = lab.access.enable(&permit, kind, path, NewMount::default());
        assert!(
            matches!(enabled.await, Err(AccessError::Invalid(_))),
            "{path}"
        );
    }
    // Whoever may unmount engines does not thereby end logins, nor the other way round.
    lab.mount(MountKind::Kv, "kv").await;
    for path in ["auth/token", "auth", "kv"] {
        let disabled = lab.access.disable_auth(&permit, path).await;
        assert!(disabled.is_err(), "{path}");
    }
    assert!(lab.access.disable(&permit, "auth/approle").await.is_err());
    lab.access
        .disable_auth(&permit, "auth/approle")
        .await
        .unwrap();
    assert!(lab.access.mount_of("auth/approle/login").unwrap().is_none());
}
