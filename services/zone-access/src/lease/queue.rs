//! What has ended and is still to be taken back: a queue in the store.
//!
//! Ending a lease is one batch: its record says so from then on, its entries by time and by token
//! go, and one in the queue comes, `core/lease-queue/<due, 16 hex digits>/<uid>`. The engine is
//! asked when it is due; then the record goes. Each failure makes the lease due again later, at
//! twice the distance up to an hour, forever: what was given out is never forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use zone_barrier::Batch;
use zone_ports::{Key, KeyRange, random};
use zone_types::Timestamp;

use super::{AT, EndedLease, Ending, Found, LeaseRecord, OF_TOKEN, TargetFault, Uid};
use crate::record::MARK;
use crate::token::TokenId;
use crate::token::tree::STEP;
use crate::{Access, AccessError, OpenState};

pub(super) const QUEUE: &str = "core/lease-queue/";
/// Leases that one round takes up.
const ROUND: usize = 128;
/// Leases of one round that are with their engines at the same time.
const AT_ONCE: usize = 16;
/// Failures after which a lease counts as irrevocable: it is still tried, but somebody has to look.
pub(super) const IRREVOCABLE: u32 = 6;
/// How long after its first failure a lease is due again, in seconds.
const FIRST: u64 = 10;
/// The longest distance between two tries, in seconds.
const LAST: u64 = 3600;
/// Longest words of an engine that are kept.
const WORDS: usize = 300;

impl Access {
    /// Ends one lease that is as it was read; whether it was, or had ended before.
    pub(super) async fn end_lease(
        &self,
        state: &Arc<OpenState>,
        found: &Found,
        force: bool,
    ) -> Result<bool, AccessError> {
        let batch = self.lease_ending(state, Batch::new(), found, force)?;
        if batch.changes.is_empty() {
            return Ok(true);
        }
        self.changed(state, batch).await
    }

    /// Adds the end of a lease: four operations. Nothing if it has ended.
    pub(super) fn lease_ending(
        &self,
        state: &OpenState,
        batch: Batch,
        found: &Found,
        force: bool,
    ) -> Result<Batch, AccessError> {
        let uid = &found.uid;
        if let Some(ending) = &found.record.ending
            && (ending.force || !force)
        {
            return Ok(batch);
        }
        let now = self.instant();
        let mut record = found.record.clone();
        let due = Timestamp::from_secs(now.secs());
        let mut batch = batch.require(uid.key()?, Some(found.revision));
        match &mut record.ending {
            Some(ending) => {
                batch = batch.delete(queue_key(ending.due, uid)?);
                (ending.due, ending.force) = (due, true);
            }
            None => {
                batch = batch.delete(record.expiry_key(uid)?);
                if let Some(token) = &record.token {
                    batch = batch.delete(state.token_lease_key(token, uid)?);
                }
                record.ending = Some(Ending {
                    since: now.min(record.expire_time),
                    due,
                    attempts: 0,
                    force,
                    error: String::new(),
                });
            }
        }
        Ok(batch
            .put(uid.key()?, serde_json::to_vec(&record)?)
            .put(queue_key(due, uid)?, MARK))
    }

    /// The ends of the lease that an entry of the expiry index is about, if it bears that out.
    pub(crate) async fn lease_due(
        &self,
        state: &OpenState,
        entry: &Key,
        now: Timestamp,
        batch: Batch,
    ) -> Result<Batch, AccessError> {
        let found = match Uid::of_key(entry) {
            Some(uid) => self.read_lease(&uid).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(found)) if is_due(&found, entry, now) => {
                self.lease_ending(state, batch, &found, false)
            }
            // Renewed meanwhile, or gone: only the entry is left over.
            Ok(_) => Ok(batch.delete(entry.clone())),
            Err(AccessError::Corrupt) => {
                tracing::error!("a lease that is due is corrupt and is left alone");
                Ok(batch)
            }
            Err(other) => Err(other),
        }
    }

    /// One step for a token that has ended: ends a few of its leases. `None` if it has
    /// none; none can come any more, because that takes the token's record.
    pub(crate) async fn end_leases_of_token(
        &self,
        state: &OpenState,
        token: &TokenId,
        mut batch: Batch,
    ) -> Result<Option<Batch>, AccessError> {
        let mut prefix = state.tokens.mount().prefix(OF_TOKEN);
        prefix.extend_from_slice(token.as_str().as_bytes());
        prefix.push(b'/');
        let range = KeyRange::prefix(prefix);
        let keys = self.barrier.scan_keys(&range, STEP).await?;
        if keys.is_empty() {
            return Ok(None);
        }
        for key in keys {
            let found = self.lease_at(&key).await?;
            batch = match found.filter(|found| found.record.ending.is_none()) {
                Some(found) => self.lease_ending(state, batch, &found, false)?,
                None => batch.delete(key),
            };
        }
        Ok(Some(batch))
    }

    /// Removes a few leases of a mount that was removed, without its engine: what they stood for
    /// has gone with it. `place` is `ns-id/mount-id`. `true` if there were any.
    pub(crate) async fn drop_leases_of(
        &self,
        state: &Arc<OpenState>,
        place: &[u8],
    ) -> Result<bool, AccessError> {
        let range = KeyRange::prefix([place, format!("/{AT}/").as_bytes()].concat());
        let keys = self.barrier.scan_keys(&range, STEP).await?;
        let mut batch = Batch::new();
        for key in &keys {
            batch = batch.delete(key.clone());
            if let Some(found) = self.lease_at(key).await? {
                batch = self.without(state, batch, &found)?;
            }
        }
        if keys.is_empty() {
            return Ok(false);
        }
        self.changed(state, batch).await?;
        Ok(true)
    }

    /// Adds the removal of a lease's record and of its entries by time, token and in the queue.
    fn without(
        &self,
        state: &OpenState,
        batch: Batch,
        found: &Found,
    ) -> Result<Batch, AccessError> {
        let (uid, record) = (&found.uid, &found.record);
        let batch = batch
            .require(uid.key()?, Some(found.revision))
            .delete(uid.key()?);
        if let Some(ending) = &record.ending {
            return Ok(batch.delete(queue_key(ending.due, uid)?));
        }
        let batch = batch.delete(record.expiry_key(uid)?);
        Ok(match &record.token {
            Some(token) => batch.delete(state.token_lease_key(token, uid)?),
            None => batch,
        })
    }

    /// Asks the engines to take back what is due; `true` if something was done, so that there
    /// may be more.
    pub(crate) async fn sweep_leases(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let now = u64::try_from(self.instant().secs()).unwrap_or(0);
        let range = KeyRange {
            start: QUEUE.into(),
            end: Some(format!("{QUEUE}{:016x}", now.saturating_add(1)).into()),
        };
        let due = self.barrier.scan_keys(&range, ROUND).await?;
        let mut tasks = JoinSet::new();
        let mut all = Ok(false);
        for key in due {
            if tasks.len() >= AT_ONCE
                && let Some(done) = tasks.join_next().await
            {
                all = both(all, joined(done));
            }
            let (access, state) = (self.clone(), state.clone());
            tasks.spawn(async move { access.take_up(&state, key).await });
        }
        while let Some(done) = tasks.join_next().await {
            all = both(all, joined(done));
        }
        all
    }

    /// Whether something was done about the entry.
    async fn take_up(&self, state: &Arc<OpenState>, entry: Key) -> Result<bool, AccessError> {
        let found = match Uid::of_key(&entry) {
            Some(uid) => self.read_lease(&uid).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(found)) if is_for(&found, &entry) => {
                // Without its mount it waits for the removal of that.
                let stands = state.mounts.by_id(&found.record.mount).is_some();
                self.ask_engine(state, found).await.map(|_| stands)
            }
            Ok(found) => self.drop_entry(state, entry, found).await,
            Err(AccessError::Corrupt) => {
                tracing::error!("a lease that has ended is corrupt and is left alone");
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    /// Removes an entry of the queue that its lease, as it was read, does not bear out.
    async fn drop_entry(
        &self,
        state: &Arc<OpenState>,
        entry: Key,
        found: Option<Found>,
    ) -> Result<bool, AccessError> {
        let mut batch = Batch::new().delete(entry.clone());
        if let Some(uid) = Uid::of_key(&entry) {
            batch = batch.require(uid.key()?, found.map(|found| found.revision));
        }
        self.changed(state, batch).await
    }

    /// Asks the engine of an ended lease at once.
    pub(super) async fn end_now(
        &self,
        state: &Arc<OpenState>,
        uid: &Uid,
    ) -> Result<(), AccessError> {
        let Some(found) = self.read_lease(uid).await? else {
            return Ok(());
        };
        match self.ask_engine(state, found).await? {
            Ok(()) => Ok(()),
            Err(fault) => Err(AccessError::Invalid(format!(
                "the lease has ended, but its engine could not take back what it stands for and \
                 is asked again: {fault}"
            ))),
        }
    }

    /// The engine's answer; the record says what became of it.
    async fn ask_engine(
        &self,
        state: &Arc<OpenState>,
        found: Found,
    ) -> Result<Result<(), TargetFault>, AccessError> {
        let Some(ending) = &found.record.ending else {
            return Ok(Ok(()));
        };
        let Some(mount) = state.mounts.by_id(&found.record.mount) else {
            // Its own removal takes care of it.
            return Ok(Ok(()));
        };
        let answer = match self.lease_target(mount.kind) {
            Some(target) => target.end(&mount, &ended(&found.record, ending)).await,
            None => Err(TargetFault(
                "no engine takes leases of this kind back".into(),
            )),
        };
        let batch = match &answer {
            Err(fault) if !ending.force => self.put_off(&found, ending, fault)?,
            other => {
                if other.is_err() {
                    let lease = found.record.shown(&found.uid).id;
                    tracing::warn!(lease, "let go by force: its engine could not take it back");
                }
                let batch = self.without(state, Batch::new(), &found)?;
                batch.delete(found.record.at_key(&mount, &found.uid)?)
            }
        };
        // If somebody else was faster, he goes on with it.
        self.changed(state, batch).await?;
        Ok(answer)
    }

    /// Makes a lease due again later.
    fn put_off(
        &self,
        found: &Found,
        ending: &Ending,
        fault: &TargetFault,
    ) -> Result<Batch, AccessError> {
        let uid = &found.uid;
        let mut next = ending.clone();
        next.attempts = ending.attempts.saturating_add(1);
        let [spread] = random::bytes::<1>(&*self.random);
        next.due = due_again(self.instant(), next.attempts, spread);
        next.error = fault.0.chars().take(WORDS).collect();
        if next.attempts == IRREVOCABLE {
            let lease = found.record.shown(uid).id;
            tracing::error!(lease, cause = next.error, "a lease cannot be taken back");
        }
        let batch = Batch::new()
            .require(uid.key()?, Some(found.revision))
            .delete(queue_key(ending.due, uid)?)
            .put(queue_key(next.due, uid)?, MARK);
        let record = LeaseRecord {
            ending: Some(next),
            ..found.record.clone()
        };
        Ok(batch.put(uid.key()?, serde_json::to_vec(&record)?))
    }
}

/// Twice the distance for each failure, and up to a quarter of it more, so that what failed
/// together does not come back together.
fn due_again(now: Timestamp, attempts: u32, spread: u8) -> Timestamp {
    let doubled = 1_u64
        .checked_shl(attempts.saturating_sub(1))
        .unwrap_or(LAST);
    let span = FIRST.saturating_mul(doubled).min(LAST);
    let more = span * u64::from(spread) / 1024;
    Timestamp::from_secs(now.plus(Duration::from_secs(span + more)).secs())
}

fn both(
    one: Result<bool, AccessError>,
    other: Result<bool, AccessError>,
) -> Result<bool, AccessError> {
    Ok(one? | other?)
}

fn joined(
    done: Result<Result<bool, AccessError>, tokio::task::JoinError>,
) -> Result<bool, AccessError> {
    match done {
        Ok(result) => result,
        Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(AccessError::Sealed),
    }
}

/// Whether the entry of the expiry index is the lease's own, and its time has come.
fn is_due(found: &Found, entry: &Key, now: Timestamp) -> bool {
    let own = found.record.expiry_key(&found.uid).ok();
    found.record.ending.is_none() && found.record.expire_time <= now && own.as_ref() == Some(entry)
}

/// Whether a lease is waiting at that entry.
fn is_for(found: &Found, entry: &Key) -> bool {
    let due = found.record.ending.as_ref().map(|ending| ending.due);
    due.and_then(|due| queue_key(due, &found.uid).ok()).as_ref() == Some(entry)
}

fn ended(record: &LeaseRecord, ending: &Ending) -> EndedLease {
    EndedLease {
        rest: record.rest.clone(),
        data: record.data.clone(),
        since: ending.since,
    }
}

fn queue_key(due: Timestamp, uid: &Uid) -> Result<Key, AccessError> {
    let secs = u64::try_from(due.secs()).unwrap_or(0);
    Ok(Key::new(format!("{QUEUE}{secs:016x}/{}", uid.0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_at_twice_the_distance_up_to_an_hour() {
        let now = Timestamp::from_secs(1000);
        let after = |attempts, spread| due_again(now, attempts, spread).secs() - 1000;
        assert_eq!([1, 2, 3, 6].map(|n| after(n, 0)), [10, 20, 40, 320]);
        assert_eq!([10, 64, 65, u32::MAX].map(|n| after(n, 0)), [3600; 4]);
        assert!((3600..4500).contains(&after(40, 255)));
    }
}
