//! What one audit line tells, borrowed from the request that it is about.
//!
//! The shape follows Vault's audit JSON, so that tools which read Vault's audit log read ours.
//! Secrets are handed over raw here and leave this crate only as HMACs; which fields those are
//! is said at each field.

use std::net::IpAddr;

use serde_json::{Map, Value};
use zone_types::{NamespaceId, RequestId, Timestamp};

use crate::redact::push_string;

/// Before or after the engine ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Written before the engine runs.
    Request,
    /// Written before the client sees the answer.
    Response,
}

/// One audit line.
///
/// `Debug` is absent on purpose: an entry holds secrets.
#[derive(Clone, Copy)]
pub struct AuditEntry<'a> {
    /// `type`.
    pub kind: EntryKind,
    /// `time`.
    pub time: Timestamp,
    /// `auth`: who asks, if the caller showed a token.
    pub auth: Option<&'a AuthPart<'a>>,
    /// `request`.
    pub request: &'a RequestPart<'a>,
    /// `response`; for [`EntryKind::Response`] only.
    pub response: Option<&'a ResponsePart<'a>>,
    /// `error`, in the clear: the words that the client gets (E1: no secret in it).
    pub error: Option<&'a str>,
    /// The caller is root or has sudo on this path: such lines may use the reserve space of a
    /// full disk.
    pub operator: bool,
}

/// What an operator should look at.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// When.
    pub time: Timestamp,
    /// What happened: few fixed words, `canary-read`.
    pub kind: &'static str,
    /// The request that it happened in; its lines tell the rest.
    pub request: RequestId,
    /// Its operation.
    pub operation: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Who asked.
    pub display_name: &'a str,
    /// From where.
    pub remote_address: Option<IpAddr>,
}

impl Alert<'_> {
    /// The open line.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut out = format!(
            "{{\"time\":\"{}\",\"type\":\"alert\",\"alert\":{{\"v\":1,\"kind\":\"{}\",\"request\":\"{}\"",
            self.time, self.kind, self.request
        )
        .into_bytes();
        let texts = [
            ("operation", self.operation),
            ("path", self.path),
            ("display_name", self.display_name),
        ];
        for (name, text) in texts {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            push_string(&mut out, text);
        }
        if let Some(address) = self.remote_address {
            out.extend_from_slice(format!(",\"remote_address\":\"{address}\"").as_bytes());
        }
        out.push(b'}');
        out
    }
}

/// Who asks.
#[derive(Clone, Copy, Default)]
pub struct AuthPart<'a> {
    /// The token itself; written as HMAC.
    pub client_token: Option<&'a str>,
    /// The token's accessor; written as HMAC unless the device has `hmac_accessor=false`.
    pub accessor: Option<&'a str>,
    /// `display_name`.
    pub display_name: &'a str,
    /// `policies`.
    pub policies: &'a [String],
    /// `token_type`: `service`, `batch`.
    pub token_type: &'a str,
    /// `entity_id`; empty: left out.
    pub entity_id: &'a str,
    /// `policy_results`: what the policies said, if they were asked.
    pub decision: Option<Decision<'a>>,
}

/// What the policies said.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    /// `allowed`.
    pub allowed: bool,
    /// `granting_policies`: names of the policies that decided.
    pub policies: &'a [String],
    /// `rule`: the path pattern of the rule that decided, as it stands in the policy.
    pub rule: Option<&'a str>,
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct RequestPart<'a> {
    /// `id`.
    pub id: RequestId,
    /// `namespace.id`.
    pub namespace: &'a NamespaceId,
    /// `operation`, in Vault's words: `read`, `update`, …
    pub operation: &'a str,
    /// `path`, in canonical form. In the clear.
    pub path: &'a str,
    /// Where the request was routed to.
    pub mount: Option<MountPart<'a>>,
    /// `data`: strings are written as HMACs.
    pub data: Option<Data<'a>>,
    /// Keys whose string values stay in the clear (`audit_non_hmac_request_keys`).
    pub clear_keys: &'a [String],
    /// `remote_address`.
    pub remote_address: Option<IpAddr>,
    /// `remote_port`.
    pub remote_port: u16,
    /// `headers` that are audited.
    pub headers: &'a [Header<'a>],
    /// `client_certificate_sha256`: hex fingerprint of the certificate of the connection.
    pub client_certificate: Option<&'a str>,
    /// `wrap_ttl` in seconds; zero: left out.
    pub wrap_ttl: u64,
}

/// Where a request is routed to.
#[derive(Clone, Copy)]
pub struct MountPart<'a> {
    /// `mount_point`: `secret/`.
    pub path: &'a str,
    /// `mount_type`: `kv`.
    pub kind: &'a str,
    /// `mount_class`: `secret`, `auth`.
    pub class: &'a str,
    /// `mount_accessor`.
    pub accessor: &'a str,
}

/// One audited header.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// Its name in lower case.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Write the value as it is, not as HMAC.
    pub clear: bool,
}

/// What is answered.
#[derive(Clone, Copy, Default)]
pub struct ResponsePart<'a> {
    /// `status`: the HTTP status.
    pub status: u16,
    /// `data`: strings are written as HMACs.
    pub data: Option<Data<'a>>,
    /// `auth`: the token that the answer carries. Its token and accessor are written as HMACs.
    pub auth: Option<&'a AuthPart<'a>>,
    /// `secret.lease_id`; empty: left out.
    pub lease_id: &'a str,
    /// `wrap_info.token` of the answer; written as HMAC.
    pub wrap_token: Option<&'a str>,
    /// `wrap_info.accessor` of the answer; written as the accessors are.
    pub wrap_accessor: Option<&'a str>,
    /// Keys whose string values stay in the clear (`audit_non_hmac_response_keys`).
    pub clear_keys: &'a [String],
    /// `warnings`, in the clear.
    pub warnings: &'a [String],
}

/// A body. Every string in it is written as HMAC; keys, numbers and booleans stay.
#[derive(Clone, Copy)]
pub enum Data<'a> {
    /// Parsed fields.
    Map(&'a Map<String, Value>),
    /// JSON text (`RawValue::get()`). Text that is not JSON is written as one HMAC.
    Json(&'a str),
    /// Bytes that are no JSON (a certificate, a CRL): written as one HMAC.
    Bytes(&'a [u8]),
}
