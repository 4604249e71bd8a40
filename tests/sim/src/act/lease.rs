//! Leases: given, renewed, revoked.

use anyhow::{Context, Result, bail};
use zone_access::{AccessError, LeaseOffer};
use zone_barrier::Batch;

use super::{Answer, permitted, refused};
use crate::head::Head;
use crate::model::Model;
use crate::step::{Manner, Part, Step};

pub(super) async fn act(head: &Head, model: &Model, step: &Step) -> Result<Answer> {
    match *step {
        Step::Lease { .. } => give(head, model, step).await,
        Step::RenewLease(lease, increment) => {
            let permit = head.permit("sys/leases/renew").await?;
            let id = model.lease_id(lease);
            let renewed = head.access.renew_lease(&permit, &id, increment).await;
            Ok(match refused(renewed)? {
                Some(lease) => {
                    let end = lease.expire_time.context("a lease ends")?;
                    Answer::Until(end.secs())
                }
                None => Answer::Refused,
            })
        }
        Step::RevokeLease(lease, sync) => {
            let permit = head.permit("sys/leases/revoke").await?;
            let id = model.lease_id(lease);
            done(head, head.access.revoke_lease(&permit, &id, sync).await)
        }
        Step::RevokePrefix(part, manner) => revoke_prefix(head, model, part, manner).await,
        Step::Engine => {
            let engine = &head.world.engine;
            engine.go_away(!engine.is_away());
            Ok(Answer::Done)
        }
        _ => bail!("not about leases"),
    }
}

async fn give(head: &Head, model: &Model, step: &Step) -> Result<Answer> {
    let Step::Lease {
        by,
        place,
        ttl,
        max,
        renewable,
    } = *step
    else {
        bail!("not a lease")
    };
    let text = by.map_or(Some(&head.world.root), |by| model.tokens[by].text.as_ref());
    let asked = head.ask(text, &model.engine_path(place), None).await;
    let Some(permit) = permitted(asked)? else {
        return Ok(Answer::Refused);
    };
    let offer = LeaseOffer {
        ttl,
        max_ttl: max,
        renewable,
        data: model.next.to_string(),
    };
    let given = head.access.commit_leased(&permit, offer, Batch::new).await;
    Ok(Answer::Leased(given?))
}

async fn revoke_prefix(head: &Head, model: &Model, part: Part, manner: Manner) -> Result<Answer> {
    let prefix = model.prefix_of(part);
    let permit = head
        .permit(&format!("sys/leases/revoke-prefix/{prefix}"))
        .await?;
    let (force, sync) = (manner == Manner::Force, manner != Manner::Later);
    let revoked = head
        .access
        .revoke_prefix(&permit, &prefix, force, sync)
        .await;
    done(head, revoked)
}

/// It is done also if the engine could not take back what it gave.
fn done(head: &Head, result: Result<(), AccessError>) -> Result<Answer> {
    match result {
        Err(AccessError::Invalid(_)) if head.world.engine.is_away() => Ok(Answer::Done),
        other => Ok(other.map(|()| Answer::Done)?),
    }
}
