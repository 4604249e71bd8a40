//! Tokens whose time has passed: ended in pages, in the background, after any crash.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    TokenRecords, ask, ask_for, ask_ttl, check_whole, child, create, lives, only_left, records,
    root_at,
};
use crate::slow::SlowStore;
use zone_access::CreateToken;
use zone_barrier::Batch;
use zone_ports::Key;
use zone_testkit::{Fault, Lab, MemStore};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_due_ends_and_the_rest_stays() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/renew").await;
    let short = create(&lab, &lab.root, ask_ttl(30)).await.unwrap();
    let renewed = create(&lab, &lab.root, ask_ttl(30)).await.unwrap();
    let long = create(&lab, &lab.root, ask_ttl(600)).await.unwrap();
    let endless = child(&lab, &lab.root).await;
    lab.access
        .renew_token(&permit, &renewed.entry, 600)
        .await
        .unwrap();
    only_left(&lab, &[&short, &renewed, &long, &endless]).await;
    lab.clock.advance(Duration::from_secs(30));
    assert!(!lives(&lab, &short).await, "its time ends with the second");
    lab.clock.advance(Duration::from_secs(1));
    only_left(&lab, &[&renewed, &long, &endless]).await;
    lab.clock.advance(10 * MINUTE);
    only_left(&lab, &[&endless]).await;
}

#[tokio::test]
async fn a_parents_end_in_time_ends_its_children() {
    let lab = Lab::new().await;
    lab.policy("maker", crate::common::MAKER).await;
    let short = CreateToken {
        ttl: 60,
        ..ask_for(&["maker"])
    };
    let parent = create(&lab, &lab.root, short).await.unwrap();
    let below = create(&lab, &parent.text, ask_ttl(3600)).await.unwrap();
    let lowest = create(&lab, &below.text, ask_ttl(3600)).await.unwrap();
    assert!(lives(&lab, &lowest).await);
    lab.clock.advance(MINUTE);
    assert!(!lives(&lab, &below).await && !lives(&lab, &lowest).await);
    lab.clock.advance(MINUTE);
    only_left(&lab, &[]).await;
}

#[tokio::test]
async fn ten_thousand_tokens_end_in_pages() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/create").await;
    for _ in 0..10_000 {
        lab.access.create_token(&permit, ask_ttl(60)).await.unwrap();
    }
    let stays = create(&lab, &lab.root, ask_ttl(600)).await.unwrap();
    lab.clock.advance(2 * MINUTE);
    let before = lab.store.applies();
    let area = crate::common::token_area(&lab);
    let mut rounds = 0;
    while lab.access.sweep().await.unwrap() {
        rounds += 1;
        if rounds < 4 {
            let left = records(&lab, &format!("{area}token/")).await.len();
            assert_eq!(left, 10_002 - rounds * 250);
        }
    }
    assert!((40..=60).contains(&rounds), "{rounds}");
    // Ten tokens a group, and a few groups for the work records.
    let groups = lab.store.applies() - before;
    assert!(groups < 1_500, "{groups}");
    only_left(&lab, &[&stays]).await;
}

#[tokio::test]
async fn an_entry_left_over_harms_nobody() {
    let lab = Lab::new().await;
    let token = create(&lab, &lab.root, ask_ttl(600)).await.unwrap();
    let endless = child(&lab, &lab.root).await;
    let gone = child(&lab, &lab.root).await;
    lab.access.revoke_token(&gone.entry.id).await.unwrap();
    let mut batch = Batch::new();
    for token in [&token, &endless, &gone] {
        let key = format!("core/expiry/{:016x}/token/{}", 7, token.entry.id.as_str());
        batch = batch.put(Key::new(key).unwrap(), "{\"v\":1}");
    }
    lab.barrier.commit(batch).await.unwrap();
    only_left(&lab, &[&token, &endless]).await;
    assert!(lives(&lab, &token).await && lives(&lab, &endless).await);
}

/// The sweep has read a token that is due; before it writes, the clock of the renewal's request
/// was still in time.
#[tokio::test]
async fn a_renewal_just_in_time_wins_against_the_sweep() {
    let store = MemStore::new();
    let slow = Arc::new(SlowStore::new(store.clone()));
    let lab = Arc::new(Lab::through(store, slow.clone()).await);
    let token = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    let other = create(&lab, &lab.root, ask_ttl(60)).await.unwrap();
    let permit = root_at(&lab, "auth/token/renew").await;
    let reading = format!("token/{}", token.entry.id.as_str());
    // The renewal is in time and is stopped; the sweep comes too late to know.
    slow.stop_read_of(&reading);
    let renewal = tokio::spawn({
        let (lab, entry) = (lab.clone(), token.entry.clone());
        async move { lab.access.renew_token(&permit, &entry, 600).await }
    });
    slow.stopped().await;
    lab.clock.advance(2 * MINUTE);
    slow.stop_read_of(&reading);
    let sweep = tokio::spawn({
        let lab = lab.clone();
        async move { lab.access.sweep().await }
    });
    slow.stopped().await;
    // The renewal first: permits of the stopped reads are handed out in order.
    slow.go_on();
    renewal.await.unwrap().unwrap();
    slow.go_on();
    sweep.await.unwrap().unwrap();
    assert!(lives(&lab, &token).await);
    assert!(!lives(&lab, &other).await);
    only_left(&lab, &[&token]).await;
}

#[tokio::test]
async fn a_corrupt_token_does_not_keep_others_from_ending() {
    let lab = Lab::new().await;
    let mut tokens = Vec::new();
    for _ in 0..12 {
        tokens.push(create(&lab, &lab.root, ask_ttl(60)).await.unwrap());
    }
    let bad = tokens[0].entry.id.as_str();
    let key = format!("{}token/{bad}", crate::common::token_area(&lab));
    lab.store.forge(&Key::new(key).unwrap(), vec![1; 60]);
    lab.clock.advance(2 * MINUTE);
    // It comes to an end although the entry of the corrupt one stays due.
    lab.settle().await;
    let due = records(&lab, "core/expiry/").await;
    assert!(
        due.keys()
            .eq([&format!("{:016x}/token/{bad}", end_of(&tokens[0]))])
    );
    assert!(lab.access.token(tokens[0].text.expose()).await.is_err());
    assert!(!lives(&lab, &tokens[1]).await);
}

fn end_of(token: &zone_access::Created) -> i64 {
    token.entry.record.expire_time.unwrap().secs()
}

#[tokio::test]
async fn s1_a_crash_at_any_write_of_the_sweep_is_made_good_by_the_next_one() {
    let grown = Lab::new().await;
    let mut all = Vec::new();
    for _ in 0..12 {
        let parent = create(
            &grown,
            &grown.root,
            CreateToken {
                ttl: 60,
                policies: vec!["maker".into()],
                ..ask()
            },
        );
        all.push(parent.await.unwrap());
    }
    grown.policy("maker", crate::common::MAKER).await;
    for at in 0..3 {
        all.push(child(&grown, &all[at].text.clone()).await);
    }
    grown.clock.advance(2 * MINUTE);
    let mut deaths = 0;
    for at in 1.. {
        let mut died = false;
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let lab = grown.reopen().await;
            lab.store.fail_at(at, fault);
            died |= tokio::select! {
                () = lab.settle() => false,
                () = lab.store.died() => true,
            };
            let lab = lab.reopen().await;
            for token in &all {
                assert!(!lives(&lab, token).await, "{at} {fault:?}");
            }
            only_left(&lab, &[]).await;
        }
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 4, "{deaths}");
    check_whole(&TokenRecords::read(&grown).await);
}
