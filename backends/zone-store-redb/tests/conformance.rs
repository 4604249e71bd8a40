//! The embedded store passes the suite of its port.

use std::path::PathBuf;
use std::sync::Arc;

use zone_ports::Store;
use zone_store_redb::RedbStore;

zone_conformance::store!(redb, |place: PathBuf| async move {
    Arc::new(RedbStore::open(place).unwrap()) as Arc<dyn Store>
});
