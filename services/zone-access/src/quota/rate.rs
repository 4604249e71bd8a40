//! Counting requests against rate limits, in memory alone.
//!
//! For each quota and client there is one instant: when the client will have all its requests
//! again (the generic cell rate algorithm; what an ATM network polices with). A client begins with
//! as many requests as the quota allows in one interval; each comes back after its share of it.
//!
//! A client is an IPv4 address or an IPv6 /64: within one, addresses cost nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

/// Most clients that are told apart, of all quotas together: some 4 MiB.
const CLIENTS: usize = 65_536;
/// How often it is looked for clients that have all their requests again, while there are as many
/// as can be told apart.
const SWEEP: Duration = Duration::from_secs(1);

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Requests at once.
    pub(super) burst: u64,
    /// After which one of them comes back.
    pub(super) each: Duration,
    /// How long a client that asked for more is refused; zero for until one comes back.
    pub(super) block: Duration,
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateState {
    /// Requests at once.
    pub limit: u64,
    /// Of these, those that are left.
    pub remaining: u64,
    /// When all are there again.
    pub reset: Duration,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateVerdict {
    /// No quota is about it.
    Free,
    /// It is within its quota.
    Within(RateState),
    /// It is refused; one more would be served after the span.
    Over(RateState, Duration),
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// When the client has all its requests again.
    full: Duration,
    /// Until when it is refused whatever it has.
    blocked: Duration,
}

/// All clients of all quotas.
#[derive(Default)]
pub(super) struct Buckets(Mutex<Clients>);

#[derive(Default)]
struct Clients {
    /// By the number of the quota.
    known: HashMap<(u64, IpAddr), Bucket>,
    /// Of those that came when there was no place, together for each quota.
    others: HashMap<u64, Bucket>,
    swept: Duration,
}

impl Buckets {
    /// Takes one request of `client` at `now` (monotonic).
    pub(super) fn take(
        &self,
        quota: u64,
        pace: Pace,
        client: IpAddr,
        now: Duration,
    ) -> RateVerdict {
        let mut clients = self.0.lock();
        let client = network(client);
        let bucket = match clients.has_place(quota, client, now) {
            true => clients.known.entry((quota, client)).or_default(),
            false => clients.others.entry(quota).or_default(),
        };
        bucket.take(pace, now)
    }

    /// The same; `None` for a client that finds no place: it is not counted.
    pub(super) fn take_own(
        &self,
        quota: u64,
        pace: Pace,
        client: IpAddr,
        now: Duration,
    ) -> Option<RateVerdict> {
        let mut clients = self.0.lock();
        let client = network(client);
        let placed = clients.has_place(quota, client, now);
        placed.then(|| {
            let bucket = clients.known.entry((quota, client)).or_default();
            bucket.take(pace, now)
        })
    }

    /// Forgets the clients of a quota that is gone.
    pub(super) fn forget(&self, quota: u64) {
        let mut clients = self.0.lock();
        clients.known.retain(|(of, _), _| *of != quota);
        clients.others.remove(&quota);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().known.len()
    }
}

impl Clients {
    /// A client that finds none shares one bucket with others like it. So whoever has many
    /// addresses gets no more from them than the places hold, and drives nobody out.
    fn has_place(&mut self, quota: u64, client: IpAddr, now: Duration) -> bool {
        if self.known.len() < CLIENTS || self.known.contains_key(&(quota, client)) {
            return true;
        }
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.known.retain(|_, bucket| !bucket.is_fresh(now));
        }
        self.known.len() < CLIENTS
    }
}

impl Bucket {
    fn is_fresh(&self, now: Duration) -> bool {
        self.full <= now && self.blocked <= now
    }

    fn take(&mut self, pace: Pace, now: Duration) -> RateVerdict {
        let most = pace
            .each
            .saturating_mul(u32::try_from(pace.burst).unwrap_or(u32::MAX));
        let full = self.full.max(now);
        let state = |full: Duration| {
            let used = full.saturating_sub(now);
            let left = most.saturating_sub(used).as_nanos() / pace.each.as_nanos().max(1);
            RateState {
                limit: pace.burst,
                remaining: u64::try_from(left).unwrap_or(u64::MAX),
                reset: used,
            }
        };
        if self.blocked > now {
            return RateVerdict::Over(state(full), self.blocked.saturating_sub(now));
        }
        let after = full.saturating_add(pace.each);
        let over = after.saturating_sub(now).saturating_sub(most);
        if over.is_zero() {
            self.full = after;
            return RateVerdict::Within(state(after));
        }
        self.blocked = now.saturating_add(pace.block);
        RateVerdict::Over(state(full), over.max(pace.block))
    }
}

/// What counts as one client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        burst: 4,
        each: Duration::from_millis(250),
        block: Duration::ZERO,
    };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn client(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    fn within(buckets: &Buckets, pace: Pace, from: u32, now: Duration) -> bool {
        matches!(
            buckets.take(1, pace, client(from), now),
            RateVerdict::Within(_)
        )
    }

    #[test]
    fn a_burst_then_an_even_flow_for_each_client_and_quota() {
        let buckets = Buckets::default();
        for left in [3, 2, 1, 0] {
            let RateVerdict::Within(state) = buckets.take(1, PACE, client(1), ms(1000)) else {
                panic!("refused");
            };
            assert_eq!((state.limit, state.remaining), (4, left));
        }
        let RateVerdict::Over(state, wait) = buckets.take(1, PACE, client(1), ms(1100)) else {
            panic!("allowed");
        };
        assert_eq!((state.remaining, state.reset, wait), (0, ms(900), ms(150)));
        assert!(!within(&buckets, PACE, 1, ms(1249)));
        assert!(within(&buckets, PACE, 1, ms(1250)));
        assert!(!within(&buckets, PACE, 1, ms(1250)));
        assert!(within(&buckets, PACE, 2, ms(1250)), "another client");
        let other = buckets.take(2, PACE, client(1), ms(1250));
        assert!(matches!(other, RateVerdict::Within(_)), "another quota");
        let all = (0..9)
            .filter(|_| within(&buckets, PACE, 1, ms(9000)))
            .count();
        assert_eq!(all, 4, "no more than the burst is saved up");
        buckets.forget(1);
        assert!(within(&buckets, PACE, 1, ms(9000)));
    }

    #[test]
    fn whoever_asks_for_more_is_blocked_for_a_while() {
        let pace = Pace {
            block: ms(60_000),
            ..PACE
        };
        let buckets = Buckets::default();
        for _ in 0..4 {
            assert!(within(&buckets, pace, 1, ms(0)));
        }
        let over = buckets.take(1, pace, client(1), ms(0));
        assert!(matches!(over, RateVerdict::Over(_, wait) if wait == ms(60_000)));
        for now in [250, 30_000, 59_999] {
            assert!(!within(&buckets, pace, 1, ms(now)), "{now}");
        }
        assert!(
            within(&buckets, pace, 1, ms(60_000)),
            "asking prolongs nothing"
        );
    }

    #[test]
    fn less_than_one_in_an_interval_is_one_in_several() {
        let pace = Pace {
            burst: 1,
            each: ms(10_000),
            block: Duration::ZERO,
        };
        let buckets = Buckets::default();
        assert!(within(&buckets, pace, 1, ms(5)));
        assert!(!within(&buckets, pace, 1, ms(10_004)));
        assert!(within(&buckets, pace, 1, ms(10_005)));
    }

    /// Attack: addresses without number, to fill the memory or to drive others out of it.
    #[test]
    fn attack_a_hundred_thousand_addresses_get_no_more_than_there_are_places() {
        let buckets = Buckets::default();
        for _ in 0..4 {
            assert!(within(&buckets, PACE, 0, ms(0)));
        }
        let served = (1..100_000)
            .filter(|from| within(&buckets, PACE, *from, ms(0)))
            .count();
        assert_eq!(buckets.len(), CLIENTS);
        assert_eq!(served, CLIENTS - 1 + 4, "the others share one bucket");
        assert!(!within(&buckets, PACE, 0, ms(0)), "nobody was driven out");
        assert!(
            within(&buckets, PACE, 100_001, ms(1000)),
            "places are free again"
        );
        assert_eq!(buckets.len(), 1);
    }

    /// Attack: the same, to keep the operator from lifting the quota.
    #[test]
    fn attack_no_number_of_addresses_shuts_the_door_of_the_operator() {
        let buckets = Buckets::default();
        let take = |from: u32| buckets.take_own(0, PACE, client(from), ms(0));
        for from in 0..100_000 {
            take(from);
        }
        assert_eq!(take(100_001), None, "not counted");
        let all = (0..9).filter(|_| matches!(take(7), Some(RateVerdict::Within(_))));
        assert_eq!(all.count(), 3, "who has a place is");
        assert_eq!(buckets.len(), CLIENTS);
    }

    #[test]
    fn attack_addresses_within_one_ipv6_network_are_one_client() {
        let buckets = Buckets::default();
        let take = |text: &str| {
            let verdict = buckets.take(1, PACE, text.parse().unwrap(), ms(0));
            matches!(verdict, RateVerdict::Within(_))
        };
        let served = (0..100).filter(|at| take(&format!("2001:db8:1:1::{at:x}")));
        assert_eq!(served.count(), 4);
        assert!(take("2001:db8:1:2::1"));
        assert_eq!((0..9).filter(|_| take("::ffff:192.0.2.1")).count(), 4);
        assert!(!take("192.0.2.1"), "the same address, mapped");
    }
}
