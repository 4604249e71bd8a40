//! DER taken apart one level at a time. Every header is definite and of minimal length, or the
//! reading fails.

use der::{Decode, Encode, Header, Reader, SliceReader, Tag, TagNumber};

/// One encoded value.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) tag: Tag,
    /// Header and value.
    pub(super) tlv: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Takes the next value off `reader`.
pub(super) fn next<'a>(reader: &mut SliceReader<'a>) -> Option<Piece<'a>> {
    let header = Header::peek(reader).ok()?;
    let tlv = reader.tlv_bytes().ok()?;
    let length = usize::try_from(header.length()).ok()?;
    Some(Piece {
        tag: header.tag(),
        tlv,
        value: tlv.get(tlv.len().checked_sub(length)?..)?,
    })
}

/// The only value in `bytes`.
pub(super) fn only(bytes: &[u8]) -> Option<Piece<'_>> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let piece = next(&mut reader)?;
    reader.is_finished().then_some(piece)
}

/// The values that follow each other in `content`.
pub(super) fn all(content: &[u8]) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut reader = SliceReader::new(content).ok()?;
    while !reader.is_finished() {
        pieces.push(next(&mut reader)?);
    }
    Some(pieces)
}

/// The members of the only value in `bytes`, which is a `SEQUENCE`.
pub(super) fn inside(bytes: &[u8]) -> Option<Vec<Piece<'_>>> {
    let outer = only(bytes)?;
    if outer.tag == Tag::Sequence {
        all(outer.value)
    } else {
        None
    }
}

/// A context-specific tag.
pub(super) const fn context(number: u32, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: TagNumber(number),
    }
}

/// Decodes `bytes` and makes sure that encoding it again gives the same.
pub(super) fn canonical<T: for<'a> Decode<'a> + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::from_der(bytes).ok()?;
    (value.to_der().ok()? == bytes).then_some(value)
}

/// Whether the content of an `INTEGER` is of minimal length (X.690 section 8.3.2).
pub(super) fn is_minimal(integer: &[u8]) -> bool {
    match integer {
        [] => false,
        [0, second, ..] => *second >= 0x80,
        [0xff, second, ..] => *second < 0x80,
        _ => true,
    }
}

/// One extension (RFC 5280 section 4.2).
#[derive(Clone, Copy)]
pub(super) struct Extension<'a> {
    pub(super) oid: crate::Oid,
    pub(super) is_critical: bool,
    pub(super) value: &'a [u8],
}

/// Reads an `Extensions` value.
pub(super) fn extensions(bytes: &[u8]) -> Option<Vec<Extension<'_>>> {
    inside(bytes)?
        .into_iter()
        .map(|piece| extension(piece.tlv))
        .collect()
}

fn extension(bytes: &[u8]) -> Option<Extension<'_>> {
    let parts = inside(bytes)?;
    let (oid, is_critical, value) = match parts[..] {
        [oid, value] => (oid, false, value),
        // The default, FALSE, is not written (X.690 section 11.5); TRUE is 0xff (11.1).
        [oid, flag, value] if flag.tag == Tag::Boolean && flag.value == [0xff] => {
            (oid, true, value)
        }
        _ => return None,
    };
    let oid = crate::Oid::from_der(oid.tlv).ok()?;
    (value.tag == Tag::OctetString).then_some(Extension {
        oid,
        is_critical,
        value: value.value,
    })
}

/// A UTCTime or GeneralizedTime as it stands.
#[derive(Clone, Copy)]
pub(super) struct Instant<'a>(Piece<'a>);

impl<'a> Instant<'a> {
    /// `None` if `piece` is no time.
    pub(super) fn read(piece: Piece<'a>) -> Option<Self> {
        matches!(piece.tag, Tag::UtcTime | Tag::GeneralizedTime).then_some(Self(piece))
    }

    /// Whether it has seconds and a Z, no fraction, and the form that its year asks for
    /// (RFC 5280 section 4.1.2.5): `YYMMDDHHMMSSZ` through 2049, `YYYYMMDDHHMMSSZ` after.
    pub(super) fn has_form(self) -> bool {
        let (digits, zone) = self.0.value.split_at(self.0.value.len().saturating_sub(1));
        let known = zone == b"Z" && digits.iter().all(u8::is_ascii_digit);
        let wanted = match self.0.tag {
            Tag::UtcTime => digits.len() == 12,
            _ => digits.len() == 14 && digits >= b"20500101000000".as_slice(),
        };
        known && wanted && self.time().is_some()
    }

    /// The instant; `None` if the digits are no date.
    pub(super) fn time(self) -> Option<x509_cert::time::Time> {
        x509_cert::time::Time::from_der(self.0.tlv).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_must_be_minimal_and_definite() {
        assert!(only(&[0x04, 0x01, 0x00]).is_some());
        assert!(
            only(&[0x04, 0x81, 0x01, 0x00]).is_none(),
            "long form for a short length"
        );
        assert!(
            only(&[0x30, 0x80, 0x00, 0x00]).is_none(),
            "indefinite length"
        );
        assert!(only(&[0x04, 0x01, 0x00, 0x00]).is_none(), "trailing bytes");
        assert!(only(&[0x04, 0x02, 0x00]).is_none(), "cut off");
    }

    #[test]
    fn integers_are_minimal() {
        for good in [&[0u8][..], &[0x7f], &[0, 0x80], &[0xff, 0x7f], &[0xff]] {
            assert!(is_minimal(good), "{good:02x?}");
        }
        for bad in [&[][..], &[0, 0x7f], &[0xff, 0x80]] {
            assert!(!is_minimal(bad), "{bad:02x?}");
        }
    }

    #[test]
    fn forms_of_time() {
        let form = |tag: u8, text: &str| {
            let bytes = crate::asn1::wrap(tag, &[text.as_bytes()]);
            Instant::read(only(&bytes).unwrap()).unwrap().has_form()
        };
        assert!(form(0x17, "491231235959Z"));
        assert!(form(0x18, "20500101000000Z"));
        assert!(form(0x18, "99991231235959Z"));
        assert!(
            !form(0x18, "20491231235959Z"),
            "too early for GeneralizedTime"
        );
        assert!(!form(0x17, "4912312359Z"), "no seconds");
        assert!(!form(0x17, "491231235959+0000"), "an offset");
        assert!(!form(0x18, "20500101000000.5Z"), "a fraction");
        assert!(!form(0x17, "490230000000Z"), "no such day");
    }
}
