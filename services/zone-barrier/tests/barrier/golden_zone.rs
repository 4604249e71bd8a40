//! A whole zone as an earlier version wrote it opens and reads today.
//!
//! `golden/zone-1.json` is what the probe's disk held. To make the file of a *new* format
//! version: delete nothing, add one, with `ZONEHEAD_WRITE_GOLDEN=1 cargo test -p zone-barrier`.

use std::collections::BTreeMap;

use crate::common::{NOW, Probe, Shares, init, key, start, unseal};
use serde::{Deserialize, Serialize};
use zone_barrier::Batch;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/zone-1.json");

#[derive(Serialize, Deserialize)]
struct Golden {
    shares: Vec<String>,
    records: BTreeMap<String, String>,
}

async fn make() -> Golden {
    let probe = Probe::new();
    let barrier = start(&probe, 1).await;
    let shares = init(&barrier, 3, 2).await;
    barrier
        .commit(Batch::new().put(key("of/term/1"), "first"))
        .await
        .unwrap();
    barrier.rotate(NOW).await.unwrap();
    barrier
        .commit(Batch::new().put(key("of/term/2"), "second"))
        .await
        .unwrap();
    barrier
        .commit(Batch::new().put(key("large"), vec![0x5a; 98_305]))
        .await
        .unwrap();
    let disk = probe.disk.lock();
    let records = disk
        .records
        .iter()
        .filter(|(key, _)| !key.starts_with(b"core/commit-log/"));
    let text = |key: &Vec<u8>| String::from_utf8(key.clone()).unwrap();
    let records = records
        .map(|(key, found)| (text(key), hex::encode(&found.value)))
        .collect();
    Golden {
        shares: shares.iter().map(hex::encode).collect(),
        records,
    }
}

#[tokio::test]
async fn a_zone_of_format_1_opens() {
    if std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some() && !std::path::Path::new(FILE).exists() {
        std::fs::write(FILE, serde_json::to_string_pretty(&make().await).unwrap()).unwrap();
    }
    let golden: Golden = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    let probe = Probe::new();
    for (key, value) in &golden.records {
        probe.forge(key, &hex::decode(value).unwrap());
    }
    let barrier = start(&probe, 2).await;
    let shares: Shares = golden
        .shares
        .iter()
        .map(|share| hex::decode(share).unwrap())
        .collect();
    unseal(&barrier, &shares[1..]).await;
    let read = async |at: &str| barrier.get(&key(at)).await.unwrap().unwrap().value;
    assert_eq!(read("of/term/1").await.as_slice(), b"first");
    assert_eq!(read("of/term/2").await.as_slice(), b"second");
    assert!(read("large").await.as_slice() == [0x5a; 98_305]);
    assert_eq!(barrier.key_status().unwrap().term, 2);
}
