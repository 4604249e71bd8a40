//! How long tokens live: at first, and after a renewal.

use std::time::Duration;

use zone_types::Timestamp;

use super::TokenRecord;
use super::create::CreateToken;
use crate::permit::Permit;

/// The spans of a token in seconds; zero for none.
pub(super) struct Spans {
    pub(super) ttl: u64,
    pub(super) explicit_max: u64,
    pub(super) period: u64,
}

impl Spans {
    /// As in Vault: the mount's maximum bounds the TTL and the explicit maximum; a period escapes
    /// it, but not the explicit maximum. Only root may be without end.
    pub(super) fn granted(ask: &CreateToken, permit: &Permit, is_root: bool) -> Self {
        let times = permit.lease_times();
        let bounded = |span: u64, bound: u64| if bound > 0 { span.min(bound) } else { span };
        if ask.period > 0 {
            let period = bounded(ask.period, ask.explicit_max_ttl);
            return Self {
                ttl: period,
                explicit_max: ask.explicit_max_ttl,
                period,
            };
        }
        let explicit_max = ask.explicit_max_ttl.min(times.max);
        let ttl = if is_root && ask.ttl == 0 {
            explicit_max
        } else {
            let asked = or(ask.ttl, times.default);
            bounded(asked.min(times.max), explicit_max)
        };
        Self {
            ttl,
            explicit_max,
            period: 0,
        }
    }
}

/// The latest end that a renewal at `now` may reach. `longest` is the longest lease time of the
/// mount that made the token.
pub(super) fn renewed_until(
    record: &TokenRecord,
    longest: u64,
    increment: u64,
    now: Timestamp,
) -> Timestamp {
    let secs = Duration::from_secs;
    let wanted = or(record.period, or(increment, record.creation_ttl));
    let mut end = now.plus(secs(wanted));
    if record.explicit_max_ttl > 0 {
        end = end.min(record.creation_time.plus(secs(record.explicit_max_ttl)));
    }
    if record.period == 0 {
        let longest = longest.min(or(record.max_ttl, longest));
        end = end.min(record.creation_time.plus(secs(longest)));
    }
    end
}

/// The first number unless it is zero, which stands for not given.
pub(super) fn or(given: u64, otherwise: u64) -> u64 {
    if given > 0 { given } else { otherwise }
}
