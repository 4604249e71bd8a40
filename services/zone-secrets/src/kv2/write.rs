//! Writing versions, and taking them away.

use serde_json::{Map, Value};
use zone_access::{Operation, Permit};

use super::change::{Needs, Next, Plan, State};
use super::event::is_canary;
use super::merge::{Wiped, merge};
use super::place::{Area, Place, judged};
use super::record::{Config, Metadata, secret_text, version_record};
use super::{KvError, KvService, VersionInfo};

const WRITES: [Operation; 2] = [Operation::Create, Operation::Update];

/// What came of a patch.
#[derive(Debug)]
pub enum Patched {
    /// A new version.
    Written(VersionInfo),
    /// The current version is deleted or destroyed; nothing was written.
    Gone(VersionInfo),
}

impl KvService {
    /// `data/PATH`: writes `data` as the next version. With `cas` only if that is the current
    /// version (0: there is none).
    ///
    /// # Errors
    ///
    /// [`KvError::CasMismatch`], [`KvError::CasRequired`], [`KvError::SecretTooLarge`].
    pub async fn write(
        &self,
        permit: &Permit,
        data: &Map<String, Value>,
        cas: Option<i64>,
    ) -> Result<VersionInfo, KvError> {
        let place = Place::permitted(permit, Area::Data, &WRITES)?.nameable()?;
        let now = permit.now();
        self.change(permit, &place, Needs::Metadata, |state| {
            let State {
                config,
                metadata,
                fresh,
                ..
            } = state;
            judged(permit, metadata.is_some())?;
            let metadata = metadata.unwrap_or_else(|| Metadata::new(fresh, now));
            check_cas(&config, &metadata, cas)?;
            next_version(metadata, &config, version_record(data)?, now)
        })
        .await
    }

    /// `data/PATH`: merges `patch` (RFC 7396) into the current version and writes the result as
    /// the next one. `cas` and errors as in [`KvService::write`]; [`KvError::NotFound`] if there
    /// is no version.
    pub async fn patch(
        &self,
        permit: &Permit,
        patch: &Map<String, Value>,
        cas: Option<i64>,
    ) -> Result<Patched, KvError> {
        let place = Place::permitted(permit, Area::Data, &[Operation::Patch])?.nameable()?;
        let now = permit.now();
        self.change(permit, &place, Needs::Data, |state| {
            let State {
                config,
                metadata,
                current,
                ..
            } = state;
            let metadata = metadata.ok_or(KvError::NotFound)?;
            check_cas(&config, &metadata, cas)?;
            let version = metadata
                .version(metadata.current)
                .ok_or(KvError::NotFound)?;
            if version.destroyed || version.is_deleted(now) {
                let info = metadata.info(metadata.current).ok_or(KvError::NotFound)?;
                return Ok(Plan::nothing(Patched::Gone(info)));
            }
            let text = secret_text(current.as_deref().ok_or(KvError::Corrupt)?)?;
            let parsed = serde_json::from_str(text.get()).map_err(|_| KvError::Corrupt)?;
            let mut data = Wiped(parsed);
            merge(&mut data.0, patch);
            let reads_canary = is_canary(&metadata.custom);
            let plan = next_version(metadata, &config, version_record(&data.0)?, now)?;
            Ok(Plan {
                next: plan.next,
                reads_canary,
                record: plan.record,
                dead: plan.dead,
                reply: Patched::Written(plan.reply),
            })
        })
        .await
    }

    /// `data/PATH`: marks the current version as deleted. Nothing happens if there is none, or if
    /// it is deleted or destroyed already.
    pub async fn delete_latest(&self, permit: &Permit) -> Result<(), KvError> {
        let place = Place::permitted(permit, Area::Data, &[Operation::Delete])?;
        self.delete_listed(&place, permit, None).await
    }

    /// `delete/PATH`: marks `versions` as deleted. Passes over what does not exist.
    pub async fn delete(&self, permit: &Permit, versions: &[u64]) -> Result<(), KvError> {
        let place = Place::permitted(permit, Area::Delete, &WRITES)?;
        self.delete_listed(&place, permit, Some(versions)).await
    }

    /// `undelete/PATH`: takes the mark away again. Where versions are deleted after a time, that
    /// time begins anew.
    pub async fn undelete(&self, permit: &Permit, versions: &[u64]) -> Result<(), KvError> {
        let place = Place::permitted(permit, Area::Undelete, &WRITES)?;
        let now = permit.now();
        self.change(
            permit,
            &place,
            Needs::Metadata,
            |State {
                 config, metadata, ..
             }| {
                let Some(mut metadata) = metadata else {
                    return Ok(Plan::nothing(()));
                };
                let deletion = config.deletion(now, metadata.delete_after);
                let mut changed = false;
                for number in versions {
                    let version = metadata.version_mut(*number).filter(|one| !one.destroyed);
                    let Some(version) = version else { continue };
                    changed |= version.deletion != deletion;
                    version.deletion = deletion;
                }
                Ok(unless_same(metadata, changed))
            },
        )
        .await
    }

    /// `destroy/PATH`: removes the data of `versions` for good. They stay listed.
    pub async fn destroy(&self, permit: &Permit, versions: &[u64]) -> Result<(), KvError> {
        let place = Place::permitted(permit, Area::Destroy, &WRITES)?;
        self.change(
            permit,
            &place,
            Needs::Metadata,
            |State { metadata, .. }| {
                let Some(mut metadata) = metadata else {
                    return Ok(Plan::nothing(()));
                };
                let mut dead = Vec::new();
                for number in versions {
                    let version = metadata.version_mut(*number).filter(|one| !one.destroyed);
                    let Some(version) = version else { continue };
                    version.destroyed = true;
                    dead.push(*number);
                }
                if dead.is_empty() {
                    return Ok(Plan::nothing(()));
                }
                dead.sort_unstable();
                Ok(Plan {
                    dead,
                    ..Plan::metadata(metadata, ())
                })
            },
        )
        .await
    }

    async fn delete_listed(
        &self,
        place: &Place<'_>,
        permit: &Permit,
        versions: Option<&[u64]>,
    ) -> Result<(), KvError> {
        let now = permit.now();
        self.change(
            permit,
            place,
            Needs::Metadata,
            |State { metadata, .. }| {
                let Some(mut metadata) = metadata else {
                    return Ok(Plan::nothing(()));
                };
                let latest = [metadata.current];
                let mut changed = false;
                for number in versions.unwrap_or(&latest) {
                    let version = metadata.version_mut(*number);
                    let Some(version) =
                        version.filter(|one| !one.destroyed && !one.is_deleted(now))
                    else {
                        continue;
                    };
                    version.deletion = Some(now);
                    changed = true;
                }
                Ok(unless_same(metadata, changed))
            },
        )
        .await
    }
}

fn unless_same(metadata: Metadata, changed: bool) -> Plan<()> {
    if changed {
        Plan::metadata(metadata, ())
    } else {
        Plan::nothing(())
    }
}

fn check_cas(config: &Config, metadata: &Metadata, cas: Option<i64>) -> Result<(), KvError> {
    match cas {
        Some(cas) if u64::try_from(cas) == Ok(metadata.current) => Ok(()),
        Some(_) => Err(KvError::CasMismatch),
        None if config.cas_required || metadata.cas_required => Err(KvError::CasRequired),
        None => Ok(()),
    }
}

fn next_version(
    mut metadata: Metadata,
    config: &Config,
    record: zeroize::Zeroizing<Vec<u8>>,
    now: zone_types::Timestamp,
) -> Result<Plan<VersionInfo>, KvError> {
    let dead = metadata.add_version(now, config);
    let reply = metadata.info(metadata.current).ok_or(KvError::Corrupt)?;
    Ok(Plan {
        next: Next::Is(metadata),
        reads_canary: false,
        record: Some(record),
        dead,
        reply,
    })
}
