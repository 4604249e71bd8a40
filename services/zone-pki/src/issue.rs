//! `issue` and `sign`: from a role and a request to a stored certificate.

use std::sync::Arc;
use std::time::Duration;

use zone_access::{Lease, LeaseOffer, Permit};
use zone_barrier::Batch;
use zone_crypto::sign::{KeyAlgorithm, PrivateKey, PublicKey};
use zone_types::Timestamp;
use zone_x509::Serial;

use crate::authority::Issuer;
use crate::cache::Slot;
use crate::order::{self, Bounds, IssueAsk, Requested};
use crate::record::{CertRecord, Octets, encode};
use crate::role::{KeyRule, Role};
use crate::{PkiError, PkiService, keys, make, shard};

/// A certificate that was just issued.
pub struct Issued {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// Its serial.
    pub serial: Serial,
    /// Its end.
    pub not_after: Timestamp,
    /// Who signed it.
    pub issuer: Arc<Issuer>,
    /// Its key, if that was made here. It is kept nowhere.
    pub private_key: Option<PrivateKey>,
    /// The lease that it is revoked with, if the role says so.
    pub lease: Option<Lease>,
    /// What was not done quite as asked.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issued({})", self.serial)
    }
}

/// Whose certificate is to be made.
struct Holder {
    public: PublicKey,
    requested: Option<Requested>,
}

impl PkiService {
    /// Makes a key and a certificate for it by the role `role`. `issuer` overrules the role's
    /// issuer.
    ///
    /// # Errors
    ///
    /// [`PkiError::Refused`] names the field or name that the role does not let through.
    pub async fn issue(
        &self,
        permit: &Permit,
        role: &str,
        issuer: Option<&str>,
        ask: &IssueAsk,
    ) -> Result<Issued, PkiError> {
        let (role_name, role) = (role, self.usable_role(permit, role).await?);
        let KeyRule::Only(key_type) = role.key_rule()? else {
            return Err(PkiError::refused(
                "role key type \"any\" not allowed for issuing certificates, only signing",
            ));
        };
        // What the role refuses costs no key.
        order::plan(&role, ask, None, &self.reserved)?;
        let key = self.workers.generate(key_type).await?;
        let holder = Holder {
            public: key.public_key().clone(),
            requested: None,
        };
        let mut issued = self
            .certify(permit, role_name, &role, issuer, ask, holder)
            .await?;
        issued.private_key = Some(key);
        Ok(issued)
    }

    /// Certifies the key of a CSR (PEM) by the role `role`. `issuer` overrules the role's issuer.
    ///
    /// # Errors
    ///
    /// [`PkiError::Refused`] names the field or name that the role does not let through.
    pub async fn sign(
        &self,
        permit: &Permit,
        role: &str,
        issuer: Option<&str>,
        csr: &str,
        ask: &IssueAsk,
    ) -> Result<Issued, PkiError> {
        let (role_name, role) = (role, self.usable_role(permit, role).await?);
        let (public, requested) = make::read_csr(csr)?;
        check_key(&role, public.algorithm())?;
        let holder = Holder {
            public,
            requested: Some(requested),
        };
        self.certify(permit, role_name, &role, issuer, ask, holder)
            .await
    }

    async fn usable_role(&self, permit: &Permit, name: &str) -> Result<Arc<Role>, PkiError> {
        match self.role(permit, name).await {
            Err(PkiError::NotFound) => Err(PkiError::refused(format!("unknown role: {name}"))),
            other => other,
        }
    }

    async fn certify(
        &self,
        permit: &Permit,
        role_name: &str,
        role: &Role,
        issuer: Option<&str>,
        ask: &IssueAsk,
        holder: Holder,
    ) -> Result<Issued, PkiError> {
        let slot = self.slot(permit);
        let issuer = self
            .usable_issuer(permit, &slot, issuer.unwrap_or(&role.issuer_ref))
            .await?;
        let key = issuer
            .key
            .clone()
            .ok_or(PkiError::Internal("finding the issuer's key"))?;
        let plan = order::plan(role, ask, holder.requested.as_ref(), &self.reserved)?;
        let life = order::life(role, ask, &bounds(permit, &issuer))?;
        let usage = role.usage_for(holder.public.algorithm())?;
        make::check_constraints(&issuer, &plan)?;
        let shard = slot
            .live(&issuer.record.id)
            .places
            .take(
                &self.barrier,
                permit.mount(),
                &issuer.record.id,
                &issuer.points,
            )
            .await?;
        let serial = Serial::from_random(zone_ports::random::bytes(&*self.random));
        let leaf = make::LeafPlan {
            serial: serial.clone(),
            subject: plan.subject,
            names: plan.names,
            not_before: life.not_before,
            not_after: life.not_after,
            public: holder.public,
            usage,
            purposes: role.purposes(),
            policies: role.policy_identifiers.clone(),
            says_not_ca: role.basic_constraints_valid_for_non_ca,
            hash: role.hash(),
            points: shard::fill(&issuer.points, shard),
        };
        let (signer, algorithm) = (issuer.clone(), key.algorithm());
        let der = self
            .workers
            .sign(algorithm, false, move || make::leaf(&signer, &key, leaf))
            .await?;
        if !role.no_store {
            let record = CertRecord {
                certificate: Octets(der),
                issuer: issuer.record.id.clone(),
                shard,
                is_root: false,
                not_after: life.not_after,
                role: role_name.to_owned(),
            };
            let lease = self.keep(permit, role, &serial, &record).await?;
            let mut issued = issued(record.certificate.0, serial, life, issuer);
            issued.lease = lease;
            return Ok(issued);
        }
        Ok(issued(der, serial, life, issuer))
    }

    /// Stores a certificate, with its lease if the role gives one.
    async fn keep(
        &self,
        permit: &Permit,
        role: &Role,
        serial: &Serial,
        record: &CertRecord,
    ) -> Result<Option<Lease>, PkiError> {
        let key = keys::cert(permit.mount(), serial)?;
        let value = encode(record)?;
        if !role.generate_lease {
            self.barrier.commit(Batch::new().put(key, value)).await?;
            return Ok(None);
        }
        let ttl = record.not_after.since(permit.now()).as_secs();
        let offer = LeaseOffer {
            ttl,
            max_ttl: ttl,
            renewable: false,
            data: serial.to_string(),
        };
        let write = || Batch::new().put(key.clone(), value.clone());
        let leased = self.access.commit_leased(permit, offer, write).await;
        leased.map(Some).map_err(PkiError::Lease)
    }

    async fn usable_issuer(
        &self,
        permit: &Permit,
        slot: &Slot,
        reference: &str,
    ) -> Result<Arc<Issuer>, PkiError> {
        let authority = slot.authority(&self.barrier, permit.mount()).await?;
        let issuer = match authority.issuer(reference) {
            Ok(issuer) => issuer.clone(),
            Err(PkiError::NotFound) => {
                return Err(PkiError::refused(format!(
                    "unable to find PKI issuer for reference: {reference}"
                )));
            }
            Err(error) => return Err(error),
        };
        if issuer.key.is_none() {
            return Err(PkiError::refused(format!(
                "the key of issuer {} is not on this mount",
                issuer.record.id
            )));
        }
        if !issuer.record.usage.issuing_certificates {
            return Err(PkiError::refused(format!(
                "issuer {} may not issue certificates (usage issuing-certificates)",
                issuer.record.id
            )));
        }
        Ok(issuer)
    }
}

fn issued(der: Vec<u8>, serial: Serial, life: order::Life, issuer: Arc<Issuer>) -> Issued {
    let order::Life {
        not_after,
        warnings,
        ..
    } = life;
    Issued {
        der,
        serial,
        not_after,
        issuer,
        private_key: None,
        lease: None,
        warnings,
    }
}

fn bounds(permit: &Permit, issuer: &Issuer) -> Bounds {
    let (default_ttl, max_ttl) = mount_ttls(permit);
    Bounds {
        now: permit.now(),
        default_ttl,
        max_ttl,
        issuer: (issuer.certificate.not_before(), issuer.end),
        beyond: issuer.record.leaf_not_after,
    }
}

/// The mount's usual and longest life of a certificate.
pub(crate) fn mount_ttls(permit: &Permit) -> (Duration, Duration) {
    let times = permit.lease_times();
    let (default, max) = (times.default.min(times.max), times.max);
    (Duration::from_secs(default), Duration::from_secs(max))
}

/// Whether the role takes a client's key: of its type, and at least as strong.
fn check_key(role: &Role, found: KeyAlgorithm) -> Result<(), PkiError> {
    let KeyRule::Only(key_type) = role.key_rule()? else {
        return Ok(());
    };
    let wanted = key_type.algorithm();
    let fits = match (wanted, found) {
        (KeyAlgorithm::Rsa { bits: least }, KeyAlgorithm::Rsa { bits }) => bits >= least,
        (wanted, found) => wanted == found,
    };
    if fits {
        return Ok(());
    }
    Err(PkiError::field(
        "csr",
        format!("the role wants a key of type {wanted}, not {found}"),
    ))
}
