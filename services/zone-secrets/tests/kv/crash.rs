//! S1: power goes at each write, before it is durable or just after.

use zone_secrets::kv2::{ConfigUpdate, CustomChange, MetadataUpdate, Patched};
use zone_testkit::Fault;

use crate::zone::Zone;

/// How many versions `many` has in the beginning: enough that removals need several batches.
const MANY: u64 = 110;

fn most(versions: u32) -> MetadataUpdate {
    MetadataUpdate {
        max_versions: Some(versions),
        ..Default::default()
    }
}

/// What the sweep begins with.
async fn beginning() -> Zone {
    let zone = Zone::new().await;
    zone.set("many", most(200)).await.unwrap();
    for n in 1..=MANY {
        zone.put("many", &format!(r#"{{"n":{n}}}"#)).await;
    }
    zone
}

fn large(n: u32) -> String {
    format!(r#"{{"large":{n},"text":"{}"}}"#, "x".repeat(100_000))
}

const STEPS: usize = 19;

async fn step(zone: &Zone, number: usize) {
    match number {
        0 => assert_eq!(
            zone.write("a", r#"{"n":1}"#, Some(0))
                .await
                .unwrap()
                .version,
            1
        ),
        1 => assert_eq!(
            zone.write("a", r#"{"n":2}"#, Some(1))
                .await
                .unwrap()
                .version,
            2
        ),
        2 => {
            let patched = zone.patch("a", r#"{"m":3}"#, Some(2)).await.unwrap();
            assert!(matches!(patched, Patched::Written(_)));
        }
        3 => {
            let pairs = [("owner".to_owned(), "team".to_owned())].into();
            let custom_metadata = Some(CustomChange::Replace(pairs));
            let update = MetadataUpdate {
                custom_metadata,
                ..most(3)
            };
            assert!(zone.set("a", update).await.unwrap().is_empty());
        }
        4 => assert_eq!(zone.put("large", &large(1)).await, 1),
        5 => assert_eq!(zone.put("large", &large(2)).await, 2),
        6 => zone.delete_latest("a").await,
        7 => zone.versions("undelete", "a", &[3]).await,
        8 => zone.versions("delete", "a", &[1, 2]).await,
        9 => zone.versions("destroy", "large", &[1]).await,
        10 => assert_eq!(zone.put("a", r#"{"n":4}"#).await, 4),
        11 => {
            let odd: Vec<u64> = (1..MANY).step_by(2).collect();
            zone.versions("destroy", "many", &odd).await;
        }
        12 => assert!(zone.set("many", most(1)).await.unwrap().is_empty()),
        13 => assert_eq!(zone.put("many", "{}").await, MANY + 1),
        14 => {
            zone.configure(ConfigUpdate {
                max_versions: Some(2),
                ..Default::default()
            })
            .await
        }
        15 => assert_eq!(zone.put("large", r#"{"large":"no more"}"#).await, 3),
        16 => zone.delete_metadata("large").await,
        17 => zone.delete_metadata("many").await,
        _ => assert_eq!(zone.write("many", "{}", Some(0)).await.unwrap().version, 1),
    }
}

/// All that can be read. Fails if a version is listed but cannot be read.
async fn dump(zone: &Zone) -> String {
    let mut text = String::new();
    for path in zone.list("").await {
        let metadata = zone.metadata(&path).await.unwrap();
        text += &format!(
            "{path} {} {} ",
            metadata.current_version, metadata.max_versions
        );
        text += &format!("{:?}\n", metadata.custom_metadata);
        for version in &metadata.versions {
            let read = zone.read(&path, Some(version.version)).await;
            text += &format!("  {} {}\n", version.version, read.replace("xxxx", ""));
        }
    }
    let permit = zone.permit(zone_access::Operation::Read, "config").await;
    text + &format!("{:?}\n", zone.kv.read_config(&permit).await.unwrap())
}

/// Versions that have data.
async fn living(zone: &Zone) -> usize {
    let mut count = 0;
    for path in zone.list("").await {
        let versions = zone.metadata(&path).await.unwrap().versions;
        count += versions.iter().filter(|version| !version.destroyed).count();
    }
    count
}

#[tokio::test]
async fn s1_a_crash_at_any_write_tears_nothing() {
    let start = beginning().await;
    let zone = start.over(start.lab.store.crash_image()).await;
    let mut dumps = vec![dump(&zone).await];
    for number in 0..STEPS {
        step(&zone, number).await;
        dumps.push(dump(&zone).await);
    }
    let (mut crashes, mut leftovers) = (0, 0);
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for nth in 1.. {
            let zone = start.over(start.lab.store.crash_image()).await;
            zone.lab.store.fail_at(nth, fault);
            let mut done = 0;
            let work = async {
                for number in 0..STEPS {
                    step(&zone, number).await;
                    done += 1;
                }
            };
            tokio::select! {
                () = work => break,
                () = zone.lab.store.died() => {}
            }
            crashes += 1;
            let zone = zone.over(zone.lab.store.crash_image()).await;
            let found = dump(&zone).await;
            let whole = found == dumps[done] || found == dumps[done + 1];
            assert!(
                whole,
                "{fault:?} at write {nth}, {done} steps done:\n{found}"
            );
            leftovers += zone.kv.resume(&zone.mount).await.unwrap();
            assert!(zone.stored("t").is_empty());
            assert_eq!(
                zone.stored("v").len(),
                living(&zone).await,
                "{fault:?} at write {nth}"
            );
            assert_eq!(
                dump(&zone).await,
                found,
                "cleaning up changes nothing that can be read"
            );
        }
    }
    assert!(
        crashes >= 2 * STEPS && leftovers > 0,
        "{crashes} crashes, {leftovers} leftovers"
    );
}

/// A write whose answer was lost is there or not, and a caller who tries again with check-and-set
/// never writes twice.
#[tokio::test]
async fn a_lost_answer_does_not_double_a_write() {
    for fault in [Fault::Lost, Fault::AnswerLost, Fault::Full] {
        let zone = Zone::new().await;
        zone.put("a", "{}").await;
        zone.lab.store.fail_at(1, fault);
        let first = zone.write("a", r#"{"n":2}"#, Some(1)).await;
        let again = zone.write("a", r#"{"n":2}"#, Some(1)).await;
        assert!(
            first.is_ok() != again.is_ok(),
            "{fault:?}: {first:?} {again:?}"
        );
        assert_eq!(
            zone.metadata("a").await.unwrap().current_version,
            2,
            "{fault:?}"
        );
        assert_eq!(zone.read("a", None).await, r#"{"n":2}"#, "{fault:?}");
    }
}
