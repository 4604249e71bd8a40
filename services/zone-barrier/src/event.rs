//! Events: what a batch tells of itself, written with it.
//!
//! ```text
//! Batch::announce ─▶ a record below core/event/, in the same batch ─▶ commit log ─▶ Events
//! ```
//!
//! The commit log says which keys a group touched and nothing else. So whoever changes something
//! that others may want to hear of writes what there is to tell in the same batch: what is told is
//! exactly what was committed, in its order, on each store alike
//! (`docs/decisions/0005-events.md`). The records are a ring of [`EVENT_SLOTS`]: nothing has to be
//! removed, and whoever reads too late finds another group's record and knows that it missed one.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use zeroize::Zeroizing;
use zone_ports::Key;
use zone_ports::store::Revision;

use crate::barrier::{Barrier, BarrierError};
use crate::commit::{Watch, WatchEvent};

/// Where the records are.
pub(crate) const EVENTS: &[u8] = b"core/event/";
/// How many records there are at most.
pub const EVENT_SLOTS: u64 = 4096;

/// Tells what was announced from now on, in the order of the groups.
#[derive(Debug)]
pub struct Events {
    barrier: Barrier,
    watch: Watch,
    /// Records of a group that were not read yet.
    pending: VecDeque<(Key, Revision)>,
}

/// What [`Events::next`] says.
#[derive(Debug)]
pub enum Told {
    /// One announcement, as it was written.
    Event(Zeroizing<Vec<u8>>),
    /// One or more were missed: their records are overwritten, or the commit log went on too far.
    Missed,
}

impl Barrier {
    /// Tells of every announcement from now on. Costs nothing while nobody calls `next`; the
    /// memory that a slow reader takes is bounded.
    pub fn events(&self) -> Events {
        Events {
            barrier: self.clone(),
            watch: self.watch(EVENTS),
            pending: VecDeque::new(),
        }
    }

    /// The next slot of the ring.
    pub(crate) fn event_key(&self) -> Key {
        let slot = self.inner.events.fetch_add(1, Ordering::Relaxed) % EVENT_SLOTS;
        let key = [EVENTS, format!("{slot:04x}").as_bytes()].concat();
        Key::new(key).expect("15 bytes")
    }
}

impl Events {
    /// The next announcement; `None` once nothing is written any more. May be cancelled without
    /// loss.
    ///
    /// # Errors
    ///
    /// The record cannot be read: the zone is sealed, or the store failed.
    pub async fn next(&mut self) -> Result<Option<Told>, BarrierError> {
        while self.pending.is_empty() {
            match self.watch.next().await {
                None => return Ok(None),
                Some(WatchEvent::Resync) => return Ok(Some(Told::Missed)),
                Some(WatchEvent::Changed { revision, keys }) => {
                    self.pending
                        .extend(keys.into_iter().map(|key| (key, revision)));
                }
            }
        }
        let Some((key, revision)) = self.pending.front() else {
            return Ok(None);
        };
        let found = self.barrier.get(key).await?;
        let revision = *revision;
        self.pending.pop_front();
        Ok(Some(match found {
            Some(plain) if plain.revision == revision => Told::Event(plain.value),
            _ => Told::Missed,
        }))
    }
}
