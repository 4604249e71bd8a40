//! Vault's response envelope.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};
use zone_access::TokenId;
use zone_types::{RequestId, RequestPath};

use super::exchange::{Answer, Auth, Fault, Reply};
use crate::app::Outbound;

/// An encoded answer, and what the audit trail needs of it.
pub(super) struct Encoded {
    pub(super) outbound: Outbound,
    /// `data`, for the response line.
    pub(super) data: Kept,
    /// The `auth` block, for the response line.
    pub(super) auth: Option<Auth>,
    /// The error, for the response line.
    pub(super) error: Option<String>,
    /// A token that this answer hands out.
    pub(super) new_token: Option<TokenId>,
    /// The warnings, for the response line.
    pub(super) warnings: Vec<String>,
}

/// `data` as JSON text, wiped when it is dropped.
#[derive(Default)]
pub(super) struct Kept(Option<Box<RawValue>>);

impl Kept {
    pub(super) fn text(&self) -> Option<&str> {
        self.0.as_deref().map(RawValue::get)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(raw) = self.0.take() {
            Box::<str>::from(raw).into_string().zeroize();
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: String,
    lease_id: &'static str,
    renewable: bool,
    lease_duration: u64,
    data: Option<&'a RawValue>,
    wrap_info: Option<()>,
    warnings: Option<&'a [String]>,
    auth: Option<&'a Auth>,
    #[serde(flatten)]
    injected: Map<String, Value>,
}

/// Paths whose `data` also stands at the root of the document, for old clients.
const INJECTED: [&str; 12] = [
    "sys/auth",
    "sys/mounts",
    "sys/audit",
    "sys/policy",
    "sys/capabilities",
    "sys/capabilities-self",
    "sys/capabilities-accessor",
    "sys/key-status",
    "sys/rotate",
    "sys/audit-hash",
    "sys/config",
    "sys/remount",
];

pub(super) fn encode(id: &RequestId, path: &RequestPath, result: Result<Reply, Fault>) -> Encoded {
    match result {
        Ok(Reply::NoContent) => plain(Outbound::json(204, Vec::new())),
        Ok(Reply::Raw { content_type, body }) => plain(Outbound {
            status: if body.is_empty() { 204 } else { 200 },
            content_type,
            body: Zeroizing::new(body),
            retry_after: None,
        }),
        Ok(Reply::Data(answer)) => enveloped(id, path, 200, answer),
        Ok(Reply::Gone(answer)) => enveloped(id, path, 404, answer),
        Err(fault) => {
            let error = (!fault.errors.is_empty()).then(|| fault.errors.join("; "));
            Encoded {
                error,
                ..plain(refuse(id, fault))
            }
        }
    }
}

/// An error answer; what only the log may hold goes to the log here.
pub(super) fn refuse(id: &RequestId, fault: Fault) -> Outbound {
    if let Some(internal) = &fault.internal {
        tracing::error!(request_id = %id, status = fault.status, "{internal}");
    }
    let mut body = serde_json::json!({ "errors": fault.errors });
    if !fault.warnings.is_empty() {
        body["warnings"] = fault.warnings.clone().into();
    }
    let mut outbound = Outbound::json(fault.status, body.to_string().into_bytes());
    if matches!(fault.status, 429) {
        outbound.retry_after = Some(1);
    }
    outbound
}

fn plain(outbound: Outbound) -> Encoded {
    Encoded {
        outbound,
        data: Kept::default(),
        auth: None,
        error: None,
        new_token: None,
        warnings: Vec::new(),
    }
}

fn enveloped(id: &RequestId, path: &RequestPath, status: u16, answer: Answer) -> Encoded {
    let injected = match &answer.data {
        Some(data) if is_injected(path) => injected(data),
        _ => Map::new(),
    };
    let auth = answer.auth.as_ref();
    // Room enough, so that no part of it stays behind where it grew out of its place.
    let size = answer.data.as_ref().map_or(0, |data| data.get().len());
    let copies = if injected.is_empty() { 1 } else { 2 };
    let mut body = Vec::with_capacity(copies * size + 2048);
    let envelope = Envelope {
        request_id: id.to_string(),
        lease_id: "",
        renewable: false,
        lease_duration: answer.lease_duration,
        data: answer.data.as_deref(),
        wrap_info: None,
        warnings: (!answer.warnings.is_empty()).then_some(&answer.warnings),
        auth,
        injected,
    };
    if serde_json::to_writer(&mut body, &envelope).is_err() {
        return plain(refuse(
            id,
            Fault::internal("the envelope cannot be encoded"),
        ));
    }
    body.push(b'\n');
    let new_token = auth.filter(|auth| auth.is_new).map(|auth| auth.id.clone());
    let outbound = Outbound::json(status, body);
    Encoded {
        outbound,
        data: Kept(answer.data),
        auth: answer.auth,
        error: None,
        new_token,
        warnings: answer.warnings,
    }
}

fn is_injected(path: &RequestPath) -> bool {
    let path = path.as_str();
    path.starts_with("sys/")
        && INJECTED.iter().any(|prefix| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

fn injected(data: &RawValue) -> Map<String, Value> {
    let mut map: Map<String, Value> = serde_json::from_str(data.get()).unwrap_or_default();
    for own in [
        "request_id",
        "lease_id",
        "renewable",
        "lease_duration",
        "data",
        "wrap_info",
        "warnings",
        "auth",
    ] {
        map.remove(own);
    }
    map
}
