//! Who may do what: namespaces, mounts, policies, tokens, expiry, identity. The only maker of [`Permit`]s.
//!
//! # Invariants
//!
//! * A2. Service code takes a [`Permit`]; only this crate makes one.
//! * A3. The path that the policy judged is the path that the router serves: both are the one
//!   [`zone_types::RequestPath`] inside the permit.
//! * B1. Tokens and accessors appear in storage keys only as HMACs, and no record holds a token's
//!   text.
//! * B2. [`Access::forget`] drops every cached value when the zone is sealed.
//! * S1. A token is created, and a whole tree of tokens is revoked, by one durable batch.
//! * What is in memory never lags behind a change that returned. Every change goes through one
//!   function that commits and then updates memory in a task of its own, so a caller that is
//!   dropped in between leaves nothing stale; opening waits for changes that are under way.
//! * T1. Instants come from the clock port and never fall below the latest one seen.
//!
//! # Deliberately absent
//!
//! No HTTP and no engine. What has to happen when a mount goes away is [`Access::sweep`]'s work:
//! it removes the mount's keys whatever engine wrote them.
//!
//! Start at [`Access::authorize`]; the life of a token is in [`token`], what a token keeps for
//! itself in `cubbyhole`, what engines give out for a time in [`lease`], how often and how much
//! in [`quota`].

mod authorize;
mod change;
mod cubbyhole;
mod error;
pub mod event;
pub mod expiry;
mod floor;
pub mod identity;
pub mod lease;
pub mod mount;
mod mounts;
pub mod open;
pub mod permit;
mod policies;
pub mod quota;
mod record;
mod renewal;
mod sweep;
pub mod token;

pub use authorize::{Ask, Helped, Refusal, RefusalKind};
pub use error::AccessError;
pub use lease::{
    EndedLease, Lease, LeaseGroup, LeaseOffer, LeaseTally, LeaseTarget, TargetFault, WaitingLease,
};
pub use mount::{LeaseTimes, Mount, MountConfig, MountKind, TokenChoice, UserLockout};
pub use mounts::{NewMount, Remounted};
pub use permit::Permit;
pub use policies::{PolicyRecord, login_policies};
pub use quota::{Quota, QuotaConfig, QuotaKind, QuotaRule, RateState, RateVerdict};
pub use renewal::{RenewalTerms, Renewals};
pub use sweep::Chore;
pub use token::{
    AliasName, CreateToken, Created, CutMark, CutOff, LoginGrant, RoleChange, RoleKind, TokenEntry,
    TokenId, TokenKind, TokenRecord, TokenRole, Wrapped, WrappedAnswer, WrappedAt, role_name,
};
pub use zone_policy::Operation;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use tokio::sync::RwLock;
use zone_barrier::Barrier;
use zone_ports::{Clock, Random};
use zone_types::Timestamp;

use crate::floor::TimeFloor;
use crate::identity::IdentityStore;
use crate::lease::PrefixWorks;
use crate::mounts::MountTable;
use crate::policies::PolicyCache;
use crate::quota::Quotas;
use crate::token::TokenStore;

/// The zone's default lease time unless it is configured: 32 days, as in Vault.
pub const DEFAULT_TTL_SECS: u64 = 32 * 24 * 3600;
/// The zone's longest lease time unless it is configured: 32 days, as in Vault.
pub const MAX_TTL_SECS: u64 = 32 * 24 * 3600;

type LeaseTargets = Vec<(MountKind, Arc<dyn LeaseTarget>)>;

/// The service. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct Access {
    barrier: Barrier,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    floor: Arc<TimeFloor>,
    times: LeaseTimes,
    open: Arc<ArcSwapOption<OpenState>>,
    /// Held for reading by each change that is under way.
    changes: Arc<RwLock<()>>,
    renewals: Arc<OnceLock<Arc<dyn Renewals>>>,
    chores: Arc<parking_lot::RwLock<Vec<Arc<dyn Chore>>>>,
    /// Who takes leases back, by the kind of the mount.
    targets: Arc<parking_lot::RwLock<LeaseTargets>>,
}

/// What exists only while the zone is unsealed.
struct OpenState {
    /// The barrier's epoch: another one means that the zone was sealed since (B2).
    epoch: u64,
    mounts: MountTable,
    policies: PolicyCache,
    tokens: TokenStore,
    /// For its keys. It may have been tuned since.
    cubbyhole: Arc<Mount>,
    identity: IdentityStore,
    /// Revocations by path that are under way.
    prefixes: PrefixWorks,
    quotas: Quotas,
}

impl Access {
    /// A closed service: everything fails with [`AccessError::Sealed`] until [`Access::load`].
    pub fn new(barrier: Barrier, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            barrier,
            clock,
            random,
            floor: Arc::default(),
            times: LeaseTimes::default(),
            open: Arc::default(),
            changes: Arc::default(),
            renewals: Arc::default(),
            chores: Arc::default(),
            targets: Arc::default(),
        }
    }

    /// With other lease times than Vault's. Before it is cloned.
    #[must_use]
    pub fn with_lease_times(self, times: LeaseTimes) -> Self {
        Self { times, ..self }
    }

    /// The lease times of a mount.
    pub fn lease_times(&self, mount: &Mount) -> LeaseTimes {
        self.times.of(mount)
    }

    /// Writes what a new zone begins with: salt, the mounts that each zone has, the default
    /// policy. Called once, between the two steps of init; a repeated call writes the same things
    /// again.
    pub async fn bootstrap(&self) -> Result<(), AccessError> {
        token::bootstrap(&self.barrier, &*self.random).await?;
        self.load().await?;
        self.write_default_policy().await
    }

    /// Opens the service after the barrier was unsealed. Reads a number of records that depends
    /// on the count of mounts alone. A mount that each zone has and this one lacks (it was made
    /// by an older head) is added.
    pub async fn load(&self) -> Result<(), AccessError> {
        let _none_under_way = self.changes.write().await;
        let epoch = self.barrier.epoch();
        self.floor.load(&self.barrier).await?;
        let mounts = MountTable::load(&self.barrier).await?;
        mounts.complete(&self.barrier, &*self.random).await?;
        let token_mount = mounts
            .built_in(MountKind::Token)
            .ok_or(AccessError::Corrupt)?;
        let cubbyhole = mounts
            .built_in(MountKind::Cubbyhole)
            .ok_or(AccessError::Corrupt)?;
        let identity = mounts
            .built_in(MountKind::Identity)
            .ok_or(AccessError::Corrupt)?;
        let tokens = TokenStore::load(&self.barrier, token_mount).await?;
        let prefixes = PrefixWorks::load(&self.barrier, self.instant()).await?;
        let quotas = Quotas::load(&self.barrier, &mounts, &tokens).await?;
        let state = OpenState {
            epoch,
            mounts,
            policies: PolicyCache::default(),
            tokens,
            cubbyhole,
            identity: IdentityStore::new(identity),
            prefixes,
            quotas,
        };
        self.open.store(Some(Arc::new(state)));
        Ok(())
    }

    /// Drops every cached value (B2).
    pub fn forget(&self) {
        self.open.store(None);
    }

    /// The zone's time: the clock, but never below the latest time that was seen.
    pub fn now(&self) -> Result<Timestamp, AccessError> {
        self.state()?;
        Ok(self.instant())
    }

    fn instant(&self) -> Timestamp {
        self.floor.now(&*self.clock)
    }

    fn state(&self) -> Result<Arc<OpenState>, AccessError> {
        let state = self.open.load_full().ok_or(AccessError::Sealed)?;
        if state.epoch == self.barrier.epoch() {
            Ok(state)
        } else {
            Err(AccessError::Sealed)
        }
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access")
    }
}
