//! Servers that must not be trusted, and heads that must not meet.

use zone_conformance::store::{group, key, put};
use zone_ports::store::{Revision, WriteSet};
use zone_ports::{Store, StoreError};
use zone_store_postgres::PostgresStore;
use zone_testkit::Postgres;

use super::{open, options, refused, said, value};

/// S1: a server that forgets what it acknowledged is refused at the start, and when it is made one
/// under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_server_that_would_lose_groups_is_refused() {
    let server = Postgres::start();
    let store = open(&server).await;
    let mut number = 1;
    for setting in ["fsync", "full_page_writes"] {
        server.configure(&format!("{setting} = off"));
        server.reload();
        while server.sql(&format!("SHOW {setting}")) != "off" {}
        let said_so = loop {
            // Until its own session has read the configuration.
            match store.apply(group(number, vec![put("a", "1")])).await {
                Ok(()) => number += 1,
                Err(error) => break said(&error),
            }
        };
        assert!(said_so.contains("was turned off"), "{said_so}");
        let mut other = options(&server.url());
        other.exclusive = false;
        let why = refused(other).await;
        assert!(why.contains(&format!("{setting} is off")), "{why}");
    }
    server.configure("");
    server.reload();
    while server.sql("SHOW full_page_writes") != "on" {}
    assert_eq!(store.last_group().await.unwrap(), Revision(number - 1));
    while let Err(error) = store.apply(group(number, vec![put("a", "2")])).await {
        assert!(said(&error).contains("was turned off"), "{error:?}");
    }
}

/// S1: a role whose default is to acknowledge before the disk has it is overruled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_synchronous_commit_is_insisted_upon() {
    let server = Postgres::start();
    server.sql("ALTER ROLE zonehead SET synchronous_commit = off");
    server.sql("ALTER ROLE zonehead SET default_transaction_isolation = 'serializable'");
    let store = open(&server).await;
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    server.crash();
    server.begin();
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_and_a_read_only_server_are_refused() {
    let server = Postgres::start();
    server.sql("ALTER ROLE zonehead SET default_transaction_read_only = on");
    let why = refused(options(&server.url())).await;
    assert!(why.contains("transaction_read_only is on"), "{why}");
    server.crash();
    server.make_standby();
    server.begin();
    let why = refused(options(&server.url())).await;
    assert!(why.contains("it is a standby"), "{why}");
}

/// One head has the store; a second one is told, and takes it when the first has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_head_is_refused_until_the_first_has_gone() {
    let server = Postgres::start();
    let first = open(&server).await;
    first.apply(group(1, vec![put("a", "1")])).await.unwrap();
    let why = refused(options(&server.url())).await;
    assert!(why.contains("another head has the store open"), "{why}");
    first.apply(group(2, vec![put("a", "2")])).await.unwrap();
    drop(first);
    let second = open(&server).await;
    assert_eq!(second.last_group().await.unwrap(), Revision(2));
}

/// While the first head was cut off another one took the store: the first reads and writes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_head_that_lost_the_store_reads_and_writes_nothing() {
    let server = Postgres::start();
    let proxy = zone_testkit::Proxy::start(server.sockets());
    let url = Postgres::url_at(proxy.sockets());
    let first = PostgresStore::open(options(&url)).await.unwrap();
    proxy.cut();
    let second = open(&server).await;
    let error = first.get(&key("a")).await.unwrap_err();
    assert!(said(&error).contains("another head"), "{}", said(&error));
    let error = first
        .apply(group(1, vec![put("a", "1")]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(second.last_group().await.unwrap(), Revision(0));
}

/// S2: two writers; the one with the old fence is refused, also when its number is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_of_two_writers_the_one_with_the_old_fence_is_refused() {
    let server = Postgres::start();
    let shared = || {
        let mut options = options(&server.url());
        options.exclusive = false;
        options
    };
    let fenced = |number, fence| WriteSet {
        number: Revision(number),
        fence,
        ops: vec![put("a", fence.to_string())],
    };
    let old = PostgresStore::open(shared()).await.unwrap();
    old.apply(fenced(1, 1)).await.unwrap();
    let new = PostgresStore::open(shared()).await.unwrap();
    new.apply(fenced(2, 2)).await.unwrap();
    for number in [2, 3] {
        let answer = old.apply(fenced(number, 1)).await;
        assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    }
    assert_eq!(old.last_group().await.unwrap(), Revision(2));
    let answer = old.apply(fenced(3, 1)).await;
    assert!(matches!(answer, Err(StoreError::Fenced)), "{answer:?}");
    // Its question for the last group has put the other's count out of date, not its rights.
    let answer = new.apply(fenced(3, 2)).await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable { .. })),
        "{answer:?}"
    );
    assert_eq!(new.last_group().await.unwrap(), Revision(2));
    new.apply(fenced(3, 2)).await.unwrap();
    assert_eq!(value(&old, "a").await.as_deref(), Some("2"));
}

/// Many heads that start at once migrate once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_start_together_migrate_once() {
    let server = Postgres::start();
    let starts = (0..6).map(|_| {
        let mut options = options(&server.url());
        options.exclusive = false;
        tokio::spawn(PostgresStore::open(options))
    });
    for start in starts.collect::<Vec<_>>() {
        let store = start.await.unwrap().unwrap();
        assert_eq!(store.last_group().await.unwrap(), Revision(0));
    }
}
