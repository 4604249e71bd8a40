//! Opening a zone, share by share.
//!
//! Anyone who reaches the listener may send shares, so this holds against strangers (attack 4):
//!
//! * A share is known by its salted hash when it comes in. A wrong or outdated one is refused and
//!   named, and never enters the attempt, so nobody can spoil the shares of others.
//! * Only right shares are kept, hence at most the threshold: memory is bounded by itself.
//! * A reset without the attempt's nonce drops only what the same client address put in. The
//!   nonce is told to those who put in a share of this attempt, and to nobody else.
//!
//! Opening reads the same number of records whatever the zone holds: the seal record (for each
//! share), then the keyring, the count, and one key of the chunk area.

use std::sync::atomic::Ordering;

use zeroize::Zeroizing;
use zone_crypto::{ct_eq, shamir};
use zone_ports::{Key, LockedBytes, StoreError, random};
use zone_types::{RequestId, Timestamp};

use crate::barrier::{Barrier, BarrierError};
use crate::init::{count_key, keyring_key, seal_key};
use crate::keyring::{self, Count, DecodeFault, Keyring, Term};
use crate::record::{Format, Place, Record, ZoneBytes};
use crate::seal_record::{Generation, Known, SealRecord};

/// Longest client address that is kept; longer ones are cut.
const MAX_CLIENT: usize = 64;

/// How far an attempt is, as Vault's clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsealProgress {
    /// Whether the zone is sealed.
    pub sealed: bool,
    /// The threshold.
    pub t: u8,
    /// How many shares there are.
    pub n: u8,
    /// How many different shares this attempt holds; 0 once the zone is open.
    pub progress: u8,
    /// The attempt's nonce, a UUID: empty if there is no attempt, or for a client address that
    /// put no share into it.
    pub nonce: String,
}

/// What `seal-status` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealStatus {
    /// Whether there is a zone.
    pub initialised: bool,
    /// Threshold, shares, progress.
    pub progress: UnsealProgress,
    /// The zone's id, 32 hex digits; empty before init.
    pub zone: String,
    /// The store's name.
    pub storage: &'static str,
}

/// Why a share or a reset was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// There is no zone yet.
    #[error("the zone is not initialized")]
    NotInitialised,
    /// Of the wrong length.
    #[error("not a key share: a share of this zone has {expected} bytes, not {found}")]
    NotAShare {
        /// Bytes of a share.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// Of the right length, but not a share of this zone.
    #[error("the key share is not one of this zone")]
    WrongShare,
    /// A share of before a rekey.
    #[error("the key share is outdated: the zone was rekeyed since; use a share of the new set")]
    OutdatedShare,
    /// The nonce is not that of the current attempt.
    #[error("the nonce is not that of the current unseal attempt")]
    WrongNonce,
    /// The barrier failed.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
}

/// The shares that came in so far.
#[derive(Default)]
pub(crate) struct Attempt {
    nonce: String,
    generation: u32,
    held: Vec<Held>,
}

/// One share: its 32 bytes in locked memory, its x beside them.
pub(crate) struct Held {
    /// Its place in the set.
    pub(crate) position: u8,
    x: Option<u8>,
    bytes: Box<dyn LockedBytes>,
    client: String,
}

impl Attempt {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn is(&self, nonce: &str) -> bool {
        !self.nonce.is_empty() && ct_eq(nonce.as_bytes(), self.nonce.as_bytes())
    }

    fn drop_of(&mut self, client: &str) {
        self.held.retain(|held| held.client != client);
        if self.held.is_empty() {
            self.clear();
        }
    }

    fn progress(&self, set: &Generation, client: &str) -> UnsealProgress {
        let known = self.held.iter().any(|held| held.client == client);
        let nonce = if known {
            self.nonce.clone()
        } else {
            String::new()
        };
        let progress = u8::try_from(self.held.len()).unwrap_or(u8::MAX);
        UnsealProgress {
            sealed: true,
            t: set.threshold,
            n: set.shares,
            progress,
            nonce,
        }
    }
}

impl Barrier {
    /// Takes one share from `client` (an address). With the last one that was missing the zone
    /// opens. A share that the attempt holds already changes nothing.
    pub async fn unseal_share(
        &self,
        share: &[u8],
        client: &str,
        now: Timestamp,
    ) -> Result<UnsealProgress, UnsealError> {
        self.observe(now);
        if !self.is_sealed() {
            // Strangers who send shares to an open zone do not queue up before its own work.
            return Ok(open_progress(&self.initialised_record().await?.current));
        }
        let _gate = self.inner.gate.lock().await;
        let record = self.initialised_record().await?;
        if !self.is_sealed() {
            return Ok(open_progress(&record.current));
        }
        let position = recognise(&record, share)?;
        let client = shortened(client);
        let full = self.hold(&record.current, position, share, client)?;
        let Some(shares) = full else {
            return Ok(self.inner.attempt.lock().progress(&record.current, client));
        };
        let keyring = self.open_keyring(&record, shares).await?;
        let chunks = zone_ports::KeyRange::prefix(crate::blob::AREA);
        let found = self.inner.committer.scan(&chunks, 1).await;
        let any = !found.map_err(BarrierError::from)?.is_empty();
        self.inner.blobs.any.store(any, Ordering::Release);
        self.open_with(keyring);
        Ok(open_progress(&record.current))
    }

    /// Drops shares of the current attempt: those that `client` put in, or all of them if
    /// `nonce` is the attempt's.
    pub async fn reset(
        &self,
        client: &str,
        nonce: Option<&str>,
    ) -> Result<UnsealProgress, UnsealError> {
        let _gate = self.inner.gate.lock().await;
        let record = self.initialised_record().await?;
        let client = shortened(client);
        let mut attempt = self.inner.attempt.lock();
        match nonce {
            None => attempt.drop_of(client),
            Some(nonce) if attempt.is(nonce) => attempt.clear(),
            Some(_) => return Err(UnsealError::WrongNonce),
        }
        Ok(self.shown(&attempt, &record.current, client))
    }

    /// Drops all shares of the current attempt. For the admin socket.
    pub async fn reset_all(&self) -> Result<UnsealProgress, UnsealError> {
        let _gate = self.inner.gate.lock().await;
        let record = self.initialised_record().await?;
        let mut attempt = self.inner.attempt.lock();
        attempt.clear();
        Ok(self.shown(&attempt, &record.current, ""))
    }

    /// What `seal-status` shows to `client`. An open zone tells it from memory, and a sealed one
    /// while its store is away: who asks for it must not wait for the store to know of the head.
    pub async fn seal_status(&self, client: &str) -> Result<SealStatus, BarrierError> {
        let storage = self.store_kind();
        let Some(record) = self.known_record().await? else {
            let progress = UnsealProgress {
                sealed: true,
                ..UnsealProgress::default()
            };
            return Ok(SealStatus {
                initialised: false,
                progress,
                zone: String::new(),
                storage,
            });
        };
        let progress = self.shown(
            &self.inner.attempt.lock(),
            &record.current,
            shortened(client),
        );
        Ok(SealStatus {
            initialised: true,
            progress,
            zone: record.zone_text(),
            storage,
        })
    }

    fn shown(&self, attempt: &Attempt, set: &Generation, client: &str) -> UnsealProgress {
        if self.is_sealed() {
            attempt.progress(set, client)
        } else {
            open_progress(set)
        }
    }

    /// The seal record of a zone that is initialised, as far as is known. Only this head changes
    /// it, so what it saw last holds while the zone is open.
    async fn known_record(&self) -> Result<Option<SealRecord>, BarrierError> {
        let seen = || {
            let seen = self.inner.seal_seen.lock();
            let record = seen.as_ref().map(|(record, _)| record);
            record.filter(|record| record.initialised).cloned()
        };
        if !self.is_sealed()
            && let Some(record) = seen()
        {
            return Ok(Some(record));
        }
        match self.seal_record().await {
            Ok(found) => {
                let record = found.map(|(record, _)| record);
                Ok(record.filter(|record| record.initialised))
            }
            Err(error @ BarrierError::Store(StoreError::Unavailable { .. })) => {
                seen().map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn initialised_record(&self) -> Result<SealRecord, UnsealError> {
        let record = self.seal_record().await?.map(|(record, _)| record);
        record
            .filter(|record| record.initialised)
            .ok_or(UnsealError::NotInitialised)
    }

    /// Adds a share to the attempt. Takes all shares out of it once they are enough: whatever
    /// comes of them, they do not stay in memory.
    fn hold(
        &self,
        set: &Generation,
        position: u8,
        share: &[u8],
        client: &str,
    ) -> Result<Option<Vec<Held>>, BarrierError> {
        let mut attempt = self.inner.attempt.lock();
        if attempt.generation != set.number {
            attempt.clear();
            attempt.generation = set.number;
            attempt.nonce = RequestId::from_random(random::bytes(&*self.inner.random)).to_string();
        }
        if attempt.held.iter().all(|held| held.position != position) {
            attempt.held.push(self.locked(position, share, client)?);
        }
        if attempt.held.len() < usize::from(set.threshold) {
            return Ok(None);
        }
        let shares = std::mem::take(&mut attempt.held);
        attempt.clear();
        Ok(Some(shares))
    }

    /// One share in locked memory.
    pub(crate) fn locked(
        &self,
        position: u8,
        share: &[u8],
        client: &str,
    ) -> Result<Held, BarrierError> {
        let (bytes, x) = share
            .split_first_chunk::<32>()
            .ok_or(BarrierError::Corrupt)?;
        let bytes = self.inner.memory.lock(&mut Zeroizing::new(*bytes))?;
        Ok(Held {
            position,
            x: x.first().copied(),
            bytes,
            client: client.to_owned(),
        })
    }

    /// Unwraps the root key with the shares, and the keyring with the root key.
    async fn open_keyring(
        &self,
        record: &SealRecord,
        shares: Vec<Held>,
    ) -> Result<Keyring, BarrierError> {
        let zone = record.zone_bytes().ok_or(BarrierError::Corrupt)?;
        let mut root = unwrapped(record, &zone, shares)?;
        let root = self.inner.memory.lock(&mut root)?;
        self.load_keyring(zone, root).await
    }

    /// Reads the keyring and the count under `root`.
    pub(crate) async fn load_keyring(
        &self,
        zone: ZoneBytes,
        root: Box<dyn LockedBytes>,
    ) -> Result<Keyring, BarrierError> {
        let (at, committer) = (keyring_key(), &self.inner.committer);
        let found = committer.get(&at).await?.ok_or(BarrierError::Corrupt)?;
        let terms = self.open_terms(&zone, &*root, &at, &found.value)?;
        let mut keyring = Keyring::new(zone, root, terms, Count::default());
        let counted = committer
            .get(&count_key())
            .await?
            .ok_or(BarrierError::Corrupt)?;
        let reserved = read_count(&keyring, &count_key(), &counted.value)?;
        keyring.resume(
            Count {
                used: reserved,
                reserved,
            },
            found.revision,
        );
        Ok(keyring)
    }

    fn open_terms(
        &self,
        zone: &ZoneBytes,
        root: &dyn LockedBytes,
        at: &Key,
        found: &[u8],
    ) -> Result<Vec<Term>, BarrierError> {
        let record = Record::parse(found).map_err(|_| BarrierError::Corrupt)?;
        if (record.term, record.format) != (0, Format::Keyring) {
            return Err(BarrierError::Corrupt);
        }
        let place = Place {
            zone,
            key: at.as_bytes(),
        };
        let encoded = record
            .open(root.expose(), place)
            .map_err(|_| BarrierError::Corrupt)?;
        keyring::decode(&encoded, &*self.inner.memory).map_err(|fault| match fault {
            DecodeFault::Malformed => BarrierError::Corrupt,
            DecodeFault::Memory(error) => BarrierError::Memory(error),
        })
    }
}

/// The stored count of the active term.
fn read_count(keyring: &Keyring, key: &Key, found: &[u8]) -> Result<u64, BarrierError> {
    let (format, content) = keyring
        .open(key.as_bytes(), found)
        .map_err(|_| BarrierError::Corrupt)?;
    let count = keyring::Stored::decode(&content).ok_or(BarrierError::Corrupt)?;
    if format != Format::Value || count.term != keyring.active().number {
        return Err(BarrierError::Corrupt);
    }
    Ok(count.reserved)
}

/// The root key that `shares` open. They are wiped when this returns.
pub(crate) fn unwrapped(
    record: &SealRecord,
    zone: &ZoneBytes,
    shares: Vec<Held>,
) -> Result<Zeroizing<[u8; 32]>, BarrierError> {
    let unseal_key = combine(shares, record.current.threshold)?;
    let wrapped = record.root_bytes().ok_or(BarrierError::Corrupt)?;
    let place = record.current.root_place(seal_key().as_bytes());
    open_key(&wrapped, &unseal_key, zone, &place)
}

/// Which share of the current set `share` is.
pub(crate) fn recognise(record: &SealRecord, share: &[u8]) -> Result<u8, UnsealError> {
    let expected = record.current.share_len();
    match record.recognise(share) {
        Known::Current(position) => Ok(position),
        Known::Retired => Err(UnsealError::OutdatedShare),
        Known::Not if share.len() != expected => Err(UnsealError::NotAShare {
            expected,
            found: share.len(),
        }),
        Known::Not => Err(UnsealError::WrongShare),
    }
}

/// The unseal key. The shares are wiped when this returns.
fn combine(held: Vec<Held>, threshold: u8) -> Result<Zeroizing<[u8; 32]>, BarrierError> {
    let whole = |held: &Held| {
        let mut share = Zeroizing::new(Vec::with_capacity(33));
        share.extend_from_slice(held.bytes.expose());
        share.extend(held.x);
        share
    };
    let shares: Vec<_> = held.iter().map(whole).collect();
    let shares: Vec<&[u8]> = shares.iter().map(|share| share.as_slice()).collect();
    let secret = shamir::combine(&shares, threshold).map_err(|_| BarrierError::Corrupt)?;
    let mut key = Zeroizing::new([0; 32]);
    let fits = secret.expose().len() == key.len();
    fits.then(|| key.copy_from_slice(secret.expose()))
        .ok_or(BarrierError::Corrupt)?;
    Ok(key)
}

/// A key that was wrapped by another.
fn open_key(
    wrapped: &[u8],
    under: &[u8; 32],
    zone: &ZoneBytes,
    place: &[u8],
) -> Result<Zeroizing<[u8; 32]>, BarrierError> {
    let record = Record::parse(wrapped).map_err(|_| BarrierError::Corrupt)?;
    let place = Place { zone, key: place };
    let content = record
        .open(under, place)
        .map_err(|_| BarrierError::Corrupt)?;
    let key = <&[u8; 32]>::try_from(content.as_slice()).map_err(|_| BarrierError::Corrupt)?;
    if record.format != Format::Root {
        return Err(BarrierError::Corrupt);
    }
    Ok(Zeroizing::new(*key))
}

fn open_progress(set: &Generation) -> UnsealProgress {
    UnsealProgress {
        sealed: false,
        t: set.threshold,
        n: set.shares,
        ..UnsealProgress::default()
    }
}

fn shortened(client: &str) -> &str {
    let end = (0..=MAX_CLIENT.min(client.len()))
        .rev()
        .find(|at| client.is_char_boundary(*at));
    &client[..end.unwrap_or(0)]
}
