//! `sys/config/`: cross-origin requests, audited request headers, headers of a user interface.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use zone_access::Operation;
use zone_system::{AuditedHeader, Cors, Settings, SystemError};

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use crate::Zone;

/// Most headers of one list.
const MOST: usize = 100;
/// Header fields that hold credentials: never in the audit trail, not even as HMACs of guessable
/// text. The token's own are taken out of the head before.
const CREDENTIALS: [&str; 5] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-vault-token",
];

/// Serves one permitted call below `sys/config/`.
pub(super) async fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let (area, name) = match tail {
        "cors" => return cors(zone, call).await,
        _ => tail
            .strip_prefix("auditing/request-headers")
            .map(|name| ("auditing", name))
            .or_else(|| tail.strip_prefix("ui/headers").map(|name| ("ui", name)))
            .ok_or_else(Fault::unsupported_path)?,
    };
    let name = name.trim_matches('/');
    match (area, name.is_empty()) {
        ("auditing", true) => audited_headers(zone, call),
        ("auditing", false) => audited_header(zone, call, name).await,
        (_, true) => ui_headers(zone, call),
        (_, false) => ui_header(zone, call, name).await,
    }
}

async fn change(
    zone: &Zone,
    call: &Call,
    change: impl Fn(&mut Settings) -> Result<(), SystemError> + Send + Sync,
) -> Result<Reply, Fault> {
    zone.system.change_settings(&call.permit, change).await?;
    Ok(Reply::NoContent)
}

async fn cors(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read => {
            let settings = zone.system.settings();
            let Some(cors) = &settings.cors else {
                return Reply::data(&json!({ "enabled": false }));
            };
            let own = cors.allowed_headers.iter().map(String::as_str);
            let headers: Vec<&str> = crate::cors::HEADERS.into_iter().chain(own).collect();
            Reply::data(&json!({
                "enabled": true,
                "allowed_origins": cors.allowed_origins,
                "allowed_headers": headers,
            }))
        }
        Operation::Delete => {
            change(zone, call, |settings| {
                settings.cors = None;
                Ok(())
            })
            .await
        }
        _ if writes(call) => {
            let cors = read_cors(&Fields(&call.data))?;
            change(zone, call, move |settings| {
                settings.cors = Some(cors.clone());
                Ok(())
            })
            .await
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn read_cors(fields: &Fields<'_>) -> Result<Cors, Fault> {
    let origins = fields.list("allowed_origins")?.unwrap_or_default();
    let wrong = |text: &str| {
        Err(Fault::bad_request(format!(
            "field 'allowed_origins': {text}"
        )))
    };
    if origins.is_empty() {
        return wrong("at least one origin, or the wildcard, must be provided");
    }
    if origins.len() > MOST {
        return wrong("at most 100 origins");
    }
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        return wrong("to allow all origins the '*' must be the only value");
    }
    if !origins
        .iter()
        .all(|origin| origin == "*" || is_origin(origin))
    {
        return wrong("expected origins like https://ui.example:8443, without a path");
    }
    let headers = fields.list("allowed_headers")?.unwrap_or_default();
    let named = |name: &String| HeaderName::from_bytes(name.as_bytes()).is_ok();
    if headers.len() > MOST || !headers.iter().all(named) {
        let text = "field 'allowed_headers': expected at most 100 names of header fields";
        return Err(Fault::bad_request(text));
    }
    Ok(Cors {
        allowed_origins: origins,
        allowed_headers: headers,
    })
}

/// Scheme, host and port, as a browser writes them.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    matches!(scheme, "http" | "https")
        && host.parse::<http::uri::Authority>().is_ok_and(|host| {
            let plain = |c: char| !matches!(c, '@' | '*') && !c.is_ascii_uppercase();
            host.as_str().chars().all(plain)
        })
}

fn audited_headers(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read | Operation::List => {
            let settings = zone.system.settings();
            Reply::data(&json!({ "headers": settings.audited_headers }))
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

async fn audited_header(zone: &Zone, call: &Call, spelt: &str) -> Result<Reply, Fault> {
    let name = header(spelt)?;
    match call.permit.operation() {
        Operation::Read => {
            let settings = zone.system.settings();
            let found = settings.audited_headers.get(&name);
            // Terraform knows by just these words that it is gone, and looks for its own spelling.
            let found =
                found.ok_or_else(|| Fault::bad_request("Could not find header in config"))?;
            Reply::data(&json!({ spelt: found }))
        }
        Operation::Delete => {
            change(zone, call, move |settings| {
                settings.audited_headers.remove(&name);
                Ok(())
            })
            .await
        }
        _ if writes(call) => {
            let hmac = Fields(&call.data).flag("hmac")?.unwrap_or(false);
            if CREDENTIALS.contains(&name.as_str()) {
                let text = "this header holds credentials and is not audited";
                return Err(Fault::bad_request(text));
            }
            change(zone, call, move |settings| {
                settings
                    .audited_headers
                    .insert(name.clone(), AuditedHeader { hmac });
                bounded(settings.audited_headers.len())
            })
            .await
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn ui_headers(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    match call.permit.operation() {
        Operation::Read | Operation::List => {
            let settings = zone.system.settings();
            let names: Vec<String> = settings.ui_headers.keys().cloned().collect();
            Reply::keys(&names)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

async fn ui_header(zone: &Zone, call: &Call, name: &str) -> Result<Reply, Fault> {
    let name = header(name)?;
    match call.permit.operation() {
        Operation::Read => {
            let settings = zone.system.settings();
            let values = settings
                .ui_headers
                .get(&name)
                .ok_or_else(Fault::not_found)?;
            let mut data = Map::new();
            match Fields(&call.data).flag("multivalue")?.unwrap_or(false) {
                true => data.insert("values".into(), json!(values)),
                false => data.insert("value".into(), Value::String(values.join(", "))),
            };
            Reply::data(&data)
        }
        Operation::Delete => {
            change(zone, call, move |settings| {
                settings.ui_headers.remove(&name);
                Ok(())
            })
            .await
        }
        _ if writes(call) => {
            let values = Fields(&call.data).list("values")?.unwrap_or_default();
            if values.is_empty() {
                return Err(Fault::bad_request("missing values"));
            }
            if name.starts_with("x-vault-") {
                return Err(Fault::bad_request("X-Vault headers cannot be set"));
            }
            if !values
                .iter()
                .all(|value| HeaderValue::from_str(value).is_ok())
            {
                let text = "field 'values': expected values of a header field";
                return Err(Fault::bad_request(text));
            }
            change(zone, call, move |settings| {
                settings.ui_headers.insert(name.clone(), values.clone());
                bounded(settings.ui_headers.len())
            })
            .await
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn bounded(count: usize) -> Result<(), SystemError> {
    match count > MOST {
        true => Err(SystemError::Invalid("at most 100 headers".into())),
        false => Ok(()),
    }
}

/// A header field's name in its one spelling.
fn header(name: &str) -> Result<String, Fault> {
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| Fault::bad_request("this is no name of a header field"))?;
    Ok(name.as_str().to_owned())
}
