//! The store passes the suite of its port on a real server.
//!
//! All tests share one server; each has schemas of its own, named after its place. A file at a
//! place is a copy, from which the store there is restored.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use zone_ports::Store;
use zone_store_postgres::{PostgresOptions, PostgresStore};
use zone_testkit::Postgres;

static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);

fn options(place: &Path) -> PostgresOptions {
    let digest = zone_crypto::hash::sha256(place.as_os_str().as_encoded_bytes());
    let number = u128::from_be_bytes(*digest.first_chunk().unwrap());
    let mut options = PostgresOptions::new(&SERVER.url(), &format!("z{number:x}")).unwrap();
    options.max_connections = 3;
    options
}

zone_conformance::store!(postgresql, |place: PathBuf| async move {
    if place.is_file() {
        PostgresStore::restore(options(&place), &place)
            .await
            .unwrap();
        std::fs::remove_file(&place).unwrap();
    }
    Arc::new(PostgresStore::open(options(&place)).await.unwrap()) as Arc<dyn Store>
});
