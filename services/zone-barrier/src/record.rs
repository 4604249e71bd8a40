//! One stored record: its bytes, and what binds it to its place (B3). See docs/formats/record.md.
//!
//! ```text
//! term u32 BE | format u8 | nonce 12 | ciphertext | tag 16
//! associated data: format u8 | zone id 16 | storage key
//! ```
//!
//! Pure: keys and nonces are arguments.

use bytes::Bytes;
use zeroize::Zeroizing;
use zone_crypto::aead::{self, NONCE_LEN, TAG_LEN};

/// Bytes in front of the ciphertext.
const HEADER: usize = 4 + 1 + NONCE_LEN;
/// What a record is longer than its content.
pub(crate) const OVERHEAD: usize = HEADER + TAG_LEN;

/// Random bytes that name a zone for life.
pub(crate) type ZoneBytes = [u8; 16];

/// What a record holds. Part of the associated data, so one cannot pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Format {
    /// A service's value.
    Value = 1,
    /// Where the chunks of a large value are.
    Pointer = 2,
    /// One chunk of a large value, or its owner's key.
    Chunk = 3,
    /// The keyring, under the root key.
    Keyring = 4,
    /// The root key, under the unseal key.
    Root = 5,
}

impl Format {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Value,
            Self::Pointer,
            Self::Chunk,
            Self::Keyring,
            Self::Root,
        ]
        .into_iter()
        .find(|format| *format as u8 == byte)
    }
}

/// The bytes are not a record of this key, zone and place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordFault;

/// The place of a record: the zone and the storage key (for the root key: and more).
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) zone: &'a ZoneBytes,
    pub(crate) key: &'a [u8],
}

impl Place<'_> {
    fn associated_data(&self, format: Format) -> Vec<u8> {
        let mut data = Vec::with_capacity(1 + self.zone.len() + self.key.len());
        data.push(format as u8);
        data.extend_from_slice(self.zone);
        data.extend_from_slice(self.key);
        data
    }
}

/// A record cut into its parts, not yet trusted.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// The key term; zero for the keyring and the root key.
    pub(crate) term: u32,
    pub(crate) format: Format,
    nonce: [u8; NONCE_LEN],
    sealed: &'a [u8],
}

impl<'a> Record<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, RecordFault> {
        let (term, rest) = bytes.split_first_chunk::<4>().ok_or(RecordFault)?;
        let (format, rest) = rest.split_first().ok_or(RecordFault)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(RecordFault)?;
        if sealed.len() < TAG_LEN {
            return Err(RecordFault);
        }
        let format = Format::of(*format).ok_or(RecordFault)?;
        Ok(Self {
            term: u32::from_be_bytes(*term),
            format,
            nonce: *nonce,
            sealed,
        })
    }

    /// The content, if `key` sealed this record for `place`.
    pub(crate) fn open(
        &self,
        key: &[u8; 32],
        place: Place<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, RecordFault> {
        aead::Key::new(key)
            .open_copy(
                &self.nonce,
                &place.associated_data(self.format),
                self.sealed,
            )
            .map_err(|_| RecordFault)
    }
}

/// What a record is sealed with.
pub(crate) struct Sealing<'a> {
    pub(crate) key: &'a [u8; 32],
    pub(crate) term: u32,
    /// Fresh for each record of a key.
    pub(crate) nonce: [u8; NONCE_LEN],
}

/// Makes the record of `content` at `place`.
pub(crate) fn seal(with: &Sealing<'_>, format: Format, place: Place<'_>, content: &[u8]) -> Bytes {
    let mut record = Vec::with_capacity(OVERHEAD + content.len());
    record.extend_from_slice(&with.term.to_be_bytes());
    record.push(format as u8);
    record.extend_from_slice(&with.nonce);
    record.extend_from_slice(content);
    let key = aead::Key::new(with.key);
    let tag = key.seal(
        &with.nonce,
        &place.associated_data(format),
        &mut record[HEADER..],
    );
    record.extend_from_slice(&tag);
    record.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: ZoneBytes = [9; 16];
    const KEY: [u8; 32] = [7; 32];

    fn place(key: &[u8]) -> Place<'_> {
        Place { zone: &ZONE, key }
    }

    fn sealed(format: Format, key: &[u8], content: &[u8]) -> Bytes {
        seal(
            &Sealing {
                key: &KEY,
                term: 3,
                nonce: [5; 12],
            },
            format,
            place(key),
            content,
        )
    }

    #[test]
    fn the_format_is_the_one_of_the_golden_file() {
        let record = sealed(
            Format::Value,
            b"root/0123456789abcdef/kind/name",
            b"content",
        );
        let golden = include_str!("../tests/golden/record-1.hex").trim();
        assert_eq!(hex::encode(&record), golden);
        let parsed = Record::parse(&record).unwrap();
        assert_eq!((parsed.term, parsed.format), (3, Format::Value));
        let content = parsed
            .open(&KEY, place(b"root/0123456789abcdef/kind/name"))
            .unwrap();
        assert_eq!(content.as_slice(), b"content");
    }

    #[test]
    fn b3_a_record_opens_in_its_place_only() {
        let record = sealed(Format::Value, b"a", b"content");
        let parsed = Record::parse(&record).unwrap();
        assert!(parsed.open(&KEY, place(b"a")).is_ok());
        assert!(parsed.open(&KEY, place(b"b")).is_err());
        assert!(
            parsed
                .open(
                    &KEY,
                    Place {
                        zone: &[8; 16],
                        key: b"a"
                    }
                )
                .is_err()
        );
        assert!(parsed.open(&[6; 32], place(b"a")).is_err());
        let mut other = record.to_vec();
        other[4] = Format::Chunk as u8;
        assert!(
            Record::parse(&other)
                .unwrap()
                .open(&KEY, place(b"a"))
                .is_err()
        );
    }

    #[test]
    fn b3_no_length_of_a_record_but_its_own_opens() {
        let record = sealed(Format::Value, b"a", b"content");
        for len in 0..record.len() {
            let opened = Record::parse(&record[..len]).and_then(|r| r.open(&KEY, place(b"a")));
            assert!(opened.is_err(), "{len}");
        }
        let mut longer = record.to_vec();
        longer.push(0);
        assert!(
            Record::parse(&longer)
                .unwrap()
                .open(&KEY, place(b"a"))
                .is_err()
        );
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let record = sealed(Format::Value, b"a", b"");
        assert_eq!(record.len(), OVERHEAD);
        assert!(
            Record::parse(&record)
                .unwrap()
                .open(&KEY, place(b"a"))
                .unwrap()
                .is_empty()
        );
    }
}
