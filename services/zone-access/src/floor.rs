//! The time floor: a clock set back does not revive what has expired (attack 11).
//!
//! The latest time that was seen is kept in memory for the life of the process, also while the
//! zone is sealed, and in the store, at most once a minute. A crash can therefore lower the floor
//! by one minute at most.

use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};
use zone_barrier::{Barrier, Batch};
use zone_ports::{Clock, Key};
use zone_types::Timestamp;

use crate::AccessError;
use crate::record::{V1, decode};

const KEY: &str = "core/access/time-floor";
const PERSIST_EVERY_NANOS: i64 = 60 * 1_000_000_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: V1,
    nanos: i64,
}

#[derive(Default)]
pub(crate) struct TimeFloor {
    seen: AtomicI64,
    stored: AtomicI64,
}

impl TimeFloor {
    /// Raises the floor to the stored one.
    pub(crate) async fn load(&self, barrier: &Barrier) -> Result<(), AccessError> {
        let nanos = match barrier.get(&Key::new(KEY)?).await? {
            Some(plain) => decode::<Record>(&plain)?.nanos,
            None => 0,
        };
        self.seen.fetch_max(nanos, Ordering::Relaxed);
        self.stored.store(nanos, Ordering::Relaxed);
        Ok(())
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
        let record = serde_json::to_vec(&Record { v: V1, nanos: seen })?;
        barrier
            .commit(Batch::new().put(Key::new(KEY)?, record))
            .await?;
        self.stored.store(seen, Ordering::Relaxed);
        Ok(())
    }
}
