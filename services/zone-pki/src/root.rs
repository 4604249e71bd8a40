//! Generating a self-signed root with its key.

use std::sync::Arc;
use std::time::Duration;

use zone_access::Permit;
use zone_barrier::Batch;
use zone_crypto::sign::{Hash, KeyType, PrivateKey};
use zone_types::Timestamp;
use zone_x509::{AltName, NameConstraints, Serial, Subject, is_plain_text};

use crate::authority::{self, Authority};
use crate::issue::mount_ttls;
use crate::names::check_given_name;
use crate::order::{self, IssueAsk};
use crate::record::{
    CertRecord, IssuerRecord, IssuerUsage, KeyRecord, LeafNotAfter, Octets, SecretOctets, Urls,
    encode, encode_secret,
};
use crate::{PkiError, PkiService, issuers, keys, make};

/// What a caller asks of `root/generate`.
#[derive(Clone, Debug, Default)]
pub struct RootAsk {
    /// Subject fields; the common name must be there.
    pub subject: Subject,
    /// Alternative names, by the same fields as for leaves.
    pub names: IssueAsk,
    /// How long before now it begins.
    pub backdate: Option<Duration>,
    /// The key to be made.
    pub key_type: Option<KeyType>,
    /// The hash under RSA signatures.
    pub hash: Option<Hash>,
    /// How many CAs may stand between it and a leaf; `None` for any number.
    pub max_path_length: Option<u8>,
    /// Name constraints.
    pub constraints: NameConstraints,
    /// The issuer's name; empty for none.
    pub issuer_name: String,
    /// The key's name; empty for none.
    pub key_name: String,
}

impl RootAsk {
    /// A key type by Vault's two fields, for [`RootAsk::key_type`].
    pub fn key_type_of(family: &str, bits: u32) -> Result<KeyType, PkiError> {
        crate::role::key_type(family, bits)
    }
}

/// A root that was just made.
pub struct GeneratedRoot {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// Its serial.
    pub serial: Serial,
    /// Its end.
    pub not_after: Timestamp,
    /// The new issuer's id.
    pub issuer_id: String,
    /// Its name.
    pub issuer_name: String,
    /// The new key's id.
    pub key_id: String,
    /// Its name.
    pub key_name: String,
    /// The key, for who asked to have it exported.
    pub private_key: Arc<PrivateKey>,
    /// What was not done quite as asked.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for GeneratedRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GeneratedRoot({})", self.serial)
    }
}

impl PkiService {
    /// Makes a root CA: issuer, key and certificate in one batch. The first issuer of a mount
    /// becomes its default.
    pub async fn generate_root(
        &self,
        permit: &Permit,
        ask: &RootAsk,
    ) -> Result<GeneratedRoot, PkiError> {
        check_given_name("issuer_name", &ask.issuer_name)?;
        check_given_name("key_name", &ask.key_name)?;
        // What cannot be stored costs no key.
        check_names_free(&*self.authority(permit).await?, ask)?;
        let names = self.root_names(ask)?;
        let (not_after, warnings) = root_end(permit, &ask.names)?;
        let key_type = ask.key_type.unwrap_or(KeyType::Rsa2048);
        let key = Arc::new(self.workers.generate(key_type).await?);
        let serial = Serial::from_random(zone_ports::random::bytes(&*self.random));
        let now = Timestamp::from_secs(permit.now().secs());
        let plan = make::RootPlan {
            serial: serial.clone(),
            subject: ask.subject.clone(),
            names,
            not_before: now.minus(ask.backdate.unwrap_or(Duration::from_secs(30))),
            not_after,
            max_path_length: ask.max_path_length,
            constraints: ask.constraints.clone(),
            hash: ask.hash.unwrap_or(Hash::Sha256),
        };
        let signer = key.clone();
        let der = self
            .workers
            .sign(key.algorithm(), false, move || make::root(&signer, plan))
            .await?;
        let generated = GeneratedRoot {
            der,
            serial,
            not_after,
            issuer_id: self.new_id(),
            issuer_name: ask.issuer_name.clone(),
            key_id: self.new_id(),
            key_name: ask.key_name.clone(),
            private_key: key,
            warnings,
        };
        self.change(permit, |stored| {
            check_names_free(stored, ask)?;
            let mut config = stored.config.clone();
            if config.default_issuer.is_none() || config.default_follows_latest {
                config.default_issuer = Some(generated.issuer_id.clone());
            }
            if config.default_key.is_none() {
                config.default_key = Some(generated.key_id.clone());
            }
            Ok((config, store(permit, &generated)?, ()))
        })
        .await?;
        Ok(generated)
    }

    /// The alternative names of a root, canonical and not reserved (C3).
    fn root_names(&self, ask: &RootAsk) -> Result<Vec<AltName>, PkiError> {
        let common_name = &ask.subject.common_name;
        if common_name.is_empty() {
            return Err(PkiError::refused("The common_name field is required"));
        }
        if !is_plain_text(common_name) || common_name.chars().count() > 64 {
            return Err(PkiError::field(
                "common_name",
                "at most 64 characters, none of them control, bidirectional or invisible",
            ));
        }
        let mut names = order::asked_names(&ask.names)?;
        if !ask.names.exclude_cn_from_sans
            && let Some(name) = order::name_of(common_name)
        {
            names.insert(0, name);
        }
        let mut unique: Vec<AltName> = Vec::with_capacity(names.len());
        for name in names {
            if !unique.contains(&name) {
                unique.push(name);
            }
        }
        let reserved = unique.iter().any(|name| self.reserved.holds(name));
        if reserved || self.reserved.holds_text(common_name) {
            return Err(PkiError::refused(
                "a name of the zone or its head is reserved and cannot stand in this certificate",
            ));
        }
        if unique.len() > order::MAX_NAMES {
            return Err(PkiError::refused(
                "more than 100 alternative names in one certificate",
            ));
        }
        Ok(unique)
    }
}

fn root_end(permit: &Permit, ask: &IssueAsk) -> Result<(Timestamp, Vec<String>), PkiError> {
    let (default, max) = mount_ttls(permit);
    let now = Timestamp::from_secs(permit.now().secs());
    if !ask.not_after.is_empty() {
        return Ok((order::fixed_end(&ask.not_after, now, max)?, Vec::new()));
    }
    let ttl = ask.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(default);
    let mut warnings = Vec::new();
    if ttl > max {
        warnings.push(format!(
            "TTL {} is longer than permitted maxTTL {}, so maxTTL is being used",
            zone_types::duration::format_go(ttl),
            zone_types::duration::format_go(max)
        ));
    }
    Ok((now.plus(ttl.min(max)), warnings))
}

fn check_names_free(stored: &Authority, ask: &RootAsk) -> Result<(), PkiError> {
    authority::check_room(stored, 1)?;
    issuers::check_name_free(stored, &ask.issuer_name, None)?;
    issuers::check_key_name_free(stored, &ask.key_name, None)
}

fn store(permit: &Permit, generated: &GeneratedRoot) -> Result<Batch, PkiError> {
    let mount = permit.mount();
    let issuer = IssuerRecord {
        id: generated.issuer_id.clone(),
        name: generated.issuer_name.clone(),
        key_id: Some(generated.key_id.clone()),
        certificate: Octets(generated.der.clone()),
        manual_chain: Vec::new(),
        usage: IssuerUsage::default(),
        leaf_not_after: LeafNotAfter::default(),
        urls: Urls::default(),
    };
    let certificate = CertRecord {
        certificate: Octets(generated.der.clone()),
        issuer: generated.issuer_id.clone(),
        shard: 0,
        is_root: true,
        not_after: generated.not_after,
        role: String::new(),
    };
    let mut batch = Batch::new()
        .put(keys::issuer(mount, &issuer.id)?, encode(&issuer)?)
        .put(keys::cert(mount, &generated.serial)?, encode(&certificate)?);
    put_key(
        &mut batch,
        permit,
        &generated.key_id,
        &generated.key_name,
        &generated.private_key,
    )?;
    Ok(batch)
}

/// Adds the record of a private key to `batch`.
pub(crate) fn put_key(
    batch: &mut Batch,
    permit: &Permit,
    id: &str,
    name: &str,
    key: &PrivateKey,
) -> Result<(), PkiError> {
    let pkcs8 = key
        .to_pkcs8_der()
        .map_err(|_| PkiError::Internal("encoding a key"))?;
    let record = KeyRecord {
        id: id.to_owned(),
        name: name.to_owned(),
        pkcs8: SecretOctets(zeroize::Zeroizing::new(pkcs8.expose().clone())),
    };
    let change =
        zone_barrier::batch::Change::Put(keys::key(permit.mount(), id)?, encode_secret(&record)?);
    batch.changes.push(change);
    Ok(())
}
