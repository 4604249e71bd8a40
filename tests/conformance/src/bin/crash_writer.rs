//! Writes under load until it is killed: the child of `tests/kill.rs`.
//!
//! `crash-writer PLACE FOLD`: callers write through one committer over the store at PLACE (see
//! `crash::store`). Caller C's
//! batch number N puts `w/C/N/a`, `w/C/N/b` and `w/C/last`, and removes what N-1 left in
//! `w/C/open/`. When it is acknowledged, `C N` goes to standard output in one write. Goes on
//! where the store ends. Ends by itself when the reader has gone away.

use std::io::Write;
use std::process::ExitCode;

use zone_barrier::commit::Committer;
use zone_conformance::crash;
use zone_conformance::store::{delete, key, put};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().expect("the place is the first argument");
    let fold = arguments.next().and_then(|bytes| bytes.parse().ok());
    let store = crash::store(&place, fold.expect("the bytes to fold at are the second")).await;
    let committer = Committer::open(store).await.expect("the log is readable");
    let callers = (0..crash::CALLERS).map(|caller| tokio::spawn(write(committer.clone(), caller)));
    for caller in callers.collect::<Vec<_>>() {
        if caller.await.is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// One caller. Returns when nobody reads any more.
async fn write(committer: Committer, caller: u64) {
    let found = committer
        .get(&key(crash::last(caller)))
        .await
        .expect("the store reads");
    let mut number = found.map_or(0, |found| crash::number(&found.value));
    loop {
        number += 1;
        let value = crash::value(caller, number);
        let ops = vec![
            put(crash::part(caller, number, 'a'), value.clone()),
            put(crash::part(caller, number, 'b'), value),
            put(crash::last(caller), number.to_string()),
            put(crash::open(caller, number), ""),
            delete(crash::open(caller, number - 1)),
        ];
        committer
            .commit(ops, Vec::new())
            .await
            .expect("the store writes");
        let line = format!("{caller} {number}\n");
        // A whole line leaves the process in one write.
        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}
