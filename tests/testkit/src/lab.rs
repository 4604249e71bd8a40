//! A zone without faces: an in-memory store, an unsealed barrier, access with its first token.

use std::collections::BTreeMap;
use std::sync::Arc;

use zone_access::{Access, Ask, Mount, MountKind, NewMount, Operation, Permit, Refusal};
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
        let clock = Arc::new(FakeClock::default());
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(7));
        let committer = Committer::open(Arc::new(store.clone()) as Arc<dyn Store>).await.unwrap();
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        let ask = zone_barrier::InitAsk { shares: 1, threshold: 1 };
        let prepared = barrier.init_prepare(ask, clock.now()).await.unwrap();
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        access.bootstrap().await.unwrap();
        let root = access.create_root_token().await.unwrap().text;
        barrier.init_finish().await.unwrap();
        if barrier.is_sealed() {
            barrier.unseal_share(prepared.shares[0].expose(), "lab", clock.now()).await.unwrap();
        }
        access.load().await.unwrap();
        Self { store, barrier, access, clock, random, root, shares: prepared.shares }
    }

    /// Mounts an engine.
    pub async fn mount(&self, kind: MountKind, path: &str) -> Arc<Mount> {
        let permit = self.permit(Operation::Update, &format!("sys/mounts/{path}")).await;
        let mut options = BTreeMap::new();
        if kind == MountKind::Kv {
            options.insert("version".to_owned(), "2".to_owned());
        }
        let new = NewMount { options, ..NewMount::default() };
        self.access.enable(&permit, kind, path, new).await.unwrap()
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
