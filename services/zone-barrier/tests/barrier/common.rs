//! What the barrier's tests stand on: a store in memory that can stop dead at any write and that
//! remembers everything it was given, keys that are counted, repeatable randomness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use zone_barrier::commit::Committer;
use zone_barrier::{Approval, Barrier, InitAsk, Quorum, Rekey};
use zone_ports::store::{GroupLimit, Op, Revision, Versioned, WriteSet};
use zone_ports::{
    Key, KeyRange, LockedBytes, MemoryError, Random, SecretMemory, Store, StoreError,
};
use zone_types::Timestamp;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

/// What survives a crash.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) records: BTreeMap<Vec<u8>, Versioned>,
    group: u64,
    /// Every record ever written, also those that were replaced.
    pub(crate) history: Vec<(Vec<u8>, Bytes)>,
}

/// Where a process dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut {
    /// The n-th write (from 1) never reaches the disk.
    Before(usize),
    /// The n-th write does, but nobody hears of it.
    After(usize),
}

/// One process's view of a disk.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) disk: Arc<Mutex<Disk>>,
    cut: Option<Cut>,
    writes: AtomicUsize,
    pub(crate) reads: AtomicUsize,
    /// Reads get no answer.
    pub(crate) away: AtomicBool,
    dead: tokio::sync::Notify,
    /// Writes from this one on wait until it is taken away.
    pub(crate) hold: tokio::sync::watch::Sender<Option<usize>>,
}

impl Probe {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::default(), None)
    }

    pub(crate) fn over(disk: Arc<Mutex<Disk>>, cut: Option<Cut>) -> Arc<Self> {
        let (writes, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (dead, hold) = (
            tokio::sync::Notify::new(),
            tokio::sync::watch::Sender::new(None),
        );
        Arc::new(Self {
            disk,
            cut,
            writes,
            reads,
            away: AtomicBool::new(false),
            dead,
            hold,
        })
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// The same disk after a restart.
    pub(crate) fn restart(&self) -> Arc<Self> {
        Self::over(self.disk.clone(), None)
    }

    /// Comes back when the process has died.
    pub(crate) async fn death(&self) {
        self.dead.notified().await;
    }

    /// The raw record of `key`.
    pub(crate) fn raw(&self, key: &str) -> Option<Bytes> {
        self.disk
            .lock()
            .records
            .get(key.as_bytes())
            .map(|found| found.value.clone())
    }

    /// Puts a raw record behind the barrier's back.
    pub(crate) fn forge(&self, key: &str, value: &[u8]) {
        let mut disk = self.disk.lock();
        let revision = Revision(disk.group);
        let value = Bytes::copy_from_slice(value);
        disk.records
            .insert(key.as_bytes().to_vec(), Versioned { value, revision });
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let disk = self.disk.lock();
        let text = |key: &Vec<u8>| String::from_utf8_lossy(key).into_owned();
        disk.records
            .keys()
            .map(text)
            .filter(|key| key.starts_with(prefix))
            .collect()
    }

    fn answers(&self) -> Result<(), StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.away.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(StoreError::Unavailable {
                backend: "probe",
                source: "it is away".into(),
            }),
        }
    }

    async fn die(&self) -> ! {
        self.dead.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Store for Probe {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.answers()?;
        Ok(self.disk.lock().records.get(key.as_bytes()).cloned())
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        self.answers()?;
        let disk = self.disk.lock();
        let inside = |key: &[u8]| range.end.as_ref().is_none_or(|end| key < end.as_ref());
        let from = disk.records.range(range.start.to_vec()..);
        let pairs = from.take_while(|(key, _)| inside(key)).take(limit);
        Ok(pairs
            .map(|(key, found)| (Key::new(key.clone()).unwrap(), found.clone()))
            .collect())
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let free = |hold: &Option<usize>| hold.is_none_or(|at| write < at);
        self.hold.subscribe().wait_for(free).await.unwrap();
        if matches!(self.cut, Some(Cut::Before(at)) if write >= at) {
            self.die().await;
        }
        {
            let mut disk = self.disk.lock();
            if group.number.0 != disk.group + 1 {
                return Err(StoreError::Fenced);
            }
            disk.group += 1;
            for op in group.ops {
                match op {
                    Op::Put { key, value } => {
                        disk.history.push((key.as_bytes().to_vec(), value.clone()));
                        let found = Versioned {
                            value,
                            revision: group.number,
                        };
                        disk.records.insert(key.as_bytes().to_vec(), found);
                    }
                    Op::Delete { key } => {
                        disk.records.remove(key.as_bytes());
                    }
                }
            }
        }
        if matches!(self.cut, Some(Cut::After(at)) if write >= at) {
            self.die().await;
        }
        Ok(())
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        Ok(Revision(self.disk.lock().group))
    }

    async fn snapshot(&self, _target: &std::path::Path) -> Result<Revision, StoreError> {
        unreachable!("the barrier takes no snapshot")
    }

    fn group_limit(&self) -> GroupLimit {
        GroupLimit {
            ops: 1000,
            bytes: 4 * 1024 * 1024,
        }
    }

    fn kind(&self) -> &'static str {
        "probe"
    }
}

/// Counts the keys that are held, and wipes those that are dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted(pub(crate) Arc<AtomicUsize>);

struct CountedKey([u8; 32], Arc<AtomicUsize>);

impl SecretMemory for Counted {
    fn lock(&self, key: &mut [u8; 32]) -> Result<Box<dyn LockedBytes>, MemoryError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(CountedKey(std::mem::take(key), self.0.clone())))
    }
}

impl LockedBytes for CountedKey {
    fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for CountedKey {
    fn drop(&mut self) {
        self.0 = [0; 32];
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The same bytes for the same seed.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed << 32))
    }
}

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let mut state = self.0.lock();
            *state += 1;
            let block = zone_crypto::sha256(&state.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// A barrier over `probe`, as a process that has just started has it.
pub(crate) async fn start(probe: &Arc<Probe>, seed: u64) -> Barrier {
    start_with(probe, seed, Counted::default()).await
}

pub(crate) async fn start_with(probe: &Arc<Probe>, seed: u64, memory: Counted) -> Barrier {
    let committer = Committer::open(probe.clone() as Arc<dyn Store>)
        .await
        .unwrap();
    Barrier::new(committer, Arc::new(Seeded::new(seed)), Arc::new(memory))
}

pub(crate) type Shares = Vec<Vec<u8>>;

/// A zone that is initialised and open.
pub(crate) async fn init(barrier: &Barrier, shares: u8, threshold: u8) -> Shares {
    let prepared = barrier
        .init_prepare(InitAsk { shares, threshold }, NOW)
        .await
        .unwrap();
    let shares = prepared
        .shares
        .iter()
        .map(|share| share.expose().clone())
        .collect();
    barrier.init_finish().await.unwrap();
    shares
}

/// A new zone of one share, open.
pub(crate) async fn zone() -> (Arc<Probe>, Barrier, Shares) {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let shares = init(&barrier, 1, 1).await;
    (probe, barrier, shares)
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text.to_owned()).unwrap()
}

pub(crate) async fn unseal(barrier: &Barrier, shares: &[Vec<u8>]) {
    for share in shares {
        barrier.unseal_share(share, "test", NOW).await.unwrap();
    }
    assert!(!barrier.is_sealed());
}

/// What a threshold of `shares` allows.
pub(crate) async fn approved(barrier: &Barrier, shares: &[Vec<u8>]) -> Approval {
    let mut quorum = Quorum::default();
    for share in shares {
        if let Some(approval) = barrier.approve(&mut quorum, share).await.unwrap() {
            return approval;
        }
    }
    panic!("{} shares are too few", shares.len());
}

/// New shares that do not count yet.
pub(crate) async fn rekey(barrier: &Barrier, held: &[Vec<u8>], shares: u8, threshold: u8) -> Rekey {
    let approval = approved(barrier, held).await;
    let ask = InitAsk { shares, threshold };
    barrier.rekey_prepare(ask, approval).await.unwrap()
}

/// The bytes of the new shares.
pub(crate) fn shares_of(rekey: &Rekey) -> Shares {
    let bytes = rekey.shares.iter().map(|share| share.expose().clone());
    bytes.collect()
}
