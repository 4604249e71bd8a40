//! What these tests share: heads over one store and one directory of audit files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use zone_access::{Access, Ask, Operation, Permit, Refusal};
use zone_age::AgeRecipients;
use zone_audit::{AuditEntry, AuditError, Broker, Durability, EntryKind, RequestPart};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_host_linux::{FileSink, SocketAddress, SocketStream, SyslogAddress, SyslogStream};
use zone_ports::{AuditSink, AuditSinkError, AuditStream, Clock, Random};
use zone_system::{
    AuditPlaces, InitOptions, Initialised, OpenAudit, OpenStream, Parts, SealListener,
    StreamTarget, System,
};
use zone_testkit::{FakeClock, MemStore, PlainMemory, SeededRandom};
use zone_types::{NamespaceId, RequestId, RequestPath, Secret};

/// How often a service was told of seal and unseal.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) opened: AtomicUsize,
    pub(crate) closed: AtomicUsize,
    barrier: OnceLock<Barrier>,
}

impl SealListener for Told {
    fn opened(&self) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn closed(&self) {
        let barrier = self.barrier.get().unwrap();
        assert!(barrier.is_sealed(), "a cache could be filled again (B2)");
        self.closed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Told {
    pub(crate) fn times(&self) -> (usize, usize) {
        (
            self.opened.load(Ordering::SeqCst),
            self.closed.load(Ordering::SeqCst),
        )
    }
}

/// One head. Audit files named below `/zone` are in a directory of its own, `/zone/closed/` is
/// not among those that the configuration allows.
pub(crate) struct Head {
    pub(crate) system: Arc<System>,
    pub(crate) store: MemStore,
    pub(crate) barrier: Barrier,
    pub(crate) access: Access,
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) told: Arc<Told>,
    pub(crate) disk: TempDir,
}

/// What init handed out.
pub(crate) struct Keys {
    pub(crate) shares: Vec<String>,
    pub(crate) root: Secret<String>,
}

impl From<Initialised> for Keys {
    fn from(made: Initialised) -> Self {
        Self {
            shares: made.shares.keys_hex(),
            root: Secret::new(made.root_token().to_owned()),
        }
    }
}

/// 5 shares, 3 of them unseal.
pub(crate) fn five_of_three() -> InitOptions {
    InitOptions {
        shares: 5,
        threshold: 3,
        age_recipients: Vec::new(),
    }
}

impl Head {
    /// A head over an empty store.
    pub(crate) async fn new() -> Self {
        Self::over(MemStore::new(), 1).await
    }

    /// A head over `store` that draws the bytes of `seed`, with an empty disk.
    pub(crate) async fn over(store: MemStore, seed: u64) -> Self {
        Self::with(store, empty_disk(), Arc::new(FakeClock::default()), seed).await
    }

    async fn with(store: MemStore, disk: TempDir, clock: Arc<FakeClock>, seed: u64) -> Self {
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(seed));
        let committer = Committer::open(Arc::new(store.clone())).await.unwrap();
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        let broker = Arc::new(Broker::new(clock.clone()));
        let told = Arc::new(Told::default());
        assert!(told.barrier.set(barrier.clone()).is_ok());
        let system = System::new(Parts {
            barrier: barrier.clone(),
            access: access.clone(),
            broker: broker.clone(),
            clock: clock.clone(),
            random,
            recipients: Arc::new(AgeRecipients),
            places: places(disk.path()),
            listeners: vec![told.clone()],
            version: "0.1.0",
        });
        Self {
            system: Arc::new(system),
            store,
            barrier,
            access,
            broker,
            clock,
            told,
            disk,
        }
    }

    /// A new zone of 5 shares and threshold 3, unsealed.
    pub(crate) async fn unsealed() -> (Self, Keys) {
        let head = Self::new().await;
        let keys = Keys::from(head.system.init(five_of_three()).await.unwrap());
        head.open(&keys).await;
        (head, keys)
    }

    /// Unseals with the first three shares.
    pub(crate) async fn open(&self, keys: &Keys) {
        for share in &keys.shares[..3] {
            self.share(share).await.unwrap();
        }
        assert!(!self.system.is_sealed());
    }

    /// Gives one share.
    pub(crate) async fn share(&self, share: &str) -> Result<(), zone_system::SystemError> {
        let share = Secret::new(share.to_owned());
        self.system.unseal(&share, "10.0.0.1").await
    }

    /// The next head after a crash at this moment: what is durable in the store, and what is in
    /// the audit files.
    pub(crate) async fn crash(&self) -> Self {
        let disk = empty_disk();
        for file in std::fs::read_dir(self.logs()).unwrap() {
            let file = file.unwrap().path();
            let copy = disk.path().join("audit").join(file.file_name().unwrap());
            std::fs::copy(&file, &copy).unwrap();
        }
        let seed = 1000 + self.barrier.last_revision().0;
        Self::with(self.store.crash_image(), disk, self.clock.clone(), seed).await
    }

    /// The directory that `/zone/audit` stands for.
    pub(crate) fn logs(&self) -> PathBuf {
        self.disk.path().join("audit")
    }

    /// The built-in device's file.
    pub(crate) fn log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// A permit of `token` at `path`.
    pub(crate) async fn permit_of(
        &self,
        token: &Secret<String>,
        path: &str,
    ) -> Result<Permit, Refusal> {
        let path = RequestPath::from_text(path).unwrap();
        let ask = Ask {
            token: Some(token),
            path: &path,
            operation: Operation::Update,
            data: None,
            remote: None,
            wrap_ttl: None,
        };
        self.access.authorize(ask).await
    }

    /// A permit of the root token below `sys/`.
    pub(crate) async fn permit(&self, keys: &Keys) -> Permit {
        self.permit_of(&keys.root, "sys/audit/x").await.unwrap()
    }

    /// Records a request, as the face does before an engine runs.
    pub(crate) async fn record(&self, path: &str) -> Result<(), AuditError> {
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
        let entry = AuditEntry {
            kind: EntryKind::Request,
            time: self.clock.now(),
            auth: None,
            request: &request,
            response: None,
            error: None,
            operator: false,
        };
        self.broker.record(&entry).await
    }
}

fn empty_disk() -> TempDir {
    let disk = tempfile::tempdir().unwrap();
    std::fs::create_dir(disk.path().join("audit")).unwrap();
    std::fs::create_dir(disk.path().join("closed")).unwrap();
    disk
}

/// `/zone` stands for `disk`, so that a record's path is good on the next head's disk too.
fn places(disk: &Path) -> AuditPlaces {
    let (disk, disk_of_sockets) = (disk.to_owned(), disk.to_owned());
    let allowed = [disk.join("audit")];
    let open: OpenAudit = Arc::new(move |path| {
        let real = path.strip_prefix("/zone").map(|rest| disk.join(rest));
        let real = real.unwrap_or_else(|_| path.to_owned());
        let sink = FileSink::open(&real, &allowed)?;
        Ok(Box::new(sink) as Box<dyn AuditSink>)
    });
    let sockets = disk_of_sockets;
    let open_stream: OpenStream = Arc::new(move |target| match target {
        StreamTarget::Socket {
            address,
            acknowledge,
            ..
        } => {
            let Some(rest) = address.strip_prefix("/zone/") else {
                return Err(AuditSinkError {
                    doing: "reached",
                    source: std::io::Error::other("it is not among the allowed receivers"),
                });
            };
            let address = SocketAddress::Unix(sockets.join(rest));
            let patience = std::time::Duration::from_secs(10);
            let stream = SocketStream::new(address, patience, *acknowledge);
            Ok(Box::new(stream) as Box<dyn AuditStream>)
        }
        StreamTarget::Syslog { address, tag, .. } => {
            let address = SyslogAddress::Local(address.into());
            Ok(Box::new(SyslogStream::new(address, 4, tag)) as Box<dyn AuditStream>)
        }
    });
    AuditPlaces {
        open,
        open_stream,
        built_in: "/zone/audit/audit.log".into(),
        head: "head-1".into(),
        durability: Durability::System,
        rotate_bytes: None,
    }
}

/// What a refusal says to the client.
#[track_caller]
pub(crate) fn said<T>(result: Result<T, zone_system::SystemError>) -> String {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(zone_system::SystemError::Invalid(text)) => text,
        Err(other) => panic!("not the client's fault: {other:?}"),
    }
}
