//! Response wrapping: `X-Vault-Wrap-TTL` on every endpoint, and `sys/wrapping/`.

use serde_json::json;
use zone_access::{AccessError, MountKind, Operation, Wrapped, WrappedAnswer};
use zone_types::Secret;

use super::envelope::{self, Encoded};
use super::exchange::{Answer, Call, Fault, Reply, WrapInfo};
use super::fields::{Fields, Given};
use super::sys::writes;
use crate::Zone;
use crate::app::Inbound;

/// Endpoints at which a wrapping token is spent.
const SPENDING: [&str; 2] = ["sys/wrapping/unwrap", "sys/wrapping/rewrap"];

/// Serves one permitted call below `sys/wrapping/`.
pub(super) async fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    match tail {
        "wrap" if writes(call) => match call.permit.wrap_ttl() {
            Some(_) => Reply::data(&call.data),
            None => Err(Fault::bad_request(
                "endpoint requires response wrapping to be used",
            )),
        },
        "unwrap" if writes(call) => unwrap(zone, call).await,
        "rewrap" if writes(call) => rewrap(zone, call).await,
        "lookup" if writes(call) || call.permit.operation() == Operation::Read => {
            lookup(zone, call).await
        }
        "wrap" | "unwrap" | "rewrap" | "lookup" => Err(Fault::unsupported_operation()),
        _ => Err(Fault::unsupported_path()),
    }
}

/// Who has a wrapping token in the body needs no other: it shows as much as one in the head.
pub(super) fn present(inbound: &mut Inbound, data: &Given) {
    if inbound.token.is_none()
        && SPENDING.contains(&inbound.path.as_str())
        && let Ok(Some(text)) = Fields(data).text("token")
    {
        inbound.token = Some(Secret::new(text));
    }
}

/// What a caller is told whose token does not count: in Vault's words where it was to be spent.
pub(super) fn no_token(inbound: &Inbound) -> Fault {
    if inbound.token.is_some() && SPENDING.contains(&inbound.path.as_str()) {
        return invalid();
    }
    Fault::denied()
}

/// Refuses, before the engine runs, what is not wrapped.
pub(super) fn refuse(call: &Call) -> Result<(), Fault> {
    if call.permit.wrap_ttl().is_none() {
        return Ok(());
    }
    let (mount, rest) = (call.permit.mount(), call.permit.rest());
    if mount.kind == MountKind::System
        && matches!(
            rest,
            "wrapping/unwrap" | "wrapping/rewrap" | "wrapping/lookup"
        )
    {
        let text = "X-Vault-Wrap-TTL: this endpoint's own answer is never wrapped";
        return Err(Fault::bad_request(text));
    }
    // Else strangers could fill the store.
    if call.permit.token().is_none() && !mount.path.as_str().starts_with("auth/") {
        let text = "X-Vault-Wrap-TTL: without a token only a login can be wrapped";
        return Err(Fault::bad_request(text));
    }
    Ok(())
}

/// The answer in a wrapping token's place. What cannot be kept is taken back.
pub(super) async fn wrap(
    zone: &Zone,
    inbound: &Inbound,
    call: &Call,
    result: Result<Reply, Fault>,
) -> Encoded {
    let encode = |result| envelope::encode(&inbound.id, &inbound.path, result);
    let mut open = match result {
        Ok(reply @ (Reply::Data(_) | Reply::Accepted(_) | Reply::Gone(_))) => encode(Ok(reply)),
        Ok(Reply::Raw { .. }) => {
            let text = "X-Vault-Wrap-TTL: this answer is not JSON and cannot be wrapped";
            return encode(Err(Fault::bad_request(text)));
        }
        Ok(Reply::Events(..)) => {
            let text = "X-Vault-Wrap-TTL: an answer that goes on cannot be wrapped";
            return encode(Err(Fault::bad_request(text)));
        }
        other => return encode(other),
    };
    let answer = WrappedAnswer {
        status: open.outbound.status,
        body: std::mem::take(&mut open.outbound.body),
        // A batch token has none.
        wrapped_accessor: (open.auth.as_ref())
            .map(|auth| auth.accessor.clone())
            .filter(|accessor| !accessor.is_empty()),
    };
    match zone.system.access().wrap(&call.permit, answer).await {
        Ok(wrapped) => Encoded {
            hidden: open.data,
            new_token: open.new_token,
            ..encode(Ok(shown(wrapped)))
        },
        Err(error) => {
            super::take_back(zone, call, &open).await;
            encode(Err(error.into()))
        }
    }
}

fn shown(wrapped: Wrapped) -> Reply {
    let record = &wrapped.entry.record;
    let wrap_info = WrapInfo {
        id: wrapped.entry.id.clone(),
        token: wrapped.text,
        accessor: record.accessor.clone(),
        ttl: record.creation_ttl,
        creation_time: record.creation_time,
        creation_path: record.path.clone(),
        wrapped_accessor: wrapped.wrapped_accessor,
    };
    Reply::Data(Answer {
        wrap_info: Some(wrap_info),
        ..Answer::default()
    })
}

async fn unwrap(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let token = spent(call)?;
    let access = zone.system.access();
    let answer = access.unwrap_answer(&call.permit, token.expose()).await?;
    Ok(Reply::Unwrapped {
        status: answer.status,
        body: answer.body,
        accessor: answer.wrapped_accessor,
    })
}

async fn rewrap(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let token = spent(call)?;
    let moved = zone.system.access().rewrap(&call.permit, token.expose());
    Ok(shown(moved.await?))
}

async fn lookup(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    // Not from a query string: those end up in the logs of proxies.
    let named = match writes(call) {
        true => Fields(&call.data).text("token")?.map(Secret::new),
        false => None,
    };
    let token = named.or_else(|| call.token.clone());
    let token = token.ok_or_else(|| Fault::bad_request("missing token"))?;
    let access = zone.system.access();
    let found = access.wrapped_at(&call.permit, token.expose()).await?;
    Reply::data(&json!({
        "creation_path": found.path,
        "creation_time": found.time,
        "creation_ttl": found.ttl,
    }))
}

/// The token that the call is to spend: the one in the body, else the caller's own. A wrapping
/// token is good for its own answer alone.
fn spent(call: &Call) -> Result<Secret<String>, Fault> {
    let named = Fields(&call.data).text("token")?.map(Secret::new);
    let own = call.token.clone().ok_or_else(Fault::denied)?;
    let wraps = call
        .permit
        .token()
        .is_some_and(|token| token.record.is_wrapping());
    match named {
        Some(named) if wraps && named.expose() != own.expose() => Err(invalid()),
        Some(named) => Ok(named),
        None => Ok(own),
    }
}

fn invalid() -> Fault {
    AccessError::NOT_WRAPPING.into()
}
