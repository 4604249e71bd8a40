//! The certificate authority: issuers, roles, certificates, revocation, under each PKI mount.
//!
//! # Invariants
//!
//! * C1. No certificate outlives its issuer (nor any CA above it that is known here); each is
//!   linted before it is signed; every serial has 158 random bits.
//! * C2. Revoking writes one record and one mark on the certificate's own shard, whatever the
//!   number of revoked certificates. Lists are made when they are read.
//! * C3. Names of the zone's trust domain and of its head are never certified here:
//!   [`ReservedNames`].
//! * B2. Keys and settings kept in memory belong to one opening of the barrier:
//!   [`PkiService::forget`] drops them.
//! * S1. One issuance is one batch; so is the generation of a root with its key.
//!
//! # Deliberately absent
//!
//! No HTTP and no PEM framing of answers: faces do that. No OCSP, delta lists, ACME,
//! intermediates signed here, `sign-verbatim`: what is not built is refused.
//!
//! Start at [`PkiService::issue`]; what a role lets through is judged in `order`. Stored records:
//! `docs/formats/pki.md`.

mod authority;
mod cache;
mod certs;
mod config;
mod crl;
mod error;
#[cfg(test)]
mod golden;
mod import;
mod issue;
mod issuers;
mod keys;
mod make;
mod names;
mod order;
mod record;
mod revoke;
mod role;
mod roles;
mod root;
mod shard;
mod work;

use std::sync::Arc;

use zone_access::{Access, Permit};
use zone_barrier::{Barrier, BarrierError, Batch};
use zone_ports::{Clock, Random};
use zone_types::{MountId, RequestId};

pub use authority::{Authority, Issuer, KeyEntry};
pub use certs::{Page, StoredCertificate};
pub use config::{CrlChange, UrlsChange};
pub use crl::List;
pub use error::PkiError;
pub use import::Imported;
pub use issue::Issued;
pub use issuers::IssuerChange;
pub use names::ReservedNames;
pub use order::{IssueAsk, MAX_NAMES};
pub use record::{CrlConfig, IssuerRecord, IssuerUsage, LeafNotAfter, Octets, Urls};
pub use revoke::Revoked;
pub use role::Role;
pub use root::{GeneratedRoot, RootAsk};
pub use shard::SHARD_SIZE;

use authority::Authority as Loaded;
use cache::{Cache, Slot};
use record::AuthorityConfig;
use work::Workers;

/// Attempts of a read-modify-write.
const ATTEMPTS: usize = 16;

/// The service. One for all PKI mounts of the zone.
pub struct PkiService {
    barrier: Barrier,
    access: Access,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    reserved: ReservedNames,
    workers: Arc<Workers>,
    cache: Cache,
}

impl PkiService {
    /// A service over `barrier` that never certifies `reserved`. Leases come from `access`.
    pub fn new(
        access: Access,
        barrier: Barrier,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        reserved: ReservedNames,
    ) -> Self {
        Self {
            barrier,
            access,
            clock,
            random,
            reserved,
            workers: Arc::new(Workers::new()),
            cache: Cache::default(),
        }
    }

    /// Drops everything kept in memory, keys first of all; to be called at seal (B2).
    pub fn forget(&self) {
        self.cache.forget();
    }

    /// Drops what is kept of one mount; to be called when it was removed.
    pub fn forget_mount(&self, id: &MountId) {
        self.cache.forget_mount(id);
    }

    /// The issuers, keys and settings of the permit's mount.
    pub async fn authority(&self, permit: &Permit) -> Result<Arc<Authority>, PkiError> {
        self.slot(permit)
            .authority(&self.barrier, permit.mount())
            .await
    }

    /// An issuer of the mount: `default`, its id or its name.
    pub async fn issuer(&self, permit: &Permit, reference: &str) -> Result<Arc<Issuer>, PkiError> {
        Ok(self.authority(permit).await?.issuer(reference)?.clone())
    }

    /// A key of the mount: `default`, its id or its name.
    pub async fn key(&self, permit: &Permit, reference: &str) -> Result<Arc<KeyEntry>, PkiError> {
        Ok(self.authority(permit).await?.key(reference)?.clone())
    }

    fn slot(&self, permit: &Permit) -> Arc<Slot> {
        self.cache.slot(&self.barrier, permit.mount())
    }

    /// A random id in UUID form, as Vault's clients expect of issuers and keys.
    fn new_id(&self) -> String {
        RequestId::from_random(zone_ports::random::bytes(&*self.random)).to_string()
    }

    /// Changes issuers, keys or settings: `change` sees what is stored and answers with the new
    /// defaults and further writes. It is called again if somebody else was faster.
    async fn change<T>(
        &self,
        permit: &Permit,
        mut change: impl FnMut(&Loaded) -> Result<(AuthorityConfig, Batch, T), PkiError>,
    ) -> Result<T, PkiError> {
        let mount = permit.mount();
        let key = keys::config(mount, "issuers")?;
        for _ in 0..ATTEMPTS {
            let stored = Loaded::load(&self.barrier, mount).await?;
            let (config, batch, outcome) = change(&stored)?;
            let batch = batch
                .require(key.clone(), stored.revision)
                .put(key.clone(), record::encode(&config)?);
            match self
                .commit_then(permit, batch, Slot::authority_changed)
                .await
            {
                Ok(()) => return Ok(outcome),
                Err(PkiError::Barrier(BarrierError::Conflict)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(PkiError::Busy)
    }

    /// Commits `batch` and then drops what it made old, also if the caller goes away meanwhile.
    async fn commit_then(
        &self,
        permit: &Permit,
        batch: Batch,
        invalidate: impl FnOnce(&Slot) + Send + 'static,
    ) -> Result<(), PkiError> {
        let (barrier, slot) = (self.barrier.clone(), self.slot(permit));
        let task = tokio::spawn(async move {
            let result = barrier.commit(batch).await;
            invalidate(&slot);
            result
        });
        task.await
            .map_err(|_| PkiError::Internal("committing a change"))??;
        Ok(())
    }
}

impl std::fmt::Debug for PkiService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PkiService")
    }
}
