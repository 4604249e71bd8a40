//! `/v1`: Vault's HTTP API.
//!
//! ```text
//! Inbound ─▶ open sys endpoint? ─▶ quota ─▶ fields ─▶ permit ─▶ audit ─▶ engine ─▶ audit ─▶ Outbound
//! ```
//!
//! Which endpoints there are stands in [`routes`]; one that is not there is not served.

mod approle;
mod audit;
mod auth;
mod cubbyhole;
mod envelope;
mod events;
pub mod exchange;
pub mod fields;
mod help;
mod identity;
mod kv;
mod openapi;
mod pki;
mod query;
mod routes;
mod sys;
mod sys_audit;
mod sys_auth;
mod sys_ceremony;
mod sys_config;
mod sys_host;
mod sys_leases;
mod sys_mounts;
mod sys_open;
mod sys_policy;
mod sys_quotas;
mod sys_tools;
#[cfg(test)]
mod tests;
mod token;
mod token_role;
mod userpass;
mod wrapping;

use http::Method;
use zone_access::{Ask, MountKind, Operation, Permit, Refusal, RefusalKind};

use zone_x509::Serial;

use crate::Zone;
use crate::app::{Inbound, Outbound};
use crate::limits;
use envelope::Encoded;
use exchange::{Answer, Call, Fault, Reply};
use fields::{Fields, Given};

pub use openapi::reference as openapi_reference;
pub use sys_open::{Doors, OPEN_SYS};

/// Answers one request below `/v1/`.
pub async fn serve(zone: &Zone, inbound: Inbound) -> Outbound {
    if let Some(outbound) = sys_open::serve(zone, &inbound).await {
        return outbound;
    }
    // B2: nothing else is looked at while sealed.
    if zone.system.is_sealed() {
        return envelope::refuse(&inbound.id, Fault::new(503, "Vault is sealed"));
    }
    match sys_quotas::judge(zone, &inbound).await {
        Ok(rate) => Outbound {
            rate,
            ..serve_within(zone, inbound).await
        },
        Err(refused) => *refused,
    }
}

/// Answers a request that is within its quota.
async fn serve_within(zone: &Zone, mut inbound: Inbound) -> Outbound {
    let asked = match read(zone, &mut inbound) {
        Ok(asked) => asked,
        Err(fault) => return envelope::refuse(&inbound.id, fault),
    };
    wrapping::present(&mut inbound, &asked.data);
    if asked.help {
        return helped(zone, &inbound, asked).await;
    }
    match permit(zone, &inbound, asked).await {
        Ok((permit, asked)) => run(zone, &inbound, permit, asked).await,
        Err(outbound) => *outbound,
    }
}

/// What a request asks, before anybody judged it.
struct Asked {
    operation: Operation,
    data: Given,
    /// Whether it asks only what the path is good for. Whoever asks for help must not get the
    /// value.
    help: bool,
}

impl Asked {
    /// The operation's word in the audit trail.
    fn word(&self) -> &'static str {
        if self.help {
            "help"
        } else {
            self.operation.as_str()
        }
    }
}

/// The operation and the fields of a request.
fn read(zone: &Zone, inbound: &mut Inbound) -> Result<Asked, Fault> {
    let query = query::parse_named(&inbound.query)?;
    let operation = operation(inbound.method.as_str(), &query)?;
    let help = operation == Operation::Read && Fields(&query).flag("help")?.unwrap_or(false);
    if operation == Operation::List {
        inbound.path = inbound.path.as_prefix();
    }
    let data = match operation {
        Operation::Update | Operation::Patch => {
            if inbound.path.is_prefix() {
                return Err(Fault::bad_request("cannot write to a path ending in '/'"));
            }
            body_fields(inbound, operation)?
        }
        _ => query,
    };
    if let Some(path) = auth::canonical(zone, &inbound.path) {
        inbound.path = path;
    }
    if let Some(path) = sys::canonical(&inbound.path, operation) {
        inbound.path = path;
    }
    Ok(Asked {
        operation,
        data,
        help,
    })
}

fn operation(method: &str, query: &Given) -> Result<Operation, Fault> {
    let asks = |name| Ok::<_, Fault>(Fields(query).flag(name)?.unwrap_or(false));
    Ok(match method {
        "GET" | "HEAD" if asks("help")? => Operation::Read,
        "GET" | "HEAD" if asks("list")? => Operation::List,
        "GET" | "HEAD" => Operation::Read,
        "LIST" => Operation::List,
        "POST" | "PUT" => Operation::Update,
        "PATCH" => Operation::Patch,
        "DELETE" => Operation::Delete,
        _ => return Err(Fault::unsupported_operation()),
    })
}

/// The fields of a body: JSON whatever the type says, but a form that does not look like JSON.
fn body_fields(inbound: &Inbound, operation: Operation) -> Result<Given, Fault> {
    let content_type = inbound.headers.get(http::header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or("").split(';').next().unwrap_or("");
    let is = |wanted: &str| essence.trim().eq_ignore_ascii_case(wanted);
    if operation == Operation::Patch && !is("application/merge-patch+json") {
        let text = "PATCH needs Content-Type application/merge-patch+json";
        return Err(Fault::new(415, text));
    }
    let first = inbound.body.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => Ok(Given::default()),
        Some(byte) if is("application/x-www-form-urlencoded") && !b"{[".contains(byte) => {
            let text = std::str::from_utf8(&inbound.body)
                .map_err(|_| Fault::bad_request("the form is not UTF-8"))?;
            query::parse_named(text)
        }
        Some(_) => fields::parse_json(&inbound.body),
    }
}

async fn helped(zone: &Zone, inbound: &Inbound, asked: Asked) -> Outbound {
    let ask = Ask {
        token: inbound.token.as_ref(),
        path: &inbound.path,
        operation: asked.operation,
        data: None,
        remote: Some(inbound.client.ip()),
        wrap_ttl: inbound.wrap_ttl,
    };
    match zone.system.access().authorize_help(ask).await {
        Ok(of) => help::serve(zone, inbound, &asked, &of).await,
        Err(refusal) => refused(zone, inbound, &asked, refusal).await,
    }
}

/// Asks for the permit. A refusal is recorded (floods of unauthenticated ones in sums, attack 3)
/// before it is answered.
async fn permit(
    zone: &Zone,
    inbound: &Inbound,
    mut asked: Asked,
) -> Result<(Permit, Asked), Box<Outbound>> {
    if asked.operation == Operation::Update && creates(zone, inbound).await {
        asked.operation = Operation::Create;
    }
    let writes = !matches!(
        asked.operation,
        Operation::Read | Operation::List | Operation::Delete
    );
    let ask = Ask {
        token: inbound.token.as_ref(),
        path: &inbound.path,
        operation: asked.operation,
        data: writes.then_some(&asked.data),
        remote: Some(inbound.client.ip()),
        wrap_ttl: inbound.wrap_ttl,
    };
    match zone.system.access().authorize(ask).await {
        // Its fields would stand in the trail, which strangers must not fill (attack 3).
        Ok(permit) if permit.token().is_none() && inbound.body.len() > limits::SMALL_BODY => {
            let text = "a request without a token has at most 64 KiB";
            let fault = Fault::new(413, text);
            Err(Box::new(envelope::refuse(&inbound.id, fault)))
        }
        Ok(permit) => {
            if let Some(token) = permit.token() {
                zone.in_flight.identify(&inbound.id, token);
            }
            Ok((permit, asked))
        }
        Err(refusal) => Err(Box::new(refused(zone, inbound, &asked, refusal).await)),
    }
}

/// Whether a write would make something new. The answer only chooses between the capabilities
/// `create` and `update`; it is not shown to anybody, and not looked up for strangers.
async fn creates(zone: &Zone, inbound: &Inbound) -> bool {
    let Some(token) = &inbound.token else {
        return false;
    };
    let counts = zone.system.access().token(token.expose()).await;
    if !counts.is_ok_and(|token| token.is_some()) {
        return false;
    }
    let path = inbound.path.as_str();
    match zone.system.access().mount_of(path) {
        Ok(Some(mount)) if mount.kind == MountKind::Kv => {
            let rest = &path[mount.path.as_str().len()..];
            // A failing store fails the request itself a moment later.
            !zone.kv.exists(&mount, rest).await.unwrap_or(true)
        }
        Ok(Some(mount)) if mount.kind == MountKind::Cubbyhole => {
            let rest = &path[mount.path.as_str().len()..];
            let there = zone.system.access().cubbyhole_has(token.expose(), rest);
            !there.await.unwrap_or(true)
        }
        Ok(Some(mount)) if matches!(mount.kind, MountKind::AppRole | MountKind::Userpass) => {
            let rest = &path[mount.path.as_str().len()..];
            !zone.auth.exists(&mount, rest).await.unwrap_or(true)
        }
        _ => false,
    }
}

async fn refused(zone: &Zone, inbound: &Inbound, asked: &Asked, refusal: Refusal) -> Outbound {
    let fault = match &refusal.kind {
        RefusalKind::Sealed => Fault::new(503, "Vault is sealed"),
        RefusalKind::NoToken => wrapping::no_token(inbound),
        RefusalKind::Denied => Fault::denied(),
        RefusalKind::NoMount => {
            let path = inbound.path.as_str();
            Fault::new(
                404,
                format!("no handler for route \"{path}\". route entry not found."),
            )
        }
        RefusalKind::Failed(error) => {
            let mut fault = Fault::new(503, "storage is not available");
            fault.internal = Some(exchange::chain(error));
            fault
        }
    };
    match audit::refusal(zone, inbound, asked, &refusal).await {
        Ok(()) => envelope::refuse(&inbound.id, fault),
        Err(failed) => envelope::refuse(&inbound.id, failed),
    }
}

async fn run(zone: &Zone, inbound: &Inbound, permit: Permit, mut asked: Asked) -> Outbound {
    let trail = audit::Trail::new(zone, inbound, &permit);
    if let Err(fault) = trail.request(zone, &asked.data).await {
        return envelope::refuse(&inbound.id, fault);
    }
    let call = Call {
        permit,
        data: std::mem::take(&mut asked.data.0),
        client: inbound.client,
        token: inbound.token.clone(),
        wants: inbound.wants.clone(),
    };
    let mut result = dispatch(zone, &call).await;
    if let Ok(Reply::Data(Answer {
        alert: Some(kind), ..
    })) = &result
        && let Err(fault) = trail.alert(zone, kind).await
    {
        // What cannot be told is not shown.
        result = Err(fault);
    }
    if let Ok(Reply::Data(answer)) = &mut result {
        token::add_identity(zone, answer).await;
    }
    let answer = match call.permit.wrap_ttl() {
        Some(_) => wrapping::wrap(zone, inbound, &call, result).await,
        None => envelope::encode(&inbound.id, &inbound.path, result),
    };
    if inbound.path.as_str() == "sys/seal" && zone.system.is_sealed() {
        // The trail was closed with the zone; its request line is the last one.
        return answer.outbound;
    }
    match trail.response(zone, &call.data, &answer).await {
        Ok(()) => match sys_ceremony::handed_out(&call, &answer) {
            Some(nonce) => finished(zone, inbound, answer, &nonce).await,
            None => answer.outbound,
        },
        Err(fault) => {
            take_back(zone, &call, &answer).await;
            envelope::refuse(&inbound.id, fault)
        }
    }
}

/// The new shares that `answer` hands out count from now on: it stands in the trail.
async fn finished(zone: &Zone, inbound: &Inbound, answer: Encoded, nonce: &str) -> Outbound {
    match zone.system.rekey_finish(nonce).await {
        Ok(()) => answer.outbound,
        Err(error) => envelope::refuse(&inbound.id, error.into()),
    }
}

async fn dispatch(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    routes::refuse(call)?;
    wrapping::refuse(call)?;
    match call.permit.mount().kind {
        MountKind::Cubbyhole => cubbyhole::handle(zone.system.access(), call).await,
        MountKind::Identity => identity::handle(zone.system.access(), call).await,
        MountKind::Kv => kv::handle(&zone.kv, call).await,
        MountKind::Pki => pki::handle(&zone.pki, call).await,
        MountKind::System => sys::handle(zone, call).await,
        MountKind::Token => token::handle(zone, call).await,
        MountKind::AppRole => approle::handle(&zone.auth, call).await,
        MountKind::Userpass => userpass::handle(&zone.auth, call).await,
    }
}

/// A1: the effects of a request whose answer nobody will see stand, but the credentials in it are
/// taken back, wrapped or not. If that fails too, they end by themselves and the log says so.
async fn take_back(zone: &Zone, call: &Call, answer: &Encoded) {
    let access = zone.system.access();
    if let Some(nonce) = sys_ceremony::handed_out(call, answer) {
        zone.system.rekey_take_back(&nonce).await;
    }
    let mut failure = None;
    let mut ended: Vec<_> = answer.new_token.iter().cloned().collect();
    ended.extend(answer.wrap_info.iter().map(|info| info.id.clone()));
    if let Some(accessor) = &answer.unwrapped {
        match access.token_by_accessor(accessor).await {
            Ok(found) => ended.extend(found.map(|entry| entry.id.clone())),
            Err(error) => failure = Some(exchange::chain(&error)),
        }
    }
    for token in &ended {
        if let Err(error) = access.revoke_token(token).await {
            failure = Some(exchange::chain(&error));
        }
    }
    let data = answer.data.text().or_else(|| answer.hidden.text());
    if let Some(data) = data.filter(|_| call.permit.mount().kind == MountKind::AppRole)
        && let Err(fault) = approle::take_back(&zone.auth, call, data).await
    {
        failure = fault.internal.or(Some(fault.errors.concat()));
    }
    if let Some(serial) = issued(call, answer) {
        let revoked = zone.pki.revoke(&call.permit, &serial).await;
        failure = revoked.err().map(|error| exchange::chain(&error));
    }
    if let Some(error) = failure {
        tracing::error!("credentials of an answer that was not recorded stay valid: {error}");
    }
}

/// The certificate that an answer hands out.
fn issued(call: &Call, answer: &Encoded) -> Option<Serial> {
    #[derive(serde::Deserialize)]
    struct Leaf {
        serial_number: String,
    }
    let segments: Vec<&str> = call.permit.rest().split('/').collect();
    let issues = call.permit.mount().kind == MountKind::Pki
        && matches!(
            segments[..],
            ["issue" | "sign", _] | ["issuer", _, "issue" | "sign", _]
        );
    let data = answer.data.text().or_else(|| answer.hidden.text());
    let data = data.filter(|_| issues)?;
    let leaf: Leaf = serde_json::from_str(data).ok()?;
    Serial::parse(&leaf.serial_number).ok()
}

/// Whether a method writes; used by the open endpoints.
fn is_write(method: &Method) -> bool {
    method == Method::POST || method == Method::PUT
}
