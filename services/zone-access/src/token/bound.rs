//! Addresses from which a token can be used.

use std::net::IpAddr;

use zone_types::Cidr;

/// Whether `address` lies in one of `cidrs` (all, if there are none).
pub(crate) fn bound_to(cidrs: &[String], address: Option<IpAddr>) -> bool {
    if cidrs.is_empty() {
        return true;
    }
    let Some(address) = address else { return false };
    cidrs
        .iter()
        .any(|text| Cidr::parse(text).is_some_and(|cidr| cidr.holds(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_token_needs_a_known_address() {
        let bound = |cidrs: &[&str], address: Option<&str>| {
            let cidrs: Vec<String> = cidrs.iter().map(|text| (*text).to_owned()).collect();
            bound_to(&cidrs, address.map(|text| text.parse().unwrap()))
        };
        assert!(bound(&[], None));
        assert!(!bound(&["10.0.0.0/8"], None));
        assert!(bound(&["192.0.2.1", "10.0.0.0/8"], Some("10.1.2.3")));
        assert!(!bound(&["10.0.0.0/8"], Some("11.1.2.3")));
    }
}
