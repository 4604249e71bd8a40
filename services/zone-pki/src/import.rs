//! Bringing in CAs that were made elsewhere.

use std::sync::Arc;

use zeroize::Zeroizing;
use zone_access::Permit;
use zone_barrier::Batch;
use zone_crypto::sign::PrivateKey;
use zone_types::Secret;
use zone_x509::{Certificate, KeyUsage};

use crate::authority::{self, Authority};
use crate::record::{IssuerRecord, IssuerUsage, LeafNotAfter, Octets, Urls, encode};
use crate::{PkiError, PkiService, keys, root};

/// Most certificates and keys in one bundle, so that it fits into one batch.
const MAX_BUNDLE: usize = 16;

/// What a bundle held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Ids of the issuers that are new.
    pub issuers: Vec<String>,
    /// Ids of the keys that are new.
    pub keys: Vec<String>,
    /// Ids of the issuers that were here already.
    pub existing_issuers: Vec<String>,
    /// Ids of the keys that were here already.
    pub existing_keys: Vec<String>,
    /// Issuer id and key id (empty: not here) of each certificate in the bundle.
    pub mapping: Vec<(String, String)>,
}

/// What stands in a bundle.
struct Bundle {
    certificates: Vec<Certificate>,
    keys: Vec<PrivateKey>,
}

impl PkiService {
    /// Imports CA certificates and, if `with_keys`, private keys out of a PEM bundle, all or
    /// nothing. What is here already is not changed, but a key joins the issuers that miss it.
    ///
    /// # Errors
    ///
    /// [`PkiError::Refused`] if a certificate is no CA, has a reserved name (C3), or a key is weak
    /// or encrypted.
    pub async fn import(
        &self,
        permit: &Permit,
        pem: &Secret<String>,
        with_keys: bool,
    ) -> Result<Imported, PkiError> {
        let bundle = read_bundle(pem.expose(), with_keys)?;
        for certificate in &bundle.certificates {
            let reserved = certificate
                .alternative_names()
                .iter()
                .any(|n| self.reserved.holds(n))
                || self
                    .reserved
                    .holds_text(&certificate.subject_fields().common_name);
            if reserved {
                return Err(PkiError::field(
                    "pem_bundle",
                    "a certificate has a name that is reserved for the zone and its head",
                ));
            }
        }
        let ids: Vec<String> = (0..2 * MAX_BUNDLE).map(|_| self.new_id()).collect();
        self.change(permit, |stored| {
            authority::check_room(stored, bundle.certificates.len().max(bundle.keys.len()))?;
            let mut work = Merge {
                permit,
                stored,
                ids: ids.iter(),
                keys: Vec::new(),
                batch: Batch::new(),
                imported: Imported::default(),
            };
            work.merge_keys(&bundle)?;
            work.merge_certificates(&bundle)?;
            work.join_waiting_issuers()?;
            let Merge {
                batch, imported, ..
            } = work;
            let mut config = stored.config.clone();
            if config.default_key.is_none() {
                config.default_key = imported.keys.first().cloned();
            }
            let with_key = |id: &&String| {
                imported
                    .mapping
                    .iter()
                    .any(|(issuer, key)| issuer == *id && !key.is_empty())
            };
            let mut candidates = imported.issuers.iter().filter(with_key);
            let first = candidates.next().cloned();
            let is_one = candidates.next().is_none();
            if first.is_some()
                && (config.default_issuer.is_none() || (config.default_follows_latest && is_one))
            {
                config.default_issuer = first;
            }
            Ok((config, batch, imported))
        })
        .await
    }
}

/// A bundle on its way in.
struct Merge<'a> {
    permit: &'a Permit,
    stored: &'a Authority,
    ids: std::slice::Iter<'a, String>,
    /// Public key and id of each key in the bundle.
    keys: Vec<(Vec<u8>, String)>,
    batch: Batch,
    imported: Imported,
}

impl Merge<'_> {
    fn next_id(&mut self) -> Result<String, PkiError> {
        self.ids
            .next()
            .cloned()
            .ok_or(PkiError::Internal("numbering a bundle"))
    }

    fn merge_keys(&mut self, bundle: &Bundle) -> Result<(), PkiError> {
        for key in &bundle.keys {
            let spki = key.public_key_spki_der().to_vec();
            if self.keys.iter().any(|(known, _)| *known == spki) {
                continue;
            }
            let known = self
                .stored
                .keys
                .iter()
                .find(|entry| entry.key.public_key_spki_der() == spki);
            let id = match known {
                Some(entry) => {
                    self.imported.existing_keys.push(entry.id.clone());
                    entry.id.clone()
                }
                None => {
                    let id = self.next_id()?;
                    root::put_key(&mut self.batch, self.permit, &id, "", key)?;
                    self.imported.keys.push(id.clone());
                    id
                }
            };
            self.keys.push((spki, id));
        }
        Ok(())
    }

    fn merge_certificates(&mut self, bundle: &Bundle) -> Result<(), PkiError> {
        let mut seen: Vec<&[u8]> = Vec::new();
        for certificate in &bundle.certificates {
            if seen.contains(&certificate.der()) {
                continue;
            }
            seen.push(certificate.der());
            let key_id = self.key_for(certificate.spki_der());
            let known = self
                .stored
                .issuers
                .iter()
                .find(|issuer| issuer.certificate.der() == certificate.der());
            let id = match known {
                Some(issuer) => {
                    let id = issuer.record.id.clone();
                    self.imported.existing_issuers.push(id.clone());
                    id
                }
                None => {
                    let id = self.next_id()?;
                    self.put_issuer(&new_issuer(&id, certificate, key_id.clone()))?;
                    self.imported.issuers.push(id.clone());
                    id
                }
            };
            self.imported.mapping.push((id, key_id.unwrap_or_default()));
        }
        Ok(())
    }

    /// Issuers that were here before their key.
    fn join_waiting_issuers(&mut self) -> Result<(), PkiError> {
        let stored = self.stored;
        for issuer in stored
            .issuers
            .iter()
            .filter(|issuer| issuer.record.key_id.is_none())
        {
            let spki = issuer.certificate.spki_der();
            if let Some((_, id)) = self.keys.iter().find(|(known, _)| known == spki) {
                let record = IssuerRecord {
                    key_id: Some(id.clone()),
                    ..issuer.record.clone()
                };
                self.put_issuer(&record)?;
            }
        }
        Ok(())
    }

    fn put_issuer(&mut self, record: &IssuerRecord) -> Result<(), PkiError> {
        let key = keys::issuer(self.permit.mount(), &record.id)?;
        let change = zone_barrier::batch::Change::Put(key, Zeroizing::new(encode(record)?));
        self.batch.changes.push(change);
        Ok(())
    }

    fn key_for(&self, spki: &[u8]) -> Option<String> {
        let here = self
            .keys
            .iter()
            .find(|(known, _)| known == spki)
            .map(|(_, id)| id.clone());
        here.or_else(|| {
            let known = |entry: &&Arc<crate::KeyEntry>| entry.key.public_key_spki_der() == spki;
            self.stored
                .keys
                .iter()
                .find(known)
                .map(|entry| entry.id.clone())
        })
    }
}

fn new_issuer(id: &str, certificate: &Certificate, key_id: Option<String>) -> IssuerRecord {
    let signs_lists = certificate
        .key_usage()
        .is_none_or(|usage| usage.contains(KeyUsage::CRL_SIGN));
    IssuerRecord {
        id: id.to_owned(),
        name: String::new(),
        key_id,
        certificate: Octets(certificate.der().to_vec()),
        manual_chain: Vec::new(),
        usage: IssuerUsage {
            crl_signing: signs_lists,
            ..IssuerUsage::default()
        },
        leaf_not_after: LeafNotAfter::default(),
        urls: Urls::default(),
    }
}

fn read_bundle(pem: &str, with_keys: bool) -> Result<Bundle, PkiError> {
    let wrong = |problem: &str| PkiError::field("pem_bundle", problem);
    let certificates =
        Certificate::all_from_pem(pem).map_err(|fault| PkiError::field("pem_bundle", fault))?;
    let keys = read_keys(pem)?;
    if !keys.is_empty() && !with_keys {
        return Err(wrong(
            "private keys found; use issuers/import/bundle or config/ca to import them",
        ));
    }
    if certificates.is_empty() && keys.is_empty() {
        return Err(wrong("no certificate and no private key in PEM"));
    }
    if certificates.len() > MAX_BUNDLE || keys.len() > MAX_BUNDLE {
        return Err(wrong("at most 16 certificates and 16 keys at once"));
    }
    for certificate in &certificates {
        if certificate.authority().is_none() {
            return Err(wrong("a certificate is not a CA (basic constraints)"));
        }
        if certificate
            .key_usage()
            .is_some_and(|usage| !usage.contains(KeyUsage::CERT_SIGN))
        {
            return Err(wrong(
                "a CA certificate may not sign certificates (key usage)",
            ));
        }
        certificate
            .public_key()
            .map_err(|fault| PkiError::field("pem_bundle", fault))?;
    }
    Ok(Bundle { certificates, keys })
}

/// Each block whose label ends in `PRIVATE KEY`.
fn read_keys(pem: &str) -> Result<Vec<PrivateKey>, PkiError> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let mut keys = Vec::new();
    let mut rest = pem;
    while let Some(at) = rest.find(BEGIN) {
        let block = &rest[at..];
        let label_end = block[BEGIN.len()..]
            .find(DASHES)
            .map(|end| BEGIN.len() + end);
        let Some(label_end) = label_end else { break };
        let label = &block[BEGIN.len()..label_end];
        let end_line = format!("-----END {label}-----");
        let end = block
            .find(&end_line)
            .map_or(block.len(), |end| end + end_line.len());
        if label.ends_with("PRIVATE KEY") {
            if keys.len() > MAX_BUNDLE {
                return Err(PkiError::field("pem_bundle", "at most 16 keys at once"));
            }
            let key = PrivateKey::from_pem(&block[..end])
                .map_err(|fault| PkiError::field("pem_bundle", fault))?;
            keys.push(key);
        }
        rest = &block[end..];
    }
    Ok(keys)
}
