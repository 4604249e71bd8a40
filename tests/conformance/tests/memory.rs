//! The store in memory passes the suite of its port: so tests that stand on it stand on that
//! port's contract.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use zone_ports::Store;
use zone_testkit::MemStore;

/// What is "on disk": a store lives on under its path when everybody has let go of it.
static DISKS: LazyLock<Mutex<HashMap<PathBuf, MemStore>>> = LazyLock::new(Mutex::default);

zone_conformance::store!(memory, |place: PathBuf| async move {
    let mut disks = DISKS.lock();
    let disk = match disks.get(&place) {
        Some(disk) => disk.crash_image(),
        None if place.exists() => MemStore::load(&place).unwrap(),
        None => MemStore::new(),
    };
    disks.insert(place, disk.clone());
    Arc::new(disk) as Arc<dyn Store>
});
