//! S1 on a real disk, and on a real server: a process that writes under load is killed with SIGKILL, 50 times, after a
//! random number of acknowledgements. Each time what was acknowledged is there and every batch is
//! whole. (The kernel survives a kill; what fsync adds is shown by the store's own fault tests and
//! by counting the calls, see `docs/decisions/0002-embedded-store.md`.)

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use zone_barrier::commit::{Committer, LogSince};
use zone_conformance::crash::{self, CALLERS};
use zone_conformance::store::key;
use zone_ports::store::Revision;
use zone_ports::{KeyRange, Store};
use zone_testkit::{Postgres, SeededRandom};

const KILLS: u64 = 50;
/// Each of these starts a server's session anew, which takes its time.
const KILLS_BEFORE_A_SERVER: u64 = 20;

/// Bytes at which the judge folds.
const FOLD: usize = 8 * 1024 * 1024;

/// Each caller's last acknowledged batch.
type Acknowledged = BTreeMap<u64, u64>;

/// Lets the writer run for `count` acknowledgements and kills it. What it printed until it was
/// dead counts.
fn run(place: &str, fold: &str, count: u64, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_crash-writer"))
        .args([place, fold])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    for seen in 1.. {
        if seen == count {
            child.kill().unwrap();
        }
        let Some(line) = lines.next() else {
            assert!(seen >= count, "the writer ended by itself");
            break;
        };
        let (caller, number) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("it says: {line}"));
        let (caller, number) = (caller.parse().unwrap(), number.parse().unwrap());
        let before = acknowledged.insert(caller, number).unwrap_or(0);
        assert_eq!(number, before + 1, "caller {caller}");
    }
    child.wait().unwrap();
}

/// Every batch that the store holds of a caller is whole, and they are all there up to the last.
async fn last_whole(store: &dyn Store, caller: u64, from: u64) -> u64 {
    let found = store.get(&key(crash::last(caller))).await.unwrap();
    let last = found.map_or(0, |found| crash::number(&found.value));
    for number in from..=last {
        let value = crash::value(caller, number);
        for part in ['a', 'b'] {
            let found = store
                .get(&key(crash::part(caller, number, part)))
                .await
                .unwrap();
            let found = found.unwrap_or_else(|| panic!("batch {number} of {caller} lacks {part}"));
            assert!(
                found.value == value,
                "batch {number} of {caller} is another one"
            );
        }
    }
    let beyond = KeyRange::prefix(format!("w/{caller}/")).from(crash::part(caller, last + 1, 'a'));
    let rest = store.scan(&beyond, 10).await.unwrap();
    let rest: Vec<_> = rest.into_iter().map(|(key, _)| key).collect();
    let expected = match last {
        0 => Vec::new(),
        _ => vec![key(crash::last(caller)), key(crash::open(caller, last))],
    };
    assert_eq!(rest, expected, "half a batch behind {last} of {caller}");
    last
}

/// The commit log reaches the last group without a gap.
async fn log_is_whole(committer: &Committer) {
    let last = committer.last_revision();
    let mut at = Revision(last.0.saturating_sub(300));
    while at < last {
        let LogSince::Records(page) = committer.log_since(at, 1000).await.unwrap() else {
            panic!("the log has a gap behind {at:?}")
        };
        at = page.last().expect("the log ends early").revision;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_kill_nine_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    kill(path.to_str().unwrap(), KILLS).await;
}

/// The server goes on when the writer is dead: what had reached it may still become durable, and
/// does so before the next head is told of the last group.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_kill_nine_before_a_server_loses_nothing_that_was_acknowledged() {
    let server = Postgres::start();
    kill(&server.url(), KILLS_BEFORE_A_SERVER).await;
}

async fn kill(place: &str, kills: u64) {
    let random = SeededRandom::new(9);
    // What was there, acknowledged or not, when the writer was started.
    let mut acknowledged = Acknowledged::new();
    let mut unheard = 0;
    for kill in 1..=kills {
        let before = acknowledged.clone();
        let count = 1 + random.below(if kill % 5 == 0 { 12 } else { 250 });
        // Every other writer is killed while its journal is written on to the file.
        let fold = if kill % 2 == 0 { "5000" } else { "1000000" };
        run(place, fold, count, &mut acknowledged);
        let store = crash::store(place, FOLD).await;
        for caller in 0..CALLERS {
            let known = acknowledged.get(&caller).copied().unwrap_or(0);
            let from = before.get(&caller).copied().unwrap_or(0).max(1);
            let last = last_whole(&*store, caller, from).await;
            assert!(
                last == known || last == known + 1,
                "kill {kill}: {caller} was told of {known} and {last} is there"
            );
            unheard += last - known;
            if last > 0 {
                acknowledged.insert(caller, last);
            }
        }
        let committer = Committer::open(store.clone()).await.unwrap();
        log_is_whole(&committer).await;
        committer.stop().await;
    }
    // In the end everything once more, not only what each round added.
    let store = crash::store(place, FOLD).await;
    for caller in 0..CALLERS {
        last_whole(&*store, caller, 1).await;
    }
    assert!(
        unheard > 0,
        "no kill ever came between a write and its acknowledgement"
    );
}
