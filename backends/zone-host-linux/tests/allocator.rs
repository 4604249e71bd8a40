//! Freed memory goes back. In a process of its own, since the setting is the process's.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::{Arc, Barrier};

const PIECE: usize = 19 * 1024 * 1024;
const THREADS: usize = 16;

/// Resident bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size()
}

/// As threads do that hash a password each, over and over.
#[test]
fn large_pieces_that_threads_freed_go_back() {
    zone_host_linux::return_freed_memory().unwrap();
    let before = resident();
    // Threads stay, with whatever their heaps kept, until it was measured.
    let (freed, measured) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let both = Arc::new((freed, measured));
    let work = |both: Arc<(Barrier, Barrier)>| {
        for round in 0..4 {
            let piece = vec![round + 1_u8; PIECE + usize::from(round) * 4096];
            assert_eq!(std::hint::black_box(&piece)[PIECE / 2], round + 1);
        }
        both.0.wait();
        both.1.wait();
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let both = both.clone();
            std::thread::spawn(move || work(both))
        })
        .collect();
    both.0.wait();
    let after = resident();
    both.1.wait();
    for thread in threads {
        thread.join().unwrap();
    }
    let kept = after.saturating_sub(before);
    assert!(kept < PIECE, "{} MiB stayed", kept >> 20);
}
