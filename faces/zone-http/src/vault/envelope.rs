//! Vault's response envelope.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};
use zone_access::TokenId;
use zone_types::{RequestId, RequestPath};

use super::exchange::{Answer, Auth, Fault, Reply, WrapInfo};
use crate::app::Outbound;
use crate::stream::Wants;

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
    /// The `wrap_info` block, for the response line.
    pub(super) wrap_info: Option<WrapInfo>,
    /// `data` of the answer that was wrapped: for taking it back, not for the response line.
    pub(super) hidden: Kept,
    /// The accessor of a token in an answer that was unwrapped.
    pub(super) unwrapped: Option<String>,
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

/// What every envelope holds, in its order.
pub(super) const FIELDS: [&str; 8] = [
    "request_id",
    "lease_id",
    "renewable",
    "lease_duration",
    "data",
    "wrap_info",
    "warnings",
    "auth",
];

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: String,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: u64,
    data: Option<&'a RawValue>,
    wrap_info: Option<&'a WrapInfo>,
    warnings: Option<&'a [String]>,
    auth: Option<&'a Auth>,
    #[serde(flatten)]
    injected: Map<String, Value>,
}

/// Paths whose `data` also stands at the root of the document, for old clients.
const INJECTED: [&str; 15] = [
    "sys/auth",
    "sys/mounts",
    "sys/audit",
    "sys/policy",
    "sys/capabilities",
    "sys/capabilities-self",
    "sys/capabilities-accessor",
    "sys/ha-status",
    "sys/key-status",
    "sys/rotate",
    "sys/audit-hash",
    "sys/config",
    "sys/remount",
    "sys/rekey",
    "sys/generate-root",
];

pub(super) fn encode(id: &RequestId, path: &RequestPath, result: Result<Reply, Fault>) -> Encoded {
    match result {
        Ok(Reply::NoContent) => plain(Outbound::json(204, Vec::new())),
        Ok(Reply::Raw { content_type, body }) => plain(Outbound {
            status: if body.is_empty() { 204 } else { 200 },
            content_type,
            body: Zeroizing::new(body),
            retry_after: None,
            rate: None,
            stream: None,
        }),
        Ok(Reply::Events(subscription, wants)) => {
            let status = match wants {
                Wants::WebSocket(_) => 101,
                _ => 200,
            };
            plain(Outbound {
                stream: Some((subscription, wants)),
                ..Outbound::json(status, Vec::new())
            })
        }
        Ok(Reply::Unwrapped {
            status,
            body,
            accessor,
        }) => Encoded {
            unwrapped: accessor,
            ..plain(Outbound {
                body,
                ..Outbound::json(status, Vec::new())
            })
        },
        Ok(Reply::Data(answer)) => enveloped(id, path, 200, answer),
        Ok(Reply::Accepted(answer)) => enveloped(id, path, 202, answer),
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
        wrap_info: None,
        hidden: Kept::default(),
        unwrapped: None,
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
        lease_id: answer.lease.as_ref().map_or("", |lease| &lease.id),
        renewable: answer.lease.as_ref().is_some_and(|lease| lease.renewable),
        lease_duration: answer.lease_duration,
        data: answer.data.as_deref(),
        wrap_info: answer.wrap_info.as_ref(),
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
    let new_token = new_token.or(answer.hands_out);
    let outbound = Outbound::json(status, body);
    Encoded {
        data: Kept(answer.data),
        auth: answer.auth,
        new_token,
        wrap_info: answer.wrap_info,
        warnings: answer.warnings,
        ..plain(outbound)
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
    for own in FIELDS {
        map.remove(own);
    }
    map
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn encoded(path: &str, result: Result<Reply, Fault>) -> (Outbound, Value) {
        let id = RequestId::from_random([7; 16]);
        let path = RequestPath::from_text(path).unwrap();
        let outbound = encode(&id, &path, result).outbound;
        let json = serde_json::from_slice(&outbound.body).unwrap_or_default();
        (outbound, json)
    }

    fn answer(data: &Value) -> Answer {
        Answer {
            data: Some(serde_json::value::to_raw_value(data).unwrap()),
            ..Answer::default()
        }
    }

    #[test]
    fn a_deleted_version_is_404_with_its_data() {
        let (outbound, json) = encoded("kv/data/x", Ok(Reply::Gone(answer(&json!({ "a": 1 })))));
        assert_eq!((outbound.status, &json["data"]["a"]), (404, &json!(1)));
        assert!(json.get("errors").is_none() && json.get("a").is_none());
    }

    #[test]
    fn only_the_old_paths_are_copied_to_the_root() {
        let data = json!({ "a": 1, "auth": 2, "data": 3, "warnings": 4, "request_id": 5 });
        for (path, copied) in [
            ("sys/mounts", true),
            ("sys/ha-status", true),
            ("sys/mounts/secret/tune", true),
            ("sys/mountsx", false),
            ("kv/sys/mounts", false),
            ("sys/policies/acl/x", false),
        ] {
            let (_, json) = encoded(path, Ok(Reply::Data(answer(&data))));
            assert_eq!(json["data"], data, "{path}");
            assert_eq!(json.get("a").is_some(), copied, "{path}");
            assert!(
                json["auth"].is_null() && json["warnings"].is_null(),
                "{path}"
            );
            assert_eq!(json["request_id"].as_str().unwrap().len(), 36);
        }
    }

    #[test]
    fn errors_keep_their_warnings_and_hide_the_rest() {
        let fault = Fault {
            warnings: vec!["w".into()],
            internal: Some("INTERNAL".into()),
            ..Fault::not_found()
        };
        let (outbound, json) = encoded("kv/x", Err(fault));
        assert_eq!(outbound.status, 404);
        assert_eq!(json, json!({ "errors": [], "warnings": ["w"] }));
        let (limited, _) = encoded("kv/x", Err(Fault::new(429, "too many")));
        assert_eq!(limited.retry_after, Some(1));
    }

    #[test]
    fn an_answer_of_bytes_without_bytes_is_204() {
        let raw = |body: &[u8]| Reply::Raw {
            content_type: "application/pkix-cert",
            body: body.to_vec(),
        };
        let (some, _) = encoded("pki/ca", Ok(raw(b"x")));
        assert_eq!(
            (some.status, some.content_type),
            (200, "application/pkix-cert")
        );
        assert_eq!(encoded("pki/ca", Ok(raw(b""))).0.status, 204);
        assert_eq!(encoded("pki/ca", Ok(Reply::NoContent)).0.status, 204);
    }
}
