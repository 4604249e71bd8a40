//! Revocation: one record and one mark, whatever the number of revoked certificates (C2).

use async_trait::async_trait;
use zone_access::{EndedLease, LeaseTarget, Mount, Permit, TargetFault};
use zone_barrier::{BarrierError, Batch};
use zone_types::Timestamp;
use zone_x509::{Certificate, Serial};

use crate::authority::Authority;
use crate::record::{CertRecord, Octets, RevokedRecord, encode};
use crate::{PkiError, PkiService, keys, shard};

/// What became of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked since then; the same answer each time.
    At(Timestamp),
    /// It ended by itself, at that time; there is nothing to revoke.
    Expired(Timestamp),
}

impl PkiService {
    /// Revokes the certificate with `serial`.
    ///
    /// # Errors
    ///
    /// [`PkiError::Refused`] if no such certificate is stored, or it is a root of this mount.
    pub async fn revoke(&self, permit: &Permit, serial: &Serial) -> Result<Revoked, PkiError> {
        let record = self.cert_record(permit.mount(), serial).await?;
        let record = record.ok_or_else(|| {
            PkiError::refused(format!("certificate with serial {serial} not found."))
        })?;
        let (mount, now) = (permit.mount(), permit.now());
        self.revoke_record(mount, now, serial, &record, None).await
    }

    /// Revokes a certificate that the caller shows (PEM), stored or not. One that was not stored is
    /// stored by that.
    pub async fn revoke_certificate(
        &self,
        permit: &Permit,
        pem: &str,
    ) -> Result<(Serial, Revoked), PkiError> {
        let certificate =
            Certificate::from_pem(pem).map_err(|fault| PkiError::field("certificate", fault))?;
        let serial = certificate.serial().clone();
        let (mount, now) = (permit.mount(), permit.now());
        if let Some(record) = self.cert_record(permit.mount(), &serial).await? {
            if record.certificate.0 != certificate.der() {
                return Err(PkiError::field(
                    "certificate",
                    "another certificate with this serial is stored",
                ));
            }
            return Ok((
                serial.clone(),
                self.revoke_record(mount, now, &serial, &record, None)
                    .await?,
            ));
        }
        let authority = self.authority(permit).await?;
        let issuer = issuer_of(&authority, &certificate)?;
        let shard = self.shard_of(permit, &issuer, &certificate).await?;
        let record = CertRecord {
            certificate: Octets(certificate.der().to_vec()),
            issuer,
            shard,
            is_root: false,
            not_after: certificate.not_after(),
            role: String::new(),
        };
        let revoked = self
            .revoke_record(mount, now, &serial, &record, Some(&record))
            .await?;
        Ok((serial, revoked))
    }

    async fn revoke_record(
        &self,
        mount: &Mount,
        now: Timestamp,
        serial: &Serial,
        record: &CertRecord,
        store: Option<&CertRecord>,
    ) -> Result<Revoked, PkiError> {
        if record.is_root {
            return Err(PkiError::refused(
                "a root cannot be revoked by its own list: stop trusting it, then delete the issuer",
            ));
        }
        let key = keys::revoked(mount, &record.issuer, record.shard, serial)?;
        if record.not_after < now {
            let revoked = self
                .revocation(mount, &record.issuer, record.shard, serial)
                .await?;
            return Ok(match revoked {
                Some(revoked) => Revoked::At(revoked.at),
                None => Revoked::Expired(record.not_after),
            });
        }
        let revoked = RevokedRecord {
            at: Timestamp::from_secs(now.secs()),
            not_after: record.not_after,
        };
        let mark = keys::dirty(mount, &record.issuer, record.shard, serial)?;
        let mut batch = Batch::new()
            .require_absent(key.clone())
            .put(key, encode(&revoked)?)
            .put(mark, encode(&())?);
        if let Some(record) = store {
            let key = keys::cert(mount, serial)?;
            batch = batch.require_absent(key.clone()).put(key, encode(record)?);
        }
        match self.barrier.commit(batch).await {
            Ok(_) => Ok(Revoked::At(revoked.at)),
            Err(BarrierError::Conflict) => {
                let first = self
                    .revocation(mount, &record.issuer, record.shard, serial)
                    .await?;
                first
                    .map(|first| Revoked::At(first.at))
                    .ok_or(PkiError::Busy)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The shard of a certificate that is not stored: the one whose distribution point it names.
    async fn shard_of(
        &self,
        permit: &Permit,
        issuer: &str,
        certificate: &Certificate,
    ) -> Result<u32, PkiError> {
        let points = certificate.crl_distribution_points();
        for number in shard::candidates(&points) {
            let found = shard::scope_of(&self.barrier, permit.mount(), number).await?;
            if let Some((owner, scope)) = found
                && owner == issuer
                && scope.iter().any(|url| points.contains(url))
            {
                return Ok(number);
            }
        }
        Ok(0)
    }
}

/// A certificate is revoked with its lease. One that has ended by itself, or was revoked before, is
/// no error.
#[async_trait]
impl LeaseTarget for PkiService {
    async fn end(&self, mount: &Mount, lease: &EndedLease) -> Result<(), TargetFault> {
        let fault = |error: PkiError| TargetFault(error.to_string());
        let serial = Serial::parse(&lease.data);
        let serial = serial.map_err(|_| TargetFault("the serial of a lease is corrupt".into()))?;
        let Some(record) = self.cert_record(mount, &serial).await.map_err(fault)? else {
            return Ok(());
        };
        let now = self.clock.now();
        if record.not_after <= now {
            return Ok(());
        }
        let revoked = self.revoke_record(mount, now, &serial, &record, None);
        revoked.await.map(|_| ()).map_err(fault)
    }
}

/// The issuer on this mount whose key signed `certificate`.
fn issuer_of(authority: &Authority, certificate: &Certificate) -> Result<String, PkiError> {
    let signer = authority.issuers().iter().find(|issuer| {
        issuer.certificate.subject_der() == certificate.issuer_der()
            && issuer
                .certificate
                .public_key()
                .is_ok_and(|key| certificate.signed_by(&key))
    });
    let signer = signer.ok_or_else(|| {
        PkiError::field(
            "certificate",
            "it was not issued by an issuer of this mount",
        )
    })?;
    if signer.certificate.serial() == certificate.serial() {
        return Err(PkiError::field(
            "certificate",
            "a root cannot be revoked by its own list: stop trusting it, then delete the issuer",
        ));
    }
    Ok(signer.record.id.clone())
}
