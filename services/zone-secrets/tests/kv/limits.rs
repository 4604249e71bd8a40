//! Sizes, depths and lengths.

use zone_access::Operation;
use zone_secrets::KvError;
use zone_secrets::kv2::{ConfigUpdate, MAX_PATH, MAX_SECRET, MOST_VERSIONS, MetadataUpdate};

use crate::zone::{Zone, object};

#[tokio::test]
async fn a_secret_of_one_mebibyte_is_kept_whole() {
    let zone = Zone::new().await;
    let secret = |len: usize| format!(r#"{{"k":"{}"}}"#, "x".repeat(len - r#"{"k":""}"#.len()));
    for len in [90 * 1024, 100 * 1024, MAX_SECRET] {
        zone.put("a", &secret(len)).await;
        assert!(zone.read("a", None).await == secret(len), "{len}");
    }
    let over = zone.write("a", &secret(MAX_SECRET + 1), None).await;
    assert!(matches!(over, Err(KvError::SecretTooLarge)));
    // A patch cannot pass the limit either.
    let over = zone.patch("a", r#"{"more":1}"#, None).await;
    assert!(matches!(over, Err(KvError::SecretTooLarge)));
    assert_eq!(zone.metadata("a").await.unwrap().current_version, 3);
    zone.patch("a", r#"{"k":"short"}"#, None).await.unwrap();
    assert_eq!(zone.read("a", None).await, r#"{"k":"short"}"#);
    assert!(zone.read("a", Some(3)).await == secret(MAX_SECRET));
}

#[tokio::test]
async fn a_path_of_400_bytes_fits_every_key() {
    let zone = Zone::new().await;
    let longest = "p".repeat(MAX_PATH);
    zone.put(&longest, "{}").await;
    zone.put(&longest, "{}").await;
    zone.versions("destroy", &longest, &[1]).await;
    assert_eq!(zone.read(&longest, None).await, "{}");
    let over = "p".repeat(MAX_PATH + 1);
    assert!(matches!(
        zone.write(&over, "{}", None).await,
        Err(KvError::PathTooLong)
    ));
    assert!(matches!(
        zone.metadata(&over).await,
        Err(KvError::PathTooLong)
    ));
    assert!(
        zone.kv
            .exists(&zone.mount, &format!("data/{over}"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn versions_are_bounded() {
    let zone = Zone::new().await;
    let update = |most| MetadataUpdate {
        max_versions: Some(most),
        ..Default::default()
    };
    zone.set("a", update(MOST_VERSIONS)).await.unwrap();
    let over = zone.set("a", update(MOST_VERSIONS + 1)).await;
    assert!(matches!(over, Err(KvError::TooManyVersions)));
    let permit = zone.permit(Operation::Update, "config").await;
    let over = ConfigUpdate {
        max_versions: Some(u32::MAX),
        ..Default::default()
    };
    let over = zone.kv.write_config(&permit, over).await;
    assert!(matches!(over, Err(KvError::TooManyVersions)));
}

#[tokio::test]
async fn the_deepest_secret_can_be_patched_and_outlined() {
    let zone = Zone::new().await;
    let levels = zone_types::json::MAX_DEPTH;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    zone.put("a", &deep).await;
    assert_eq!(zone.read("a", None).await, deep);
    zone.patch("a", &deep.replace('1', "2"), None)
        .await
        .unwrap();
    assert_eq!(zone.read("a", None).await, deep.replace('1', "2"));
    let permit = zone.permit(Operation::Read, "subkeys/a").await;
    let outline = zone
        .kv
        .subkeys(&permit, None, 0)
        .await
        .unwrap()
        .keys
        .unwrap();
    assert_eq!(
        serde_json::to_string(&outline).unwrap(),
        deep.replace('1', "null")
    );
}

#[tokio::test]
async fn subkeys_show_keys_without_values() {
    let zone = Zone::new().await;
    zone.put(
        "a",
        r#"{"z":{"y":{"x":1}},"b":"value","l":[{"k":1}],"e":{}}"#,
    )
    .await;
    zone.put("a", r#"{"second":1}"#).await;
    let permit = zone.permit(Operation::Read, "subkeys/a").await;
    let subkeys = async |version, depth| {
        let found = zone.kv.subkeys(&permit, version, depth).await.unwrap();
        (
            found.info.version,
            serde_json::to_string(&found.keys).unwrap(),
        )
    };
    assert_eq!(subkeys(None, 0).await, (2, r#"{"second":null}"#.into()));
    let all = r#"{"z":{"y":{"x":null}},"b":null,"l":null,"e":null}"#;
    assert_eq!(subkeys(Some(1), 0).await, (1, all.into()));
    let two = r#"{"z":{"y":null},"b":null,"l":null,"e":null}"#;
    assert_eq!(subkeys(Some(1), 2).await, (1, two.into()));
    zone.delete_latest("a").await;
    assert_eq!(subkeys(None, 0).await, (2, "null".into()));
    let missing = zone.kv.subkeys(&permit, Some(9), 0).await;
    assert!(matches!(missing, Err(KvError::NotFound)));
}

#[tokio::test]
async fn b2_a_sealed_zone_answers_nothing() {
    let zone = Zone::new().await;
    zone.put("a", "{}").await;
    let read = zone.permit(Operation::Read, "data/a").await;
    let write = zone.permit(Operation::Update, "data/a").await;
    let list = zone.permit(Operation::List, "metadata/").await;
    zone.lab.barrier.seal();
    let sealed = |error: KvError| {
        assert!(
            matches!(error, KvError::Barrier(zone_barrier::BarrierError::Sealed)),
            "{error}"
        );
    };
    sealed(zone.kv.read(&read, None).await.unwrap_err());
    sealed(
        zone.kv
            .write(&write, &object("{}"), None)
            .await
            .unwrap_err(),
    );
    sealed(zone.kv.list(&list, None, None).await.unwrap_err());
    sealed(zone.kv.exists(&zone.mount, "data/a").await.unwrap_err());
    sealed(zone.kv.resume(&zone.mount).await.unwrap_err());
}
