//! The one place that names the backends.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use zone_access::{Access, MountKind};
use zone_age::AgeRecipients;
use zone_audit::Broker;
use zone_auth::{AuthService, Hashers, RoleTerms};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_host_linux::{
    FileSink, HostClock, LinuxHost, LockedMemory, OsRandom, SocketAddress, SocketStream,
    SyslogAddress, SyslogStream,
};
use zone_http::events::Subscribers;
use zone_http::metrics::{Connections, Metrics, StoreMeter};
use zone_http::{About, Zone};
use zone_pki::{PkiService, ReservedNames};
use zone_ports::{AuditSinkError, AuditStream, Clock, LogControl, Random};
use zone_secrets::{KvService, Upgrades};
use zone_store_postgres::{Password, PostgresOptions, PostgresStore, TlsFiles};
use zone_store_redb::RedbStore;
use zone_system::{
    AuditPlaces, OpenAudit, OpenStream, Parts, SealListener, StreamTarget, System, Transport,
};

use crate::config::{Server, Settings, Store};
use crate::measured::Measured;

/// The version of Vault's API that is served, for clients that look at it.
const API_VERSION: &str = "1.20.0";

/// A head that is ready to serve, sealed.
pub(crate) struct Head {
    pub(crate) zone: Arc<Zone>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The embedded store, which is closed in good order.
    file: Option<RedbStore>,
}

/// Opens the store and puts the services over it.
pub(crate) async fn assemble(
    settings: &Settings,
    log: Arc<dyn LogControl>,
) -> anyhow::Result<Head> {
    if settings.raw_storage {
        tracing::warn!("sys/raw is served: whoever has sudo there reads and writes every record");
    }
    private_directory(&settings.storage)?;
    for directory in &settings.audit_directories {
        private_directory(directory)?;
    }
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let meter = Arc::<StoreMeter>::default();
    let (store, file) = open_store(settings, &meter).await?;
    let store = Measured {
        store,
        meter: meter.clone(),
        clock: clock.clone(),
    };
    let committer = Committer::open(Arc::new(store))
        .await
        .context("opening the commit log")?;
    let memory = LockedMemory::new().context("locking memory for keys (see LimitMEMLOCK)")?;
    tracing::info!(protection = ?memory.protection(), "key memory");
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let barrier = Barrier::new(committer, random.clone(), Arc::new(memory));
    let access = Access::new(barrier.clone(), clock.clone(), random.clone())
        .with_lease_times(settings.lease_times);
    let reserved = ReservedNames::new(&settings.zone, &settings.head_names());
    let pki = PkiService::new(
        access.clone(),
        barrier.clone(),
        clock.clone(),
        random.clone(),
        reserved,
    );
    let pki = Arc::new(pki);
    access.end_leases_by(MountKind::Pki, pki.clone());
    access.judge_renewals(Arc::new(RoleTerms::new(barrier.clone())));
    let auth = AuthService::new(
        barrier.clone(),
        access.clone(),
        random.clone(),
        Hashers::new(hashers()),
    );
    let auth = Arc::new(auth);
    let kv = Arc::new(KvService::new(barrier.clone(), random.clone()));
    access.also_do(Arc::new(Upgrades::new(kv.clone(), access.clone())));
    let resume = KvResume {
        kv: kv.clone(),
        access: access.clone(),
    };
    let events = Arc::<Subscribers>::default();
    let system = System::new(Parts {
        barrier,
        access,
        broker: Arc::new(Broker::new(clock.clone())),
        clock: clock.clone(),
        random: random.clone(),
        recipients: Arc::new(AgeRecipients),
        places: audit_places(settings),
        listeners: vec![
            Arc::new(PkiSeal(pki.clone())),
            Arc::new(AuthSeal(auth.clone())),
            Arc::new(resume),
            events.clone(),
        ],
        version: env!("CARGO_PKG_VERSION"),
    });
    let zone = Zone {
        system,
        kv,
        auth,
        pki,
        random,
        host: Arc::new(LinuxHost::new(watched_disks(settings))),
        log,
        raw_storage: settings.raw_storage,
        in_flight: zone_http::in_flight::InFlight::default(),
        metrics: Metrics::over(meter),
        events,
        about: About {
            api_version: API_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            zone: settings.zone.clone(),
            api_addr: settings.api_addr.clone(),
        },
    };
    Ok(Head {
        zone: Arc::new(zone),
        clock,
        file,
    })
}

impl Head {
    /// Seals in good order and closes the store.
    pub(crate) async fn close(self) {
        self.zone.system.close().await;
        if let Some(file) = self.file
            && let Err(error) = file.close()
        {
            tracing::warn!(%error, "the store did not close well; nothing acknowledged is lost");
        }
    }
}

/// The file systems that the head writes to.
fn watched_disks(settings: &Settings) -> Vec<PathBuf> {
    let mut paths = vec![settings.storage.clone()];
    paths.extend(settings.audit_directories.iter().cloned());
    paths
}

/// Opens what holds the zone; the embedded store once more, to close it in the end.
async fn open_store(
    settings: &Settings,
    meter: &StoreMeter,
) -> anyhow::Result<(Arc<dyn zone_ports::Store>, Option<RedbStore>)> {
    match &settings.store {
        Store::File => {
            let file = settings.storage.join("zone.redb");
            let store = RedbStore::open(&file)
                .with_context(|| format!("opening the store {}", file.display()))?;
            Ok((Arc::new(store.clone()), Some(store)))
        }
        Store::Postgres(server) => {
            let options = postgres_options(server).map_err(anyhow::Error::msg)?;
            tracing::info!(server = ?options, "opening the store on PostgreSQL");
            let store = PostgresStore::open(options).await;
            let store = store.context("opening the store on PostgreSQL")?;
            let counted = store.clone();
            meter.has_connections(move || {
                let (made, used) = counted.connections();
                let idle = made.saturating_sub(used);
                Connections { used, idle }
            });
            Ok((Arc::new(store), None))
        }
    }
}

/// The variable that holds the database's password, unless a file does.
const PASSWORD: &str = "ZONEHEAD_PG_PASSWORD";

/// What the configuration says of a server, checked; nothing connects yet.
pub(crate) fn postgres_options(server: &Server) -> Result<PostgresOptions, String> {
    let options = PostgresOptions::new(&server.url, &server.schema);
    let mut options = options.map_err(|fault| format!("[storage]: {fault}"))?;
    if options.needs_tls() && server.ca.is_none() {
        return Err("key 'storage.ca_file' is missing: over the network TLS is verified".into());
    }
    options.tls = server.ca.clone().map(|ca| TlsFiles {
        ca,
        identity: server.identity.clone(),
    });
    options.password = match (&server.password_file, std::env::var(PASSWORD)) {
        (Some(file), _) => Password::File(file.clone()),
        (None, Ok(text)) => Password::Given(Arc::new(text.into())),
        (None, Err(_)) => Password::None,
    };
    options.max_connections = server.max_connections;
    Ok(options)
}

fn audit_places(settings: &Settings) -> AuditPlaces {
    let allowed = settings.audit_directories.clone();
    let open: OpenAudit = Arc::new(move |path| {
        FileSink::open(path, &allowed).map(|sink| Box::new(sink) as Box<dyn zone_ports::AuditSink>)
    });
    let receivers = settings.audit_receivers.clone();
    let open_stream: OpenStream = Arc::new(move |target| receiver(target, &receivers));
    AuditPlaces {
        open,
        open_stream,
        built_in: settings.audit_directories[0].join("audit.log"),
        head: head_name(),
        durability: settings.audit_durability,
        rotate_bytes: settings.audit_rotate_bytes,
    }
}

/// The way to a receiver of audit lines. Whoever may enable devices must not thereby reach every
/// service that this machine can, so the addresses stand in the configuration.
fn receiver(
    target: &StreamTarget,
    allowed: &[String],
) -> Result<Box<dyn AuditStream>, AuditSinkError> {
    let address = target.address();
    if !target.is_local_log() && !allowed.iter().any(|known| known == address) {
        let text = "add the address to 'audit.receivers' in the configuration";
        return Err(AuditSinkError {
            doing: "reached",
            source: std::io::Error::new(std::io::ErrorKind::PermissionDenied, text),
        });
    }
    Ok(match target {
        StreamTarget::Syslog { facility, tag, .. } => {
            let place = match address.starts_with('/') {
                true => SyslogAddress::Local(address.into()),
                false => SyslogAddress::Host(address.to_owned()),
            };
            Box::new(SyslogStream::new(place, *facility, tag))
        }
        StreamTarget::Socket {
            transport,
            write_timeout_ms,
            acknowledge,
            ..
        } => {
            let place = match transport {
                Transport::Tcp => SocketAddress::Tcp(address.to_owned()),
                Transport::Udp => SocketAddress::Udp(address.to_owned()),
                Transport::Unix => SocketAddress::Unix(address.into()),
            };
            let patience = Duration::from_millis(*write_timeout_ms);
            Box::new(SocketStream::new(place, patience, *acknowledge))
        }
    })
}

/// The machine's name, for audit lines.
fn head_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Makes a directory that only this user can enter, unless it is there.
pub(crate) fn private_directory(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("making the directory {}", path.display()))
}

/// Tells the certificate authority when to drop its keys.
struct PkiSeal(Arc<PkiService>);

impl SealListener for PkiSeal {
    fn closed(&self) {
        self.0.forget();
    }
}

/// Tells the auth methods when to forget.
struct AuthSeal(Arc<AuthService>);

impl SealListener for AuthSeal {
    fn closed(&self) {
        self.0.forget();
    }
}

/// How many passwords are hashed at once: each takes a core and 19 MiB.
fn hashers() -> usize {
    let cores = std::thread::available_parallelism();
    cores.map_or(1, |cores| cores.get().clamp(1, 4))
}

/// Has KV finish removals that a crash interrupted.
struct KvResume {
    kv: Arc<KvService>,
    access: Access,
}

impl SealListener for KvResume {
    fn opened(&self) {
        let (kv, access) = (self.kv.clone(), self.access.clone());
        tokio::spawn(async move {
            for mount in access.mounts().unwrap_or_default() {
                if mount.kind == MountKind::Kv
                    && let Err(error) = kv.resume(&mount).await
                {
                    tracing::warn!(%error, "removals that were interrupted wait for the next unseal");
                }
            }
        });
    }

    fn closed(&self) {}
}
