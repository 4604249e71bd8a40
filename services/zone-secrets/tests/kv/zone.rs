//! A zone with a KV mount, and short ways to use it.

use std::sync::Arc;

use serde_json::{Map, Value};
use zone_access::{Access, CreateToken, Mount, MountKind, Operation, Permit};
use zone_barrier::Barrier;
use zone_barrier::commit::Committer;
use zone_ports::{Clock, Store};
use zone_secrets::kv2::{
    ConfigUpdate, MetadataUpdate, Notice, Patched, SecretMetadata, VersionInfo,
};
use zone_secrets::{KvError, KvService};
use zone_testkit::{Lab, MemStore, PlainMemory, SeededRandom};
use zone_types::Secret;

/// A KV mount at `kv/`.
pub(crate) struct Zone {
    pub(crate) lab: Lab,
    pub(crate) kv: Arc<KvService>,
    pub(crate) mount: Arc<Mount>,
}

/// The object `text`.
pub(crate) fn object(text: &str) -> Map<String, Value> {
    zone_types::json::parse_object(text.as_bytes()).unwrap()
}

impl Zone {
    pub(crate) async fn new() -> Self {
        let lab = Lab::new().await;
        let mount = lab.mount(MountKind::Kv, "kv/").await;
        let kv = Arc::new(KvService::new(lab.barrier.clone(), lab.random.clone()));
        Self { lab, kv, mount }
    }

    /// The zone after a restart over what `store` holds.
    pub(crate) async fn over(&self, store: MemStore) -> Self {
        self.through(store.clone(), Arc::new(store)).await
    }

    /// The same, where `port` leads to `store`.
    pub(crate) async fn through(&self, store: MemStore, port: Arc<dyn Store>) -> Self {
        let random = Arc::new(SeededRandom::new(8));
        let committer = Committer::open(port).await.unwrap();
        let barrier = Barrier::new(committer, random.clone(), Arc::new(PlainMemory));
        let (clock, shares) = (self.lab.clock.clone(), self.lab.shares.clone());
        barrier
            .unseal_share(shares[0].expose(), "lab", clock.now())
            .await
            .unwrap();
        let access = Access::new(barrier.clone(), clock.clone(), random.clone());
        access.load().await.unwrap();
        let kv = Arc::new(KvService::new(barrier.clone(), random.clone()));
        let root = self.lab.root.clone();
        let lab = Lab {
            store,
            barrier,
            access,
            clock,
            random,
            root,
            shares,
        };
        Self {
            lab,
            kv,
            mount: self.mount.clone(),
        }
    }

    /// A second head over the same barrier: its writers take no turns with those of the first.
    pub(crate) fn second(&self) -> Arc<KvService> {
        Arc::new(KvService::new(
            self.lab.barrier.clone(),
            self.lab.random.clone(),
        ))
    }

    /// A permit of the root token for `rest` below the mount.
    pub(crate) async fn permit(&self, operation: Operation, rest: &str) -> Permit {
        self.lab.permit(operation, &format!("kv/{rest}")).await
    }

    /// A token that may do what `rules` (HCL) say.
    pub(crate) async fn token(&self, name: &str, rules: &str) -> Secret<String> {
        let permit = self
            .lab
            .permit(Operation::Update, "sys/policies/acl/x")
            .await;
        self.lab
            .access
            .write_policy(&permit, name, rules)
            .await
            .unwrap();
        let permit = self
            .lab
            .permit(Operation::Update, "auth/token/create")
            .await;
        let ask = CreateToken {
            policies: vec![name.to_owned()],
            ..CreateToken::default()
        };
        self.lab
            .access
            .create_token(&permit, ask)
            .await
            .unwrap()
            .text
    }

    pub(crate) async fn write(
        &self,
        path: &str,
        data: &str,
        cas: Option<i64>,
    ) -> Result<VersionInfo, KvError> {
        let permit = self
            .permit(Operation::Update, &format!("data/{path}"))
            .await;
        self.kv.write(&permit, &object(data), cas).await
    }

    /// Writes and returns the version's number.
    pub(crate) async fn put(&self, path: &str, data: &str) -> u64 {
        self.write(path, data, None).await.unwrap().version
    }

    pub(crate) async fn patch(
        &self,
        path: &str,
        patch: &str,
        cas: Option<i64>,
    ) -> Result<Patched, KvError> {
        let permit = self.permit(Operation::Patch, &format!("data/{path}")).await;
        self.kv.patch(&permit, &object(patch), cas).await
    }

    /// What a read shows: the JSON text, `gone` with what is known, or the error.
    pub(crate) async fn read(&self, path: &str, version: Option<u64>) -> String {
        let permit = self.permit(Operation::Read, &format!("data/{path}")).await;
        let reading = match self.kv.read(&permit, version).await {
            Ok(reading) => reading,
            Err(error) => return error.to_string(),
        };
        assert_eq!(reading.is_gone(), reading.data().unwrap().is_none());
        match reading.data().unwrap() {
            Some(text) => text.get().to_owned(),
            None => {
                let info = reading.info;
                let deleted = info.deletion.is_some();
                format!(
                    "gone: {}, deleted {deleted}, destroyed {}",
                    info.version, info.destroyed
                )
            }
        }
    }

    pub(crate) async fn versions(&self, area: &str, path: &str, numbers: &[u64]) {
        let permit = self
            .permit(Operation::Update, &format!("{area}/{path}"))
            .await;
        match area {
            "delete" => self.kv.delete(&permit, numbers).await,
            "undelete" => self.kv.undelete(&permit, numbers).await,
            _ => self.kv.destroy(&permit, numbers).await,
        }
        .unwrap();
    }

    pub(crate) async fn delete_latest(&self, path: &str) {
        let permit = self
            .permit(Operation::Delete, &format!("data/{path}"))
            .await;
        self.kv.delete_latest(&permit).await.unwrap();
    }

    pub(crate) async fn set(
        &self,
        path: &str,
        update: MetadataUpdate,
    ) -> Result<Vec<Notice>, KvError> {
        let permit = self
            .permit(Operation::Update, &format!("metadata/{path}"))
            .await;
        self.kv.write_metadata(&permit, &update).await
    }

    pub(crate) async fn patch_metadata(
        &self,
        path: &str,
        update: MetadataUpdate,
    ) -> Result<Vec<Notice>, KvError> {
        let permit = self
            .permit(Operation::Patch, &format!("metadata/{path}"))
            .await;
        self.kv.patch_metadata(&permit, &update).await
    }

    pub(crate) async fn metadata(&self, path: &str) -> Result<SecretMetadata, KvError> {
        let permit = self
            .permit(Operation::Read, &format!("metadata/{path}"))
            .await;
        self.kv.read_metadata(&permit).await
    }

    pub(crate) async fn delete_metadata(&self, path: &str) {
        let permit = self
            .permit(Operation::Delete, &format!("metadata/{path}"))
            .await;
        self.kv.delete_metadata(&permit).await.unwrap();
    }

    pub(crate) async fn configure(&self, update: ConfigUpdate) {
        let permit = self.permit(Operation::Update, "config").await;
        self.kv.write_config(&permit, update).await.unwrap();
    }

    pub(crate) async fn list(&self, folder: &str) -> Vec<String> {
        let permit = self
            .permit(Operation::List, &format!("metadata/{folder}"))
            .await;
        self.kv.list(&permit, None, None).await.unwrap()
    }

    /// What the mount stores under one kind of key (`m`, `v`, `c`, `t`), without the prefix.
    pub(crate) fn stored(&self, kind: &str) -> Vec<String> {
        let prefix = self.mount.prefix(kind);
        let rest = |key: &zone_ports::Key| {
            let rest = key.as_bytes().strip_prefix(&prefix[..])?;
            Some(String::from_utf8(rest.to_vec()).unwrap())
        };
        self.lab.store.keys().iter().filter_map(rest).collect()
    }
}
