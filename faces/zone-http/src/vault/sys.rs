//! `sys/` behind a permit.

use std::sync::Arc;

use serde_json::json;
use zone_access::{AccessError, Operation, TokenEntry};
use zone_policy::PolicyName;
use zone_types::{RequestPath, Secret};

use super::exchange::{Call, Fault, Reply, chain};
use super::fields::Fields;
use super::{
    events, sys_audit, sys_auth, sys_ceremony, sys_config, sys_host, sys_leases, sys_mounts,
    sys_open, sys_policy, sys_quotas, sys_tools, wrapping,
};
use crate::Zone;

/// Serves one permitted call below `sys/`.
pub(super) async fn handle(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let rest = call.permit.rest().to_owned();
    let (head, tail) = rest.split_once('/').unwrap_or((&rest, ""));
    match head {
        "auth" => sys_auth::handle(zone, call, tail).await,
        "locked-users" => sys_auth::locked(zone, call, tail).await,
        "mounts" => sys_mounts::mounts(zone, call, tail).await,
        "internal" => sys_mounts::internal(zone, call, tail).await,
        "policy" | "policies" => sys_policy::handle(zone, call, &rest).await,
        "audit" => sys_audit::handle(zone, call, tail).await,
        "events" => events::handle(zone, call, tail),
        "audit-hash" => sys_audit::hash(zone, call, tail).await,
        "capabilities" | "capabilities-self" | "capabilities-accessor" if tail.is_empty() => {
            capabilities(zone, call, head).await
        }
        "seal" if tail.is_empty() => seal(zone, call).await,
        "key-status" if tail.is_empty() => key_status(zone, call).await,
        "rotate" if tail.is_empty() => rotate(zone, call).await,
        "tools" => sys_tools::handle(zone, call, tail),
        "config" => sys_config::handle(zone, call, tail).await,
        "host-info" if tail.is_empty() => sys_host::host_info(zone).await,
        "in-flight-req" if tail.is_empty() => sys_host::in_flight(zone),
        "loggers" => sys_host::loggers(zone, call, tail),
        "version-history" => sys_host::version_history(zone, call).await,
        "raw" => sys_host::raw(zone, call, tail).await,
        "rotate" if tail == "config" => rotation(zone, call).await,
        "rekey" | "generate-root" => sys_ceremony::handle(zone, call).await,
        "leases" => sys_leases::handle(zone, call, tail).await,
        "quotas" => sys_quotas::handle(zone, call, tail).await,
        "remount" => sys_mounts::remount(zone, call, tail).await,
        "step-down" if tail.is_empty() => step_down(call),
        "ha-status" if tail.is_empty() => ha_status(zone, call),
        "wrapping" => wrapping::handle(zone, call, tail).await,
        "metrics" if tail.is_empty() => metrics(zone, call),
        _ => Err(Fault::unsupported_path()),
    }
}

/// The one spelling of a path below `sys/` that Vault's clients write in several: a name with a
/// slash behind it, and names of policies and users, whose case does not count. What the policy judges is what
/// is served (A3): a rule for `sys/policies/acl/prod` holds for `PROD` too.
pub(super) fn canonical(path: &RequestPath, operation: Operation) -> Option<RequestPath> {
    if operation == Operation::List {
        return None;
    }
    if let Some(path) = super::identity::canonical(path) {
        return Some(path);
    }
    if !path.as_str().starts_with("sys/") {
        return super::token_role::canonical(path);
    }
    let bare = path.as_str().trim_end_matches('/');
    for prefix in ["sys/policies/acl/", "sys/policy/"] {
        let name = bare.strip_prefix(prefix).map(PolicyName::parse);
        if let Some(Ok(name)) = name {
            return RequestPath::from_text(&format!("{prefix}{}", name.as_str())).ok();
        }
    }
    if bare.starts_with("sys/locked-users/")
        && let Some((place, name)) = bare.rsplit_once("/unlock/")
        && let Some(name) = zone_auth::Name::parse(name)
    {
        return RequestPath::from_text(&format!("{place}/unlock/{name}")).ok();
    }
    RequestPath::from_text(bare).ok()
}

/// The client's view of an access error.
pub(super) fn access_fault(error: &AccessError) -> Fault {
    match error {
        AccessError::Sealed => Fault::new(503, "Vault is sealed"),
        AccessError::Denied(why) => {
            let mut fault = Fault::denied();
            fault.errors = vec![format!("permission denied: {why}")];
            fault
        }
        AccessError::Invalid(text) => Fault::bad_request(text.clone()),
        AccessError::Missing(text) => Fault::bad_request(*text),
        AccessError::QuotaExceeded(text) => Fault::new(429, text.clone()),
        AccessError::Busy => Fault::new(409, error.to_string()),
        AccessError::Barrier(zone_barrier::BarrierError::TooLarge) => {
            Fault::new(413, "the request is too large to be stored at once")
        }
        _ => {
            let mut fault = Fault::new(503, "storage is not available");
            fault.internal = Some(chain(error));
            fault
        }
    }
}

impl From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        access_fault(&error)
    }
}

impl From<zone_system::SystemError> for Fault {
    fn from(error: zone_system::SystemError) -> Self {
        sys_open::fault(error)
    }
}

async fn seal(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    zone.system.seal(&call.permit).await?;
    Ok(Reply::NoContent)
}

async fn key_status(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    let status = zone.system.key_status(&call.permit)?;
    Reply::data(&json!({
        "term": status.term,
        "install_time": status.install_time,
        "encryptions": status.encryptions,
    }))
}

async fn rotate(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    zone.system.rotate(&call.permit).await?;
    Ok(Reply::NoContent)
}

/// `sys/rotate/config`. As in Vault only what is given changes.
async fn rotation(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let mut config = zone.system.rotation(&call.permit);
    if call.permit.operation() == Operation::Read {
        return Reply::data(&json!({
            "enabled": config.enabled,
            "max_operations": config.max_operations,
            "interval": config.interval,
        }));
    }
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    let fields = Fields(&call.data);
    if let Some(enabled) = fields.flag("enabled")? {
        config.enabled = enabled;
    }
    if let Some(most) = fields.number("max_operations")? {
        let most = u64::try_from(most);
        config.max_operations =
            most.map_err(|_| Fault::bad_request("field 'max_operations': must not be negative"))?;
    }
    if let Some(interval) = fields.seconds("interval")? {
        config.interval = interval;
    }
    zone.system.set_rotation(&call.permit, config).await?;
    Ok(Reply::NoContent)
}

/// There is one head, and nobody to take over: nothing to do, as in Vault without HA.
fn step_down(call: &Call) -> Result<Reply, Fault> {
    match writes(call) {
        true => Ok(Reply::NoContent),
        false => Err(Fault::unsupported_operation()),
    }
}

fn ha_status(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    Reply::data(&json!({ "nodes": [{
        "hostname": zone.about.zone,
        "api_address": zone.about.api_addr,
        "cluster_address": "",
        "active_node": true,
        "last_echo": null,
        "version": zone.about.api_version,
    }] }))
}

fn metrics(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    let text = zone
        .metrics
        .text(zone.system.is_sealed(), &zone.system.broker().list());
    match Fields(&call.data).text("format")?.as_deref() {
        Some("prometheus") => Ok(Reply::Raw {
            content_type: crate::metrics::CONTENT_TYPE,
            body: text.into_bytes(),
        }),
        None | Some("" | "json") => Ok(Reply::Raw {
            content_type: "application/json",
            body: crate::metrics::json(&text, zone.system.wall_clock())
                .to_string()
                .into_bytes(),
        }),
        Some(_) => Err(Fault::bad_request(
            "field 'format': expected prometheus or json",
        )),
    }
}

async fn capabilities(zone: &Zone, call: &Call, head: &str) -> Result<Reply, Fault> {
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    let fields = Fields(&call.data);
    let paths = match fields.list("paths")? {
        Some(paths) if !paths.is_empty() => paths,
        _ => fields.list("path")?.unwrap_or_default(),
    };
    if paths.is_empty() {
        return Err(Fault::bad_request("paths must be supplied"));
    }
    let entry = asked_about(zone, call, head).await?;
    let entry = entry.ok_or_else(|| Fault::bad_request("invalid token"))?;
    let mut data = serde_json::Map::new();
    for path in &paths {
        let judged = judged_as(path);
        let granted = zone.system.access().capabilities(&entry, &judged).await?;
        if paths.len() == 1 {
            data.insert("capabilities".into(), json!(granted));
        }
        data.insert(path.clone(), json!(granted));
    }
    Reply::data(&data)
}

/// The path that a request for `path` would be judged by.
fn judged_as(path: &str) -> String {
    let path = path.trim_start_matches('/');
    let asked = RequestPath::from_text(path).ok();
    let asked = asked.filter(|asked| !asked.is_prefix());
    let one = asked.and_then(|asked| canonical(&asked, Operation::Read));
    one.map_or_else(|| path.to_owned(), |one| one.as_str().to_owned())
}

/// The token that `sys/capabilities…` is asked about.
async fn asked_about(
    zone: &Zone,
    call: &Call,
    head: &str,
) -> Result<Option<Arc<TokenEntry>>, Fault> {
    let (access, fields) = (zone.system.access(), Fields(&call.data));
    Ok(match head {
        "capabilities" => {
            let token = Secret::new(fields.required("token")?);
            access.token(token.expose()).await?
        }
        "capabilities-accessor" => {
            let accessor = fields.required("accessor")?;
            access.token_by_accessor(&accessor).await?
        }
        _ => call.permit.token().cloned(),
    })
}

/// Whether the call writes (`sys/` endpoints know no difference between create and update).
pub(super) fn writes(call: &Call) -> bool {
    matches!(
        call.permit.operation(),
        Operation::Update | Operation::Create
    )
}
