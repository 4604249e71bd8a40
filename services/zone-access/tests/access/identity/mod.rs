//! Identity: who is behind a token, and what comes to him by that.

mod attacks;
mod authorization;
mod crash;
mod groups;
mod records;
mod store;

use std::collections::BTreeMap;

use zone_access::identity::{AliasAsk, EntityAsk, GroupAsk, GroupKind};
use zone_access::{
    AccessError, AliasName, Created, LoginGrant, MountKind, NewMount, Operation, Permit,
};
use zone_barrier::Batch;
use zone_testkit::Lab;

use crate::common::{at_login, root_at};

/// A zone with AppRole at `auth/approle/` and a second one at `auth/other/`.
async fn lab() -> Lab {
    let lab = Lab::new().await;
    for path in ["auth/approle", "auth/other"] {
        let permit = root_at(&lab, &format!("sys/{path}")).await;
        let mount = lab
            .access
            .enable(&permit, MountKind::AppRole, path, NewMount::default());
        mount.await.unwrap();
    }
    lab
}

fn accessor(lab: &Lab, path: &str) -> String {
    let mount = lab.access.mount_of(&format!("{path}/x")).unwrap().unwrap();
    mount.accessor.clone()
}

fn grant(name: &str, policies: &[&str]) -> LoginGrant {
    LoginGrant {
        alias: Some(AliasName {
            name: name.to_owned(),
            metadata: BTreeMap::new(),
        }),
        policies: owned(policies),
        ..LoginGrant::default()
    }
}

/// `name` logs in at `auth/approle/`.
async fn log_in(lab: &Lab, name: &str, policies: &[&str]) -> Result<Created, AccessError> {
    let permit = at_login(lab, "auth/approle").await;
    let grant = grant(name, policies);
    let made = lab.access.log_in(&permit, &grant, Batch::new()).await?;
    Ok(made.expect("no condition fails"))
}

fn entity_of(token: &Created) -> String {
    token.entry.record.entity.clone().unwrap().to_string()
}

/// A permit of root somewhere below `identity/`.
async fn by_root(lab: &Lab) -> Permit {
    root_at(lab, "identity/entity").await
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn entity(name: &str) -> EntityAsk {
    EntityAsk {
        name: Some(name.to_owned()),
        ..EntityAsk::default()
    }
}

fn group(name: &str) -> GroupAsk {
    GroupAsk {
        name: Some(name.to_owned()),
        kind: None,
        ..GroupAsk::default()
    }
}

/// Root writes an entity. Its id.
async fn write(lab: &Lab, ask: EntityAsk) -> Result<String, AccessError> {
    let permit = by_root(lab).await;
    let (record, _) = lab.access.write_entity(&permit, ask).await?;
    Ok(record.id.to_string())
}

/// Root writes a group. Its id.
async fn write_group(lab: &Lab, ask: GroupAsk) -> Result<String, AccessError> {
    let permit = by_root(lab).await;
    let (record, _) = lab.access.write_group(&permit, ask).await?;
    Ok(record.id.to_string())
}

/// Root gives an entity an alias. Its id.
async fn alias(lab: &Lab, entity: &str, name: &str) -> Result<String, AccessError> {
    let permit = by_root(lab).await;
    let ask = AliasAsk {
        name: Some(name.to_owned()),
        mount_accessor: Some(accessor(lab, "auth/approle")),
        canonical_id: Some(entity.to_owned()),
        ..AliasAsk::default()
    };
    let made = lab.access.write_alias(&permit, ask).await?;
    Ok(made.unwrap().0.to_string())
}

fn external(name: &str) -> GroupAsk {
    GroupAsk {
        kind: Some(GroupKind::External),
        ..group(name)
    }
}

fn allows(path: &str, word: &str) -> String {
    format!("path {path:?} {{ capabilities = [{word:?}] }}\n")
}

/// Whether the token may read `path`.
async fn reads(lab: &Lab, token: &Created, path: &str) -> bool {
    let permit = lab.permit_of(&token.text, Operation::Read, path).await;
    permit.is_ok()
}
