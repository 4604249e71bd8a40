//! The two lines of each request in the audit trail (A1), and the lines of refusals.
//!
//! The response line repeats who asked for what, but not the request's fields: the request line
//! of the same id has them.
//!
//! Callers without a token, at the few endpoints that need none, have both lines up to a rate.
//! Beyond it both are written after the engine ran, before the client sees the answer, and not at
//! all if the call was refused or looked at what is open: such calls are counted (attack 3).

use std::sync::Arc;

use http::header::USER_AGENT;
use serde_json::{Map, Value};
use zone_access::{Helped, Mount, MountKind, Operation, Permit, Refusal, RefusalKind, TokenEntry};
use zone_audit::{
    Alert, AuditEntry, AuthPart, Data, Decision, EntryKind, Header, MountPart, RequestPart,
    ResponsePart,
};
use zone_system::Settings;
use zone_types::{EntityId, NamespaceId};

use super::Asked;
use super::envelope::Encoded;
use super::exchange::{Auth, Fault, chain};
use super::fields::Given;
use crate::Zone;
use crate::app::Inbound;

/// Longest value of a request header that is written.
const LONGEST_HEADER: usize = 256;

/// What both lines of one request say.
pub(super) struct Trail<'a> {
    inbound: &'a Inbound,
    operation: &'static str,
    mount: Arc<Mount>,
    token: Option<Arc<TokenEntry>>,
    rule: Option<String>,
    operator: bool,
    /// The lines wait for the outcome.
    late: bool,
}

impl<'a> Trail<'a> {
    pub(super) fn new(zone: &Zone, inbound: &'a Inbound, permit: &Permit) -> Self {
        let token = permit.token().cloned();
        let from = Some(inbound.client.ip());
        Self {
            inbound,
            late: token.is_none() && !zone.system.broker().admits(from),
            operation: permit.operation().as_str(),
            mount: permit.mount().clone(),
            operator: permit.sudo() || token.as_ref().is_some_and(|t| t.record.is_root()),
            token,
            rule: permit.rule().map(str::to_owned),
        }
    }

    pub(super) fn of_help(inbound: &'a Inbound, of: &Helped) -> Self {
        Self {
            inbound,
            operation: "help",
            mount: of.mount.clone(),
            operator: of.token.record.is_root(),
            token: Some(of.token.clone()),
            rule: None,
            late: false,
        }
    }

    /// Records the request. If that fails, the engine must not run.
    pub(super) async fn request(
        &self,
        zone: &Zone,
        data: &Map<String, Value>,
    ) -> Result<(), Fault> {
        if self.late {
            return Ok(());
        }
        let recorded = self.record(zone, EntryKind::Request, Some(data), None, None);
        recorded.await.map_err(|fault| unserved(zone, fault))
    }

    /// Records the answer to a request with the fields `data`. If that fails, the client must not
    /// see it.
    pub(super) async fn response(
        &self,
        zone: &Zone,
        data: &Map<String, Value>,
        answer: &Encoded,
    ) -> Result<(), Fault> {
        if self.late {
            if let Some(kind) = self.only_counted(answer) {
                let from = Some(self.inbound.client.ip());
                zone.system.broker().count(kind, from);
                return Ok(());
            }
            let recorded = self.record(zone, EntryKind::Request, Some(data), None, None);
            recorded.await.map_err(unanswered)?;
        }
        let auth = answer.auth.as_ref().map(auth_of);
        let wrap = answer.wrap_info.as_ref();
        let response = ResponsePart {
            status: answer.outbound.status,
            data: answer.data.text().map(Data::Json),
            auth: auth.as_ref(),
            clear_keys: &self.mount.config.audit_non_hmac_response_keys,
            warnings: &answer.warnings,
            wrap_token: wrap.map(|info| info.token.expose().as_str()),
            wrap_accessor: wrap.map(|info| info.accessor.as_str()),
            ..ResponsePart::default()
        };
        let error = answer.error.as_deref();
        let recorded = self.record(zone, EntryKind::Response, None, Some(&response), error);
        recorded.await.map_err(unanswered)
    }

    /// What a late call is counted as, unless it did something or failed by our fault.
    fn only_counted(&self, answer: &Encoded) -> Option<&'static str> {
        let gave = answer.auth.is_some() || answer.wrap_info.is_some();
        let looked = self.operation == "read" || self.mount.kind == MountKind::System;
        match answer.outbound.status {
            400..500 if self.mount.path.as_str().starts_with("auth/") => Some("failed login"),
            400..500 => Some("failed open call"),
            200..300 if looked && !gave => Some("open call"),
            _ => None,
        }
    }

    /// Records what an operator should look at.
    pub(super) async fn alert(&self, zone: &Zone, kind: &'static str) -> Result<(), Fault> {
        let token = self.token.as_ref();
        let who = token.map(|token| token.record.display_name.as_str());
        let alert = Alert {
            time: zone.system.wall_clock(),
            kind,
            request: self.inbound.id,
            operation: self.operation,
            path: self.inbound.path.as_str(),
            display_name: who.unwrap_or_default(),
            remote_address: Some(self.inbound.client.ip()),
        };
        tracing::warn!(
            request_id = %alert.request,
            path = alert.path,
            display_name = alert.display_name,
            "alert: {kind}"
        );
        let recorded = zone.system.broker().alert(&alert).await;
        recorded.map_err(|error| unanswered(unrecorded(&error)))
    }

    async fn record(
        &self,
        zone: &Zone,
        kind: EntryKind,
        data: Option<&Map<String, Value>>,
        response: Option<&ResponsePart<'_>>,
        error: Option<&str>,
    ) -> Result<(), Fault> {
        let settings = zone.system.settings();
        let headers = headers_of(self.inbound, &settings);
        let request = RequestPart {
            mount: Some(mount_of(&self.mount)),
            clear_keys: &self.mount.config.audit_non_hmac_request_keys,
            ..request_of(
                self.inbound,
                &self.mount.namespace,
                self.operation,
                data,
                &headers,
            )
        };
        let auth = self.token.as_ref().map(|token| AuthPart {
            decision: Some(Decision {
                allowed: true,
                policies: &[],
                rule: self.rule.as_deref(),
            }),
            ..caller(self.inbound, token)
        });
        let entry = AuditEntry {
            kind,
            time: zone.system.wall_clock(),
            auth: auth.as_ref(),
            request: &request,
            response,
            error,
            operator: self.operator,
        };
        zone.system
            .broker()
            .record(&entry)
            .await
            .map_err(|error| unrecorded(&error))
    }
}

/// Records that a request was refused. Callers without a token that counts get a line each only
/// up to a rate (attack 3).
pub(super) async fn refusal(
    zone: &Zone,
    inbound: &Inbound,
    asked: &Asked,
    refusal: &Refusal,
) -> Result<(), Fault> {
    let settings = zone.system.settings();
    let headers = headers_of(inbound, &settings);
    let namespace = NamespaceId::root();
    let known = refusal.token.as_ref();
    // What strangers send is not worth a hash of each string.
    let data = known.map(|_| &asked.data.0);
    let request = request_of(inbound, &namespace, asked.word(), data, &headers);
    let auth = known.map(|token| AuthPart {
        decision: refusal.judged.then_some(Decision {
            allowed: false,
            policies: &[],
            rule: refusal.rule.as_deref(),
        }),
        ..caller(inbound, token)
    });
    let entry = AuditEntry {
        kind: EntryKind::Request,
        time: zone.system.wall_clock(),
        auth: auth.as_ref(),
        request: &request,
        response: None,
        error: Some(&refusal.reason),
        operator: known.is_some_and(|token| token.record.is_root()),
    };
    let broker = zone.system.broker();
    let recorded = match (&refusal.kind, known) {
        (RefusalKind::NoToken, None) if inbound.token.is_none() => {
            broker
                .record_refusal("missing token", Some(inbound.client.ip()), &entry)
                .await
        }
        (RefusalKind::NoToken, None) => {
            broker
                .record_refusal("bad token", Some(inbound.client.ip()), &entry)
                .await
        }
        _ => broker.record(&entry).await,
    };
    recorded.map_err(|error| unserved(zone, unrecorded(&error)))
}

/// Records that a request was over its quota: a line up to the rate of refusals if `audited`, else
/// one more in their count.
pub(super) async fn over_quota(zone: &Zone, inbound: &Inbound, audited: bool) -> Result<(), Fault> {
    const KIND: &str = "rate limit quota";
    let (broker, from) = (zone.system.broker(), Some(inbound.client.ip()));
    if !audited {
        broker.count(KIND, from);
        return Ok(());
    }
    let settings = zone.system.settings();
    let headers = headers_of(inbound, &settings);
    let namespace = NamespaceId::root();
    let operation = super::operation(inbound.method.as_str(), &Given::default());
    let word = operation.map_or("unknown", Operation::as_str);
    let entry = AuditEntry {
        kind: EntryKind::Request,
        time: zone.system.wall_clock(),
        auth: None,
        request: &request_of(inbound, &namespace, word, None, &headers),
        response: None,
        error: Some("rate limit quota exceeded"),
        operator: false,
    };
    let recorded = broker.record_refusal(KIND, from, &entry).await;
    recorded.map_err(|error| unserved(zone, unrecorded(&error)))
}

fn unrecorded(error: &zone_audit::AuditError) -> Fault {
    let mut fault = Fault::new(500, "the request could not be audited and was not served");
    fault.internal = Some(chain(error));
    fault
}

/// A request that was not recorded. If the zone was sealed meanwhile, that is the reason.
fn unserved(zone: &Zone, fault: Fault) -> Fault {
    match zone.system.is_sealed() {
        true => Fault::new(503, "Vault is sealed"),
        false => fault,
    }
}

/// An answer that was not recorded. The effects stand.
fn unanswered(fault: Fault) -> Fault {
    Fault {
        errors: vec!["the answer could not be audited; what was asked for may be done".to_owned()],
        ..fault
    }
}

fn request_of<'a>(
    inbound: &'a Inbound,
    namespace: &'a NamespaceId,
    operation: &'a str,
    data: Option<&'a Map<String, Value>>,
    headers: &'a [Header<'a>],
) -> RequestPart<'a> {
    RequestPart {
        id: inbound.id,
        namespace,
        operation,
        path: inbound.path.as_str(),
        mount: None,
        data: data.filter(|data| !data.is_empty()).map(Data::Map),
        clear_keys: &[],
        remote_address: Some(inbound.client.ip()),
        remote_port: inbound.client.port(),
        headers,
        client_certificate: None,
        wrap_ttl: inbound.wrap_ttl.map_or(0, |ttl| ttl.as_secs()),
    }
}

/// The agent, and what the operator wants to see. What is long or no text is left out: it would
/// let strangers fill the trail.
fn headers_of<'a>(inbound: &'a Inbound, settings: &'a Settings) -> Vec<Header<'a>> {
    let text = |name: &str| {
        let value = inbound.headers.get(name)?.to_str().ok()?;
        (value.len() <= LONGEST_HEADER).then_some(value)
    };
    let mut headers = Vec::new();
    if let Some(value) = text(USER_AGENT.as_str()) {
        headers.push(Header {
            name: "user-agent",
            value,
            clear: true,
        });
    }
    for (name, rule) in &settings.audited_headers {
        if let Some(value) = text(name).filter(|_| name != USER_AGENT.as_str()) {
            headers.push(Header {
                name,
                value,
                clear: !rule.hmac,
            });
        }
    }
    headers
}

fn mount_of(mount: &Mount) -> MountPart<'_> {
    let class = if mount.path.as_str().starts_with("auth/") {
        "auth"
    } else {
        "secret"
    };
    MountPart {
        path: mount.path.as_str(),
        kind: mount.kind.as_str(),
        class,
        accessor: &mount.accessor,
    }
}

fn caller<'a>(inbound: &'a Inbound, token: &'a TokenEntry) -> AuthPart<'a> {
    AuthPart {
        client_token: inbound.token.as_ref().map(|text| text.expose().as_str()),
        accessor: Some(&token.record.accessor),
        display_name: &token.record.display_name,
        policies: &token.record.policies,
        entity_id: token.record.entity.as_ref().map_or("", EntityId::as_str),
        token_type: token.kind.as_str(),
        ..AuthPart::default()
    }
}

fn auth_of(auth: &Auth) -> AuthPart<'_> {
    AuthPart {
        client_token: Some(auth.client_token.expose()),
        accessor: Some(&auth.accessor),
        policies: &auth.policies,
        token_type: auth.token_type,
        entity_id: &auth.entity_id,
        ..AuthPart::default()
    }
}
