//! `sys/mounts`, tuning, and what the clients' preflight asks.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use zone_access::{LeaseTimes, Mount, MountKind, NewMount, Operation, TokenChoice};

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use super::sys_auth;
use crate::Zone;

pub(super) async fn mounts(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let operation = call.permit.operation();
    let path = tail.trim_end_matches('/');
    if let Some(path) = path.strip_suffix("/tune") {
        // The same as at sys/auth, so the same rights: there it needs sudo.
        let by_another_door = path.starts_with("auth/") && writes(call);
        if by_another_door && !call.permit.sudo() {
            return Err(Fault::denied());
        }
        return tune(zone, call, path).await;
    }
    match (operation, path) {
        (Operation::Read | Operation::List, "") => list(zone),
        // Vault's Go library, and Terraform with it, reads an auth method here.
        (operation, path) if path.starts_with("auth/") && operation != Operation::Read => {
            let text = "auth methods are enabled and disabled at sys/auth";
            Err(Fault::bad_request(text))
        }
        (Operation::Read, path) => {
            let mount = at(zone, path)?;
            Reply::data(&describe(&mount))
        }
        (Operation::Delete, path) if !path.is_empty() => {
            let mount = at(zone, path).ok();
            zone.system.access().disable(&call.permit, path).await?;
            if let Some(mount) = mount {
                zone.pki.forget_mount(&mount.id);
            }
            Ok(Reply::NoContent)
        }
        (_, path) if writes(call) && !path.is_empty() => enable(zone, call, path).await,
        _ => Err(Fault::unsupported_operation()),
    }
}

fn list(zone: &Zone) -> Result<Reply, Fault> {
    let mut all = Map::new();
    for mount in zone.system.access().mounts()? {
        if !mount.kind.is_auth() {
            all.insert(mount.path.as_str().to_owned(), describe(&mount));
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
    let mut options = fields.text_map("options")?.unwrap_or_default();
    let (kind, version) = engine(&fields.required("type")?, options.get("version"))?;
    if let Some(version) = version {
        options.insert("version".into(), version.into());
    }
    let mut new = NewMount {
        description: fields.text("description")?.unwrap_or_default(),
        options,
        ..NewMount::default()
    };
    if let Some(config) = fields.object("config")? {
        configure(&mut new, config, kind)?;
    }
    let access = zone.system.access();
    access.enable(&call.permit, kind, path, new).await?;
    Ok(Reply::NoContent)
}

/// The engine, and for KV its version. Without one Vault makes version 1.
fn engine(
    kind: &str,
    version: Option<&String>,
) -> Result<(MountKind, Option<&'static str>), Fault> {
    match (kind, version.map(String::as_str)) {
        ("kv" | "generic" | "kv-v1", None | Some("1")) => Ok((MountKind::Kv, Some("1"))),
        ("kv" | "generic" | "kv-v2", Some("2")) | ("kv-v2", None) => Ok((MountKind::Kv, Some("2"))),
        ("kv" | "generic" | "kv-v1" | "kv-v2", _) => Err(Fault::bad_request(
            "field 'options': version is 1 or 2, and that of the type if it names one",
        )),
        ("pki", _) => Ok((MountKind::Pki, None)),
        _ => {
            let text = "field 'type': there is no such engine; kv, kv-v2 and pki exist";
            Err(Fault::bad_request(text))
        }
    }
}

/// `tune` of the mount at `path`, here and at `sys/auth`.
pub(super) async fn tune(zone: &Zone, call: &Call, path: &str) -> Result<Reply, Fault> {
    let mount = at(zone, path)?;
    if call.permit.operation() == Operation::Read {
        let mut shown = shown_config(&mount, zone.system.access().lease_times(&mount));
        sys_auth::show_lockout(&mount, &mut shown);
        shown["description"] = mount.description.clone().into();
        shown["options"] = options(&mount);
        return Reply::data(&shown);
    }
    if !writes(call) {
        return Err(Fault::unsupported_operation());
    }
    refuse_untunable(mount.kind)?;
    // Judged on a copy first: below, where other changes wait, nothing can be refused.
    let mut copy = NewMount {
        options: mount.options.clone(),
        ..NewMount::default()
    };
    change(&mut copy, &call.data, mount.kind)?;
    let (data, kind) = (&call.data, mount.kind);
    let tuned = zone.system.access().tune(&call.permit, path, |mount| {
        let judged = change(mount, data, kind);
        debug_assert!(judged.is_ok(), "the copy took it");
    });
    tuned.await?;
    Ok(Reply::NoContent)
}

/// Vault's list. What the trail keeps in the clear of `sys/` would be key shares.
fn refuse_untunable(kind: MountKind) -> Result<(), Fault> {
    match kind {
        MountKind::System | MountKind::Cubbyhole | MountKind::Identity => {
            let text = format!("cannot tune the mount of {}", kind.as_str());
            Err(Fault::bad_request(text))
        }
        _ => Ok(()),
    }
}

/// What `tune` may change.
fn change(mount: &mut NewMount, given: &Map<String, Value>, kind: MountKind) -> Result<(), Fault> {
    let fields = Fields(given);
    configure(mount, given, kind)?;
    if let Some(description) = fields.text("description")? {
        mount.description = description;
    }
    if kind == MountKind::Kv
        && let Some(version) = fields
            .text_map("options")?
            .and_then(|mut all| all.remove("version"))
    {
        let now = mount.options.get("version").map_or("1", String::as_str);
        match (now, version.as_str()) {
            ("1", "1") | ("2", "2") => {}
            ("1", "2") => drop(mount.options.insert("version".into(), version)),
            ("2", "1") => {
                return Err(Fault::bad_request("a KV mount cannot go back to version 1"));
            }
            _ => return Err(Fault::bad_request("field 'options': version is 1 or 2")),
        }
    }
    Ok(())
}

/// Reads what can be configured when a mount is made and later.
pub(super) fn configure(
    new: &mut NewMount,
    given: &Map<String, Value>,
    kind: MountKind,
) -> Result<(), Fault> {
    let fields = Fields(given);
    sys_auth::configure(&mut new.config, &fields, kind)?;
    if let Some(secs) = fields.seconds("default_lease_ttl")? {
        new.config.default_lease_ttl = secs;
    }
    if let Some(secs) = fields.seconds("max_lease_ttl")? {
        new.config.max_lease_ttl = secs;
    }
    if let Some(flag) = fields.flag("force_no_cache")? {
        new.config.force_no_cache = flag;
    }
    match fields.text("listing_visibility")?.as_deref() {
        None => {}
        Some(word @ ("" | "hidden" | "unauth")) => new.config.listing_visibility = word.into(),
        Some(_) => {
            return Err(Fault::bad_request(
                "field 'listing_visibility': expected hidden or unauth",
            ));
        }
    }
    if let Some(keys) = fields.list("audit_non_hmac_request_keys")? {
        new.config.audit_non_hmac_request_keys = keys;
    }
    if let Some(keys) = fields.list("audit_non_hmac_response_keys")? {
        new.config.audit_non_hmac_response_keys = keys;
    }
    Ok(())
}

/// `sys/internal/ui/mounts`: what `vault kv` asks before its first call. Tells of a mount only to
/// a caller who may do something below it; an unknown mount gets the same 403, so that nobody can
/// find mounts by asking.
pub(super) async fn internal(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    if tail == "specs/openapi" {
        return super::openapi::serve(zone, call);
    }
    let Some(path) = tail.strip_prefix("ui/mounts") else {
        return Err(Fault::unsupported_path());
    };
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    let access = zone.system.access();
    let path = path.trim_start_matches('/');
    if !path.is_empty() {
        let whole = format!("{}/", path.trim_end_matches('/'));
        let mount = access
            .mount_of(&whole)?
            .filter(|mount| access.sees(&call.permit, mount));
        let mount = mount.ok_or_else(|| {
            Fault::new(403, "preflight capability check returned 403, please ensure client's policies grant access to path")
        })?;
        let mut shown = describe(&mount);
        shown["path"] = mount.path.as_str().into();
        return Reply::data(&shown);
    }
    let (mut secret, mut auth) = (Map::new(), Map::new());
    for mount in access.mounts()? {
        let public = mount.config.listing_visibility == "unauth";
        if public || access.sees(&call.permit, &mount) {
            let path = mount.path.as_str();
            match path.strip_prefix("auth/") {
                Some(path) => auth.insert(path.to_owned(), describe(&mount)),
                None => secret.insert(path.to_owned(), describe(&mount)),
            };
        }
    }
    Reply::data(&json!({ "secret": secret, "auth": auth }))
}

/// `sys/remount` and `sys/remount/status/ID`.
pub(super) async fn remount(zone: &Zone, call: &Call, tail: &str) -> Result<Reply, Fault> {
    let access = zone.system.access();
    if tail.is_empty() && writes(call) {
        let fields = Fields(&call.data);
        let (from, to) = (fields.required("from")?, fields.required("to")?);
        let id = access.remount(&call.permit, &from, &to).await?;
        return Reply::data(&json!({ "migration_id": id }));
    }
    let id = tail.strip_prefix("status/").filter(|id| !id.is_empty());
    let Some(id) = id else {
        return Err(match tail {
            "" => Fault::unsupported_operation(),
            _ => Fault::unsupported_path(),
        });
    };
    if call.permit.operation() != Operation::Read {
        return Err(Fault::unsupported_operation());
    }
    let moved = access.remounted(&call.permit, id).await?;
    let moved = moved.ok_or_else(Fault::not_found)?;
    Reply::data(&json!({
        "migration_id": id,
        "migration_info": {
            "source_mount": moved.from,
            "target_mount": moved.to,
            "status": "success",
        },
    }))
}

/// The mount at exactly `path`.
pub(super) fn at(zone: &Zone, path: &str) -> Result<Arc<Mount>, Fault> {
    let whole = format!("{path}/");
    let found = zone
        .system
        .access()
        .mount_of(&whole)?
        .filter(|mount| mount.path.as_str() == whole);
    found.ok_or_else(|| {
        // Terraform knows by these words that there is nothing any more.
        Fault::bad_request(match whole.starts_with("auth/") {
            true => "No auth engine at that path",
            false => "No secret engine mount at that path",
        })
    })
}

fn shown_config(mount: &Mount, times: LeaseTimes) -> Value {
    let mut shown = configured(mount);
    shown["default_lease_ttl"] = times.default.into();
    shown["max_lease_ttl"] = times.max.into();
    shown
}

/// The configuration as it was set; what is unset and optional is left out, as in Vault.
fn configured(mount: &Mount) -> Value {
    let config = &mount.config;
    let mut shown = json!({
        "default_lease_ttl": config.default_lease_ttl,
        "max_lease_ttl": config.max_lease_ttl,
        "force_no_cache": config.force_no_cache,
    });
    if mount.kind.is_auth() {
        let choice = config.token_type.unwrap_or(TokenChoice::DefaultService);
        shown["token_type"] = choice.as_str().into();
    }
    if !config.listing_visibility.is_empty() {
        shown["listing_visibility"] = config.listing_visibility.clone().into();
    }
    for (name, keys) in [
        (
            "audit_non_hmac_request_keys",
            &config.audit_non_hmac_request_keys,
        ),
        (
            "audit_non_hmac_response_keys",
            &config.audit_non_hmac_response_keys,
        ),
    ] {
        if !keys.is_empty() {
            shown[name] = json!(keys);
        }
    }
    shown
}

fn options(mount: &Mount) -> Value {
    if mount.options.is_empty() {
        Value::Null
    } else {
        json!(mount.options)
    }
}

/// A mount, as lists show it.
pub(super) fn describe(mount: &Mount) -> Value {
    json!({
        "accessor": mount.accessor,
        "config": configured(mount),
        "description": mount.description,
        "external_entropy_access": false,
        "local": false,
        "options": options(mount),
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": false,
        "type": mount.kind.as_str(),
        "uuid": mount.uuid,
    })
}
