//! `sys/auth`: auth methods, and what of their mounts can be tuned.

use serde_json::{Map, Value, json};
use zone_access::{Mount, MountConfig, MountKind, NewMount, Operation, TokenChoice, UserLockout};

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use super::sys_mounts::{self, at, describe};
use crate::Zone;

/// Serves one permitted call at `sys/auth`.
pub(super) async fn handle(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let tail = tail.trim_end_matches('/');
    if let Some(path) = tail.strip_suffix("/tune") {
        return sys_mounts::tune(zone, call, &format!("auth/{path}")).await;
    }
    let path = format!("auth/{tail}");
    match call.permit.operation() {
        Operation::Read | Operation::List if tail.is_empty() => list(zone),
        Operation::Read => Reply::data(&describe(&*at(zone, &path)?)),
        Operation::Delete if !tail.is_empty() => {
            let access = zone.system.access();
            access.disable_auth(&call.permit, &path).await?;
            Ok(Reply::NoContent)
        }
        _ if writes(call) && !tail.is_empty() => enable(zone, call, &path).await,
        _ => Err(Fault::unsupported_operation()),
    }
}

fn list(zone: &Zone) -> Result<Reply, Fault> {
    let mut all = Map::new();
    for mount in zone.system.access().mounts()? {
        if let Some(path) = mount.path.as_str().strip_prefix("auth/") {
            all.insert(path.to_owned(), describe(&mount));
        }
    }
    Reply::data(&all)
}

async fn enable(zone: &Zone, call: &Call, path: &str) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    for flag in ["local", "seal_wrap", "external_entropy_access"] {
        if fields.flag(flag)?.unwrap_or(false) {
            let text = format!("field '{flag}' is not supported");
            return Err(Fault::bad_request(text));
        }
    }
    let kind = match fields.required("type")?.as_str() {
        "approle" => MountKind::AppRole,
        "userpass" => MountKind::Userpass,
        _ => {
            let text = "field 'type': there is no such auth method; approle and userpass exist";
            return Err(Fault::bad_request(text));
        }
    };
    if fields
        .text_map("options")?
        .is_some_and(|some| !some.is_empty())
    {
        let text = "field 'options': an auth method of this type has none";
        return Err(Fault::bad_request(text));
    }
    let mut new = NewMount {
        description: fields.text("description")?.unwrap_or_default(),
        ..NewMount::default()
    };
    if let Some(config) = fields.object("config")? {
        sys_mounts::configure(&mut new, config, kind)?;
    }
    let access = zone.system.access();
    access.enable(&call.permit, kind, path, new).await?;
    Ok(Reply::NoContent)
}

/// Reads what only the mounts of auth methods have. A field that would not be obeyed is refused.
pub(super) fn configure(
    config: &mut MountConfig,
    fields: &Fields<'_>,
    kind: MountKind,
) -> Result<(), Fault> {
    for name in [
        "passthrough_request_headers",
        "allowed_response_headers",
        "allowed_managed_keys",
    ] {
        if fields.list(name)?.is_some_and(|some| !some.is_empty()) {
            let text = format!("field '{name}': no engine here reads or sets header fields");
            return Err(Fault::bad_request(text));
        }
    }
    for name in ["plugin_name", "plugin_version"] {
        if fields.text(name)?.is_some_and(|text| !text.is_empty()) {
            let text = format!("field '{name}': there are no plugins");
            return Err(Fault::bad_request(text));
        }
    }
    match fields.text("token_type")?.as_deref() {
        None | Some("") => {}
        Some(_) if !kind.is_auth() || kind == MountKind::Token => {
            let text = "field 'token_type' can be set for auth methods that people log in to";
            return Err(Fault::bad_request(text));
        }
        Some(word) => {
            let choice = TokenChoice::parse(word);
            config.token_type = Some(choice.ok_or_else(|| {
                Fault::bad_request(
                    "field 'token_type': expected default-service, default-batch, service or batch",
                )
            })?);
        }
    }
    if let Some(given) = fields.object("user_lockout_config")? {
        configure_lockout(config, given, kind)?;
    }
    Ok(())
}

fn configure_lockout(
    config: &mut MountConfig,
    given: &Map<String, Value>,
    kind: MountKind,
) -> Result<(), Fault> {
    if kind != MountKind::Userpass {
        let text = "field 'user_lockout_config': only methods with passwords lock users";
        return Err(Fault::bad_request(text));
    }
    let fields = Fields(given);
    let mut lockout = config.user_lockout.unwrap_or_default();
    if let Some(threshold) = fields.number("lockout_threshold")? {
        let text = "field 'lockout_threshold': expected 1 to 1000; lockout_disable turns it off";
        let range = u64::try_from(threshold)
            .ok()
            .filter(|n| (1..=1000).contains(n));
        lockout.threshold = range.ok_or_else(|| Fault::bad_request(text))?;
    }
    let span = |name: &str| -> Result<Option<u64>, Fault> {
        match fields.seconds(name)? {
            Some(0) => Err(Fault::bad_request(format!(
                "field '{name}': must not be zero"
            ))),
            given => Ok(given),
        }
    };
    if let Some(secs) = span("lockout_duration")? {
        lockout.duration = secs;
    }
    let reset = match span("lockout_counter_reset_duration")? {
        None => span("lockout_counter_reset")?,
        given => given,
    };
    lockout.counter_reset = reset.unwrap_or(lockout.counter_reset);
    if let Some(disabled) = fields.flag("lockout_disable")? {
        lockout.disabled = disabled;
    }
    config.user_lockout = Some(lockout);
    Ok(())
}

/// The rules of the lock of `mount`, beside what `tune` shows of each.
pub(super) fn show_lockout(mount: &Mount, shown: &mut Value) {
    if mount.kind != MountKind::Userpass {
        return;
    }
    let UserLockout {
        threshold,
        duration,
        counter_reset,
        disabled,
    } = mount.config.user_lockout.unwrap_or_default();
    shown["user_lockout_config"] = json!({
        "lockout_threshold": threshold,
        "lockout_duration": duration,
        "lockout_counter_reset": counter_reset,
        "disable_lockout": disabled,
    });
    shown["user_lockout_threshold"] = threshold.into();
    shown["user_lockout_duration"] = duration.into();
    shown["user_lockout_counter_reset_duration"] = counter_reset.into();
    shown["user_lockout_disable"] = disabled.into();
}

/// `sys/locked-users`: who is locked, and lifting the lock of one.
pub(super) async fn locked(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let segments: Vec<&str> = tail.split('/').collect();
    match segments[..] {
        [""] if call.permit.operation() == Operation::Read => {
            let accessor = Fields(&call.data).text("mount_accessor")?;
            list_locked(
                zone,
                call,
                accessor.as_deref().filter(|text| !text.is_empty()),
            )
            .await
        }
        [accessor, "unlock", name] if writes(call) => {
            zone.auth.unlock_user(&call.permit, accessor, name).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_path()),
    }
}

async fn list_locked(zone: &Zone, call: &Call, accessor: Option<&str>) -> Result<Reply, Fault> {
    let found = zone.auth.locked_users(&call.permit, accessor).await?;
    let total: usize = found.iter().map(|mount| mount.names.len()).sum();
    let mounts: Vec<Value> = found
        .iter()
        .map(|mount| {
            json!({
                "mount_accessor": mount.mount_accessor,
                "counts": mount.names.len(),
                "alias_identifiers": mount.names,
            })
        })
        .collect();
    let by_namespace = match total {
        0 => json!([]),
        _ => json!([{
            "namespace_id": "root",
            "namespace_path": "",
            "counts": total,
            "mount_accessors": mounts,
        }]),
    };
    Reply::data(&json!({ "by_namespace": by_namespace, "total": total }))
}
