//! The head itself: its machine, its log, its requests, its versions, its store in the raw.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use zone_access::Operation;
use zone_ports::LogLevel;

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use crate::Zone;

/// `sys/host-info`.
pub(super) async fn host_info(zone: &Zone) -> Result<Reply, Fault> {
    let host = zone.host.clone();
    // It reads files.
    let facts = tokio::task::spawn_blocking(move || host.facts()).await;
    let facts = facts.map_err(|_| Fault::internal("the host could not be asked"))?;
    let used = |total: u64, free: u64| {
        let used = total.saturating_sub(free);
        let percent = if total > 0 {
            used as f64 * 100.0 / total as f64
        } else {
            0.0
        };
        (used, percent)
    };
    let disks = facts.disks.iter().map(|disk| {
        let (used, percent) = used(disk.total, disk.free);
        json!({
            "path": disk.path,
            "total": disk.total,
            "free": disk.free,
            "used": used,
            "usedPercent": percent,
        })
    });
    let disks: Vec<Value> = disks.collect();
    let memory = facts.memory;
    let (memory_used, memory_percent) = used(memory.total, memory.available);
    Reply::data(&json!({
        "timestamp": zone.system.wall_clock(),
        "cpu": [{ "cpu": 0, "cores": facts.cpus, "modelName": facts.cpu_model }],
        "load": { "load1": facts.load[0], "load5": facts.load[1], "load15": facts.load[2] },
        "disk": disks,
        "host": {
            "hostname": facts.hostname,
            "os": facts.os,
            "platform": facts.platform,
            "platformVersion": facts.platform_version,
            "kernelVersion": facts.kernel,
            "kernelArch": facts.arch,
            "uptime": facts.uptime,
            "bootTime": facts.boot_time,
            "procs": facts.processes,
        },
        "memory": {
            "total": memory.total,
            "available": memory.available,
            "free": memory.free,
            "used": memory_used,
            "usedPercent": memory_percent,
        },
    }))
}

/// `sys/loggers` and `sys/loggers/NAME`.
pub(super) fn loggers(zone: &Zone, call: &Call, name: &str) -> Result<Reply, Fault> {
    let part = (!name.is_empty()).then_some(name);
    let unknown = || Fault::bad_request("there is no logger of that name");
    match call.permit.operation() {
        Operation::Read => {
            let levels = zone.log.levels();
            let shown = levels
                .iter()
                .filter(|(known, _)| part.is_none_or(|part| part == *known));
            let shown: Map<String, Value> = shown
                .map(|(known, level)| ((*known).to_owned(), level.as_str().into()))
                .collect();
            match shown.is_empty() {
                true => Err(unknown()),
                false => Reply::data(&shown),
            }
        }
        Operation::Delete => match zone.log.reset(part) {
            true => Ok(Reply::NoContent),
            false => Err(unknown()),
        },
        _ if writes(call) => {
            let level = Fields(&call.data).required("level")?;
            let level = LogLevel::parse(&level).ok_or_else(|| {
                let text = "field 'level': expected trace, debug, info, warn or error";
                Fault::bad_request(text)
            })?;
            match zone.log.set(part, level) {
                true => Ok(Reply::NoContent),
                false => Err(unknown()),
            }
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

/// `sys/in-flight-req`: the requests by their ids, without an envelope, as Vault documents it.
pub(super) fn in_flight(zone: &Zone) -> Result<Reply, Fault> {
    let mut all = Map::new();
    for (id, request) in zone.in_flight.all() {
        let shown = json!({
            "start_time": request.since,
            "client_remote_address": request.client.to_string(),
            "request_path": format!("/v1/{}", request.path),
            "request_method": request.method,
            "client_id": request.client_id(),
        });
        all.insert(id, shown);
    }
    Ok(Reply::Raw {
        content_type: "application/json",
        body: Value::Object(all).to_string().into_bytes(),
    })
}

/// `sys/version-history`.
pub(super) async fn version_history(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let mut keys = Vec::new();
    let (mut info, mut previous) = (Map::new(), Value::Null);
    for one in zone.system.version_history(&call.permit).await? {
        let shown = json!({
            "previous_version": previous,
            "timestamp_installed": one.at,
            "build_date": "",
        });
        previous = one.version.clone().into();
        if info.insert(one.version.clone(), shown).is_none() {
            keys.push(one.version);
        }
    }
    Reply::data(&json!({ "keys": keys, "key_info": info }))
}

/// `sys/raw/PATH`, if the configuration says so.
pub(super) async fn raw(zone: &Zone, call: &Call, path: &str) -> Result<Reply, Fault> {
    if !zone.raw_storage {
        return Err(Fault::unsupported_path());
    }
    let (system, permit, fields) = (&zone.system, &call.permit, Fields(&call.data));
    if fields.flag("compressed")?.unwrap_or(false) {
        let text = "field 'compressed': values are never compressed here";
        return Err(Fault::bad_request(text));
    }
    let base64 = match fields.text("encoding")?.as_deref() {
        None | Some("") => false,
        Some("base64") => true,
        Some(_) => return Err(Fault::bad_request("field 'encoding': expected base64")),
    };
    match permit.operation() {
        Operation::List => Reply::keys(&system.raw_list(permit, path).await?),
        Operation::Read => {
            let value = system.raw_read(permit, path).await?;
            let value = value.ok_or_else(Fault::not_found)?;
            let text = match (base64, std::str::from_utf8(&value)) {
                (false, Ok(text)) => text.to_owned(),
                (true, _) => STANDARD.encode(&*value),
                (false, Err(_)) => {
                    let text = "the value is no text: ask with encoding=base64";
                    return Err(Fault::bad_request(text));
                }
            };
            Reply::data(&json!({ "value": text }))
        }
        Operation::Delete => {
            system.raw_delete(permit, path).await?;
            Ok(Reply::NoContent)
        }
        _ if writes(call) => {
            let value = fields.required("value")?;
            let value = match base64 {
                true => STANDARD
                    .decode(value)
                    .map_err(|_| Fault::bad_request("field 'value': expected base64"))?,
                false => value.into_bytes(),
            };
            system.raw_write(permit, path, value).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}
