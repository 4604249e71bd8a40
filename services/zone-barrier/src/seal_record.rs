//! The seal record: what must be known before any key is. See docs/formats/keyring.md.
//!
//! The one record in the clear. It holds nothing that helps to open the zone: how many shares
//! there are, a salted hash of each, and the root key wrapped by the unseal key that they form.
//!
//! A plain salted hash is enough here: a share is 256 uniformly random bits (each value of a
//! random polynomial is), so there is nothing to guess, and a slow hash would only let strangers
//! burn our CPU. The hashes name a wrong share at entry, which keeps one bad share from
//! spoiling an attempt of others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zone_crypto::{ct_eq, hmac, shamir};

use crate::record::ZoneBytes;

/// Generations of shares that are remembered as outdated.
const REMEMBERED: usize = 3;

/// The stored form.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealRecord {
    v: u32,
    /// The zone's id, 32 hex digits.
    zone: String,
    /// False from `init_prepare` until `init_finish`.
    pub(crate) initialised: bool,
    /// The shares that open the zone now.
    pub(crate) current: Generation,
    /// Shares of before a rekey, latest first.
    retired: Vec<Generation>,
    /// The root key's record, base64.
    root: String,
}

/// One set of shares.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Generation {
    /// 1 at init, one more with each rekey.
    pub(crate) number: u32,
    pub(crate) shares: u8,
    pub(crate) threshold: u8,
    /// 64 hex digits.
    salt: String,
    /// 64 hex digits each, in the order in which the shares were handed out.
    hashes: Vec<String>,
}

/// What a share is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// The share at this place of the current set.
    Current(u8),
    /// A share of before a rekey.
    Retired,
    /// Not a share of this zone.
    Not,
}

impl SealRecord {
    pub(crate) fn new(zone: &ZoneBytes, current: Generation, root: &[u8]) -> Self {
        let (zone, root) = (hex::encode(zone), STANDARD.encode(root));
        Self {
            v: 1,
            zone,
            initialised: false,
            current,
            retired: Vec::new(),
            root,
        }
    }

    /// The record of the next generation, with the same zone and state.
    pub(crate) fn succeed(&self, current: Generation, root: &[u8]) -> Self {
        let retired = std::iter::once(&self.current).chain(&self.retired);
        let retired = retired.take(REMEMBERED).cloned().collect();
        Self {
            current,
            retired,
            root: STANDARD.encode(root),
            ..self.clone()
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always have a JSON form")
    }

    /// `None` if the bytes are not a seal record that this version understands.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(bytes).ok()?;
        let sets = std::iter::once(&record.current).chain(&record.retired);
        let sound = record.v == 1
            && record.zone_bytes().is_some()
            && record.root_bytes().is_some()
            && record.retired.len() <= REMEMBERED
            && sets.into_iter().all(Generation::is_sound);
        sound.then_some(record)
    }

    pub(crate) fn zone_bytes(&self) -> Option<ZoneBytes> {
        hex::decode(&self.zone).ok()?.try_into().ok()
    }

    pub(crate) fn zone_text(&self) -> String {
        self.zone.clone()
    }

    pub(crate) fn root_bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.root).ok()
    }

    /// Which share `share` is.
    pub(crate) fn recognise(&self, share: &[u8]) -> Known {
        let zone = self.zone_bytes().unwrap_or_default();
        if let Some(at) = self.current.position(&zone, share) {
            return Known::Current(at);
        }
        let outdated = self
            .retired
            .iter()
            .any(|old| old.position(&zone, share).is_some());
        if outdated { Known::Retired } else { Known::Not }
    }
}

impl Generation {
    /// The set of these `shares`, which are hashed under `salt`.
    pub(crate) fn new<S: AsRef<[u8]>>(
        number: u32,
        threshold: u8,
        zone: &ZoneBytes,
        salt: &[u8; 32],
        shares: &[S],
    ) -> Self {
        let hash = |share: &S| hex::encode(hash(salt, zone, number, share.as_ref()));
        let hashes: Vec<_> = shares.iter().map(hash).collect();
        let shares = u8::try_from(shares.len()).unwrap_or(u8::MAX);
        Self {
            number,
            shares,
            threshold,
            salt: hex::encode(salt),
            hashes,
        }
    }

    /// Bytes of one share: x is missing where one share is the key itself.
    pub(crate) fn share_len(&self) -> usize {
        if self.threshold == 1 {
            32
        } else {
            32 + shamir::OVERHEAD
        }
    }

    /// The place of a root key's record: the numbers are bound to it, so that a changed
    /// threshold cannot pass unseen.
    pub(crate) fn root_place(&self, key: &[u8]) -> Vec<u8> {
        let mut place = key.to_vec();
        place.extend_from_slice(&self.number.to_be_bytes());
        place.extend_from_slice(&[self.shares, self.threshold]);
        place
    }

    fn is_sound(&self) -> bool {
        let is_hash = |text: &String| hex::decode(text).is_ok_and(|bytes| bytes.len() == 32);
        shamir::check_numbers(self.shares, self.threshold).is_ok()
            && self.hashes.len() == usize::from(self.shares)
            && is_hash(&self.salt)
            && self.hashes.iter().all(is_hash)
    }

    /// Looks at every hash whatever is found, so that time says nothing about which matched.
    fn position(&self, zone: &ZoneBytes, share: &[u8]) -> Option<u8> {
        let salt = hex::decode(&self.salt).ok()?;
        let hash = hex::encode(hash(&salt, zone, self.number, share));
        let mut found = None;
        for (at, known) in (0u8..).zip(&self.hashes) {
            if ct_eq(known.as_bytes(), hash.as_bytes()) {
                found = Some(at);
            }
        }
        found
    }
}

fn hash(salt: &[u8], zone: &ZoneBytes, generation: u32, share: &[u8]) -> [u8; 32] {
    let parts: [&[u8]; 4] = [b"zonehead share 1", zone, &generation.to_be_bytes(), share];
    hmac::Key::new(salt).sign_parts(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: u32, byte: u8) -> Generation {
        let shares: Vec<Vec<u8>> = (0..3).map(|n| vec![byte + n; 33]).collect();
        Generation::new(number, 2, &[9; 16], &[byte; 32], &shares)
    }

    #[test]
    fn knows_current_outdated_and_foreign_shares() {
        let mut record = SealRecord::new(&[9; 16], set(1, 10), b"root");
        for number in 2..=5 {
            record = record.succeed(set(number, number as u8 * 10), b"root");
        }
        let record = SealRecord::decode(&record.encode()).unwrap();
        assert_eq!(record.recognise(&[50; 33]), Known::Current(0));
        assert_eq!(record.recognise(&[52; 33]), Known::Current(2));
        assert_eq!(record.recognise(&[40; 33]), Known::Retired);
        assert_eq!(record.recognise(&[21; 33]), Known::Retired);
        assert_eq!(
            record.recognise(&[10; 33]),
            Known::Not,
            "beyond the three remembered"
        );
        assert_eq!(record.recognise(&[50; 32]), Known::Not);
    }

    #[test]
    fn unsound_records_are_refused() {
        let good = SealRecord::new(&[9; 16], set(1, 10), b"root");
        assert!(SealRecord::decode(&good.encode()).is_some());
        let bend = |change: &dyn Fn(&mut SealRecord)| {
            let mut record = good.clone();
            change(&mut record);
            SealRecord::decode(&record.encode()).is_none()
        };
        assert!(bend(&|r| r.v = 2));
        assert!(bend(&|r| r.zone.truncate(30)));
        assert!(bend(&|r| r.root.push('!')));
        assert!(bend(&|r| r.current.threshold = 4));
        assert!(bend(&|r| r.current.threshold = 1));
        assert!(bend(&|r| r.current.shares = 4));
        assert!(bend(&|r| r.current.hashes[0].truncate(62)));
        assert!(SealRecord::decode(b"{\"v\":1}").is_none());
    }
}
