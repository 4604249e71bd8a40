//! `identity/entity`.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use zone_access::identity::{Alias, EntityAsk, EntityRecord, EntityView};
use zone_access::{Access, Operation};
use zone_types::EntityId;

use super::super::exchange::{Call, Fault, Reply};
use super::super::fields::Fields;
use super::super::sys::writes;
use super::{Wanted, Which, add_mount, filled, keys_with_info};

pub(super) async fn handle(access: &Access, call: &Call, which: Which<'_>) -> Result<Reply, Fault> {
    let permit = &call.permit;
    if writes(call) {
        return write(access, call, which).await;
    }
    let found = match which {
        Which::Id(id) => access.entity(permit, id).await?,
        Which::Name(name) => access.entity_by_name(permit, name).await?,
        Which::Any => return Err(Fault::unsupported_operation()),
    };
    match (permit.operation(), found) {
        (Operation::Read, Some(entity)) => Reply::data(&told(access, &entity).await?),
        (Operation::Read, None) => Err(Fault::not_found()),
        (Operation::Delete, Some(entity)) => {
            let id = entity.record.id.as_str();
            access.delete_entity(permit, id).await?;
            Ok(Reply::NoContent)
        }
        (Operation::Delete, None) => Ok(Reply::NoContent),
        _ => Err(Fault::unsupported_operation()),
    }
}

/// 200 with the id of a new entity, 204 for one that was there.
async fn write(access: &Access, call: &Call, which: Which<'_>) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let name = match which {
        Which::Name(name) => Some(name.to_owned()),
        _ => filled(&fields, "name")?,
    };
    let id = match which {
        Which::Id(id) => Some(id.to_owned()),
        Which::Any => filled(&fields, "id")?,
        Which::Name(_) => None,
    };
    let ask = EntityAsk {
        id,
        name,
        policies: fields.list("policies")?,
        metadata: fields.text_map("metadata")?,
        disabled: fields.flag("disabled")?,
    };
    match access.write_entity(&call.permit, ask).await? {
        (_, false) => Ok(Reply::NoContent),
        (record, true) => Reply::data(&json!({
            "aliases": null,
            "id": record.id,
            "name": record.name,
        })),
    }
}

pub(super) async fn merge(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    let to = filled(&fields, "to_entity_id")?
        .ok_or_else(|| Fault::bad_request("missing entity id to merge to"))?;
    let from = fields.list("from_entity_ids")?.unwrap_or_default();
    if from.is_empty() {
        return Err(Fault::bad_request("missing entity ids to merge from"));
    }
    // It settles conflicts of MFA secrets, of which there are none.
    fields.flag("force")?;
    let keep = fields.list("conflicting_alias_ids_to_keep")?;
    access
        .merge_entities(&call.permit, &to, &from, &keep.unwrap_or_default())
        .await?;
    Ok(Reply::NoContent)
}

pub(super) async fn batch_delete(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let ids = Fields(&call.data).list("entity_ids")?.unwrap_or_default();
    if ids.is_empty() {
        return Err(Fault::bad_request("missing entity ids to delete"));
    }
    access.delete_entities(&call.permit, &ids).await?;
    Ok(Reply::NoContent)
}

/// 204 if there is none.
pub(super) async fn look_up(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let permit = &call.permit;
    let of_alias = |found: Option<(Arc<EntityView>, Alias)>| found.map(|(entity, _)| entity);
    let found = match Wanted::read(call)? {
        Wanted::Id(id) => access.entity(permit, &id).await?,
        Wanted::Name(name) => access.entity_by_name(permit, &name).await?,
        Wanted::AliasId(id) => of_alias(access.alias(permit, &id).await?),
        Wanted::Alias(accessor, name) => {
            of_alias(access.alias_by_factors(permit, &accessor, &name).await?)
        }
    };
    match found {
        Some(entity) => Reply::data(&told(access, &entity).await?),
        None => Ok(Reply::NoContent),
    }
}

pub(super) async fn list(access: &Access, call: &Call, by_name: bool) -> Result<Reply, Fault> {
    let mut keys = Vec::new();
    let mut info = Map::new();
    for (id, record) in access.entities(&call.permit).await?.entries {
        let mut entry = json!({ "name": record.name });
        if !record.aliases.is_empty() {
            let brief = |alias| brief(access, alias);
            let aliases: Result<Vec<_>, _> = record.aliases.iter().map(brief).collect();
            entry["aliases"] = aliases?.into();
        }
        keys.push(if by_name { record.name } else { id.clone() });
        info.insert(id, entry);
    }
    keys.sort();
    keys_with_info(&keys, info)
}

fn brief(access: &Access, alias: &Alias) -> Result<Value, Fault> {
    let mut data = json!({
        "id": alias.id,
        "mount_accessor": alias.mount_accessor,
        "name": alias.name,
    });
    add_mount(access, &mut data, &alias.mount_accessor)?;
    Ok(data)
}

/// All of an entity.
async fn told(access: &Access, entity: &EntityView) -> Result<Value, Fault> {
    let record = &entity.record;
    let (direct, inherited) = access.groups_of_entity(entity).await?;
    let all: Vec<_> = direct.iter().chain(&inherited).collect();
    Ok(json!({
        "aliases": aliases(access, record)?,
        "creation_time": record.creation_time,
        "direct_group_ids": direct,
        "disabled": record.disabled,
        "group_ids": all,
        "id": record.id,
        "inherited_group_ids": inherited,
        "last_update_time": record.last_update_time,
        "merged_entity_ids": listed(&record.merged),
        "metadata": record.metadata,
        "name": record.name,
        "namespace_id": record.namespace,
        "policies": record.policies,
    }))
}

fn aliases(access: &Access, record: &EntityRecord) -> Result<Vec<Value>, Fault> {
    let tell = |alias| told_alias(access, alias, &record.id);
    record.aliases.iter().map(tell).collect()
}

/// All of an alias.
pub(super) fn told_alias(
    access: &Access,
    alias: &Alias,
    entity: &EntityId,
) -> Result<Value, Fault> {
    let mut data = json!({
        "canonical_id": entity,
        "creation_time": alias.creation_time,
        "custom_metadata": alias.custom_metadata,
        "id": alias.id,
        "last_update_time": alias.last_update_time,
        "local": false,
        "merged_from_canonical_ids": listed(&alias.merged_from),
        "metadata": alias.metadata,
        "mount_accessor": alias.mount_accessor,
        "name": alias.name,
    });
    add_mount(access, &mut data, &alias.mount_accessor)?;
    Ok(data)
}

/// As in Vault, none is null.
fn listed(ids: &[EntityId]) -> Value {
    match ids {
        [] => Value::Null,
        ids => json!(ids),
    }
}
