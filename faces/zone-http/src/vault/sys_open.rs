//! The `sys/` endpoints that need no token and work while the zone is sealed (A2).

use http::Method;
use serde_json::{Map, Value, json};
use zone_system::{InitOptions, SystemError};

use super::exchange::{Fault, chain};
use super::fields::{Fields, parse_json, wipe};
use super::{envelope, is_write, query, sys_ceremony};
use crate::Zone;
use crate::app::{Inbound, Outbound};

/// The golden list: these endpoints and no others are served before a token is looked at.
pub const OPEN_SYS: [&str; 5] = [
    "sys/health",
    "sys/seal-status",
    "sys/init",
    "sys/unseal",
    "sys/leader",
];

/// Enough for 255 shares in both spellings, so that none stays behind where a text grew.
const ROOM: usize = 64 * 1024;

/// Answers an endpoint of [`OPEN_SYS`]; `None` for every other path.
pub(super) async fn serve(zone: &Zone, inbound: &Inbound) -> Option<Outbound> {
    let path = OPEN_SYS
        .into_iter()
        // B2: a sealed zone has no keys to turn over.
        .chain(inbound.doors.open().filter(|_| !zone.system.is_sealed()))
        .find(|path| *path == inbound.path.as_str())?;
    let read = inbound.method == Method::GET || inbound.method == Method::HEAD;
    let result = match path {
        _ if inbound.wrap_ttl.is_some() => {
            let text = "X-Vault-Wrap-TTL: this endpoint's answer cannot be wrapped";
            Err(Fault::bad_request(text))
        }
        "sys/health" if read => health(zone, inbound).await,
        "sys/seal-status" if read => seal_status(zone, inbound).await,
        "sys/leader" if read => Ok(leader(zone)),
        "sys/init" if read => init_status(zone).await,
        "sys/init" if is_write(&inbound.method) => init(zone, inbound).await,
        "sys/unseal" if is_write(&inbound.method) => unseal(zone, inbound).await,
        path if !OPEN_SYS.contains(&path) => sys_ceremony::open(zone, inbound).await,
        _ => Err(Fault::unsupported_operation()),
    };
    Some(match result {
        Ok((204, _)) => Outbound::json(204, Vec::new()),
        Ok((status, mut body)) => {
            let hands_out = matches!(path, "sys/init" | "sys/rekey/update");
            let room = if hands_out { ROOM } else { 1024 };
            let mut text = Vec::with_capacity(room);
            let written = serde_json::to_writer(&mut text, &body);
            // Shares and the first token are among it.
            wipe(&mut body);
            match written {
                Ok(()) => Outbound::json(status, text),
                Err(_) => envelope::refuse(&inbound.id, Fault::internal("cannot be encoded")),
            }
        }
        Err(fault) => envelope::refuse(&inbound.id, fault),
    })
}

/// What a listener serves without a token on top of [`OPEN_SYS`]; nothing unless its
/// configuration says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doors {
    /// `sys/rekey/…`, as Vault served it before.
    pub rekey: bool,
    /// `sys/generate-root/…`, as Vault served it before.
    pub generate_root: bool,
}

impl Doors {
    fn open(self) -> impl Iterator<Item = &'static str> {
        let rekey = self.rekey.then_some(sys_ceremony::REKEY);
        let root = self.generate_root.then_some(sys_ceremony::GENERATE_ROOT);
        let rekey = rekey.into_iter().flatten();
        rekey.chain(root.into_iter().flatten())
    }
}

type Plain = Result<(u16, Value), Fault>;

/// Of the seal alone, as in Vault: a store that is away is told of and changes no status, since 503
/// means sealed to whoever would unseal then.
async fn health(zone: &Zone, inbound: &Inbound) -> Plain {
    let query = query::parse(&inbound.query)?;
    let status = zone.system.seal_status("").await.map_err(fault)?;
    let (name, usual) = match (status.initialized, status.sealed) {
        (false, _) => ("uninitcode", 501),
        (true, true) => ("sealedcode", 503),
        (true, false) => ("activecode", 200),
    };
    let body = json!({
        "initialized": status.initialized,
        "sealed": status.sealed,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": zone.system.wall_clock().secs(),
        "version": zone.about.api_version,
        "cluster_name": zone.about.zone,
        "cluster_id": status.zone_id,
        "store_available": zone.metrics.store().is_available(),
    });
    Ok((wished_code(&Fields(&query), name)?.unwrap_or(usual), body))
}

/// The status that the client wishes to see for what `name` stands for. Each of these parameters
/// is judged, also those that this answer does not use.
fn wished_code(fields: &Fields<'_>, name: &str) -> Result<Option<u16>, Fault> {
    let mut wished = None;
    for parameter in [
        "activecode",
        "standbycode",
        "sealedcode",
        "uninitcode",
        "drsecondarycode",
        "performancestandbycode",
    ] {
        let Some(value) = fields.number(parameter)? else {
            continue;
        };
        let code = u16::try_from(value).ok();
        let code = code.filter(|code| (200..600).contains(code));
        let code = code.ok_or_else(|| {
            let text = format!("field '{parameter}': expected a status from 200 to 599");
            Fault::bad_request(text)
        })?;
        if parameter == name {
            wished = Some(code);
        }
    }
    Ok(wished)
}

async fn seal_status(zone: &Zone, inbound: &Inbound) -> Plain {
    let client = inbound.client.ip().to_string();
    let status = zone.system.seal_status(&client).await.map_err(fault)?;
    Ok((200, status_body(zone, &status)))
}

/// Vault's seal-status document.
pub(super) fn status_body(zone: &Zone, status: &zone_system::SealStatus) -> Value {
    let mut body = json!({
        "type": "shamir",
        "initialized": status.initialized,
        "sealed": status.sealed,
        "t": status.threshold,
        "n": status.shares,
        "progress": status.progress,
        "nonce": status.nonce,
        "version": zone.about.api_version,
        "zonehead_version": zone.about.version,
        "build_date": "",
        "migration": false,
        "recovery_seal": false,
        "storage_type": status.storage,
    });
    if !status.sealed {
        body["cluster_name"] = zone.about.zone.clone().into();
        body["cluster_id"] = status.zone_id.clone().into();
    }
    body
}

fn leader(zone: &Zone) -> (u16, Value) {
    let body = json!({
        "ha_enabled": false,
        "is_self": !zone.system.is_sealed(),
        "active_time": "0001-01-01T00:00:00Z",
        "leader_address": "",
        "leader_cluster_address": "",
        "performance_standby": false,
        "performance_standby_last_remote_wal": 0,
    });
    (200, body)
}

async fn init_status(zone: &Zone) -> Plain {
    let status = zone.system.seal_status("").await.map_err(fault)?;
    Ok((200, json!({ "initialized": status.initialized })))
}

async fn init(zone: &Zone, inbound: &Inbound) -> Plain {
    let data = parse_json(&inbound.body)?;
    let fields = Fields(&data);
    refuse_unsupported(&fields)?;
    let made = zone.system.init(share_options(&fields)?).await;
    let made = made.map_err(fault)?;
    // Moved in, not copied: what is wiped after the answer is all there is.
    let mut body = Map::new();
    body.insert("keys".into(), made.shares.keys_hex().into());
    body.insert("keys_base64".into(), made.shares.keys_base64().into());
    body.insert("root_token".into(), made.root_token().into());
    if let Some(encrypted) = made.shares.encrypted() {
        body.insert("keys_age".into(), encrypted.into());
    }
    Ok((200, Value::Object(body)))
}

/// How many shares, and for whom.
pub(super) fn share_options(fields: &Fields<'_>) -> Result<InitOptions, Fault> {
    let number = |name, usual: u8| -> Result<u8, Fault> {
        let Some(value) = fields.number(name)? else {
            return Ok(usual);
        };
        let text = format!("field '{name}': expected a number from 1 to 255");
        u8::try_from(value).map_err(|_| Fault::bad_request(text))
    };
    Ok(InitOptions {
        shares: number("secret_shares", 5)?,
        threshold: number("secret_threshold", 3)?,
        age_recipients: fields.list("age_recipients")?.unwrap_or_default(),
    })
}

/// What Vault's init and rekey know and these do not.
pub(super) fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    for name in ["pgp_keys", "root_token_pgp_key", "recovery_pgp_keys"] {
        let empty = match fields.0.get(name) {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if !empty {
            let text = format!(
                "field '{name}': PGP is not supported; give age_recipients (age1…) instead"
            );
            return Err(Fault::bad_request(text));
        }
    }
    for name in ["recovery_shares", "recovery_threshold", "stored_shares"] {
        if fields.number(name)?.unwrap_or(0) != 0 {
            let text = format!("field '{name}': only a Shamir seal exists");
            return Err(Fault::bad_request(text));
        }
    }
    Ok(())
}

async fn unseal(zone: &Zone, inbound: &Inbound) -> Plain {
    let data = parse_json(&inbound.body)?;
    let fields = Fields(&data);
    if fields.flag("migrate")?.unwrap_or(false) {
        return Err(Fault::bad_request(
            "field 'migrate': there is no seal to migrate to",
        ));
    }
    let client = inbound.client.ip().to_string();
    if fields.flag("reset")?.unwrap_or(false) {
        let nonce = fields.text("nonce")?;
        zone.system
            .unseal_reset(&client, nonce.as_deref())
            .await
            .map_err(fault)?;
        return seal_status(zone, inbound).await;
    }
    let key = zone_types::Secret::new(fields.text("key")?.unwrap_or_default());
    if key.expose().is_empty() {
        return Err(Fault::bad_request(
            "'key' must be specified in request body as JSON, or 'reset' set to true",
        ));
    }
    zone.system.unseal(&key, &client).await.map_err(fault)?;
    seal_status(zone, inbound).await
}

/// The client's view of a system error.
pub(super) fn fault(error: SystemError) -> Fault {
    let mut fault = match &error {
        SystemError::Invalid(text) => Fault::bad_request(text.clone()),
        SystemError::Sealed => Fault::new(503, "Vault is sealed"),
        SystemError::AlreadyInitialised | SystemError::NotInitialised => {
            Fault::bad_request(error.to_string())
        }
        SystemError::Barrier(_) => Fault::new(503, "storage is not available"),
        SystemError::Access(access) => return super::sys::access_fault(access),
        _ => Fault::new(500, "internal error"),
    };
    if fault.status >= 500 {
        fault.internal = Some(chain(&error));
    }
    fault
}
