//! The embedded store passes the suite of its port, whether its groups stay in the journal or are
//! written on to the redb file all the time.

use std::path::PathBuf;
use std::sync::Arc;

use zone_ports::Store;
use zone_store_redb::{RedbOptions, RedbStore};

zone_conformance::store!(redb, |place: PathBuf| async move {
    Arc::new(RedbStore::open(place).unwrap()) as Arc<dyn Store>
});

zone_conformance::store!(redb_folding, |place: PathBuf| async move {
    let options = RedbOptions {
        fold_bytes: 500,
        ..RedbOptions::default()
    };
    Arc::new(RedbStore::open_with(place, options).unwrap()) as Arc<dyn Store>
});
