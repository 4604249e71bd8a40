//! What offline verification finds, and what it says that it cannot see.

use std::io::Cursor;
use std::sync::OnceLock;

use crate::common::{Trail, check, config, public, with_full_entry};
use proptest::prelude::*;
use zone_audit::verify::{Fault, search, verify_files, verify_readers};
use zone_audit::{AuditEntry, DeviceConfig};
use zone_crypto::sign::{KeyType, PrivateKey};

/// Twelve requests in two files, checkpoints between them, closed.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("the test set it up");
        runtime.block_on(async {
            let trail = Trail::new().await;
            for i in 0..12 {
                trail.record(&format!("n/{i}")).await;
                if i % 5 == 4 {
                    trail
                        .broker
                        .checkpoint_all()
                        .await
                        .expect("the test set it up");
                }
                if i == 6 {
                    trail
                        .broker
                        .rotate("file")
                        .await
                        .expect("the test set it up");
                }
            }
            trail.broker.close().await;
            trail.sink.files()
        })
    })
}

fn lines(file: &[u8]) -> Vec<&[u8]> {
    file.split_inclusive(|b| *b == b'\n').collect()
}

/// The whole trail as one list of lines.
fn all_lines() -> Vec<&'static [u8]> {
    files().iter().flat_map(|file| lines(file)).collect()
}

#[track_caller]
fn broken(lines: &[&[u8]]) -> (u64, Fault) {
    let report = check(&[lines.concat()]);
    let found = report.broken.expect("found");
    assert_eq!(report.good_lines, found.place.line - 1);
    (found.place.line, found.fault)
}

#[test]
fn an_honest_trail_is_intact() {
    let report = check(files());
    assert_eq!(report.broken, None);
    assert_eq!(report.lines, all_lines().len() as u64);
    assert_eq!((report.first_seq, report.last_revision), (1, Some(42)));
    assert_eq!((report.lines_after_checkpoint, report.torn_tail), (0, 0));
    assert!(report.signatures_checked);
    assert_eq!(
        report.notices().len(),
        1,
        "the cut tail that cannot be seen"
    );
    assert_eq!(
        report.earliest.expect("the test set it up").to_string(),
        "2026-11-18T11:06:40Z"
    );
}

#[test]
fn the_first_broken_line_is_named_with_its_reason() {
    let lines = all_lines();
    let mut changed = lines.clone();
    let other = String::from_utf8(changed[4].to_vec())
        .expect("the test set it up")
        .replace("\"read\"", "\"list\"");
    changed[4] = other.as_bytes();
    assert_eq!(broken(&changed), (5, Fault::Changed));
    let mut removed = lines.clone();
    removed.drain(4..6);
    assert_eq!(broken(&removed), (5, Fault::Missing { first: 5, last: 6 }));
    let mut doubled = lines.clone();
    doubled.insert(4, lines[3]);
    assert_eq!(broken(&doubled), (5, Fault::Inserted));
    let mut forged = lines.clone();
    forged.insert(4, other.as_bytes());
    assert_eq!(broken(&forged), (5, Fault::Inserted));
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    assert_eq!(broken(&swapped), (5, Fault::Reordered));
    let mut headless = lines.clone();
    headless.remove(0);
    assert_eq!(broken(&headless), (1, Fault::Missing { first: 1, last: 1 }));
    let mut foreign = lines.clone();
    foreign.insert(4, b"hello\n");
    assert_eq!(broken(&foreign), (5, Fault::Inserted));
}

#[test]
fn a_rewritten_chain_needs_the_key() {
    // Whoever has no key writes the trail anew with a key of his own: the hashes fit.
    let other = PrivateKey::generate(KeyType::Ed25519).expect("the test set it up");
    let readers = || files().iter().map(Cursor::new);
    let report = verify_readers(readers(), Some(other.public_key())).expect("the test set it up");
    let found = report.broken.expect("the test set it up");
    assert_eq!(found.fault, Fault::BadSignature);
    assert_eq!(found.place.line, 2);
    let unchecked = verify_readers(readers(), None).expect("the test set it up");
    assert!(unchecked.is_intact() && !unchecked.signatures_checked);
    assert!(unchecked.notices()[0].contains("Signatures were not checked"));
}

#[test]
fn a_cut_tail_is_not_seen_and_said_so() {
    let lines = all_lines();
    let cut = lines[..lines.len() - 2].concat();
    let report = check(&[cut]);
    assert!(report.is_intact());
    assert!(report.lines_after_checkpoint > 0);
    let notices = report.notices().join("\n");
    assert!(notices.contains("A tail that was cut off cannot be seen"));
    assert!(notices.contains("covered by the chain only"));
}

#[test]
fn a_torn_tail_is_named_at_the_end_and_broken_elsewhere() {
    let [first, second] = files() else {
        panic!("two files")
    };
    let torn = [second, &b"{\"time\""[..]].concat();
    let report = check(&[first.clone(), torn]);
    assert_eq!((report.torn_tail, report.is_intact()), (7, true));
    let torn = [first, &b"{\"time\""[..]].concat();
    let report = check(&[torn, second.clone()]);
    let found = report.broken.expect("the test set it up");
    assert_eq!((found.fault, found.place.file), (Fault::Torn, 0));
}

#[test]
fn files_are_sorted_by_their_chain_and_searched() {
    let dir = tempfile::tempdir().expect("the test set it up");
    let paths = ["audit.log", "audit.log.1"].map(|name| dir.path().join(name));
    std::fs::write(&paths[0], &files()[1]).expect("the test set it up");
    std::fs::write(&paths[1], &files()[0]).expect("the test set it up");
    let report = verify_files(&paths, Some(&public())).expect("the test set it up");
    assert!(report.is_intact());
    assert_eq!(report.files, [paths[1].clone(), paths[0].clone()]);
    assert!(verify_files(&[dir.path().join("none")], None).is_err());
}

#[tokio::test]
async fn search_finds_lines_by_the_hash_of_a_value() {
    let clear = DeviceConfig {
        hmac_accessor: false,
        ..config("file")
    };
    let trail = Trail::with(clear, crate::common::MemSink::default()).await;
    trail.record("n/1").await;
    let record = async |entry: &AuditEntry<'_>| trail.broker.record(entry).await;
    with_full_entry(record).await.expect("the test set it up");
    let dir = tempfile::tempdir().expect("the test set it up");
    let path = dir.path().join("audit.log");
    std::fs::write(&path, trail.sink.text()).expect("the test set it up");
    let device = trail.broker.device("file").expect("the test set it up");
    let hits = |hash: &str| {
        let mut hits = Vec::new();
        search(std::slice::from_ref(&path), hash, |hit| hits.push(hit)).map(|()| hits)
    };
    let found = hits(&device.hash("CANARYdeep")).expect("the test set it up");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 4);
    assert!(found[0].text.contains("secret/data/app") && found[0].text.ends_with("}}"));
    assert_eq!(
        hits(&device.hash("another value")).expect("the test set it up"),
        []
    );
    assert!(hits("CANARYdeep").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_changed_byte_is_found(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let mut text = files().concat();
        let at = at.index(text.len());
        text[at] ^= flip;
        let line = text[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1;
        let report = check(&[text.clone()]);
        if at == text.len() - 1 {
            prop_assert!(report.torn_tail > 0);
        } else {
            let found = report.broken.expect("found");
            prop_assert!(found.place.line <= line + 1 && found.place.line >= line);
        }
    }

    #[test]
    fn any_removed_doubled_or_moved_line_is_found(
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        what in 0..3,
    ) {
        let lines = all_lines();
        // The last lines cut off is what nobody can see.
        let from = from.index(lines.len() - 1);
        let to = to.index(lines.len() - 1);
        let mut copy = lines.clone();
        match what {
            0 => { copy.remove(from); }
            1 => copy.insert(to, lines[from]),
            _ if from == to => return Ok(()),
            _ => copy.swap(from, to),
        }
        prop_assert!(check(&[copy.concat()]).broken.is_some());
    }

    #[test]
    fn any_cut_leaves_a_torn_tail_or_a_whole_line(at in any::<prop::sample::Index>()) {
        let text = files().concat();
        let at = at.index(text.len());
        let report = check(&[text[..at].to_vec()]);
        prop_assert!(report.is_intact());
        let whole = at == 0 || text[at - 1] == b'\n';
        prop_assert_eq!(report.torn_tail == 0, whole);
    }

    #[test]
    fn rubbish_never_panics(text in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&[text]);
    }
}
