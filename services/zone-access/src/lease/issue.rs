//! Giving out a lease: one batch with what the engine writes.

use zone_barrier::Batch;

use super::{LARGEST, LONGEST, Lease, LeaseOffer, LeaseRecord, UID, Uid, birth, later};
use crate::permit::Permit;
use crate::record::V1;
use crate::token::{TRIES, TokenEntry, TokenKind};
use crate::{Access, AccessError, OpenState};

impl Access {
    /// Commits what `write` makes, together with a lease at the permit's path that belongs to the
    /// permit's caller. `write` is called again if the caller's token was changed meanwhile, and
    /// must make the same each time. A condition of its batch that fails makes that twice, then
    /// [`AccessError::Busy`]. [`AccessError::QuotaExceeded`] before anything is made.
    pub async fn commit_leased(
        &self,
        permit: &Permit,
        offer: LeaseOffer,
        write: impl Fn() -> Batch + Send,
    ) -> Result<Lease, AccessError> {
        let state = self.state()?;
        let caller = permit.token().ok_or(AccessError::Denied("no token"))?;
        check(permit, &offer)?;
        let mut fill = |out: &mut [u8]| self.random.fill(out);
        let uid = Uid(zone_crypto::text::base62(UID, &mut fill).expose().clone());
        let record = record_for(permit, caller, offer);
        let _place = state.quotas.reserve(permit.mount(), permit.rest())?;
        for _ in 0..TRIES {
            let batch = self.held(&state, &record, write()).await?;
            let batch = birth(&state, batch, permit.mount(), &uid, &record)?;
            if self.changed(&state, batch).await? {
                return Ok(record.shown(&uid));
            }
        }
        Err(AccessError::Busy)
    }

    /// Ties the batch to the owner's record: what a token is given after it has ended would never
    /// be taken back.
    async fn held(
        &self,
        state: &OpenState,
        record: &LeaseRecord,
        batch: Batch,
    ) -> Result<Batch, AccessError> {
        let Some(token) = &record.token else {
            return Ok(batch);
        };
        match self.read_token(state, token).await? {
            Some(owner) => Ok(batch.require(state.tokens.key(token)?, Some(owner.revision))),
            None => Err(AccessError::Denied("the token has ended")),
        }
    }
}

fn check(permit: &Permit, offer: &LeaseOffer) -> Result<(), AccessError> {
    if offer.ttl == 0 {
        return Err(AccessError::invalid("a lease lives for a second at least"));
    }
    if offer.data.len() > LARGEST || permit.rest().len() > LONGEST {
        return Err(AccessError::invalid("a lease is too large"));
    }
    Ok(())
}

fn record_for(permit: &Permit, caller: &TokenEntry, offer: LeaseOffer) -> LeaseRecord {
    let now = permit.now();
    let mut max = later(now, offer.max_ttl.max(offer.ttl));
    // A batch token has no record that could end its leases: they end with its time, and belong
    // to its parent.
    let token = match caller.kind {
        TokenKind::Service => Some(caller.id.clone()),
        TokenKind::Batch => {
            max = caller.record.expire_time.map_or(max, |end| max.min(end));
            caller.record.parent.clone()
        }
    };
    LeaseRecord {
        v: V1,
        mount: permit.mount().id.clone(),
        at: permit.mount().path.as_str().to_owned(),
        rest: permit.rest().to_owned(),
        token,
        issue_time: now,
        expire_time: later(now, offer.ttl).min(max),
        last_renewal: None,
        ttl: offer.ttl,
        max_ttl: max.since(now).as_secs(),
        renewable: offer.renewable,
        data: offer.data,
        ending: None,
    }
}
