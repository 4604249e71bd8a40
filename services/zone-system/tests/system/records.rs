//! What is stored, held against `golden/system-1.json`, which docs/formats/system.md explains.
//!
//! The file holds the records of a zone with two devices in the clear, and what they mean. To
//! make the file of a *new* version: keep the old one and its tests, and write another with
//! `ZONEHEAD_WRITE_GOLDEN=1 cargo test -p zone-system`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zone_barrier::Batch;
use zone_ports::{Key, KeyRange};
use zone_system::{AuditTarget, NewDevice, StreamTarget};

use crate::common::{Head, Keys};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/system-1.json");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Golden {
    /// Every record by its key.
    records: BTreeMap<String, Value>,
    /// By device: the key that verifies its checkpoints, and the HMAC of `value`.
    devices: BTreeMap<String, (String, String)>,
}

async fn records(head: &Head) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for area in ["core/audit/", "core/audit-head/"] {
        for (key, plain) in head
            .barrier
            .scan(&KeyRange::prefix(area), 100)
            .await
            .unwrap()
        {
            let key = String::from_utf8(key.as_bytes().to_vec()).unwrap();
            found.insert(key, serde_json::from_slice(&plain.value).unwrap());
        }
    }
    found
}

/// What the records mean to a head.
async fn shown(head: &Head, keys: &Keys) -> BTreeMap<String, (String, String)> {
    let permit = head.permit(keys).await;
    let devices = head.system.audit_devices(&permit).await.unwrap();
    let show = |device: zone_system::AuditDevice| {
        let hash = head.system.audit_hash(&permit, &device.path, "value");
        (
            device.path,
            (
                device.public_key.unwrap_or_default(),
                hash.unwrap().unwrap(),
            ),
        )
    };
    devices.into_iter().map(show).collect()
}

async fn make() -> Golden {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    // With one device only: nobody waits for the slower one of two.
    head.record("a").await.unwrap();
    head.system
        .enable_audit(
            &permit,
            &NewDevice::file("second", "/zone/audit/2.log", "for the auditors"),
        )
        .await
        .unwrap();
    head.system.round(true).await.unwrap();
    Golden {
        records: records(&head).await,
        devices: shown(&head, &keys).await,
    }
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap()
}

/// The same with the parts that are drawn taken out: the library draws signing keys, lines hold
/// signatures, and what a seed gives depends on what else init draws.
fn fixed(mut golden: Golden) -> Golden {
    for (key, value) in &mut golden.records {
        if key.starts_with("core/audit/") {
            for drawn in ["signer", "hmac"] {
                let length = value[drawn].as_str().unwrap().len();
                value[drawn] = length.into();
            }
        } else {
            let hash = value["head"]["hash"].as_str().unwrap().len();
            value["head"]["hash"] = hash.into();
        }
    }
    for (public_key, hash) in golden.devices.values_mut() {
        *public_key = public_key.len().to_string();
        *hash = hash.len().to_string();
    }
    golden
}

#[tokio::test]
async fn records_are_written_as_specified() {
    let made = make().await;
    if std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some() && !Path::new(FILE).exists() {
        std::fs::create_dir_all(Path::new(FILE).parent().unwrap()).unwrap();
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    assert_eq!(fixed(made), fixed(golden()));
}

/// A zone that holds `records` in place of its own.
async fn with(records: &BTreeMap<String, Value>) -> (Head, Keys) {
    let (head, keys) = Head::unsealed().await;
    let mut batch = Batch::new();
    for (key, value) in records {
        batch = batch.put(Key::new(key.clone()).unwrap(), value.to_string());
    }
    // After the close, which stores the ends of the chains.
    let next = {
        head.system.close().await;
        let sealed = head.crash().await;
        std::fs::remove_file(sealed.log()).unwrap();
        sealed
    };
    for share in &keys.shares[..3] {
        let share = hex::decode(share).unwrap();
        next.barrier
            .unseal_share(&share, "test", zone_testkit::FakeClock::START)
            .await
            .unwrap();
    }
    next.barrier.commit(batch).await.unwrap();
    next.barrier.seal();
    (next, keys)
}

#[tokio::test]
async fn a_zone_of_version_1_is_read() {
    let golden = golden();
    let (head, keys) = with(&golden.records).await;
    head.open(&keys).await;
    assert_eq!(shown(&head, &keys).await, golden.devices);
    head.record("b").await.unwrap();
    // The chain goes on from the remembered end.
    let log = std::fs::read_to_string(head.log()).unwrap();
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let remembered = &golden.records["core/audit-head/file"]["head"];
    assert_eq!(&first["epoch"]["prior"], remembered);
}

/// Records of devices that are no files have fields of their own; those of files stay as they were.
#[tokio::test]
async fn records_of_streams_are_written_as_specified_and_read() {
    let (head, keys) = Head::unsealed().await;
    let permit = head.permit(&keys).await;
    let host = "/zone/audit/none";
    let targets = [
        ("a", StreamTarget::syslog(None, None, None)),
        ("b", StreamTarget::socket(host, Some("unix"), None, true)),
    ];
    for (name, target) in targets {
        let asked = [("hmac_accessor".to_owned(), "false".to_owned())];
        let device = NewDevice {
            target: AuditTarget::Stream(target.unwrap()),
            clear_accessors: true,
            elide_lists: true,
            skip_test: true,
            // One as it was before options were kept.
            options: asked.into_iter().filter(|_| name == "b").collect(),
            ..NewDevice::file(name, "", "")
        };
        head.system.enable_audit(&permit, &device).await.unwrap();
    }
    let mut records = records(&head).await;
    records.retain(|key, _| ["core/audit/a", "core/audit/b"].contains(&key.as_str()));
    for record in records.values_mut() {
        assert_eq!(record["hmac"].as_str().unwrap().len(), 64);
        record["hmac"] = "".into();
    }
    let golden: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../golden/system-1-streams.json")).unwrap();
    assert_eq!(records, golden);
    let show = async |head: &Head| {
        let permit = head.permit(&keys).await;
        let devices = head.system.audit_devices(&permit).await.unwrap();
        format!("{devices:?}")
    };
    let shown = show(&head).await;
    head.system.close().await;
    head.open(&keys).await;
    assert_eq!(show(&head).await, shown);
}

/// A record of another version, or with fields that this head does not know, is not guessed at.
#[tokio::test]
async fn what_is_not_version_1_is_refused() {
    let golden = golden();
    for (key, value) in &golden.records {
        let mut newer = value.clone();
        newer["v"] = 2.into();
        let mut unknown = value.clone();
        unknown["limits_more"] = true.into();
        let mut less = value.clone();
        let fields = less.as_object_mut().unwrap();
        let last = fields.keys().next_back().unwrap().clone();
        fields.shift_remove(&last);
        for changed in [newer, unknown, less] {
            let mut records = golden.records.clone();
            records.insert(key.clone(), changed);
            let (head, keys) = with(&records).await;
            let mut result = Ok(());
            for share in &keys.shares[..3] {
                result = head.share(share).await;
            }
            let runs = head
                .broker
                .list()
                .iter()
                .any(|one| key.ends_with(&one.name));
            assert!(result.is_err() || !runs, "{key}");
        }
    }
}
