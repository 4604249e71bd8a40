//! What the zone remembers of its audit files finds out who changed them while it was down.

use zone_audit::verify::{Fault, Report, verify_files};
use zone_crypto::sign::PublicKey;
use zone_system::NewDevice;

use crate::common::{Head, Keys};

/// A head that wrote some lines; it did not close.
async fn written() -> (Head, Keys) {
    let (head, keys) = Head::unsealed().await;
    for path in ["a", "b", "c"] {
        head.record(path).await.unwrap();
    }
    (head, keys)
}

/// The built-in device's file, verified with the key that `sys/audit` shows.
async fn verified(head: &Head, keys: &Keys) -> Report {
    let permit = head.permit(keys).await;
    let devices = head.system.audit_devices(&permit).await.unwrap();
    let shown = devices[0].public_key.as_ref().unwrap();
    let key = PublicKey::from_spki(&hex::decode(shown).unwrap()).unwrap();
    verify_files(&[head.log()], Some(&key)).unwrap()
}

/// Takes the last `count` lines off the file.
fn cut(head: &Head, count: usize) {
    let text = std::fs::read_to_string(head.log()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    std::fs::write(head.log(), lines[..lines.len() - count].concat()).unwrap();
}

#[tokio::test]
async fn an_untouched_file_is_intact_across_seal_crash_and_restart() {
    let (head, keys) = written().await;
    head.system.close().await;
    head.open(&keys).await;
    head.record("d").await.unwrap();
    let next = head.crash().await;
    next.open(&keys).await;
    next.record("e").await.unwrap();
    next.system.close().await;
    let last = next.crash().await;
    last.open(&keys).await;
    let report = verified(&last, &keys).await;
    assert!(report.is_intact(), "{report:?}");
    assert_eq!(report.epochs, 4);
    assert!(report.signatures_checked);
}

#[tokio::test]
async fn a_file_that_was_cut_after_a_close_is_found_out() {
    for count in [1, 2, 4] {
        let (head, keys) = written().await;
        head.system.close().await;
        let next = head.crash().await;
        cut(&next, count);
        next.open(&keys).await;
        next.record("later").await.unwrap();
        let report = verified(&next, &keys).await;
        let broken = report.broken.expect("a cut is seen");
        assert_eq!(broken.fault, Fault::TamperedAtRest, "{count} lines");
    }
}

#[tokio::test]
async fn a_file_that_was_deleted_or_replaced_is_found_out() {
    let (head, keys) = written().await;
    head.system.close().await;
    let deleted = head.crash().await;
    std::fs::remove_file(deleted.log()).unwrap();
    deleted.open(&keys).await;
    let report = verified(&deleted, &keys).await;
    assert!(report.first_seq > 3, "the new file says what it continues");
    assert!(
        report
            .notices()
            .iter()
            .any(|text| text.contains("begin at line"))
    );

    let emptied = head.crash().await;
    std::fs::write(emptied.log(), "").unwrap();
    emptied.open(&keys).await;
    assert!(verified(&emptied, &keys).await.first_seq > 3);

    let replaced = head.crash().await;
    let (other, _) = Head::unsealed().await;
    other.record("not here").await.unwrap();
    std::fs::copy(other.log(), replaced.log()).unwrap();
    replaced.open(&keys).await;
    assert!(!verified(&replaced, &keys).await.is_intact());
}

/// Without an orderly end the zone remembers what the last round stored.
#[tokio::test]
async fn a_file_that_was_cut_after_a_crash_is_found_out_up_to_the_last_round() {
    let (head, keys) = written().await;
    head.system.round(true).await.unwrap();
    head.record("unremembered").await.unwrap();
    let next = head.crash().await;
    cut(&next, 1);
    next.open(&keys).await;
    let report = verified(&next, &keys).await;
    assert!(report.is_intact(), "what nobody remembers cannot be missed");

    let next = head.crash().await;
    cut(&next, 2);
    next.open(&keys).await;
    let report = verified(&next, &keys).await;
    assert_eq!(report.broken.unwrap().fault, Fault::TamperedAtRest);
}

/// The keys of a device that is gone do not judge one of the same name.
#[tokio::test]
async fn a_new_device_under_an_old_name_begins_a_chain_of_its_own() {
    let (head, keys) = written().await;
    let permit = head.permit(&keys).await;
    for (name, file) in [
        ("second", "/zone/audit/2.log"),
        ("third", "/zone/audit/3.log"),
    ] {
        head.system
            .enable_audit(&permit, &NewDevice::file(name, file, ""))
            .await
            .unwrap();
    }
    head.record("d").await.unwrap();
    head.system.round(true).await.unwrap();
    head.system.disable_audit(&permit, "second").await.unwrap();
    head.system
        .enable_audit(&permit, &NewDevice::file("second", "/zone/audit/4.log", ""))
        .await
        .unwrap();
    head.system.close().await;
    head.open(&keys).await;
    let report = verify_files(&[head.logs().join("4.log")], None).unwrap();
    assert!(report.is_intact() && report.first_seq == 1, "{report:?}");
}
