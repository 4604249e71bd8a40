//! Reading, writing and removing quotas.
//!
//! One record each, `core/quota/KIND/NAME`, and one for what holds for all, `core/quota/config`.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, OwnedMutexGuard};
use zone_barrier::{Barrier, Batch};
use zone_ports::{Key, KeyRange};
use zone_types::MountId;

use super::count::Counter;
use super::rate::Buckets;
use super::{All, Live, Place, Quota, QuotaConfig, QuotaKind, QuotaRule, Quotas, Record, Table};
use crate::lease::AT;
use crate::mount::{Mount, MountKind};
use crate::mounts::MountTable;
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::token::TokenStore;
use crate::{Access, AccessError, OpenState};

const PREFIX: &str = "core/quota/";
const CONFIG: &str = "core/quota/config";
const PAGE: usize = 1000;
/// Most quotas of both kinds together.
const MOST: usize = 500;
/// Longest name of a quota, in bytes.
const LONGEST: usize = 128;
/// Most paths that are exempt, and the longest of them.
const EXEMPT: (usize, usize) = (100, 512);

impl Quotas {
    /// Reads all quotas: one scan. Where leases are counted, their index too. No change may be
    /// under way.
    pub(crate) async fn load(
        barrier: &Barrier,
        mounts: &MountTable,
        tokens: &TokenStore,
    ) -> Result<Self, AccessError> {
        let (mut table, mut next) = (Table::default(), 1);
        let mut range = KeyRange::prefix(PREFIX);
        loop {
            let page = barrier.scan(&range, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last);
            for (key, plain) in &page {
                if key.as_bytes() == CONFIG.as_bytes() {
                    table.config = decode(plain)?;
                    continue;
                }
                let (name, record) = (name_of(key)?, decode::<Record>(plain)?);
                if record
                    .place
                    .mount()
                    .is_some_and(|id| mounts.by_id(id).is_none())
                {
                    // It went in the commit that its mount went in. Were one left, it would be
                    // about nothing, and no reason to keep the zone shut.
                    continue;
                }
                let counter = counter_of(&record, mounts, tokens)?;
                if let Some(counter) = &counter {
                    counter.read(barrier).await?;
                }
                let at = (record.rule.kind(), name);
                table.all.insert(at, live(record, next, counter));
                next += 1;
            }
        }
        Ok(Self {
            table: ArcSwap::from_pointee(table),
            coming: ArcSwapOption::empty(),
            buckets: Buckets::default(),
            own: Buckets::default(),
            changing: Arc::new(Mutex::new(next)),
        })
    }

    /// Changes the table, while `changing` is held; what is gone or new is counted anew.
    fn show(&self, change: impl FnOnce(&mut All, &mut QuotaConfig)) {
        let old = self.table.load_full();
        let (mut all, mut config) = (old.all.clone(), old.config.clone());
        change(&mut all, &mut config);
        for (at, live) in &old.all {
            if all.get(at).is_none_or(|new| new.number != live.number) {
                self.buckets.forget(live.number);
            }
        }
        self.table.store(Arc::new(Table { all, config }));
    }

    /// Adds the removal of a mount's quotas, and says how they go from memory. Until that has been
    /// called or dropped no quota is written: none may come behind its mount.
    pub(crate) async fn without(
        &self,
        mount: &MountId,
        mut batch: Batch,
    ) -> Result<(Batch, impl FnOnce(&Self) + Send + use<>), AccessError> {
        let one_at_a_time = self.changing.clone().lock_owned().await;
        for (at, live) in &self.table.load_full().all {
            if live.record.place.mount() == Some(mount) {
                batch = batch.delete(key(at.0, &at.1)?);
            }
        }
        let mount = mount.clone();
        let gone = move |quotas: &Self| {
            quotas.show(|all, _| all.retain(|_, live| live.record.place.mount() != Some(&mount)));
            drop(one_at_a_time);
        };
        Ok((batch, gone))
    }
}

impl Access {
    /// The names of the quotas of a kind, in order.
    pub fn quotas(&self, _permit: &Permit, kind: QuotaKind) -> Result<Vec<String>, AccessError> {
        let table = self.state()?.quotas.table.load_full();
        let own = table.all.keys().filter(|(of, _)| *of == kind);
        Ok(own.map(|(_, name)| name.clone()).collect())
    }

    /// A quota, if there is one of that name.
    pub fn quota(
        &self,
        _permit: &Permit,
        kind: QuotaKind,
        name: &str,
    ) -> Result<Option<Quota>, AccessError> {
        let state = self.state()?;
        let table = state.quotas.table.load_full();
        let live = table.all.get(&(kind, name.to_owned()));
        Ok(live.map(|live| Quota {
            name: name.to_owned(),
            path: shown(&live.record.place, &state.mounts),
            rule: live.record.rule,
            counter: live.counter.as_ref().map_or(0, |counter| counter.number()),
        }))
    }

    /// Writes a quota about `path` (canonical; empty for the zone), or about all paths that
    /// begin so. In force when it returns.
    ///
    /// # Errors
    ///
    /// [`AccessError::Invalid`]: nothing is mounted there, another quota is about the same, or
    /// what it allows cannot be.
    pub async fn put_quota(
        &self,
        _permit: &Permit,
        name: &str,
        (path, part): (&str, bool),
        rule: QuotaRule,
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        check_name(name)?;
        rule.check()?;
        let mut next = state.quotas.changing.clone().lock_owned().await;
        let record = Record {
            v: V1,
            place: place(&state.mounts, path, part)?,
            rule,
        };
        let at = (rule.kind(), name.to_owned());
        check_others(&state.quotas.table.load(), &at, &record)?;
        let counter = self.counter(&state, &at, &record).await?;
        let batch = Batch::new().put(key(at.0, name)?, serde_json::to_vec(&record)?);
        let new = live(record, *next, counter);
        *next += 1;
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                state.quotas.show(|all, _| drop(all.insert(at, new)));
            }
            state.quotas.coming.store(None);
            drop(next);
        };
        self.change(&state, batch, then).await?;
        Ok(())
    }

    /// What counts the leases of a quota that is written: the counter that does so already, else
    /// one that has read them. A quota that is in force counts all.
    async fn counter(
        &self,
        state: &OpenState,
        at: &(QuotaKind, String),
        record: &Record,
    ) -> Result<Option<Arc<Counter>>, AccessError> {
        let old = state.quotas.table.load().all.get(at).cloned();
        if let Some(old) = old.filter(|old| old.record.place == record.place) {
            return Ok(old.counter.clone());
        }
        let Some(counter) = counter_of(record, &state.mounts, &state.tokens)? else {
            return Ok(None);
        };
        state.quotas.coming.store(Some(counter.clone()));
        // It follows all changes that begin from now on; of earlier ones none is under way then.
        drop(self.changes.write().await);
        let read = counter.read(&self.barrier).await;
        if read.is_err() {
            state.quotas.coming.store(None);
        }
        read.map(|()| Some(counter))
    }

    /// Removes a quota. Nothing there: no error, as in Vault.
    pub async fn delete_quota(
        &self,
        _permit: &Permit,
        kind: QuotaKind,
        name: &str,
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        let one_at_a_time = state.quotas.changing.clone().lock_owned().await;
        let at = (kind, name.to_owned());
        if !state.quotas.table.load().all.contains_key(&at) {
            return Ok(());
        }
        let batch = Batch::new().delete(key(kind, name)?);
        self.edit(&state, batch, one_at_a_time, move |all, _| {
            all.remove(&at);
        })
        .await
    }

    /// What holds for all rate limits.
    pub fn quota_config(&self, _permit: &Permit) -> Result<QuotaConfig, AccessError> {
        Ok(self.state()?.quotas.table.load().config.clone())
    }

    /// Whether refusals have lines in the audit trail, and answers tell where clients stand.
    pub fn quota_manners(&self) -> Result<(bool, bool), AccessError> {
        let state = self.state()?;
        let table = state.quotas.table.load();
        Ok((table.config.audit_refusals, table.config.response_headers))
    }

    /// Changes what holds for all rate limits.
    pub async fn change_quota_config(
        &self,
        _permit: &Permit,
        change: impl FnOnce(&mut QuotaConfig) + Send,
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        let one_at_a_time = state.quotas.changing.clone().lock_owned().await;
        let mut config = state.quotas.table.load().config.clone();
        change(&mut config);
        check_config(&config)?;
        let batch = Batch::new().put(Key::new(CONFIG)?, serde_json::to_vec(&config)?);
        self.edit(&state, batch, one_at_a_time, move |_, shown| {
            *shown = config;
        })
        .await
    }

    async fn edit(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
        one_at_a_time: OwnedMutexGuard<u64>,
        change: impl FnOnce(&mut All, &mut QuotaConfig) + Send + 'static,
    ) -> Result<(), AccessError> {
        let then = move |state: &OpenState, applied: bool| {
            if applied {
                state.quotas.show(change);
            }
            drop(one_at_a_time);
        };
        self.change(state, batch, then).await?;
        Ok(())
    }
}

fn live(record: Record, number: u64, counter: Option<Arc<Counter>>) -> Arc<Live> {
    Arc::new(Live {
        record,
        number,
        counter,
    })
}

fn key(kind: QuotaKind, name: &str) -> Result<Key, AccessError> {
    Ok(Key::new(format!("{PREFIX}{}/{name}", kind.as_str()))?)
}

fn name_of(key: &Key) -> Result<String, AccessError> {
    let text = std::str::from_utf8(key.as_bytes()).map_err(|_| AccessError::Corrupt)?;
    let (_, name) = text.rsplit_once('/').ok_or(AccessError::Corrupt)?;
    Ok(name.to_owned())
}

fn check_name(name: &str) -> Result<(), AccessError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !name.is_empty() && name.len() <= LONGEST && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(AccessError::invalid(
            "the name of a quota has 1 to 128 letters, digits, '-', '_' and '.'",
        )),
    }
}

fn check_others(table: &Table, at: &(QuotaKind, String), new: &Record) -> Result<(), AccessError> {
    let mut others = table.all.iter().filter(|(other, _)| *other != at);
    let same = others.find(|((kind, _), live)| *kind == at.0 && live.record.place == new.place);
    if let Some(((_, name), _)) = same {
        return Err(AccessError::invalid(format!(
            "quota rule with similar properties exists under the name {name:?}"
        )));
    }
    if table.all.len() >= MOST && !table.all.contains_key(at) {
        return Err(AccessError::invalid("there are 500 quotas, the most"));
    }
    Ok(())
}

fn check_config(config: &QuotaConfig) -> Result<(), AccessError> {
    let (most, longest) = EXEMPT;
    for list in [&config.exempt_paths, &config.absolute_exempt_paths] {
        if list.len() > most || list.iter().any(|path| path.len() > longest) {
            return Err(AccessError::invalid(
                "at most 100 paths of 512 bytes are exempt",
            ));
        }
    }
    Ok(())
}

/// What a path names: the zone, a mount, or something below one.
fn place(mounts: &MountTable, path: &str, part: bool) -> Result<Place, AccessError> {
    if path.is_empty() && !part {
        return Ok(Place::Zone);
    }
    let folder = format!("{}/", path.trim_end_matches('/'));
    let found = mounts.resolve(path).or_else(|| mounts.resolve(&folder));
    let mount =
        found.ok_or_else(|| AccessError::invalid("field 'path': nothing is mounted there"))?;
    let rest = path.get(mount.path.as_str().len()..).unwrap_or("");
    Ok(match (rest, part) {
        ("", _) => Place::Mount(mount.id.clone()),
        (start, true) => Place::Part(mount.id.clone(), start.to_owned()),
        (path, false) => Place::Path(mount.id.clone(), path.trim_end_matches('/').to_owned()),
    })
}

fn shown(place: &Place, mounts: &MountTable) -> String {
    let at = place.mount().and_then(|id| mounts.by_id(id));
    let at = at.map_or_else(String::new, |mount| mount.path.as_str().to_owned());
    match place {
        Place::Zone => String::new(),
        Place::Mount(_) => at,
        Place::Part(_, start) => format!("{at}{start}*"),
        Place::Path(_, path) => format!("{at}{path}"),
    }
}

/// The counter of a quota that counts leases. `None` for the others, and if its mount is gone.
fn counter_of(
    record: &Record,
    mounts: &MountTable,
    tokens: &TokenStore,
) -> Result<Option<Arc<Counter>>, AccessError> {
    if record.rule.kind() != QuotaKind::LeaseCount {
        return Ok(None);
    }
    let Some(id) = record.place.mount() else {
        return Err(AccessError::invalid(
            "field 'path': a lease-count quota is about a mount or a path below it",
        ));
    };
    let Some(mount) = mounts.by_id(id) else {
        return Ok(None);
    };
    let (prefix, exact) = match &record.place {
        Place::Mount(_) if mount.kind == MountKind::Token => return Err(of_method_alone()),
        Place::Mount(_) if mount.kind.is_auth() => (tokens.method_prefix(id)?, false),
        _ if mount.kind.is_auth() => return Err(of_method_alone()),
        Place::Path(_, path) => (entries(&mount, &format!("{path}/")), true),
        Place::Part(_, start) => (entries(&mount, start), false),
        _ => (entries(&mount, ""), false),
    };
    Ok(Some(Counter::new(prefix, exact)))
}

/// What the index by path begins with.
fn entries(mount: &Mount, start: &str) -> Vec<u8> {
    [&mount.prefix(AT)[..], start.as_bytes()].concat()
}

fn of_method_alone() -> AccessError {
    AccessError::invalid(
        "field 'path': tokens are counted for an auth method that logs in as a whole: name its mount",
    )
}
