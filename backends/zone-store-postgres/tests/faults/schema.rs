//! Schemas of others and of other times; copies.

use std::path::Path;

use zone_conformance::store::{delete, group, key, put};
use zone_ports::store::{MAX_KEY, MAX_VALUE, Revision, WriteSet};
use zone_ports::{KeyRange, Store, StoreError};
use zone_store_postgres::{PostgresOptions, PostgresStore};
use zone_testkit::Postgres;

use super::{open, options, refused, said, value};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_and_left_alone() {
    let server = Postgres::start();
    let store = open(&server).await;
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    drop(store);
    server.sql("UPDATE zone.head SET format = 99");
    let why = refused(options(&server.url())).await;
    assert!(
        why.contains("format 99, which a newer zonehead made"),
        "{why}"
    );
    assert_eq!(
        server.sql("SELECT format, last_group FROM zone.head"),
        "99|1"
    );
    server.sql("UPDATE zone.head SET format = 1");
    open(&server).await;
}

/// A table that a crash of the server empties is no store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_an_unlogged_table_is_refused() {
    let server = Postgres::start();
    drop(open(&server).await);
    server.sql("ALTER TABLE zone.records SET UNLOGGED");
    let why = refused(options(&server.url())).await;
    assert!(why.contains("UNLOGGED"), "{why}");
}

/// `docs/formats/store-postgres.md` and the schema change together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tables_are_those_of_the_document() {
    let server = Postgres::start();
    drop(open(&server).await);
    let columns = "SELECT table_name, column_name, data_type FROM information_schema.columns \
         WHERE table_schema = 'zone' ORDER BY table_name, ordinal_position";
    let expected = "head|single|boolean\nhead|format|integer\nhead|last_group|bigint\n\
         head|fence|bigint\nhead|session|bigint\n\
         records|key|bytea\nrecords|value|bytea\nrecords|revision|bigint";
    assert_eq!(server.sql(columns), expected);
}

fn named(server: &Postgres, schema: &str) -> PostgresOptions {
    PostgresOptions::new(&server.url(), schema).unwrap()
}

async fn corrupt(server: &Postgres, copy: &Path, schema: &str) -> String {
    let answer = PostgresStore::restore(named(server, schema), copy).await;
    let Err(error @ StoreError::Corrupt { .. }) = answer else {
        panic!("{answer:?}")
    };
    said(&error)
}

/// A copy is restored whole, with revisions and fence, into a schema that holds no store; a damaged
/// one not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_restored_whole_or_not_at_all() {
    let server = Postgres::start();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&server).await;
    let many = (0..250).map(|at| put(format!("m/{at:03}"), vec![7; 50]));
    store.apply(group(1, many.collect())).await.unwrap();
    let large = put("k".repeat(MAX_KEY), vec![9; MAX_VALUE]);
    let ops = vec![large, put("empty", ""), delete("m/000")];
    let second = WriteSet {
        number: Revision(2),
        fence: 7,
        ops,
    };
    store.apply(second).await.unwrap();
    let copy = dir.path().join("copy");
    assert_eq!(store.snapshot(&copy).await.unwrap(), Revision(2));
    let bytes = std::fs::read(&copy).unwrap();
    for (name, damaged, why) in [
        ("cut", bytes[..bytes.len() - 60].to_vec(), "cut short"),
        ("flipped", flip(&bytes, bytes.len() - 200, 0x40), "checksum"),
        ("other", flip(&bytes, 3, 0x40), "another version"),
        ("order", flip(&bytes, 47, 0x80), "order"),
        ("longer", [&bytes[..], b"x"].concat(), "behind its end"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, damaged).unwrap();
        let said = corrupt(&server, &file, "other").await;
        assert!(said.contains(why), "{name}: {said}");
    }
    let restored = PostgresStore::restore(named(&server, "other"), &copy).await;
    assert_eq!(restored.unwrap(), Revision(2));
    let other = PostgresStore::open(named(&server, "other")).await.unwrap();
    let all = KeyRange::prefix("");
    assert_eq!(
        other.scan(&all, 1000).await.unwrap(),
        store.scan(&all, 1000).await.unwrap()
    );
    assert_eq!(value(&other, "empty").await.as_deref(), Some(""));
    assert_eq!(other.get(&key("m/000")).await.unwrap(), None);
    let answer = other.apply(group(3, vec![put("a", "old fence")])).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    drop(other);
    let again = PostgresStore::restore(named(&server, "other"), &copy).await;
    assert!(said(&again.unwrap_err()).contains("holds a store"));
}

fn flip(bytes: &[u8], at: usize, bits: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= bits;
    bytes
}

/// Version 1 of a copy: this one stays readable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_golden_copy_is_what_is_written_and_is_read() {
    let golden = include_str!("../golden/copy-1.hex");
    let golden: String = golden.split_whitespace().collect();
    let server = Postgres::start();
    let dir = tempfile::tempdir().unwrap();
    let store = open(&server).await;
    store
        .apply(group(1, vec![put("a", "one"), put("gone", "")]))
        .await
        .unwrap();
    let ops = vec![put("b/\u{0}", ""), delete("gone")];
    store.apply(group(2, ops)).await.unwrap();
    let copy = dir.path().join("copy");
    store.snapshot(&copy).await.unwrap();
    let written: String = std::fs::read(&copy)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(written, golden);
    PostgresStore::restore(named(&server, "again"), &copy)
        .await
        .unwrap();
    let again = PostgresStore::open(named(&server, "again")).await.unwrap();
    assert_eq!(value(&again, "a").await.as_deref(), Some("one"));
}
