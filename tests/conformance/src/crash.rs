//! What the killed writer and its judge agree on.

use std::sync::Arc;

use zone_ports::Store;
use zone_store_postgres::{PostgresOptions, PostgresStore};
use zone_store_redb::{RedbOptions, RedbStore};

/// Opens the store at `place`: a file, which folds its journal at `fold` bytes, or a server's URL.
pub async fn store(place: &str, fold: usize) -> Arc<dyn Store> {
    if place.starts_with("postgresql:") {
        let options = PostgresOptions::new(place, "zone").unwrap();
        return Arc::new(PostgresStore::open(options).await.unwrap());
    }
    let options = RedbOptions {
        fold_bytes: fold,
        ..RedbOptions::default()
    };
    Arc::new(RedbStore::open_with(place, options).unwrap())
}

/// Callers of the writer.
pub const CALLERS: u64 = 8;

/// One of the two keys that a batch leaves.
pub fn part(caller: u64, number: u64, part: char) -> String {
    format!("w/{caller}/{number:08}/{part}")
}

/// The key with the caller's last batch.
pub fn last(caller: u64) -> String {
    format!("w/{caller}/last")
}

/// The key that the next batch removes.
pub fn open(caller: u64, number: u64) -> String {
    format!("w/{caller}/open/{number:08}")
}

/// What a batch writes: of another length and content for each.
pub fn value(caller: u64, number: u64) -> Vec<u8> {
    let length = (caller * 131 + number * 37) % 1500;
    let mut value = format!("{caller}/{number}:").into_bytes();
    value.extend((0..length).map(|at| (at * number + caller) as u8));
    value
}

/// Reads the value of [`last`].
pub fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}
