//! `sys/policies/acl` and the older `sys/policy`.

use serde_json::json;
use zone_access::Operation;

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use crate::Zone;

pub(super) async fn handle(zone: &Zone, call: &Call, rest: &str) -> Result<Reply, Fault> {
    let legacy = rest == "policy" || rest.starts_with("policy/");
    let name = rest.strip_prefix(if legacy { "policy" } else { "policies/acl" });
    let name = match name {
        Some("" | "/") => "",
        Some(name) => name.strip_prefix('/').ok_or_else(Fault::unsupported_path)?,
        None => return Err(Fault::unsupported_path()),
    };
    match (call.permit.operation(), name) {
        (Operation::List, "") => list(zone, call, legacy).await,
        (Operation::Read, "") if legacy => list(zone, call, legacy).await,
        (Operation::Read, name) if !name.is_empty() => read(zone, call, name, legacy).await,
        (Operation::Delete, name) if !name.is_empty() => {
            zone.system
                .access()
                .delete_policy(&call.permit, name)
                .await?;
            Ok(Reply::NoContent)
        }
        (_, name) if writes(call) && !name.is_empty() => write(zone, call, name).await,
        _ => Err(Fault::unsupported_operation()),
    }
}

async fn list(zone: &Zone, call: &Call, legacy: bool) -> Result<Reply, Fault> {
    let names = zone.system.access().policy_names(&call.permit).await?;
    match legacy {
        true => Reply::data(&json!({ "policies": names, "keys": names })),
        false => Reply::keys(&names),
    }
}

async fn read(zone: &Zone, call: &Call, name: &str, legacy: bool) -> Result<Reply, Fault> {
    let policy = zone.system.access().policy(&call.permit, name).await?;
    let policy = policy.ok_or_else(Fault::not_found)?;
    match legacy {
        true => Reply::data(
            &json!({ "name": policy.name, "rules": policy.text, "policy": policy.text }),
        ),
        false => Reply::data(&json!({ "name": policy.name, "policy": policy.text })),
    }
}

/// The policy is text, or base64 of it, or (as hvac sends it) a JSON object.
async fn write(zone: &Zone, call: &Call, name: &str) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let given = ["policy", "rules"]
        .into_iter()
        .find(|field| call.data.contains_key(*field));
    let field =
        given.ok_or_else(|| Fault::bad_request("'policy' parameter not supplied or empty"))?;
    let text = match call.data.get(field) {
        Some(object @ serde_json::Value::Object(_)) => object.to_string(),
        _ => fields.required(field)?,
    };
    let text = decoded(&text).unwrap_or(text);
    zone.system
        .access()
        .write_policy(&call.permit, name, &text)
        .await?;
    Ok(Reply::NoContent)
}

fn decoded(text: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text.trim())
        .ok()?;
    String::from_utf8(bytes).ok()
}
