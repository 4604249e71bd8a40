//! Identity: who is behind a token, whichever way he logged in.
//!
//! ```text
//! alias (mount accessor, name) ─▶ entity ─▶ groups ─▶ the groups that contain these …
//!                                   └─────────┴── policies, and values for templates
//! ```
//!
//! # What must hold
//!
//! * One alias belongs to one entity, one name to one entity (group): the index record of the name
//!   is a condition of each batch that gives it. Two names that differ in case alone are one
//!   (CVE-2025-6013); the name of an alias was asserted elsewhere and counts to the byte.
//! * No entity and no group is ever given `root`, in whatever spelling (CVE-2025-5999,
//!   CVE-2025-64761), and nobody gives what he lacks without sudo ([`gain`], attack 8).
//! * A change that is too large for one batch is written down as a whole before its first step and
//!   goes on after a crash where it was ([`plan`]). Each state in between grants no more than the
//!   one before or the one after.
//! * A token whose entity is disabled or gone is refused ([`subject`]).
//! * What authorization needs of an entity is in memory after it was needed once, and a change
//!   that returned is seen by each request that begins later.
//!
//! # Deliberately absent
//!
//! Local aliases and merging across namespaces (there is one cluster and one namespace), MFA
//! methods, and identity tokens.

mod alias;
mod entity;
mod gain;
mod graph;
mod group;
mod group_alias;
mod login;
mod merge;
mod plan;
mod record;
mod subject;

pub use alias::AliasAsk;
pub use entity::{EntityAsk, EntityView};
pub use group::{GroupAsk, GroupView};
pub(crate) use login::Recognised;
pub use record::{Alias, EntityRecord, GroupAlias, GroupKind, GroupRecord};
pub(crate) use subject::Subject;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use zone_ports::{Key, KeyRange};
use zone_types::{EntityId, GroupId};

use crate::mount::{Mount, MountKind};
use crate::permit::Permit;
use crate::policies::{NOBODY, assignable, policy_name};
use crate::{Access, AccessError, OpenState};

/// Most entities (groups) whose parts are kept in memory.
const KEPT: usize = 4096;
/// Most policies of an entity or a group.
const POLICIES: usize = 256;

/// Identity in memory.
pub(crate) struct IdentityStore {
    /// For its keys. It may have been tuned since.
    mount: Arc<Mount>,
    entities: Cache<EntityId, Arc<EntityView>>,
    groups: Cache<GroupId, Arc<GroupView>>,
    /// By the entity that a token names, with the generation that they were put together in.
    subjects: Cache<EntityId, (u64, Arc<Subject>)>,
    /// Grows with each change that may concern somebody who is known already.
    generation: AtomicU64,
    /// The latest mark that tells two sets of facts apart.
    stamps: AtomicU64,
    /// One change at a time, but for entities that are made by a login.
    changing: Arc<Mutex<()>>,
}

/// The right to change identity, held until the change is in memory.
type Turn = Arc<OwnedMutexGuard<()>>;

impl IdentityStore {
    pub(crate) fn new(mount: Arc<Mount>) -> Self {
        Self {
            mount,
            entities: Cache::new(KEPT),
            groups: Cache::new(KEPT),
            subjects: Cache::new(KEPT),
            generation: AtomicU64::new(0),
            stamps: AtomicU64::new(NOBODY),
            changing: Arc::default(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn key(&self, kind: &str, rest: &str) -> Result<Key, AccessError> {
        Ok(self.mount.key(kind, rest)?)
    }

    async fn turn(&self) -> Turn {
        Arc::new(self.changing.clone().lock_owned().await)
    }
}

/// A list as it is told: keys in their order.
#[derive(Debug)]
pub struct Listed<T> {
    /// The key and what is told of it.
    pub entries: Vec<(String, T)>,
}

impl Access {
    /// The mount that holds identity.
    pub fn identity_mount(&self) -> Result<Arc<Mount>, AccessError> {
        self.state()?
            .mounts
            .built_in(MountKind::Identity)
            .ok_or(AccessError::Corrupt)
    }

    /// The auth mount of that accessor.
    pub fn auth_mount(&self, accessor: &str) -> Result<Option<Arc<Mount>>, AccessError> {
        let mounts = self.state()?.mounts.all();
        let is_it = |mount: &Arc<Mount>| {
            mount.path.as_str().starts_with("auth/") && mount.accessor == accessor
        };
        Ok(mounts.into_iter().find(is_it))
    }

    fn named_auth_mount(&self, permit: &Permit, accessor: &str) -> Result<Arc<Mount>, AccessError> {
        let mount = self.auth_mount(accessor)?;
        mount
            .filter(|mount| mount.namespace == *permit.namespace())
            .ok_or_else(|| {
                AccessError::invalid("field 'mount_accessor': no auth method has that accessor")
            })
    }

    /// The ends of all keys of one kind that begin with `start`.
    async fn ends(
        &self,
        state: &OpenState,
        kind: &str,
        start: &str,
        most: usize,
    ) -> Result<Vec<String>, AccessError> {
        let mut prefix = state.identity.mount.prefix(kind);
        prefix.extend_from_slice(start.as_bytes());
        let mut range = KeyRange::prefix(prefix.clone());
        let mut ends = Vec::new();
        while ends.len() < most {
            let page = self.barrier.scan_keys(&range, 1000).await?;
            let Some(last) = page.last() else { break };
            range = range.after(last);
            for key in &page {
                let end = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
                ends.push(end.map_err(|_| AccessError::Corrupt)?.to_owned());
            }
        }
        Ok(ends)
    }
}

/// Policies in their one spelling; never `root`.
fn policies(given: &[String]) -> Result<Vec<String>, AccessError> {
    let mut names = Vec::new();
    for text in given {
        if policy_name(text).is_ok_and(|name| name.is_root()) {
            return Err(AccessError::invalid("policies cannot contain root"));
        }
        let name = assignable(text)?;
        names.push(name.as_str().to_owned());
    }
    names.sort();
    names.dedup();
    if names.len() > POLICIES {
        return Err(AccessError::invalid(format!(
            "field 'policies': at most {POLICIES}"
        )));
    }
    Ok(names)
}
