//! DER pieces that the typed crates do not give: joining encoded parts, and instants.
//!
//! Parts are written by `der` and `x509-cert`; this module only puts an outer header before
//! bytes that are encoded already, so that a certificate is never decoded to be signed and a
//! list of a million revocations is written in one pass.

use std::time::Duration;

use der::asn1::AnyRef;
use der::{DateTime, Encode};
use x509_cert::time::Time;
use zone_types::Timestamp;

use crate::build::BuildFault;

pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const EXPLICIT_0: u8 = 0xa0;

/// `tag` and the length of `parts` together, then `parts`.
pub(crate) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    push_header(&mut out, tag, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Appends tag and definite length (X.690 section 8.1.3).
pub(crate) fn push_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let used = &bytes[(length.leading_zeros() / 8) as usize..];
    out.push(0x80 | used.len() as u8);
    out.extend_from_slice(used);
}

/// A whole signed object: `SEQUENCE { body, algorithm, BIT STRING signature }`.
pub(crate) fn signed(body: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = wrap(BIT_STRING, &[&[0], signature]);
    wrap(SEQUENCE, &[body, algorithm, &bits])
}

/// `UTCTime` through 2049, `GeneralizedTime` after (RFC 5280 section 4.1.2.5). Whole seconds;
/// `None` before 1970.
pub(crate) fn time(at: Timestamp) -> Option<Time> {
    let secs = u64::try_from(at.secs()).ok()?;
    DateTime::from_unix_duration(Duration::from_secs(secs))
        .ok()
        .map(Time::from)
}

/// As [`time`], for plans.
pub(crate) fn time_or_fault(at: Timestamp) -> Result<Time, BuildFault> {
    time(at).ok_or(BuildFault::Plan("an instant lies before 1970"))
}

/// The instant of a certificate's time; saturates in the year 2262.
pub(crate) fn timestamp(time: Time) -> Timestamp {
    let secs = time.to_unix_duration().as_secs();
    Timestamp::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

/// The bytes of a value that was read whole.
pub(crate) fn raw(value: AnyRef<'_>) -> der::Result<Vec<u8>> {
    value.to_der()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal() {
        for length in [0usize, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let body = vec![0u8; length];
            let ours = wrap(0x04, &[&body]);
            let theirs = der::asn1::OctetString::new(body).unwrap().to_der().unwrap();
            assert_eq!(ours, theirs, "{length}");
        }
    }

    #[test]
    fn the_year_2050_changes_the_form() {
        let before = Timestamp::parse_rfc3339("2049-12-31T23:59:59Z").unwrap();
        let after = Timestamp::parse_rfc3339("2050-01-01T00:00:00Z").unwrap();
        assert!(matches!(time(before), Some(Time::UtcTime(_))));
        assert!(matches!(time(after), Some(Time::GeneralTime(_))));
        assert_eq!(timestamp(time(before).unwrap()), before);
        assert_eq!(timestamp(time(after).unwrap()), after);
    }
}
