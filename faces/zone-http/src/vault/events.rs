//! `sys/events/subscribe/TYPE`: events as Vault tells them, over a WebSocket or as server-sent
//! events.

use zone_access::Operation;

use super::exchange::{Call, Fault, Reply, chain};
use super::fields::Fields;
use crate::Zone;
use crate::events::{Pattern, Refused, Subscription};
use crate::stream::Wants;

pub(super) fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let Some(pattern) = tail.strip_prefix("subscribe/") else {
        return Err(Fault::unsupported_path());
    };
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    let pattern = Pattern::parse(pattern)
        .ok_or_else(|| Fault::bad_request("expected a type of events, such as kv-v2/data-*"))?;
    judge(call)?;
    let no_token = Fault::denied;
    let standing = call.permit.standing().ok_or_else(no_token)?;
    let subscription = Subscription::new(
        &zone.events,
        zone.system.access(),
        zone.system.events(),
        standing,
        pattern,
        &zone.about.zone,
    );
    match subscription {
        Ok(subscription) => Ok(Reply::Events(Box::new(subscription), call.wants.clone())),
        Err(Refused::Full) => Err(Fault::new(429, "there are too many subscribers")),
        Err(Refused::Failed(error)) => {
            let mut fault = Fault::new(503, "storage is not available");
            fault.internal = Some(chain(&error));
            Err(fault)
        }
    }
}

/// Refuses what is not obeyed: a filter that is passed over would tell more than was asked for.
fn judge(call: &Call) -> Result<(), Fault> {
    let fields = Fields(&call.data);
    for name in ["filter", "bexpr"] {
        if fields.text(name)?.is_some_and(|text| !text.is_empty()) {
            let text = format!("field '{name}': filters do not exist; choose by the type");
            return Err(Fault::bad_request(text));
        }
    }
    let root = |text: &str| matches!(text.trim_matches('/'), "" | "root");
    if !fields
        .list("namespaces")?
        .unwrap_or_default()
        .iter()
        .all(|text| root(text))
    {
        return Err(Fault::bad_request(
            "field 'namespaces': there is only the root namespace",
        ));
    }
    match (&call.wants, fields.flag("json")?) {
        (Wants::EventStream, _) | (Wants::WebSocket(_), Some(true)) => Ok(()),
        (Wants::WebSocket(_), _) => Err(Fault::bad_request(
            "field 'json': expected true; events are told as JSON only",
        )),
        (Wants::BrokenWebSocket, _) => Err(Fault::bad_request(
            "the WebSocket handshake is not that of RFC 6455, version 13, on HTTP/1.1",
        )),
        (Wants::Body, _) => Err(Fault::new(
            426,
            "events come over a WebSocket (HTTP/1.1) or with Accept: text/event-stream",
        )),
    }
}
