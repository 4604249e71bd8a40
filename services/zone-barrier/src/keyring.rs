//! The keys of an open zone: the root key, and one data key per term. See docs/formats/keyring.md.
//!
//! Every key lies in locked memory. The AES key schedule is made from there for each operation
//! and wiped after it (about 0.2 µs), so that nothing outside those pages outlives an operation.
//!
//! One term encrypts at most [`HARD_BOUND`] records (B3). The count is kept by reserving blocks:
//! the stored number is always at least the true one, so a crash overcounts and never undercounts.

use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::{Zeroize, Zeroizing};
use zone_ports::store::Revision;
use zone_ports::{LockedBytes, MemoryError, Random, SecretMemory, random};
use zone_types::Timestamp;

use crate::record::{self, Format, Place, Record, RecordFault, Sealing, ZoneBytes};

/// Most records under one key with random 96-bit nonces (NIST SP 800-38D section 8.3).
pub const HARD_BOUND: u64 = 1 << 32;
/// Records after which a new term begins, as in Vault: about a tenth below the hard bound.
pub const DEFAULT_BOUND: u64 = 3_865_470_566;
/// Least bound: one batch must fit a few times.
pub const LEAST_BOUND: u64 = 256;
/// Terms that a keyring holds. Old ones stay, since old records need them.
pub(crate) const MAX_TERMS: usize = 2048;

const VERSION: u8 = 1;
const ENTRY: usize = 4 + 8 + 32;

/// One data key.
pub(crate) struct Term {
    pub(crate) number: u32,
    pub(crate) installed: Timestamp,
    pub(crate) key: Box<dyn LockedBytes>,
}

/// The keys of an open zone.
pub(crate) struct Keyring {
    pub(crate) zone: ZoneBytes,
    pub(crate) root: Box<dyn LockedBytes>,
    /// Terms 1, 2, …; the last one encrypts.
    pub(crate) terms: Vec<Term>,
    /// The group that wrote the stored keyring.
    pub(crate) revision: Revision,
    /// Encryptions of the active term, true or more.
    used: AtomicU64,
    /// What the stored count allows.
    reserved: AtomicU64,
}

impl Keyring {
    /// A keyring whose active term may encrypt `reserved` records of which `used` are taken.
    pub(crate) fn new(
        zone: ZoneBytes,
        root: Box<dyn LockedBytes>,
        terms: Vec<Term>,
        count: Count,
    ) -> Self {
        let Count { used, reserved } = count;
        let (used, reserved) = (AtomicU64::new(used), AtomicU64::new(reserved));
        Self {
            zone,
            root,
            terms,
            revision: Revision(0),
            used,
            reserved,
        }
    }

    /// The term that encrypts.
    pub(crate) fn active(&self) -> &Term {
        self.terms
            .last()
            .expect("a keyring has a term: decode and init see to it")
    }

    /// The key that sealed a record of term `number`.
    pub(crate) fn key(&self, number: u32) -> Option<&[u8; 32]> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        Some(self.terms.get(at)?.key.expose())
    }

    /// Takes `count` encryptions of the active term; false if more must be reserved first.
    pub(crate) fn take(&self, count: u64) -> bool {
        let before = self.used.fetch_add(count, Ordering::Relaxed);
        before.saturating_add(count) <= self.reserved.load(Ordering::Relaxed)
    }

    /// What the active term has used and may use.
    pub(crate) fn count(&self) -> Count {
        let used = self.used.load(Ordering::Relaxed);
        Count {
            used,
            reserved: self.reserved.load(Ordering::Relaxed),
        }
    }

    /// Sets what the active term may use, after it was stored.
    pub(crate) fn allow(&self, reserved: u64) {
        self.reserved.store(reserved, Ordering::Relaxed);
    }

    /// Lowers what the active term may use.
    pub(crate) fn allow_at_most(&self, reserved: u64) {
        self.reserved.fetch_min(reserved, Ordering::Relaxed);
    }

    /// Makes `term` the active one.
    pub(crate) fn install(&mut self, term: Term, count: Count, revision: Revision) {
        self.terms.push(term);
        self.resume(count, revision);
    }

    /// Sets the count and the revision that were read with the keyring.
    pub(crate) fn resume(&mut self, count: Count, revision: Revision) {
        self.used = AtomicU64::new(count.used);
        self.reserved = AtomicU64::new(count.reserved);
        self.revision = revision;
    }

    /// Seals one content under the active term. The caller took the encryption before.
    pub(crate) fn seal(
        &self,
        random: &dyn Random,
        format: Format,
        key: &[u8],
        content: &[u8],
    ) -> bytes::Bytes {
        let term = self.active();
        let nonce = random::bytes(random);
        let with = Sealing {
            key: term.key.expose(),
            term: term.number,
            nonce,
        };
        record::seal(
            &with,
            format,
            Place {
                zone: &self.zone,
                key,
            },
            content,
        )
    }

    /// Opens the record that was found at `key`.
    pub(crate) fn open(
        &self,
        key: &[u8],
        found: &[u8],
    ) -> Result<(Format, Zeroizing<Vec<u8>>), RecordFault> {
        let record = Record::parse(found)?;
        let data_key = self.key(record.term).ok_or(RecordFault)?;
        Ok((
            record.format,
            record.open(
                data_key,
                Place {
                    zone: &self.zone,
                    key,
                },
            )?,
        ))
    }
}

/// Encryptions of one term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) used: u64,
    pub(crate) reserved: u64,
}

/// The stored count of one term: twelve bytes, `term u32 BE | reserved u64 BE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) term: u32,
    pub(crate) reserved: u64,
}

impl Stored {
    pub(crate) fn encode(self) -> Vec<u8> {
        [
            self.term.to_be_bytes().as_slice(),
            &self.reserved.to_be_bytes(),
        ]
        .concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (term, rest) = bytes.split_first_chunk::<4>()?;
        let reserved = <[u8; 8]>::try_from(rest).ok()?;
        Some(Self {
            term: u32::from_be_bytes(*term),
            reserved: u64::from_be_bytes(reserved),
        })
    }
}

/// The stored form of `terms` and, behind them, of `next`.
pub(crate) fn encode(terms: &[Term], next: Option<&Term>) -> Zeroizing<Vec<u8>> {
    let count = terms.len() + usize::from(next.is_some());
    let mut out = Zeroizing::new(Vec::with_capacity(3 + count * ENTRY));
    out.push(VERSION);
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
    for term in terms.iter().chain(next) {
        out.extend_from_slice(&term.number.to_be_bytes());
        out.extend_from_slice(&term.installed.nanos().to_be_bytes());
        out.extend_from_slice(term.key.expose());
    }
    out
}

/// Why a stored keyring was refused.
#[derive(Debug)]
pub(crate) enum DecodeFault {
    /// Not the form of [`encode`].
    Malformed,
    /// No locked memory for its keys.
    Memory(MemoryError),
}

/// Reads the stored form; the keys go to locked memory at once.
pub(crate) fn decode(bytes: &[u8], memory: &dyn SecretMemory) -> Result<Vec<Term>, DecodeFault> {
    let entries = entries(bytes).ok_or(DecodeFault::Malformed)?;
    let lock = |entry: Entry| {
        let mut key = entry.key;
        let locked = memory.lock(&mut key);
        key.zeroize();
        let key = locked.map_err(DecodeFault::Memory)?;
        Ok(Term {
            number: entry.number,
            installed: entry.installed,
            key,
        })
    };
    entries.into_iter().map(lock).collect()
}

/// Whether bytes have the stored form, without keeping a key.
pub(crate) fn parse(bytes: &[u8]) -> bool {
    entries(bytes).is_some()
}

struct Entry {
    number: u32,
    installed: Timestamp,
    key: [u8; 32],
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Terms 1, 2, … without a gap, at least one, and not a byte more.
fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (version, rest) = bytes.split_first()?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_be_bytes(*count));
    let fit = *version == VERSION && (1..=MAX_TERMS).contains(&count);
    if !fit || rest.len() != count * ENTRY {
        return None;
    }
    let numbered = rest.chunks_exact(ENTRY).zip(1u32..);
    numbered
        .map(|(entry, number)| one_entry(entry).filter(|e| e.number == number))
        .collect()
}

fn one_entry(bytes: &[u8]) -> Option<Entry> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    let (nanos, rest) = rest.split_first_chunk::<8>()?;
    let (key, _) = rest.split_first_chunk::<32>()?;
    Some(Entry {
        number: u32::from_be_bytes(*number),
        installed: Timestamp::from_nanos(i64::from_be_bytes(*nanos)),
        key: *key,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keys on the heap, for tests of the forms.
    #[derive(Debug)]
    pub(crate) struct Heap;
    struct HeapKey([u8; 32]);

    impl SecretMemory for Heap {
        fn lock(&self, key: &mut [u8; 32]) -> Result<Box<dyn LockedBytes>, MemoryError> {
            let locked = Box::new(HeapKey(*key));
            key.zeroize();
            Ok(locked)
        }
    }

    impl LockedBytes for HeapKey {
        fn expose(&self) -> &[u8; 32] {
            &self.0
        }
    }

    fn term(number: u32, byte: u8) -> Term {
        let installed = Timestamp::from_secs(1_795_000_000 + i64::from(number));
        Term {
            number,
            installed,
            key: Heap.lock(&mut [byte; 32]).unwrap(),
        }
    }

    #[test]
    fn the_form_is_the_one_of_the_golden_file() {
        let bytes = encode(&[term(1, 0x11), term(2, 0x22)], Some(&term(3, 0x33)));
        assert_eq!(
            hex::encode(&*bytes),
            include_str!("../tests/golden/keyring-1.hex").trim()
        );
        let terms = decode(&bytes, &Heap).unwrap();
        let numbers: Vec<u32> = terms.iter().map(|term| term.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(terms[1].key.expose(), &[0x22; 32]);
        assert_eq!(terms[2].installed, Timestamp::from_secs(1_795_000_003));
    }

    #[test]
    fn other_forms_are_refused() {
        let good = encode(&[term(1, 1), term(2, 2)], None);
        let refused = |bytes: &[u8]| decode(bytes, &Heap).is_err();
        assert!(!refused(&good));
        for len in 0..good.len() {
            assert!(refused(&good[..len]), "{len}");
        }
        let mut version = good.to_vec();
        version[0] = 2;
        let gap = encode(&[term(1, 1), term(3, 3)], None);
        assert!(refused(&version) && refused(&gap) && refused(&[1, 0, 0]));
    }

    #[test]
    fn b3_no_encryption_beyond_what_is_reserved() {
        let root = Heap.lock(&mut [0; 32]).unwrap();
        let count = Count {
            used: 0,
            reserved: 100,
        };
        let ring = Keyring::new([0; 16], root, vec![term(1, 1)], count);
        assert!(ring.take(60) && ring.take(40));
        assert!(!ring.take(1));
        ring.allow(200);
        assert!(ring.take(60));
        assert_eq!(
            ring.count(),
            Count {
                used: 161,
                reserved: 200
            }
        );
    }
}
