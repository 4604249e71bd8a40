//! Announcements: told exactly as committed, in order, or said to be missed.

use zone_barrier::{Barrier, BarrierError, Batch, EVENT_SLOTS, Events, Told};

use crate::common::{Cut, Probe, key, start, unseal, zone};

fn telling(at: &str, text: &str) -> Batch {
    Batch::new().put(key(at), text).announce(text)
}

async fn told(events: &mut Events) -> Option<String> {
    match events.next().await.unwrap() {
        Some(Told::Event(bytes)) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
        Some(Told::Missed) => None,
        None => panic!("the committer ended"),
    }
}

/// Everything that is told up to `last`.
async fn up_to(events: &mut Events, last: &str) -> Vec<Option<String>> {
    let mut all = Vec::new();
    loop {
        all.push(told(events).await);
        if all.last().and_then(Option::as_deref) == Some(last) {
            return all;
        }
    }
}

#[tokio::test]
async fn what_was_committed_is_told_in_order_and_nothing_else() {
    let (probe, barrier, _) = zone().await;
    barrier.commit(telling("a", "before")).await.unwrap();
    let mut events = barrier.events();
    barrier.commit(telling("a", "one")).await.unwrap();
    barrier
        .commit(Batch::new().put(key("b"), "quiet"))
        .await
        .unwrap();
    let lost = telling("a", "never").require_absent(key("a"));
    assert!(matches!(
        barrier.commit(lost).await,
        Err(BarrierError::Conflict)
    ));
    let both = telling("c", "two").announce("three");
    barrier.commit(both).await.unwrap();
    barrier
        .commit(Batch::new().announce("alone"))
        .await
        .unwrap();
    let all = up_to(&mut events, "alone").await;
    let all: Vec<String> = all.into_iter().flatten().collect();
    assert_eq!(all, ["one", "two", "three", "alone"]);
    // B1: what is told crosses the store port encrypted, like any value.
    for (_, record) in &probe.disk.lock().history {
        assert!(!record.windows(5).any(|window| window == b"alone"));
    }
}

#[tokio::test]
async fn the_ring_is_bounded_and_who_reads_too_late_hears_that_he_missed() {
    let (probe, barrier, _) = zone().await;
    let mut early = barrier.events();
    for number in 0..EVENT_SLOTS + 10 {
        barrier
            .commit(Batch::new().announce(number.to_string()))
            .await
            .unwrap();
    }
    assert_eq!(probe.keys("core/event/").len() as u64, EVENT_SLOTS);
    let mut late = barrier.events();
    barrier.commit(Batch::new().announce("last")).await.unwrap();
    assert_eq!(told(&mut late).await.as_deref(), Some("last"));
    let all = up_to(&mut early, "last").await;
    assert!(all.contains(&None), "it was told of what it missed");
    let heard: Vec<u64> = all
        .iter()
        .flatten()
        .filter_map(|text| text.parse().ok())
        .collect();
    assert!(heard.is_sorted() && heard.len() < 2_000, "{}", heard.len());
}

#[tokio::test]
async fn a_large_value_and_its_announcement_come_together() {
    let (_, barrier, _) = zone().await;
    let mut events = barrier.events();
    let batch = Batch::new()
        .put(key("x"), vec![7; 300 * 1024])
        .announce("large");
    barrier.commit(batch).await.unwrap();
    assert_eq!(told(&mut events).await.as_deref(), Some("large"));
    assert_eq!(
        barrier.get(&key("x")).await.unwrap().unwrap().value.len(),
        300 * 1024
    );
}

#[tokio::test]
async fn services_cannot_write_events_past_the_ring() {
    let (_, barrier, _) = zone().await;
    let forged = Batch::new().put(key("core/event/0000"), "x");
    assert!(matches!(
        barrier.commit(forged).await,
        Err(BarrierError::Reserved)
    ));
    let removed = Batch::new().delete(key("core/event/0000"));
    assert!(matches!(
        barrier.commit(removed).await,
        Err(BarrierError::Reserved)
    ));
}

#[tokio::test]
async fn while_sealed_nothing_is_told() {
    let (_, barrier, _) = zone().await;
    let mut events = barrier.events();
    barrier.commit(telling("a", "one")).await.unwrap();
    barrier.seal();
    assert!(matches!(events.next().await, Err(BarrierError::Sealed)));
}

/// Killed at any write: the change and what is told of it are there together or not at all.
#[tokio::test]
async fn s1_a_crash_never_parts_a_change_from_its_announcement() {
    let mut survivors = Vec::new();
    for number in 1..=4 {
        for cut in [Cut::Before(number), Cut::After(number)] {
            let (probe, _, shares) = zone().await;
            let dying = Probe::over(probe.disk.clone(), Some(cut));
            let barrier: Barrier = start(&dying, 2).await;
            let run = async {
                unseal(&barrier, &shares).await;
                barrier.commit(telling("a", "one")).await.unwrap();
            };
            tokio::select! {
                () = run => {}
                () = dying.death() => {}
            }
            let survived = probe.restart();
            let changed = survived.raw("a").is_some();
            let announced = !survived.keys("core/event/").is_empty();
            assert_eq!(changed, announced, "{cut:?}");
            survivors.push(changed);
        }
    }
    assert!(survivors.contains(&true) && survivors.contains(&false));
}
