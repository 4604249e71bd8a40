//! Locking users whose password is guessed at. Counted on the name in its one spelling, so that
//! no other spelling gets attempts of its own (CVE-2025-6004).
//!
//! An attempt is judged when its hash is done: of many guesses at once only the first few count,
//! as if they had come one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zone_access::{Mount, MountKind, Permit, UserLockout, expiry};
use zone_barrier::{Barrier, Batch};
use zone_ports::{Key, KeyRange};
use zone_types::{MountId, Timestamp};

use crate::record::{V1, decode};
use crate::{AuthError, AuthService, Name};

/// What an attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The password is right and the user is not locked.
    Known,
    /// Neither.
    Refused,
    /// Refused, and from now on locked until then.
    Locked(Timestamp),
}

/// Wrong passwords of one user.
struct Count {
    wrong: u64,
    last: Timestamp,
    until: Option<Timestamp>,
}

/// Wrong passwords of users, and the locks that they brought about. Holds existing users only, so
/// a stranger cannot make it grow.
pub(crate) struct Lockout {
    barrier: Barrier,
    counts: Mutex<HashMap<(MountId, Name), Count>>,
    /// One change of stored locks at a time.
    writing: tokio::sync::Mutex<()>,
}

/// The locked users of one mount.
#[derive(Debug, PartialEq, Eq)]
pub struct LockedUsers {
    /// The accessor of the mount.
    pub mount_accessor: String,
    /// Their names.
    pub names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockRecord {
    v: V1,
    until: Timestamp,
}

impl Lockout {
    pub(crate) fn new(barrier: Barrier) -> Self {
        Self {
            barrier,
            counts: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn forget(&self) {
        self.counts.lock().clear();
    }

    /// Until when the user is locked, as the store has it.
    pub(super) async fn stored(
        &self,
        mount: &Mount,
        name: &Name,
    ) -> Result<Option<Timestamp>, AuthError> {
        match self.barrier.get(&lock_key(mount, name)?).await? {
            Some(plain) => Ok(Some(decode::<LockRecord>(&plain)?.until)),
            None => Ok(None),
        }
    }

    /// Counts one attempt of a user who is there. `stored` is what [`Lockout::stored`] said.
    pub(super) fn judge(
        &self,
        mount: &Mount,
        name: &Name,
        rules: UserLockout,
        stored: Option<Timestamp>,
        right: bool,
        now: Timestamp,
    ) -> Verdict {
        if rules.disabled {
            return if right {
                Verdict::Known
            } else {
                Verdict::Refused
            };
        }
        let id = (mount.id.clone(), name.clone());
        let mut counts = self.counts.lock();
        let until = counts.get(&id).and_then(|count| count.until);
        if until.max(stored).is_some_and(|until| now < until) {
            return Verdict::Refused;
        }
        if right {
            counts.remove(&id);
            return Verdict::Known;
        }
        let count = counts.entry(id).or_insert(Count {
            wrong: 0,
            last: now,
            until: None,
        });
        let stale = now.since(count.last) > Duration::from_secs(rules.counter_reset);
        if stale || count.until.is_some() {
            count.wrong = 0;
            count.until = None;
        }
        count.wrong += 1;
        count.last = now;
        if count.wrong < rules.threshold {
            return Verdict::Refused;
        }
        let until = now.plus(Duration::from_secs(rules.duration));
        count.until = Some(until);
        Verdict::Locked(until)
    }

    /// Stores a lock in the background. It holds already; storing it is for the next head.
    pub(super) fn store_behind(self: &Arc<Self>, mount: Arc<Mount>, name: Name, until: Timestamp) {
        let lockout = self.clone();
        tokio::spawn(async move {
            if let Err(error) = lockout.store(&mount, &name, until).await {
                tracing::error!(%error, "the lock of a user is not stored; a restart would lift it");
            }
        });
    }

    async fn store(&self, mount: &Mount, name: &Name, until: Timestamp) -> Result<(), AuthError> {
        let _alone = self.writing.lock().await;
        let id = (mount.id.clone(), name.clone());
        let holds = self.counts.lock().get(&id).and_then(|count| count.until) == Some(until);
        if !holds {
            // Unlocked since.
            return Ok(());
        }
        let key = lock_key(mount, name)?;
        let (entry, value) = entry_of(mount, name, until)?;
        let record = LockRecord { v: V1, until };
        let mut batch = Batch::new();
        if let Some(old) = self.stored(mount, name).await? {
            batch = batch.delete(entry_of(mount, name, old)?.0);
        }
        let batch = batch
            .put(key, serde_json::to_vec(&record)?)
            .put(entry, value);
        self.barrier.commit(batch).await?;
        Ok(())
    }

    /// Lifts a lock, and forgets what was counted.
    pub(crate) async fn unlock(&self, mount: &Mount, name: &Name) -> Result<(), AuthError> {
        let _alone = self.writing.lock().await;
        if let Some(until) = self.stored(mount, name).await? {
            let batch = Batch::new()
                .delete(lock_key(mount, name)?)
                .delete(entry_of(mount, name, until)?.0);
            self.barrier.commit(batch).await?;
        }
        self.counts.lock().remove(&(mount.id.clone(), name.clone()));
        Ok(())
    }

    /// The users of `mount` who are locked at `now`.
    async fn locked(&self, mount: &Mount, now: Timestamp) -> Result<Vec<String>, AuthError> {
        let prefix = mount.prefix("lock");
        let mut range = KeyRange::prefix(prefix.clone());
        let mut names = Vec::new();
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last);
            for (key, plain) in &page {
                if now < decode::<LockRecord>(plain)?.until {
                    let name = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
                    names.push(name.map_err(|_| AuthError::Corrupt)?.to_owned());
                }
            }
        }
        // Locks that are not stored yet.
        for ((id, name), count) in &*self.counts.lock() {
            if *id == mount.id && count.until.is_some_and(|until| now < until) {
                names.push(name.as_str().to_owned());
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }
}

impl AuthService {
    /// `sys/locked-users`: who is locked, by mount; of one mount alone if its accessor is given.
    pub async fn locked_users(
        &self,
        permit: &Permit,
        accessor: Option<&str>,
    ) -> Result<Vec<LockedUsers>, AuthError> {
        let mut all = Vec::new();
        for mount in self.access.mounts()? {
            let asked = accessor.is_none_or(|accessor| mount.accessor == accessor);
            if mount.kind != MountKind::Userpass || !asked {
                continue;
            }
            let names = self.lockout.locked(&mount, permit.now()).await?;
            if !names.is_empty() {
                all.push(LockedUsers {
                    mount_accessor: mount.accessor.clone(),
                    names,
                });
            }
        }
        Ok(all)
    }

    /// `sys/locked-users/ACCESSOR/unlock/NAME`: lifts the lock of one user. Not locked: no error.
    pub async fn unlock_user(
        &self,
        _permit: &Permit,
        accessor: &str,
        name: &str,
    ) -> Result<(), AuthError> {
        let mounts = self.access.mounts()?;
        let mount = mounts
            .iter()
            .find(|mount| mount.accessor == accessor && mount.kind == MountKind::Userpass);
        let mount = mount.ok_or(AuthError::Missing(
            "no auth method that locks users has that accessor",
        ))?;
        let name = Name::parse(name).ok_or(AuthError::Missing("no user can have that name"))?;
        self.lockout.unlock(mount, &name).await
    }
}

fn lock_key(mount: &Mount, name: &Name) -> Result<Key, AuthError> {
    Ok(mount.key("lock", name.as_str())?)
}

/// What lifts the lock when its time has passed.
fn entry_of(mount: &Mount, name: &Name, until: Timestamp) -> Result<(Key, Vec<u8>), AuthError> {
    let id = zone_crypto::sha256(format!("{}/{name}", mount.id).as_bytes());
    let key = lock_key(mount, name)?;
    Ok(expiry::keys_entry(until, &hex::encode(id), &[&key])?)
}
