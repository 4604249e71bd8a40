//! One token's life: made, found, renewed, used up, bound to addresses, out of time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    MAKER, ask, ask_for, ask_ttl, child, create, create_at, keys_with, lives, only_left, records,
    root_at, said,
};
use zone_access::{Ask, CreateToken, Operation, RefusalKind};
use zone_testkit::{FakeClock, Lab};
use zone_types::{RequestPath, Secret};

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn b1_a_token_leaves_nothing_of_its_text_behind() {
    let lab = Lab::new().await;
    let token = lab.token(&["app"]).await;
    let text = token.text.expose();
    assert!(text.starts_with("hvs.") && text.len() == 28, "{text}");
    let accessor = &token.entry.record.accessor;
    assert_eq!(keys_with(&lab, &[&text[4..], accessor]), [""; 0]);
    for prefix in ["core/", "root/"] {
        let all = format!("{:?}", records(&lab, prefix).await);
        assert!(!all.contains(&text[4..]), "{prefix}");
    }
    assert!(!format!("{token:?}").contains(&text[4..]));
}

#[tokio::test]
async fn s1_making_a_token_is_one_durable_group() {
    let lab = Lab::new().await;
    let before = lab.store.applies();
    let permit = root_at(&lab, "auth/token/create").await;
    lab.access.create_token(&permit, ask()).await.unwrap();
    assert_eq!(lab.store.applies(), before + 1);
}

#[tokio::test]
async fn a_child_is_what_was_asked_for() {
    let lab = Lab::new().await;
    let meta = BTreeMap::from([("team".to_owned(), "a b".to_owned())]);
    let wanted = CreateToken {
        policies: vec![" Web".into(), "app".into(), "web".into()],
        meta: Some(meta.clone()),
        display_name: "build server/1".into(),
        ttl: 3600,
        explicit_max_ttl: 7200,
        num_uses: 9,
        renewable: true,
        ..CreateToken::default()
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    let record = &token.entry.record;
    assert_eq!(record.policies, ["app", "default", "web"]);
    assert_eq!(record.meta, Some(meta));
    assert_eq!(record.display_name, "token-build-server-1");
    assert_eq!(record.path, "auth/token/create");
    assert_eq!((record.creation_ttl, record.explicit_max_ttl), (3600, 7200));
    assert_eq!(record.num_uses, 9);
    assert_eq!(record.creation_time, FakeClock::START);
    assert_eq!(
        record.expire_time,
        Some(FakeClock::START.plus(Duration::from_secs(3600)))
    );
    assert!(record.renewable && !record.orphan() && !record.is_root());
    let root = lab.access.token(lab.root.expose()).await.unwrap().unwrap();
    assert_eq!(record.parent, Some(root.id.clone()));
    let found = lab
        .access
        .token(token.text.expose())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.record, *record);
    let by_accessor = lab.access.token_by_accessor(&record.accessor).await;
    assert_eq!(by_accessor.unwrap().unwrap().record, *record);
}

#[tokio::test]
async fn without_wishes_a_token_has_its_parents_policies() {
    let lab = Lab::new().await;
    lab.policy("maker", MAKER).await;
    let parent = lab.token(&["maker"]).await;
    let same = create(&lab, &parent.text, CreateToken::default())
        .await
        .unwrap();
    assert_eq!(same.entry.record.policies, ["default", "maker"]);
    assert!(!same.entry.record.renewable);
    let bare = CreateToken {
        no_default_policy: true,
        ..ask()
    };
    let bare = create(&lab, &parent.text, bare).await.unwrap();
    assert_eq!(bare.entry.record.policies, ["maker"]);
    assert_eq!(bare.entry.record.display_name, "token");
    let of_root = child(&lab, &lab.root).await;
    assert_eq!(of_root.entry.record.policies, ["root"]);
    assert_eq!(of_root.entry.record.expire_time, None);
}

#[tokio::test]
async fn spans_are_bounded_as_in_vault() {
    let lab = Lab::new().await;
    // ttl, explicit maximum, period → ttl, explicit maximum, period (seconds)
    let cases = [
        ((0, 0, 0), (32 * DAY, 0, 0)),
        ((60, 0, 0), (60, 0, 0)),
        ((99 * DAY, 0, 0), (32 * DAY, 0, 0)),
        ((0, 600, 0), (600, 600, 0)),
        ((900, 600, 0), (600, 600, 0)),
        ((60, 99 * DAY, 0), (60, 32 * DAY, 0)),
        ((0, 0, 90 * DAY), (90 * DAY, 0, 90 * DAY)),
        ((60, 600, 3600), (600, 600, 600)),
        ((60, 7200, 3600), (3600, 7200, 3600)),
        ((u64::MAX, u64::MAX, 0), (32 * DAY, 32 * DAY, 0)),
    ];
    for ((ttl, explicit_max_ttl, period), want) in cases {
        let wanted = CreateToken {
            ttl,
            explicit_max_ttl,
            period,
            ..ask_for(&["app"])
        };
        let token = create(&lab, &lab.root, wanted).await.unwrap();
        let record = &token.entry.record;
        let got = (record.creation_ttl, record.explicit_max_ttl, record.period);
        assert_eq!(got, want, "{ttl} {explicit_max_ttl} {period}");
        assert_eq!(record.ttl(FakeClock::START), want.0);
    }
}

#[tokio::test]
async fn a_custom_id_is_the_callers_choice_within_bounds() {
    let lab = Lab::new().await;
    let with = |id: &str| CreateToken {
        id: Some(Secret::new(id.to_owned())),
        ..ask_for(&["app"])
    };
    let zeros = "00000000-0000-0000-0000-000000000000";
    let longest = "x".repeat(256);
    for id in [zeros, "!", &longest] {
        let token = create(&lab, &lab.root, with(id)).await.unwrap();
        assert_eq!(token.text.expose(), id);
        assert!(lives(&lab, &token).await);
        let again = said(create(&lab, &lab.root, with(id)).await);
        assert_eq!(again, "cannot create a token with a duplicate ID");
    }
    let too_long = "x".repeat(257);
    for id in ["", "a b", "tab\t", "ä", "\u{7f}", &too_long] {
        let refused = said(create(&lab, &lab.root, with(id)).await);
        assert!(refused.starts_with("a custom token id is 1 to 256"), "{id}");
    }
    for id in ["hvs.mine", "hvb.mine", "s.mine"] {
        let refused = said(create(&lab, &lab.root, with(id)).await);
        assert!(refused.contains("must not look like"), "{id}");
    }
}

#[tokio::test]
async fn nobody_is_found_by_what_is_no_token() {
    let lab = Lab::new().await;
    let token = lab.token(&[]).await;
    let accessor = token.entry.record.accessor.clone();
    for text in ["", "hvs.", "hvs.AAAAAAAAAAAAAAAAAAAAAAAA", &accessor] {
        assert!(lab.access.token(text).await.unwrap().is_none(), "{text}");
    }
    let long = "x".repeat(100_000);
    assert!(lab.access.token(&long).await.unwrap().is_none());
    for text in ["", token.text.expose(), token.entry.id.as_str(), &long] {
        let found = lab.access.token_by_accessor(text).await.unwrap();
        assert!(found.is_none());
    }
}

#[tokio::test]
async fn accessors_of_all_tokens_that_count_are_listed() {
    let lab = Lab::new().await;
    let permit = lab.permit(Operation::List, "auth/token/accessors/").await;
    let short = create(&lab, &lab.root, ask_ttl(5)).await.unwrap();
    let parent = child(&lab, &lab.root).await;
    let orphaned = child(&lab, &parent.text).await;
    let other = child(&lab, &lab.root).await;
    let ended = child(&lab, &other.text).await;
    lab.clock.advance(Duration::from_secs(6));
    lab.access.revoke_orphan(&parent.entry.id).await.unwrap();
    lab.access.revoke_token(&other.entry.id).await.unwrap();
    let listed = lab.access.accessors(&permit).await.unwrap();
    let root = lab.access.token(lab.root.expose()).await.unwrap().unwrap();
    let mut want = vec![
        orphaned.entry.record.accessor.clone(),
        root.record.accessor.clone(),
    ];
    for gone in [&short, &parent, &other, &ended] {
        assert!(!listed.contains(&gone.entry.record.accessor));
    }
    let mut listed = listed;
    listed.sort();
    want.sort();
    assert_eq!(listed, want);
}

#[tokio::test]
async fn a_renewal_stays_within_each_maximum() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/renew").await;
    let minute = Duration::from_secs(60);
    let wanted = CreateToken {
        ttl: 100,
        explicit_max_ttl: 250,
        ..ask_for(&["app"])
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    let renew = async |increment| {
        lab.access
            .renew_token(&permit, &token.entry, increment)
            .await
    };
    lab.clock.advance(minute);
    // seconds after the creation, increment → seconds left
    let renewed = renew(0).await.unwrap();
    assert_eq!(renewed.record.ttl(lab.access.now().unwrap()), 100);
    assert_eq!(renewed.record.last_renewal, Some(lab.access.now().unwrap()));
    let renewed = renew(30).await.unwrap();
    assert_eq!(renewed.record.ttl(lab.access.now().unwrap()), 30);
    let renewed = renew(10_000).await.unwrap();
    assert_eq!(renewed.record.ttl(lab.access.now().unwrap()), 190);
    for _ in 0..3 {
        lab.clock.advance(minute);
        renew(10_000).await.unwrap();
    }
    assert!(lives(&lab, &token).await);
    lab.clock.advance(Duration::from_secs(11));
    assert!(!lives(&lab, &token).await);
    assert_eq!(said(renew(10).await), "token not found");
}

#[tokio::test]
async fn a_periodic_token_lives_as_long_as_it_is_renewed() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/renew").await;
    let wanted = CreateToken {
        period: 20 * DAY,
        ..ask_for(&["app"])
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    for _ in 0..10 {
        lab.clock.advance(Duration::from_secs(19 * DAY));
        let renewed = lab
            .access
            .renew_token(&permit, &token.entry, 5)
            .await
            .unwrap();
        assert_eq!(renewed.record.ttl(lab.access.now().unwrap()), 20 * DAY);
    }
    lab.clock.advance(Duration::from_secs(20 * DAY));
    assert!(!lives(&lab, &token).await);
}

#[tokio::test]
async fn the_mounts_maximum_counts_as_it_is_now() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/renew").await;
    let token = lab.token(&["app"]).await;
    let tune = root_at(&lab, "sys/mounts/auth/token/tune").await;
    let tuned = lab.access.tune(&tune, "auth/token", |mount| {
        (mount.config.default_lease_ttl, mount.config.max_lease_ttl) = (600, 3600);
    });
    tuned.await.unwrap();
    let renewed = lab.access.renew_token(&permit, &token.entry, 9 * DAY).await;
    assert_eq!(renewed.unwrap().record.ttl(FakeClock::START), 3600);
    let made = async |ttl| {
        create(
            &lab,
            &lab.root,
            CreateToken {
                ttl,
                ..ask_for(&["app"])
            },
        )
        .await
    };
    assert_eq!(made(0).await.unwrap().entry.record.creation_ttl, 600);
    assert_eq!(made(9 * DAY).await.unwrap().entry.record.creation_ttl, 3600);
    lab.clock.advance(Duration::from_secs(3599));
    let renewed = lab.access.renew_token(&permit, &token.entry, 9 * DAY).await;
    assert_eq!(renewed.unwrap().record.ttl(lab.access.now().unwrap()), 1);
}

#[tokio::test]
async fn what_never_expires_or_must_not_be_renewed_is_not() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/renew").await;
    let root = lab.access.token(lab.root.expose()).await.unwrap().unwrap();
    let fixed = CreateToken {
        renewable: false,
        ..ask_for(&["app"])
    };
    let fixed = create(&lab, &lab.root, fixed).await.unwrap();
    for entry in [&root, &fixed.entry] {
        let refused = said(lab.access.renew_token(&permit, entry, 60).await);
        assert_eq!(refused, "lease is not renewable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_has_exactly_its_number_of_uses_under_64_at_once() {
    let lab = Arc::new(Lab::new().await);
    for (uses, callers) in [(40, 64), (64, 64), (1, 64), (100, 300)] {
        let token = CreateToken {
            num_uses: uses,
            ..ask_for(&["app"])
        };
        let token = create(&lab, &lab.root, token).await.unwrap();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (lab, text) = (lab.clone(), token.text.clone());
                tokio::spawn(async move {
                    let path = "auth/token/lookup-self";
                    match lab.permit_of(&text, Operation::Read, path).await {
                        Ok(_) => true,
                        Err(refusal) => {
                            assert!(matches!(refusal.kind, RefusalKind::NoToken));
                            false
                        }
                    }
                })
            })
            .collect();
        let mut served = 0;
        for task in tasks {
            served += u64::from(task.await.unwrap());
        }
        assert_eq!(served, uses.min(callers));
        assert!(!lives(&lab, &token).await);
    }
    only_left(&lab, &[]).await;
}

#[tokio::test]
async fn a_refused_request_is_a_use_too() {
    let lab = Lab::new().await;
    let wanted = CreateToken {
        num_uses: 2,
        ..ask_for(&["app"])
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    for _ in 0..2 {
        let refused = lab
            .permit_of(&token.text, Operation::Read, "sys/mounts")
            .await;
        assert!(matches!(refused.unwrap_err().kind, RefusalKind::Denied));
    }
    let refused = lab
        .permit_of(&token.text, Operation::Read, "sys/mounts")
        .await;
    assert!(matches!(refused.unwrap_err().kind, RefusalKind::NoToken));
}

#[tokio::test]
async fn the_permit_of_a_last_use_still_knows_its_token() {
    let lab = Lab::new().await;
    let wanted = CreateToken {
        num_uses: 1,
        ..ask_for(&["app"])
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    let path = "auth/token/lookup-self";
    let permit = lab
        .permit_of(&token.text, Operation::Read, path)
        .await
        .unwrap();
    assert_eq!(permit.token().unwrap().id, token.entry.id);
    assert!(!lives(&lab, &token).await);
}

#[tokio::test]
async fn a_token_counts_only_from_its_addresses() {
    let lab = Lab::new().await;
    let wanted = CreateToken {
        bound_cidrs: vec!["10.0.0.0/8".into(), "::1".into()],
        ..ask_for(&["app"])
    };
    let token = create(&lab, &lab.root, wanted).await.unwrap();
    let path = RequestPath::from_text("auth/token/lookup-self").unwrap();
    let from = async |remote: Option<IpAddr>| {
        let ask = Ask {
            token: Some(&token.text),
            path: &path,
            operation: Operation::Read,
            data: None,
            remote,
            wrap_ttl: None,
        };
        lab.access.authorize(ask).await
    };
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "::1"] {
        assert!(from(address.parse().ok()).await.is_ok(), "{address}");
    }
    for address in [Some("11.0.0.1"), Some("::2"), None] {
        let refusal = from(address.map(|text| text.parse().unwrap()))
            .await
            .unwrap_err();
        assert!(matches!(refusal.kind, RefusalKind::NoToken));
        assert!(refusal.token.is_some(), "the audit trail names the token");
    }
    for text in ["ten", "10.0.0.0/33", "::ffff:10.0.0.0/104", ""] {
        let wanted = CreateToken {
            bound_cidrs: vec![text.into()],
            ..ask()
        };
        let refused = said(create(&lab, &lab.root, wanted).await);
        assert!(refused.starts_with("bound_cidrs"), "{text}");
    }
}

#[tokio::test]
async fn attack_11_a_clock_set_back_revives_no_token() {
    let mut lab = Lab::new().await;
    let token = create(&lab, &lab.root, ask_ttl(100)).await.unwrap();
    let permit = root_at(&lab, "auth/token/renew").await;
    lab.clock.advance(Duration::from_secs(200));
    assert!(!lives(&lab, &token).await);
    let latest = lab.access.now().unwrap();
    lab.clock.set(FakeClock::START);
    for _ in 0..2 {
        assert!(!lives(&lab, &token).await);
        assert_eq!(lab.access.now().unwrap(), latest);
        let renewed = lab.access.renew_token(&permit, &token.entry, 50).await;
        assert_eq!(said(renewed), "token not found");
        // Nothing was stored of the time so far; the process remembers it while sealed.
        lab.seal_and_unseal().await;
    }
    // A crash: the floor in the store counts. The sweep stores it.
    lab.access.sweep().await.unwrap();
    lab = lab.reopen().await;
    assert_eq!(lab.access.now().unwrap(), latest);
    assert!(!lives(&lab, &token).await);
    only_left(&lab, &[]).await;
}

#[tokio::test]
async fn what_a_client_chooses_freely_is_bounded() {
    let lab = Lab::new().await;
    let long = "x".repeat(17_000);
    let meta = BTreeMap::from([("k".to_owned(), long.clone())]);
    let cases = [
        CreateToken {
            meta: Some(meta),
            ..ask()
        },
        CreateToken {
            display_name: long,
            ..ask()
        },
        CreateToken {
            bound_cidrs: vec!["10.0.0.0/8".into(); 2000],
            ..ask()
        },
    ];
    for wanted in cases {
        let refused = said(create(&lab, &lab.root, wanted).await);
        assert!(refused.ends_with("have at most 16 KiB"), "{refused}");
    }
    assert!(said(create(&lab, &lab.root, ask_for(&["a*"])).await).contains("policy name"));
}

#[tokio::test]
async fn a_line_of_tokens_has_an_end() {
    let lab = Lab::new().await;
    let mut line = vec![child(&lab, &lab.root).await];
    for _ in 2..32 {
        let next = child(&lab, &line.last().unwrap().text).await;
        assert!(lives(&lab, &next).await);
        line.push(next);
    }
    let last = &line.last().unwrap().text;
    let refused = said(create(&lab, last, ask()).await);
    assert_eq!(refused, "a line of tokens has at most 32");
    // An orphan begins a line of its own.
    let orphan = create_at(&lab, last, "create-orphan", ask()).await.unwrap();
    assert!(lives(&lab, &orphan).await);
    lab.access.revoke_token(&line[0].entry.id).await.unwrap();
    for token in &line {
        assert!(!lives(&lab, token).await);
    }
    only_left(&lab, &[&orphan]).await;
}
