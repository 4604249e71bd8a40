//! Looking a lease up, renewing it, revoking it.

use zone_barrier::Batch;
use zone_types::Timestamp;

use super::{Found, Lease, LeaseRecord, Named, Uid, later};
use crate::permit::Permit;
use crate::record::MARK;
use crate::token::{TRIES, TokenEntry, TokenId, TokenRecord};
use crate::{Access, AccessError, OpenState};

impl Access {
    /// The lease `id`, if it counts.
    pub async fn lease(&self, _permit: &Permit, id: &str) -> Result<Option<Lease>, AccessError> {
        let state = self.state()?;
        match Named::parse(id) {
            Some((Named::Lease(uid), path)) => {
                let found = self.counting(&state, &uid, path, self.instant()).await?;
                Ok(found.map(|found| found.record.shown(&uid)))
            }
            Some((Named::Token(token), path)) => self.token_lease(&state, &token, path).await,
            None => Ok(None),
        }
    }

    async fn token_lease(
        &self,
        state: &OpenState,
        token: &TokenId,
        path: &str,
    ) -> Result<Option<Lease>, AccessError> {
        let entry = self.live(state, token, self.instant()).await?;
        let named = |record: &TokenRecord| record.path == path || state.path_of(record) == path;
        let entry = entry.filter(|entry| named(&entry.record));
        Ok(entry.map(|entry| shown_token(&entry)))
    }

    /// Renews the lease `id` by `increment` seconds from now (zero: by what it was given out
    /// for), within its maximum.
    pub async fn renew_lease(
        &self,
        _permit: &Permit,
        id: &str,
        increment: u64,
    ) -> Result<Lease, AccessError> {
        let state = self.state()?;
        let (uid, path) = match Named::parse(id) {
            Some((Named::Lease(uid), path)) => (uid, path),
            Some((Named::Token(_), _)) => {
                return Err(AccessError::invalid(
                    "tokens cannot be renewed through this endpoint",
                ));
            }
            None => return Err(AccessError::invalid("lease not found")),
        };
        for _ in 0..TRIES {
            let now = self.instant();
            let found = self.counting(&state, &uid, path, now).await?;
            let found = found.ok_or_else(|| AccessError::invalid("lease not found"))?;
            let record = renewed(&found.record, increment, now)?;
            let batch = Batch::new()
                .require(uid.key()?, Some(found.revision))
                .delete(found.record.expiry_key(&uid)?)
                .put(record.expiry_key(&uid)?, MARK)
                .put(uid.key()?, serde_json::to_vec(&record)?);
            if self.changed(&state, batch).await? {
                return Ok(record.shown(&uid));
            }
        }
        Err(AccessError::Busy)
    }

    /// Ends the lease `id`, or the token that it stands for with its descendants. Durable and in
    /// force when it returns; `sync` also waits until the engine has taken back what it stands
    /// for. No such lease: no error, as in Vault.
    ///
    /// # Errors
    ///
    /// [`AccessError::Invalid`] if `sync` and the engine failed: the lease has ended, and the
    /// engine is asked again.
    pub async fn revoke_lease(
        &self,
        _permit: &Permit,
        id: &str,
        sync: bool,
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        let (uid, path) = match Named::parse(id) {
            Some((Named::Lease(uid), path)) => (uid, path),
            Some((Named::Token(token), path)) => {
                return match self.token_lease(&state, &token, path).await? {
                    Some(_) => self.revoke_token(&token).await,
                    None => Ok(()),
                };
            }
            None => return Ok(()),
        };
        for _ in 0..TRIES {
            let found = self.read_lease(&uid).await?;
            let Some(found) = found.filter(|found| is_at(&state, &found.record, path)) else {
                return Ok(());
            };
            if self.end_lease(&state, &found, false).await? {
                return match sync {
                    true => self.end_now(&state, &uid).await,
                    false => Ok(()),
                };
            }
        }
        Err(AccessError::Busy)
    }

    async fn counting(
        &self,
        state: &OpenState,
        uid: &Uid,
        path: &str,
        now: Timestamp,
    ) -> Result<Option<Found>, AccessError> {
        let found = self.read_lease(uid).await?;
        let Some(found) = found.filter(|found| is_at(state, &found.record, path)) else {
            return Ok(None);
        };
        let counts = self.lease_counts(state, &found.record, now).await?;
        Ok(counts.map(|_| found))
    }
}

/// Whether `path` names the lease: where it was given out, or where its mount hangs now.
pub(super) fn is_at(state: &OpenState, record: &LeaseRecord, path: &str) -> bool {
    if record.path() == path {
        return true;
    }
    let mount = state.mounts.by_id(&record.mount);
    mount.is_some_and(|mount| path.strip_prefix(mount.path.as_str()) == Some(&record.rest))
}

fn renewed(
    record: &LeaseRecord,
    increment: u64,
    now: Timestamp,
) -> Result<LeaseRecord, AccessError> {
    if !record.renewable {
        return Err(AccessError::invalid("lease is not renewable"));
    }
    let span = if increment == 0 {
        record.ttl
    } else {
        increment
    };
    let end = later(now, span).min(later(record.issue_time, record.max_ttl));
    if end <= now {
        return Err(AccessError::invalid("past the max TTL, cannot renew"));
    }
    Ok(LeaseRecord {
        expire_time: end,
        last_renewal: Some(now),
        ..record.clone()
    })
}

/// A token as a lease.
fn shown_token(entry: &TokenEntry) -> Lease {
    let record = &entry.record;
    Lease {
        id: format!("{}/h{}", record.path, entry.id.as_str()),
        path: record.path.clone(),
        issue_time: record.creation_time,
        expire_time: record.expire_time,
        last_renewal: record.last_renewal,
        renewable: record.renewable,
    }
}
