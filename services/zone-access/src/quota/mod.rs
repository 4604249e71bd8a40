//! Quotas: how often a client may ask below a path, how many leases may live there.
//!
//! A quota is about the zone, a mount, a part of a mount (all paths that begin so), or one path.
//! Of several that are about a path the most specific one counts, alone. It is tied to the id of
//! its mount: it follows a mount that is moved and goes with one that is removed.
//!
//! Rates are counted in memory alone, before anybody is authenticated ([`rate`]). Leases are
//! counted by the index of the store ([`count`]), and whoever makes one has a place reserved
//! before it is committed, so that a race cannot exceed the quota.

mod count;
mod edit;
mod rate;

pub(crate) use count::Reservation;
pub use rate::{RateState, RateVerdict};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zone_barrier::Batch;
use zone_types::MountId;

use self::count::{Counter, Seen};
use self::rate::{Buckets, Pace};
use crate::mount::Mount;
use crate::record::V1;
use crate::{Access, AccessError};

/// Most requests, or leases, that a quota may allow.
const HIGHEST: f64 = 1e9;
/// Longest interval in seconds: a day.
const DAY: u64 = 24 * 3600;
/// Quotas themselves: no quota is about them, or it could not be lifted.
const OWN: &str = "sys/quotas/";
/// What is allowed there to each client, in the place of a quota: enough for a tool that reads and
/// writes them all.
const OWN_PACE: Pace = Pace {
    burst: 100,
    each: Duration::from_millis(100),
    block: Duration::ZERO,
};

/// The kinds of quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaKind {
    /// [`QuotaRule::RateLimit`].
    RateLimit,
    /// [`QuotaRule::LeaseCount`].
    LeaseCount,
}

impl QuotaKind {
    /// As in paths and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate-limit",
            Self::LeaseCount => "lease-count",
        }
    }
}

/// What a quota allows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum QuotaRule {
    /// Requests of one client.
    RateLimit {
        /// How many in one interval, above zero; also a part of one.
        rate: f64,
        /// In seconds.
        interval: u64,
        /// For how many seconds a client that asked for more is refused; zero for not.
        block_interval: u64,
    },
    /// Leases that live at the same time.
    LeaseCount {
        /// How many.
        max_leases: u64,
    },
}

impl QuotaRule {
    /// Its kind.
    pub fn kind(&self) -> QuotaKind {
        match self {
            Self::RateLimit { .. } => QuotaKind::RateLimit,
            Self::LeaseCount { .. } => QuotaKind::LeaseCount,
        }
    }

    fn check(&self) -> Result<(), AccessError> {
        match *self {
            Self::RateLimit { rate, .. } if !(rate > 0.0 && rate <= HIGHEST) => Err(
                AccessError::invalid("field 'rate': expected a number above 0, at most 1e9"),
            ),
            Self::RateLimit { interval, .. } if !(1..=DAY).contains(&interval) => Err(
                AccessError::invalid("field 'interval': expected 1 second to 24 hours"),
            ),
            // What comes back later than that cannot be reckoned with, and nobody waits for it.
            Self::RateLimit { rate, interval, .. } if interval as f64 / rate > DAY as f64 => Err(
                AccessError::invalid("field 'rate': expected one request in 24 hours, or more"),
            ),
            Self::RateLimit { block_interval, .. } if block_interval > DAY => Err(
                AccessError::invalid("field 'block_interval': expected at most 24 hours"),
            ),
            Self::LeaseCount { max_leases } if max_leases == 0 || max_leases as f64 > HIGHEST => {
                Err(AccessError::invalid(
                    "field 'max_leases': expected a number above 0, at most 1e9",
                ))
            }
            _ => Ok(()),
        }
    }

    fn pace(&self) -> Option<Pace> {
        match *self {
            Self::LeaseCount { .. } => None,
            Self::RateLimit {
                rate,
                interval,
                block_interval,
            } => Some(Pace {
                burst: (rate as u64).max(1),
                each: each(rate, interval),
                block: Duration::from_secs(block_interval),
            }),
        }
    }
}

/// After which one request comes back. Never panics: nobody has logged in yet where it is asked.
fn each(rate: f64, interval: u64) -> Duration {
    let span = Duration::try_from_secs_f64(interval as f64 / rate);
    let longest = Duration::from_secs(DAY);
    span.unwrap_or(longest)
        .clamp(Duration::from_nanos(1), longest)
}

/// A quota as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// Its name among those of its kind.
    pub name: String,
    /// What it is about; empty for the zone, with `*` behind a part of a mount.
    pub path: String,
    /// What it allows.
    pub rule: QuotaRule,
    /// Leases that live, of a quota that counts them.
    pub counter: u64,
}

/// What holds for all rate limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaConfig {
    v: V1,
    /// Whether refused requests have lines in the audit trail.
    pub audit_refusals: bool,
    /// Whether answers tell where the client stands.
    pub response_headers: bool,
    /// Paths that no rate limit is about; a `*` at the end stands for any rest.
    pub exempt_paths: Vec<String>,
    /// The same, as Vault keeps them of all namespaces.
    pub absolute_exempt_paths: Vec<String>,
}

impl Default for QuotaConfig {
    /// Vault's: what unseals a zone, and what tells of its health.
    fn default() -> Self {
        let exempt = [
            "sys/generate-recovery-token/attempt",
            "sys/generate-recovery-token/update",
            "sys/generate-root/attempt",
            "sys/generate-root/update",
            "sys/health",
            "sys/seal-status",
            "sys/unseal",
        ];
        Self {
            v: V1,
            audit_refusals: false,
            response_headers: false,
            exempt_paths: exempt.map(str::to_owned).to_vec(),
            absolute_exempt_paths: Vec::new(),
        }
    }
}

impl QuotaConfig {
    fn exempts(&self, path: &str) -> bool {
        let all = self.exempt_paths.iter().chain(&self.absolute_exempt_paths);
        all.into_iter()
            .any(|exempt| match exempt.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => path == exempt,
            })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: V1,
    place: Place,
    rule: QuotaRule,
}

/// What a quota is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Place {
    Zone,
    Mount(MountId),
    /// All paths below the mount that begin so.
    Part(MountId, String),
    Path(MountId, String),
}

impl Place {
    fn mount(&self) -> Option<&MountId> {
        match self {
            Self::Zone => None,
            Self::Mount(id) | Self::Part(id, _) | Self::Path(id, _) => Some(id),
        }
    }

    /// How specific it is for a path; `None` if it is not about it. `rest` has `/` at its end
    /// (but for the mount itself): a list is served so however it is spelt, and so are leases
    /// indexed.
    fn rank(&self, mount: Option<&MountId>, rest: &str) -> Option<usize> {
        let own = self.mount().is_none() || self.mount() == mount;
        match self {
            _ if !own => None,
            Self::Zone => Some(0),
            Self::Mount(_) => Some(1),
            Self::Part(_, start) => rest.starts_with(start).then_some(2 + start.len()),
            Self::Path(_, path) => {
                (rest.strip_suffix('/') == Some(path.as_str())).then_some(usize::MAX)
            }
        }
    }
}

/// A quota that is in force.
struct Live {
    record: Record,
    /// Of its clients' buckets.
    number: u64,
    counter: Option<Arc<Counter>>,
}

/// By kind and name.
type All = BTreeMap<(QuotaKind, String), Arc<Live>>;

#[derive(Default)]
struct Table {
    all: All,
    config: QuotaConfig,
}

impl Table {
    /// Whether there is a rate limit at all. They stand first.
    fn limits_rates(&self) -> bool {
        let first = self.all.first_key_value();
        first.is_some_and(|((kind, _), _)| *kind == QuotaKind::RateLimit)
    }

    /// The most specific quota about a path.
    fn about(&self, kind: QuotaKind, mount: Option<&MountId>, rest: &str) -> Option<&Arc<Live>> {
        let own = self.all.iter().filter(|((of, _), _)| *of == kind);
        let ranked = own.filter_map(|(_, live)| Some((live.record.place.rank(mount, rest)?, live)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, live)| live)
    }
}

/// All quotas.
pub(crate) struct Quotas {
    table: ArcSwap<Table>,
    /// The counter of a quota that is not in force yet: it reads what there is.
    coming: ArcSwapOption<Counter>,
    buckets: Buckets,
    /// Of [`OWN`]: what others fill does not reach it.
    own: Buckets,
    /// One change at a time; the number of the next quota.
    changing: Arc<Mutex<u64>>,
}

impl Quotas {
    /// Changes that the counters will want to know of, before they are applied.
    pub(crate) fn watch(&self, batch: &Batch) -> Watched {
        Watched(match self.counters().is_empty() {
            true => Vec::new(),
            false => batch.changes.iter().map(Seen::of).collect(),
        })
    }

    /// Counts changes that were applied.
    pub(crate) fn follow(&self, watched: &Watched) {
        if watched.0.is_empty() {
            return;
        }
        for counter in self.counters() {
            for change in &watched.0 {
                counter.follow(change);
            }
        }
    }

    /// All that follow changes. The one that comes first: when it is not there any more, it is in
    /// the table.
    fn counters(&self) -> Vec<Arc<Counter>> {
        let coming = self.coming.load_full().into_iter();
        let table = self.table.load();
        let all = table.all.values().filter_map(|live| live.counter.clone());
        coming.chain(all).collect()
    }

    /// A place for a lease at `rest` below `mount`, if a quota is about it.
    pub(crate) fn reserve(
        &self,
        mount: &Mount,
        rest: &str,
    ) -> Result<Option<Reservation>, AccessError> {
        let table = self.table.load();
        let folder = format!("{rest}/");
        let Some(live) = table.about(QuotaKind::LeaseCount, Some(&mount.id), &folder) else {
            return Ok(None);
        };
        let (Some(counter), QuotaRule::LeaseCount { max_leases }) =
            (&live.counter, live.record.rule)
        else {
            return Ok(None);
        };
        match counter.reserve(max_leases) {
            Some(place) => Ok(Some(place)),
            None => Err(AccessError::QuotaExceeded(format!(
                "request path \"{}{rest}\": lease count quota exceeded",
                mount.path
            ))),
        }
    }
}

/// What [`Quotas::follow`] takes.
pub(crate) struct Watched(Vec<Seen>);

impl Access {
    /// Whether there is a rate limit at all: if not, nobody has to know what a request is about.
    pub fn limits_rates(&self) -> bool {
        let state = self.state();
        state.is_ok_and(|state| state.quotas.table.load().limits_rates())
    }

    /// Takes one request of `client` for `path` (canonical, perhaps with `/` at the end) out of its
    /// quota. Reads nothing: it comes before anybody is authenticated.
    ///
    /// # Errors
    ///
    /// [`AccessError::Sealed`].
    pub fn take_rate(&self, path: &str, client: IpAddr) -> Result<RateVerdict, AccessError> {
        let state = self.state()?;
        let table = state.quotas.table.load();
        if !table.limits_rates() {
            return Ok(RateVerdict::Free);
        }
        let now = self.clock.monotonic();
        if path.starts_with(OWN) {
            // Whoever has addresses without number must not keep the operator from it.
            let taken = state.quotas.own.take_own(0, OWN_PACE, client, now);
            return Ok(taken.unwrap_or(RateVerdict::Free));
        }
        let bare = path.trim_end_matches('/');
        if table.config.exempts(bare) {
            return Ok(RateVerdict::Free);
        }
        let folder = format!("{bare}/");
        let mount = state.mounts.resolve(&folder);
        let rest = mount
            .as_ref()
            .and_then(|mount| folder.get(mount.path.as_str().len()..));
        let mount = mount.as_ref().map(|mount| &mount.id);
        let live = table.about(QuotaKind::RateLimit, mount, rest.unwrap_or(""));
        let found = live.and_then(|live| Some((live.number, live.record.rule.pace()?)));
        Ok(match found {
            Some((number, pace)) => state.quotas.buckets.take(number, pace, client, now),
            None => RateVerdict::Free,
        })
    }
}
