//! Making a zone, in two steps with the services' bootstrap between them.
//!
//! `init_prepare` writes a seal record that says "not yet initialised" and leaves the barrier
//! open, so that services can write their first records. `init_finish` turns that one record
//! over, last. A crash before it leaves a zone that counts as uninitialised; the next
//! `init_prepare` wipes what is there and begins again. A store that holds data but no seal
//! record at all is refused: it is somebody's data, not leftovers.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use zeroize::Zeroizing;
use zone_crypto::shamir::{self, ShamirFault};
use zone_ports::store::{Op, Revision};
use zone_ports::{Key, KeyRange, random};
use zone_types::{Secret, Timestamp};

use crate::barrier::{Barrier, BarrierError, COMMIT_LOG, Inner, OWN};
use crate::batch::{MAX_BATCH_OPS, Precondition};
use crate::keyring::{self, Keyring, Term};
use crate::record::{self, Format, Place, Sealing, ZoneBytes};
use crate::seal_record::{Generation, SealRecord};

/// The seal record's key.
pub(crate) fn seal_key() -> Key {
    own_key("seal")
}

/// The keyring's key.
pub(crate) fn keyring_key() -> Key {
    own_key("keyring")
}

/// The key of the active term's count.
pub(crate) fn count_key() -> Key {
    own_key("count")
}

fn own_key(name: &str) -> Key {
    Key::new([OWN, name.as_bytes()].concat()).expect("the barrier's own keys are short")
}

/// How the unseal key is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitAsk {
    /// How many shares: 1 to 255.
    pub shares: u8,
    /// How many of them open the zone: 2 to `shares`, or 1 of 1.
    pub threshold: u8,
}

/// A zone that is ready for its services' first records.
///
/// Dropping it before [`Barrier::init_finish`] gives the init up: the barrier seals, and what
/// was written is wiped by the next init.
#[must_use = "dropping this gives the init up"]
pub struct Prepared {
    /// The shares of the unseal key: 33 bytes each, x last; one share of one has 32.
    pub shares: Vec<Secret<Vec<u8>>>,
    /// Gives up if dropped too early.
    pub attempt: InitAttempt,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shares", self.shares.len())
    }
}

/// An init that has begun; dropping it before the end gives it up.
pub struct InitAttempt {
    number: u64,
    barrier: Weak<Inner>,
}

impl Drop for InitAttempt {
    fn drop(&mut self) {
        let Some(inner) = self.barrier.upgrade() else {
            return;
        };
        let ours = inner.phase.lock().running == Some(self.number);
        if ours {
            Barrier { inner }.seal();
        }
    }
}

/// Whether an init runs, and which.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    last: u64,
    running: Option<u64>,
}

impl Phase {
    fn begin(&mut self) -> u64 {
        self.last += 1;
        self.running = Some(self.last);
        self.last
    }

    pub(crate) fn end(&mut self) {
        self.running = None;
    }
}

/// Why no zone was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The numbers of shares do not fit.
    #[error(transparent)]
    Numbers(#[from] ShamirFault),
    /// There is a zone already.
    #[error("the zone is already initialized")]
    Initialised,
    /// Another init has begun and not ended.
    #[error("another initialization is running")]
    Running,
    /// `init_finish` without `init_prepare`, or after it was given up.
    #[error("no initialization is running")]
    NotRunning,
    /// The store holds records, but not of a zone that was being made.
    #[error("the store holds data without a seal record: give zonehead an empty store")]
    Foreign,
    /// The barrier failed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

/// The keys of a zone to be.
struct Fresh {
    zone: ZoneBytes,
    root: Zeroizing<[u8; 32]>,
    term: Zeroizing<[u8; 32]>,
}

impl Barrier {
    /// Whether `init_finish` was ever done on this store.
    pub async fn is_initialised(&self) -> Result<bool, BarrierError> {
        if self.inner.initialised.load(Ordering::Acquire) {
            return Ok(true);
        }
        let initialised = self
            .seal_record()
            .await?
            .is_some_and(|(record, _)| record.initialised);
        self.inner
            .initialised
            .fetch_or(initialised, Ordering::AcqRel);
        Ok(initialised)
    }

    /// Begins a zone: draws its id and keys, stores them sealed, and opens the barrier for the
    /// services' first records.
    pub async fn init_prepare(&self, ask: InitAsk, now: Timestamp) -> Result<Prepared, InitError> {
        shamir::check_numbers(ask.shares, ask.threshold)?;
        let _gate = self.inner.gate.lock().await;
        self.observe(now);
        if self.inner.phase.lock().running.is_some() {
            return Err(InitError::Running);
        }
        let condition = self.clear_leftovers().await?;
        let fresh = Fresh {
            zone: random::bytes(&*self.inner.random),
            root: self.draw_key(),
            term: self.draw_key(),
        };
        let (set, shared) = self.share_out(ask, 1, &fresh.zone, &fresh.root)?;
        let record = SealRecord::new(&fresh.zone, set, &shared.root);
        self.write_first(&record, &fresh, condition, now).await?;
        let number = self.inner.phase.lock().begin();
        let attempt = InitAttempt {
            number,
            barrier: Arc::downgrade(&self.inner),
        };
        Ok(Prepared {
            shares: shared.shares,
            attempt,
        })
    }

    /// Ends the init: from here on the zone counts as initialised. The barrier stays open.
    pub async fn init_finish(&self) -> Result<(), InitError> {
        let _gate = self.inner.gate.lock().await;
        if self.inner.phase.lock().running.is_none() {
            return Err(InitError::NotRunning);
        }
        self.check_open()?;
        let (mut record, revision) = self.seal_record().await?.ok_or(BarrierError::Corrupt)?;
        record.initialised = true;
        let op = Op::Put {
            key: seal_key(),
            value: record.encode().into(),
        };
        let condition = Precondition::At(seal_key(), revision);
        let written = self.inner.committer.commit(vec![op], vec![condition]);
        let written = written.await.map_err(BarrierError::from)?;
        self.saw_seal(&record, written);
        self.inner.initialised.store(true, Ordering::Release);
        self.inner.phase.lock().end();
        Ok(())
    }

    /// The seal record and the group that wrote it.
    pub(crate) async fn seal_record(&self) -> Result<Option<(SealRecord, Revision)>, BarrierError> {
        let Some(found) = self.inner.committer.get(&seal_key()).await? else {
            return Ok(None);
        };
        let record = SealRecord::decode(&found.value).ok_or(BarrierError::Corrupt)?;
        self.saw_seal(&record, found.revision);
        Ok(Some((record, found.revision)))
    }

    /// Remembers the seal record, unless a newer one is known: a read may end behind a later write.
    pub(crate) fn saw_seal(&self, record: &SealRecord, revision: Revision) {
        let mut seen = self.inner.seal_seen.lock();
        if seen.as_ref().is_none_or(|(_, known)| *known < revision) {
            *seen = Some((record.clone(), revision));
        }
    }

    pub(crate) fn draw_key(&self) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.inner.random.fill(&mut *key);
        key
    }

    /// Draws an unseal key, shares it out and wraps `root` with it. The unseal key itself is
    /// gone when this returns.
    pub(crate) fn share_out(
        &self,
        ask: InitAsk,
        number: u32,
        zone: &ZoneBytes,
        root: &[u8; 32],
    ) -> Result<(Generation, Shared), ShamirFault> {
        let random = &*self.inner.random;
        let unseal_key = self.draw_key();
        let shares = shamir::split(&*unseal_key, ask.shares, ask.threshold, &mut |out| {
            random.fill(out)
        })?;
        let exposed: Vec<&[u8]> = shares
            .iter()
            .map(|share| share.expose().as_slice())
            .collect();
        let salt = random::bytes(random);
        let set = Generation::new(number, ask.threshold, zone, &salt, &exposed);
        let with = Sealing {
            key: &unseal_key,
            term: 0,
            nonce: random::bytes(random),
        };
        let place = set.root_place(seal_key().as_bytes());
        let root = record::seal(&with, Format::Root, Place { zone, key: &place }, root);
        Ok((
            set,
            Shared {
                shares,
                root: root.to_vec(),
            },
        ))
    }

    /// The condition under which the first group may be written, on an empty store.
    async fn clear_leftovers(&self) -> Result<Precondition, InitError> {
        match self.seal_record().await? {
            Some((record, _)) if record.initialised => {
                self.inner.initialised.store(true, Ordering::Release);
                Err(InitError::Initialised)
            }
            Some((_, revision)) => {
                self.wipe().await?;
                Ok(Precondition::At(seal_key(), revision))
            }
            None if self.leftovers(&KeyRange::prefix("")).await?.is_empty() => {
                Ok(Precondition::Absent(seal_key()))
            }
            None => Err(InitError::Foreign),
        }
    }

    /// Removes everything but the seal record, which goes on saying "not initialised" until the
    /// first group of the new zone replaces it.
    async fn wipe(&self) -> Result<(), BarrierError> {
        loop {
            let keys = self.leftovers(&KeyRange::prefix("")).await?;
            if keys.is_empty() {
                return Ok(());
            }
            let ops = keys.into_iter().map(|key| Op::Delete { key }).collect();
            self.inner.committer.commit(ops, Vec::new()).await?;
        }
    }

    /// Up to a batch of keys that are neither the seal record nor the commit log.
    async fn leftovers(&self, range: &KeyRange) -> Result<Vec<Key>, BarrierError> {
        let mut keys = Vec::new();
        let mut range = range.clone();
        loop {
            let page = self.inner.committer.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                return Ok(keys);
            };
            range = range.after(last);
            let found = page.into_iter().map(|(key, _)| key);
            keys.extend(found.filter(|key| *key != seal_key() && !is_commit_log(key)));
            if keys.len() >= MAX_BATCH_OPS {
                keys.truncate(MAX_BATCH_OPS);
                return Ok(keys);
            }
        }
    }

    /// Stores the zone's first records in one group and opens the barrier.
    async fn write_first(
        &self,
        record: &SealRecord,
        fresh: &Fresh,
        condition: Precondition,
        now: Timestamp,
    ) -> Result<(), BarrierError> {
        let memory = &*self.inner.memory;
        let root = memory.lock(&mut fresh.root.clone())?;
        let key = memory.lock(&mut fresh.term.clone())?;
        let term = Term {
            number: 1,
            installed: now,
            key,
        };
        let (stored, count) = self.first_block();
        let mut keyring = Keyring::new(fresh.zone, root, vec![term], count);
        let terms = keyring::encode(&keyring.terms, None);
        let ops = vec![
            Op::Put {
                key: seal_key(),
                value: record.encode().into(),
            },
            self.keyring_op(&*keyring.root, &keyring, &terms),
            self.count_op(keyring.active(), &keyring, stored),
        ];
        keyring.revision = self.inner.committer.commit(ops, vec![condition]).await?;
        self.open_with(keyring);
        Ok(())
    }
}

/// What `share_out` made.
pub(crate) struct Shared {
    pub(crate) shares: Vec<Secret<Vec<u8>>>,
    /// The root key's record.
    pub(crate) root: Vec<u8>,
}

fn is_commit_log(key: &Key) -> bool {
    key.as_bytes().starts_with(COMMIT_LOG)
}
