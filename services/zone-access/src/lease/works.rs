//! Revocations by path that are under way: their records, and those in memory against which every
//! lease and every token is held.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zone_barrier::Barrier;
use zone_ports::{Key, KeyRange};
use zone_types::{MountId, Timestamp};

use super::LeaseRecord;
use crate::AccessError;
use crate::record::{V1, decode};
use crate::token::TokenRecord;

pub(super) const WORKS: &str = "core/lease-prefix/";
/// Most records under way at the same time.
pub(super) const MOST: usize = 1000;

/// What is under way. Usually nothing.
#[derive(Default)]
pub(crate) struct PrefixWorks {
    pub(super) works: ArcSwap<Vec<Arc<Work>>>,
    /// One new operation at a time.
    pub(super) changing: Arc<Mutex<()>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefixRecord {
    pub(super) v: V1,
    pub(super) mount: MountId,
    /// The path as it was asked, without `/` at the end.
    pub(super) prefix: String,
    /// The part below the mount; empty for all of it.
    pub(super) rest: String,
    /// What was given out up to then has ended.
    pub(super) since: Timestamp,
    /// Leases are let go even if their engine fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) force: bool,
}

pub(super) struct Work {
    pub(super) key: Key,
    pub(super) record: PrefixRecord,
    pub(super) pass: Mutex<Pass>,
}

/// One way through all entries.
pub(super) struct Pass {
    pub(super) began: Timestamp,
    pub(super) stage: Stage,
}

/// Where a pass is: behind that entry.
pub(super) enum Stage {
    Leases(Option<Key>),
    Tokens(Option<Key>),
    Done,
}

impl Work {
    pub(super) fn new(key: Key, record: PrefixRecord, now: Timestamp) -> Arc<Self> {
        let pass = Mutex::new(Pass {
            began: now,
            stage: Stage::Leases(None),
        });
        Arc::new(Self { key, record, pass })
    }

    pub(super) fn ends_lease(&self, lease: &LeaseRecord) -> bool {
        self.record.mount == lease.mount
            && covers(&self.record.rest, &lease.rest)
            && lease.issue_time <= self.record.since
    }

    /// A token without an end has no lease, as in Vault: the first root token is not ended.
    pub(super) fn ends_token(&self, token: &TokenRecord, tokens: &MountId) -> bool {
        let mount = token.auth_mount.as_ref().unwrap_or(tokens);
        self.record.mount == *mount
            && (self.record.rest.is_empty() || token.is_below(&self.record.rest))
            && token.expire_time.is_some()
            && token.creation_time <= self.record.since
    }
}

impl PrefixWorks {
    /// Reads what is under way: one scan, whatever the number of leases.
    pub(crate) async fn load(barrier: &Barrier, now: Timestamp) -> Result<Self, AccessError> {
        let mut works = Vec::new();
        for (key, plain) in barrier.scan(&KeyRange::prefix(WORKS), MOST).await? {
            works.push(Work::new(key, decode(&plain)?, now));
        }
        Ok(Self {
            works: ArcSwap::from_pointee(works),
            changing: Arc::default(),
        })
    }

    pub(super) fn end_lease(&self, lease: &LeaseRecord) -> bool {
        self.works.load().iter().any(|work| work.ends_lease(lease))
    }

    /// Whether one is about that mount.
    pub(super) fn end_some_of(&self, mount: &MountId) -> bool {
        let works = self.works.load();
        works.iter().any(|work| work.record.mount == *mount)
    }

    /// Whether a token of that record has ended by an operation on its path. `tokens` is the token
    /// mount.
    pub(crate) fn end_token(&self, token: &TokenRecord, tokens: &MountId) -> bool {
        let works = self.works.load();
        works.iter().any(|work| work.ends_token(token, tokens))
    }

    /// In the place of an older one of the same prefix.
    pub(super) fn show(&self, work: &Arc<Work>) {
        self.works.rcu(|works| {
            let others = works.iter().filter(|other| other.key != work.key);
            others.chain([work]).cloned().collect::<Vec<_>>()
        });
    }

    /// That very one: a newer one of the same prefix stays.
    pub(super) fn hide(&self, work: &Arc<Work>) {
        self.works.rcu(|works| {
            let others = works.iter().filter(|other| !Arc::ptr_eq(other, work));
            others.cloned().collect::<Vec<_>>()
        });
    }
}

/// Whether `path` is `prefix` or below it; everything is below the empty one.
pub(crate) fn covers(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A revocation that is over must not take a newer one of the same prefix along, whose tokens
    /// would count again.
    #[test]
    fn the_end_of_an_old_revocation_leaves_a_newer_one_in_force() {
        let now = Timestamp::from_secs(1000);
        let work = |since| {
            let record = PrefixRecord {
                v: V1,
                mount: MountId::from_random([7; 8]),
                prefix: "pki".into(),
                rest: String::new(),
                since,
                force: false,
            };
            Work::new(Key::new("core/lease-prefix/x").unwrap(), record, now)
        };
        let (works, old, new) = (PrefixWorks::default(), work(now), work(now));
        works.show(&old);
        works.show(&new);
        assert_eq!(works.works.load().len(), 1);
        works.hide(&old);
        assert!(Arc::ptr_eq(&works.works.load()[0], &new));
        works.hide(&new);
        assert!(works.works.load().is_empty());
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        assert!(covers("", "issue/web") && covers("issue", "issue/web"));
        assert!(covers("issue/web", "issue/web") && !covers("issue/we", "issue/web"));
        assert!(!covers("issue/web/x", "issue/web"));
    }
}
