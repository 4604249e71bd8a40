//! Changing a secret: read, decide, commit one batch, and again if somebody was faster.

use zeroize::Zeroizing;
use zone_access::Permit;
use zone_barrier::batch::Change;
use zone_barrier::{BarrierError, Batch};
use zone_ports::random;
use zone_ports::store::Revision;

use super::place::{Place, config_key, trash_key};
use super::record::{Config, Metadata, Trash};
use super::{KvError, KvService};

/// Attempts before somebody else's writes are reported.
const ATTEMPTS: usize = 16;
/// Version records that one batch removes. Leaves room for metadata, version and cleanup record.
pub(super) const REMOVALS: usize = 50;

/// What a change is decided on.
pub(super) struct State {
    pub(super) config: Config,
    /// `None`: there is no such secret.
    pub(super) metadata: Option<Metadata>,
    /// The current version's record, if it was asked for and can be read.
    pub(super) current: Option<Zeroizing<Vec<u8>>>,
    /// For a secret that is made now.
    pub(super) fresh: u64,
}

/// How much of a secret a change has to see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Metadata,
    Data,
}

/// What a change does.
pub(super) struct Plan<T> {
    pub(super) next: Next,
    /// It reads the value of a secret that is watched.
    pub(super) reads_canary: bool,
    /// The record of the current version of `next`.
    pub(super) record: Option<Zeroizing<Vec<u8>>>,
    /// Versions whose data goes, in order.
    pub(super) dead: Vec<u64>,
    pub(super) reply: T,
}

/// A cleanup record and its id.
type Leftover = ([u8; 8], Trash);

/// The metadata afterwards.
pub(super) enum Next {
    /// As it is; nothing is written.
    Unchanged,
    Is(Metadata),
    /// Gone; the generation it had.
    Removed(u64),
}

impl<T> Plan<T> {
    pub(super) fn nothing(reply: T) -> Self {
        Self {
            next: Next::Unchanged,
            reads_canary: false,
            record: None,
            dead: Vec::new(),
            reply,
        }
    }

    pub(super) fn metadata(metadata: Metadata, reply: T) -> Self {
        Self {
            next: Next::Is(metadata),
            reads_canary: false,
            record: None,
            dead: Vec::new(),
            reply,
        }
    }
}

impl KvService {
    /// Does what `decide` says about the secret at `place`, durably, or nothing.
    pub(super) async fn change<T>(
        &self,
        permit: &Permit,
        place: &Place<'_>,
        needs: Needs,
        decide: impl Fn(State) -> Result<Plan<T>, KvError>,
    ) -> Result<T, KvError> {
        let _turn = self.turns.wait(place.metadata()).await;
        let mut seen_corrupt = None;
        for _ in 0..ATTEMPTS {
            let (state, revision) = self.state(place, needs).await?;
            let plan = match decide(state) {
                // Perhaps another head removed the version between the reads of list and version.
                Err(KvError::Corrupt) if seen_corrupt.replace(revision) != Some(revision) => {
                    continue;
                }
                decided => decided?,
            };
            let events = self.events(permit, place, &plan)?;
            let Some((mut batch, trash)) =
                self.batch(place, revision, plan.next, plan.record, &plan.dead)?
            else {
                return Ok(plan.reply);
            };
            batch.announcements = events;
            match self.barrier.commit(batch).await {
                Ok(_) => {
                    if let Some((id, trash)) = trash {
                        self.clean_or_leave(place.mount(), id, &trash).await;
                    }
                    return Ok(plan.reply);
                }
                Err(BarrierError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BarrierError::Conflict.into())
    }

    /// The settings of the mount.
    pub(super) async fn config(
        &self,
        mount: &zone_access::Mount,
    ) -> Result<(Config, Option<Revision>), KvError> {
        match self.barrier.get(&config_key(mount)?).await? {
            None => Ok((Config::default(), None)),
            Some(plain) => Ok((Config::decode(&plain.value)?, Some(plain.revision))),
        }
    }

    /// The metadata record at `place`.
    pub(super) async fn metadata(
        &self,
        place: &Place<'_>,
    ) -> Result<Option<(Metadata, Revision)>, KvError> {
        match self.barrier.get(place.metadata()).await? {
            None => Ok(None),
            Some(plain) => Ok(Some((Metadata::decode(&plain.value)?, plain.revision))),
        }
    }

    async fn state(
        &self,
        place: &Place<'_>,
        needs: Needs,
    ) -> Result<(State, Option<Revision>), KvError> {
        let (config, _) = self.config(place.mount()).await?;
        let fresh = u64::from_be_bytes(random::bytes(&*self.random));
        let Some((metadata, revision)) = self.metadata(place).await? else {
            return Ok((
                State {
                    config,
                    metadata: None,
                    current: None,
                    fresh,
                },
                None,
            ));
        };
        let mut current = None;
        if needs == Needs::Data && metadata.version(metadata.current).is_some() {
            let key = place.version(metadata.generation, metadata.current)?;
            current = self.barrier.get(&key).await?.map(|plain| plain.value);
        }
        Ok((
            State {
                config,
                metadata: Some(metadata),
                current,
                fresh,
            },
            Some(revision),
        ))
    }

    /// The one batch of a change, and the cleanup record in it.
    fn batch(
        &self,
        place: &Place<'_>,
        revision: Option<Revision>,
        next: Next,
        record: Option<Zeroizing<Vec<u8>>>,
        dead: &[u64],
    ) -> Result<Option<(Batch, Option<Leftover>)>, KvError> {
        let mut batch = Batch::new().require(place.metadata().clone(), revision);
        let generation = match next {
            Next::Unchanged => return Ok(None),
            Next::Removed(generation) => {
                batch = batch.delete(place.metadata().clone());
                generation
            }
            Next::Is(metadata) => {
                batch
                    .changes
                    .push(Change::Put(place.metadata().clone(), metadata.encode()?));
                if let Some(record) = record {
                    let key = place.version(metadata.generation, metadata.current)?;
                    batch.changes.push(Change::Put(key, record));
                }
                metadata.generation
            }
        };
        if dead.len() <= REMOVALS {
            for version in dead {
                batch = batch.delete(place.version(generation, *version)?);
            }
            return Ok(Some((batch, None)));
        }
        let trash = Trash::of(place.path(), generation, dead);
        let id = random::bytes(&*self.random);
        batch
            .changes
            .push(Change::Put(trash_key(place.mount(), id)?, trash.encode()?));
        Ok(Some((batch, Some((id, trash)))))
    }
}
