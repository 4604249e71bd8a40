//! `sys/leases/…`.

use serde_json::{Value, json};
use zone_access::{Access, AccessError, Lease, LeaseGroup, Operation};

use super::exchange::{Answer, Call, Fault, LeaseShown, Reply};
use super::fields::Fields;
use super::sys::writes;
use crate::Zone;

/// Leases in one answer, unless the caller asks for fewer.
const MOST: usize = 10_000;

pub(super) async fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let access = zone.system.access();
    let (verb, rest) = tail.split_once('/').unwrap_or((tail, ""));
    match (verb, call.permit.operation()) {
        ("lookup", Operation::List) => Reply::keys(&access.leases_below(&call.permit, rest).await?),
        ("", Operation::Read) => waiting(access, call).await,
        ("count", Operation::Read) => count(access, call).await,
        ("lookup", _) if rest.is_empty() && writes(call) => lookup(access, call).await,
        ("renew", _) if writes(call) => renew(access, call, rest).await,
        ("revoke", _) if writes(call) => revoke(access, call, rest).await,
        ("revoke-prefix", _) if writes(call) => {
            let sync = Fields(&call.data).flag("sync")?.unwrap_or(false);
            by_prefix(access, call, rest, false, sync).await
        }
        ("revoke-force", _) if writes(call) => by_prefix(access, call, rest, true, true).await,
        ("tidy", _) if writes(call) => tidy(access).await,
        _ => Err(Fault::unsupported_operation()),
    }
}

/// The id in the body, else the one in the path.
fn named(call: &Call, rest: &str) -> Result<String, Fault> {
    let given = Fields(&call.data).text("lease_id")?;
    let id = given
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| rest.to_owned());
    match id.is_empty() {
        true => Err(Fault::bad_request("lease_id must be specified")),
        false => Ok(id),
    }
}

fn shown(lease: &Lease, call: &Call) -> Value {
    json!({
        "id": lease.id,
        "path": lease.path,
        "issue_time": lease.issue_time,
        "expire_time": lease.expire_time,
        "last_renewal": lease.last_renewal,
        "renewable": lease.renewable,
        "ttl": lease.ttl(call.permit.now()),
    })
}

async fn lookup(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let id = named(call, "")?;
    match access.lease(&call.permit, &id).await? {
        Some(lease) => Reply::data(&shown(&lease, call)),
        None => Err(Fault::bad_request("invalid lease")),
    }
}

async fn renew(access: &Access, call: &Call, rest: &str) -> Result<Reply, Fault> {
    let id = named(call, rest)?;
    let increment = Fields(&call.data).seconds("increment")?.unwrap_or(0);
    let lease = access.renew_lease(&call.permit, &id, increment).await?;
    Ok(Reply::Data(Answer {
        lease_duration: lease.ttl(call.permit.now()),
        lease: Some(LeaseShown::of(&lease)),
        ..Answer::default()
    }))
}

async fn revoke(access: &Access, call: &Call, rest: &str) -> Result<Reply, Fault> {
    let id = named(call, rest)?;
    let sync = Fields(&call.data).flag("sync")?.unwrap_or(false);
    access.revoke_lease(&call.permit, &id, sync).await?;
    Ok(done(sync))
}

async fn by_prefix(
    access: &Access,
    call: &Call,
    prefix: &str,
    force: bool,
    sync: bool,
) -> Result<Reply, Fault> {
    let permit = &call.permit;
    access.revoke_prefix(permit, prefix, force, sync).await?;
    Ok(done(sync))
}

/// 204 when all is done, 202 when engines are still to be asked; ended have the leases in both.
fn done(sync: bool) -> Reply {
    match sync {
        true => Reply::NoContent,
        false => Reply::Accepted(Answer::default()),
    }
}

/// One round at once; the background work does the rest, as it does anyway.
async fn tidy(access: &Access) -> Result<Reply, Fault> {
    access.sweep().await?;
    let text = "Tidy operation successfully started. Any information from the operation will be \
                printed to the server logs.";
    Ok(Reply::Accepted(Answer {
        warnings: vec![text.to_owned()],
        ..Answer::default()
    }))
}

fn group(call: &Call) -> Result<LeaseGroup, Fault> {
    match Fields(&call.data).text("type")?.as_deref() {
        Some("irrevocable") => Ok(LeaseGroup::Irrevocable),
        Some("revoking") => Ok(LeaseGroup::Revoking),
        Some("active") => Ok(LeaseGroup::Active),
        _ => Err(Fault::bad_request(
            "field 'type': expected irrevocable, revoking or active",
        )),
    }
}

async fn count(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let tally = access.count_leases(&call.permit, group(call)?).await?;
    Reply::data(&json!({ "lease_count": tally.total, "counts": tally.by_mount }))
}

/// Zero and below mean all, as in other lists.
fn limit(text: &str) -> Result<usize, Fault> {
    let number: i64 = text
        .parse()
        .map_err(|_| Fault::bad_request("field 'limit': expected a number, or none"))?;
    let limit = usize::try_from(number).unwrap_or(0);
    Ok(if limit > 0 { limit } else { usize::MAX })
}

async fn waiting(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let group = group(call)?;
    if group == LeaseGroup::Active {
        let text = "field 'type': active leases are listed at sys/leases/lookup/PREFIX";
        return Err(Fault::bad_request(text));
    }
    let most = match Fields(&call.data).text("limit")?.as_deref() {
        None | Some("") => MOST,
        Some("none") => usize::MAX,
        Some(text) => limit(text)?,
    };
    let found = access.waiting_leases(&call.permit, group, most).await;
    let leases: Result<Vec<Value>, AccessError> = found.map(|leases| {
        let shown = leases.into_iter().map(|lease| {
            json!({
                "lease_id": lease.id,
                "mount_accessor": lease.mount_accessor,
                "since": lease.since,
                "due": lease.due,
                "attempts": lease.attempts,
                "error": lease.error,
            })
        });
        shown.collect()
    });
    let leases = leases?;
    Reply::data(&json!({ "lease_count": leases.len(), "leases": leases }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_zero_or_below_is_none() {
        let read = |text: &str| limit(text).ok();
        assert_eq!([read("1"), read("7")], [Some(1), Some(7)]);
        assert_eq!([read("0"), read("-1")], [Some(usize::MAX); 2]);
        assert_eq!([read("x"), read("1.5")], [None, None]);
    }
}
