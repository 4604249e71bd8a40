//! Roles and logins of machines.

use std::sync::Arc;

use zone_access::{MountConfig, TokenChoice};
use zone_auth::{AuthError, NewSecretId, RoleChange, TokenChange};
use zone_testkit::Fault;

use crate::common::{Bench, REFUSED, said, secret};

fn uses(count: u64) -> NewSecretId {
    NewSecretId {
        num_uses: Some(count),
        ..NewSecretId::default()
    }
}

#[tokio::test]
async fn a_login_gives_what_the_role_says() {
    let bench = Bench::new().await;
    let change = RoleChange {
        token: TokenChange {
            policies: Some(vec![" App ".into(), "app".into()]),
            ttl: Some(600),
            max_ttl: Some(1200),
            num_uses: Some(7),
            bound_cidrs: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            ..TokenChange::default()
        },
        ..RoleChange::default()
    };
    let role_id = bench.role("web", change).await;
    let new = NewSecretId {
        metadata: [
            ("team".into(), "a".into()),
            ("role_name".into(), "admin".into()),
        ]
        .into(),
        token_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
        ..NewSecretId::default()
    };
    let made = bench.secret_id("web", &new).await;
    let created = bench.log_in(&role_id, &made.secret_id).await.unwrap();
    let record = &created.entry.record;
    assert_eq!(record.policies, ["app", "default"]);
    assert_eq!(
        (record.creation_ttl, record.max_ttl, record.num_uses),
        (600, 1200, 7)
    );
    assert_eq!(record.bound_cidrs, ["10.1.0.0/16"]);
    let meta = record.meta.as_ref().unwrap();
    assert_eq!(
        (&*meta["role_name"], &*meta["team"]),
        ("web", "a"),
        "not for a secret id to say"
    );
    assert_eq!(
        (&*record.display_name, record.role.as_deref()),
        ("approle", Some("web"))
    );
    assert!(record.orphan());
    // The secret id binds the address more than the role.
    for remote in ["10.2.0.1", "192.0.2.1"] {
        let refused = bench.log_in_from(&role_id, &made.secret_id, remote).await;
        assert_eq!(said(refused), REFUSED);
    }
}

#[tokio::test]
async fn attack_enumeration_unknown_and_wrong_are_one_answer_after_the_same_reads() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    let other_id = bench.role("other", RoleChange::default()).await;
    let bound = RoleChange {
        secret_id_bound_cidrs: Some(vec!["192.0.2.0/24".parse().unwrap()]),
        ..RoleChange::default()
    };
    let far_id = bench.role("far", bound).await;
    let good = bench
        .secret_id("web", &NewSecretId::default())
        .await
        .secret_id;
    let far = bench
        .secret_id("far", &NewSecretId::default())
        .await
        .secret_id;
    let used_up = bench.secret_id("web", &uses(1)).await.secret_id;
    bench.log_in(&role_id, &used_up).await.unwrap();
    let short = NewSecretId {
        ttl: Some(1),
        ..NewSecretId::default()
    };
    let expired = bench.secret_id("web", &short).await.secret_id;
    bench.lab.clock.advance(std::time::Duration::from_secs(1));
    let long = secret(&"x".repeat(10_000));
    let mut reads = Vec::new();
    for (what, role_id, secret_id) in [
        (
            "unknown role",
            "00000000-0000-0000-0000-000000000000",
            &good,
        ),
        ("empty role", "", &good),
        (
            "wrong secret id",
            &role_id,
            &secret("00000000-0000-0000-0000-000000000000"),
        ),
        ("another role's secret id", &other_id, &good),
        ("no secret id", &role_id, &secret("")),
        ("a secret id that nobody has", &role_id, &long),
        ("used up", &role_id, &used_up),
        ("expired", &role_id, &expired),
        ("from elsewhere", &far_id, &far),
        ("both wrong", "x", &secret("y")),
    ] {
        let before = bench.lab.store.gets();
        let refused = bench.log_in(role_id, secret_id).await;
        assert!(
            matches!(refused, Err(AuthError::Credentials(REFUSED))),
            "{what}"
        );
        reads.push((what, bench.lab.store.gets() - before));
    }
    assert!(reads.iter().all(|(_, count)| *count == 4), "{reads:?}");
    let empty = Bench::new().await;
    let before = empty.lab.store.gets();
    assert_eq!(said(empty.log_in(&role_id, &good).await), REFUSED);
    assert_eq!(empty.lab.store.gets() - before, 4, "a mount without roles");
}

/// 64 at once, five uses: five tokens, and whoever lost is told what everybody is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_races_a_limited_secret_id_lets_exactly_its_number_through() {
    let bench = Arc::new(Bench::new().await);
    let role_id = bench.role("web", RoleChange::default()).await;
    let made = bench.secret_id("web", &uses(5)).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (bench, role_id) = (bench.clone(), role_id.clone());
            let secret_id = made.secret_id.clone();
            tokio::spawn(async move { bench.log_in(&role_id, &secret_id).await })
        })
        .collect();
    let mut through = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => through += 1,
            Err(error) => assert!(matches!(error, AuthError::Credentials(_)), "{error:?}"),
        }
    }
    assert_eq!((through, bench.tokens().await), (5, 5));
    // Nothing of it is left.
    let left = bench.of_mount("auth/approle/login").await;
    assert!(!left.keys().any(|key| key.starts_with("s/")), "{left:?}");
}

#[tokio::test]
async fn s1_a_login_is_one_group() {
    let bench = Bench::new().await;
    let role_id = bench.role("web", RoleChange::default()).await;
    for count in [0, 1, 3] {
        let made = bench.secret_id("web", &uses(count)).await;
        let before = bench.lab.store.applies();
        bench.log_in(&role_id, &made.secret_id).await.unwrap();
        assert_eq!(bench.lab.store.applies() - before, 1, "{count} uses");
    }
}

/// Kill -9 at the one write of a login: either nothing happened, or the token is there and the use
/// is gone. The client knows neither; the count is exact in both.
#[tokio::test]
async fn s1_a_crash_in_a_login_neither_loses_nor_gives_a_use() {
    for (fault, tokens) in [(Fault::CrashBefore, 0), (Fault::CrashAfter, 1)] {
        let bench = Bench::new().await;
        let role_id = bench.role("web", RoleChange::default()).await;
        let made = bench.secret_id("web", &uses(2)).await;
        bench.lab.store.fail_at(1, fault);
        tokio::select! {
            _ = bench.log_in(&role_id, &made.secret_id) => panic!("answered"),
            () = bench.lab.store.died() => {}
        }
        let again = bench.reopen().await;
        assert_eq!(again.tokens().await, tokens);
        for _ in tokens..2 {
            again.log_in(&role_id, &made.secret_id).await.unwrap();
        }
        assert_eq!(said(again.log_in(&role_id, &made.secret_id).await), REFUSED);
    }
}

#[tokio::test]
async fn roles_are_made_changed_listed_and_deleted() {
    let bench = Bench::new().await;
    let permit = bench.at_role("web").await;
    assert!(matches!(
        bench.auth.role(&permit).await,
        Err(AuthError::NotFound)
    ));
    let changed = bench
        .auth
        .change_role(&permit, &RoleChange::default())
        .await;
    assert!(
        matches!(changed, Err(AuthError::NotFound)),
        "only write_role makes one"
    );
    let role_id = bench.role("web", RoleChange::default()).await;
    let change = RoleChange {
        secret_id_num_uses: Some(3),
        ..RoleChange::default()
    };
    assert_eq!(
        bench.role("web", change).await,
        role_id,
        "the role id stays"
    );
    let role = bench.auth.role(&permit).await.unwrap();
    assert!(role.bind_secret_id && role.secret_id_num_uses == 3);
    bench.role("api", RoleChange::default()).await;
    assert_eq!(bench.auth.roles(&permit).await.unwrap(), ["api", "web"]);
    let made = bench.secret_id("web", &NewSecretId::default()).await;
    bench.auth.delete_role(&permit).await.unwrap();
    bench.auth.delete_role(&permit).await.unwrap();
    assert_eq!(bench.auth.roles(&permit).await.unwrap(), ["api"]);
    assert_eq!(said(bench.log_in(&role_id, &made.secret_id).await), REFUSED);
    // A role of the same name, even with the same role id, knows nothing of the secret id.
    let same = RoleChange {
        role_id: Some(role_id.clone()),
        ..RoleChange::default()
    };
    assert_eq!(bench.role("web", same).await, role_id);
    assert_eq!(said(bench.log_in(&role_id, &made.secret_id).await), REFUSED);
    bench.lab.settle().await;
    let left = bench.of_mount("auth/approle/login").await;
    assert!(!left.keys().any(|key| key.starts_with("s/")), "{left:?}");
}

#[tokio::test]
async fn role_ids_are_one_roles_alone() {
    let bench = Bench::new().await;
    let named = |id: &str| RoleChange {
        role_id: Some(id.into()),
        ..RoleChange::default()
    };
    bench.role("a", named("one")).await;
    let b = bench.at_role("b").await;
    let taken = bench.auth.write_role(&b, &named("one")).await;
    assert_eq!(said(taken), "the role_id is already in use");
    for bad in ["", "x\n", &"x".repeat(257)] {
        assert!(said(bench.auth.write_role(&b, &named(bad)).await).contains("role_id"));
    }
    let made = bench.secret_id("a", &NewSecretId::default()).await;
    bench.role("a", named("two")).await;
    assert_eq!(said(bench.log_in("one", &made.secret_id).await), REFUSED);
    bench.log_in("two", &made.secret_id).await.unwrap();
    bench.auth.write_role(&b, &named("one")).await.unwrap();
}

#[tokio::test]
async fn constraints_hold_each_other() {
    let bench = Bench::new().await;
    let permit = bench.at_role("web").await;
    let unbound = RoleChange {
        bind_secret_id: Some(false),
        ..RoleChange::default()
    };
    let refused = said(bench.auth.write_role(&permit, &unbound).await);
    assert!(refused.starts_with("at least one constraint"), "{refused}");
    let by_address = RoleChange {
        secret_id_bound_cidrs: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..unbound
    };
    let role_id = bench.role("web", by_address).await;
    bench.log_in(&role_id, &secret("")).await.unwrap();
    let elsewhere = bench.log_in_from(&role_id, &secret(""), "192.0.2.1").await;
    assert_eq!(said(elsewhere), REFUSED);
    let new = NewSecretId::default();
    let none = bench.auth.generate_secret_id(&permit, &new).await;
    assert_eq!(said(none), "bind_secret_id is not set on the role");
    let local = RoleChange {
        local_secret_ids: Some(true),
        ..RoleChange::default()
    };
    let late = said(bench.auth.write_role(&permit, &local).await);
    assert!(
        late.contains("only be modified during role creation"),
        "{late}"
    );
    bench.role("local", local.clone()).await;
    bench.role("local", local).await;
}

#[tokio::test]
async fn token_fields_hold_each_other() {
    let bench = Bench::new().await;
    let permit = bench.at_role("web").await;
    let write = async |token: TokenChange| {
        let change = RoleChange {
            token,
            ..RoleChange::default()
        };
        bench.auth.write_role(&permit, &change).await
    };
    let base = TokenChange::default;
    for (token, text) in [
        (
            TokenChange {
                ttl: Some(2),
                max_ttl: Some(1),
                ..base()
            },
            "'token_ttl'",
        ),
        (
            TokenChange {
                period: Some(32 * 86_400 + 1),
                ..base()
            },
            "'token_period'",
        ),
        (
            TokenChange {
                token_type: Some(Some(TokenChoice::Batch)),
                num_uses: Some(1),
                ..base()
            },
            "limited use count",
        ),
        (
            TokenChange {
                token_type: Some(Some(TokenChoice::DefaultBatch)),
                period: Some(1),
                ..base()
            },
            "periodic",
        ),
    ] {
        let refused = said(write(token).await);
        assert!(refused.contains(text), "{refused}");
    }
    for name in ["root", " ROOT ", "Root\u{a0}", "response-wrapping"] {
        let token = TokenChange {
            policies: Some(vec!["a".into(), name.into()]),
            ..base()
        };
        let refused = said(write(token).await);
        assert!(
            refused.starts_with("the policy '"),
            "cve_2025_5999 {name:?}: {refused}"
        );
    }
    let large = TokenChange {
        policies: Some((0..2000).map(|at| format!("policy-{at}")).collect()),
        ..base()
    };
    assert_eq!(said(write(large).await), "a role has at most 8 KiB");
}

#[tokio::test]
async fn the_mount_bounds_what_roles_give() {
    let config = MountConfig {
        default_lease_ttl: 50,
        max_lease_ttl: 100,
        ..MountConfig::default()
    };
    let bench = Bench::with(config).await;
    for (ttl, lives_for) in [(None, 50), (Some(70), 70), (Some(5000), 100)] {
        let change = RoleChange {
            token: TokenChange {
                ttl,
                ..TokenChange::default()
            },
            ..RoleChange::default()
        };
        let role_id = bench.role("web", change).await;
        let new = NewSecretId {
            ttl: Some(1000),
            ..NewSecretId::default()
        };
        let made = bench.secret_id("web", &new).await;
        assert_eq!(made.ttl, 100, "so of secret ids");
        let created = bench.log_in(&role_id, &made.secret_id).await.unwrap();
        assert_eq!(created.entry.record.creation_ttl, lives_for);
    }
}

/// A permit for one path does nothing for another (A3).
#[tokio::test]
async fn a3_the_permit_says_which_role() {
    let bench = Bench::new().await;
    let wrong = bench.root("auth/approle/login").await;
    let change = RoleChange::default();
    let written = bench.auth.write_role(&wrong, &change).await;
    assert!(matches!(written, Err(AuthError::WrongPermit)));
    let role = bench.at_role("web").await;
    let (shown, from) = (secret("b"), crate::common::here());
    let login = bench.auth.log_in_approle(&role, "a", &shown, from).await;
    assert!(matches!(login, Err(AuthError::WrongPermit)));
    // The face has put names into their one spelling before anybody judged them.
    for name in ["Web", " web", "we*b", "web-"] {
        let permit = bench.at_role(name).await;
        assert!(said(bench.auth.write_role(&permit, &change).await).starts_with("a name has"));
    }
    assert!(bench.auth.roles(&role).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_mount_and_the_role_choose_the_type_of_token() {
    use TokenChoice::{Batch, DefaultBatch, DefaultService, Service};
    for (of_mount, of_role, num_uses, kind) in [
        (None, None, 0, "service"),
        (None, Some(Batch), 0, "batch"),
        (None, Some(DefaultBatch), 0, "batch"),
        (Some(DefaultBatch), None, 0, "batch"),
        (Some(DefaultBatch), None, 3, "service"),
        (Some(DefaultBatch), Some(Service), 0, "service"),
        (Some(DefaultBatch), Some(DefaultService), 0, "service"),
        (Some(Batch), Some(Service), 0, "batch"),
        (Some(Service), Some(Batch), 0, "service"),
    ] {
        let config = MountConfig {
            token_type: of_mount,
            ..MountConfig::default()
        };
        let bench = Bench::with(config).await;
        let change = RoleChange {
            token: TokenChange {
                token_type: Some(of_role),
                num_uses: Some(num_uses),
                ..TokenChange::default()
            },
            ..RoleChange::default()
        };
        let role_id = bench.role("web", change).await;
        for count in [0, 1] {
            let made = bench.secret_id("web", &uses(count)).await;
            let created = bench.log_in(&role_id, &made.secret_id).await.unwrap();
            assert_eq!(
                created.entry.kind.as_str(),
                kind,
                "{of_mount:?} {of_role:?}"
            );
            let again = bench.log_in(&role_id, &made.secret_id).await;
            assert_eq!(again.is_ok(), count == 0, "a use is a use");
            // Disabling the method ends it, whatever it is.
            let found = bench.lab.access.token(created.text.expose()).await.unwrap();
            assert!(found.is_some());
            if count == 1 {
                let permit = bench.root("sys/auth/approle").await;
                bench
                    .lab
                    .access
                    .disable_auth(&permit, "auth/approle")
                    .await
                    .unwrap();
                let found = bench.lab.access.token(created.text.expose()).await.unwrap();
                assert!(found.is_none(), "{kind} tokens end with the method");
            }
        }
    }
}
