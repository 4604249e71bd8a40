//! The engine of the histories: it gives out numbers as leases, and takes them back unless it is
//! away. It is the world outside: it goes on when the process is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;
use zone_access::{EndedLease, LeaseTarget, Mount, TargetFault};
use zone_testkit::MemStore;

/// What was asked of it, by the number that a lease stands for.
#[derive(Debug, Default)]
pub struct Engine {
    away: AtomicBool,
    asked: Mutex<BTreeMap<u64, u32>>,
    taken: Mutex<BTreeSet<u64>>,
}

impl Engine {
    /// Whether it answers with a fault.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Goes away, or comes back.
    pub fn go_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// How often it was asked to take that number back.
    pub fn asked(&self, number: u64) -> u32 {
        self.asked.lock().get(&number).copied().unwrap_or(0)
    }

    /// Whether it took that number back.
    pub fn took(&self, number: u64) -> bool {
        self.taken.lock().contains(&number)
    }

    fn end(&self, number: u64) -> Result<(), TargetFault> {
        *self.asked.lock().entry(number).or_default() += 1;
        if self.is_away() {
            return Err(TargetFault("the engine is away".into()));
        }
        self.taken.lock().insert(number);
        Ok(())
    }
}

/// The way of one process to the engine. It lets one lease through after the other: which of many
/// commits share a group is up to the threads, and a seed has to replay.
pub struct Door {
    engine: Arc<Engine>,
    store: MemStore,
    /// Groups that were sent when the one before got its answer.
    before: Turn<Option<u64>>,
}

impl Door {
    /// For the process over `store`.
    pub fn new(engine: Arc<Engine>, store: MemStore) -> Self {
        let before = Turn::new(None);
        Self {
            engine,
            store,
            before,
        }
    }

    /// A new step begins: nobody is under way.
    pub async fn begin(&self) {
        *self.before.lock().await = None;
    }
}

#[async_trait]
impl LeaseTarget for Door {
    async fn end(&self, _mount: &Mount, lease: &EndedLease) -> Result<(), TargetFault> {
        let mut before = self.before.lock().await;
        // Each answer is followed by one commit.
        while *before == Some(self.store.applies()) {
            tokio::task::yield_now().await;
        }
        *before = Some(self.store.applies());
        let number = lease.data.parse();
        self.engine
            .end(number.map_err(|_| TargetFault("no number".into()))?)
    }
}
