//! The issuers and keys of a mount, parsed once and shared until something changes.

use std::collections::HashMap;
use std::sync::Arc;

use zone_access::Mount;
use zone_barrier::Barrier;
use zone_crypto::sign::PrivateKey;
use zone_ports::KeyRange;
use zone_ports::store::Revision;
use zone_types::Timestamp;
use zone_x509::Certificate;

use crate::PkiError;
use crate::keys;
use crate::record::{self, AuthorityConfig, CrlConfig, IssuerRecord, KeyRecord, Urls};

/// Most issuers, and most keys, of one mount.
const MAX_AUTHORITIES: usize = 1000;

/// An issuer, ready for use.
pub struct Issuer {
    pub(crate) record: IssuerRecord,
    pub(crate) certificate: Certificate,
    /// `None` if the key is not here.
    pub(crate) key: Option<Arc<PrivateKey>>,
    /// This certificate and those above it, as far as they are here.
    pub(crate) chain: Vec<Certificate>,
    /// The ids of the issuers in `chain`.
    pub(crate) chain_ids: Vec<String>,
    /// The earliest end in the chain: nothing that it issues may last longer (C1).
    pub(crate) end: Timestamp,
    /// Addresses for its certificates, `{{issuer_id}}` replaced.
    pub(crate) urls: Urls,
    /// The distribution points for its certificates, `{{shard}}` not yet replaced.
    pub(crate) points: Arc<[String]>,
}

impl Issuer {
    /// What is stored of it.
    pub fn record(&self) -> &IssuerRecord {
        &self.record
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its certificate and those above it that are on this mount, in order.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Whether its key is on this mount.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({} {})", self.record.id, self.record.name)
    }
}

/// A private key of the mount.
pub struct KeyEntry {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) key: Arc<PrivateKey>,
}

impl KeyEntry {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name; empty for none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `rsa`, `ec` or `ed25519`.
    pub fn family(&self) -> &'static str {
        self.key.algorithm().family()
    }

    /// The key identifier of its public half.
    pub fn subject_key_id(&self) -> Vec<u8> {
        zone_x509::key_id(self.key.public_key()).to_vec()
    }
}

impl std::fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyEntry({} {})", self.id, self.name)
    }
}

/// All issuers, keys and settings of one mount, as of one reading.
pub struct Authority {
    pub(crate) config: AuthorityConfig,
    /// For [`zone_barrier::Batch::require`]: of `config/issuers`.
    pub(crate) revision: Option<Revision>,
    pub(crate) issuers: Vec<Arc<Issuer>>,
    pub(crate) keys: Vec<Arc<KeyEntry>>,
    pub(crate) urls: Urls,
    pub(crate) crl: CrlConfig,
}

impl Authority {
    /// Reads everything. `config/issuers` comes first: whoever changes the set of issuers rewrites
    /// it, so a change during the reading makes a later batch that requires it fail.
    pub(crate) async fn load(barrier: &Barrier, mount: &Mount) -> Result<Self, PkiError> {
        let found = barrier.get(&keys::config(mount, "issuers")?).await?;
        let revision = found.as_ref().map(|plain| plain.revision);
        let config = match found {
            Some(plain) => record::decode("config/issuers", &plain.value)?,
            None => AuthorityConfig::default(),
        };
        let urls: Urls = setting(barrier, mount, "urls").await?;
        let crl: CrlConfig = setting(barrier, mount, "crl").await?;
        let keys = load_keys(barrier, mount).await?;
        let records = load_issuers(barrier, mount).await?;
        let issuers = assemble(records, &keys, &urls)?;
        Ok(Self {
            config,
            revision,
            issuers,
            keys,
            urls,
            crl,
        })
    }

    /// An issuer by `default`, id or name.
    pub(crate) fn issuer(&self, reference: &str) -> Result<&Arc<Issuer>, PkiError> {
        if reference == "default" {
            let id = self
                .config
                .default_issuer
                .as_deref()
                .ok_or(PkiError::NoIssuer)?;
            return self.issuer_by_id(id).ok_or(PkiError::NoIssuer);
        }
        self.issuers
            .iter()
            .find(|issuer| issuer.record.id == reference)
            .or_else(|| {
                self.issuers
                    .iter()
                    .find(|i| !i.record.name.is_empty() && i.record.name == reference)
            })
            .ok_or(PkiError::NotFound)
    }

    pub(crate) fn issuer_by_id(&self, id: &str) -> Option<&Arc<Issuer>> {
        self.issuers.iter().find(|issuer| issuer.record.id == id)
    }

    /// A key by `default`, id or name.
    pub(crate) fn key(&self, reference: &str) -> Result<&Arc<KeyEntry>, PkiError> {
        let reference = match reference {
            "default" => self
                .config
                .default_key
                .as_deref()
                .ok_or(PkiError::NotFound)?,
            other => other,
        };
        self.keys
            .iter()
            .find(|key| key.id == reference)
            .or_else(|| {
                self.keys
                    .iter()
                    .find(|k| !k.name.is_empty() && k.name == reference)
            })
            .ok_or(PkiError::NotFound)
    }

    /// All issuers.
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// All keys.
    pub fn keys(&self) -> &[Arc<KeyEntry>] {
        &self.keys
    }

    /// The id of the default issuer.
    pub fn default_issuer(&self) -> Option<&str> {
        self.config.default_issuer.as_deref()
    }

    /// Whether a new issuer becomes the default.
    pub fn default_follows_latest(&self) -> bool {
        self.config.default_follows_latest
    }

    /// The id of the default key.
    pub fn default_key(&self) -> Option<&str> {
        self.config.default_key.as_deref()
    }

    /// The addresses of the mount.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// How revocation lists are made.
    pub fn crl_config(&self) -> &CrlConfig {
        &self.crl
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority of {} issuers", self.issuers.len())
    }
}

async fn setting<T: serde::de::DeserializeOwned + Default>(
    barrier: &Barrier,
    mount: &Mount,
    name: &'static str,
) -> Result<T, PkiError> {
    match barrier.get(&keys::config(mount, name)?).await? {
        Some(plain) => record::decode(name, &plain.value),
        None => Ok(T::default()),
    }
}

async fn load_keys(barrier: &Barrier, mount: &Mount) -> Result<Vec<Arc<KeyEntry>>, PkiError> {
    let range = KeyRange::prefix(mount.prefix(keys::KEY));
    let mut entries = Vec::new();
    for (_, plain) in barrier.scan(&range, MAX_AUTHORITIES).await? {
        let KeyRecord { id, name, pkcs8 } = record::decode(keys::KEY, &plain.value)?;
        let key = PrivateKey::from_pkcs8_der(&pkcs8.0).map_err(|_| PkiError::Corrupt(keys::KEY))?;
        entries.push(Arc::new(KeyEntry {
            id,
            name,
            key: Arc::new(key),
        }));
    }
    Ok(entries)
}

async fn load_issuers(barrier: &Barrier, mount: &Mount) -> Result<Vec<IssuerRecord>, PkiError> {
    let range = KeyRange::prefix(mount.prefix(keys::ISSUER));
    let found = barrier.scan(&range, MAX_AUTHORITIES).await?;
    found
        .iter()
        .map(|(_, plain)| record::decode(keys::ISSUER, &plain.value))
        .collect()
}

/// Refuses one more than a mount can hold.
pub(crate) fn check_room(authority: &Authority, more: usize) -> Result<(), PkiError> {
    let most = authority.issuers.len().max(authority.keys.len()) + more;
    if most > MAX_AUTHORITIES {
        return Err(PkiError::refused(
            "a mount holds at most 1000 issuers and 1000 keys",
        ));
    }
    Ok(())
}

fn assemble(
    records: Vec<IssuerRecord>,
    keys: &[Arc<KeyEntry>],
    mount_urls: &Urls,
) -> Result<Vec<Arc<Issuer>>, PkiError> {
    let mut parsed: HashMap<String, Certificate> = HashMap::with_capacity(records.len());
    for record in &records {
        let certificate = Certificate::from_der(&record.certificate.0)
            .map_err(|_| PkiError::Corrupt(keys::ISSUER))?;
        parsed.insert(record.id.clone(), certificate);
    }
    let mut issuers = Vec::with_capacity(records.len());
    for record in records {
        let chain_ids = chain_of(&record, &parsed);
        let chain: Vec<Certificate> = chain_ids
            .iter()
            .filter_map(|id| parsed.get(id).cloned())
            .collect();
        let certificate = parsed
            .get(&record.id)
            .cloned()
            .ok_or(PkiError::Corrupt(keys::ISSUER))?;
        let end = chain
            .iter()
            .map(Certificate::not_after)
            .min()
            .unwrap_or(certificate.not_after());
        let key = record
            .key_id
            .as_ref()
            .and_then(|id| keys.iter().find(|entry| entry.id == *id))
            .map(|entry| entry.key.clone());
        let urls = if record.urls.is_empty() {
            mount_urls
        } else {
            &record.urls
        };
        let urls = render(urls, &record.id);
        let points = urls.crl_distribution_points.clone().into();
        issuers.push(Arc::new(Issuer {
            record,
            certificate,
            key,
            chain,
            chain_ids,
            end,
            urls,
            points,
        }));
    }
    Ok(issuers)
}

/// The ids of the issuer and of those above it: the operator's choice, or each the signer of the
/// one before.
fn chain_of(record: &IssuerRecord, parsed: &HashMap<String, Certificate>) -> Vec<String> {
    if !record.manual_chain.is_empty() {
        return record.manual_chain.clone();
    }
    let mut chain = vec![record.id.clone()];
    while let Some(last) = chain.last().and_then(|id| parsed.get(id)) {
        if last.is_self_issued() {
            break;
        }
        let mut above: Vec<(&String, &Certificate)> = parsed
            .iter()
            .filter(|(id, certificate)| {
                !chain.contains(id)
                    && certificate.subject_der() == last.issuer_der()
                    && certificate
                        .public_key()
                        .is_ok_and(|key| last.signed_by(&key))
            })
            .collect();
        // Of several (cross-signed) ones, the self-signed first, then the one that lasts longest.
        above.sort_by_key(|(id, c)| (c.is_self_issued(), c.not_after(), (*id).clone()));
        match above.pop() {
            Some((id, _)) => chain.push(id.clone()),
            None => break,
        }
    }
    chain
}

fn render(urls: &Urls, issuer_id: &str) -> Urls {
    if !urls.enable_templating {
        return urls.clone();
    }
    let fill = |list: &[String]| {
        list.iter()
            .map(|u| u.replace("{{issuer_id}}", issuer_id))
            .collect()
    };
    Urls {
        issuing_certificates: fill(&urls.issuing_certificates),
        crl_distribution_points: fill(&urls.crl_distribution_points),
        ocsp_servers: fill(&urls.ocsp_servers),
        enable_templating: true,
    }
}
