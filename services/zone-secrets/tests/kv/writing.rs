//! Versions are written: check-and-set, patches, and who may.

use zone_access::Operation;
use zone_secrets::KvError;
use zone_secrets::kv2::{ConfigUpdate, MetadataUpdate, Patched};

use crate::zone::{Zone, object};

#[tokio::test]
async fn what_was_written_is_read_to_the_letter() {
    let zone = Zone::new().await;
    let text =
        r#"{"z":1.10,"a":{"n":123456789012345678901234567890},"u":"ä\u0000","e":{},"l":[null]}"#;
    assert_eq!(zone.put("team/app", text).await, 1);
    assert_eq!(zone.read("team/app", None).await, text);
    assert_eq!(zone.put("team/app", "{}").await, 2);
    assert_eq!(zone.read("team/app", None).await, "{}");
    assert_eq!(zone.read("team/app", Some(1)).await, text);
    assert_eq!(zone.read("team/app", Some(3)).await, "no such secret");
    assert_eq!(zone.read("team", None).await, "no such secret");
}

#[tokio::test]
async fn check_and_set() {
    let zone = Zone::new().await;
    let mismatch = |result| matches!(result, Err(KvError::CasMismatch));
    for wrong in [1, -1, i64::MIN, i64::MAX] {
        assert!(
            mismatch(zone.write("a", "{}", Some(wrong)).await),
            "{wrong}"
        );
    }
    assert_eq!(zone.write("a", "{}", Some(0)).await.unwrap().version, 1);
    for wrong in [0, 2, -1] {
        assert!(
            mismatch(zone.write("a", "{}", Some(wrong)).await),
            "{wrong}"
        );
    }
    assert_eq!(zone.write("a", "{}", Some(1)).await.unwrap().version, 2);
    // As in Vault: a deleted or destroyed current version is still the current version.
    zone.delete_latest("a").await;
    zone.versions("destroy", "a", &[2]).await;
    assert!(mismatch(zone.write("a", "{}", Some(0)).await));
    assert_eq!(zone.write("a", "{}", Some(2)).await.unwrap().version, 3);
    // Metadata without a version: cas 0.
    zone.set(
        "b",
        MetadataUpdate {
            max_versions: Some(3),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert!(mismatch(zone.write("b", "{}", Some(1)).await));
    assert_eq!(zone.write("b", "{}", Some(0)).await.unwrap().version, 1);
}

#[tokio::test]
async fn secret_and_mount_can_demand_check_and_set() {
    let zone = Zone::new().await;
    let required = |result| matches!(result, Err(KvError::CasRequired));
    let demand = MetadataUpdate {
        cas_required: Some(true),
        ..Default::default()
    };
    zone.set("a", demand).await.unwrap();
    assert!(required(zone.write("a", "{}", None).await));
    assert_eq!(zone.write("a", "{}", Some(0)).await.unwrap().version, 1);
    assert!(matches!(
        zone.patch("a", "{}", None).await,
        Err(KvError::CasRequired)
    ));
    assert_eq!(zone.put("b", "{}").await, 1);
    zone.configure(ConfigUpdate {
        cas_required: Some(true),
        ..Default::default()
    })
    .await;
    assert!(required(zone.write("b", "{}", None).await));
    assert!(required(zone.write("new", "{}", None).await));
    assert_eq!(zone.write("b", "{}", Some(1)).await.unwrap().version, 2);
    assert!(matches!(zone.metadata("new").await, Err(KvError::NotFound)));
}

#[tokio::test]
async fn a_patch_merges_into_the_current_version() {
    let zone = Zone::new().await;
    zone.put(
        "a",
        r#"{"keep":1.50,"go":true,"deep":{"x":1,"y":2},"text":"t"}"#,
    )
    .await;
    let patch = r#"{"go":null,"deep":{"y":null,"z":[null]},"text":{"now":"object"},"new":0}"#;
    let Patched::Written(info) = zone.patch("a", patch, Some(1)).await.unwrap() else {
        panic!("nothing was written")
    };
    assert_eq!(info.version, 2);
    let merged = r#"{"keep":1.50,"deep":{"x":1,"z":[null]},"text":{"now":"object"},"new":0}"#;
    assert_eq!(zone.read("a", None).await, merged);
    assert!(matches!(
        zone.patch("a", "{}", Some(1)).await,
        Err(KvError::CasMismatch)
    ));
    assert!(matches!(
        zone.patch("a", "{}", Some(0)).await,
        Err(KvError::CasMismatch)
    ));
}

#[tokio::test]
async fn a_patch_needs_a_version_with_data() {
    let zone = Zone::new().await;
    let missing = |result| matches!(result, Err(KvError::NotFound));
    assert!(missing(zone.patch("none", "{}", None).await));
    zone.set(
        "bare",
        MetadataUpdate {
            max_versions: Some(3),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert!(missing(zone.patch("bare", "{}", None).await));
    zone.put("a", r#"{"k":1}"#).await;
    zone.delete_latest("a").await;
    let gone = |result| match result {
        Ok(Patched::Gone(info)) => (info.version, info.deletion.is_some(), info.destroyed),
        other => panic!("{other:?}"),
    };
    assert_eq!(gone(zone.patch("a", "{}", None).await), (1, true, false));
    zone.versions("undelete", "a", &[1]).await;
    zone.versions("destroy", "a", &[1]).await;
    assert_eq!(gone(zone.patch("a", "{}", None).await), (1, false, true));
    assert_eq!(zone.metadata("a").await.unwrap().current_version, 1);
}

#[tokio::test]
async fn a_path_needs_a_name() {
    let zone = Zone::new().await;
    assert!(matches!(
        zone.write("", "{}", None).await,
        Err(KvError::MissingPath)
    ));
    assert!(matches!(
        zone.write("a/", "{}", None).await,
        Err(KvError::FolderPath)
    ));
    let update = || MetadataUpdate {
        max_versions: Some(1),
        ..Default::default()
    };
    assert!(matches!(
        zone.set("", update()).await,
        Err(KvError::MissingPath)
    ));
    assert!(matches!(
        zone.set("a/", update()).await,
        Err(KvError::FolderPath)
    ));
}

#[tokio::test]
async fn a_secret_may_have_the_name_of_a_folder() {
    let zone = Zone::new().await;
    zone.put("a", r#"{"n":1}"#).await;
    zone.put("a/b", r#"{"n":2}"#).await;
    assert_eq!(zone.read("a", None).await, r#"{"n":1}"#);
    assert_eq!(zone.read("a/b", None).await, r#"{"n":2}"#);
    zone.delete_metadata("a").await;
    assert_eq!(zone.read("a", None).await, "no such secret");
    assert_eq!(zone.read("a/b", None).await, r#"{"n":2}"#);
}

/// A2: a permit for one endpoint or operation opens no other.
#[tokio::test]
async fn a2_a_permit_serves_its_own_endpoint_and_operation_only() {
    let zone = Zone::new().await;
    zone.put("a", "{}").await;
    let wrong = |error: KvError| assert!(matches!(error, KvError::WrongPermit), "{error}");
    let (kv, data) = (&zone.kv, object("{}"));
    for (operation, rest) in [
        (Operation::Read, "data/a"),
        (Operation::Update, "metadata/a"),
        (Operation::Update, "destroy/a"),
        (Operation::Update, "config"),
    ] {
        let permit = zone.permit(operation, rest).await;
        wrong(kv.write(&permit, &data, None).await.unwrap_err());
    }
    let permit = zone.permit(Operation::Update, "data/a").await;
    wrong(kv.read(&permit, None).await.unwrap_err());
    wrong(kv.subkeys(&permit, None, 0).await.unwrap_err());
    wrong(kv.patch(&permit, &data, None).await.unwrap_err());
    wrong(kv.delete_latest(&permit).await.unwrap_err());
    wrong(kv.delete(&permit, &[1]).await.unwrap_err());
    wrong(kv.undelete(&permit, &[1]).await.unwrap_err());
    wrong(kv.destroy(&permit, &[1]).await.unwrap_err());
    wrong(kv.read_metadata(&permit).await.unwrap_err());
    wrong(
        kv.write_metadata(&permit, &MetadataUpdate::default())
            .await
            .unwrap_err(),
    );
    wrong(
        kv.patch_metadata(&permit, &MetadataUpdate::default())
            .await
            .unwrap_err(),
    );
    wrong(kv.delete_metadata(&permit).await.unwrap_err());
    wrong(kv.list(&permit, None, None).await.unwrap_err());
    wrong(kv.read_config(&permit).await.unwrap_err());
    wrong(
        kv.write_config(&permit, ConfigUpdate::default())
            .await
            .unwrap_err(),
    );
    // A list of a folder is not a list of all names that begin like it.
    let permit = zone.permit(Operation::List, "metadata/a").await;
    wrong(kv.list(&permit, None, None).await.unwrap_err());
}

/// The permit is judged before the secret is read. In Vault a caller who may only create can
/// overwrite what somebody else wrote in between.
#[tokio::test]
async fn a_caller_who_may_only_create_cannot_overwrite_by_being_quick() {
    let zone = Zone::new().await;
    let creator = zone
        .token("creator", r#"path "kv/*" { capabilities = ["create"] }"#)
        .await;
    let updater = zone
        .token("updater", r#"path "kv/*" { capabilities = ["update"] }"#)
        .await;
    let both = zone
        .token(
            "both",
            r#"path "kv/*" { capabilities = ["create", "update"] }"#,
        )
        .await;
    let permit =
        async |token, operation, rest| zone.lab.permit_of(token, operation, rest).await.unwrap();
    let update = || MetadataUpdate {
        max_versions: Some(3),
        ..Default::default()
    };
    let denied = |error: KvError| assert!(matches!(error, KvError::Denied), "{error}");
    let data = object(r#"{"by":"attacker"}"#);

    let creates = permit(&creator, Operation::Create, "kv/data/a").await;
    let sets = permit(&creator, Operation::Create, "kv/metadata/a").await;
    let quick = permit(&both, Operation::Create, "kv/data/a").await;
    zone.put("a", r#"{"by":"owner"}"#).await;
    denied(zone.kv.write(&creates, &data, None).await.unwrap_err());
    denied(zone.kv.write_metadata(&sets, &update()).await.unwrap_err());
    assert_eq!(zone.read("a", None).await, r#"{"by":"owner"}"#);
    assert_eq!(zone.kv.write(&quick, &data, None).await.unwrap().version, 2);

    let updates = permit(&updater, Operation::Update, "kv/data/a").await;
    zone.delete_metadata("a").await;
    denied(zone.kv.write(&updates, &data, None).await.unwrap_err());
    assert!(matches!(zone.metadata("a").await, Err(KvError::NotFound)));
    assert_eq!(
        zone.kv.write(&creates, &data, None).await.unwrap().version,
        1
    );
}

#[tokio::test]
async fn existence_is_about_metadata() {
    let zone = Zone::new().await;
    let exists = async |rest| zone.kv.exists(&zone.mount, rest).await.unwrap();
    assert!(!exists("data/a").await);
    assert!(!exists("metadata/a").await);
    zone.set(
        "a",
        MetadataUpdate {
            max_versions: Some(3),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    assert!(exists("data/a").await);
    assert!(exists("metadata/a").await);
    assert!(!exists("data/a/b").await);
    for rest in ["delete/x", "undelete/x", "destroy/x", "config", "nonsense"] {
        assert!(exists(rest).await, "{rest}: Vault asks for `update`");
    }
}
