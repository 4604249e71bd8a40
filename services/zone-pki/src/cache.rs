//! What is kept in memory of each mount. Nothing here outlives a seal (B2): a slot belongs to one
//! opening of the barrier, and [`Cache::forget`] drops them all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use zone_access::Mount;
use zone_barrier::Barrier;
use zone_types::MountId;

use crate::authority::Authority;
use crate::crl::Lists;
use crate::role::Role;
use crate::shard::Places;

/// Roles kept per mount; beyond, all are dropped and read again.
const MAX_ROLES: usize = 10_000;

/// All mounts.
#[derive(Default)]
pub(crate) struct Cache {
    slots: Mutex<HashMap<MountId, Arc<Slot>>>,
}

/// One mount under one opening of the barrier.
pub(crate) struct Slot {
    epoch: u64,
    /// Grows with every change: what was read before a change is not kept after it.
    generation: AtomicU64,
    authority: Mutex<Option<Arc<Authority>>>,
    roles: Mutex<HashMap<String, Arc<Role>>>,
    issuers: Mutex<HashMap<String, Arc<Live>>>,
}

/// What runs along for one issuer; changes of records do not end it.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) places: Places,
    pub(crate) lists: Lists,
}

impl Cache {
    pub(crate) fn slot(&self, barrier: &Barrier, mount: &Mount) -> Arc<Slot> {
        let epoch = barrier.epoch();
        let mut slots = self.slots.lock();
        match slots.get(&mount.id) {
            Some(slot) if slot.epoch == epoch => slot.clone(),
            _ => {
                let slot = Arc::new(Slot {
                    epoch,
                    generation: AtomicU64::new(0),
                    authority: Mutex::default(),
                    roles: Mutex::default(),
                    issuers: Mutex::default(),
                });
                slots.insert(mount.id.clone(), slot.clone());
                slot
            }
        }
    }

    pub(crate) fn forget(&self) {
        self.slots.lock().clear();
    }

    pub(crate) fn forget_mount(&self, id: &MountId) {
        self.slots.lock().remove(id);
    }
}

impl Slot {
    /// The mount's issuers, keys and settings.
    pub(crate) async fn authority(
        &self,
        barrier: &Barrier,
        mount: &Mount,
    ) -> Result<Arc<Authority>, crate::PkiError> {
        let kept = self.authority.lock().clone();
        if let Some(authority) = kept {
            barrier_is_open(barrier)?;
            return Ok(authority);
        }
        let generation = self.generation.load(Ordering::Acquire);
        let authority = Arc::new(Authority::load(barrier, mount).await?);
        let mut kept = self.authority.lock();
        if self.generation.load(Ordering::Acquire) == generation {
            *kept = Some(authority.clone());
        }
        Ok(authority)
    }

    /// To be called after every change of issuers, keys or settings was committed.
    pub(crate) fn authority_changed(&self) {
        let mut kept = self.authority.lock();
        self.generation.fetch_add(1, Ordering::AcqRel);
        *kept = None;
    }

    pub(crate) fn role(&self, name: &str) -> Option<Arc<Role>> {
        self.roles.lock().get(name).cloned()
    }

    /// For [`Slot::keep_role`]: taken before the role is read.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn keep_role(&self, name: &str, role: &Arc<Role>, generation: u64) {
        let mut roles = self.roles.lock();
        if self.generation.load(Ordering::Acquire) != generation {
            return;
        }
        if roles.len() >= MAX_ROLES {
            roles.clear();
        }
        roles.insert(name.to_owned(), role.clone());
    }

    /// To be called after a role was written or removed.
    pub(crate) fn role_changed(&self, name: &str) {
        let mut roles = self.roles.lock();
        self.generation.fetch_add(1, Ordering::AcqRel);
        roles.remove(name);
    }

    pub(crate) fn live(&self, issuer: &str) -> Arc<Live> {
        let mut issuers = self.issuers.lock();
        match issuers.get(issuer) {
            Some(live) => live.clone(),
            None => issuers.entry(issuer.to_owned()).or_default().clone(),
        }
    }
}

/// B2: what is kept is not served while the barrier is sealed.
pub(crate) fn barrier_is_open(barrier: &Barrier) -> Result<(), crate::PkiError> {
    if barrier.is_sealed() {
        Err(zone_barrier::BarrierError::Sealed.into())
    } else {
        Ok(())
    }
}
