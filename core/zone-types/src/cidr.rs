//! Address blocks (RFC 4632, RFC 4291).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `10.0.0.0/8`, `::1/128`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

impl Cidr {
    /// `None` for what is no block. IPv4 addresses in IPv6 clothes are refused: callers are
    /// compared in plain IPv4, so such a block would never match.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let widest = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(widest);
        let plain = network.to_canonical() == network;
        (plain && bits <= widest).then_some(Self { network, bits })
    }

    /// Whether `address` lies in the block.
    pub fn holds(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width - u32::from(self.bits);
            a.checked_shr(shift).unwrap_or(0) == b.checked_shr(shift).unwrap_or(0)
        };
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
            _ => false,
        }
    }

    /// Whether every address of `other` is one of this block.
    pub fn contains(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.holds(other.network)
    }
}

/// A text that is no address block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a block such as 10.0.0.0/8, IPv4 in plain form")]
pub struct CidrFault;

impl FromStr for Cidr {
    type Err = CidrFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(CidrFault)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        let holds =
            |cidr: &str, address: &str| Cidr::parse(cidr).unwrap().holds(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.1.2.3"));
        assert!(!holds("10.0.0.0/8", "11.1.2.3"));
        assert!(holds("0.0.0.0/0", "11.1.2.3"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "2001:db8::1"));
        assert!(holds("127.0.0.1", "127.0.0.1"));
        assert!(!holds("127.0.0.1/32", "127.0.0.2"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(holds("2001:db8::/32", "2001:db8::1"));
        assert!(!holds("2001:db8::/32", "10.0.0.1"));
        for text in [
            "10.0.0.0/33",
            "::/129",
            "ten",
            "",
            "10.0.0.0/",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn blocks_contain_smaller_ones() {
        let contains =
            |a: &str, b: &str| Cidr::parse(a).unwrap().contains(&Cidr::parse(b).unwrap());
        assert!(contains("10.0.0.0/8", "10.9.0.0/16"));
        assert!(contains("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!contains("10.9.0.0/16", "10.0.0.0/8"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("::/0", "::1"));
        assert!(!contains("::/0", "10.0.0.1"));
    }
}
