//! Kill -9 and power cuts at any write or sync of both files, also while the store is opened.
//!
//! What was written and not synced is kept by sector. A kill leaves all of it to the next process;
//! a power cut leaves any part of it, and so does a sync that fails, which the process survives: the
//! kernel then shows what the disk does not have until its pages are dropped. Whatever was
//! acknowledged, or read once, is there afterwards.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use parking_lot::Mutex;
use zone_testkit::SeededRandom;

use super::*;

const SECTOR: u64 = 512;
const KEYS: u64 = 12;

/// The disk under one directory.
#[derive(Debug)]
struct Platter {
    random: SeededRandom,
    files: Mutex<HashMap<PathBuf, Plate>>,
    /// Writes and syncs until the process is killed; below zero: never.
    fuse: AtomicI64,
    /// Syncs until one fails and loses what it should have written; below zero: never.
    sick: AtomicI64,
    dead: AtomicBool,
    /// The redb file cannot grow.
    full: AtomicBool,
    /// Files in the directory when the lock of the redb file was last given back.
    files_at_close: AtomicI64,
}

#[derive(Debug, Default)]
struct Plate {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// A sync failed, so the kernel's pages, which the real file stands for, are not the disk's.
    lost: bool,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug)]
struct Recorded {
    file: std::fs::File,
    path: PathBuf,
    platter: Arc<Platter>,
    lock: FileBackend,
}

fn write_at(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(data);
}

impl Plate {
    /// What a power cut leaves: of each sector that was not synced, one of its states.
    fn cut(&self, random: &SeededRandom) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let kept = [0, 50, 90, 100][random.below(4) as usize];
        for change in &self.pending {
            match change {
                Change::Write(offset, data) => {
                    let mut at = 0;
                    while at < data.len() as u64 {
                        let next = ((offset + at) / SECTOR + 1) * SECTOR - offset;
                        let next = next.min(data.len() as u64);
                        if random.below(100) < kept {
                            write_at(&mut bytes, offset + at, &data[at as usize..next as usize]);
                        }
                        at = next;
                    }
                }
                Change::Length(length) => {
                    if random.below(100) < kept {
                        bytes.resize(*length as usize, 0);
                    }
                }
            }
        }
        bytes
    }
}

impl Platter {
    /// A disk that holds the files of `dir`.
    fn of(dir: &Path, seed: u64) -> Arc<Self> {
        let platter = Self {
            random: SeededRandom::new(seed),
            files: Mutex::default(),
            fuse: AtomicI64::new(-1),
            sick: AtomicI64::new(-1),
            dead: AtomicBool::default(),
            full: AtomicBool::default(),
            files_at_close: AtomicI64::default(),
        };
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let durable = std::fs::read(&path).unwrap();
            let plate = Plate {
                durable,
                ..Plate::default()
            };
            platter.files.lock().insert(path, plate);
        }
        Arc::new(platter)
    }

    /// One more operation; fails from the one on at which the process is killed.
    fn tick(&self) -> io::Result<()> {
        if self.dead.load(Ordering::SeqCst) || self.fuse.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.dead.store(true, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    fn record(self: &Arc<Self>, file: std::fs::File) -> Recorded {
        use std::os::fd::AsRawFd;
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = std::fs::read_link(link).unwrap();
        let mut files = self.files.lock();
        if file.metadata().unwrap().len() == 0 {
            // Made anew, and synced so.
            files.remove(&path);
        }
        let plate = files.entry(path.clone()).or_insert_with(|| Plate {
            durable: std::fs::read(&path).unwrap(),
            ..Plate::default()
        });
        if std::mem::take(&mut plate.lost) {
            // Whoever opens the file has the pages dropped.
            std::fs::write(&path, &plate.durable).unwrap();
        }
        let lock = FileBackend::new(file.try_clone().unwrap()).unwrap();
        let platter = self.clone();
        Recorded {
            file,
            path,
            platter,
            lock,
        }
    }

    fn openers(self: &Arc<Self>, store: PathBuf) -> Openers {
        let (platter, disks) = (self.clone(), self.clone());
        let database = move || {
            let mut file = std::fs::OpenOptions::new();
            let file = file.read(true).write(true).open(&store)?;
            let backend = platter.record(file);
            Ok(redb::Database::builder().create_with_backend(backend)?)
        };
        Openers {
            database: Box::new(database),
            disk: Box::new(move |file| Box::new(disks.record(file))),
        }
    }

    /// Leaves in `to` what the disk has of `from` after a power cut.
    fn cut(&self, from: &Path, to: &Path, random: &SeededRandom) {
        let files = self.files.lock();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let bytes = match files.get(&entry.path()) {
                Some(plate) => plate.cut(random),
                None => std::fs::read(entry.path()).unwrap(),
            };
            std::fs::write(to.join(entry.file_name()), bytes).unwrap();
        }
    }
}

impl Recorded {
    fn change(&self, change: Change) -> io::Result<()> {
        self.platter.tick()?;
        match &change {
            Change::Write(offset, data) => {
                std::os::unix::fs::FileExt::write_all_at(&self.file, data, *offset)?;
            }
            Change::Length(length) => self.file.set_len(*length)?,
        }
        let mut files = self.platter.files.lock();
        files.get_mut(&self.path).unwrap().pending.push(change);
        Ok(())
    }

    fn synced(&self) -> io::Result<()> {
        self.platter.tick()?;
        let mut files = self.platter.files.lock();
        let plate = files.get_mut(&self.path).unwrap();
        if self.platter.sick.fetch_sub(1, Ordering::SeqCst) == 0 {
            plate.durable = plate.cut(&self.platter.random);
            plate.pending.clear();
            plate.lost = true;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        for change in std::mem::take(&mut plate.pending) {
            match change {
                Change::Write(offset, data) => write_at(&mut plate.durable, offset, &data),
                Change::Length(length) => plate.durable.resize(length as usize, 0),
            }
        }
        Ok(())
    }
}

impl journal::Disk for Recorded {
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        self.synced()
    }
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.lock.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.lock.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.platter.full.load(Ordering::SeqCst) && len > self.lock.len()? {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        self.change(Change::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.synced()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, data.to_vec()))
    }

    fn close(&self) -> io::Result<()> {
        let files = std::fs::read_dir(self.path.parent().unwrap()).unwrap();
        let count = files.count() as i64;
        self.platter.files_at_close.store(count, Ordering::SeqCst);
        self.lock.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.lock.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock.unlock_range(start, end)
    }
}

type Map = BTreeMap<Key, Versioned>;

/// One zone through kills and power cuts.
struct Life {
    random: SeededRandom,
    dir: tempfile::TempDir,
    platter: Arc<Platter>,
    options: RedbOptions,
    /// The store as of each group, the attempted one included.
    states: Vec<Map>,
    /// The last group that somebody was told of.
    told: u64,
    case: String,
}

impl Life {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            random: SeededRandom::new(seed),
            platter: Platter::of(dir.path(), seed),
            dir,
            options: options([1, 5_000, 60_000, usize::MAX][seed as usize % 4]),
            states: vec![Map::new()],
            told: 0,
            case: format!("seed {seed}"),
        }
    }

    fn group(&mut self) -> WriteSet {
        self.states.truncate(self.told as usize + 1);
        let number = Revision(self.told + 1);
        let mut map = self.states[self.told as usize].clone();
        let from = self.random.below(KEYS);
        let change = |at: u64| {
            let key = Key::new(format!("k/{:02}", (from + at * 5) % KEYS)).unwrap();
            if self.random.below(4) == 0 {
                map.remove(&key);
                return Op::Delete { key };
            }
            let length = [0, 50, 900, 3000, 20_000][self.random.below(5) as usize];
            let value = Bytes::from(vec![number.0 as u8; length]);
            let found = Versioned {
                value: value.clone(),
                revision: number,
            };
            map.insert(key.clone(), found);
            Op::Put { key, value }
        };
        let ops = (0..1 + self.random.below(4)).map(change).collect();
        self.states.push(map);
        WriteSet {
            number,
            fence: 1,
            ops,
        }
    }

    /// The store holds what anybody was told of, and of the group behind that all or nothing.
    async fn check(&mut self, store: &RedbStore) {
        let last = store.last_group().await;
        let all = store.scan(&KeyRange::prefix(""), 1000).await;
        let case = &self.case;
        if self.platter.dead.load(Ordering::SeqCst) && (last.is_err() || all.is_err()) {
            return;
        }
        let (last, all) = (last.unwrap().0, all.unwrap());
        assert!(
            last >= self.told && last < self.states.len() as u64,
            "{case}: {last} of {} told",
            self.told
        );
        let expected: Vec<_> = self.states[last as usize].clone().into_iter().collect();
        assert!(all == expected, "{case}: group {last}");
        self.told = last;
    }

    async fn work(&mut self, store: &RedbStore) {
        if self.random.below(2) == 0 {
            let fuse = self.random.below(60) as i64;
            self.platter.fuse.store(fuse, Ordering::SeqCst);
        }
        for _ in 0..self.random.below(9) {
            let sick = [-1, self.random.below(12) as i64][usize::from(self.random.below(3) == 0)];
            self.platter.sick.store(sick, Ordering::SeqCst);
            let group = self.group();
            let answer = store.apply(group).await;
            if self.platter.dead.load(Ordering::SeqCst) {
                self.told += u64::from(answer.is_ok());
                return;
            }
            self.told += u64::from(answer.is_ok());
            if sick >= 0 {
                settle(store).await;
                self.platter.sick.store(-1, Ordering::SeqCst);
                self.check(store).await;
            }
            assert!(answer.is_ok() || sick >= 0, "{}: {answer:?}", self.case);
            match self.random.below(8) {
                0..4 => settle(store).await,
                4 => drop(store.handle.0.folded()),
                5 => return drop(store.close()),
                _ => {}
            }
        }
    }

    /// Opens the store; is killed at it now and then.
    fn open(&self) -> RedbStore {
        let path = self.dir.path().join("zone.redb");
        self.platter.sick.store(-1, Ordering::SeqCst);
        for _ in 0..self.random.below(3) {
            let fuse = self.random.below(25) as i64;
            self.platter.fuse.store(fuse, Ordering::SeqCst);
            let openers = self.platter.openers(path.clone());
            let opened = RedbStore::open_by(path.clone(), self.options, openers);
            self.platter.dead.store(true, Ordering::SeqCst);
            drop(opened);
            self.platter.dead.store(false, Ordering::SeqCst);
        }
        self.platter.fuse.store(-1, Ordering::SeqCst);
        let openers = self.platter.openers(path.clone());
        RedbStore::open_by(path, self.options, openers)
            .unwrap_or_else(|error| panic!("{}: {error:?}", self.case))
    }

    /// Ends the process at once.
    fn kill(&self, store: RedbStore) {
        self.platter.dead.store(true, Ordering::SeqCst);
        let inner = Arc::downgrade(&store.handle.0);
        drop(store);
        while inner.strong_count() > 0 {
            std::thread::yield_now();
        }
        self.platter.dead.store(false, Ordering::SeqCst);
    }

    fn cut(&mut self) {
        let next = tempfile::tempdir().unwrap();
        self.platter.cut(self.dir.path(), next.path(), &self.random);
        self.platter = Platter::of(next.path(), self.random.below(u64::MAX));
        self.dir = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_kills_and_power_cuts_anywhere_lose_nothing() {
    for seed in 0..16 {
        let mut life = Life::new(seed);
        for round in 0..12 {
            life.case = format!("seed {seed}, round {round}");
            let store = life.open();
            life.check(&store).await;
            life.work(&store).await;
            life.kill(store);
            if life.random.below(2) == 0 {
                life.cut();
            }
        }
    }
}

/// Who has read a group may have told of it. So it is on the disk before it is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_what_a_killed_process_did_not_sync_is_synced_before_it_is_read() {
    let life = Life::new(3);
    let store = life.open();
    store.apply(group(1, 1)).await.unwrap();
    // The record is written, then the process ends.
    life.platter.fuse.store(1, Ordering::SeqCst);
    store.apply(group(2, 1)).await.unwrap_err();
    life.kill(store);
    let journal = journal_file(&life.dir.path().join("zone.redb"), 0);
    let pending = |life: &Life| life.platter.files.lock()[&journal].pending.len();
    assert_eq!(pending(&life), 1);
    life.platter.fuse.store(-1, Ordering::SeqCst);
    let path = life.dir.path().join("zone.redb");
    let openers = life.platter.openers(path.clone());
    let store = RedbStore::open_by(path, life.options, openers).unwrap();
    assert_eq!(store.last_group().await.unwrap(), Revision(2));
    assert_eq!(pending(&life), 0);
}

/// The next process may begin a journal of the same name as soon as it gets the lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s1_closing_removes_the_journal_under_the_lock_of_the_file() {
    let life = Life::new(3);
    let store = life.open();
    store.apply(group(1, 1)).await.unwrap();
    store.close().unwrap();
    assert_eq!(life.platter.files_at_close.load(Ordering::SeqCst), 1);
}

/// The journal has its space already, so groups could go on for ever: they are refused once as many
/// wait as may, and nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_that_cannot_grow_bounds_what_waits_in_memory() {
    let life = Life::new(2);
    let store = life.open();
    life.platter.full.store(true, Ordering::SeqCst);
    let next = |number: u64| {
        let op = |at: u64| Op::Put {
            key: Key::new(format!("{number}/{at}")).unwrap(),
            value: vec![1; 3000].into(),
        };
        let ops = (0..4).map(op).collect();
        let (number, fence) = (Revision(number), 1);
        WriteSet { number, fence, ops }
    };
    // The file has some room of its own at first; then 60,000 bytes are five groups.
    let mut number = 0;
    let answer = loop {
        let answer = store.apply(next(number + 1)).await;
        if answer.is_err() || number > 2000 {
            break answer;
        }
        number += 1;
    };
    assert!(matches!(answer, Err(StoreError::Full { .. })), "{answer:?}");
    for _ in 0..50 {
        let last = store.last_group().await.unwrap().0;
        assert_eq!(last, number);
        if store.apply(next(number + 1)).await.is_ok() {
            number += 1;
        }
    }
    let file = life.dir.path().join("zone.redb");
    let waiting = |open: &Open| Ok(open.waiting_bytes());
    let waiting = store.handle.0.with(waiting).unwrap();
    assert!(waiting < 300_000, "{waiting}");
    life.platter.full.store(false, Ordering::SeqCst);
    store.apply(next(number + 1)).await.unwrap();
    store.close().unwrap();
    let store = RedbStore::open(file).unwrap();
    assert_eq!(store.last_group().await.unwrap().0, number + 1);
    assert_eq!(
        everything(&store).await.len() as u64,
        (4 * (number + 1)).min(1000)
    );
}
