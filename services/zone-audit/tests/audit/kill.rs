//! A child writes to a real file and is killed: A1 holds for every line that it acknowledged, and
//! the chain verifies across the kills.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use zone_audit::verify::{Fault, verify_files};
use zone_audit::{Broker, Device, DeviceConfig, DeviceKeys};
use zone_host_linux::{FileSink, HostClock};
use zone_types::Secret;

use crate::common::{config, public, signer, with_entry};

const CHILD: &str = "ZONE_AUDIT_TEST_CHILD";

async fn broker(dir: &Path) -> Broker {
    let sink =
        FileSink::open(&dir.join("audit.log"), &[dir.to_owned()]).expect("the test set it up");
    let keys = DeviceKeys {
        hmac: Secret::new([7; 32]),
        signer: signer(),
    };
    let with = DeviceConfig {
        rotate_bytes: Some(200_000),
        ..config("file")
    };
    let clock = Arc::new(HostClock::new());
    let device = Device::start(with, keys, Box::new(sink), clock.clone(), Arc::new(|| 1));
    let broker = Broker::new(clock);
    broker
        .add(device.await.expect("the test set it up"))
        .expect("the test set it up");
    broker
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .expect("the test set it up")
        .map(|entry| entry.expect("the test set it up").path())
        .collect()
}

/// Not a test of its own: the process that the test below starts and kills.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the test set it up");
    runtime.block_on(async {
        let broker = Arc::new(broker(Path::new(&dir)).await);
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let broker = Arc::clone(&broker);
                tokio::spawn(async move {
                    for i in 0.. {
                        let path = format!("p{}/{task}/{i}", std::process::id());
                        with_entry(&path, async |entry| broker.record(entry).await)
                            .await
                            .expect("the test set it up");
                        writeln!(std::io::stdout(), "\nacknowledged {path}")
                            .expect("the test set it up");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the test set it up");
        }
    });
}

#[tokio::test]
async fn a1_a_deleted_or_cut_file_is_noticed_and_the_trail_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.log");
    let trail = broker(dir.path()).await;
    let record = async |name: &str| {
        with_entry(name, async |entry| trail.record(entry).await)
            .await
            .expect("recorded");
    };
    record("one").await;
    std::fs::remove_file(&path).expect("deleted");
    record("two").await;
    let report = verify_files(&files(dir.path()), Some(&public())).expect("readable");
    assert!(report.is_intact() && report.first_seq > 1);
    assert!(
        std::fs::read_to_string(&path)
            .expect("there again")
            .contains("\"two\"")
    );
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open");
    file.set_len(300).expect("cut");
    record("three").await;
    let report = verify_files(&files(dir.path()), Some(&public())).expect("readable");
    assert_eq!(report.broken.expect("found").fault, Fault::TamperedAtRest);
}

#[test]
fn a1_every_acknowledged_line_survives_kill_9_and_the_chain_verifies() {
    let dir = tempfile::tempdir().expect("the test set it up");
    let mut acknowledged = Vec::new();
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().expect("the test set it up"))
            .args(["kill::child", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test set it up");
        let mut lines = BufReader::new(child.stdout.take().expect("the test set it up")).lines();
        let mut told = || {
            lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned))
        };
        for _ in 0..=(round * 37) % 400 {
            acknowledged.push(told().expect("the child writes until it is killed"));
        }
        child.kill().expect("the test set it up");
        acknowledged.extend(std::iter::from_fn(told));
        child.wait().expect("the test set it up");
        let report = verify_files(&files(dir.path()), Some(&public())).expect("the test set it up");
        assert_eq!(report.broken, None, "round {round}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the test set it up");
    runtime.block_on(async { broker(dir.path()).await.close().await });
    let paths = files(dir.path());
    let report = verify_files(&paths, Some(&public())).expect("the test set it up");
    assert!(report.is_intact() && report.epochs > 20);
    assert_eq!(report.lines_after_checkpoint, 0);
    let text: String = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("the test set it up"))
        .collect();
    let written: std::collections::HashSet<&str> = text.split('"').collect();
    for path in &acknowledged {
        assert!(written.contains(path.as_str()), "{path}");
    }
}
