//! The mount table: one record for each mount, one compiled table in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedMutexGuard};
use zone_barrier::{Barrier, Batch};
use zone_ports::{Key, KeyRange, Random, random};
use zone_types::{MountId, MountPath, NamespaceId, RequestId, Timestamp};

use crate::mount::{Mount, MountConfig, MountKind};
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::sweep::TrashRecord;
use crate::{Access, AccessError, OpenState};

const PREFIX: &str = "core/mount/";
pub(crate) const TRASH: &str = "core/mount-trash/";
const MOVED: &str = "core/remount/";
/// How long a remount is told of.
const TOLD_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// What auth methods hang below.
const AUTH: &str = "auth/";
/// Mount paths that nobody may take.
const RESERVED: [&str; 6] = [
    "sys/",
    "auth/token/",
    "identity/",
    "cubbyhole/",
    "audit/",
    "zone/",
];

/// The mounts that each zone has.
const BUILT_IN: [(MountKind, &str, &str); 4] = [
    (
        MountKind::System,
        "sys/",
        "system endpoints used for control, policy and debugging",
    ),
    (MountKind::Token, "auth/token/", "token based credentials"),
    (
        MountKind::Cubbyhole,
        "cubbyhole/",
        "per-token private secret storage",
    ),
    (MountKind::Identity, "identity/", "identity store"),
];
/// Longest description, options and audit keys of a mount, in bytes of its record.
const LARGEST: usize = 16 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: V1,
    mount: Mount,
}

/// A mount that was moved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remounted {
    v: V1,
    /// When.
    pub at: Timestamp,
    /// From where, with `/` at the end.
    pub from: String,
    /// To where, with `/` at the end.
    pub to: String,
}

/// What a caller says of a mount that is to be.
#[derive(Debug, Default)]
pub struct NewMount {
    /// Free text.
    pub description: String,
    /// Engine options, for KV `version`.
    pub options: BTreeMap<String, String>,
    /// What can be tuned.
    pub config: MountConfig,
}

type Paths = BTreeMap<MountPath, Arc<Mount>>;

pub(crate) struct MountTable {
    paths: ArcSwap<Paths>,
    /// The same mounts.
    ids: ArcSwap<HashMap<MountId, Arc<Mount>>>,
    /// One change at a time, so that two mounts cannot take overlapping paths.
    changing: Arc<Mutex<()>>,
}

impl MountTable {
    pub(crate) async fn load(barrier: &Barrier) -> Result<Self, AccessError> {
        let mut paths = Paths::new();
        let mut range = KeyRange::prefix(PREFIX);
        loop {
            let page = barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last);
            for (_, plain) in &page {
                let record: Record = decode(plain)?;
                paths.insert(record.mount.path.clone(), Arc::new(record.mount));
            }
        }
        let table = Self {
            paths: ArcSwap::default(),
            ids: ArcSwap::default(),
            changing: Arc::default(),
        };
        table.show(paths);
        Ok(table)
    }

    /// The mount that serves `path`. Mounts never overlap, so the greatest mount path that is not
    /// behind `path` is the only candidate.
    pub(crate) fn resolve(&self, path: &str) -> Option<Arc<Mount>> {
        let paths = self.paths.load();
        let (mount_path, mount) = paths
            .range::<str, _>((Unbounded, Included(path)))
            .next_back()?;
        path.starts_with(mount_path.as_str()).then(|| mount.clone())
    }

    /// Writes the mounts that each zone has, unless they are there already: a new zone has none,
    /// one of an older head lacks those that came since.
    pub(crate) async fn complete(
        &self,
        barrier: &Barrier,
        random: &dyn Random,
    ) -> Result<(), AccessError> {
        for (kind, path, description) in BUILT_IN {
            if self.built_in(kind).is_some() {
                continue;
            }
            let path = MountPath::parse(path).map_err(|_| AccessError::Corrupt)?;
            let new = NewMount {
                description: description.into(),
                ..NewMount::default()
            };
            let mount = make(random, kind, path, new);
            let batch = Batch::new().put(key(&mount.id)?, encode(&mount)?);
            barrier.commit(batch).await?;
            self.replace(|paths| {
                paths.insert(mount.path.clone(), Arc::new(mount));
            });
        }
        Ok(())
    }

    /// One of the mounts that each zone has, and at no other path.
    pub(crate) fn built_in(&self, kind: MountKind) -> Option<Arc<Mount>> {
        let (_, path, _) = BUILT_IN.iter().find(|(of, _, _)| *of == kind)?;
        let mount = self.paths.load().get(*path).cloned();
        mount.filter(|mount| mount.kind == kind)
    }

    pub(crate) fn by_id(&self, id: &MountId) -> Option<Arc<Mount>> {
        self.ids.load().get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Mount>> {
        self.paths.load().values().cloned().collect()
    }

    fn replace(&self, change: impl FnOnce(&mut Paths)) {
        let mut paths = Paths::clone(&self.paths.load());
        change(&mut paths);
        self.show(paths);
    }

    fn show(&self, paths: Paths) {
        let ids = paths
            .values()
            .map(|mount| (mount.id.clone(), mount.clone()));
        self.ids.store(Arc::new(ids.collect()));
        self.paths.store(Arc::new(paths));
    }
}

impl Access {
    /// Every mount, by path.
    pub fn mounts(&self) -> Result<Vec<Arc<Mount>>, AccessError> {
        Ok(self.state()?.mounts.all())
    }

    /// The mount that serves `path`, if any.
    pub fn mount_of(&self, path: &str) -> Result<Option<Arc<Mount>>, AccessError> {
        Ok(self.state()?.mounts.resolve(path))
    }

    /// Mounts an engine at `path`.
    pub async fn enable(
        &self,
        _permit: &Permit,
        kind: MountKind,
        path: &str,
        new: NewMount,
    ) -> Result<Arc<Mount>, AccessError> {
        if BUILT_IN.iter().any(|(built_in, _, _)| *built_in == kind) {
            return Err(AccessError::invalid("an engine of that kind exists once"));
        }
        let path = match kind.is_auth() {
            true => auth_path(path)?,
            false => engine_path(path)?,
        };
        let state = self.state()?;
        let one_at_a_time = state.mounts.changing.clone().lock_owned().await;
        free_of_others(&state.mounts, &path, None)?;
        self.times.check(&new.config)?;
        let mount = Arc::new(make(&*self.random, kind, path, new));
        self.put_mount(&state, mount.clone(), Batch::new(), one_at_a_time)
            .await?;
        Ok(mount)
    }

    /// Takes the mount at `path` away. Its data is out of reach at once and removed in the
    /// background (also after a crash). Nothing there: no error, as in Vault.
    pub async fn disable(&self, _permit: &Permit, path: &str) -> Result<(), AccessError> {
        self.remove(engine_path(path)?).await
    }

    /// [`Access::disable`] for an auth method; `path` begins with `auth/`.
    pub async fn disable_auth(&self, _permit: &Permit, path: &str) -> Result<(), AccessError> {
        self.remove(auth_path(path)?).await
    }

    async fn remove(&self, path: MountPath) -> Result<(), AccessError> {
        let state = self.state()?;
        let one_at_a_time = state.mounts.changing.clone().lock_owned().await;
        let Some(mount) = state.mounts.paths.load().get(&path).cloned() else {
            return Ok(());
        };
        let trash = Key::new(format!("{TRASH}{}/{}", mount.namespace, mount.id))?;
        let work = TrashRecord {
            v: V1,
            since: self.instant(),
        };
        let batch = Batch::new()
            .delete(key(&mount.id)?)
            .put(trash, serde_json::to_vec(&work)?);
        let (batch, without_quotas) = state.quotas.without(&mount.id, batch).await?;
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                state.mounts.replace(|paths| {
                    paths.remove(&path);
                });
                without_quotas(&state.quotas);
            }
            drop(one_at_a_time);
        };
        self.change(&state, batch, then).await?;
        Ok(())
    }

    /// Changes description, options or configuration of the mount at `path`.
    pub async fn tune(
        &self,
        _permit: &Permit,
        path: &str,
        change: impl FnOnce(&mut NewMount) + Send,
    ) -> Result<(), AccessError> {
        let path =
            MountPath::parse(path).map_err(|fault| AccessError::invalid(fault.to_string()))?;
        let state = self.state()?;
        let one_at_a_time = state.mounts.changing.clone().lock_owned().await;
        let found = state.mounts.paths.load().get(&path).cloned();
        let mut mount = Mount::clone(&*found.ok_or(AccessError::Missing("no mount at that path"))?);
        let before = mount.kv_version();
        let mut new = NewMount {
            description: mount.description,
            options: mount.options,
            config: mount.config,
        };
        change(&mut new);
        self.times.check(&new.config)?;
        (mount.description, mount.options, mount.config) =
            (new.description, new.options, new.config);
        let mut with = Batch::new();
        if mount.kind == MountKind::Kv && before != mount.kv_version() {
            if before == 2 {
                return Err(AccessError::invalid(
                    "a KV mount cannot go back to version 1",
                ));
            }
            mount.upgrading = true;
            with = with.put(mount.upgrade_key()?, self.upgrade_record()?);
        }
        self.put_mount(&state, Arc::new(mount), with, one_at_a_time)
            .await
    }

    /// Moves the mount at `from` to `to`: its record alone, with all that it holds, in one batch.
    /// Whoever asks for the old path finds nothing from then on. The id under which
    /// [`Access::remounted`] tells of it.
    pub async fn remount(
        &self,
        permit: &Permit,
        from: &str,
        to: &str,
    ) -> Result<String, AccessError> {
        let side = |path: &str| match path.starts_with(AUTH) {
            true => auth_path(path),
            false => engine_path(path),
        };
        let (from, to) = (side(from)?, side(to)?);
        if from.as_str().starts_with(AUTH) != to.as_str().starts_with(AUTH) {
            return Err(AccessError::invalid(
                "an engine stays outside auth/, an auth method below it",
            ));
        }
        let state = self.state()?;
        let one_at_a_time = state.mounts.changing.clone().lock_owned().await;
        let found = state.mounts.paths.load().get(&from).cloned();
        let found = found.ok_or(AccessError::Missing("no mount at that path"))?;
        free_of_others(&state.mounts, &to, Some(&found.id))?;
        let mut mount = Mount::clone(&found);
        mount.path = to.clone();
        let id = RequestId::from_random(random::bytes(&*self.random)).to_string();
        let moved = Remounted {
            v: V1,
            at: permit.now(),
            from: from.as_str().to_owned(),
            to: to.as_str().to_owned(),
        };
        let mut batch = Batch::new().put(key(&mount.id)?, encode(&mount)?).put(
            Key::new(format!("{MOVED}{id}"))?,
            serde_json::to_vec(&moved)?,
        );
        for old in self.forgotten_moves(permit.now()).await? {
            batch = batch.delete(old);
        }
        let mount = Arc::new(mount);
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                state.mounts.replace(|paths| {
                    paths.remove(&from);
                    paths.insert(to, mount);
                });
            }
            drop(one_at_a_time);
        };
        self.change(&state, batch, then).await?;
        Ok(id)
    }

    /// What became of a remount; `None` for an id that is not known, or not any more.
    pub async fn remounted(
        &self,
        _permit: &Permit,
        id: &str,
    ) -> Result<Option<Remounted>, AccessError> {
        let Ok(key) = Key::new(format!("{MOVED}{id}")) else {
            return Ok(None);
        };
        match self.barrier.get(&key).await? {
            Some(plain) => Ok(Some(decode(&plain)?)),
            None => Ok(None),
        }
    }

    /// Some of the remounts that nobody asks for any more.
    async fn forgotten_moves(&self, now: Timestamp) -> Result<Vec<Key>, AccessError> {
        let all = self.barrier.scan(&KeyRange::prefix(MOVED), 1000).await?;
        let mut old = Vec::new();
        for (key, plain) in &all {
            let moved: Remounted = decode(plain)?;
            if moved.at.plus(TOLD_FOR) < now && old.len() < 40 {
                old.push(key.clone());
            }
        }
        Ok(old)
    }

    /// Says that the secrets of a KV mount that became version 2 have all been moved.
    pub async fn upgraded(&self, id: &MountId) -> Result<(), AccessError> {
        let state = self.state()?;
        let one_at_a_time = state.mounts.changing.clone().lock_owned().await;
        let Some(mount) = state.mounts.by_id(id).filter(|mount| mount.upgrading) else {
            return Ok(());
        };
        let mut mount = Mount::clone(&mount);
        mount.upgrading = false;
        self.put_mount(&state, Arc::new(mount), Batch::new(), one_at_a_time)
            .await
    }

    /// Writes a mount and `with`, then shows it, then lets the next change begin.
    async fn put_mount(
        &self,
        state: &Arc<OpenState>,
        mount: Arc<Mount>,
        with: Batch,
        one_at_a_time: OwnedMutexGuard<()>,
    ) -> Result<(), AccessError> {
        let value = encode(&mount)?;
        if value.len() > LARGEST {
            return Err(AccessError::invalid(
                "description, options and configuration of a mount have at most 16 KiB",
            ));
        }
        let batch = with.put(key(&mount.id)?, value);
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                state.mounts.replace(|paths| {
                    paths.insert(mount.path.clone(), mount);
                });
            }
            drop(one_at_a_time);
        };
        self.change(state, batch, then).await?;
        Ok(())
    }
}

/// A path that an engine may hang at.
fn engine_path(text: &str) -> Result<MountPath, AccessError> {
    let path = free_path(text)?;
    match path.as_str().starts_with(AUTH) {
        true => Err(reserved(&path)),
        false => Ok(path),
    }
}

/// A path that an auth method may hang at.
fn auth_path(text: &str) -> Result<MountPath, AccessError> {
    let path = free_path(text)?;
    match path.as_str().strip_prefix(AUTH) {
        None => Err(AccessError::invalid("auth methods hang below auth/")),
        Some("") => Err(reserved(&path)),
        Some(_) => Ok(path),
    }
}

fn reserved(path: &MountPath) -> AccessError {
    AccessError::invalid(format!("the path {path} is reserved"))
}

/// A path that nobody else may have.
fn free_path(text: &str) -> Result<MountPath, AccessError> {
    let path = MountPath::parse(text).map_err(|fault| AccessError::invalid(fault.to_string()))?;
    if RESERVED
        .iter()
        .any(|reserved| path.as_str().starts_with(reserved))
    {
        return Err(reserved(&path));
    }
    if path.as_str().contains(['*', '+', '{', '}']) {
        return Err(AccessError::invalid(
            "a mount path has no '*', '+', '{' or '}'",
        ));
    }
    Ok(path)
}

/// Whether no mount but `own` stands in the way of `path`.
fn free_of_others(
    mounts: &MountTable,
    path: &MountPath,
    own: Option<&MountId>,
) -> Result<(), AccessError> {
    let all = mounts.all();
    let mut others = all.iter().filter(|mount| Some(&mount.id) != own);
    match others.find(|mount| mount.path.overlaps(path)) {
        Some(other) => Err(AccessError::invalid(format!(
            "path is already in use at {}",
            other.path
        ))),
        None => Ok(()),
    }
}

fn make(random: &dyn Random, kind: MountKind, path: MountPath, new: NewMount) -> Mount {
    let suffix = hex::encode(random::bytes::<4>(random));
    Mount {
        namespace: NamespaceId::root(),
        id: MountId::from_random(random::bytes(random)),
        path,
        kind,
        accessor: match kind {
            MountKind::AppRole | MountKind::Userpass => format!("auth_{}_{suffix}", kind.as_str()),
            _ => format!("{}_{suffix}", kind.as_str()),
        },
        uuid: RequestId::from_random(random::bytes(random)).to_string(),
        description: new.description,
        options: new.options,
        config: new.config,
        upgrading: false,
    }
}

fn key(id: &MountId) -> Result<Key, AccessError> {
    Ok(Key::new(format!("{PREFIX}{id}"))?)
}

fn encode(mount: &Mount) -> Result<Vec<u8>, AccessError> {
    Ok(serde_json::to_vec(&Record {
        v: V1,
        mount: mount.clone(),
    })?)
}
