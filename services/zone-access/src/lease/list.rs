//! Looking over leases: names below a path, counts, and what waits to be taken back.

use std::collections::{BTreeMap, BTreeSet};

use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;

use super::AT;
use super::queue::{IRREVOCABLE, QUEUE};
use crate::mount::Mount;
use crate::permit::Permit;
use crate::token::TokenId;
use crate::{Access, AccessError, OpenState};

const PAGE: usize = 1000;

/// Which leases are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseGroup {
    /// Those that have not ended.
    Active,
    /// Those that have ended and wait for their engine to take back what they stand for.
    Revoking,
    /// Of these, those whose engine has failed six times. It is still asked.
    Irrevocable,
}

/// Numbers of leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTally {
    /// All.
    pub total: u64,
    /// By the accessor of the mount.
    pub by_mount: BTreeMap<String, u64>,
}

impl LeaseTally {
    fn add(&mut self, mount: Option<&Mount>, number: u64) {
        let accessor = mount.map_or("deleted mount", |mount| &mount.accessor);
        if number > 0 {
            *self.by_mount.entry(accessor.to_owned()).or_default() += number;
            self.total += number;
        }
    }
}

/// A lease that has ended and waits for its engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingLease {
    /// Its id.
    pub id: String,
    /// The accessor of its mount.
    pub mount_accessor: String,
    /// When it ended.
    pub since: Timestamp,
    /// When the engine is asked next.
    pub due: Timestamp,
    /// How often the engine has failed.
    pub attempts: u32,
    /// What it said last.
    pub error: String,
}

impl Access {
    /// The names of leases and folders below `prefix`, in order; those of folders end in `/`.
    pub async fn leases_below(
        &self,
        _permit: &Permit,
        prefix: &str,
    ) -> Result<Vec<String>, AccessError> {
        let state = self.state()?;
        let folder = match prefix.trim_end_matches('/') {
            "" => String::new(),
            text => format!("{text}/"),
        };
        let mut names = BTreeSet::new();
        for mount in state.mounts.all() {
            if let Some(rest) = folder.strip_prefix(mount.path.as_str()) {
                let inside = match mount.kind.is_auth() {
                    true => self.tokens_in(&state, &mount, &folder).await?,
                    false => self.leases_in(&mount, rest).await?,
                };
                names.extend(inside);
            } else if let Some(below) = mount.path.as_str().strip_prefix(&folder)
                && self.gave_leases(&state, &mount).await?
            {
                names.extend(first_of(below));
            }
        }
        Ok(names.into_iter().collect())
    }

    async fn gave_leases(&self, state: &OpenState, mount: &Mount) -> Result<bool, AccessError> {
        let range = match mount.kind.is_auth() {
            true => state.tokens.made_at(mount)?,
            false => KeyRange::prefix(mount.prefix(AT)),
        };
        Ok(!self.barrier.scan_keys(&range, 1).await?.is_empty())
    }

    /// Leaps over what is inside a folder: one page is read for each.
    async fn leases_in(&self, mount: &Mount, rest: &str) -> Result<BTreeSet<String>, AccessError> {
        let mut prefix = mount.prefix(AT);
        prefix.extend_from_slice(rest.as_bytes());
        let mut range = KeyRange::prefix(prefix.clone());
        let mut names = BTreeSet::new();
        loop {
            let page = self.barrier.scan_keys(&range, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(names);
            };
            let mut next = range.after(last);
            for key in &page {
                let name = text_behind(key, prefix.len())?;
                let Some(name) = first_of(name) else { continue };
                if name.ends_with('/') {
                    let inside = [&prefix[..], name.as_bytes()].concat();
                    if let Some(end) = zone_ports::store::successor(&inside) {
                        next = range.from(end);
                    }
                    names.insert(name);
                    break;
                }
                names.insert(name);
            }
            range = next;
        }
    }

    /// By their records: a token's path stands nowhere else.
    async fn tokens_in(
        &self,
        state: &OpenState,
        mount: &Mount,
        folder: &str,
    ) -> Result<BTreeSet<String>, AccessError> {
        let now = self.instant();
        let mut names = BTreeSet::new();
        let mut range = state.tokens.made_at(mount)?;
        loop {
            let page = self.barrier.scan_keys(&range, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(names);
            };
            range = range.after(last);
            for key in &page {
                let Some(id) = TokenId::of_key(key) else {
                    continue;
                };
                let Some(entry) = self.read_token(state, &id).await? else {
                    continue;
                };
                let record = &entry.record;
                let own = record.auth_mount.as_ref() == Some(&mount.id)
                    || (record.auth_mount.is_none() && state.tokens.mount().id == mount.id);
                if !own || record.expire_time.is_none_or(|end| end <= now) {
                    continue;
                }
                let id = format!("{}/h{}", state.path_of(record), id.as_str());
                names.extend(id.strip_prefix(folder).and_then(first_of));
            }
        }
    }

    /// How many leases of engines there are.
    pub async fn count_leases(
        &self,
        _permit: &Permit,
        group: LeaseGroup,
    ) -> Result<LeaseTally, AccessError> {
        let state = self.state()?;
        let mut tally = LeaseTally::default();
        let mut waiting = LeaseTally::default();
        self.each_waiting(&state, |_, mount, attempts| {
            if group != LeaseGroup::Irrevocable || attempts >= IRREVOCABLE {
                waiting.add(mount, 1);
            }
            true
        })
        .await?;
        for mount in state.mounts.all() {
            let (all, ended) = match group {
                LeaseGroup::Active => self.numbers(&state, &mount).await?,
                LeaseGroup::Revoking if state.prefixes.end_some_of(&mount.id) => {
                    self.numbers(&state, &mount).await?
                }
                _ => continue,
            };
            let queued = *waiting.by_mount.get(&mount.accessor).unwrap_or(&0);
            tally.add(Some(&mount), all.saturating_sub(queued + ended));
            waiting.add(Some(&mount), ended);
        }
        Ok(match group {
            LeaseGroup::Active => tally,
            _ => waiting,
        })
    }

    /// How many leases of a mount are kept, and how many of them have ended by an operation on
    /// their path and are not in the queue yet.
    async fn numbers(&self, state: &OpenState, mount: &Mount) -> Result<(u64, u64), AccessError> {
        let (mut all, mut ended) = (0, 0);
        let look = state.prefixes.end_some_of(&mount.id);
        let mut range = KeyRange::prefix(mount.prefix(AT));
        loop {
            let page = self.barrier.scan_keys(&range, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok((all, ended));
            };
            range = range.after(last);
            all += page.len() as u64;
            for key in page.iter().filter(|_| look) {
                let found = self.lease_at(key).await?;
                let record = found.as_ref().map(|found| &found.record);
                let by_path = record.is_some_and(|record| {
                    record.ending.is_none() && state.prefixes.end_lease(record)
                });
                ended += u64::from(by_path);
            }
        }
    }

    /// Leases that wait for their engine, those that are due first before others; at most `most`.
    pub async fn waiting_leases(
        &self,
        _permit: &Permit,
        group: LeaseGroup,
        most: usize,
    ) -> Result<Vec<WaitingLease>, AccessError> {
        let state = self.state()?;
        let mut leases = Vec::new();
        self.each_waiting(&state, |lease, _, attempts| {
            if group != LeaseGroup::Irrevocable || attempts >= IRREVOCABLE {
                leases.push(lease);
            }
            leases.len() < most
        })
        .await?;
        Ok(leases)
    }

    /// Until `each` says no.
    async fn each_waiting(
        &self,
        state: &OpenState,
        mut each: impl FnMut(WaitingLease, Option<&Mount>, u32) -> bool,
    ) -> Result<(), AccessError> {
        let mut range = KeyRange::prefix(QUEUE);
        loop {
            let page = self.barrier.scan_keys(&range, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            range = range.after(last);
            for entry in &page {
                let Some(found) = self.lease_at(entry).await? else {
                    continue;
                };
                let Some(ending) = &found.record.ending else {
                    continue;
                };
                let mount = state.mounts.by_id(&found.record.mount);
                let lease = WaitingLease {
                    id: found.record.shown(&found.uid).id,
                    mount_accessor: mount
                        .as_ref()
                        .map_or_else(String::new, |mount| mount.accessor.clone()),
                    since: ending.since,
                    due: ending.due,
                    attempts: ending.attempts,
                    error: ending.error.clone(),
                };
                if !each(lease, mount.as_deref(), ending.attempts) {
                    return Ok(());
                }
            }
        }
    }
}

/// The first segment, with its `/` if there is more behind it.
fn first_of(path: &str) -> Option<String> {
    let name = path.split_inclusive('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn text_behind(key: &Key, at: usize) -> Result<&str, AccessError> {
    let rest = key.as_bytes().get(at..).ok_or(AccessError::Corrupt)?;
    std::str::from_utf8(rest).map_err(|_| AccessError::Corrupt)
}
