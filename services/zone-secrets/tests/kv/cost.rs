//! What each call costs the store.

use zone_access::Operation;
use zone_secrets::kv2::MetadataUpdate;

use crate::probe::Probe;
use crate::zone::{Zone, object};

/// Gets, scans and groups of a call, its permit aside.
macro_rules! cost {
    ($probe:expr, $call:expr) => {{
        let before = $probe.counts();
        $call.await.unwrap();
        let after = $probe.counts();
        [
            after[0] - before[0],
            after[1] - before[1],
            after[2] - before[2],
        ]
    }};
}

/// Of a write's gets two are its own (configuration and metadata) and one is the committer's, who
/// judges the condition.
#[tokio::test]
async fn a_read_is_two_gets_and_a_write_three_gets_and_one_group() {
    let (probe, zone) = Probe::open(Zone::new().await).await;
    let kv = &zone.kv;
    let data = object(r#"{"k":"v"}"#);
    // The first write of a head reserves a block of encryptions.
    let first = zone.permit(Operation::Update, "data/first").await;
    kv.write(&first, &data, None).await.unwrap();
    let write = zone.permit(Operation::Update, "data/a").await;
    assert_eq!(
        cost!(probe, kv.write(&write, &data, None)),
        [3, 0, 1],
        "new"
    );
    for version in 2..=15 {
        assert_eq!(
            cost!(probe, kv.write(&write, &data, None)),
            [3, 0, 1],
            "{version}"
        );
    }
    let patch = zone.permit(Operation::Patch, "data/a").await;
    assert_eq!(cost!(probe, kv.patch(&patch, &data, None)), [4, 0, 1]);
    let read = zone.permit(Operation::Read, "data/a").await;
    assert_eq!(cost!(probe, kv.read(&read, None)), [2, 0, 0]);
    assert_eq!(cost!(probe, kv.read(&read, Some(9))), [2, 0, 0]);
    let subkeys = zone.permit(Operation::Read, "subkeys/a").await;
    assert_eq!(cost!(probe, kv.subkeys(&subkeys, None, 0)), [2, 0, 0]);
    let metadata = zone.permit(Operation::Read, "metadata/a").await;
    assert_eq!(cost!(probe, kv.read_metadata(&metadata)), [1, 0, 0]);
    let update = MetadataUpdate {
        max_versions: Some(3),
        ..Default::default()
    };
    let set = zone.permit(Operation::Update, "metadata/a").await;
    assert_eq!(cost!(probe, kv.write_metadata(&set, &update)), [3, 0, 1]);
    assert_eq!(
        cost!(probe, kv.write(&write, &data, None)),
        [3, 0, 1],
        "and eight removals"
    );
    let destroy = zone.permit(Operation::Update, "destroy/a").await;
    assert_eq!(cost!(probe, kv.destroy(&destroy, &[15, 16])), [3, 0, 1]);
    let remove = zone.permit(Operation::Delete, "metadata/a").await;
    assert_eq!(cost!(probe, kv.delete_metadata(&remove)), [3, 0, 1]);
    let list = zone.permit(Operation::List, "metadata/").await;
    assert_eq!(cost!(probe, kv.list(&list, None, None)), [0, 1, 0]);
    let mount = list.mount();
    assert_eq!(cost!(probe, kv.exists(mount, "data/a")), [1, 0, 0]);
}

#[tokio::test]
async fn a_list_reads_pages_and_steps_over_folders() {
    let zone = Zone::new().await;
    for n in 0..1500 {
        zone.put(&format!("flat/{n}"), "{}").await;
    }
    for n in 0..40 {
        zone.put(&format!("tree/{n}/a"), "{}").await;
        zone.put(&format!("tree/{n}/b"), "{}").await;
    }
    let (probe, zone) = Probe::open(zone).await;
    let kv = &zone.kv;
    let list = zone.permit(Operation::List, "metadata/flat/").await;
    assert_eq!(cost!(probe, kv.list(&list, None, None)), [0, 2, 0]);
    assert_eq!(cost!(probe, kv.list(&list, Some("7"), Some(5))), [0, 1, 0]);
    let list = zone.permit(Operation::List, "metadata/tree/").await;
    assert_eq!(cost!(probe, kv.list(&list, None, None)), [0, 1, 0]);
    let list = zone.permit(Operation::List, "metadata/").await;
    assert_eq!(cost!(probe, kv.list(&list, None, None)), [0, 2, 0]);
}
