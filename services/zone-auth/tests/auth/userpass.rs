//! Users, passwords, locks.

use std::sync::Arc;
use std::time::Duration;

use zone_access::{MountConfig, UserLockout};
use zone_auth::{AuthError, MAX_PASSWORD, TokenChange, UserChange};

use crate::common::{Bench, WRONG, here, said, secret};

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.user("ann", "right", TokenChange::default()).await;
    bench
}

/// Waits until the lock of a user is stored: it is written behind the answer.
async fn stored(bench: &Bench, count: usize) {
    loop {
        let all = bench.of_mount("auth/userpass/login").await;
        if all.keys().filter(|key| key.starts_with("lock/")).count() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_user_logs_in_with_a_password() {
    let bench = Bench::new().await;
    let token = TokenChange {
        policies: Some(vec!["staff".into()]),
        ttl: Some(600),
        bound_cidrs: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..TokenChange::default()
    };
    bench.user("ann", "right", token).await;
    let created = bench.enter("ann", "right").await.unwrap();
    let record = &created.entry.record;
    assert_eq!(record.policies, ["default", "staff"]);
    assert_eq!(record.display_name, "userpass-ann");
    assert_eq!(record.meta.as_ref().unwrap()["username"], "ann");
    assert_eq!((record.creation_ttl, record.orphan()), (600, true));
    let permit = bench.stranger("auth/userpass/login/ann").await;
    let elsewhere = "192.0.2.1".parse().unwrap();
    let refused = bench
        .auth
        .log_in_userpass(&permit, &secret("right"), elsewhere)
        .await;
    assert_eq!(said(refused), WRONG);
    let users = bench.root("auth/userpass/users").await;
    assert_eq!(bench.auth.users(&users).await.unwrap(), ["ann"]);
    let at = bench.root("auth/userpass/users/ann").await;
    assert_eq!(bench.auth.user(&at).await.unwrap().policies, ["staff"]);
    bench.auth.delete_user(&at).await.unwrap();
    assert!(matches!(
        bench.auth.user(&at).await,
        Err(AuthError::NotFound)
    ));
    assert_eq!(said(bench.enter("ann", "right").await), WRONG);
}

#[tokio::test]
async fn cve_2025_6011_unknown_wrong_and_locked_cost_and_answer_the_same() {
    let bench = bench().await;
    bench.user("locked", "right", TokenChange::default()).await;
    for _ in 0..5 {
        assert_eq!(said(bench.enter("locked", "wrong").await), WRONG);
    }
    stored(&bench, 1).await;
    let mut seen = Vec::new();
    for (name, password) in [
        ("ann", "wrong"),
        ("nobody", "wrong"),
        ("nobody", "right"),
        ("locked", "wrong"),
        ("locked", "right"),
    ] {
        let (gets, hashes) = (bench.lab.store.gets(), bench.auth.hashers().done());
        let applies = bench.lab.store.applies();
        let refused = bench.enter(name, password).await;
        assert!(
            matches!(refused, Err(AuthError::Credentials(WRONG))),
            "{name}"
        );
        let work = (
            bench.lab.store.gets() - gets,
            bench.auth.hashers().done() - hashes,
        );
        assert_eq!(bench.lab.store.applies(), applies, "nothing is written");
        seen.push((name, work));
    }
    assert!(seen.iter().all(|(_, work)| *work == (2, 1)), "{seen:?}");
}

#[tokio::test]
async fn the_fifth_wrong_password_locks_and_time_unlocks() {
    let bench = bench().await;
    for _ in 0..4 {
        bench.enter("ann", "wrong").await.unwrap_err();
    }
    bench.enter("ann", "right").await.unwrap();
    for _ in 0..4 {
        bench.enter("ann", "wrong").await.unwrap_err();
    }
    // Too long ago to count.
    bench.lab.clock.advance(Duration::from_secs(901));
    for _ in 0..4 {
        bench.enter("ann", "wrong").await.unwrap_err();
    }
    bench.enter("ann", "right").await.unwrap();
    for _ in 0..5 {
        bench.enter("ann", "wrong").await.unwrap_err();
    }
    assert_eq!(said(bench.enter("ann", "right").await), WRONG, "locked");
    stored(&bench, 1).await;
    bench.lab.clock.advance(Duration::from_secs(899));
    assert_eq!(said(bench.enter("ann", "right").await), WRONG);
    bench.lab.clock.advance(Duration::from_secs(1));
    bench.enter("ann", "right").await.unwrap();
    bench.lab.clock.advance(Duration::from_secs(1));
    bench.lab.settle().await;
    stored(&bench, 0).await;
}

#[tokio::test]
async fn a_restart_lifts_no_lock_nor_does_a_seal() {
    let bench = bench().await;
    for _ in 0..5 {
        bench.enter("ann", "wrong").await.unwrap_err();
    }
    stored(&bench, 1).await;
    bench.auth.forget();
    assert_eq!(
        said(bench.enter("ann", "right").await),
        WRONG,
        "sealed and opened"
    );
    let again = bench.reopen().await;
    assert_eq!(said(again.enter("ann", "right").await), WRONG);
    let permit = again.root("sys/locked-users").await;
    let mount = again.mount("auth/userpass/login");
    let locked = again.auth.locked_users(&permit, None).await.unwrap();
    assert_eq!(
        (&locked[0].mount_accessor, &*locked[0].names),
        (&mount.accessor, &["ann".to_owned()][..])
    );
    let other = again
        .auth
        .locked_users(&permit, Some("auth_userpass_x"))
        .await;
    assert!(other.unwrap().is_empty());
    again
        .auth
        .unlock_user(&permit, &mount.accessor, " ANN ")
        .await
        .unwrap();
    again
        .auth
        .unlock_user(&permit, &mount.accessor, "ann")
        .await
        .unwrap();
    again.enter("ann", "right").await.unwrap();
    assert!(
        again
            .auth
            .locked_users(&permit, None)
            .await
            .unwrap()
            .is_empty()
    );
    stored(&again, 0).await;
    assert!(
        again
            .records("core/expiry/")
            .await
            .keys()
            .all(|key| key.contains("/token/"))
    );
    let accessor = again.mount("auth/approle/login").accessor.clone();
    for accessor in ["", "auth_userpass_x", &accessor] {
        let unlocked = again.auth.unlock_user(&permit, accessor, "ann").await;
        assert!(matches!(unlocked, Err(AuthError::Missing(_))), "{accessor}");
    }
}

/// A lock, its end, and another lock before the sweep came: the sweep does not lift the second.
#[tokio::test]
async fn the_end_of_one_lock_is_not_the_end_of_the_next() {
    let bench = bench().await;
    for _ in 0..2 {
        bench.lab.clock.advance(Duration::from_secs(902));
        for _ in 0..5 {
            bench.enter("ann", "wrong").await.unwrap_err();
        }
        stored(&bench, 1).await;
        // The second time a record is there already: wait for the one of now.
        let until = bench
            .lab
            .access
            .now()
            .unwrap()
            .plus(Duration::from_secs(900));
        let until = serde_json::to_value(until).unwrap();
        while bench.of_mount("auth/userpass/login").await["lock/ann"]["until"] != until {
            tokio::task::yield_now().await;
        }
    }
    bench.lab.settle().await;
    let again = bench.reopen().await;
    assert_eq!(said(again.enter("ann", "right").await), WRONG);
}

/// 64 guesses at once, the right one among them: five count, as one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_races_guesses_at_once_are_counted_as_guesses() {
    let bench = Arc::new(bench().await);
    let guesses: Vec<_> = (0..64)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.enter("ann", "wrong").await })
        })
        .collect();
    let mut overloaded = 0;
    for guess in guesses {
        match guess.await.unwrap() {
            Err(AuthError::Overloaded) => overloaded += 1,
            Err(AuthError::Credentials(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(overloaded < 60);
    assert_eq!(
        said(bench.enter("ann", "right").await),
        WRONG,
        "locked by then"
    );
    assert_eq!(bench.tokens().await, 0);
}

#[tokio::test]
async fn the_mount_says_when_users_are_locked() {
    let rules = |threshold, disabled| MountConfig {
        user_lockout: Some(UserLockout {
            threshold,
            duration: 10,
            counter_reset: 10,
            disabled,
        }),
        ..MountConfig::default()
    };
    let strict = Bench::with(rules(1, false)).await;
    let never = Bench::with(rules(1, true)).await;
    for (bench, locks) in [(&strict, true), (&never, false)] {
        bench.user("ann", "right", TokenChange::default()).await;
        bench.enter("ann", "wrong").await.unwrap_err();
        assert_eq!(bench.enter("ann", "right").await.is_err(), locks);
        bench.lab.clock.advance(Duration::from_secs(10));
        bench.enter("ann", "right").await.unwrap();
    }
}

#[tokio::test]
async fn passwords_are_bounded_and_hashed() {
    let bench = bench().await;
    let at = bench.root("auth/userpass/users/ann").await;
    let new = bench.root("auth/userpass/users/new").await;
    let change = |password: &str| UserChange {
        password: Some(secret(password)),
        ..UserChange::default()
    };
    let long = "x".repeat(MAX_PASSWORD);
    bench.auth.write_user(&at, &change(&long)).await.unwrap();
    bench.enter("ann", &long).await.unwrap();
    for (password, text) in [
        ("", "missing password"),
        (&format!("{long}x")[..], "at most 1024"),
    ] {
        let refused = said(bench.auth.write_user(&at, &change(password)).await);
        assert!(refused.contains(text), "{refused}");
        // Whoever is named: known and unknown get the same.
        for name in ["ann", "nobody"] {
            assert_eq!(said(bench.enter(name, password).await), refused);
        }
    }
    let none = bench.auth.write_user(&new, &UserChange::default()).await;
    assert_eq!(said(none), "missing password");
    let unknown = bench.auth.change_user(&new, &change("p")).await;
    assert_eq!(said(unknown), "username does not exist");
    bench.auth.write_user(&new, &change(&long)).await.unwrap();
    let records = bench.of_mount("auth/userpass/login").await;
    let (a, b) = (
        &records["user/ann"]["password"],
        &records["user/new"]["password"],
    );
    assert_eq!(a["algorithm"], "argon2id");
    assert_ne!(
        (&a["salt"], &a["hash"]),
        (&b["salt"], &b["hash"]),
        "each has a salt of its own"
    );
    assert!(
        records
            .values()
            .all(|record| !record.to_string().contains(&long))
    );
}

/// A password that is changed while somebody logs in with the old one.
#[tokio::test]
async fn a_login_in_flight_does_not_outlive_the_password() {
    let bench = Arc::new(bench().await);
    let store = bench.lab.store.clone();
    let permit = bench.stranger("auth/userpass/login/ann").await;
    let at = bench.root("auth/userpass/users/ann").await;
    store.hold();
    let change = tokio::spawn({
        let bench = bench.clone();
        async move {
            let change = UserChange {
                password: Some(secret("new")),
                ..UserChange::default()
            };
            bench.auth.write_user(&at, &change).await
        }
    });
    store.arrived().await;
    let login = tokio::spawn({
        let bench = bench.clone();
        async move {
            bench
                .auth
                .log_in_userpass(&permit, &secret("right"), here())
                .await
        }
    });
    while bench.auth.hashers().done() < 3 {
        tokio::task::yield_now().await;
    }
    store.release();
    change.await.unwrap().unwrap();
    assert_eq!(said(login.await.unwrap()), WRONG);
    assert_eq!(bench.tokens().await, 0);
}
