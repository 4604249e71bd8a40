//! `identity/entity-alias`.

use serde_json::{Map, json};
use zone_access::{Access, Operation};

use super::super::exchange::{Call, Fault, Reply};
use super::super::sys::writes;
use super::entity::told_alias;
use super::{Which, add_mount, alias_ask, keys_with_info};

pub(super) async fn handle(access: &Access, call: &Call, which: Which<'_>) -> Result<Reply, Fault> {
    let permit = &call.permit;
    if writes(call) && !matches!(which, Which::Name(_)) {
        let ask = alias_ask(call, &which)?;
        return match access.write_alias(permit, ask).await? {
            Some((id, entity)) => Reply::data(&json!({ "canonical_id": entity, "id": id })),
            None => Ok(Reply::NoContent),
        };
    }
    let Which::Id(id) = which else {
        return Err(Fault::unsupported_operation());
    };
    match permit.operation() {
        Operation::Read => {
            let found = access.alias(permit, id).await?;
            let (entity, alias) = found.ok_or_else(Fault::not_found)?;
            let mut data = told_alias(access, &alias, &entity.record.id)?;
            data["namespace_id"] = json!(entity.record.namespace);
            Reply::data(&data)
        }
        Operation::Delete => {
            access.delete_alias(permit, id).await?;
            Ok(Reply::NoContent)
        }
        _ => Err(Fault::unsupported_operation()),
    }
}

pub(super) async fn list(access: &Access, call: &Call) -> Result<Reply, Fault> {
    let mut keys = Vec::new();
    let mut info = Map::new();
    for (id, (entity, alias)) in access.aliases(&call.permit).await?.entries {
        let mut data = json!({
            "canonical_id": entity,
            "custom_metadata": alias.custom_metadata,
            "local": false,
            "mount_accessor": alias.mount_accessor,
            "name": alias.name,
        });
        add_mount(access, &mut data, &alias.mount_accessor)?;
        keys.push(id.clone());
        info.insert(id, data);
    }
    keys_with_info(&keys, info)
}
