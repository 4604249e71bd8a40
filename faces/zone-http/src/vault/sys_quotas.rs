//! `sys/quotas/`, and what quotas do to a request before anybody is authenticated.

use std::time::Duration;

use serde_json::{Value, json};
use zone_access::{Operation, Quota, QuotaConfig, QuotaKind, QuotaRule, RateState, RateVerdict};
use zone_types::RequestPath;

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use super::{audit, auth, envelope, sys};
use crate::Zone;
use crate::app::{Inbound, Outbound};

/// [`Outbound::rate`].
type Rate = Box<[u64; 3]>;

/// Takes the request out of its client's quota. What answers are to tell of it, or the refusal.
pub(super) async fn judge(zone: &Zone, inbound: &Inbound) -> Result<Option<Rate>, Box<Outbound>> {
    let access = zone.system.access();
    if !access.limits_rates() {
        return Ok(None);
    }
    let path = canonical(zone, &inbound.path);
    let path = path.as_ref().unwrap_or(&inbound.path);
    // A zone that is sealed meanwhile answers so by itself.
    let verdict = access.take_rate(path.as_str(), inbound.client.ip());
    let (state, wait) = match verdict {
        Err(_) | Ok(RateVerdict::Free) => return Ok(None),
        Ok(RateVerdict::Within(state)) => (state, None),
        Ok(RateVerdict::Over(state, wait)) => (state, Some(wait)),
    };
    let (audited, told) = access.quota_manners().unwrap_or_default();
    let told = told.then(|| Box::new(shown(zone, &state)));
    let Some(wait) = wait else { return Ok(told) };
    zone.metrics.count_over_quota();
    let text = format!(
        "request path \"{}\": rate limit quota exceeded",
        path.as_str()
    );
    let fault = match audit::over_quota(zone, inbound, audited).await {
        Ok(()) => Fault::new(429, text),
        Err(fault) => fault,
    };
    let mut outbound = envelope::refuse(&inbound.id, fault);
    outbound.retry_after = Some(u32::try_from(up(wait)).unwrap_or(u32::MAX));
    outbound.rate = told;
    Err(Box::new(outbound))
}

/// The one spelling of a path, for quotas: as it is judged and served.
fn canonical(zone: &Zone, path: &RequestPath) -> Option<RequestPath> {
    auth::canonical(zone, path).or_else(|| sys::canonical(path, Operation::Read))
}

fn shown(zone: &Zone, state: &RateState) -> [u64; 3] {
    let now = u64::try_from(zone.system.wall_clock().secs()).unwrap_or(0);
    [state.limit, state.remaining, now + up(state.reset)]
}

/// In whole seconds, never too few.
fn up(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}

/// Serves one permitted call below `sys/quotas/`.
pub(super) async fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let (kind, name) = tail.split_once('/').unwrap_or((tail, ""));
    let kind = match kind {
        "config" if name.is_empty() => return config(zone, call).await,
        "rate-limit" => QuotaKind::RateLimit,
        "lease-count" => QuotaKind::LeaseCount,
        _ => return Err(Fault::unsupported_path()),
    };
    let access = zone.system.access();
    match call.permit.operation() {
        Operation::List => Reply::keys(&access.quotas(&call.permit, kind)?),
        Operation::Read => match access.quota(&call.permit, kind, name)? {
            Some(quota) => Reply::data(&of(&quota)),
            None => Err(Fault::not_found()),
        },
        Operation::Delete => {
            access.delete_quota(&call.permit, kind, name).await?;
            Ok(Reply::NoContent)
        }
        _ if writes(call) => {
            let fields = Fields(&call.data);
            let place = place(zone, &fields)?;
            let place = (place.0.as_str(), place.1);
            let rule = rule(kind, &fields)?;
            access.put_quota(&call.permit, name, place, rule).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn of(quota: &Quota) -> Value {
    let mut shown = json!({
        "name": quota.name,
        "type": quota.rule.kind().as_str(),
        "path": quota.path,
        "role": "",
        "inheritable": quota.path.is_empty(),
    });
    let own = match quota.rule {
        QuotaRule::RateLimit {
            rate,
            interval,
            block_interval,
        } => json!({ "rate": rate, "interval": interval, "block_interval": block_interval }),
        QuotaRule::LeaseCount { max_leases } => {
            json!({ "max_leases": max_leases, "counter": quota.counter })
        }
    };
    if let (Value::Object(shown), Value::Object(own)) = (&mut shown, own) {
        shown.extend(own);
    }
    shown
}

/// The path as it is judged, and whether a `*` stands behind it.
fn place(zone: &Zone, fields: &Fields<'_>) -> Result<(String, bool), Fault> {
    for name in ["role", "group_by", "secondary_rate"] {
        if fields
            .text(name)?
            .is_some_and(|text| !matches!(&*text, "" | "0" | "ip"))
        {
            return Err(Fault::bad_request(format!(
                "field '{name}': not supported: clients are told apart by their addresses, \
                 before anybody logs in"
            )));
        }
    }
    let text = fields.text("path")?.unwrap_or_default();
    let text = text.trim_start_matches('/');
    let (text, part) = match text.strip_suffix('*') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let whole = text.is_empty() && !part;
    if !whole && fields.flag("inheritable")?.unwrap_or(false) {
        let text = "field 'inheritable': only a quota of the zone is inherited";
        return Err(Fault::bad_request(text));
    }
    if text.is_empty() {
        return Ok((String::new(), part));
    }
    if text.contains('*') {
        let text = "field 'path': a '*' stands at the end";
        return Err(Fault::bad_request(text));
    }
    let path = RequestPath::from_text(text)
        .map_err(|fault| Fault::bad_request(format!("field 'path': {fault}")))?;
    let path = canonical(zone, &path).unwrap_or(path);
    Ok((path.as_str().to_owned(), part))
}

fn rule(kind: QuotaKind, fields: &Fields<'_>) -> Result<QuotaRule, Fault> {
    if kind == QuotaKind::LeaseCount {
        let most = fields.number("max_leases")?.unwrap_or(0);
        return Ok(QuotaRule::LeaseCount {
            max_leases: u64::try_from(most).unwrap_or(0),
        });
    }
    let rate = fields.required("rate")?;
    let interval = fields.seconds("interval")?.filter(|secs| *secs > 0);
    Ok(QuotaRule::RateLimit {
        rate: rate
            .parse()
            .map_err(|_| Fault::bad_request("field 'rate': expected a number"))?,
        interval: interval.unwrap_or(1),
        block_interval: fields.seconds("block_interval")?.unwrap_or(0),
    })
}

async fn config(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let access = zone.system.access();
    if call.permit.operation() == Operation::Read {
        let config = access.quota_config(&call.permit)?;
        return Reply::data(&json!({
            "enable_rate_limit_audit_logging": config.audit_refusals,
            "enable_rate_limit_response_headers": config.response_headers,
            "rate_limit_exempt_paths": config.exempt_paths,
            "absolute_rate_limit_exempt_paths": config.absolute_exempt_paths,
        }));
    }
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    let fields = Fields(&call.data);
    let audited = fields.flag("enable_rate_limit_audit_logging")?;
    let told = fields.flag("enable_rate_limit_response_headers")?;
    let exempt = fields.list("rate_limit_exempt_paths")?;
    let absolute = fields.list("absolute_rate_limit_exempt_paths")?;
    let change = |config: &mut QuotaConfig| {
        config.audit_refusals = audited.unwrap_or(config.audit_refusals);
        config.response_headers = told.unwrap_or(config.response_headers);
        let paths = |list: Vec<String>| {
            let bare = list
                .iter()
                .map(|path| path.trim_start_matches('/').to_owned());
            bare.collect()
        };
        if let Some(exempt) = exempt {
            config.exempt_paths = paths(exempt);
        }
        if let Some(absolute) = absolute {
            config.absolute_exempt_paths = paths(absolute);
        }
    };
    access.change_quota_config(&call.permit, change).await?;
    Ok(Reply::NoContent)
}
