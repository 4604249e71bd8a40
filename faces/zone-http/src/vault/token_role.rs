//! `auth/token/roles` and `auth/token/revoke-batch`.

use serde_json::{Value, json};
use zone_access::{CutMark, CutOff, Operation, RoleChange, RoleKind, TokenRole, role_name};
use zone_types::{EntityId, RequestPath, Timestamp};

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::sys::writes;
use super::token::count;
use crate::Zone;

/// The path that a call below `auth/token/` is judged by and served at: role names have one
/// spelling (A3). `None` if the path stands as it is.
pub(super) fn canonical(path: &RequestPath) -> Option<RequestPath> {
    let bare = path.as_str().trim_end_matches('/');
    for prefix in ["auth/token/roles/", "auth/token/create/"] {
        if let Some(Ok(name)) = bare.strip_prefix(prefix).map(role_name) {
            return RequestPath::from_text(&format!("{prefix}{name}")).ok();
        }
    }
    None
}

/// Serves `auth/token/roles/{name}`.
pub(super) async fn handle(zone: &Zone, call: &Call, name: &str) -> Result<Reply, Fault> {
    let (access, permit) = (zone.system.access(), &call.permit);
    match permit.operation() {
        Operation::List if name.is_empty() => Reply::keys(&access.token_roles(permit).await?),
        Operation::Read if !name.is_empty() => {
            let role = access.token_role(permit, name).await?;
            Reply::data(&shown(&role.ok_or_else(Fault::not_found)?))
        }
        Operation::Delete if !name.is_empty() => {
            access.delete_token_role(permit, name).await?;
            Ok(Reply::NoContent)
        }
        _ if writes(call) && !name.is_empty() => {
            let change = read_change(&Fields(&call.data))?;
            access.write_token_role(permit, name, &change).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

fn read_change(fields: &Fields<'_>) -> Result<RoleChange, Fault> {
    let kind = fields.text("token_type")?.map(|text| {
        RoleKind::parse(&text).ok_or_else(|| Fault::bad_request("invalid 'token_type' value"))
    });
    // The names without `token_` are older.
    let seconds =
        |new, old| -> Result<_, Fault> { Ok(fields.seconds(new)?.or(fields.seconds(old)?)) };
    Ok(RoleChange {
        allowed_policies: fields.list("allowed_policies")?,
        allowed_policies_glob: fields.list("allowed_policies_glob")?,
        disallowed_policies: fields.list("disallowed_policies")?,
        disallowed_policies_glob: fields.list("disallowed_policies_glob")?,
        orphan: fields.flag("orphan")?,
        renewable: fields.flag("renewable")?,
        path_suffix: fields.text("path_suffix")?,
        period: seconds("token_period", "period")?,
        explicit_max_ttl: seconds("token_explicit_max_ttl", "explicit_max_ttl")?,
        num_uses: count(fields, "token_num_uses")?,
        no_default_policy: fields.flag("token_no_default_policy")?,
        bound_cidrs: fields
            .list("token_bound_cidrs")?
            .or(fields.list("bound_cidrs")?),
        token_type: kind.transpose()?,
        allowed_entity_aliases: fields.list("allowed_entity_aliases")?,
    })
}

fn shown(role: &TokenRole) -> Value {
    json!({
        "name": role.name,
        "allowed_policies": role.allowed_policies,
        "allowed_policies_glob": role.allowed_policies_glob,
        "disallowed_policies": role.disallowed_policies,
        "disallowed_policies_glob": role.disallowed_policies_glob,
        "allowed_entity_aliases": role.allowed_entity_aliases,
        "orphan": role.orphan,
        "renewable": role.renewable,
        "path_suffix": role.path_suffix,
        "period": role.period,
        "explicit_max_ttl": role.explicit_max_ttl,
        "token_period": role.period,
        "token_explicit_max_ttl": role.explicit_max_ttl,
        "token_num_uses": role.num_uses,
        "token_no_default_policy": role.no_default_policy,
        "token_bound_cidrs": role.bound_cidrs,
        "token_type": role.token_type.as_str(),
    })
}

/// Serves `auth/token/revoke-batch`: the marks that end batch tokens.
pub(super) async fn revoke_batch(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let (access, fields) = (zone.system.access(), Fields(&call.data));
    if call.permit.operation() == Operation::Read {
        let marks = access.cut_off_marks(&call.permit).await?;
        let marks: Vec<Value> = marks.iter().map(|mark| shown_mark(zone, mark)).collect();
        return Reply::data(&json!({ "marks": marks }));
    }
    let of = read_cut(zone, &fields)?;
    let before = match fields.text("issued_before")?.as_deref() {
        None | Some("" | "now") => None,
        Some(text) => Some(instant(text)?),
    };
    let until = access.cut_off_batch(&call.permit, of, before).await?;
    Reply::data(&json!({ "issued_before": until }))
}

/// Whose tokens: one of `role` (with `mount`), `entity_id` and `all`.
fn read_cut(zone: &Zone, fields: &Fields<'_>) -> Result<CutOff, Fault> {
    let role = fields.text("role")?.filter(|text| !text.is_empty());
    let entity = fields.text("entity_id")?.filter(|text| !text.is_empty());
    let all = fields.flag("all")?.unwrap_or(false);
    match (role, entity, all) {
        (Some(name), None, false) => cut_of_role(zone, fields, name),
        (None, Some(id), false) => match EntityId::parse(&id) {
            Ok(id) => Ok(CutOff::Entity(id)),
            Err(fault) => Err(Fault::bad_request(format!("field 'entity_id': {fault}"))),
        },
        (None, None, true) => Ok(CutOff::All),
        _ => Err(Fault::bad_request(
            "give exactly one of 'role', 'entity_id' and 'all=true'",
        )),
    }
}

fn cut_of_role(zone: &Zone, fields: &Fields<'_>, name: String) -> Result<CutOff, Fault> {
    let access = zone.system.access();
    let path = fields.text("mount")?.filter(|text| !text.is_empty());
    let Some(path) = path else {
        return Ok(CutOff::Role {
            mount: access.token_mount()?.id.clone(),
            name: role_name(&name)?,
        });
    };
    let path = format!("{}/", path.trim_end_matches('/'));
    let mount = access.mount_of(&path)?;
    let mount = mount.filter(|mount| mount.kind.is_auth() && mount.path.as_str() == path);
    match mount {
        Some(mount) => Ok(CutOff::Role {
            mount: mount.id.clone(),
            name,
        }),
        None => Err(Fault::bad_request(
            "field 'mount': no auth method is mounted there (auth/approle/, …)",
        )),
    }
}

fn instant(text: &str) -> Result<Timestamp, Fault> {
    let secs = || text.parse().ok().map(Timestamp::from_secs);
    Timestamp::parse_rfc3339(text).or_else(secs).ok_or_else(|| {
        Fault::bad_request("field 'issued_before': expected RFC 3339, seconds since 1970 or now")
    })
}

fn shown_mark(zone: &Zone, mark: &CutMark) -> Value {
    let mut shown = match &mark.of {
        CutOff::All => json!({ "all": true }),
        CutOff::Entity(id) => json!({ "entity_id": id }),
        CutOff::Role { mount, name } => {
            let mounts = zone.system.access().mounts().unwrap_or_default();
            let found = mounts.iter().find(|known| known.id == *mount);
            json!({ "role": name, "mount": found.map(|mount| mount.path.as_str()) })
        }
    };
    shown["issued_before"] = json!(mark.issued_before);
    shown
}
