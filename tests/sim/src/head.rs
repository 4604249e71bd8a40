//! The zone under test: all services over a store in memory, started again and again.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use zone_access::{Access, Ask, MountKind, NewMount, Operation, Permit, Refusal};
use zone_age::AgeRecipients;
use zone_audit::{Broker, Durability};
use zone_auth::{AuthService, Hashers, RoleTerms};
use zone_barrier::commit::Committer;
use zone_barrier::{Barrier, InitAsk};
use zone_ports::audit::AuditSinkError;
use zone_ports::{Clock, Random, Store};
use zone_system::{AuditPlaces, Parts, System, SystemError};
use zone_testkit::{FakeClock, MemStore, PlainMemory, SeededRandom};
use zone_types::{RequestPath, Secret};

use crate::engine::{Door, Engine};
use crate::model::{Model, UNKNOWN};
use crate::step::Step;

/// Where the auth method of the histories hangs, in turns.
pub const METHODS: [&str; 2] = ["auth/sim/", "auth/moved/"];
/// Where their engine hangs, in turns.
pub const ENGINES: [&str; 2] = ["sim/", "moved/"];
/// How the unseal key is shared out.
pub const SHARING: InitAsk = InitAsk {
    shares: 3,
    threshold: 2,
};
/// From where everybody comes.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Key shares, as they are handed out.
pub type Shares = Vec<Vec<u8>>;

/// A generator that begins anew at each step, so that a race in one step does not change what
/// the next one draws.
#[derive(Debug)]
pub struct StepRandom {
    seed: u64,
    now: Mutex<Arc<SeededRandom>>,
}

impl StepRandom {
    fn new(seed: u64) -> Self {
        let now = Mutex::new(Arc::new(SeededRandom::new(seed)));
        Self { seed, now }
    }

    /// The draws of step `number` begin.
    pub fn begin(&self, number: u64) {
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(number + 1);
        *self.now.lock() = Arc::new(SeededRandom::new(seed));
    }
}

impl Random for StepRandom {
    fn fill(&self, out: &mut [u8]) {
        let now = self.now.lock().clone();
        now.fill(out);
    }
}

/// A zone that was initialised once, for all histories of a thread to begin with.
pub struct Origin {
    store: MemStore,
    /// What opens it.
    pub shares: Shares,
    root: Secret<String>,
}

/// What goes on when a process is killed.
#[derive(Clone)]
pub struct World {
    /// The zone's clock.
    pub clock: Arc<FakeClock>,
    /// The zone's generator.
    pub random: Arc<StepRandom>,
    /// Who takes back what leases stand for.
    pub engine: Arc<Engine>,
    /// The first root token.
    pub root: Secret<String>,
}

impl World {
    fn new(seed: u64, root: Secret<String>) -> Self {
        Self {
            clock: Arc::new(FakeClock::default()),
            random: Arc::new(StepRandom::new(seed)),
            engine: Arc::default(),
            root,
        }
    }
}

/// One process of the zone.
pub struct Head {
    /// What it stores in.
    pub store: MemStore,
    /// Over the store.
    pub barrier: Barrier,
    /// Over the barrier.
    pub access: Access,
    /// `AppRole`.
    pub auth: AuthService,
    /// Init, unseal, seal, rekey.
    pub system: System,
    /// Its way to the engine.
    pub door: Arc<Door>,
    /// What goes on without it.
    pub world: World,
}

impl Origin {
    /// Makes the zone: a policy `sim` that allows all, an auth method, an engine.
    pub async fn make() -> Result<Self> {
        let world = World::new(0, Secret::new(String::new()));
        let mut head = Head::sealed(MemStore::new(), world).await?;
        let now = head.world.clock.now();
        let prepared = head.barrier.init_prepare(SHARING, now).await?;
        head.access.bootstrap().await?;
        head.world.root = head.access.create_root_token().await?.text;
        head.barrier.init_finish().await?;
        head.barrier.seal();
        head.access.forget();
        let shares = prepared.shares.iter().map(|share| share.expose().clone());
        let shares = shares.collect();
        head.open(&shares, 0).await?;
        let all = r#"path "*" {
            capabilities = ["create", "read", "update", "delete", "list", "sudo"]
        }"#;
        let permit = head.permit("sys/policies/acl/sim").await?;
        head.access.write_policy(&permit, "sim", all).await?;
        head.mount(MountKind::AppRole, METHODS[0]).await?;
        head.mount(MountKind::Pki, ENGINES[0]).await?;
        // From its first round on the zone remembers the time.
        while head.system.round(false).await? {}
        Ok(Self {
            store: head.store,
            shares,
            root: head.world.root,
        })
    }

    /// A process over a copy of the zone, for the history of `seed`.
    pub async fn start(&self, seed: u64) -> Result<Head> {
        let world = World::new(seed, self.root.clone());
        let head = Head::sealed(self.store.crash_image(), world).await?;
        head.open(&self.shares, 0).await?;
        Ok(head)
    }
}

impl Head {
    async fn sealed(store: MemStore, world: World) -> Result<Self> {
        let port: Arc<dyn Store> = Arc::new(store.clone());
        let committer = Committer::open(port).await?;
        let (clock, random) = (world.clock.clone(), world.random.clone());
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        let door = Arc::new(Door::new(world.engine.clone(), store.clone()));
        access.end_leases_by(MountKind::Pki, door.clone());
        access.judge_renewals(Arc::new(RoleTerms::new(barrier.clone())));
        let auth = AuthService::new(
            barrier.clone(),
            access.clone(),
            random.clone(),
            Hashers::new(1),
        );
        let system = System::new(Parts {
            barrier: barrier.clone(),
            access: access.clone(),
            broker: Arc::new(Broker::new(clock.clone())),
            clock,
            random,
            recipients: Arc::new(AgeRecipients),
            places: nowhere(),
            listeners: Vec::new(),
            version: "sim",
        });
        Ok(Self {
            store,
            barrier,
            access,
            auth,
            system,
            door,
            world,
        })
    }

    /// Another process over `store`, sealed. What waits in this one ends.
    pub async fn restart(&self, store: MemStore) -> Result<Self> {
        let head = Self::sealed(store, self.world.clone()).await?;
        self.store.bury();
        Ok(head)
    }

    /// Unseals with as many of `shares` as it takes, beginning with one of them.
    pub async fn open(&self, shares: &Shares, first: usize) -> Result<()> {
        for at in 0..usize::from(SHARING.threshold) {
            ensure!(self.system.is_sealed(), "too few shares open the zone");
            let share = &shares[(first + at) % shares.len()];
            self.system.unseal(&written(share), "sim").await?;
        }
        ensure!(!self.system.is_sealed(), "the shares do not open the zone");
        Ok(())
    }

    /// Whether the sealed zone knows `share` as one of its own; one that it does not know leaves
    /// the attempt as it was.
    pub async fn knows(&self, share: &[u8]) -> Result<bool> {
        match self.system.unseal(&written(share), "probe").await {
            Ok(()) => {
                self.system.unseal_reset("probe", None).await?;
                Ok(true)
            }
            Err(SystemError::Invalid(_)) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// A permit of the root token.
    pub async fn permit(&self, path: &str) -> Result<Permit> {
        match self.ask(Some(&self.world.root), path, None).await {
            Ok(permit) => Ok(permit),
            Err(refusal) => bail!("root is refused at {path}: {}", refusal.reason),
        }
    }

    /// A permit of any token, or of nobody.
    pub async fn ask(
        &self,
        token: Option<&Secret<String>>,
        path: &str,
        wrap_ttl: Option<u64>,
    ) -> Result<Permit, Refusal> {
        let path = RequestPath::from_text(path).expect("paths of histories are canonical");
        let ask = Ask {
            token,
            path: &path,
            operation: Operation::Update,
            data: None,
            remote: Some(HERE),
            wrap_ttl: wrap_ttl.map(Duration::from_secs),
        };
        self.access.authorize(ask).await
    }

    /// Mounts at `path`; the mount's id.
    pub async fn mount(&self, kind: MountKind, path: &str) -> Result<String> {
        let permit = self.permit(&format!("sys/mounts/{path}x")).await?;
        let at = path.trim_end_matches('/');
        let mounted = self.access.enable(&permit, kind, at, NewMount::default());
        let mount = mounted.await.context("it is not mounted")?;
        Ok(mount.id.to_string())
    }

    /// Fills in what only the zone knows of what `step` may have made, if it is there.
    pub async fn name(&self, model: &mut Model, step: &Step) -> Result<()> {
        let (engine, method) = (ENGINES[model.engine_at], METHODS[model.method_at]);
        for (mount, at) in [(&mut model.engine, engine), (&mut model.mount, method)] {
            if mount.as_deref() == Some(UNKNOWN) {
                *mount = self.mounted(at)?;
                ensure!(mount.is_some(), "it is not mounted");
            }
        }
        if matches!(step, Step::SecretId(..))
            && let Some(role_id) = crate::act::login::role_id(self, model).await?
            && let Some(secret) = model.secrets.last_mut()
            && secret.role_id.is_empty()
        {
            secret.role_id = role_id;
        }
        Ok(())
    }

    /// The id of what is mounted at `path` exactly.
    pub fn mounted(&self, path: &str) -> Result<Option<String>> {
        let found = self.access.mount_of(path)?;
        Ok(found.map(|mount| mount.id.to_string()))
    }
}

/// A share as people type it.
pub fn written(share: &[u8]) -> Secret<String> {
    Secret::new(hex::encode(share))
}

/// No audit device: what histories are about happens before and behind the trail.
fn nowhere() -> AuditPlaces {
    let none = || AuditSinkError {
        doing: "opened",
        source: std::io::Error::other("histories have no audit devices"),
    };
    AuditPlaces {
        open: Arc::new(move |_: &Path| Err(none())),
        open_stream: Arc::new(move |_| Err(none())),
        built_in: "/nowhere".into(),
        head: "sim".into(),
        durability: Durability::System,
        rotate_bytes: None,
    }
}
