//! What a secret's value and keys must not appear in.

use std::collections::BTreeMap;

use zone_access::Operation;
use zone_ports::Store;
use zone_secrets::KvError;
use zone_secrets::kv2::{CustomChange, MetadataUpdate};

use crate::zone::{Zone, object};

const VALUE: &str = "canary-value-93b1";
const NAME: &str = "canary-name-93b1";

fn clean(text: &str) {
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn e1_no_debug_form_shows_a_secret() {
    let zone = Zone::new().await;
    let secret = format!(r#"{{"{NAME}":{{"{NAME}":"{VALUE}"}}}}"#);
    clean(&format!(
        "{:?}",
        zone.write("a", &secret, None).await.unwrap()
    ));
    clean(&format!(
        "{:?}",
        zone.patch("a", &secret, None).await.unwrap()
    ));
    let read = zone.permit(Operation::Read, "data/a").await;
    clean(&format!("{:?}", zone.kv.read(&read, None).await.unwrap()));
    let read = zone.permit(Operation::Read, "subkeys/a").await;
    clean(&format!(
        "{:?}",
        zone.kv.subkeys(&read, None, 0).await.unwrap()
    ));
    let custom = BTreeMap::from([(NAME.to_owned(), VALUE.to_owned())]);
    let custom_metadata = Some(CustomChange::Replace(custom));
    let update = MetadataUpdate {
        custom_metadata,
        ..Default::default()
    };
    clean(&format!("{update:?}"));
    zone.set("a", update).await.unwrap();
    clean(&format!(
        "{:?} {:?}",
        zone.metadata("a").await.unwrap(),
        zone.kv
    ));
}

#[tokio::test]
async fn e1_no_error_holds_what_a_client_sent() {
    let zone = Zone::new().await;
    let secret = format!(r#"{{"{NAME}":"{VALUE}"}}"#);
    let custom = |key: &str, value: &str| {
        let pairs = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        MetadataUpdate {
            custom_metadata: Some(CustomChange::Replace(pairs)),
            ..Default::default()
        }
    };
    let long = format!("{NAME}{}", "x".repeat(600));
    let errors: Vec<KvError> = vec![
        zone.write(NAME, &secret, Some(7)).await.unwrap_err(),
        zone.write(&long, &secret, None).await.unwrap_err(),
        zone.write(&format!("{NAME}/"), &secret, None)
            .await
            .unwrap_err(),
        zone.patch(NAME, &secret, None).await.unwrap_err(),
        zone.metadata(NAME).await.unwrap_err(),
        zone.set(NAME, custom(&long, VALUE)).await.unwrap_err(),
        zone.set(NAME, custom(NAME, &long)).await.unwrap_err(),
        zone.set(NAME, custom(NAME, &format!("{VALUE}\n")))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        clean(&format!("{error} {error:?}"));
    }
}

/// B1. Paths are visible to a store, by design; nothing else is.
#[tokio::test]
async fn b1_the_store_sees_no_value_and_no_key_of_a_secret() {
    let zone = Zone::new().await;
    let large = format!(r#"{{"{NAME}":"{}"}}"#, VALUE.repeat(9000));
    let secret = format!(r#"{{"{NAME}":"{VALUE}"}}"#);
    zone.put("a", &secret).await;
    zone.patch("a", &secret, None).await.unwrap();
    zone.put("b", &large).await;
    let custom = BTreeMap::from([(NAME.to_owned(), VALUE.to_owned())]);
    let custom_metadata = Some(CustomChange::Replace(custom));
    zone.set(
        "a",
        MetadataUpdate {
            custom_metadata,
            ..Default::default()
        },
    )
    .await
    .unwrap();
    for key in zone.lab.store.keys() {
        let value = zone.lab.store.get(&key).await.unwrap().unwrap().value;
        for needle in ["canary", "93b1"] {
            let shown = |bytes: &[u8]| {
                bytes
                    .windows(needle.len())
                    .any(|part| part == needle.as_bytes())
            };
            assert!(!shown(&value) && !shown(key.as_bytes()), "{key:?}");
        }
    }
}

/// B3. A record that was moved to another place is not served.
#[tokio::test]
async fn b3_a_version_swapped_in_the_store_is_refused() {
    let zone = Zone::new().await;
    zone.put("a", r#"{"n":1}"#).await;
    zone.put("a", r#"{"n":2}"#).await;
    let prefix = zone.mount.prefix("v");
    let keys = zone.lab.store.keys();
    let versions: Vec<_> = keys
        .iter()
        .filter(|key| key.as_bytes().starts_with(&prefix))
        .collect();
    let first = zone.lab.store.get(versions[0]).await.unwrap().unwrap();
    zone.lab.store.forge(versions[1], first.value);
    let permit = zone.permit(Operation::Read, "data/a").await;
    let error = zone.kv.read(&permit, None).await.unwrap_err();
    assert!(
        matches!(error, KvError::Barrier(zone_barrier::BarrierError::Corrupt)),
        "{error}"
    );
    let permit = zone.permit(Operation::Patch, "data/a").await;
    assert!(zone.kv.patch(&permit, &object("{}"), None).await.is_err());
    assert_eq!(zone.read("a", Some(1)).await, r#"{"n":1}"#);
}

/// A version that is listed but lost is corrupt, not absent and not somebody's conflict.
#[tokio::test]
async fn a_lost_version_is_named_corrupt() {
    let zone = Zone::new().await;
    zone.put("a", "{}").await;
    let prefix = zone.mount.prefix("v");
    let keys = zone.lab.store.keys();
    let version = keys
        .iter()
        .find(|key| key.as_bytes().starts_with(&prefix))
        .unwrap();
    zone.lab
        .barrier
        .commit(zone_barrier::Batch::new().delete(version.clone()))
        .await
        .unwrap();
    let permit = zone.permit(Operation::Read, "data/a").await;
    assert!(matches!(
        zone.kv.read(&permit, None).await,
        Err(KvError::Corrupt)
    ));
    assert!(matches!(
        zone.patch("a", "{}", None).await,
        Err(KvError::Corrupt)
    ));
    assert_eq!(zone.put("a", r#"{"n":2}"#).await, 2, "writing goes on");
}
