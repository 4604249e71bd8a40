//! `identity/group` and `identity/group-alias`.

use serde::Serialize;
use serde_json::{Map, Value, json};
use zone_access::identity::{GroupAlias, GroupAsk, GroupKind, GroupView};
use zone_access::{Access, Operation};
use zone_types::GroupId;

use super::super::exchange::{Call, Fault, Reply};
use super::super::fields::Fields;
use super::super::sys::writes;
use super::{Wanted, Which, add_mount, alias_ask, filled, keys_with_info};

pub(super) async fn handle(access: &Access, call: &Call, which: Which<'_>) -> Result<Reply, Fault> {
    let permit = &call.permit;
    if writes(call) {
        return write(access, call, which).await;
    }
    let found = match which {
        Which::Id(id) => access.group(permit, id).await?,
        Which::Name(name) => access.group_by_name(permit, name).await?,
        Which::Any => return Err(Fault::unsupported_operation()),
    };
    match (permit.operation(), found) {
        (Operation::Read, Some(group)) => Reply::data(&told(access, &group).await?),
        (Operation::Read, None) => Err(Fault::not_found()),
        (Operation::Delete, Some(group)) => {
            access
                .delete_group(permit, group.record.id.as_str())
                .await?;
            Ok(Reply::NoContent)
        }
        (Operation::Delete, None) => Ok(Reply::NoContent),
        _ => Err(Fault::unsupported_operation()),
    }
}

/// 200 with the id of a new group, 204 for one that was there.
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
    let kind = match filled(&fields, "type")? {
        Some(word) => Some(GroupKind::parse(&word).ok_or_else(|| {
            Fault::bad_request("field 'type': invalid group type, expected internal or external")
        })?),
        None => None,
    };
    let ask = GroupAsk {
        id,
        name,
        kind,
        policies: fields.list("policies")?,
        metadata: fields.text_map("metadata")?,
        member_entities: fields.list("member_entity_ids")?,
        member_groups: fields.list("member_group_ids")?,
    };
    match access.write_group(&call.permit, ask).await? {
        (_, false) => Ok(Reply::NoContent),
        (record, true) => Reply::data(&json!({ "id": record.id, "name": record.name })),
    }
}

/// 204 if there is none.
pub(super) async fn look_up(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let permit = &call.permit;
    let found = match Wanted::read(call)? {
        Wanted::Id(id) => access.group(permit, &id).await?,
        Wanted::Name(name) => access.group_by_name(permit, &name).await?,
        Wanted::AliasId(id) => access.group_by_alias(permit, &id).await?,
        Wanted::Alias(accessor, name) => access.group_by_factors(permit, &accessor, &name).await?,
    };
    match found {
        Some(group) => Reply::data(&told(access, &group).await?),
        None => Ok(Reply::NoContent),
    }
}

pub(super) async fn list(access: &Access, call: &Call, by_name: bool) -> Result<Reply, Fault> {
    let mut keys = Vec::new();
    let mut info = Map::new();
    for (id, record) in access.groups(&call.permit).await?.entries {
        let members = access.member_counts(&record.id).await?;
        let mut entry = json!({
            "name": record.name,
            "num_member_entities": members.0,
            "num_parent_groups": members.1,
        });
        if let Some(alias) = &record.alias {
            let mut data = json!({
                "id": alias.id,
                "mount_accessor": alias.mount_accessor,
                "name": alias.name,
            });
            add_mount(access, &mut data, &alias.mount_accessor)?;
            entry["alias"] = data;
        }
        keys.push(if by_name { record.name } else { id.clone() });
        info.insert(id, entry);
    }
    keys.sort();
    keys_with_info(&keys, info)
}

/// All of a group.
async fn told(access: &Access, group: &GroupView) -> Result<Value, Fault> {
    let record = &group.record;
    let (entities, groups) = access.members(group).await?;
    let alias = match &record.alias {
        Some(alias) => told_alias(access, alias, &record.id)?,
        None => json!({}),
    };
    Ok(json!({
        "alias": alias,
        "creation_time": record.creation_time,
        "id": record.id,
        "last_update_time": record.last_update_time,
        "member_entity_ids": listed(&entities),
        "member_group_ids": listed(&groups),
        "metadata": record.metadata,
        "modify_index": record.modify_index,
        "name": record.name,
        "namespace_id": record.namespace,
        "parent_group_ids": listed(&group.parents),
        "policies": record.policies,
        "type": record.kind.as_str(),
    }))
}

fn told_alias(access: &Access, alias: &GroupAlias, group: &GroupId) -> Result<Value, Fault> {
    let mut data = json!({
        "canonical_id": group,
        "creation_time": alias.creation_time,
        "id": alias.id,
        "last_update_time": alias.last_update_time,
        "merged_from_canonical_ids": null,
        "metadata": null,
        "mount_accessor": alias.mount_accessor,
        "name": alias.name,
    });
    add_mount(access, &mut data, &alias.mount_accessor)?;
    Ok(data)
}

/// `identity/group-alias`.
pub(super) async fn handle_alias(
    access: &Access,
    call: &Call,
    which: Which<'_>,
) -> Result<Reply, Fault> {
    let permit = &call.permit;
    if writes(call) && !matches!(which, Which::Name(_)) {
        let ask = alias_ask(call, &which)?;
        return match access.write_group_alias(permit, ask).await? {
            Some((id, group)) => Reply::data(&json!({ "canonical_id": group, "id": id })),
            None => Ok(Reply::NoContent),
        };
    }
    let Which::Id(id) = which else {
        return Err(Fault::unsupported_operation());
    };
    match permit.operation() {
        Operation::Read => {
            let found = access.group_by_alias(permit, id).await?;
            let group = found.ok_or_else(Fault::not_found)?;
            let alias = group.record.alias.as_ref().ok_or_else(Fault::not_found)?;
            let mut data = told_alias(access, alias, &group.record.id)?;
            data["namespace_id"] = json!(group.record.namespace);
            Reply::data(&data)
        }
        Operation::Delete => {
            access.delete_group_alias(permit, id).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

pub(super) async fn list_aliases(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let mut keys = Vec::new();
    let mut info = Map::new();
    for (id, (group, alias)) in access.group_aliases(&call.permit).await?.entries {
        let mut data = json!({
            "canonical_id": group,
            "mount_accessor": alias.mount_accessor,
            "name": alias.name,
        });
        add_mount(access, &mut data, &alias.mount_accessor)?;
        keys.push(id.clone());
        info.insert(id, data);
    }
    keys_with_info(&keys, info)
}

/// As in Vault, none is null.
fn listed<T: Serialize>(ids: &[T]) -> Value {
    match ids {
        [] => Value::Null,
        ids => json!(ids),
    }
}
