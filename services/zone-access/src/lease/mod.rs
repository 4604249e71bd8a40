//! Leases: what an engine gave out until an instant, and must take back then.
//!
//! An engine that gives something out commits it together with its lease: [`Access::commit_leased`].
//! A lease counts while its record is there, its time has not passed, it was not revoked, its
//! mount is there, and the token that it was given to counts. So ending a token ends its leases at
//! once, whatever their number; what the engine has to do about it comes after, from a queue in
//! the store, again and again until it succeeds ([`queue`]).
//!
//! Nothing is kept in memory for a lease: not a timer, not an entry. A lease is found by the last
//! part of its id, by its path (`lease-at`), by its token (`token-lease`), and by its end.
//!
//! Tokens are leases too, for whoever looks for them by their path, as in Vault; theirs end in
//! `h` and the token's id.

mod issue;
mod life;
mod list;
mod prefix;
mod queue;
mod works;

pub use list::{LeaseGroup, LeaseTally, WaitingLease};
pub(crate) use works::{PrefixWorks, covers};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zone_barrier::Batch;
use zone_ports::Key;
use zone_ports::store::Revision;
use zone_types::{MountId, Timestamp};

use crate::expiry::{self, ExpiryKind};
use crate::mount::{Mount, MountKind};
use crate::record::{MARK, V1, decode};
use crate::token::TokenId;
use crate::{Access, AccessError, OpenState};

/// Digits of the last part of a lease's id: 142 random bits.
const UID: usize = 24;
/// Most bytes of what an engine keeps of a lease.
const LARGEST: usize = 4 * 1024;
/// Longest path of a lease below its mount, in bytes.
const LONGEST: usize = 400;
/// The area of the entries by path, below the mount.
pub(crate) const AT: &str = "lease-at";
/// The area of the entries by token, below the token mount.
const OF_TOKEN: &str = "token-lease";

/// What an engine asks of a new lease. Spans in seconds.
#[derive(Clone, Debug)]
pub struct LeaseOffer {
    /// How long it lives, and how long a renewal makes it live unless another span is asked for.
    pub ttl: u64,
    /// No renewal goes beyond this span from the beginning.
    pub max_ttl: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// What the engine needs to take back what it gave; no secret, at most 4 KiB.
    pub data: String,
}

/// Takes back what leases stand for. Each engine that gives out leases has one; wired in `bin`.
#[async_trait]
pub trait LeaseTarget: Send + Sync {
    /// Ends what `lease` stands for. Called until it succeeds, perhaps twice at once, also after
    /// it has succeeded: what has ended already is no error. It bounds its own time.
    ///
    /// Not called when the mount itself was removed: with it goes all that its leases stood for.
    async fn end(&self, mount: &Mount, lease: &EndedLease) -> Result<(), TargetFault>;
}

/// A lease that has ended, for the engine that gave it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedLease {
    /// The path below the mount by which it was given out.
    pub rest: String,
    /// [`LeaseOffer::data`].
    pub data: String,
    /// When it ended.
    pub since: Timestamp,
}

/// Why an engine could not take something back, in words for the operator; no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetFault(pub String);

/// A lease as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// `PATH/UID`.
    pub id: String,
    /// The path by which it was given out.
    pub path: String,
    /// When.
    pub issue_time: Timestamp,
    /// When it ends; `None` for never (a token without an end).
    pub expire_time: Option<Timestamp>,
    /// When it was last renewed.
    pub last_renewal: Option<Timestamp>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

impl Lease {
    /// Seconds left at `now`; zero if it does not end.
    pub fn ttl(&self, now: Timestamp) -> u64 {
        self.expire_time.map_or(0, |end| end.since(now).as_secs())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeaseRecord {
    v: V1,
    mount: MountId,
    /// The mount's path when it was given out, with `/` at the end.
    at: String,
    /// The path below it.
    rest: String,
    /// Whose end ends it; absent for an orphaned batch token's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<TokenId>,
    issue_time: Timestamp,
    expire_time: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_renewal: Option<Timestamp>,
    ttl: u64,
    max_ttl: u64,
    renewable: bool,
    data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ending: Option<Ending>,
}

/// The state of a lease that has ended, until its engine has taken back what it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    since: Timestamp,
    /// When it is tried next; whole seconds, as in the queue.
    due: Timestamp,
    /// How often that failed.
    attempts: u32,
    /// It is let go even if it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    /// Why it failed last; empty if it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    error: String,
}

/// A lease that was read.
struct Found {
    uid: Uid,
    record: LeaseRecord,
    revision: Revision,
}

/// The last part of a lease's id: 24 base62 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Uid(String);

impl Uid {
    fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == UID && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then(|| Self(text.to_owned()))
    }

    /// The last part of a key.
    fn of_key(key: &Key) -> Option<Self> {
        let last = key.as_bytes().rsplit(|byte| *byte == b'/').next()?;
        Self::parse(std::str::from_utf8(last).ok()?)
    }

    fn key(&self) -> Result<Key, AccessError> {
        Ok(Key::new(format!("core/lease/{}", self.0))?)
    }
}

/// What a lease's id names.
enum Named {
    Lease(Uid),
    Token(TokenId),
}

impl Named {
    /// The last part decides; that the rest is right is judged by the record.
    fn parse(id: &str) -> Option<(Self, &str)> {
        let (path, last) = id.rsplit_once('/')?;
        let token = last.strip_prefix('h').map(str::as_bytes);
        if let Some(token) = token.and_then(TokenId::from_hex) {
            return Some((Self::Token(token), path));
        }
        Uid::parse(last).map(|uid| (Self::Lease(uid), path))
    }
}

impl LeaseRecord {
    fn path(&self) -> String {
        format!("{}{}", self.at, self.rest)
    }

    fn shown(&self, uid: &Uid) -> Lease {
        Lease {
            id: format!("{}/{}", self.path(), uid.0),
            path: self.path(),
            issue_time: self.issue_time,
            expire_time: Some(self.expire_time),
            last_renewal: self.last_renewal,
            renewable: self.renewable,
        }
    }

    fn at_key(&self, mount: &Mount, uid: &Uid) -> Result<Key, AccessError> {
        Ok(mount.key(AT, format!("{}/{}", self.rest, uid.0))?)
    }

    fn expiry_key(&self, uid: &Uid) -> Result<Key, AccessError> {
        expiry::key(self.expire_time, ExpiryKind::Lease, &uid.0)
    }
}

impl OpenState {
    fn token_lease_key(&self, token: &TokenId, uid: &Uid) -> Result<Key, AccessError> {
        let rest = format!("{}/{}", token.as_str(), uid.0);
        Ok(self.tokens.mount().key(OF_TOKEN, rest)?)
    }
}

impl Access {
    /// Has the leases of engines of that kind taken back by `target` from now on. When the head
    /// is put together.
    pub fn end_leases_by(&self, kind: MountKind, target: Arc<dyn LeaseTarget>) {
        self.targets.write().push((kind, target));
    }

    fn lease_target(&self, kind: MountKind) -> Option<Arc<dyn LeaseTarget>> {
        let targets = self.targets.read();
        let found = targets.iter().find(|(of, _)| *of == kind);
        found.map(|(_, target)| target.clone())
    }

    async fn read_lease(&self, uid: &Uid) -> Result<Option<Found>, AccessError> {
        let Some(plain) = self.barrier.get(&uid.key()?).await? else {
            return Ok(None);
        };
        Ok(Some(Found {
            uid: uid.clone(),
            record: decode(&plain)?,
            revision: plain.revision,
        }))
    }

    /// The lease that an entry of an index is about. A corrupt one is passed over, so that it holds
    /// up no other; its record is left where it is.
    async fn lease_at(&self, entry: &Key) -> Result<Option<Found>, AccessError> {
        let Some(uid) = Uid::of_key(entry) else {
            return Ok(None);
        };
        match self.read_lease(&uid).await {
            Err(AccessError::Corrupt) => {
                tracing::error!("a lease is corrupt and is left alone");
                Ok(None)
            }
            found => found,
        }
    }

    /// The mount of a lease that counts at `now`.
    async fn lease_counts(
        &self,
        state: &OpenState,
        record: &LeaseRecord,
        now: Timestamp,
    ) -> Result<Option<Arc<Mount>>, AccessError> {
        let mount = state.mounts.by_id(&record.mount);
        let Some(mount) = mount.filter(|_| record.ending.is_none() && now < record.expire_time)
        else {
            return Ok(None);
        };
        if state.prefixes.end_lease(record) {
            return Ok(None);
        }
        let owned = match &record.token {
            Some(token) => self.live(state, token, now).await?.is_some(),
            None => true,
        };
        Ok(owned.then_some(mount))
    }
}

/// Adds what makes a new lease.
fn birth(
    state: &OpenState,
    batch: Batch,
    mount: &Mount,
    uid: &Uid,
    record: &LeaseRecord,
) -> Result<Batch, AccessError> {
    let mut batch = batch
        .put(uid.key()?, serde_json::to_vec(record)?)
        .put(record.at_key(mount, uid)?, MARK)
        .put(record.expiry_key(uid)?, MARK);
    if let Some(token) = &record.token {
        batch = batch.put(state.token_lease_key(token, uid)?, MARK);
    }
    Ok(batch)
}

/// `span` seconds from `from`.
fn later(from: Timestamp, span: u64) -> Timestamp {
    from.plus(Duration::from_secs(span))
}
