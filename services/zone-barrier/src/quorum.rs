//! A threshold of key shares, gathered from an open zone: for new shares, for a root token.
//!
//! As at unseal (attack 4) a share is known by its salted hash when it comes in: a wrong or
//! outdated one is refused and named, and never spoils the shares of others. Only right and
//! different shares are kept, at most the threshold. When they are enough, they are combined and
//! must open the root key that they stand for; then they are wiped. What is left is an
//! [`Approval`], which nobody can make otherwise and which counts once.

use zeroize::Zeroizing;

use crate::barrier::{Barrier, BarrierError};
use crate::rotate::Rekey;
use crate::seal_record::SealRecord;
use crate::unseal::{Held, UnsealError, recognise, unwrapped};

/// Shares that came in so far. Dropping it wipes them.
#[derive(Default)]
pub struct Quorum {
    /// The set that they belong to.
    generation: u32,
    held: Vec<Held>,
}

impl Quorum {
    /// How many different shares there are.
    pub fn progress(&self) -> u8 {
        u8::try_from(self.held.len()).unwrap_or(u8::MAX)
    }
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} shares", self.held.len())
    }
}

/// Proof that a threshold of the zone's shares was given.
#[derive(Debug)]
pub struct Approval(());

/// How many shares of the current set there are, and how many of them are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareNumbers {
    /// Shares in all.
    pub shares: u8,
    /// Shares that open the zone.
    pub threshold: u8,
}

impl Barrier {
    /// The numbers of the current set.
    pub async fn share_numbers(&self) -> Result<ShareNumbers, UnsealError> {
        let current = self.initialised_record().await?.current;
        Ok(ShareNumbers {
            shares: current.shares,
            threshold: current.threshold,
        })
    }

    /// Adds a share of the zone's current set to `quorum`; the approval with the last one that
    /// was missing.
    ///
    /// # Errors
    ///
    /// [`UnsealError`] says what is wrong with the share; the quorum stays as it was.
    pub async fn approve(
        &self,
        quorum: &mut Quorum,
        share: &[u8],
    ) -> Result<Option<Approval>, UnsealError> {
        if self.is_sealed() {
            return Err(BarrierError::Sealed.into());
        }
        let record = self.initialised_record().await?;
        self.gather(quorum, &record, share)
    }

    /// As [`Barrier::approve`], with shares of the set that `rekey` hands out: proves that their
    /// holders have them.
    pub fn confirm(
        &self,
        quorum: &mut Quorum,
        rekey: &Rekey,
        share: &[u8],
    ) -> Result<Option<Approval>, UnsealError> {
        self.gather(quorum, rekey.next(), share)
    }

    fn gather(
        &self,
        quorum: &mut Quorum,
        record: &SealRecord,
        share: &[u8],
    ) -> Result<Option<Approval>, UnsealError> {
        let position = recognise(record, share)?;
        if quorum.generation != record.current.number {
            // The zone was rekeyed since: what was gathered opens nothing any more.
            *quorum = Quorum {
                generation: record.current.number,
                held: Vec::new(),
            };
        }
        if quorum.held.iter().all(|held| held.position != position) {
            quorum.held.push(self.locked(position, share, "")?);
        }
        if quorum.held.len() < usize::from(record.current.threshold) {
            return Ok(None);
        }
        let zone = record.zone_bytes().ok_or(BarrierError::Corrupt)?;
        let root: Zeroizing<_> = unwrapped(record, &zone, std::mem::take(&mut quorum.held))?;
        drop(root);
        Ok(Some(Approval(())))
    }
}
