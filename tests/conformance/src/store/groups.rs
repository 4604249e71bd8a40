//! What many callers see through the committer.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Barrier;
use zone_barrier::batch::Precondition;
use zone_barrier::commit::{CommitError, CommitOptions, Committer, LogSince, WatchEvent};
use zone_ports::store::{MAX_VALUE, Revision};
use zone_ports::{Key, KeyRange};

use super::{Place, delete, key, put};

/// The condition that `at` is still as it was read.
async fn unchanged(committer: &Committer, at: &Key) -> (Precondition, Vec<u8>) {
    match committer.get(at).await.unwrap() {
        Some(found) => (
            Precondition::At(at.clone(), found.revision),
            found.value.to_vec(),
        ),
        None => (Precondition::Absent(at.clone()), Vec::new()),
    }
}

/// Of 32 callers who change what all of them have read, exactly one wins, and it is his value
/// that stands.
pub async fn one_of_many_wins(place: Place) {
    let committer = place.committer().await;
    for round in 0..10 {
        let (condition, _) = unchanged(&committer, &key("x")).await;
        let start = Arc::new(Barrier::new(32));
        let callers = (0..32).map(|caller| {
            let (committer, condition) = (committer.clone(), condition.clone());
            let start = start.clone();
            tokio::spawn(async move {
                start.wait().await;
                let ops = vec![
                    put("x", format!("{round}/{caller}")),
                    put(format!("by/{caller}"), ""),
                ];
                (caller, committer.commit(ops, vec![condition]).await)
            })
        });
        let mut winner = None;
        for caller in callers.collect::<Vec<_>>() {
            match caller.await.unwrap() {
                (caller, Ok(revision)) => {
                    assert_eq!(winner.replace((caller, revision)), None, "two winners");
                }
                (_, Err(CommitError::Conflict)) => {}
                (_, Err(error)) => panic!("{error:?}"),
            }
        }
        let (winner, revision) = winner.expect("somebody wins");
        let found = committer.get(&key("x")).await.unwrap().unwrap();
        assert_eq!(found.value, format!("{round}/{winner}"));
        assert_eq!(found.revision, revision);
        let by = committer.scan(&KeyRange::prefix("by/"), 100).await.unwrap();
        let of_round = by.iter().filter(|(_, found)| found.revision == revision);
        assert_eq!(of_round.count(), 1, "a loser's batch left something");
    }
}

/// Read, add one, write if unchanged: no increment is lost, none counts twice.
pub async fn no_increment_is_lost(place: Place) {
    const CALLERS: u64 = 8;
    const EACH: u64 = 15;
    let committer = place.committer().await;
    let callers = (0..CALLERS).map(|_| {
        let committer = committer.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < EACH {
                let (condition, value) = unchanged(&committer, &key("n")).await;
                let count: u64 = String::from_utf8(value).unwrap().parse().unwrap_or(0);
                let ops = vec![put("n", (count + 1).to_string())];
                match committer.commit(ops, vec![condition]).await {
                    Ok(_) => done += 1,
                    Err(CommitError::Conflict) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let found = committer.get(&key("n")).await.unwrap().unwrap();
    assert_eq!(found.value, (CALLERS * EACH).to_string());
}

/// Many callers' batches of several keys each: every one whole, under one revision.
pub async fn batches_stay_whole(place: Place) {
    let committer = place.committer().await;
    let callers = (0..24).map(|caller| {
        let committer = committer.clone();
        tokio::spawn(async move {
            for round in 0..8 {
                let value = format!("{caller}.{round}");
                let mut ops: Vec<_> = (0..5)
                    .map(|part| put(format!("w/{caller}/{part}"), value.clone()))
                    .collect();
                ops.push(delete(format!("w/{caller}/gone")));
                let revision = committer.commit(ops, Vec::new()).await.unwrap();
                let range = KeyRange::prefix(format!("w/{caller}/"));
                let found = committer.scan(&range, 10).await.unwrap();
                assert_eq!(found.len(), 5);
                for (_, found) in found {
                    assert_eq!(found.value, value);
                    assert_eq!(found.revision, revision);
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// Blind writes of one key by many callers: a revision that a caller got stands for his value
/// alone, so a condition on it can never overwrite somebody else's.
pub async fn a_revision_names_one_value(place: Place) {
    let committer = place.committer().await;
    let callers = (0..32).map(|caller| {
        let committer = committer.clone();
        tokio::spawn(async move {
            committer
                .commit(vec![put("same", caller.to_string())], Vec::new())
                .await
                .unwrap()
        })
    });
    let mut revisions = BTreeSet::new();
    for caller in callers.collect::<Vec<_>>() {
        assert!(
            revisions.insert(caller.await.unwrap()),
            "two callers share a revision"
        );
    }
    let found = committer.get(&key("same")).await.unwrap().unwrap();
    assert_eq!(Some(&found.revision), revisions.last());
}

/// A watch tells of each group that touched its prefix, in order, and of no other.
pub async fn a_watch_tells_all_in_order(place: Place) {
    let committer = place.committer().await;
    committer
        .commit(vec![put("w/before", "")], Vec::new())
        .await
        .unwrap();
    let mut watch = committer.watch("w/");
    let mut expected = Vec::new();
    for index in 0..40 {
        let (changed, mut ops) = (key(format!("w/{index}")), vec![put("v/other", "")]);
        ops.push(put(format!("x/{index}"), ""));
        let seen = index % 3 != 0;
        if seen {
            ops.push(if index % 2 == 0 {
                put(format!("w/{index}"), "v")
            } else {
                delete(format!("w/{index}"))
            });
        }
        let revision = committer.commit(ops, Vec::new()).await.unwrap();
        if seen {
            expected.push(WatchEvent::Changed {
                revision,
                keys: vec![changed],
            });
        }
    }
    for event in expected {
        assert_eq!(watch.next().await, Some(event));
    }
    committer.stop().await;
    assert_eq!(watch.next().await, None, "the writer has ended");
}

/// Who reads too slowly is told so, once, and then gets what is new.
pub async fn a_slow_watch_is_told_to_resync(place: Place) {
    let options = CommitOptions {
        watch_backlog: 4,
        ..CommitOptions::default()
    };
    let committer = place.committer_with(options).await;
    let mut watch = committer.watch("");
    for index in 0..20 {
        committer
            .commit(vec![put("a", index.to_string())], Vec::new())
            .await
            .unwrap();
    }
    assert_eq!(watch.next().await, Some(WatchEvent::Resync));
    let mut last = Revision(0);
    while last < committer.last_revision() {
        match watch.next().await {
            Some(WatchEvent::Changed { revision, .. }) => last = revision,
            other => panic!("{other:?}"),
        }
    }
    let revision = committer
        .commit(vec![delete("a")], Vec::new())
        .await
        .unwrap();
    let keys = vec![key("a")];
    assert_eq!(
        watch.next().await,
        Some(WatchEvent::Changed { revision, keys })
    );
}

/// The commit log holds every group with its keys, page by page, and ends.
pub async fn the_commit_log_tells_all(place: Place) {
    let committer = place.committer().await;
    let mut expected = Vec::new();
    for index in 0..25 {
        let ops = vec![put(format!("b/{index}"), ""), delete("a"), put("c", "")];
        let revision = committer.commit(ops, Vec::new()).await.unwrap();
        expected.push((
            revision,
            vec![key("a"), key(format!("b/{index}")), key("c")],
        ));
    }
    let (mut at, mut told) = (Revision(0), Vec::new());
    loop {
        let LogSince::Records(page) = committer.log_since(at, 10).await.unwrap() else {
            panic!("nothing was pruned")
        };
        let Some(last) = page.last() else { break };
        at = last.revision;
        told.extend(
            page.into_iter()
                .map(|record| (record.revision, record.keys)),
        );
    }
    assert_eq!(told, expected);
    let beyond = committer.log_since(Revision(1000), 10).await.unwrap();
    assert_eq!(beyond, LogSince::Resync, "a revision that never was");
}

/// Old records go, by count and by bytes, also across a restart; who asks for them is told to
/// resync.
pub async fn the_commit_log_is_bounded(place: Place) {
    let kept = |committer: &Committer| {
        let committer = committer.clone();
        async move {
            let range = KeyRange::prefix(zone_barrier::commit::log::PREFIX);
            committer.scan(&range, 1000).await.unwrap().len()
        }
    };
    let options = CommitOptions {
        keep_groups: 10,
        ..CommitOptions::default()
    };
    let committer = place.committer_with(options).await;
    for index in 0..15 {
        committer
            .commit(vec![put(format!("a/{index}"), "")], Vec::new())
            .await
            .unwrap();
    }
    assert_eq!(kept(&committer).await, 10);
    assert_eq!(
        committer.log_since(Revision(2), 10).await.unwrap(),
        LogSince::Resync
    );
    let LogSince::Records(page) = committer.log_since(Revision(5), 100).await.unwrap() else {
        panic!("these are kept")
    };
    assert_eq!(page.len(), 10);
    committer.stop().await;
    drop(committer);

    let options = CommitOptions {
        keep_bytes: 200,
        ..CommitOptions::default()
    };
    let committer = place.committer_with(options).await;
    for index in 0..10 {
        committer
            .commit(vec![put(format!("a/{index}"), "")], Vec::new())
            .await
            .unwrap();
    }
    let few = kept(&committer).await;
    assert!((3..=7).contains(&few), "{few} records are kept");
}

/// Numbers go on where they ended, and conditions hold across a restart.
pub async fn numbers_go_on_after_a_restart(place: Place) {
    let mut last = Revision(0);
    for round in 0..4 {
        let committer = place.committer().await;
        assert_eq!(committer.last_revision(), last);
        let condition = match round {
            0 => Precondition::Absent(key("a")),
            _ => Precondition::At(key("a"), last),
        };
        let wrong = Precondition::At(key("a"), Revision(last.0 + 1));
        let ops = || vec![put("a", round.to_string())];
        let refused = committer.commit(ops(), vec![wrong]).await;
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
        let revision = committer.commit(ops(), vec![condition]).await.unwrap();
        assert_eq!(revision.0, last.0 + 1);
        last = revision;
        committer.stop().await;
        let late = committer.commit(ops(), Vec::new()).await;
        assert!(matches!(late, Err(CommitError::Stopped)), "{late:?}");
        assert_eq!(
            committer.get(&key("a")).await.unwrap().unwrap().revision,
            last
        );
    }
}

/// The largest values, from many callers at once.
pub async fn values_of_128_kib_go_through(place: Place) {
    let committer = place.committer().await;
    let callers = (0..16_u8).map(|caller| {
        let committer = committer.clone();
        tokio::spawn(async move {
            let at = format!("{caller:x}{}", "k".repeat(511));
            let ops = vec![put(at.clone(), vec![caller; MAX_VALUE])];
            committer.commit(ops, Vec::new()).await.unwrap();
            let found = committer.get(&key(at)).await.unwrap().unwrap();
            assert!(found.value == vec![caller; MAX_VALUE]);
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let over = committer
        .commit(vec![put("a", vec![0; MAX_VALUE + 1])], Vec::new())
        .await;
    assert!(matches!(over, Err(CommitError::TooLarge)), "{over:?}");
}
