//! What the conformance suite cannot see: failing disks, foreign files, a second process.

use std::io;
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::AtomicI64;

use redb::backends::FileBackend;
use redb::{BackendError, ReadableDatabase, StorageBackend};

use super::*;

mod attacks;
mod history;
mod power;

/// A disk on which the n-th write from now on, or the sync behind it, fails: the redb file's ...
#[derive(Debug)]
struct Failing {
    file: FileBackend,
    countdown: Arc<Countdown>,
}

/// ... and the journal's.
struct FailingJournal {
    file: std::fs::File,
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

impl journal::Disk for FailingJournal {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        trip(&self.countdown.writes, ENOSPC)?;
        journal::Disk::write(&self.file, offset, data)
    }

    fn sync(&self) -> io::Result<()> {
        trip(&self.countdown.syncs, EIO)?;
        journal::Disk::sync(&self.file)
    }
}

fn options(fold_bytes: usize) -> RedbOptions {
    RedbOptions {
        fold_bytes,
        ..RedbOptions::default()
    }
}

fn failing(dir: &Path, fold_bytes: usize) -> (RedbStore, Arc<Countdown>) {
    let path = dir.join("zone.redb");
    let countdown = Arc::new(Countdown::default());
    let (at, counter) = (path.clone(), countdown.clone());
    let database = move || {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&at)?;
        let file = FileBackend::new(file)?;
        let countdown = counter.clone();
        let backend = Failing { file, countdown };
        Ok(redb::Database::builder().create_with_backend(backend)?)
    };
    let counter = countdown.clone();
    let disk = move |file| -> Box<dyn journal::Disk> {
        let countdown = counter.clone();
        Box::new(FailingJournal { file, countdown })
    };
    let openers = Openers {
        database: Box::new(database),
        disk: Box::new(disk),
    };
    let store = RedbStore::open_by(path, options(fold_bytes), openers).unwrap();
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

/// Waits until nothing is folded in the background.
async fn settle(store: &RedbStore) {
    while store.handle.0.folding.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

/// Copies the files as a power cut would leave them.
fn image(from: &Path, to: &Path) -> PathBuf {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.join("zone.redb")
}

async fn everything(store: &RedbStore) -> Vec<(Key, Versioned)> {
    store.scan(&KeyRange::prefix(""), 1000).await.unwrap()
}

fn journal_file(store: &Path, index: usize) -> PathBuf {
    PathBuf::from(format!("{}.journal-{index}", store.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_at_any_write_loses_nothing_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (store, countdown) = failing(dir.path(), 1);
    let (mut number, mut failures, mut tripped) = (0, 0, 0);
    for nth in 1..60 {
        countdown.writes.store(nth, Ordering::SeqCst);
        let answer = store.apply(group(number + 1, 20)).await;
        settle(&store).await;
        tripped += u64::from(countdown.writes.load(Ordering::SeqCst) <= 0);
        countdown.writes.store(0, Ordering::SeqCst);
        match answer {
            Ok(()) => number += 1,
            Err(StoreError::Full { .. }) => failures += 1,
            Err(error) => panic!("at write {nth}: {error:?}"),
        }
        let last = store.last_group().await.unwrap();
        assert_eq!(last, Revision(number), "at write {nth}");
        let all = everything(&store).await;
        let whole = all.iter().all(|(_, found)| found.revision == last);
        assert!(whole && all.len() == if number == 0 { 0 } else { 20 });
    }
    assert!(failures >= 1 && tripped >= 20, "{failures} of {tripped}");
    store.apply(group(number + 1, 30)).await.unwrap();
    drop(store);
    let store = RedbStore::open(dir.path().join("zone.redb")).unwrap();
    assert_eq!(everything(&store).await.len(), 30);
}

/// A kill cannot show a sync that is missing: the kernel lives on. So they are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_each_group_is_synced_once() {
    let dir = tempfile::tempdir().unwrap();
    let (store, countdown) = failing(dir.path(), usize::MAX);
    for number in 1..=9 {
        countdown.syncs.store(1000, Ordering::SeqCst);
        store.apply(group(number, 3)).await.unwrap();
        assert_eq!(countdown.syncs.load(Ordering::SeqCst), 999);
    }
    // The file is synced before the journal goes.
    countdown.syncs.store(1000, Ordering::SeqCst);
    store.close().unwrap();
    assert!(countdown.syncs.load(Ordering::SeqCst) <= 998);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_a_failed_sync_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let (store, countdown) = failing(dir.path(), usize::MAX);
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
    assert_eq!(everything(&store).await.len(), 3);
}

/// The journal is kept until the file has what it holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_a_failed_sync_of_the_file_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for nth in 2..8 {
        let dir = dir.path().join(nth.to_string());
        std::fs::create_dir(&dir).unwrap();
        let (store, countdown) = failing(&dir, 1);
        store.apply(group(1, 9)).await.unwrap();
        settle(&store).await;
        countdown.syncs.store(nth, Ordering::SeqCst);
        store.apply(group(2, 5)).await.unwrap();
        settle(&store).await;
        let images = tempfile::tempdir().unwrap();
        let copy = RedbStore::open(image(&dir, images.path())).unwrap();
        for store in [store, copy] {
            assert_eq!(store.last_group().await.unwrap(), Revision(2), "{nth}");
            assert_eq!(everything(&store).await.len(), 9);
            store.apply(group(3, 10)).await.unwrap();
            assert_eq!(everything(&store).await.len(), 10);
        }
    }
}

/// Whatever was folded, used again, or is in the journal only: a power cut after any group leaves
/// exactly what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_a_power_cut_behind_any_group_keeps_all_and_nothing_else() {
    for fold_bytes in [1, 20_000, usize::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zone.redb");
        let store = RedbStore::open_with(&path, options(fold_bytes)).unwrap();
        let mut files = 0;
        for number in 1..25 {
            let mut next = group(number, (number * 7 % 11) as u8);
            let gone = Key::new(vec![b'k', (number % 5) as u8]).unwrap();
            next.ops.retain(|op| *op.key() != gone);
            next.ops.push(Op::Delete { key: gone });
            store.apply(next).await.unwrap();
            settle(&store).await;
            let copies = tempfile::tempdir().unwrap();
            let copy = RedbStore::open_with(image(dir.path(), copies.path()), options(1)).unwrap();
            let expected = everything(&store).await;
            assert_eq!(everything(&copy).await, expected, "{fold_bytes} {number}");
            assert_eq!(copy.last_group().await.unwrap(), Revision(number));
            settle(&copy).await;
            assert_eq!(everything(&copy).await, expected, "{fold_bytes} {number}");
            drop(copy);
            files = files.max(std::fs::read_dir(dir.path()).unwrap().count());
        }
        assert!(files <= 4, "{files} files");
        drop(store);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

/// Three groups in a journal that is damaged at one byte: the last one may be torn, and is then
/// not there; damage before it is told.
#[tokio::test]
async fn only_the_last_group_can_be_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open_with(&path, options(usize::MAX)).unwrap();
    let mut ends = Vec::new();
    for number in 1..=3 {
        let op = Op::Put {
            key: Key::new("k").unwrap(),
            value: vec![number as u8; 40].into(),
        };
        let ops = vec![op];
        let (number, fence) = (Revision(number), 1);
        store.apply(WriteSet { number, fence, ops }).await.unwrap();
        let whole = std::fs::read(journal_file(&path, 0)).unwrap();
        ends.push(whole.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    }
    for at in (0..ends[2]).step_by(3) {
        let copies = tempfile::tempdir().unwrap();
        let copy = image(dir.path(), copies.path());
        let file = journal_file(&copy, 0);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[at] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
        match RedbStore::open(&copy) {
            Ok(store) => {
                assert!(at >= ends[1], "damage at {at} was not seen");
                assert_eq!(store.last_group().await.unwrap(), Revision(2));
                let found = store.get(&Key::new("k").unwrap()).await.unwrap().unwrap();
                assert_eq!(found.value, vec![2; 40]);
            }
            Err(StoreError::Corrupt { .. }) => assert!(at < ends[1], "at {at}"),
            Err(error) => panic!("at {at}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_is_not_opened_without_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zone.redb");
    let store = RedbStore::open(&path).unwrap();
    store.apply(group(1, 1)).await.unwrap();
    let corrupt = |path: &Path| match RedbStore::open(path) {
        Err(StoreError::Corrupt { source, .. }) => source.to_string(),
        other => panic!("{other:?}"),
    };
    let old = tempfile::tempdir().unwrap();
    let copy = image(dir.path(), old.path());
    std::fs::remove_file(journal_file(&copy, 0)).unwrap();
    assert!(corrupt(&copy).contains("journal files beside it are missing"));
    // A journal that goes on somewhere else than the file ends.
    store.handle.0.folded().unwrap();
    store.apply(group(2, 1)).await.unwrap();
    let new = tempfile::tempdir().unwrap();
    image(dir.path(), new.path());
    std::fs::copy(old.path().join("zone.redb"), new.path().join("zone.redb")).unwrap();
    std::fs::remove_file(journal_file(&new.path().join("zone.redb"), 0)).unwrap();
    assert!(corrupt(&new.path().join("zone.redb")).contains("damaged or of another time"));
    store.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_snapshot_put_in_place_of_an_unclosed_store_is_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path().join("zone.redb")).unwrap();
    store.apply(group(1, 3)).await.unwrap();
    let copy = dir.path().join("copy");
    assert_eq!(store.snapshot(&copy).await.unwrap(), Revision(1));
    store.apply(group(2, 9)).await.unwrap();
    let crashed = tempfile::tempdir().unwrap();
    let path = image(dir.path(), crashed.path());
    std::fs::copy(copy, &path).unwrap();
    let restored = RedbStore::open(&path).unwrap();
    assert_eq!(restored.last_group().await.unwrap(), Revision(1));
    assert_eq!(everything(&restored).await.len(), 3);
    restored.apply(group(2, 4)).await.unwrap();
    let again = tempfile::tempdir().unwrap();
    let again = RedbStore::open(image(crashed.path(), again.path())).unwrap();
    assert_eq!(everything(&again).await.len(), 4);
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
    let other = redb::Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction
        .open_table(table::META)
        .unwrap()
        .insert(table::HEAD, &[0; 16][..])
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
    for at in (0..whole.len()).step_by(whole.len() / 60) {
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
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    let head = transaction
        .open_table(table::META)
        .unwrap()
        .get(table::HEAD)
        .unwrap()
        .unwrap();
    assert_eq!(
        head.value(),
        [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1]
    );
    let row = transaction
        .open_table(table::RECORDS)
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
    let mut builder = redb::Database::builder();
    builder.set_repair_callback(|_| panic!("the file was not closed in good order"));
    builder.open(&path).unwrap();
}
