//! Floods of refused callers: few lines, the rest counted (attack 3 of the design).

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use zone_types::Timestamp;

use crate::redact::push_string;

/// Lines a second for one network.
const PER_NETWORK: u32 = 10;
/// Lines a second for all.
const PER_SECOND: u32 = 100;
/// Most networks that a summary tells apart; the others are counted together.
const MAX_NETWORKS: usize = 1_024;
/// Networks that a summary names, by count.
const NAMED: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Decides which refusals get a line of their own.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    start: Duration,
    lines: u32,
    networks: HashMap<IpAddr, Seen>,
    kinds: BTreeMap<&'static str, u64>,
    suppressed: u64,
}

#[derive(Debug, Default)]
struct Seen {
    lines: u32,
    suppressed: u64,
}

/// What was suppressed in one window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    kinds: BTreeMap<&'static str, u64>,
    networks: Vec<(IpAddr, u64)>,
    suppressed: u64,
}

impl Refusals {
    /// Whether a caller gets a line now, which takes its place among the lines of this second.
    pub(crate) fn admit(&self, now: Duration, from: Option<IpAddr>) -> bool {
        let mut window = self.0.lock();
        window.begin(now);
        let under = window.lines < PER_SECOND;
        let admitted = match window.seen(from) {
            Some(seen) if under && seen.lines < PER_NETWORK => {
                seen.lines += 1;
                true
            }
            _ => false,
        };
        window.lines += u32::from(admitted);
        admitted
    }

    /// Counts one that got no line.
    pub(crate) fn count(&self, now: Duration, kind: &'static str, from: Option<IpAddr>) {
        let mut window = self.0.lock();
        window.begin(now);
        if let Some(seen) = window.seen(from) {
            seen.suppressed += 1;
        }
        window.suppressed += 1;
        *window.kinds.entry(kind).or_default() += 1;
    }

    /// The summary of a window that is over.
    pub(crate) fn due(&self, now: Duration) -> Option<Summary> {
        let mut window = self.0.lock();
        if window.suppressed == 0 || now.saturating_sub(window.start) < WINDOW {
            return None;
        }
        std::mem::replace(
            &mut *window,
            Window {
                start: now,
                ..Window::default()
            },
        )
        .summary()
    }

    /// The summary of what was counted so far.
    pub(crate) fn flush(&self) -> Option<Summary> {
        std::mem::take(&mut *self.0.lock()).summary()
    }
}

impl Window {
    /// A window that is over and has nothing to tell makes room for the next.
    fn begin(&mut self, now: Duration) {
        if self.suppressed == 0 && now.saturating_sub(self.start) >= WINDOW {
            *self = Self {
                start: now,
                ..Self::default()
            };
        }
    }

    /// What is known of the network of `from`; `None` if there are too many.
    fn seen(&mut self, from: Option<IpAddr>) -> Option<&mut Seen> {
        let network = network(from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let known = self.networks.contains_key(&network);
        let room = known || self.networks.len() < MAX_NETWORKS;
        room.then(|| self.networks.entry(network).or_default())
    }

    fn summary(self) -> Option<Summary> {
        if self.suppressed == 0 {
            return None;
        }
        let counted = self
            .networks
            .into_iter()
            .filter(|(_, seen)| seen.suppressed > 0);
        let mut networks: Vec<_> = counted.map(|(net, seen)| (net, seen.suppressed)).collect();
        networks.sort_by_key(|(net, count)| (std::cmp::Reverse(*count), *net));
        networks.truncate(NAMED);
        Some(Summary {
            kinds: self.kinds,
            networks,
            suppressed: self.suppressed,
        })
    }
}

impl Summary {
    /// The open line.
    pub(crate) fn line(&self, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        drop(write!(
            out,
            "{{\"time\":\"{now}\",\"type\":\"refusals\",\"refusals\":{{\"v\":1"
        ));
        drop(write!(
            out,
            ",\"suppressed\":{},\"kinds\":{{",
            self.suppressed
        ));
        for (i, (kind, count)) in self.kinds.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_string(&mut out, kind);
            drop(write!(out, ":{count}"));
        }
        out.extend_from_slice(b"},\"networks\":{");
        for (i, (net, count)) in self.networks.iter().enumerate() {
            let bits = if net.is_ipv4() { 24 } else { 48 };
            let comma = if i > 0 { "," } else { "" };
            drop(write!(out, "{comma}\"{net}/{bits}\":{count}"));
        }
        out.extend_from_slice(b"}}");
        out
    }
}

/// The /24 or /48 of an address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(refusals: &Refusals, now: Duration, kind: &'static str, from: Option<IpAddr>) -> bool {
        let admitted = refusals.admit(now, from);
        if !admitted {
            refusals.count(now, kind, from);
        }
        admitted
    }

    #[test]
    fn attack_3_a_flood_is_counted_not_written() {
        let refusals = Refusals::default();
        let now = Duration::from_secs(100);
        let from = |last| Some(IpAddr::from([203, 0, 113, last]));
        let admitted = (0..=255)
            .filter(|last| admit(&refusals, now, "missing token", from(*last)))
            .count();
        assert_eq!(admitted, 10);
        assert_eq!(refusals.due(now), None);
        let summary = refusals.due(now + WINDOW).unwrap();
        let line = String::from_utf8(summary.line(Timestamp::EPOCH)).unwrap();
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:00Z\",\"type\":\"refusals\",\"refusals\":{\"v\":1,\
             \"suppressed\":246,\"kinds\":{\"missing token\":246},\
             \"networks\":{\"203.0.113.0/24\":246}}"
        );
        assert!(refusals.admit(now + WINDOW, from(1)));
    }

    #[test]
    fn attack_3_many_networks_share_one_limit_and_bounded_memory() {
        let refusals = Refusals::default();
        let admitted = (0..5_000u32)
            .filter(|i| {
                let from = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (i << 8)));
                admit(&refusals, Duration::ZERO, "bad token", Some(from))
            })
            .count();
        assert_eq!(admitted, 100);
        assert!(refusals.0.lock().networks.len() <= MAX_NETWORKS);
        let summary = refusals.flush().unwrap();
        assert_eq!(summary.suppressed, 4_900);
        assert_eq!(summary.networks.len(), NAMED);
        assert_eq!(refusals.flush(), None);
    }
}
