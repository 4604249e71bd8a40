//! A store in memory that fails where it is told to.
//!
//! What it holds counts as being on stable storage: `apply` has nothing between "not there" and
//! "durable". So a cut before a write and one before its sync leave the same image; a cut after
//! the sync leaves the group, and nobody hears of it. Tests sweep both at every apply.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use zone_ports::store::{GroupLimit, Op, Revision, Versioned, WriteSet};
use zone_ports::{Key, KeyRange, Store, StoreError};

/// What goes wrong with one apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written; the answer is [`StoreError::Full`].
    Full,
    /// Nothing is written; the answer is [`StoreError::Unavailable`].
    Lost,
    /// The group is written; the answer is [`StoreError::Unavailable`].
    AnswerLost,
    /// Another writer applies a group of its own with a higher fence just before: the answer is
    /// [`StoreError::Fenced`].
    Overtaken,
    /// As [`Fault::Overtaken`], and the answer is lost too.
    OvertakenUnheard,
    /// The group is written, another writer's behind it, and the answer is lost.
    AnswerLostThenOvertaken,
    /// Nothing is written; the answer is [`StoreError::Corrupt`].
    Corrupt,
    /// Power goes before the group is durable: no call is ever answered again.
    CrashBefore,
    /// Power goes when the group is durable, before the answer: no call is ever answered again.
    CrashAfter,
    /// Power goes when the first half of the group is durable. No store may do that (S1): it shows
    /// that a test would notice.
    Torn,
}

/// A store in memory. A clone is the same store.
#[derive(Clone, Debug)]
pub struct MemStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: GroupLimit,
    state: Mutex<State>,
    died: Notify,
    /// An apply has come and is held.
    arrived: Notify,
    /// `last_group` was asked and did not answer.
    in_vain: Notify,
    /// Applies wait while it is true.
    held: watch::Sender<bool>,
    /// Calls of a dead store wait until it is true.
    buried: watch::Sender<bool>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
struct Image {
    records: BTreeMap<Bytes, Versioned>,
    last: Revision,
    fence: u64,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    /// Groups that were sent, faulty ones too.
    applies: u64,
    /// Single reads that were asked for.
    gets: u64,
    faults: BTreeMap<u64, Fault>,
    /// Calls of `last_group` that fail from now on.
    deaf: u32,
    dead: bool,
    /// Most operations and most bytes of a group so far.
    largest: (usize, usize),
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_limit(GroupLimit {
            ops: 4096,
            bytes: 8 * 1024 * 1024,
        })
    }

    /// An empty store whose groups hold no more than `limit`.
    pub fn with_limit(limit: GroupLimit) -> Self {
        Self::over(Image::default(), limit)
    }

    fn over(image: Image, limit: GroupLimit) -> Self {
        let state = Mutex::new(State {
            image,
            ..State::default()
        });
        let held = watch::Sender::new(false);
        let buried = watch::Sender::new(false);
        Self {
            inner: Arc::new(Inner {
                limit,
                state,
                died: Notify::new(),
                arrived: Notify::new(),
                in_vain: Notify::new(),
                held,
                buried,
            }),
        }
    }

    /// The `nth` apply from now (1: the next one) goes wrong.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        let mut state = self.inner.state.lock();
        let at = state.applies + nth;
        state.faults.insert(at, fault);
    }

    /// The next `count` calls of [`Store::last_group`] answer [`StoreError::Unavailable`].
    pub fn fail_last_group(&self, count: u32) {
        self.inner.state.lock().deaf = count;
    }

    /// Applies wait from now on, until [`MemStore::release`].
    pub fn hold(&self) {
        self.inner.held.send_replace(true);
    }

    /// Comes back when an apply has come that is held.
    pub async fn arrived(&self) {
        self.inner.arrived.notified().await;
    }

    /// Comes back when `last_group` has failed since the last time.
    pub async fn asked_in_vain(&self) {
        self.inner.in_vain.notified().await;
    }

    /// Applies go on.
    pub fn release(&self) {
        self.inner.held.send_replace(false);
    }

    /// Groups that were sent so far, faulty ones too.
    pub fn applies(&self) -> u64 {
        self.inner.state.lock().applies
    }

    /// Single reads so far.
    pub fn gets(&self) -> u64 {
        self.inner.state.lock().gets
    }

    /// The most operations and the most bytes of keys and values that a group had so far.
    pub fn largest_group(&self) -> (usize, usize) {
        self.inner.state.lock().largest
    }

    /// Comes back when the power has gone.
    pub async fn died(&self) {
        let died = self.inner.died.notified();
        if !self.inner.state.lock().dead {
            died.await;
        }
    }

    /// A new store with what was durable, as after a restart.
    #[must_use]
    pub fn crash_image(&self) -> Self {
        Self::over(self.inner.state.lock().image.clone(), self.inner.limit)
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<Key> {
        let state = self.inner.state.lock();
        let key = |bytes: &Bytes| Key::new(bytes.clone()).expect("it was a key when it came");
        state.image.records.keys().map(key).collect()
    }

    /// Replaces a value behind everybody's back, as an attacker with the file would.
    pub fn forge(&self, key: &Key, value: impl Into<Bytes>) {
        let mut state = self.inner.state.lock();
        let revision = state.image.last;
        let forged = Versioned {
            value: value.into(),
            revision,
        };
        state
            .image
            .records
            .insert(Bytes::copy_from_slice(key.as_bytes()), forged);
    }

    /// Has the calls fail that wait since the power went, so that the threads behind them end. For
    /// a test that crashes thousands of times and looks at none of their answers any more.
    pub fn bury(&self) {
        self.inner.state.lock().dead = true;
        self.inner.buried.send_replace(true);
    }

    /// Whether a call may answer; waits for the burial once the power has gone.
    async fn alive(&self) -> Result<(), StoreError> {
        let dead = self.inner.state.lock().dead;
        if dead {
            return Err(self.buried().await);
        }
        Ok(())
    }

    async fn die(&self) -> StoreError {
        self.inner.state.lock().dead = true;
        self.inner.died.notify_waiters();
        self.buried().await
    }

    async fn buried(&self) -> StoreError {
        let mut buried = self.inner.buried.subscribe();
        // The store outlives its calls.
        let _ = buried.wait_for(|buried| *buried).await;
        StoreError::Fenced
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    fn apply(&mut self, group: WriteSet) -> Result<(), StoreError> {
        if group.number.0 != self.last.0 + 1 || group.fence < self.fence {
            return Err(StoreError::Fenced);
        }
        self.last = group.number;
        self.fence = group.fence;
        for op in group.ops {
            let key = Bytes::copy_from_slice(op.key().as_bytes());
            match op {
                Op::Put { value, .. } => {
                    self.records.insert(
                        key,
                        Versioned {
                            value,
                            revision: self.last,
                        },
                    );
                }
                Op::Delete { .. } => {
                    self.records.remove(&key);
                }
            }
        }
        Ok(())
    }

    /// Another writer's empty group.
    fn overtake(&mut self) {
        self.last.0 += 1;
        self.fence += 1;
    }
}

#[async_trait]
impl Store for MemStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.alive().await?;
        let mut state = self.inner.state.lock();
        state.gets += 1;
        Ok(state.image.records.get(key.as_bytes()).cloned())
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        self.alive().await?;
        let state = self.inner.state.lock();
        let inside = |key: &Bytes| range.end.as_ref().is_none_or(|end| key < end);
        let from = state.image.records.range(range.start.clone()..);
        let found = from
            .take_while(|(key, _)| inside(key))
            .take(limit.min(1000));
        let pair = |(key, found): (&Bytes, &Versioned)| {
            (
                Key::new(key.clone()).expect("it was a key when it came"),
                found.clone(),
            )
        };
        Ok(found.map(pair).collect())
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        if *self.inner.held.borrow() {
            self.inner.arrived.notify_one();
        }
        let released = self
            .inner
            .held
            .subscribe()
            .wait_for(|held| !held)
            .await
            .is_ok();
        assert!(released, "the store outlives its calls");
        self.alive().await?;
        let outcome = {
            let mut state = self.inner.state.lock();
            state.applies += 1;
            let (ops, bytes) = state.largest;
            let size = group.ops.iter().map(size).sum();
            state.largest = (ops.max(group.ops.len()), bytes.max(size));
            let applies = state.applies;
            let fault = state.faults.remove(&applies);
            fail(&mut state.image, group, fault)
        };
        match outcome {
            Some(answer) => answer,
            None => Err(self.die().await),
        }
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        self.alive().await?;
        let mut state = self.inner.state.lock();
        if state.deaf > 0 {
            state.deaf -= 1;
            self.inner.in_vain.notify_one();
            return Err(unavailable());
        }
        Ok(state.image.last)
    }

    /// The copy is a file of a form of its own, only for [`MemStore::load`].
    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        self.alive().await?;
        let image = self.inner.state.lock().image.clone();
        write_new(target, &image.encode()).map_err(|error| StoreError::Unavailable {
            backend: "memory",
            source: Box::new(error),
        })?;
        Ok(image.last)
    }

    fn group_limit(&self) -> GroupLimit {
        self.inner.limit
    }

    fn kind(&self) -> &'static str {
        "memory"
    }
}

/// Applies `group` with `fault`. `None`: the power goes.
fn fail(
    image: &mut Image,
    group: WriteSet,
    fault: Option<Fault>,
) -> Option<Result<(), StoreError>> {
    let cause = || "a fault was asked for".into();
    Some(match fault {
        None => image.apply(group),
        Some(Fault::Full) => Err(StoreError::Full {
            backend: "memory",
            source: cause(),
        }),
        Some(Fault::Corrupt) => Err(StoreError::Corrupt {
            backend: "memory",
            source: cause(),
        }),
        Some(Fault::Lost) => Err(unavailable()),
        Some(Fault::AnswerLost) => image.apply(group).and(Err(unavailable())),
        Some(Fault::Overtaken) => {
            image.overtake();
            image.apply(group)
        }
        Some(Fault::OvertakenUnheard) => {
            image.overtake();
            Err(unavailable())
        }
        Some(Fault::AnswerLostThenOvertaken) => {
            let applied = image.apply(group);
            image.overtake();
            applied.and(Err(unavailable()))
        }
        Some(Fault::CrashBefore) => return None,
        Some(Fault::CrashAfter) => return image.apply(group).err().map(Err),
        Some(Fault::Torn) => {
            let mut half = group;
            half.ops.truncate(half.ops.len() / 2);
            return image.apply(half).err().map(Err);
        }
    })
}

fn size(op: &Op) -> usize {
    let value = match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    };
    op.key().as_bytes().len() + value
}

fn write_new(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(target)?
        .write_all(bytes)
}

fn unavailable() -> StoreError {
    StoreError::Unavailable {
        backend: "memory",
        source: "a fault was asked for".into(),
    }
}

impl MemStore {
    /// Opens what [`Store::snapshot`] wrote.
    pub fn load(path: &Path) -> std::io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let image = Image::decode(&bytes)
            .ok_or_else(|| std::io::Error::other("not a copy of a store in memory"))?;
        Ok(Self::over(image, Self::new().inner.limit))
    }
}

impl Image {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.last.0.to_be_bytes());
        out.extend(self.fence.to_be_bytes());
        for (key, found) in &self.records {
            for part in [&key[..], &found.revision.0.to_be_bytes(), &found.value] {
                out.extend((part.len() as u64).to_be_bytes());
                out.extend(part);
            }
        }
        out
    }

    fn decode(mut rest: &[u8]) -> Option<Self> {
        let number = |rest: &mut &[u8]| {
            rest.split_off(..8)
                .map(|bytes| u64::from_be_bytes(bytes.try_into().expect("8 bytes")))
        };
        let part = |rest: &mut &[u8]| {
            let length = usize::try_from(number(rest)?).ok()?;
            rest.split_off(..length).map(Bytes::copy_from_slice)
        };
        let last = Revision(number(&mut rest)?);
        let mut image = Self {
            last,
            fence: number(&mut rest)?,
            records: BTreeMap::new(),
        };
        while !rest.is_empty() {
            let key = part(&mut rest)?;
            let revision = u64::from_be_bytes(part(&mut rest)?.as_ref().try_into().ok()?);
            let value = part(&mut rest)?;
            image.records.insert(
                key,
                Versioned {
                    value,
                    revision: Revision(revision),
                },
            );
        }
        Some(image)
    }
}
