//! Secret ids: what is stored of them, who finds them, when they end.

use std::time::Duration;

use zone_auth::{AuthError, NewSecretId, RoleChange, SecretIdAt};
use zone_testkit::Fault;

use crate::common::{Bench, REFUSED, said, secret};

#[tokio::test]
async fn b1_the_store_sees_no_secret_id_nor_what_stands_for_one() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    let made = bench.secret_id("web", &NewSecretId::default()).await;
    let records = bench.records("").await;
    for (key, value) in &records {
        let text = format!("{key} {value}");
        assert!(!text.contains(made.secret_id.expose().as_str()), "{key}");
        assert!(
            !key.contains(&made.accessor) && !key.contains(&role_id),
            "{key}"
        );
    }
    // Of another mount's key nothing can be told.
    let keys: Vec<&String> = records.keys().filter(|key| key.contains("/s/")).collect();
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn they_are_looked_up_listed_and_destroyed_by_text_and_by_accessor() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    bench.role("other", RoleChange::default()).await;
    let new = NewSecretId {
        metadata: [("a".into(), "b".into())].into(),
        cidrs: vec!["10.0.0.0/8".parse().unwrap()],
        num_uses: Some(3),
        ttl: Some(600),
        ..NewSecretId::default()
    };
    let (one, two) = (
        bench.secret_id("web", &new).await,
        bench.secret_id("web", &new).await,
    );
    let permit = bench.at_role("web/secret-id/lookup").await;
    let list = async || bench.auth.secret_id_accessors(&permit).await.unwrap();
    let mut both = vec![one.accessor.clone(), two.accessor.clone()];
    both.sort();
    assert_eq!(list().await, both);
    for at in [
        SecretIdAt::Text(&one.secret_id),
        SecretIdAt::Accessor(&one.accessor),
    ] {
        let info = bench
            .auth
            .look_up_secret_id(&permit, at)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (&info.accessor, info.num_uses, info.ttl),
            (&one.accessor, 3, 600)
        );
        assert_eq!(info.metadata["a"], "b");
        let span = info.expiration_time.unwrap().since(info.creation_time);
        assert_eq!(span, Duration::from_secs(600));
        let other = bench.at_role("other/secret-id/lookup").await;
        assert!(
            bench
                .auth
                .look_up_secret_id(&other, at)
                .await
                .unwrap()
                .is_none()
        );
        assert!(!bench.auth.destroy_secret_id(&other, at).await.unwrap());
    }
    bench.lab.clock.advance(Duration::from_secs(5));
    bench.log_in(&role_id, &one.secret_id).await.unwrap();
    let at = SecretIdAt::Accessor(&one.accessor);
    let info = bench
        .auth
        .look_up_secret_id(&permit, at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(info.num_uses, 2);
    assert!(info.last_updated_time > info.creation_time);
    assert!(bench.auth.destroy_secret_id(&permit, at).await.unwrap());
    assert!(!bench.auth.destroy_secret_id(&permit, at).await.unwrap());
    assert_eq!(said(bench.log_in(&role_id, &one.secret_id).await), REFUSED);
    assert_eq!(list().await, [two.accessor.as_str()]);
    let at = SecretIdAt::Text(&two.secret_id);
    assert!(bench.auth.destroy_secret_id(&permit, at).await.unwrap());
    assert!(list().await.is_empty());
    let nobody = bench.at_role("nobody/secret-id").await;
    let missing = bench.auth.secret_id_accessors(&nobody).await;
    assert!(matches!(missing, Err(AuthError::NotFound)));
}

#[tokio::test]
async fn what_is_asked_for_stays_within_the_role() {
    let bench = Bench::new().await;
    let role = RoleChange {
        secret_id_num_uses: Some(5),
        secret_id_ttl: Some(100),
        secret_id_bound_cidrs: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..RoleChange::default()
    };
    bench.role("web", role).await;
    let permit = bench.at_role("web/secret-id").await;
    let plain = bench.secret_id("web", &NewSecretId::default()).await;
    assert_eq!((plain.num_uses, plain.ttl), (5, 100), "as the role says");
    let less = NewSecretId {
        num_uses: Some(4),
        ttl: Some(99),
        cidrs: vec!["10.1.0.0/16".parse().unwrap()],
        ..NewSecretId::default()
    };
    let less = bench.secret_id("web", &less).await;
    assert_eq!((less.num_uses, less.ttl), (4, 99));
    let base = NewSecretId::default;
    for (new, text) in [
        (
            NewSecretId {
                num_uses: Some(6),
                ..base()
            },
            "num_uses",
        ),
        (
            NewSecretId {
                num_uses: Some(0),
                ..base()
            },
            "num_uses",
        ),
        (
            NewSecretId {
                ttl: Some(101),
                ..base()
            },
            "ttl",
        ),
        (
            NewSecretId {
                ttl: Some(0),
                ..base()
            },
            "ttl",
        ),
        (
            NewSecretId {
                cidrs: vec!["11.0.0.0/8".parse().unwrap()],
                ..base()
            },
            "cidr_list",
        ),
        (
            NewSecretId {
                cidrs: vec!["0.0.0.0/0".parse().unwrap()],
                ..base()
            },
            "cidr_list",
        ),
        (
            NewSecretId {
                custom: Some(secret("")),
                ..base()
            },
            "secret_id",
        ),
        (
            NewSecretId {
                metadata: [("k".into(), "v".repeat(5000))].into(),
                ..base()
            },
            "metadata",
        ),
    ] {
        let refused = said(bench.auth.generate_secret_id(&permit, &new).await);
        assert!(refused.contains(text), "{refused}");
    }
}

#[tokio::test]
async fn a_custom_secret_id_is_one_of_its_role() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    let custom = || NewSecretId {
        custom: Some(secret("chosen")),
        ..NewSecretId::default()
    };
    let made = bench.secret_id("web", &custom()).await;
    assert_eq!(made.secret_id.expose(), "chosen");
    let permit = bench.at_role("web/custom-secret-id").await;
    let twice = bench.auth.generate_secret_id(&permit, &custom()).await;
    assert_eq!(said(twice), "the secret_id is already registered");
    bench.role("other", RoleChange::default()).await;
    bench.secret_id("other", &custom()).await;
    bench.log_in(&role_id, &secret("chosen")).await.unwrap();
}

#[tokio::test]
async fn they_end_in_time_and_are_swept() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    let new = NewSecretId {
        ttl: Some(60),
        ..NewSecretId::default()
    };
    let made = bench.secret_id("web", &new).await;
    bench.lab.clock.advance(Duration::from_secs(59));
    bench.log_in(&role_id, &made.secret_id).await.unwrap();
    bench.lab.clock.advance(Duration::from_secs(1));
    assert_eq!(said(bench.log_in(&role_id, &made.secret_id).await), REFUSED);
    let permit = bench.at_role("web/secret-id").await;
    assert!(
        bench
            .auth
            .secret_id_accessors(&permit)
            .await
            .unwrap()
            .is_empty()
    );
    bench.lab.clock.advance(Duration::from_secs(1));
    bench.lab.settle().await;
    let left = bench.of_mount("auth/approle/login").await;
    assert!(!left.keys().any(|key| key.starts_with("s/")), "{left:?}");
}

#[tokio::test]
async fn tidy_removes_what_has_ended_and_nothing_else() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    let short = NewSecretId {
        ttl: Some(60),
        ..NewSecretId::default()
    };
    for _ in 0..3 {
        bench.secret_id("web", &short).await;
    }
    let stays = bench.secret_id("web", &NewSecretId::default()).await;
    bench.lab.clock.advance(Duration::from_secs(60));
    let permit = bench.root("auth/approle/tidy/secret-id").await;
    assert_eq!(bench.auth.tidy_secret_ids(&permit).await.unwrap(), 3);
    assert_eq!(bench.auth.tidy_secret_ids(&permit).await.unwrap(), 0);
    bench.log_in(&role_id, &stays.secret_id).await.unwrap();
    assert!(
        bench
            .records("core/expiry/")
            .await
            .keys()
            .all(|key| key.contains("/token/"))
    );
}

/// Kill -9 at the write that makes or destroys one: all of it or nothing.
#[tokio::test]
async fn s1_a_crash_leaves_whole_secret_ids_or_none() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for destroy in [false, true] {
            let bench = Bench::new().await;
            let role_id = bench.role("web", RoleChange::default()).await;
            let new = NewSecretId {
                custom: Some(secret("chosen")),
                ttl: Some(600),
                ..NewSecretId::default()
            };
            let permit = bench.at_role("web/secret-id").await;
            let chosen = secret("chosen");
            if destroy {
                bench.secret_id("web", &new).await;
            }
            bench.lab.store.fail_at(1, fault);
            let work = async {
                match destroy {
                    true => {
                        let at = SecretIdAt::Text(&chosen);
                        bench.auth.destroy_secret_id(&permit, at).await.unwrap();
                    }
                    false => {
                        bench.auth.generate_secret_id(&permit, &new).await.unwrap();
                    }
                }
            };
            tokio::select! {
                () = work => panic!("answered"),
                () = bench.lab.store.died() => {}
            }
            let again = bench.reopen().await;
            let there = destroy == (fault == Fault::CrashBefore);
            assert_eq!(again.log_in(&role_id, &chosen).await.is_ok(), there);
            let of_secret = again.of_mount("auth/approle/login").await;
            let count = of_secret.keys().filter(|key| key.starts_with("s/")).count();
            assert_eq!(count, if there { 2 } else { 0 });
            let entries = again.records("core/expiry/").await;
            let count = entries.keys().filter(|key| key.contains("/keys/")).count();
            assert_eq!(count, usize::from(there));
        }
    }
}

/// A secret id that is made while its role is deleted does not outlive it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_races_none_is_made_for_a_role_that_goes() {
    let bench = std::sync::Arc::new(Bench::new().await);
    for _ in 0..30 {
        let role_id = bench.role("web", RoleChange::default()).await;
        let make = tokio::spawn({
            let bench = bench.clone();
            async move {
                let permit = bench.at_role("web/secret-id").await;
                bench
                    .auth
                    .generate_secret_id(&permit, &NewSecretId::default())
                    .await
            }
        });
        let permit = bench.at_role("web").await;
        bench.auth.delete_role(&permit).await.unwrap();
        if let Ok(made) = make.await.unwrap() {
            assert_eq!(said(bench.log_in(&role_id, &made.secret_id).await), REFUSED);
        }
        bench.lab.settle().await;
    }
    let left = bench.of_mount("auth/approle/login").await;
    assert!(!left.keys().any(|key| key.starts_with("s/")), "{left:?}");
}
