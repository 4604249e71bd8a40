//! The time floor: a clock set back does not revive what has expired (attack 11).
//!
//! The latest time that was seen is kept in memory and, at most once a minute, in the store. A
//! crash can therefore lower the floor by one minute at most.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use zone_barrier::{Barrier, Batch};
use zone_ports::{Clock, Key};
use zone_types::Timestamp;

use crate::AccessError;

const KEY: &str = "core/access/time-floor";
const PERSIST_EVERY_NANOS: i64 = 60 * 1_000_000_000;

#[derive(Serialize, Deserialize)]
struct Record {
    v: u8,
    nanos: i64,
}

pub(crate) struct TimeFloor {
    seen: AtomicI64,
    stored: AtomicI64,
}

impl TimeFloor {
    pub(crate) async fn load(barrier: &Barrier) -> Result<Self, AccessError> {
        let nanos = match barrier.get(&Key::new(KEY)?).await? {
            Some(plain) => serde_json::from_slice::<Record>(&plain.value)?.nanos,
            None => 0,
        };
        Ok(Self {
            seen: AtomicI64::new(nanos),
            stored: AtomicI64::new(nanos),
        })
    }

    pub(crate) fn now(&self, clock: &dyn Clock) -> Timestamp {
        let now = clock.now().nanos();
        let before = self.seen.fetch_max(now, Ordering::Relaxed);
        Timestamp::from_nanos(before.max(now))
    }

    /// Stores the floor if it rose by a minute or more since it was last stored.
    pub(crate) async fn persist(&self, barrier: &Barrier) -> Result<(), AccessError> {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen.saturating_sub(self.stored.load(Ordering::Relaxed)) < PERSIST_EVERY_NANOS {
            return Ok(());
        }
        let record = serde_json::to_vec(&Record { v: 1, nanos: seen })?;
        barrier
            .commit(Batch::new().put(Key::new(KEY)?, record))
            .await?;
        self.stored.store(seen, Ordering::Relaxed);
        Ok(())
    }
}
