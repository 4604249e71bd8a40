//! Groups that are sent and not answered.

use zone_conformance::store::{group, put};
use zone_ports::store::Revision;
use zone_ports::{Store, StoreError};
use zone_store_postgres::PostgresStore;
use zone_testkit::{Postgres, Proxy};

use super::{options, value};

async fn behind(proxy: &Proxy) -> PostgresStore {
    let url = Postgres::url_at(proxy.sockets());
    PostgresStore::open(options(&url)).await.unwrap()
}

/// Waits until the server has `count` sessions.
async fn sessions(server: &Postgres, count: usize) {
    while server.sessions() != count {
        tokio::task::yield_now().await;
    }
}

/// The group is somewhere in the network while the store asks for the last one through another
/// connection. Then it arrives, and is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_group_that_arrives_after_last_group_has_no_effect() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.sockets());
    let store = behind(&proxy).await;
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    proxy.hold();
    let late = {
        let store = store.clone();
        tokio::spawn(async move { store.apply(group(2, vec![put("a", "late")])).await })
    };
    proxy.arrived().await;
    late.abort();
    late.await.unwrap_err();
    assert_eq!(store.last_group().await.unwrap(), Revision(1));
    let before = server.sessions();
    proxy.release();
    // The late one is done when its session has ended.
    sessions(&server, before - 1).await;
    assert_eq!(value(&store, "a").await.as_deref(), Some("1"));
    assert_eq!(store.last_group().await.unwrap(), Revision(1));
    store.apply(group(2, vec![put("a", "2")])).await.unwrap();
    assert_eq!(value(&store, "a").await.as_deref(), Some("2"));
}

/// The same across heads: the one that sent it was killed, another one asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_dead_heads_group_that_arrives_late_has_no_effect() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.sockets());
    let dead = behind(&proxy).await;
    dead.apply(group(1, vec![put("a", "1")])).await.unwrap();
    let mut shared = options(&server.url());
    shared.exclusive = false;
    let heir = PostgresStore::open(shared).await.unwrap();
    proxy.hold();
    let late = {
        let dead = dead.clone();
        tokio::spawn(async move { dead.apply(group(2, vec![put("a", "late")])).await })
    };
    proxy.arrived().await;
    assert_eq!(heir.last_group().await.unwrap(), Revision(1));
    proxy.release();
    let answer = late.await.unwrap();
    assert!(
        matches!(answer, Err(StoreError::Unavailable { .. })),
        "{answer:?}"
    );
    assert_eq!(heir.last_group().await.unwrap(), Revision(1));
    assert_eq!(value(&heir, "a").await.as_deref(), Some("1"));
}

/// The answer is lost and the connection cut: the group is there, and the next one goes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_after_the_group_was_sent_is_read_back() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.sockets());
    let store = behind(&proxy).await;
    for number in [1, 3, 5] {
        proxy.lose_answers();
        let doubtful = {
            let store = store.clone();
            let ops = vec![put("a", number.to_string())];
            tokio::spawn(async move { store.apply(group(number, ops)).await })
        };
        proxy.arrived().await;
        proxy.cut();
        let answer = doubtful.await.unwrap();
        assert!(
            matches!(answer, Err(StoreError::Unavailable { .. })),
            "{answer:?}"
        );
        assert_eq!(store.last_group().await.unwrap(), Revision(number));
        assert_eq!(value(&store, "a").await, Some(number.to_string()));
        store
            .apply(group(number + 1, vec![put("a", "x")]))
            .await
            .unwrap();
    }
}

/// A transaction waits for a lock while its connection is cut: `last_group` waits with it and tells
/// how it ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_group_waits_for_a_transaction_under_way() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.sockets());
    let store = behind(&proxy).await;
    store.apply(group(1, vec![put("a", "1")])).await.unwrap();
    let blocker = Blocker::begin(&server).await;
    let cut = {
        let store = store.clone();
        tokio::spawn(async move { store.apply(group(2, vec![put("a", "2")])).await })
    };
    waiting(&server, 1).await;
    proxy.cut();
    cut.await.unwrap().unwrap_err();
    let last = {
        let store = store.clone();
        tokio::spawn(async move { store.last_group().await })
    };
    waiting(&server, 2).await;
    assert!(!last.is_finished());
    blocker.end().await;
    let last = last.await.unwrap().unwrap();
    let told = value(&store, "a").await;
    assert_eq!(told, Some(last.0.to_string()), "it is as last_group said");
    sessions(&server, server.sessions()).await;
    assert_eq!(value(&store, "a").await, told);
}

/// Holds the head's row in a transaction.
struct Blocker(tokio_postgres::Client);

impl Blocker {
    async fn begin(server: &Postgres) -> Self {
        let connected = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.unwrap();
        tokio::spawn(connection);
        let lock = "BEGIN; SELECT FROM zone.head FOR UPDATE";
        client.batch_execute(lock).await.unwrap();
        Self(client)
    }

    async fn end(self) {
        self.0.batch_execute("COMMIT").await.unwrap();
    }
}

/// Waits until `count` sessions wait for a row.
async fn waiting(server: &Postgres, count: usize) {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while server.sql(query).parse::<usize>().unwrap() < count {
        tokio::task::yield_now().await;
    }
}
