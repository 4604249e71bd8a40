//! A plain function that fuzzers drive: no bytes from a store may make a decoder panic.

use crate::blob::{self, Pointer};
use crate::keyring;
use crate::record::{Place, Record};
use crate::seal_record::SealRecord;

/// Feeds `data` to every decoder of stored bytes.
pub fn fuzz_record(data: &[u8]) {
    let place = Place {
        zone: &[0; 16],
        key: b"fuzz",
    };
    if let Ok(record) = Record::parse(data) {
        let opened = record.open(&[0; 32], place);
        assert!(opened.is_err(), "random bytes do not open");
    }
    keyring::parse(data);
    let _ = keyring::Stored::decode(data);
    let _ = Pointer::decode(data);
    if let Ok(key) = zone_ports::Key::new(data.to_vec()) {
        let _ = blob::generation_of(&key);
    }
    if let Some(record) = SealRecord::decode(data) {
        let _ = record.recognise(data);
    }
}
