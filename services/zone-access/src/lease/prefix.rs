//! Revoking all leases, and all tokens, below a path by one durable operation.
//!
//! The operation writes one record for each mount that the path names a part of (or that hangs
//! below it). From then on no lease and no token that was given out there before counts: the few
//! such records that are under way are kept in memory, and whatever is found is held against them.
//! The sweep ends the leases and tokens one after the other. It goes through all of them once
//! more when no request that was permitted before the operation can still be under way, and then
//! removes the record.

use std::sync::Arc;
use std::time::Duration;

use zone_barrier::{BarrierError, Batch};
use zone_ports::{Key, KeyRange};

use super::life::is_at;
use super::works::{MOST, PrefixRecord, Stage, WORKS, Work};
use super::{AT, Found, Named, Uid};
use crate::mount::{Mount, MountKind};
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::token::tree::STEP;
use crate::token::{TRIES, TokenId};
use crate::{Access, AccessError, OpenState};

/// Most mounts that one operation may be about; each is one record of its batch.
const MOST_MOUNTS: usize = 50;
/// Entries that one round looks at.
const PAGE: usize = 250;
/// Longer than any request that was permitted before may take.
const GRACE: Duration = Duration::from_secs(600);

impl Access {
    /// Ends all leases and tokens that were given out at or below `prefix`. Durable and in force
    /// when it returns; `sync` also waits until the engines have taken back what they stand for.
    /// `force` lets go of leases whose engines fail. A `prefix` that is the id of a lease or of a
    /// token ends that one.
    ///
    /// # Errors
    ///
    /// [`AccessError::Invalid`] if `sync` and an engine failed: the leases have ended, and the
    /// engine is asked again.
    pub async fn revoke_prefix(
        &self,
        permit: &Permit,
        prefix: &str,
        force: bool,
        sync: bool,
    ) -> Result<(), AccessError> {
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Err(AccessError::invalid("the prefix is missing"));
        }
        let state = self.state()?;
        if let Some(found) = self.lease_named(&state, prefix).await?
            && force
        {
            return self.end_by_force(&state, found).await;
        } else if self.lease(permit, prefix).await?.is_some() {
            return self.revoke_lease(permit, prefix, sync).await;
        }
        let works = self.begin_works(&state, prefix, force).await?;
        if !sync {
            return Ok(());
        }
        let mut failed = None;
        for work in works {
            while self.prefix_round(&state, &work).await? {}
            failed = failed.or(self.ask_engines_of(&state, &work).await?);
        }
        failed.map_or(Ok(()), |cause| {
            Err(AccessError::Invalid(format!(
                "the leases have ended, but what some stand for could not be taken back yet: {cause}"
            )))
        })
    }

    /// The lease of that id, ended or not. A role may be named like the last part of one.
    async fn lease_named(&self, state: &OpenState, id: &str) -> Result<Option<Found>, AccessError> {
        let Some((Named::Lease(uid), path)) = Named::parse(id) else {
            return Ok(None);
        };
        let found = self.read_lease(&uid).await?;
        Ok(found.filter(|found| is_at(state, &found.record, path)))
    }

    async fn end_by_force(
        &self,
        state: &Arc<OpenState>,
        mut found: Found,
    ) -> Result<(), AccessError> {
        for _ in 0..TRIES {
            if self.end_lease(state, &found, true).await? {
                let _let_go = self.end_now(state, &found.uid).await;
                return Ok(());
            }
            found = match self.read_lease(&found.uid).await? {
                Some(found) => found,
                None => return Ok(()),
            };
        }
        Err(AccessError::Busy)
    }

    /// The mounts that `prefix` is about, each with the part of the prefix below it.
    fn named_mounts<'a>(&self, state: &OpenState, prefix: &'a str) -> Vec<(Arc<Mount>, &'a str)> {
        let folder = format!("{prefix}/");
        let gives = |kind: MountKind| kind.is_auth() || self.lease_target(kind).is_some();
        let all = state.mounts.all().into_iter();
        let named = all.filter(|mount| gives(mount.kind)).filter_map(|mount| {
            let path = mount.path.as_str();
            if path.starts_with(&folder) {
                return Some((mount, ""));
            }
            let rest = prefix.strip_prefix(path)?;
            Some((mount, rest))
        });
        named.collect()
    }

    /// Writes the records, and has them in force.
    async fn begin_works(
        &self,
        state: &Arc<OpenState>,
        prefix: &str,
        force: bool,
    ) -> Result<Vec<Arc<Work>>, AccessError> {
        let one_at_a_time = state.prefixes.changing.clone().lock_owned().await;
        let mounts = self.named_mounts(state, prefix);
        if mounts.len() > MOST_MOUNTS || state.prefixes.works.load().len() + mounts.len() > MOST {
            return Err(AccessError::invalid(
                "the prefix is about too many mounts at once: name a longer one",
            ));
        }
        let now = self.instant();
        let (mut batch, mut works) = (Batch::new(), Vec::new());
        for (mount, rest) in mounts {
            let record = PrefixRecord {
                v: V1,
                mount: mount.id.clone(),
                prefix: prefix.to_owned(),
                rest: rest.to_owned(),
                since: now,
                force,
            };
            let code =
                state
                    .tokens
                    .code_of(&[b"prefix", mount.id.as_str().as_bytes(), prefix.as_bytes()]);
            let key = Key::new(format!("{WORKS}{code}"))?;
            batch = batch.put(key.clone(), serde_json::to_vec(&record)?);
            works.push(Work::new(key, record, now));
        }
        if works.is_empty() {
            return Ok(works);
        }
        let shown = works.clone();
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                for work in &shown {
                    state.prefixes.show(work);
                }
            }
            drop(one_at_a_time);
        };
        self.change(state, batch, then).await?;
        Ok(works)
    }

    /// Goes on with what is under way; `true` if something was done, so that there may be more.
    pub(crate) async fn sweep_prefixes(&self) -> Result<bool, AccessError> {
        let state = self.state()?;
        let works = state.prefixes.works.load_full();
        let mut progress = false;
        for work in works.iter() {
            progress |= self.prefix_round(&state, work).await?;
            progress |= self.prefix_done(&state, work).await?;
        }
        Ok(progress)
    }

    /// One page of the pass that is under way; `false` if it is at its end.
    async fn prefix_round(&self, state: &Arc<OpenState>, work: &Work) -> Result<bool, AccessError> {
        let mut pass = work.pass.lock().await;
        let Some(mount) = state.mounts.by_id(&work.record.mount) else {
            pass.stage = Stage::Done;
            return Ok(false);
        };
        pass.stage = match &pass.stage {
            Stage::Done => return Ok(false),
            Stage::Leases(at) => match self.leases_page(state, work, &mount, at.as_ref()).await? {
                None if mount.kind.is_auth() => Stage::Tokens(None),
                None => Stage::Done,
                last => Stage::Leases(last),
            },
            Stage::Tokens(at) => match self.tokens_page(state, work, &mount, at.as_ref()).await? {
                None => Stage::Done,
                last => Stage::Tokens(last),
            },
        };
        Ok(true)
    }

    /// Begins the second pass when it is time, and removes the record behind that.
    async fn prefix_done(
        &self,
        state: &Arc<OpenState>,
        work: &Arc<Work>,
    ) -> Result<bool, AccessError> {
        let now = self.instant();
        let all_over = work.record.since.plus(GRACE);
        {
            let mut pass = work.pass.lock().await;
            if !matches!(pass.stage, Stage::Done) || now <= all_over {
                return Ok(false);
            }
            if pass.began <= all_over {
                (pass.began, pass.stage) = (now, Stage::Leases(None));
                return Ok(true);
            }
        }
        let Some(plain) = self.barrier.get(&work.key).await? else {
            state.prefixes.hide(work);
            return Ok(true);
        };
        // A newer operation on the same prefix has taken its place.
        if decode::<PrefixRecord>(&plain)? != work.record {
            return Ok(false);
        }
        let batch = Batch::new()
            .require(work.key.clone(), Some(plain.revision))
            .delete(work.key.clone());
        let over = work.clone();
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                state.prefixes.hide(&over);
            }
        };
        match self.change(state, batch, then).await {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends the leases of one page. The last entry that it looked at; `None` if there was none.
    async fn leases_page(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
        mount: &Mount,
        at: Option<&Key>,
    ) -> Result<Option<Key>, AccessError> {
        let keys = self.lease_entries(work, mount, at).await?;
        for some in keys.chunks(STEP) {
            self.end_some(state, work, some).await?;
        }
        Ok(keys.last().cloned())
    }

    async fn lease_entries(
        &self,
        work: &Work,
        mount: &Mount,
        at: Option<&Key>,
    ) -> Result<Vec<Key>, AccessError> {
        let prefix = match work.record.rest.as_str() {
            "" => mount.prefix(AT),
            rest => mount.key(AT, format!("{rest}/"))?.as_bytes().to_vec(),
        };
        let all = KeyRange::prefix(prefix);
        let range = at.map_or(all.clone(), |key| all.after(key));
        Ok(self.barrier.scan_keys(&range, PAGE).await?)
    }

    async fn end_some(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
        entries: &[Key],
    ) -> Result<(), AccessError> {
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            for entry in entries {
                let found = self.lease_at(entry).await?;
                if let Some(found) = found.filter(|found| work.ends_lease(&found.record)) {
                    batch = self.lease_ending(state, batch, &found, work.record.force)?;
                }
            }
            if batch.changes.is_empty() || self.changed(state, batch).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// Ends the tokens of one page. The last entry that it looked at; `None` if there was none.
    async fn tokens_page(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
        mount: &Mount,
        at: Option<&Key>,
    ) -> Result<Option<Key>, AccessError> {
        let all = state.tokens.made_at(mount)?;
        let range = at.map_or(all.clone(), |key| all.after(key));
        let keys = self.barrier.scan_keys(&range, PAGE).await?;
        for some in keys.chunks(STEP) {
            self.end_some_tokens(state, work, some).await?;
        }
        Ok(keys.last().cloned())
    }

    async fn end_some_tokens(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
        entries: &[Key],
    ) -> Result<(), AccessError> {
        let tokens = &state.tokens.mount().id;
        for _ in 0..TRIES {
            let mut ended = Vec::new();
            for id in entries.iter().filter_map(TokenId::of_key) {
                match self.read_token(state, &id).await {
                    Err(AccessError::Corrupt) => {
                        tracing::error!("a token is corrupt and is left alone");
                    }
                    found => {
                        let found = found?;
                        ended.extend(found.filter(|entry| work.ends_token(&entry.record, tokens)));
                    }
                }
            }
            if ended.is_empty() || self.end_all(state, &ended, Batch::new()).await? {
                return Ok(());
            }
        }
        Err(AccessError::Busy)
    }

    /// Has the engines asked at once. What the first one that failed says.
    async fn ask_engines_of(
        &self,
        state: &Arc<OpenState>,
        work: &Work,
    ) -> Result<Option<String>, AccessError> {
        let (mut at, mut failed) = (None, None);
        let Some(mount) = state.mounts.by_id(&work.record.mount) else {
            return Ok(None);
        };
        loop {
            let keys = self.lease_entries(work, &mount, at.as_ref()).await?;
            let Some(last) = keys.last() else {
                return Ok(failed);
            };
            for uid in keys.iter().filter_map(Uid::of_key) {
                match self.end_now(state, &uid).await {
                    // Said already, when the pass came by.
                    Err(AccessError::Corrupt) => {}
                    Err(AccessError::Invalid(cause)) if !work.record.force => {
                        failed = failed.or(Some(cause));
                    }
                    Ok(()) | Err(AccessError::Invalid(_)) => {}
                    Err(other) => return Err(other),
                }
            }
            at = Some(last.clone());
        }
    }
}
