//! What is stored of identity, held against the golden file, which docs/formats/identity.md
//! explains. To make another: keep the old one and the test that reads it, and write it with
//! `ZONEHEAD_WRITE_GOLDEN=1 cargo test -p zone-access`.

use serde_json::Value;
use zone_ports::Key;

use super::*;
use crate::common::records;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/identity-1.json");

type Golden = BTreeMap<String, Value>;

/// One record of each kind at least, but for the work that is only there in between.
async fn make(lab: &Lab) -> Golden {
    let permit = by_root(lab).await;
    let gone = write(lab, entity("gone")).await.unwrap();
    let ask = EntityAsk {
        policies: Some(owned(&["b", "a"])),
        metadata: Some([("team".to_owned(), "blue".to_owned())].into()),
        disabled: Some(true),
        ..entity("Ada")
    };
    let ada = write(lab, ask).await.unwrap();
    alias(lab, &ada, "ada@x").await.unwrap();
    let bob = entity_of(&log_in(lab, "bob", &[]).await.unwrap());
    let inner = GroupAsk {
        policies: Some(owned(&["c"])),
        member_entities: Some(vec![ada.clone(), bob]),
        ..group("inner")
    };
    let inner = write_group(lab, inner).await.unwrap();
    let outer = GroupAsk {
        member_groups: Some(vec![inner]),
        ..group("Outer")
    };
    write_group(lab, outer).await.unwrap();
    let ask = AliasAsk {
        name: Some("cn=ops".into()),
        mount_accessor: Some(accessor(lab, "auth/other")),
        ..AliasAsk::default()
    };
    lab.access.write_group_alias(&permit, ask).await.unwrap();
    let from = [gone];
    let merged = lab.access.merge_entities(&permit, &ada, &from, &[]);
    merged.await.unwrap();
    stored(lab).await
}

async fn stored(lab: &Lab) -> Golden {
    records(lab, &super::store::identity_area(lab)).await
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap()
}

#[tokio::test]
async fn records_are_written_as_specified() {
    let made = make(&lab().await).await;
    if std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some() && !std::path::Path::new(FILE).exists() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let golden = golden();
    // The ids are drawn from all that is random in a zone; their shape is compared.
    let shape = |records: &Golden| -> Vec<(String, Value)> {
        let kind = |key: &String| key.split('/').next().unwrap_or_default().to_owned();
        let mut shapes: Vec<_> = records
            .iter()
            .map(|(key, value)| (kind(key), without_ids(value)))
            .collect();
        shapes.sort_by_key(|(kind, value)| format!("{kind}{value}"));
        shapes
    };
    assert_eq!(shape(&made), shape(&golden));
}

fn without_ids(value: &Value) -> Value {
    match value {
        Value::String(text) if zone_types::EntityId::parse(text).is_ok() => "UUID".into(),
        Value::String(text) if text.contains("approle_") => "ACCESSOR".into(),
        Value::String(text) if text.starts_with("entity_") => "entity_NAME".into(),
        Value::String(text) if text.starts_with("group_") => "group_NAME".into(),
        Value::Array(items) => items.iter().map(without_ids).collect(),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| (key.clone(), without_ids(value));
            Value::Object(map.iter().map(entry).collect())
        }
        other => other.clone(),
    }
}

/// Puts the golden records into a zone.
async fn loaded(golden: &Golden) -> Lab {
    let lab = Lab::new().await;
    let area = super::store::identity_area(&lab);
    for (key, value) in golden {
        let key = Key::new(format!("{area}{key}")).unwrap();
        let batch = Batch::new().put(key, value.to_string());
        lab.barrier.commit(batch).await.unwrap();
    }
    lab
}

/// What can be read without the names' codes, which are the zone's own.
async fn read(lab: &Lab, golden: &Golden) -> Result<(usize, usize, usize), AccessError> {
    let permit = by_root(lab).await;
    let entities = lab.access.entities(&permit).await?.entries.len();
    let groups = lab.access.groups(&permit).await?.entries.len();
    let mut members = 0;
    for key in golden.keys() {
        let parts: Vec<&str> = key.split('/').collect();
        match parts[..] {
            ["group", id] => {
                if let Some(group) = lab.access.group(&permit, id).await? {
                    let (entities, groups) = lab.access.members(&group).await?;
                    members += entities.len() + groups.len();
                }
            }
            ["entity", id] => drop(lab.access.entity(&permit, id).await?),
            ["alias", id] => drop(lab.access.alias(&permit, id).await?),
            ["group-alias", id] => drop(lab.access.group_by_alias(&permit, id).await?),
            _ => {}
        }
    }
    Ok((entities, groups, members))
}

#[tokio::test]
async fn records_of_old_heads_are_read() {
    let golden = golden();
    let lab = loaded(&golden).await;
    assert_eq!(read(&lab, &golden).await.unwrap(), (2, 3, 3));
}

#[tokio::test]
async fn what_is_not_version_1_is_refused() {
    let golden = golden();
    let told = ["entity", "group", "alias", "group-alias"];
    for (key, value) in &golden {
        if !told.contains(&key.split('/').next().unwrap_or_default()) {
            continue;
        }
        let mut newer = value.clone();
        newer["v"] = 2.into();
        let mut unknown = value.clone();
        unknown["limits_more"] = true.into();
        for changed in [newer, unknown] {
            let mut records = golden.clone();
            records.insert(key.clone(), changed);
            let lab = loaded(&records).await;
            let result = read(&lab, &golden).await;
            assert!(matches!(result, Err(AccessError::Corrupt)), "{key}");
        }
    }
}
