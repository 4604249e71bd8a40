//! What the conformance suite cannot see: failing disks, foreign files, a second process.

use std::io;
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicI64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::*;

/// A disk on which the n-th write from now on, or the sync behind it, fails.
#[derive(Debug)]
struct Failing {
    file: FileBackend,
    countdown: Arc<Countdown>,
}

#[derive(Debug, Default)]
struct Countdown {
    writes: AtomicI64,
    syncs: AtomicI64,
}

fn trip(counter: &AtomicI64, errno: i32) -> io::Result<()> {
    match counter.fetch_sub(1, Ordering::SeqCst) {
        1 => Err(io::Error::from_raw_os_error(errno)),
        _ => Ok(()),
    }
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        trip(&self.countdown.writes, ENOSPC)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        trip(&self.countdown.syncs, EIO)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        trip(&self.countdown.writes, ENOSPC)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

fn failing(dir: &Path) -> (RedbStore, Arc<Countdown>) {
    let path = dir.join("zone.redb");
    file::create(&path).unwrap();
    let countdown = Arc::new(Countdown::default());
    let (at, counter) = (path.clone(), countdown.clone());
    let opener = move || {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&at)?;
        let file = FileBackend::new(file)?;
        let backend = Failing {
            file,
            countdown: counter.clone(),
        };
        Ok(Database::builder().create_with_backend(backend)?)
    };
    let store = RedbStore::open_by(path, RedbOptions::default(), Box::new(opener)).unwrap();
    (store, countdown)
}

fn group(number: u64, keys: u8) -> WriteSet {
    let op = |index| Op::Put {
        key: Key::new(vec![b'k', index]).unwrap(),
        value: vec![index; 3000].into(),
    };
    WriteSet {
        number: Revision(number),
        fence: 1,
        ops: (0..keys).map(op).collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_at_any_write_loses_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (store, countdown) = failing(dir.path());
    let (mut number, mut failures) = (0, 0);
    for nth in 1.. {
        countdown.writes.store(nth, Ordering::SeqCst);
        let answer = store.apply(group(number + 1, 20)).await;
        let tripped = countdown.writes.load(Ordering::SeqCst) <= 0;
        countdown.writes.store(0, Ordering::SeqCst);
        match answer {
            Ok(()) => number += 1,
            Err(StoreError::Full { .. }) => failures += 1,
            Err(error) => panic!("at write {nth}: {error:?}"),
        }
        assert_eq!(
            store.last_group().await.unwrap(),
            Revision(number),
            "at write {nth}"
        );
        if !tripped {
            break;
        }
    }
    assert!(failures >= 3, "{failures} writes failed");
    store.apply(group(number + 1, 30)).await.unwrap();
    assert_eq!(
        store.scan(&KeyRange::prefix("k"), 100).await.unwrap().len(),
        30
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_a_failed_sync_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let (store, countdown) = failing(dir.path());
    store.apply(group(1, 1)).await.unwrap();
    countdown.syncs.store(1, Ordering::SeqCst);
    let answer = store.apply(group(2, 2)).await;
    let last = store.last_group().await.unwrap();
    // The disk is well in truth, so the group may be found there when the file is read afresh.
    match answer {
        Ok(()) => assert_eq!(last, Revision(2)),
        Err(StoreError::Unavailable { .. }) => assert_eq!(last, Revision(1)),
        Err(error) => panic!("{error:?}"),
    }
    store.apply(group(last.0 + 1, 3)).await.unwrap();
    assert_eq!(
        store.scan(&KeyRange::prefix("k"), 100).await.unwrap().len(),
        3
    );
}

#[tokio::test]
async fn too_little_room_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = RedbOptions {
        reserve_bytes: u64::MAX / 2,
        ..RedbOptions::default()
    };
    let store = RedbStore::open_with(dir.path().join("zone.redb"), options).unwrap();
    let answer = store.apply(group(1, 1)).await;
    assert!(matches!(answer, Err(StoreError::Full { .. })), "{answer:?}");
    assert_eq!(store.last_group().await.unwrap(), Revision(0));
}

#[test]
fn the_file_is_for_its_owner_and_for_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = RedbStore::open(&path);
    let Err(StoreError::Unavailable { source, .. }) = second else {
        panic!("{second:?}")
    };
    assert_eq!(
        source.to_string(),
        "another process has the file open: stop it first"
    );
    drop(store);
    RedbStore::open(&path).unwrap();
}

#[test]
fn a_foreign_or_damaged_file_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("foreign");
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let answer = RedbStore::open(&path);
    assert!(
        matches!(answer, Err(StoreError::Corrupt { .. })),
        "{answer:?}"
    );

    let path = dir.path().join("other.redb");
    let other = Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction
        .open_table(META)
        .unwrap()
        .insert(HEAD, &[0; 16][..])
        .unwrap();
    transaction.commit().unwrap();
    drop(other);
    let answer = RedbStore::open(&path);
    assert!(
        matches!(answer, Err(StoreError::Corrupt { .. })),
        "{answer:?}"
    );
}

/// Any byte of a file flipped: the store opens and answers, or says that it is corrupt. It never
/// panics and never answers with another value unnoticed by the barrier (B3 is the barrier's).
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_flipped_byte_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open(&path).unwrap();
    for number in 1..=5 {
        store.apply(group(number, 40)).await.unwrap();
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 150) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x41;
        std::fs::write(&path, damaged).unwrap();
        let Ok(store) = RedbStore::open(&path) else {
            refused += 1;
            continue;
        };
        let found = store.scan(&KeyRange::prefix(""), 1000).await;
        assert!(
            !matches!(found, Err(StoreError::Fenced | StoreError::Full { .. })),
            "{found:?}"
        );
        let last = store.last_group().await.unwrap_or_default();
        drop(store.apply(group(last.0 + 1, 5)).await);
    }
    assert!(refused > 0);
}

/// The layout of `docs/formats/store.md`.
#[tokio::test]
async fn the_layout_is_the_documented_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open(&path).unwrap();
    let mut first = group(1, 1);
    first.fence = 9;
    store.apply(first).await.unwrap();
    drop(store);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    let head = transaction
        .open_table(META)
        .unwrap()
        .get(HEAD)
        .unwrap()
        .unwrap();
    assert_eq!(
        head.value(),
        [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1]
    );
    let row = transaction
        .open_table(RECORDS)
        .unwrap()
        .get(&b"k\0"[..])
        .unwrap()
        .unwrap();
    assert_eq!(
        row.value(),
        [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 3000]].concat()
    );
}

#[tokio::test]
async fn a_closed_file_needs_no_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open(&path).unwrap();
    store.apply(group(1, 9)).await.unwrap();
    let clone = store.clone();
    store.close().unwrap();
    let late = clone.get(&Key::new("k").unwrap()).await;
    assert!(
        matches!(late, Err(StoreError::Unavailable { .. })),
        "{late:?}"
    );
    let late = clone.apply(group(2, 1)).await;
    assert!(
        matches!(late, Err(StoreError::Unavailable { .. })),
        "{late:?}"
    );
    let mut builder = Database::builder();
    builder.set_repair_callback(|_| panic!("the file was not closed in good order"));
    builder.open(&path).unwrap();
}
