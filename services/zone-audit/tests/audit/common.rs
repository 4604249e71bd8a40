//! A clock, a sink in memory and fixed keys for the tests of the audit trail.

use std::io::{Cursor, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use zone_audit::verify::{Report, verify_readers};
use zone_audit::{
    AuditEntry, AuthPart, Broker, ChainHead, Data, Decision, Device, DeviceConfig, DeviceKeys,
    Durability, EntryKind, Header, MountPart, RequestPart, ResponsePart,
};
use zone_crypto::sign::{PrivateKey, PublicKey};
use zone_ports::audit::{AuditRoom, AuditTail};
use zone_ports::{AuditSink, AuditSinkError, Clock};
use zone_types::{NamespaceId, RequestId, Secret, Timestamp};

/// Both clocks stand until they are advanced.
#[derive(Debug, Default)]
pub(crate) struct StillClock(AtomicU64);

impl StillClock {
    pub(crate) fn advance(&self, span: Duration) {
        self.0.fetch_add(
            u64::try_from(span.as_nanos()).expect("the test set it up"),
            Ordering::SeqCst,
        );
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_795_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// What a [`MemSink`] holds, for the test to look at and to break.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) current: Vec<u8>,
    pub(crate) rotated: Vec<Vec<u8>>,
    pub(crate) suffixes: Vec<String>,
    /// The next append writes this many bytes and fails.
    pub(crate) fail: Option<(usize, ErrorKind)>,
    pub(crate) room: Option<AuditRoom>,
    pub(crate) appends: usize,
    pub(crate) syncs: usize,
    /// Appends wait while this is set.
    pub(crate) stuck: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MemSink(pub(crate) Arc<(Mutex<Disk>, Condvar)>);

impl MemSink {
    pub(crate) fn disk(&self) -> parking_lot::MutexGuard<'_, Disk> {
        self.0.0.lock()
    }

    pub(crate) fn unstick(&self) {
        self.disk().stuck = false;
        self.0.1.notify_all();
    }

    /// The rotated files and the current one.
    pub(crate) fn files(&self) -> Vec<Vec<u8>> {
        let disk = self.disk();
        disk.rotated
            .iter()
            .chain([&disk.current])
            .cloned()
            .collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.files().concat()).expect("the test set it up")
    }
}

fn fault(kind: ErrorKind) -> AuditSinkError {
    AuditSinkError {
        doing: "written",
        source: kind.into(),
    }
}

impl AuditSink for MemSink {
    fn append(&mut self, lines: &[u8]) -> Result<(), AuditSinkError> {
        let mut disk = self.disk();
        self.0.1.wait_while(&mut disk, |disk| disk.stuck);
        disk.appends += 1;
        if let Some((bytes, kind)) = disk.fail.take() {
            disk.current
                .extend_from_slice(&lines[..bytes.min(lines.len())]);
            return Err(fault(kind));
        }
        disk.current.extend_from_slice(lines);
        Ok(())
    }

    fn room(&mut self, _: u64) -> Result<AuditRoom, AuditSinkError> {
        Ok(self.disk().room.unwrap_or(AuditRoom::Enough))
    }

    fn sync(&mut self) -> Result<(), AuditSinkError> {
        self.disk().syncs += 1;
        Ok(())
    }

    fn size(&mut self) -> Result<u64, AuditSinkError> {
        Ok(self.disk().current.len() as u64)
    }

    fn rotate(&mut self, suffix: &str, first: &[u8]) -> Result<(), AuditSinkError> {
        let mut disk = self.disk();
        let old = std::mem::replace(&mut disk.current, first.to_vec());
        disk.rotated.push(old);
        disk.suffixes.push(suffix.to_owned());
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), AuditSinkError> {
        Ok(())
    }

    fn tail(&mut self) -> Result<AuditTail, AuditSinkError> {
        let mut disk = self.disk();
        let end = disk
            .current
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let cut = disk.current.len() - end;
        disk.current.truncate(end);
        let line = disk.current.strip_suffix(b"\n").map(|whole| {
            whole
                .rsplit(|b| *b == b'\n')
                .next()
                .unwrap_or_default()
                .to_vec()
        });
        Ok(AuditTail {
            line,
            cut: cut as u64,
        })
    }
}

pub(crate) fn signer() -> PrivateKey {
    let mut der = vec![
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    der.extend_from_slice(&[9; 32]);
    PrivateKey::from_pkcs8_der(&der).expect("the test set it up")
}

pub(crate) fn public() -> PublicKey {
    signer().public_key().clone()
}

pub(crate) fn config(name: &str) -> DeviceConfig {
    DeviceConfig {
        name: name.to_owned(),
        zone: "3f9c0a1b2c3d4e5f".to_owned(),
        head: "head-1".to_owned(),
        hmac_accessor: true,
        elide_lists: false,
        durability: Durability::System,
        rotate_bytes: None,
        remembered: None,
        counts: true,
    }
}

pub(crate) async fn start(
    config: DeviceConfig,
    sink: &MemSink,
    clock: &Arc<StillClock>,
) -> Arc<Device> {
    let keys = DeviceKeys {
        hmac: Secret::new([7; 32]),
        signer: signer(),
    };
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let revision = Arc::new(|| 42);
    Device::start(config, keys, Box::new(sink.clone()), clock, revision)
        .await
        .expect("the test set it up")
}

/// A broker with one device in memory.
pub(crate) struct Trail {
    pub(crate) clock: Arc<StillClock>,
    pub(crate) sink: MemSink,
    pub(crate) broker: Broker,
}

impl Trail {
    pub(crate) async fn new() -> Self {
        Self::with(config("file"), MemSink::default()).await
    }

    pub(crate) async fn with(config: DeviceConfig, sink: MemSink) -> Self {
        let clock = Arc::new(StillClock::default());
        let broker = Broker::new(Arc::clone(&clock) as Arc<dyn Clock>);
        broker
            .add(start(config, &sink, &clock).await)
            .expect("the test set it up");
        Self {
            clock,
            sink,
            broker,
        }
    }

    pub(crate) async fn record(&self, path: &str) {
        with_entry(path, async |entry| self.broker.record(entry).await)
            .await
            .expect("the test set it up");
    }

    pub(crate) fn verify(&self) -> Report {
        check(&self.sink.files())
    }
}

pub(crate) fn check(files: &[Vec<u8>]) -> Report {
    verify_readers(files.iter().map(Cursor::new), Some(&public())).expect("the test set it up")
}

pub(crate) fn head_of(text: &str) -> ChainHead {
    ChainHead::of_line(
        text.trim_end()
            .lines()
            .last()
            .expect("the test set it up")
            .as_bytes(),
    )
    .expect("the test set it up")
}

/// Calls `use_it` with a request entry on `path`.
pub(crate) async fn with_entry<T>(path: &str, use_it: impl AsyncFnOnce(&AuditEntry<'_>) -> T) -> T {
    let namespace = NamespaceId::root();
    let request = RequestPart {
        id: RequestId::from_random([1; 16]),
        namespace: &namespace,
        operation: "read",
        path,
        mount: None,
        data: None,
        clear_keys: &[],
        remote_address: None,
        remote_port: 0,
        headers: &[],
        client_certificate: None,
        wrap_ttl: 0,
    };
    use_it(&AuditEntry {
        kind: EntryKind::Request,
        time: Timestamp::from_secs(1_795_000_000),
        auth: None,
        request: &request,
        response: None,
        error: None,
        operator: path.starts_with("sys/"),
    })
    .await
}

/// Calls `use_it` with a response entry in which every field is set.
pub(crate) async fn with_full_entry<T>(use_it: impl AsyncFnOnce(&AuditEntry<'_>) -> T) -> T {
    let namespace = NamespaceId::root();
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let policies = names(&["default", "dev"]);
    let granting = names(&["dev"]);
    let clear = names(&["note"]);
    let warnings = names(&["a warning"]);
    let auth = AuthPart {
        client_token: Some("hvs.CANARYtoken"),
        accessor: Some("CANARYaccessor"),
        display_name: "token",
        policies: &policies,
        token_type: "service",
        entity_id: "7d2e3179-f69b-450c-7179-ac8ee8bd8ca9",
        decision: Some(Decision {
            allowed: true,
            policies: &granting,
            rule: Some("secret/*"),
        }),
    };
    let serde_json::Value::Object(data) = serde_json::json!({
        "data": {"password": "CANARYin", "n": 1.50, "on": true, "none": null},
        "list": ["CANARYlist", 7, {"deep": "CANARYdeep"}],
        "note": ["in the clear", "a \"quote\"\n"],
    }) else {
        panic!("an object")
    };
    let headers = [
        Header {
            name: "user-agent",
            value: "curl/8\u{7f}",
            clear: true,
        },
        Header {
            name: "x-secret",
            value: "CANARYheader",
            clear: false,
        },
    ];
    let mount = MountPart {
        path: "secret/",
        kind: "kv",
        class: "secret",
        accessor: "kv_1a2b3c4d",
    };
    let request = RequestPart {
        id: RequestId::from_random([2; 16]),
        namespace: &namespace,
        operation: "update",
        path: "secret/data/app",
        mount: Some(mount),
        data: Some(Data::Map(&data)),
        clear_keys: &clear,
        remote_address: Some("203.0.113.9".parse().expect("the test set it up")),
        remote_port: 40_000,
        headers: &headers,
        client_certificate: Some("ab12"),
        wrap_ttl: 60,
    };
    let issued = AuthPart {
        client_token: Some("hvs.CANARYissued"),
        accessor: Some("CANARYissuedaccessor"),
        display_name: "token-x",
        policies: &policies,
        token_type: "service",
        entity_id: "",
        decision: None,
    };
    let response = ResponsePart {
        status: 200,
        data: Some(Data::Json(
            r#"{"version":3,"value":"CANARY\u006fut","note":"kept"}"#,
        )),
        auth: Some(&issued),
        lease_id: "secret/lease/1",
        wrap_token: Some("hvs.CANARYwrap"),
        wrap_accessor: Some("CANARYwrapaccessor"),
        clear_keys: &clear,
        warnings: &warnings,
    };
    use_it(&AuditEntry {
        kind: EntryKind::Response,
        time: Timestamp::from_nanos(1_795_000_000_120_000_000),
        auth: Some(&auth),
        request: &request,
        response: Some(&response),
        error: Some("permission denied"),
        operator: false,
    })
    .await
}
