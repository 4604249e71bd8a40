//! Devices and the broker: A1, batches, failures, epochs, checkpoints.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{
    MemSink, StillClock, Trail, check, config, head_of, public, start, with_entry, with_full_entry,
};
use expect_test::expect_file;
use zone_audit::verify::{Fault, verify_readers};
use zone_audit::{AuditError, Broker, DeviceConfig, Durability};
use zone_ports::Clock;
use zone_ports::audit::AuditRoom;

#[tokio::test]
async fn golden_file_of_lines_chain_and_checkpoints() {
    let trail = Trail::new().await;
    trail.record("secret/data/app").await;
    with_full_entry(async |entry| trail.broker.record(entry).await)
        .await
        .unwrap();
    trail.broker.checkpoint_all().await.unwrap();
    trail.broker.rotate("file").await.unwrap();
    trail.record("sys/health").await;
    trail.broker.close().await;
    expect_file!["golden/audit-v1.jsonl"].assert_eq(&trail.sink.text());
}

#[test]
fn golden_file_still_verifies() {
    let text = include_str!("golden/audit-v1.jsonl");
    let report = verify_readers([text.as_bytes()], Some(&public())).unwrap();
    assert_eq!(report.broken, None);
    assert_eq!((report.first_seq, report.last_revision), (1, Some(42)));
    assert_eq!(report.lines_after_checkpoint, 0);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["type"].is_string());
    }
}

#[tokio::test]
async fn a1_no_secret_in_clear_and_the_hash_finds_it() {
    let trail = Trail::new().await;
    with_full_entry(async |entry| trail.broker.record(entry).await)
        .await
        .unwrap();
    let text = trail.sink.text();
    assert!(!text.contains("CANARY"));
    let device = trail.broker.device("file").unwrap();
    for value in [
        "hvs.CANARYtoken",
        "CANARYaccessor",
        "CANARYin",
        "CANARYlist",
        "CANARYdeep",
        "CANARYheader",
        "hvs.CANARYissued",
        "CANARYout",
        "hvs.CANARYwrap",
        "CANARYissuedaccessor",
        "CANARYwrapaccessor",
    ] {
        assert!(text.contains(&device.hash(value)), "{value}");
    }
    for clear in [
        "\"n\":1.5",
        "\"on\":true",
        "\"none\":null",
        "\"note\":\"kept\"",
        "\"version\":3",
    ] {
        assert!(text.contains(clear), "{clear}");
    }
}

#[tokio::test]
async fn accessors_stay_readable_where_the_device_says_so() {
    let with = DeviceConfig {
        hmac_accessor: false,
        ..config("file")
    };
    let trail = Trail::with(with, MemSink::default()).await;
    with_full_entry(async |entry| trail.broker.record(entry).await)
        .await
        .unwrap();
    let text = trail.sink.text();
    assert!(text.contains("\"accessor\":\"CANARYaccessor\""));
    assert!(text.contains("\"client_token_accessor\":\"CANARYaccessor\""));
    assert!(!text.contains("CANARYtoken"));
}

#[tokio::test]
async fn a1_without_a_device_nothing_is_recorded() {
    let broker = Broker::new(Arc::new(StillClock::default()));
    let result = with_entry("x", async |entry| broker.record(entry).await).await;
    assert!(matches!(result, Err(AuditError::NoDevice)));
    let trail = Trail::new().await;
    trail.broker.close().await;
    let result = with_entry("x", async |entry| trail.broker.record(entry).await).await;
    assert!(matches!(result, Err(AuditError::NoDevice)));
}

#[tokio::test]
async fn a1_a_failed_write_is_an_error_and_the_next_line_begins_an_epoch() {
    for torn in [0, 10, usize::MAX] {
        let trail = Trail::new().await;
        trail.record("one").await;
        trail.sink.disk().fail = Some((torn, ErrorKind::Other));
        let result = with_entry("two", async |entry| trail.broker.record(entry).await).await;
        assert!(matches!(result, Err(AuditError::Failed { .. })));
        assert!(trail.broker.list()[0].failing);
        trail.record("three").await;
        assert!(!trail.broker.list()[0].failing);
        let report = trail.verify();
        assert_eq!(report.broken, None, "{torn}");
        assert_eq!(report.epochs, 2);
        let text = trail.sink.text();
        assert!(text.contains("\"reason\":\"failure\""));
        assert_eq!(text.contains("\"cut\":10"), torn == 10);
    }
}

#[tokio::test]
async fn a1_a_full_disk_takes_operators_only() {
    let trail = Trail::new().await;
    trail.sink.disk().room = Some(AuditRoom::ReserveOnly);
    let result = with_entry("secret/a", async |entry| trail.broker.record(entry).await).await;
    assert!(matches!(result, Err(AuditError::Full { .. })));
    trail.record("sys/audit").await;
    trail.sink.disk().room = None;
    trail.record("secret/b").await;
    trail.sink.disk().fail = Some((0, ErrorKind::StorageFull));
    let result = with_entry("sys/a", async |entry| trail.broker.record(entry).await).await;
    assert!(matches!(result, Err(AuditError::Full { .. })));
    trail.record("secret/c").await;
    assert_eq!(trail.verify().broken, None);
    assert!(!trail.sink.text().contains("secret/a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_a_stuck_device_holds_up_nobody_else() {
    let trail = Trail::new().await;
    let stuck = MemSink::default();
    trail
        .broker
        .add(start(config("stuck"), &stuck, &trail.clock).await)
        .unwrap();
    stuck.disk().stuck = true;
    for i in 0..10_000 {
        trail.record(&format!("n/{i}")).await;
    }
    let status = trail.broker.list();
    assert!(status[0].head.is_some() && status[1].head.is_none());
    stuck.unstick();
    trail.broker.checkpoint_all().await.unwrap();
    assert_eq!(trail.verify().broken, None);
    let late = check(&stuck.files());
    assert_eq!(late.broken, None);
    assert!((8_192..10_020).contains(&late.lines), "{}", late.lines);
}

#[tokio::test]
async fn a1_one_of_two_devices_is_enough() {
    let trail = Trail::new().await;
    let bad = MemSink::default();
    trail
        .broker
        .add(start(config("bad"), &bad, &trail.clock).await)
        .unwrap();
    bad.disk().fail = Some((0, ErrorKind::Other));
    trail.record("x").await;
    bad.disk().room = Some(AuditRoom::ReserveOnly);
    trail.record("y").await;
    assert!(trail.sink.text().contains("\"path\":\"y\""));
}

#[tokio::test]
async fn a1_devices_that_do_not_count_are_not_enough() {
    let aside = DeviceConfig {
        counts: false,
        ..config("syslog")
    };
    let trail = Trail::with(aside, MemSink::default()).await;
    let result = with_entry("x", async |entry| trail.broker.record(entry).await).await;
    assert!(matches!(result, Err(AuditError::NoDevice)));
}

#[tokio::test]
async fn a1_the_last_device_cannot_be_removed() {
    let trail = Trail::new().await;
    assert!(matches!(
        trail.broker.remove("none").await,
        Err(AuditError::Unknown)
    ));
    assert!(matches!(
        trail.broker.remove("file").await,
        Err(AuditError::LastDevice)
    ));
    let second = MemSink::default();
    let device = start(config("second"), &second, &trail.clock).await;
    trail.broker.add(Arc::clone(&device)).unwrap();
    assert!(matches!(trail.broker.add(device), Err(AuditError::Exists)));
    trail.broker.remove("file").await.unwrap();
    trail.record("x").await;
    assert!(second.text().contains("\"path\":\"x\""));
    assert_eq!(trail.verify().lines_after_checkpoint, 0);
}

#[tokio::test]
async fn checkpoints_come_by_lines_and_by_time() {
    let trail = Trail::new().await;
    let first = trail.verify().checkpoints;
    for _ in 0..1_000 {
        trail.record("x").await;
    }
    assert_eq!(trail.verify().checkpoints, first + 1);
    assert_eq!(trail.verify().lines_after_checkpoint, 0);
    trail.record("y").await;
    trail.clock.advance(Duration::from_secs(10));
    trail.record("z").await;
    let report = trail.verify();
    assert_eq!(
        (report.checkpoints, report.lines_after_checkpoint),
        (first + 2, 0)
    );
    trail.broker.checkpoint_all().await.unwrap();
    assert_eq!(trail.verify().checkpoints, first + 2);
}

#[tokio::test]
async fn the_chain_goes_on_after_a_kill_and_says_what_was_torn() {
    let sink = MemSink::default();
    let trail = Trail::with(config("file"), sink.clone()).await;
    for i in 0..5 {
        trail.record(&format!("n/{i}")).await;
    }
    // Killed within a write: the disk as it is, and a part of one more line.
    let killed = MemSink::default();
    killed.disk().current = [&sink.disk().current[..], b"{\"time\":\"20"].concat();
    let again = Trail::with(config("file"), killed).await;
    again.record("after").await;
    let report = again.verify();
    assert_eq!(report.broken, None);
    assert_eq!((report.epochs, report.lines_before_restart), (2, 5));
    assert!(again.sink.text().contains("\"reason\":\"restart\""));
    assert!(again.sink.text().contains("\"cut\":11"));
}

#[tokio::test]
async fn a_tail_cut_while_the_head_was_down_is_found_if_the_zone_remembers() {
    let trail = Trail::new().await;
    for _ in 0..3 {
        trail.record("x").await;
    }
    let closed = trail.broker.close().await;
    let head = closed[0].1.unwrap();
    assert_eq!(head, head_of(&trail.sink.text()));
    let sink = MemSink::default();
    let text = trail.sink.text();
    let kept = text
        .lines()
        .take(3)
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    sink.disk().current = kept.into_bytes();
    let remembering = DeviceConfig {
        remembered: Some(head),
        ..config("file")
    };
    let again = Trail::with(remembering, sink).await;
    again.record("y").await;
    let broken = again.verify().broken.unwrap();
    assert_eq!(
        (broken.fault, broken.place.line),
        (Fault::TamperedAtRest, 4)
    );
}

#[tokio::test]
async fn rotation_by_size_links_the_files() {
    let small = DeviceConfig {
        rotate_bytes: Some(4_000),
        ..config("file")
    };
    let trail = Trail::with(small, MemSink::default()).await;
    for i in 0..40 {
        trail.record(&format!("n/{i}")).await;
        // A caller's turn leaves rotation to the thread; an order comes after it.
        trail.broker.checkpoint_all().await.unwrap();
    }
    let files = trail.sink.files();
    assert!(files.len() > 3, "{}", files.len());
    assert_eq!(check(&files).broken, None);
    let part = check(&files[1..]);
    assert_eq!(part.broken, None);
    assert!(part.first_seq > 1);
    let gap = check(&[files[0].clone(), files[2].clone()]).broken.unwrap();
    assert_eq!((gap.place.file, gap.place.line), (1, 1));
    assert!(matches!(gap.fault, Fault::Missing { .. }));
    let suffix = &trail.sink.disk().suffixes[0];
    assert!(suffix.starts_with(".20261118T110640Z."), "{suffix}");
}

#[tokio::test]
async fn a_moved_file_is_followed_by_a_linked_one() {
    let trail = Trail::new().await;
    trail.record("x").await;
    trail.broker.reopen_all().await.unwrap();
    assert_eq!(trail.verify().epochs, 1, "nothing had moved");
    {
        let mut disk = trail.sink.disk();
        let moved = std::mem::take(&mut disk.current);
        disk.rotated.push(moved);
    }
    trail.broker.reopen_all().await.unwrap();
    trail.record("y").await;
    let report = trail.verify();
    assert_eq!((report.broken, report.epochs), (None, 2));
    assert!(trail.sink.text().contains("\"reason\":\"reopen\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_few_appends_and_each_line_is_there() {
    for durability in [Durability::System, Durability::Batch] {
        let trail = Arc::new(
            Trail::with(
                DeviceConfig {
                    durability,
                    ..config("file")
                },
                MemSink::default(),
            )
            .await,
        );
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let trail = Arc::clone(&trail);
                tokio::spawn(async move {
                    for i in 0..50 {
                        let path = format!("t/{task}/{i}");
                        trail.record(&path).await;
                        assert!(trail.sink.text().contains(&format!("\"{path}\"")), "A1");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let report = trail.verify();
        assert_eq!(report.broken, None);
        assert_eq!(report.lines - report.checkpoints - report.epochs, 64 * 50);
        assert_eq!(trail.sink.disk().syncs > 0, durability == Durability::Batch);
    }
}

#[tokio::test]
async fn attack_3_a_flood_of_refusals_leaves_few_lines_and_a_count() {
    let trail = Trail::new().await;
    let from = Some([203, 0, 113, 7].into());
    for _ in 0..1_000 {
        with_entry("sys/flood", async |entry| {
            trail
                .broker
                .record_refusal("missing token", from, entry)
                .await
        })
        .await
        .unwrap();
    }
    assert_eq!(trail.sink.text().matches("sys/flood").count(), 10);
    trail.clock.advance(Duration::from_secs(1));
    trail.broker.tick();
    trail.broker.checkpoint_all().await.unwrap();
    assert!(
        trail
            .sink
            .text()
            .contains("\"kinds\":{\"missing token\":990}")
    );
    assert_eq!(trail.verify().broken, None);
    assert!(trail.clock.monotonic() == Duration::from_secs(1));
}
