//! Many callers at once, within one head and across two.

use std::sync::Arc;

use zone_access::Operation;
use zone_secrets::kv2::{MetadataUpdate, Patched};
use zone_secrets::{KvError, KvService};

use crate::probe::Probe;
use crate::zone::{Zone, object};

/// 64 writers who all expect `cas`, half of them on a second head. Returns who won.
async fn contest(zone: &Zone, heads: &[Arc<KvService>], cas: i64) -> Vec<usize> {
    let mut writers = Vec::new();
    for writer in 0..64 {
        let kv = heads[writer % heads.len()].clone();
        let permit = zone.permit(Operation::Update, "data/a").await;
        let data = object(&format!(r#"{{"round":{cas},"writer":{writer}}}"#));
        writers.push(tokio::spawn(async move {
            kv.write(&permit, &data, Some(cas)).await
        }));
    }
    let mut won = Vec::new();
    for (writer, task) in writers.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(info) => {
                assert_eq!(info.version, u64::try_from(cas).unwrap() + 1);
                won.push(writer);
            }
            Err(error) => assert!(matches!(error, KvError::CasMismatch), "{error}"),
        }
    }
    won
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_64_check_and_set_writers_wins_each_round() {
    let zone = Zone::new().await;
    for heads in [vec![zone.kv.clone()], vec![zone.kv.clone(), zone.second()]] {
        zone.delete_metadata("a").await;
        for round in 0..8 {
            let won = contest(&zone, &heads, round).await;
            assert_eq!(won.len(), 1, "round {round}");
            let text = format!(r#"{{"round":{round},"writer":{}}}"#, won[0]);
            assert_eq!(zone.read("a", None).await, text);
        }
    }
    assert_eq!(zone.stored("v").len(), 8);
}

/// They wait for their turns: had all of them read before the first one wrote, 63 would have read
/// in vain.
#[tokio::test]
async fn writers_without_check_and_set_all_get_a_version_of_their_own() {
    let (probe, zone) = Probe::open(Zone::new().await).await;
    let update = MetadataUpdate {
        max_versions: Some(100),
        ..Default::default()
    };
    zone.set("a", update).await.unwrap();
    let mut permits = Vec::new();
    for _ in 0..64 {
        permits.push(zone.permit(Operation::Update, "data/a").await);
    }
    let before = probe.counts();
    zone.lab.store.hold();
    let write = |(writer, permit)| {
        let kv = zone.kv.clone();
        let data = object(&format!(r#"{{"writer":{writer}}}"#));
        tokio::spawn(async move { kv.write(&permit, &data, None).await })
    };
    let writers: Vec<_> = permits.into_iter().enumerate().map(write).collect();
    zone.lab.store.arrived().await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    zone.lab.store.release();
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap().unwrap().version);
    }
    let after = probe.counts();
    assert_eq!([after[0] - before[0], after[2] - before[2]], [64 * 3, 64]);
    for (writer, version) in versions.iter().enumerate() {
        assert_eq!(
            zone.read("a", Some(*version)).await,
            format!(r#"{{"writer":{writer}}}"#)
        );
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_patch_is_lost() {
    let zone = Zone::new().await;
    zone.put("a", "{}").await;
    let mut writers = Vec::new();
    for writer in 0..64 {
        let kv = zone.kv.clone();
        let permit = zone.permit(Operation::Patch, "data/a").await;
        let patch = object(&format!(r#"{{"k{writer}":1}}"#));
        writers.push(tokio::spawn(async move {
            kv.patch(&permit, &patch, None).await
        }));
    }
    for task in writers {
        assert!(matches!(task.await.unwrap().unwrap(), Patched::Written(_)));
    }
    assert_eq!(object(&zone.read("a", None).await).len(), 64);
    assert_eq!(zone.metadata("a").await.unwrap().current_version, 65);
}

/// Both patches read version N; the store holds their batches back until both are under way. The
/// one that comes second has to read again.
#[tokio::test]
async fn a_patch_that_met_another_heads_version_is_merged_again() {
    let zone = Zone::new().await;
    let second = zone.second();
    zone.put("a", r#"{"n":0}"#).await;
    for round in 0..20 {
        let permit = zone.permit(Operation::Patch, "data/a").await;
        zone.lab.store.hold();
        let one = object(&format!(r#"{{"a":{round}}}"#));
        let two = object(&format!(r#"{{"b":{round}}}"#));
        let release = async {
            zone.lab.store.arrived().await;
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            zone.lab.store.release();
        };
        let (one, two, ()) = tokio::join!(
            zone.kv.patch(&permit, &one, None),
            second.patch(&permit, &two, None),
            release
        );
        assert!(matches!(
            (one, two),
            (Ok(Patched::Written(_)), Ok(Patched::Written(_)))
        ));
        let expected = format!(r#"{{"n":0,"a":{round},"b":{round}}}"#);
        assert_eq!(object(&zone.read("a", None).await), object(&expected));
    }
    assert_eq!(zone.metadata("a").await.unwrap().current_version, 41);
}

/// With one version kept, each write removes what a reader may be about to fetch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_versions_while_old_ones_go() {
    let zone = Zone::new().await;
    zone.set(
        "a",
        MetadataUpdate {
            max_versions: Some(1),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    zone.put("a", r#"{"n":1}"#).await;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (kv, done) = (zone.kv.clone(), done.clone());
        let permit = zone.permit(Operation::Read, "data/a").await;
        readers.push(tokio::spawn(async move {
            let (mut last, mut reads) = (0, 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let reading = kv.read(&permit, None).await.unwrap();
                let text = reading.data().unwrap().unwrap().get().to_owned();
                assert_eq!(text, format!(r#"{{"n":{}}}"#, reading.info.version));
                assert!(reading.info.version >= last, "time runs forward");
                last = reading.info.version;
                reads += 1;
                tokio::task::yield_now().await;
            }
            reads
        }));
    }
    for n in 2..=500 {
        zone.put("a", &format!(r#"{{"n":{n}}}"#)).await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert_eq!(zone.stored("v").len(), 1);
}

/// The same, with a write of another head exactly between the reads of list and version.
#[tokio::test]
async fn a_version_that_goes_between_two_reads_is_no_corruption() {
    let (probe, zone) = Probe::open(Zone::new().await).await;
    let update = MetadataUpdate {
        max_versions: Some(1),
        ..Default::default()
    };
    zone.set("a", update).await.unwrap();
    zone.put("a", r#"{"n":1}"#).await;
    let write = async |n: u32| {
        let second = zone.second();
        let permit = zone.permit(Operation::Update, "data/a").await;
        let data = object(&format!(r#"{{"n":{n}}}"#));
        probe.before_version(async move {
            second.write(&permit, &data, None).await.unwrap();
        });
    };
    write(2).await;
    assert_eq!(zone.read("a", None).await, r#"{"n":2}"#);
    write(3).await;
    let patched = zone.patch("a", r#"{"patched":true}"#, None).await;
    assert!(matches!(patched, Ok(Patched::Written(_))), "{patched:?}");
    assert_eq!(zone.read("a", None).await, r#"{"n":3,"patched":true}"#);
    assert_eq!(zone.metadata("a").await.unwrap().current_version, 4);
    // An old version that goes meanwhile is not there any more.
    write(5).await;
    assert_eq!(zone.read("a", Some(4)).await, "no such secret");
}

/// Whoever goes away while he waits for his turn or for the store blocks nobody.
#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_lock() {
    let zone = Zone::new().await;
    let permit = zone.permit(Operation::Update, "data/a").await;
    zone.lab.store.hold();
    let writer = |n: u32| {
        let (kv, permit) = (zone.kv.clone(), &permit);
        async move {
            kv.write(permit, &object(&format!(r#"{{"n":{n}}}"#)), None)
                .await
        }
    };
    {
        let (first, second) = (writer(1), writer(2));
        tokio::select! {
            biased;
            _ = first => panic!("the store is held"),
            _ = second => panic!("the store is held"),
            () = zone.lab.store.arrived() => {}
        }
    }
    zone.lab.store.release();
    let version = zone.put("a", r#"{"n":3}"#).await;
    assert_eq!(zone.read("a", None).await, r#"{"n":3}"#);
    assert!(
        version <= 2,
        "at most the first writer's batch was under way"
    );
}
