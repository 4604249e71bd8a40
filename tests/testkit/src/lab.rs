//! A zone without faces: an in-memory store, an unsealed barrier, access with its first token.

use std::collections::BTreeMap;
use std::sync::Arc;

use zone_access::{
    Access, Ask, CreateToken, Created, Mount, MountKind, NewMount, Operation, Permit, Refusal,
};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_ports::{Clock, Random, Store};
use zone_types::{RequestPath, Secret};

use crate::{FakeClock, MemStore, PlainMemory, SeededRandom};

/// A zone for tests of services. Time stands still until [`FakeClock`] is moved.
pub struct Lab {
    /// The store, which can be made to fail.
    pub store: MemStore,
    /// The unsealed barrier.
    pub barrier: Barrier,
    /// Mounts, policies, tokens.
    pub access: Access,
    /// The clock of the zone.
    pub clock: Arc<FakeClock>,
    /// The generator of the zone.
    pub random: Arc<dyn Random>,
    /// The zone's first token.
    pub root: Secret<String>,
    /// The unseal key shares (1 of 1).
    pub shares: Vec<Secret<Vec<u8>>>,
}

impl Lab {
    /// A new, unsealed zone.
    pub async fn new() -> Self {
        Self::over(MemStore::new()).await
    }

    /// A new, unsealed zone over `store`.
    pub async fn over(store: MemStore) -> Self {
        let port = Arc::new(store.clone());
        Self::through(store, port).await
    }

    /// A new, unsealed zone that reaches `store` only through `port`.
    pub async fn through(store: MemStore, port: Arc<dyn Store>) -> Self {
        let clock = Arc::new(FakeClock::default());
        let (barrier, access, random) = head(port, &clock, 7).await;
        let ask = zone_barrier::InitAsk {
            shares: 1,
            threshold: 1,
        };
        let prepared = barrier.init_prepare(ask, clock.now()).await.unwrap();
        access.bootstrap().await.unwrap();
        let root = access.create_root_token().await.unwrap().text;
        barrier.init_finish().await.unwrap();
        access.load().await.unwrap();
        Self {
            store,
            barrier,
            access,
            clock,
            random,
            root,
            shares: prepared.shares,
        }
    }

    /// The same zone after a crash at this very moment: what was durable, opened by a new head
    /// that draws other random bytes. The clock is shared.
    pub async fn reopen(&self) -> Self {
        let store = self.store.crash_image();
        let seed = 1000 + self.barrier.last_revision().0;
        let (barrier, access, random) = head(Arc::new(store.clone()), &self.clock, seed).await;
        let share = self.shares[0].expose();
        barrier
            .unseal_share(share, "lab", self.clock.now())
            .await
            .unwrap();
        access.load().await.unwrap();
        Self {
            store,
            barrier,
            access,
            clock: self.clock.clone(),
            random,
            root: self.root.clone(),
            shares: self.shares.clone(),
        }
    }

    /// Seals the zone and opens it again, in the same process.
    pub async fn seal_and_unseal(&self) {
        self.access.forget();
        self.barrier.seal();
        let share = self.shares[0].expose();
        self.barrier
            .unseal_share(share, "lab", self.clock.now())
            .await
            .unwrap();
        self.access.load().await.unwrap();
    }

    /// Does background work until none is left.
    pub async fn settle(&self) {
        while self.access.sweep().await.unwrap() {}
    }

    /// Mounts an engine.
    pub async fn mount(&self, kind: MountKind, path: &str) -> Arc<Mount> {
        let permit = self
            .permit(Operation::Update, &format!("sys/mounts/{path}"))
            .await;
        let mut options = BTreeMap::new();
        if kind == MountKind::Kv {
            options.insert("version".to_owned(), "2".to_owned());
        }
        let new = NewMount {
            options,
            ..NewMount::default()
        };
        self.access.enable(&permit, kind, path, new).await.unwrap()
    }

    /// Writes a policy as root.
    pub async fn policy(&self, name: &str, text: &str) {
        let permit = self
            .permit(Operation::Update, &format!("sys/policies/acl/{name}"))
            .await;
        self.access.write_policy(&permit, name, text).await.unwrap();
    }

    /// A child of the root token with `policies` and `default`.
    pub async fn token(&self, policies: &[&str]) -> Created {
        let permit = self.permit(Operation::Update, "auth/token/create").await;
        let ask = CreateToken {
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            renewable: true,
            ..CreateToken::default()
        };
        self.access.create_token(&permit, ask).await.unwrap()
    }

    /// A permit of the root token.
    pub async fn permit(&self, operation: Operation, path: &str) -> Permit {
        let root = self.root.clone();
        self.permit_of(&root, operation, path).await.unwrap()
    }

    /// A permit of any token, or the refusal.
    pub async fn permit_of(
        &self,
        token: &Secret<String>,
        operation: Operation,
        path: &str,
    ) -> Result<Permit, Refusal> {
        let path = RequestPath::from_text(path).unwrap();
        let ask = Ask {
            token: Some(token),
            path: &path,
            operation,
            data: None,
            remote: None,
            wrap_ttl: None,
        };
        self.access.authorize(ask).await
    }
}

/// A sealed head over `store`.
async fn head(
    store: Arc<dyn Store>,
    clock: &Arc<FakeClock>,
    seed: u64,
) -> (Barrier, Access, Arc<dyn Random>) {
    let random: Arc<dyn Random> = Arc::new(SeededRandom::new(seed));
    let committer = Committer::open(store).await.unwrap();
    let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
    let access = Access::new(barrier.clone(), clock.clone(), random.clone());
    (barrier, access, random)
}
