//! New key terms, by hand and by count; new shares (rekey).
//!
//! A rotation writes the keyring with one more term, and the new term's count, in one group.
//! Until that group is durable nothing is encrypted under the new term; after a crash either
//! both records are there or neither. Old terms stay, so old records stay readable.
//!
//! A rekey draws a new unseal key *and* a new root key and writes the seal record and the keyring
//! in one group: retired shares open nothing that is stored from then on. They still open an old
//! copy of the whole store, which no rekey can change.

use std::sync::atomic::Ordering;

use zeroize::Zeroizing;
use zone_ports::store::{Op, Revision};
use zone_ports::{LockedBytes, random};
use zone_types::{Secret, Timestamp};

use crate::barrier::{Barrier, BarrierError};
use crate::batch::Precondition;
use crate::init::{InitAsk, InitError, Shared, count_key, keyring_key, seal_key};
use crate::keyring::{self, Count, HARD_BOUND, Keyring, LEAST_BOUND, MAX_TERMS, Stored, Term};
use crate::quorum::Approval;
use crate::record::{self, Format, Place, Sealing};
use crate::seal_record::SealRecord;

/// Encryptions that one count record allows ahead. A crash or restart overcounts by at most
/// this.
const BLOCK: u64 = 1 << 16;
/// What must be left of a block for the largest batch.
const SLACK: u64 = 64;

/// The active term, as `sys/key-status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its number, from 1.
    pub term: u32,
    /// When it began.
    pub install_time: Timestamp,
    /// Records that it encrypted, or more: after a restart the count goes on from what was
    /// reserved.
    pub encryptions: u64,
}

/// New shares that do not count yet: hand them out, let their holders confirm, then
/// [`Barrier::rekey_apply`].
pub struct Rekey {
    /// The new shares.
    pub shares: Vec<Secret<Vec<u8>>>,
    next: SealRecord,
    root: Box<dyn LockedBytes>,
}

impl std::fmt::Debug for Rekey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} new shares", self.shares.len())
    }
}

impl Rekey {
    /// The seal record that is to be.
    pub(crate) fn next(&self) -> &SealRecord {
        &self.next
    }
}

impl Barrier {
    /// The active term.
    pub fn key_status(&self) -> Result<KeyStatus, BarrierError> {
        let keyring = self.inner.keyring.read();
        let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
        let (term, count) = (keyring.active(), keyring.count());
        Ok(KeyStatus {
            term: term.number,
            install_time: term.installed,
            encryptions: count.used.min(count.reserved),
        })
    }

    /// Sets after how many records a new term begins: 256 to 2^32; numbers outside are moved to
    /// the nearer end. Holds for the active term too.
    pub fn set_rotation_bound(&self, records: u64) {
        let bound = records.clamp(LEAST_BOUND, HARD_BOUND);
        self.inner.bound.store(bound, Ordering::Relaxed);
        if let Some(keyring) = &*self.inner.keyring.read() {
            keyring.allow_at_most(bound - SLACK);
        }
    }

    /// Begins a new term now. Reads and writes go on meanwhile.
    pub async fn rotate(&self, now: Timestamp) -> Result<KeyStatus, BarrierError> {
        let gate = self.inner.gate.lock().await;
        self.observe(now);
        self.rotate_at(now).await?;
        drop(gate);
        self.key_status()
    }

    /// Draws new shares and keys for the zone and stores nothing yet.
    pub async fn rekey_prepare(
        &self,
        ask: InitAsk,
        _approved: Approval,
    ) -> Result<Rekey, InitError> {
        self.check_open()?;
        let (record, _) = self.seal_record().await?.ok_or(BarrierError::Corrupt)?;
        let zone = record.zone_bytes().ok_or(BarrierError::Corrupt)?;
        let number = record
            .current
            .number
            .checked_add(1)
            .ok_or(BarrierError::KeyringFull)?;
        let mut root = self.draw_key();
        let (
            set,
            Shared {
                shares,
                root: wrapped,
            },
        ) = self.share_out(ask, number, &zone, &root)?;
        let root = self
            .inner
            .memory
            .lock(&mut root)
            .map_err(BarrierError::from)?;
        Ok(Rekey {
            shares,
            next: record.succeed(set, &wrapped),
            root,
        })
    }

    /// Makes the new shares the zone's only ones.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Conflict`]: the zone was rekeyed or rotated elsewhere; prepare again.
    pub async fn rekey_apply(&self, rekey: Rekey) -> Result<(), BarrierError> {
        let Rekey { shares, next, root } = rekey;
        drop(shares);
        let _gate = self.inner.gate.lock().await;
        self.check_open()?;
        let (record, revision) = self.seal_record().await?.ok_or(BarrierError::Corrupt)?;
        if next.current.number != record.current.number.saturating_add(1) {
            return Err(BarrierError::Conflict);
        }
        let (ring, keyring_revision) = self.rewrap(&*root)?;
        let seal = Op::Put {
            key: seal_key(),
            value: next.encode().into(),
        };
        let conditions = vec![
            Precondition::At(seal_key(), revision),
            Precondition::At(keyring_key(), keyring_revision),
        ];
        let written = self
            .inner
            .committer
            .commit(vec![seal, ring], conditions)
            .await?;
        self.saw_seal(&next, written);
        // Sealed meanwhile: the shares count all the same, and whoever holds them must hear that.
        if let Some(keyring) = self.inner.keyring.write().as_mut() {
            keyring.root = root;
            keyring.revision = written;
        }
        Ok(())
    }

    /// Allows more encryptions, under a new term if the active one is at its bound. On a conflict
    /// the keys are read again, and the caller tries again with them.
    pub(crate) async fn reserve(&self) -> Result<(), BarrierError> {
        let _gate = self.inner.gate.lock().await;
        let done = match self.next_step()? {
            Step::Enough => Ok(()),
            Step::Term => self.rotate_once(self.latest()).await,
            Step::Block(block) => self.reserve_block(block).await,
        };
        match done {
            Err(BarrierError::Conflict) => self.reload().await,
            done => done,
        }
    }

    /// Rotates; if another head or an abandoned call did so first, reads its keyring and rotates
    /// once more.
    async fn rotate_at(&self, now: Timestamp) -> Result<(), BarrierError> {
        match self.rotate_once(now).await {
            Err(BarrierError::Conflict) => {
                self.reload().await?;
                self.rotate_once(now).await
            }
            done => done,
        }
    }

    async fn rotate_once(&self, now: Timestamp) -> Result<(), BarrierError> {
        let Rotation {
            ops,
            condition,
            term,
            count,
        } = self.next_term(now)?;
        let revision = self.inner.committer.commit(ops, vec![condition]).await?;
        let mut keyring = self.inner.keyring.write();
        keyring
            .as_mut()
            .ok_or(BarrierError::Sealed)?
            .install(term, count, revision);
        Ok(())
    }

    fn next_term(&self, now: Timestamp) -> Result<Rotation, BarrierError> {
        let keyring = self.inner.keyring.read();
        let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
        if keyring.terms.len() >= MAX_TERMS {
            return Err(BarrierError::KeyringFull);
        }
        let number = keyring.active().number + 1;
        let key = self.inner.memory.lock(&mut self.draw_key())?;
        let term = Term {
            number,
            installed: now,
            key,
        };
        let encoded = keyring::encode(&keyring.terms, Some(&term));
        let (stored, count) = self.first_block();
        let ring = self.keyring_op(&*keyring.root, keyring, &encoded);
        let ops = vec![ring, self.count_op(&term, keyring, stored)];
        let condition = Precondition::At(keyring_key(), keyring.revision);
        Ok(Rotation {
            ops,
            condition,
            term,
            count,
        })
    }

    fn next_step(&self) -> Result<Step, BarrierError> {
        let bound = self.inner.bound.load(Ordering::Relaxed);
        let keyring = self.inner.keyring.read();
        let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
        let Count { used, reserved } = keyring.count();
        if used.saturating_add(SLACK) <= reserved {
            return Ok(Step::Enough);
        }
        if used.saturating_add(2 * SLACK) >= bound {
            return Ok(Step::Term);
        }
        keyring.take(1);
        let stored = used.saturating_add(BLOCK).min(bound);
        let op = self.count_op(keyring.active(), keyring, stored);
        let condition = Precondition::At(keyring_key(), keyring.revision);
        Ok(Step::Block(Block {
            op,
            condition,
            allowed: stored - SLACK,
        }))
    }

    async fn reserve_block(&self, block: Block) -> Result<(), BarrierError> {
        self.inner
            .committer
            .commit(vec![block.op], vec![block.condition])
            .await?;
        let keyring = self.inner.keyring.read();
        keyring
            .as_ref()
            .ok_or(BarrierError::Sealed)?
            .allow(block.allowed);
        Ok(())
    }

    /// Reads the keyring again, under the root key that is held.
    async fn reload(&self) -> Result<(), BarrierError> {
        let (zone, root) = {
            let keyring = self.inner.keyring.read();
            let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
            let mut root = Zeroizing::new(*keyring.root.expose());
            (keyring.zone, self.inner.memory.lock(&mut root)?)
        };
        let fresh = self.load_keyring(zone, root).await?;
        let mut keyring = self.inner.keyring.write();
        *keyring.as_mut().ok_or(BarrierError::Sealed)? = fresh;
        Ok(())
    }

    /// What a new term may use: the stored number, and the count to begin with. Its first
    /// encryption is that of the count itself.
    pub(crate) fn first_block(&self) -> (u64, Count) {
        let stored = BLOCK.min(self.inner.bound.load(Ordering::Relaxed));
        (
            stored,
            Count {
                used: 1,
                reserved: stored - SLACK,
            },
        )
    }

    /// Writes `encoded` terms under `root`.
    pub(crate) fn keyring_op(
        &self,
        root: &dyn LockedBytes,
        keyring: &Keyring,
        encoded: &[u8],
    ) -> Op {
        let key = keyring_key();
        let nonce = random::bytes(&*self.inner.random);
        let with = Sealing {
            key: root.expose(),
            term: 0,
            nonce,
        };
        let place = Place {
            zone: &keyring.zone,
            key: key.as_bytes(),
        };
        let value = record::seal(&with, Format::Keyring, place, encoded);
        Op::Put { key, value }
    }

    /// Writes how many encryptions `term` may use.
    pub(crate) fn count_op(&self, term: &Term, keyring: &Keyring, reserved: u64) -> Op {
        let key = count_key();
        let nonce = random::bytes(&*self.inner.random);
        let with = Sealing {
            key: term.key.expose(),
            term: term.number,
            nonce,
        };
        let place = Place {
            zone: &keyring.zone,
            key: key.as_bytes(),
        };
        let content = Stored {
            term: term.number,
            reserved,
        }
        .encode();
        let value = record::seal(&with, Format::Value, place, &content);
        Op::Put { key, value }
    }

    /// The same terms under another root key, and the revision that they replace.
    fn rewrap(&self, root: &dyn LockedBytes) -> Result<(Op, Revision), BarrierError> {
        let keyring = self.inner.keyring.read();
        let keyring = keyring.as_ref().ok_or(BarrierError::Sealed)?;
        let encoded = keyring::encode(&keyring.terms, None);
        Ok((self.keyring_op(root, keyring, &encoded), keyring.revision))
    }
}

/// What a writer that ran out of encryptions needs.
enum Step {
    /// Another writer has seen to it.
    Enough,
    /// More of the active term.
    Block(Block),
    /// A new term.
    Term,
}

struct Block {
    op: Op,
    condition: Precondition,
    /// What may be used once the count is stored. Some less than what is stored: writes of the
    /// count that failed have used an encryption that no stored count tells of.
    allowed: u64,
}

struct Rotation {
    ops: Vec<Op>,
    condition: Precondition,
    term: Term,
    count: Count,
}
