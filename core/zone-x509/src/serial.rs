//! Serial numbers (RFC 5280 section 4.1.2.2): positive, at most 20 octets.

use std::fmt;

use der::asn1::{AnyRef, UintRef};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::certificate::ParseFault;

/// A certificate's serial number.
///
/// Text form as Vault prints it: lower-case hex octets joined by `:`. Read also with `-`, and
/// without any separator. Ordered as numbers of equal length are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Box<[u8]>);

/// Why a text or integer is no serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a serial number: 1 to 20 hex octets joined by : or -, above zero")]
pub struct SerialFault;

impl Serial {
    /// A fresh serial from 160 random bits, of which 158 stay: the first octet is put into
    /// 0x40..=0x7f so that the encoding is positive and always 20 octets long (C1).
    pub fn from_random(mut bits: [u8; 20]) -> Self {
        bits[0] = (bits[0] & 0x3f) | 0x40;
        Self(bits.into())
    }

    /// From a big-endian magnitude; leading zeros are dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SerialFault> {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match &bytes[zeros..] {
            [] => Err(SerialFault),
            [first, ..] if bytes.len() - zeros + usize::from(*first >= 0x80) > 20 => {
                Err(SerialFault)
            }
            magnitude => Ok(Self(magnitude.into())),
        }
    }

    /// Reads `aa:bb`, `aa-bb` or `aabb`; case does not matter.
    pub fn parse(text: &str) -> Result<Self, SerialFault> {
        let joined;
        let digits = match [':', '-'].into_iter().find(|sep| text.contains(*sep)) {
            Some(sep) => {
                if text.len() > 60 || text.split(sep).any(|octet| octet.len() != 2) {
                    return Err(SerialFault);
                }
                joined = text.replace(sep, "");
                &joined
            }
            None => text,
        };
        if digits.len() > 40 {
            return Err(SerialFault);
        }
        Self::from_bytes(&hex::decode(digits).map_err(|_| SerialFault)?)
    }

    /// The content of the DER `INTEGER`.
    pub(crate) fn der_content(&self) -> Vec<u8> {
        let sign = (self.0[0] >= 0x80).then_some(0);
        sign.into_iter().chain(self.0.iter().copied()).collect()
    }

    /// From a DER `INTEGER`, minimal and above zero.
    pub(crate) fn from_der(integer: AnyRef<'_>) -> Result<Self, ParseFault> {
        let fault = ParseFault::Profile("a serial is not positive or over 20 octets");
        let number = integer
            .decode_as::<UintRef<'_>>()
            .map_err(|_| fault.clone())?;
        Self::from_bytes(number.as_bytes()).map_err(|_| fault)
    }

    /// The magnitude, big-endian, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets joined by `-`, as in Vault's storage keys and paths.
    pub fn to_hyphens(&self) -> String {
        self.to_string().replace(':', "-")
    }

    /// Plain hex.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0)
    }
}

/// Colon-joined hex of any octets, as Vault prints serials and key identifiers.
pub fn colon_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            text.push(':');
        }
        text.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        text.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    text
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&colon_hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use der::Tag;

    use super::*;

    #[test]
    fn c1_fresh_serials_are_positive_and_20_octets() {
        for fill in [0x00, 0x3f, 0x80, 0xff] {
            let serial = Serial::from_random([fill; 20]);
            assert_eq!(serial.der_content().len(), 20);
            assert!((0x40..0x80).contains(&serial.as_bytes()[0]));
        }
    }

    #[test]
    fn three_text_forms_are_one_serial() {
        let serial = Serial::parse("0a:ff:10").unwrap();
        assert_eq!(Serial::parse("0A-FF-10"), Ok(serial.clone()));
        assert_eq!(Serial::parse("0aff10"), Ok(serial.clone()));
        assert_eq!(serial.to_string(), "0a:ff:10");
        assert_eq!(serial.to_hyphens(), "0a-ff-10");
        assert_eq!(Serial::parse("00:0a:ff:10"), Ok(serial));
    }

    #[test]
    fn refuses_what_is_no_serial() {
        let too_long = "ff".repeat(20);
        for text in [
            "", "00", "0", "zz", "a:b", "aa:bb-cc", "aa:", ":aa", "aa bb", &too_long,
        ] {
            assert_eq!(Serial::parse(text), Err(SerialFault), "{text}");
        }
        assert!(Serial::parse(&"7f".repeat(20)).is_ok());
        let read = |content: &[u8]| Serial::from_der(AnyRef::new(Tag::Integer, content).unwrap());
        for content in [&[0x80][..], &[0x00], &[0x00, 0x01], &[], &[0x01; 21]] {
            assert!(read(content).is_err(), "{content:?}");
        }
        assert!(read(&[0x00, 0x80]).is_ok());
        assert!(Serial::from_der(AnyRef::new(Tag::OctetString, &[1]).unwrap()).is_err());
    }
}
