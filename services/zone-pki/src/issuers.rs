//! Changing and removing issuers and keys.

use zone_access::Permit;
use zone_barrier::Batch;

use crate::authority::{Authority, Issuer};
use crate::config::UrlsChange;
use crate::names::check_given_name;
use crate::record::{IssuerRecord, IssuerUsage, LeafNotAfter, encode};
use crate::{PkiError, PkiService, keys, root};

/// Changes of an issuer; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct IssuerChange {
    /// Its name; empty for none.
    pub name: Option<String>,
    /// What it may be used for.
    pub usage: Option<IssuerUsage>,
    /// What happens to leaves that would outlive it.
    pub leaf_not_after: Option<LeafNotAfter>,
    /// Its chain, as issuer ids or names, itself first; empty: built from what is here.
    pub manual_chain: Option<Vec<String>>,
    /// Its own addresses.
    pub urls: UrlsChange,
}

impl PkiService {
    /// Changes an issuer.
    pub async fn update_issuer(
        &self,
        permit: &Permit,
        reference: &str,
        change: &IssuerChange,
    ) -> Result<(), PkiError> {
        self.change(permit, |authority| {
            let issuer = authority.issuer(reference)?;
            let record = changed(authority, issuer, change)?;
            let key = keys::issuer(permit.mount(), &record.id)?;
            let batch = Batch::new().put(key, encode(&record)?);
            Ok((authority.config.clone(), batch, ()))
        })
        .await
    }

    /// Removes an issuer. Its key stays.
    ///
    /// # Errors
    ///
    /// [`PkiError::Refused`] while anything depends on it: it is the default beside others, a role
    /// or another issuer's chain names it, or certificates of it may still be valid, whose
    /// revocation list would disappear with it.
    pub async fn delete_issuer(&self, permit: &Permit, reference: &str) -> Result<(), PkiError> {
        let id = self
            .authority(permit)
            .await?
            .issuer(reference)?
            .record
            .id
            .clone();
        self.check_issued_nothing(permit, &id).await?;
        self.check_no_role_names(permit, &id).await?;
        let cursor = keys::shard_cursor(permit.mount(), &id)?;
        let seen = self.barrier.get(&cursor).await?.map(|plain| plain.revision);
        self.change(permit, |authority| {
            let issuer = authority.issuer(&id)?;
            let mut config = authority.config.clone();
            if config.default_issuer.as_deref() == Some(&id) {
                if authority.issuers.len() > 1 {
                    return Err(PkiError::refused(
                        "this is the default issuer: make another one the default first (config/issuers)",
                    ));
                }
                config.default_issuer = None;
            }
            let named = authority.issuers.iter().find(|other| {
                other.record.id != id && other.record.manual_chain.contains(&id)
            });
            if let Some(other) = named {
                return Err(PkiError::refused(format!(
                    "the manual_chain of issuer {} names this one",
                    other.record.id
                )));
            }
            let key = keys::issuer(permit.mount(), &issuer.record.id)?;
            let batch = Batch::new().delete(key).require(cursor.clone(), seen);
            Ok((config, batch, ()))
        })
        .await
    }

    /// Renames a key; an empty name means none.
    pub async fn rename_key(
        &self,
        permit: &Permit,
        reference: &str,
        name: &str,
    ) -> Result<(), PkiError> {
        check_given_name("key_name", name)?;
        self.change(permit, |authority| {
            let entry = authority.key(reference)?;
            check_key_name_free(authority, name, Some(&entry.id))?;
            let mut batch = Batch::new();
            root::put_key(&mut batch, permit, &entry.id, name, &entry.key)?;
            Ok((authority.config.clone(), batch, ()))
        })
        .await
    }

    /// Removes a key that no issuer uses.
    pub async fn delete_key(&self, permit: &Permit, reference: &str) -> Result<(), PkiError> {
        self.change(permit, |authority| {
            let entry = authority.key(reference)?;
            let user = authority
                .issuers
                .iter()
                .find(|issuer| issuer.record.key_id.as_deref() == Some(&entry.id));
            if let Some(issuer) = user {
                return Err(PkiError::refused(format!(
                    "Failed to Delete Key.  Key in Use by Issuer: {}",
                    issuer.record.id
                )));
            }
            let mut config = authority.config.clone();
            if config.default_key.as_deref() == Some(&entry.id) {
                config.default_key = None;
            }
            let batch = Batch::new().delete(keys::key(permit.mount(), &entry.id)?);
            Ok((config, batch, ()))
        })
        .await
    }

    async fn check_issued_nothing(&self, permit: &Permit, id: &str) -> Result<(), PkiError> {
        let authority = self.authority(permit).await?;
        let end = authority.issuer(id)?.certificate.not_after();
        if end < permit.now() {
            return Ok(());
        }
        let cursor = keys::shard_cursor(permit.mount(), id)?;
        if self.barrier.get(&cursor).await?.is_some() {
            return Err(PkiError::refused(format!(
                "this issuer has issued certificates, and its revocation list would disappear with \
                 it; take issuing-certificates out of its usage instead, and delete it after {end}"
            )));
        }
        Ok(())
    }

    async fn check_no_role_names(&self, permit: &Permit, id: &str) -> Result<(), PkiError> {
        let name = self
            .authority(permit)
            .await?
            .issuer(id)?
            .record
            .name
            .clone();
        for role_name in self.role_names(permit).await? {
            let role = match self.role(permit, &role_name).await {
                Err(PkiError::NotFound) => continue,
                other => other?,
            };
            if role.issuer_ref == id || (!name.is_empty() && role.issuer_ref == name) {
                return Err(PkiError::refused(format!(
                    "role {role_name} names this issuer"
                )));
            }
        }
        Ok(())
    }
}

fn changed(
    authority: &Authority,
    issuer: &Issuer,
    change: &IssuerChange,
) -> Result<IssuerRecord, PkiError> {
    let mut record = issuer.record.clone();
    if let Some(name) = &change.name {
        check_given_name("issuer_name", name)?;
        check_name_free(authority, name, Some(&record.id))?;
        record.name.clone_from(name);
    }
    if let Some(usage) = change.usage {
        if usage.crl_signing
            && issuer
                .certificate
                .key_usage()
                .is_some_and(|u| !u.contains(zone_x509::KeyUsage::CRL_SIGN))
        {
            return Err(PkiError::field(
                "usage",
                "crl-signing: the issuer's certificate has not the key usage CRLSign",
            ));
        }
        record.usage = usage;
    }
    if let Some(behavior) = change.leaf_not_after {
        record.leaf_not_after = behavior;
    }
    if let Some(chain) = &change.manual_chain {
        record.manual_chain = manual_chain(authority, &record.id, chain)?;
    }
    record.urls = change.urls.apply(&record.urls)?;
    Ok(record)
}

/// The chain by ids. Each certificate must have signed the one before it.
fn manual_chain(
    authority: &Authority,
    own: &str,
    references: &[String],
) -> Result<Vec<String>, PkiError> {
    let wrong = |problem: &str| PkiError::field("manual_chain", problem);
    let mut ids: Vec<String> = Vec::with_capacity(references.len());
    for reference in references {
        let reference = if reference == "self" { own } else { reference };
        let issuer = authority
            .issuer(reference)
            .map_err(|_| wrong("no such issuer"))?;
        match ids.last().and_then(|id| authority.issuer_by_id(id)) {
            None if issuer.record.id != own => return Err(wrong("begins with the issuer itself")),
            None => {}
            Some(below) => {
                let signs = issuer.certificate.public_key().is_ok_and(|key| {
                    below.certificate.issuer_der() == issuer.certificate.subject_der()
                        && below.certificate.signed_by(&key)
                });
                if !signs || ids.contains(&issuer.record.id) {
                    return Err(wrong("each issuer must have signed the one before it"));
                }
            }
        }
        ids.push(issuer.record.id.clone());
    }
    Ok(ids)
}

/// Refuses a name that another issuer bears.
pub(crate) fn check_name_free(
    authority: &Authority,
    name: &str,
    own: Option<&str>,
) -> Result<(), PkiError> {
    let taken = authority
        .issuers
        .iter()
        .any(|issuer| issuer.record.name == name && Some(issuer.record.id.as_str()) != own);
    if !name.is_empty() && taken {
        return Err(PkiError::refused("issuer name already in use"));
    }
    Ok(())
}

/// Refuses a name that another key bears.
pub(crate) fn check_key_name_free(
    authority: &Authority,
    name: &str,
    own: Option<&str>,
) -> Result<(), PkiError> {
    let taken = authority
        .keys
        .iter()
        .any(|key| key.name == name && Some(key.id.as_str()) != own);
    if !name.is_empty() && taken {
        return Err(PkiError::refused("key name already in use"));
    }
    Ok(())
}
