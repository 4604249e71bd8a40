//! What a line costs: `cargo run --release -p zone-audit --example measure_lines [DIR]`.
//!
//! Pairs of lines (request and response of a KV read) through a broker: with a device that writes
//! nothing, then with one and two file devices in DIR (absolute), for 1, 16 and 64 tasks. CPU time is the process's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zone_audit::{
    AuditEntry, AuthPart, Broker, Data, Device, DeviceConfig, DeviceKeys, Durability, EntryKind,
    MountPart, RequestPart, ResponsePart,
};
use zone_crypto::sign::{KeyType, PrivateKey};
use zone_host_linux::{FileSink, HostClock};
use zone_ports::{AuditRoom, AuditSink, AuditSinkError, AuditTail, Clock};
use zone_types::{NamespaceId, RequestId, Secret};

const PAIRS: usize = 100_000;
const BODY: &str = r#"{"data":{"user":"app","password":"correct horse"},"metadata":{"created_time":"2026-11-18T11:06:40Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        measure(&dir, 1, &["nothing"]).await?;
        for names in [&["measure-1"][..], &["measure-1", "measure-2"]] {
            for tasks in [1, 16, 64] {
                measure(&dir, tasks, names).await?;
            }
        }
        Ok(())
    })
}

async fn measure(
    dir: &Path,
    tasks: usize,
    names: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(HostClock::new());
    let broker = Arc::new(Broker::new(clock.clone()));
    for name in names {
        broker.add(device(dir, name, clock.clone()).await?)?;
    }
    let (start, cpu) = (clock.monotonic(), cpu_time()?);
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (broker, clock) = (Arc::clone(&broker), Arc::clone(&clock));
            tokio::spawn(async move {
                for _ in 0..PAIRS / tasks {
                    pair(&broker, clock.as_ref()).await;
                }
            })
        })
        .collect();
    for task in running {
        task.await?;
    }
    let (wall, cpu) = (clock.monotonic() - start, cpu_time()? - cpu);
    let each = |span: Duration| span.as_secs_f64() * 1e6 / PAIRS as f64;
    println!(
        "{names:?}, {tasks:2} tasks: {:6.2} us wall, {:6.2} us CPU per pair of lines",
        each(wall),
        each(cpu)
    );
    broker.close().await;
    for name in names {
        if *name != "nothing" {
            std::fs::remove_file(dir.join(name))?;
        }
    }
    Ok(())
}

async fn device(
    dir: &Path,
    name: &str,
    clock: Arc<HostClock>,
) -> Result<Arc<Device>, Box<dyn std::error::Error>> {
    let config = DeviceConfig {
        name: name.to_owned(),
        zone: "zone".to_owned(),
        head: "head".to_owned(),
        hmac_accessor: true,
        elide_lists: false,
        durability: Durability::System,
        rotate_bytes: None,
        remembered: None,
        counts: true,
    };
    let signer = PrivateKey::generate(KeyType::Ed25519)?;
    let keys = DeviceKeys {
        hmac: Secret::new([7; 32]),
        signer,
    };
    let sink: Box<dyn AuditSink> = match name {
        "nothing" => Box::new(Nothing),
        _ => Box::new(FileSink::open(&dir.join(name), &[dir.to_owned()])?),
    };
    Ok(Device::start(config, keys, sink, clock, Arc::new(|| 1)).await?)
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
struct Nothing;

impl AuditSink for Nothing {
    fn append(&mut self, _: &[u8]) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn room(&mut self, _: u64) -> Result<AuditRoom, AuditSinkError> {
        Ok(AuditRoom::Enough)
    }

    fn sync(&mut self) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn size(&mut self) -> Result<u64, AuditSinkError> {
        Ok(0)
    }

    fn rotate(&mut self, _: &str, _: &[u8]) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn tail(&mut self) -> Result<AuditTail, AuditSinkError> {
        Ok(AuditTail::default())
    }
}

async fn pair(broker: &Broker, clock: &HostClock) {
    let namespace = NamespaceId::root();
    let policies = ["default".to_owned(), "app".to_owned()];
    let auth = AuthPart {
        client_token: Some("hvs.CAESIJ0000000000000000000000"),
        accessor: Some("0000000000000000000000000"),
        display_name: "token",
        policies: &policies,
        token_type: "service",
        ..AuthPart::default()
    };
    let mount = MountPart {
        path: "secret/",
        kind: "kv",
        class: "secret",
        accessor: "kv_1a2b3c4d",
    };
    let request = RequestPart {
        id: RequestId::from_random([1; 16]),
        namespace: &namespace,
        operation: "read",
        path: "secret/data/app",
        mount: Some(mount),
        data: None,
        clear_keys: &[],
        remote_address: Some([127, 0, 0, 1].into()),
        remote_port: 40_000,
        headers: &[],
        client_certificate: None,
        wrap_ttl: 0,
    };
    let response = ResponsePart {
        status: 200,
        data: Some(Data::Json(BODY)),
        ..ResponsePart::default()
    };
    let mut entry = AuditEntry {
        kind: EntryKind::Request,
        time: clock.now(),
        auth: Some(&auth),
        request: &request,
        response: None,
        error: None,
        operator: false,
    };
    broker.record(&entry).await.expect("the request line");
    entry.kind = EntryKind::Response;
    entry.response = Some(&response);
    broker.record(&entry).await.expect("the response line");
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // USER_HZ is 100 on every Linux architecture that Rust's standard library runs on but Alpha.
    Ok(Duration::from_millis(ticks * 10))
}
