//! Revocation lists: one per shard and a complete one, made when they are read.
//!
//! # What must hold
//!
//! * C2. A revocation rebuilds nothing: it puts a mark beside its record. A list remembers the
//!   revision of the newest mark that it saw before it read the revocations; a newer mark makes it
//!   dirty. Nothing is ever unmarked, so no revocation can fall between two lists.
//! * Numbers grow with every list of an issuer, also across a crash: a number is written down
//!   before it is used.
//! * A revoked certificate stays on the lists until one list's life after its own end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use zone_access::{Mount, Permit};
use zone_barrier::{Barrier, BarrierError, Batch};
use zone_ports::KeyRange;
use zone_ports::store::Revision;
use zone_types::Timestamp;
use zone_x509::{CrlPlan, Serial};

use crate::authority::Issuer;
use crate::cache::Live;
use crate::record::{self, CrlConfig, CrlNumber, RevokedRecord};
use crate::work::Workers;
use crate::{ATTEMPTS, PkiError, PkiService, keys, make, shard};

/// Most bytes of shard lists kept for one issuer.
const MAX_KEPT: usize = 32 * 1024 * 1024;
/// A complete list with more entries than this is rebuilt behind the reader's back.
const BACKGROUND_ABOVE: usize = 50_000;
/// On average one rebuild a second of each list…
const PACE: Duration = Duration::from_secs(1);
/// …of which this many seconds can be spent at once.
const BURST: Duration = Duration::from_secs(10);

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// All revocations of the issuer.
    Complete,
    /// Those of one shard, from 1.
    Shard(u32),
}

/// How new a list must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freshness {
    /// Dirty lists are rebuilt once a second on average.
    Paced,
    /// With every revocation that was acknowledged before.
    Newest,
    /// Made for this request.
    Rebuilt,
}

/// The lists of one issuer.
#[derive(Default)]
pub(crate) struct Lists {
    kept: Mutex<Kept>,
    gate: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    lists: HashMap<Part, Arc<List>>,
    /// When a list may be rebuilt again, by the monotonic clock, less the burst.
    ready: HashMap<Part, Duration>,
}

/// A list as it is served.
pub struct List {
    der: Vec<u8>,
    number: u64,
    entries: usize,
    as_of: Option<Revision>,
    this_update: Timestamp,
    next_update: Timestamp,
}

impl List {
    /// The whole list.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `X509 CRL` PEM.
    pub fn pem(&self) -> String {
        zone_x509::crl_pem(&self.der)
    }

    /// The CRL number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many certificates it names.
    pub fn entries(&self) -> usize {
        self.entries
    }

    fn is_current(&self, now: Timestamp, config: &CrlConfig) -> bool {
        now.plus(config.grace()) < self.next_update && self.this_update <= now.plus(PACE)
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "List {} of {} entries", self.number, self.entries)
    }
}

impl Kept {
    /// Whether `part` may be rebuilt now; counts it if so.
    fn spend(&mut self, part: Part, now: Duration) -> bool {
        let ready = self.ready.entry(part).or_default();
        if *ready > now + BURST {
            return false;
        }
        *ready = (*ready).max(now) + PACE;
        true
    }

    fn keep(&mut self, part: Part, list: &Arc<List>) {
        self.lists.insert(part, list.clone());
        let shards = |lists: &HashMap<Part, Arc<List>>| -> Vec<(Part, usize, u64)> {
            let of = |(part, list): (&Part, &Arc<List>)| (*part, list.der.len(), list.number);
            lists
                .iter()
                .filter(|(p, _)| **p != Part::Complete)
                .map(of)
                .collect()
        };
        let mut kept = shards(&self.lists);
        kept.sort_by_key(|(_, _, number)| *number);
        let mut bytes: usize = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (old, size, _) in kept {
            if bytes <= MAX_KEPT || old == part {
                break;
            }
            self.lists.remove(&old);
            self.ready.remove(&old);
            bytes -= size;
        }
    }
}

impl PkiService {
    /// The complete list of an issuer (`default`, id or name).
    ///
    /// # Errors
    ///
    /// [`PkiError::Refused`] if the issuer's key is not here or may not sign lists.
    pub async fn crl(&self, permit: &Permit, issuer: &str) -> Result<Arc<List>, PkiError> {
        let part = (Part::Complete, Vec::new());
        self.list(permit, issuer, part, Freshness::Paced).await
    }

    /// The list of one shard, from 1.
    ///
    /// # Errors
    ///
    /// [`PkiError::NotFound`] for a shard that was never opened, else as [`PkiService::crl`].
    pub async fn crl_shard(&self, permit: &Permit, shard: u32) -> Result<Arc<List>, PkiError> {
        let found = shard::scope_of(&self.barrier, permit.mount(), shard).await?;
        let (issuer, scope) = found.ok_or(PkiError::NotFound)?;
        self.list(
            permit,
            &issuer,
            (Part::Shard(shard), scope),
            Freshness::Paced,
        )
        .await
    }

    /// A complete list for each CA of the default issuer's chain, with every revocation that was
    /// acknowledged before.
    pub async fn crl_chain(&self, permit: &Permit) -> Result<Vec<Arc<List>>, PkiError> {
        let authority = self.authority(permit).await?;
        let mut lists = Vec::new();
        for id in &authority.issuer("default")?.chain_ids {
            let part = (Part::Complete, Vec::new());
            lists.push(self.list(permit, id, part, Freshness::Newest).await?);
        }
        Ok(lists)
    }

    /// Makes the complete list of each issuer that signs lists anew.
    pub async fn rotate_crls(&self, permit: &Permit) -> Result<(), PkiError> {
        let authority = self.authority(permit).await?;
        for issuer in authority.issuers() {
            if issuer.key.is_some() && issuer.record.usage.crl_signing {
                let part = (Part::Complete, Vec::new());
                self.list(permit, &issuer.record.id, part, Freshness::Rebuilt)
                    .await?;
            }
        }
        Ok(())
    }

    async fn list(
        &self,
        permit: &Permit,
        issuer: &str,
        (part, scope): (Part, Vec<String>),
        freshness: Freshness,
    ) -> Result<Arc<List>, PkiError> {
        let mount = permit.mount();
        let slot = self.slot(permit);
        let authority = slot.authority(&self.barrier, mount).await?;
        let issuer = authority.issuer(issuer)?;
        let job = Job {
            barrier: self.barrier.clone(),
            workers: self.workers.clone(),
            mount: mount.clone(),
            live: slot.live(&issuer.record.id),
            issuer: issuer.clone(),
            config: authority.crl,
            part,
            scope,
            now: permit.now(),
        };
        job.list(freshness, self.clock.monotonic()).await
    }
}

/// One reading of one list.
#[derive(Clone)]
struct Job {
    barrier: Barrier,
    workers: Arc<Workers>,
    mount: Arc<Mount>,
    live: Arc<Live>,
    issuer: Arc<Issuer>,
    config: CrlConfig,
    part: Part,
    /// The distribution points that a shard's list covers.
    scope: Vec<String>,
    now: Timestamp,
}

impl Job {
    async fn list(&self, freshness: Freshness, monotonic: Duration) -> Result<Arc<List>, PkiError> {
        if freshness == Freshness::Rebuilt {
            let _one = self.live.lists.gate.lock().await;
            return self.build().await;
        }
        let kept = self.kept();
        if let Some(list) = &kept
            && list.is_current(self.now, &self.config)
        {
            if list.as_of == self.newest_mark().await? {
                return Ok(list.clone());
            }
            if freshness == Freshness::Paced && !self.may_rebuild(monotonic) {
                return Ok(list.clone());
            }
            if freshness == Freshness::Paced && list.entries > BACKGROUND_ABOVE {
                self.rebuild_behind();
                return Ok(list.clone());
            }
        }
        let _one = self.live.lists.gate.lock().await;
        // While this one waited, somebody else may have built it.
        if let Some(list) = self.kept()
            && list.is_current(self.now, &self.config)
            && list.as_of == self.newest_mark().await?
        {
            return Ok(list);
        }
        self.build().await
    }

    fn kept(&self) -> Option<Arc<List>> {
        self.live.lists.kept.lock().lists.get(&self.part).cloned()
    }

    fn may_rebuild(&self, monotonic: Duration) -> bool {
        self.live.lists.kept.lock().spend(self.part, monotonic)
    }

    fn rebuild_behind(&self) {
        let job = self.clone();
        tokio::spawn(async move {
            let Ok(_one) = job.live.lists.gate.try_lock() else {
                return;
            };
            if let Err(error) = job.build().await {
                tracing::warn!(issuer = job.issuer.record.id, %error, "rebuilding a CRL failed");
            }
        });
    }

    /// The revision of the newest mark of this part; `None` if nothing was ever revoked.
    async fn newest_mark(&self) -> Result<Option<Revision>, PkiError> {
        let id = &self.issuer.record.id;
        let mut range = KeyRange::prefix(match self.part {
            Part::Complete => keys::dirty_by(&self.mount, id),
            Part::Shard(shard) => keys::dirty_of(&self.mount, id, shard),
        });
        let mut newest = None;
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            newest = page
                .iter()
                .map(|(_, plain)| plain.revision)
                .max()
                .max(newest);
            match page.last() {
                Some((key, _)) if page.len() == 1000 => range = range.after(key),
                _ => return Ok(newest),
            }
        }
    }

    async fn build(&self) -> Result<Arc<List>, PkiError> {
        let issuer = &self.issuer;
        let Some(key) = issuer.key.clone() else {
            return Err(PkiError::refused(format!(
                "the key of issuer {} is not on this mount; its revocation list must come from its owner",
                issuer.record.id
            )));
        };
        if !issuer.record.usage.crl_signing {
            return Err(PkiError::refused(format!(
                "issuer {} may not sign revocation lists (usage crl-signing)",
                issuer.record.id
            )));
        }
        let as_of = self.newest_mark().await?;
        let revoked = self.revoked().await?;
        let entries = revoked.len();
        let number = self.next_number().await?;
        let this_update = Timestamp::from_secs(self.now.secs());
        let next_update = this_update.plus(self.config.expiry());
        let points = self.scope.clone();
        let plan = CrlPlan {
            number,
            this_update,
            next_update,
            points,
            revoked,
        };
        let (signer, heavy) = (issuer.clone(), entries > 1000);
        let der = self
            .workers
            .sign(key.algorithm(), heavy, move || {
                make::crl(&signer, &key, &plan)
            })
            .await?;
        let list = Arc::new(List {
            der,
            number,
            entries,
            as_of,
            this_update,
            next_update,
        });
        self.live.lists.kept.lock().keep(self.part, &list);
        Ok(list)
    }

    /// A number that no list of this issuer bears yet, written down before it is used. It is never
    /// below the time in milliseconds, so that lists go on growing after an old backup was
    /// restored, and after those that an imported CA signed elsewhere.
    async fn next_number(&self) -> Result<u64, PkiError> {
        let key = keys::crl_number(&self.mount, &self.issuer.record.id)?;
        let floor = u64::try_from(self.now.nanos() / 1_000_000).unwrap_or(0);
        for _ in 0..ATTEMPTS {
            let found = self.barrier.get(&key).await?;
            let revision = found.as_ref().map(|plain| plain.revision);
            let CrlNumber { number } = match &found {
                Some(plain) => record::decode("crl-number", &plain.value)?,
                None => CrlNumber::default(),
            };
            let next = CrlNumber {
                number: (number + 1).max(floor),
            };
            let batch = Batch::new()
                .require(key.clone(), revision)
                .put(key.clone(), record::encode(&next)?);
            match self.barrier.commit(batch).await {
                Ok(_) => return Ok(next.number),
                Err(BarrierError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(PkiError::Busy)
    }

    async fn revoked(&self) -> Result<Vec<(Serial, Timestamp)>, PkiError> {
        let id = &self.issuer.record.id;
        let mut range = KeyRange::prefix(match self.part {
            Part::Complete => keys::revoked_by(&self.mount, id),
            Part::Shard(shard) => keys::revoked_of(&self.mount, id, shard),
        });
        let mut revoked = Vec::new();
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            for (key, plain) in &page {
                let entry: RevokedRecord = record::decode(keys::REVOKED, &plain.value)?;
                if entry.not_after.plus(self.config.expiry()) >= self.now {
                    let serial = keys::serial_of(key).ok_or(PkiError::Corrupt(keys::REVOKED))?;
                    revoked.push((serial, entry.at));
                }
            }
            match page.last() {
                Some((key, _)) if page.len() == 1000 => range = range.after(key),
                _ => return Ok(revoked),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rebuild_a_second_after_the_burst() {
        let mut kept = Kept::default();
        let start = Duration::from_secs(100);
        let at_once = (0..100)
            .filter(|_| kept.spend(Part::Complete, start))
            .count();
        assert_eq!(at_once, 11);
        let later = (1..=50)
            .filter(|secs| kept.spend(Part::Complete, start + Duration::from_secs(*secs)))
            .count();
        assert_eq!(later, 50);
        assert!(!kept.spend(Part::Complete, start + Duration::from_secs(50)));
        assert!(kept.spend(Part::Shard(1), start));
    }

    #[test]
    fn old_shards_are_dropped_first_and_never_the_complete_list() {
        let list = |number: u64, bytes: usize| {
            Arc::new(List {
                der: vec![0; bytes],
                number,
                entries: 0,
                as_of: None,
                this_update: Timestamp::EPOCH,
                next_update: Timestamp::EPOCH,
            })
        };
        let mut kept = Kept::default();
        kept.keep(Part::Complete, &list(1, MAX_KEPT));
        kept.keep(Part::Shard(1), &list(2, MAX_KEPT / 2));
        kept.keep(Part::Shard(2), &list(3, MAX_KEPT / 2));
        assert_eq!(kept.lists.len(), 3);
        kept.keep(Part::Shard(3), &list(4, 1));
        assert!(!kept.lists.contains_key(&Part::Shard(1)));
        assert!(kept.lists.contains_key(&Part::Complete));
        assert!(kept.lists.contains_key(&Part::Shard(3)));
    }
}
