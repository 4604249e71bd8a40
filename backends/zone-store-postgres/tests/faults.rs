//! What a real server, its disk and its network do to the store.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "faults/crash.rs"]
mod crash;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/schema.rs"]
mod schema;
#[path = "faults/server.rs"]
mod server;
#[path = "faults/tls.rs"]
mod tls;

use zone_ports::{Store, StoreError};
use zone_store_postgres::{PostgresOptions, PostgresStore};
use zone_testkit::Postgres;

fn options(url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new(url, "zone").unwrap();
    options.max_connections = 3;
    options
}

async fn open(server: &Postgres) -> PostgresStore {
    PostgresStore::open(options(&server.url())).await.unwrap()
}

/// The text of an error with all its causes: what a log line holds.
fn said(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Opening is refused as unavailable; why.
async fn refused(options: PostgresOptions) -> String {
    let answer = PostgresStore::open(options).await;
    let Err(error @ StoreError::Unavailable { .. }) = answer else {
        panic!("{answer:?}")
    };
    said(&error)
}

/// The value at `at`.
async fn value(store: &dyn Store, at: &str) -> Option<String> {
    let found = store
        .get(&zone_conformance::store::key(at))
        .await
        .unwrap()?;
    Some(String::from_utf8(found.value.to_vec()).unwrap())
}
