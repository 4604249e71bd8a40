//! Reading and listing certificates.

use zone_access::{Mount, Permit};
use zone_ports::{Key, KeyRange};
use zone_types::Timestamp;
use zone_x509::Serial;

use crate::record::{self, CertRecord, RevokedRecord};
use crate::{PkiError, PkiService, keys};

/// A stored certificate.
#[derive(Clone, Debug)]
pub struct StoredCertificate {
    /// DER.
    pub der: Vec<u8>,
    /// The id of its issuer.
    pub issuer: String,
    /// The role that it was issued by; empty for CA certificates.
    pub role: String,
    /// The shard of the revocation list that it belongs to; 0 for the complete one alone.
    pub shard: u32,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only what comes after this serial.
    pub after: Option<Serial>,
    /// At most this many; zero for all.
    pub limit: usize,
}

impl PkiService {
    /// The certificate with `serial`.
    pub async fn certificate(
        &self,
        permit: &Permit,
        serial: &Serial,
    ) -> Result<StoredCertificate, PkiError> {
        let record = self
            .cert_record(permit.mount(), serial)
            .await?
            .ok_or(PkiError::NotFound)?;
        let revoked = self
            .revocation(permit.mount(), &record.issuer, record.shard, serial)
            .await?;
        Ok(StoredCertificate {
            der: record.certificate.0,
            issuer: record.issuer,
            role: record.role,
            shard: record.shard,
            revoked_at: revoked.map(|record| record.at),
        })
    }

    /// The serials of the certificates that were issued and stored, in order.
    pub async fn serials(&self, permit: &Permit, page: &Page) -> Result<Vec<Serial>, PkiError> {
        let after = match &page.after {
            Some(serial) => Some(keys::cert(permit.mount(), serial)?),
            None => None,
        };
        self.serials_below(permit, keys::CERT, after, page.limit)
            .await
    }

    /// The serials of the certificates that were revoked, by issuer and shard.
    pub async fn revoked_serials(
        &self,
        permit: &Permit,
        page: &Page,
    ) -> Result<Vec<Serial>, PkiError> {
        let mut after = None;
        if let Some(serial) = &page.after {
            let record = self
                .cert_record(permit.mount(), serial)
                .await?
                .ok_or_else(|| {
                    PkiError::field("after", "expected the serial of a stored certificate")
                })?;
            let mount = permit.mount();
            after = Some(keys::revoked(mount, &record.issuer, record.shard, serial)?);
        }
        self.serials_below(permit, keys::REVOKED, after, page.limit)
            .await
    }

    async fn serials_below(
        &self,
        permit: &Permit,
        kind: &'static str,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Serial>, PkiError> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut range = KeyRange::prefix(permit.mount().prefix(kind));
        if let Some(key) = after {
            range = range.after(&key);
        }
        let mut serials = Vec::new();
        while serials.len() < limit {
            let wanted = (limit - serials.len()).min(1000);
            let page = self.barrier.scan_keys(&range, wanted).await?;
            for key in &page {
                serials.push(keys::serial_of(key).ok_or(PkiError::Corrupt(kind))?);
            }
            match page.last() {
                Some(key) if page.len() == wanted => range = range.after(key),
                _ => break,
            }
        }
        Ok(serials)
    }

    pub(crate) async fn cert_record(
        &self,
        mount: &Mount,
        serial: &Serial,
    ) -> Result<Option<CertRecord>, PkiError> {
        match self.barrier.get(&keys::cert(mount, serial)?).await? {
            Some(plain) => Ok(Some(record::decode(keys::CERT, &plain.value)?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn revocation(
        &self,
        mount: &Mount,
        issuer: &str,
        shard: u32,
        serial: &Serial,
    ) -> Result<Option<RevokedRecord>, PkiError> {
        let key = keys::revoked(mount, issuer, shard, serial)?;
        match self.barrier.get(&key).await? {
            Some(plain) => Ok(Some(record::decode(keys::REVOKED, &plain.value)?)),
            None => Ok(None),
        }
    }
}
