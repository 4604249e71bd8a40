//! The zone under test: a barrier and access over a store in memory, started again and again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use zone_access::{Access, Ask, MountKind, NewMount, Operation, Permit, Refusal};
use zone_barrier::commit::Committer;
use zone_barrier::{Barrier, InitAsk, UnsealError};
use zone_ports::{Clock, Random, Store};
use zone_testkit::{FakeClock, MemStore, PlainMemory, SeededRandom};
use zone_types::{RequestPath, Secret};

/// Where the auth method of the histories hangs.
pub const METHOD: &str = "auth/sim/";
/// How the unseal key is shared out.
pub const SHARING: InitAsk = InitAsk {
    shares: 3,
    threshold: 2,
};

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

/// One process of the zone.
pub struct Head {
    /// What it stores in.
    pub store: MemStore,
    /// Over the store.
    pub barrier: Barrier,
    /// Over the barrier.
    pub access: Access,
    /// Goes on when the process is killed.
    pub clock: Arc<FakeClock>,
    /// Goes on too.
    pub random: Arc<StepRandom>,
    /// The root token.
    pub root: Secret<String>,
}

impl Origin {
    /// Makes the zone: a policy `sim` that allows all, an auth method.
    pub async fn make() -> Result<Self> {
        let clock = Arc::new(FakeClock::default());
        let random = Arc::new(StepRandom::new(0));
        let store = MemStore::new();
        let root = Secret::new(String::new());
        let mut head = Head::sealed(store, clock, random, root).await?;
        let prepared = head.barrier.init_prepare(SHARING, head.clock.now()).await?;
        head.access.bootstrap().await?;
        head.root = head.access.create_root_token().await?.text;
        head.barrier.init_finish().await?;
        head.access.load().await?;
        let shares = prepared.shares.iter().map(|share| share.expose().clone());
        let shares = shares.collect();
        let all = r#"path "*" {
            capabilities = ["create", "read", "update", "delete", "list", "sudo"]
        }"#;
        let permit = head.permit("sys/policies/acl/sim").await?;
        head.access.write_policy(&permit, "sim", all).await?;
        head.mount_method().await?;
        // From its first round on the zone remembers the time.
        while head.access.sweep().await? {}
        Ok(Self {
            store: head.store,
            shares,
            root: head.root,
        })
    }

    /// A process over a copy of the zone, for the history of `seed`.
    pub async fn start(&self, seed: u64) -> Result<Head> {
        let random = Arc::new(StepRandom::new(seed));
        let clock = Arc::new(FakeClock::default());
        let store = self.store.crash_image();
        let head = Head::sealed(store, clock, random, self.root.clone()).await?;
        head.open(&self.shares).await?;
        Ok(head)
    }
}

impl Head {
    async fn sealed(
        store: MemStore,
        clock: Arc<FakeClock>,
        random: Arc<StepRandom>,
        root: Secret<String>,
    ) -> Result<Self> {
        let port: Arc<dyn Store> = Arc::new(store.clone());
        let committer = Committer::open(port).await?;
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        Ok(Self {
            store,
            barrier,
            access,
            clock,
            random,
            root,
        })
    }

    /// Another process over `store`, sealed. What waits in this one ends.
    pub async fn restart(&self, store: MemStore) -> Result<Self> {
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let head = Self::sealed(store, clock, random, self.root.clone()).await?;
        self.store.bury();
        Ok(head)
    }

    /// Unseals with as many of `shares` as it takes.
    pub async fn open(&self, shares: &Shares) -> Result<()> {
        for share in &shares[..usize::from(SHARING.threshold)] {
            let now = self.clock.now();
            self.barrier.unseal_share(share, "sim", now).await?;
        }
        ensure!(!self.barrier.is_sealed(), "the shares do not open the zone");
        self.access.load().await?;
        Ok(())
    }

    /// Whether the sealed zone knows `share` as one of its own; one that it does not know leaves
    /// the attempt as it was.
    pub async fn knows(&self, share: &[u8]) -> Result<bool> {
        let taken = self.barrier.unseal_share(share, "probe", self.clock.now());
        match taken.await {
            Ok(_) => {
                self.barrier.reset_all().await?;
                Ok(true)
            }
            Err(UnsealError::OutdatedShare | UnsealError::WrongShare) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// A permit of the root token.
    pub async fn permit(&self, path: &str) -> Result<Permit> {
        match self.ask(Some(&self.root), path, None).await {
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
            remote: None,
            wrap_ttl: wrap_ttl.map(Duration::from_secs),
        };
        self.access.authorize(ask).await
    }

    /// Mounts the auth method.
    pub async fn mount_method(&self) -> Result<(), anyhow::Error> {
        let permit = self.permit("sys/auth/sim").await?;
        let new = NewMount::default();
        let path = METHOD.trim_end_matches('/');
        let mounted = self.access.enable(&permit, MountKind::AppRole, path, new);
        mounted.await.context("the method is not mounted")?;
        Ok(())
    }
}
