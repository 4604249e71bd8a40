//! Settings, the history of versions, and the store's records in the raw.
//!
//! What is stored is held against `golden/settings-1.json`, which docs/formats/system.md explains.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use zone_barrier::Batch;
use zone_ports::Key;
use zone_system::{AuditedHeader, Cors, SystemError};
use zone_testkit::Fault;

use crate::common::{Head, Keys, said};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/settings-1.json");
const AREAS: [&str; 2] = ["core/settings", "core/version/"];

async fn allow(head: &Head, keys: &Keys, origin: &str) -> Result<(), SystemError> {
    let permit = head.permit(keys).await;
    let cors = Cors {
        allowed_origins: vec![origin.to_owned()],
        allowed_headers: vec!["X-Own".into()],
    };
    let change = |settings: &mut zone_system::Settings| {
        settings.cors = Some(cors.clone());
        let hashed = AuditedHeader { hmac: true };
        settings.audited_headers.insert("x-own".into(), hashed);
        settings
            .ui_headers
            .insert("x-frame-options".into(), vec!["DENY".into()]);
        Ok(())
    };
    head.system.change_settings(&permit, change).await
}

async fn records(head: &Head) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for area in AREAS {
        let range = zone_ports::KeyRange::prefix(area);
        for (key, plain) in head.barrier.scan(&range, 100).await.unwrap() {
            let key = String::from_utf8(key.as_bytes().to_vec()).unwrap();
            found.insert(key, serde_json::from_slice(&plain.value).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn settings_are_durable_and_in_force_at_once() {
    let (head, keys) = Head::unsealed().await;
    assert_eq!(*head.system.settings(), zone_system::Settings::default());
    allow(&head, &keys, "https://ui.example").await.unwrap();
    let now = head.system.settings();
    assert_eq!(
        now.cors.as_ref().unwrap().allowed_origins,
        ["https://ui.example"]
    );
    let next = head.crash().await;
    assert_eq!(
        *next.system.settings(),
        zone_system::Settings::default(),
        "sealed"
    );
    next.open(&keys).await;
    assert_eq!(*next.system.settings(), *now);
    next.system.close().await;
    assert_eq!(
        *next.system.settings(),
        zone_system::Settings::default(),
        "B2"
    );
}

#[tokio::test]
async fn what_is_refused_or_not_stored_changes_nothing() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let refuse = |_: &mut zone_system::Settings| Err(SystemError::Invalid("no".into()));
    assert_eq!(
        said(head.system.change_settings(&permit, refuse).await),
        "no"
    );
    let large = format!("https://{}", "x".repeat(40_000));
    let text = "the settings of a zone have at most 32 KiB";
    assert_eq!(said(allow(&head, &keys, &large).await), text);
    head.store.fail_at(1, Fault::Full);
    assert!(allow(&head, &keys, "https://ui.example").await.is_err());
    assert_eq!(*head.system.settings(), zone_system::Settings::default());
}

#[tokio::test]
async fn changes_at_once_all_stay() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let change = |name: String| {
        let (head, permit) = (&head, &permit);
        async move {
            let add = |settings: &mut zone_system::Settings| {
                settings.ui_headers.insert(name.clone(), Vec::new());
                Ok(())
            };
            head.system.change_settings(permit, add).await.unwrap();
        }
    };
    futures::future::join_all((0..32).map(|at| change(format!("X-{at}")))).await;
    assert_eq!(head.system.settings().ui_headers.len(), 32);
}

#[tokio::test]
async fn records_are_written_as_specified() {
    let (head, keys) = Head::unsealed().await;
    allow(&head, &keys, "https://ui.example").await.unwrap();
    let made = records(&head).await;
    if std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some() && !Path::new(FILE).exists() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let golden: BTreeMap<String, Value> =
        serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    assert_eq!(made, golden);
}

/// A record of another version, or with fields that this head does not know, is not guessed at.
#[tokio::test]
async fn what_is_not_version_1_is_refused() {
    let (head, keys) = Head::unsealed().await;
    allow(&head, &keys, "https://ui.example").await.unwrap();
    for (key, value) in records(&head).await {
        for change in [json!({ "v": 2 }), json!({ "limits_more": true })] {
            let mut value = value.clone();
            let fields = value.as_object_mut().unwrap();
            fields.extend(change.as_object().unwrap().clone());
            let key = Key::new(key.clone()).unwrap();
            let batch = Batch::new().put(key, value.to_string());
            head.barrier.commit(batch).await.unwrap();
        }
        let permit = head.permit(&keys).await;
        let history = head.system.version_history(&permit).await;
        let settings = allow(&head, &keys, "https://other.example").await;
        assert!(history.is_err() || settings.is_err(), "{key}");
        let batch = Batch::new().put(Key::new(key).unwrap(), value.to_string());
        head.barrier.commit(batch).await.unwrap();
    }
}

#[tokio::test]
async fn each_version_of_the_program_is_noted_once() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let history = head.system.version_history(&permit).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(
        (history[0].version.as_str(), history[0].at),
        ("0.1.0", zone_testkit::FakeClock::START)
    );
    // Another one had it in between.
    let key = Key::new("core/version/00000001").unwrap();
    let other = json!({ "v": 1, "version": "0.2.0", "installed": history[0].at });
    let batch = Batch::new().put(key, other.to_string());
    head.barrier.commit(batch).await.unwrap();
    for _ in 0..2 {
        head.system.close().await;
        head.open(&keys).await;
    }
    let permit = head.permit(&keys).await;
    let history = head.system.version_history(&permit).await.unwrap();
    let versions: Vec<_> = history.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(versions, ["0.1.0", "0.2.0", "0.1.0"]);
}

/// A full disk does not keep the zone closed only because a version cannot be noted.
#[tokio::test]
async fn a_version_that_cannot_be_noted_does_not_stop_the_unseal() {
    let (head, keys) = Head::unsealed().await;
    let key = Key::new("core/version/00000001").unwrap();
    let other = json!({ "v": 2 });
    let batch = Batch::new().put(key, other.to_string());
    head.barrier.commit(batch).await.unwrap();
    head.system.close().await;
    head.open(&keys).await;
}

#[tokio::test]
async fn raw_records_are_read_listed_written_and_removed() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let system = &head.system;
    system
        .raw_write(&permit, "repair/a/b", b"x".to_vec())
        .await
        .unwrap();
    system
        .raw_write(&permit, "repair/c", b"y".to_vec())
        .await
        .unwrap();
    assert_eq!(
        system.raw_list(&permit, "repair/").await.unwrap(),
        ["a/", "c"]
    );
    let top = system.raw_list(&permit, "").await.unwrap();
    assert_eq!(top, ["core/", "repair/", "root/"]);
    let value = system
        .raw_read(&permit, "repair/a/b")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&value[..], b"x", "decrypted");
    system.raw_delete(&permit, "repair/a/b").await.unwrap();
    assert!(
        system
            .raw_read(&permit, "repair/a/b")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        system
            .raw_read(&permit, "core/settings")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn attack_no_key_and_no_share_is_served_raw() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let system = &head.system;
    for path in [
        "core/barrier/keyring",
        "core/barrier/seal",
        "core/barrier",
        "core/barrier/chunk/x",
        "core/commit-log/x",
        "core/audit/file",
        "core/audit",
    ] {
        let text = "keys, shares, salts, the commit log and audit devices are not served raw";
        assert_eq!(said(system.raw_read(&permit, path).await), text, "{path}");
        assert_eq!(said(system.raw_delete(&permit, path).await), text, "{path}");
        assert_eq!(
            said(system.raw_write(&permit, path, Vec::new()).await),
            text,
            "{path}"
        );
        assert_eq!(said(system.raw_list(&permit, path).await), text, "{path}");
    }
    for path in ["", &"x".repeat(513)] {
        let text = "the path is empty, or too long for a key";
        assert_eq!(said(system.raw_read(&permit, path).await), text);
    }
}
