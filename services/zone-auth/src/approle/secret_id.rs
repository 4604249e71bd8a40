//! Secret ids: made, looked up, listed, destroyed.
//!
//! A secret id, its accessor and its expiry entry come and go in one batch each, and a new one
//! requires its role as it was read: none is left over, and none survives its role.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zone_access::{Mount, Permit, expiry};
use zone_barrier::{BarrierError, Batch};
use zone_ports::store::Revision;
use zone_ports::{Key, KeyRange};
use zone_types::{Cidr, Secret, Timestamp};

use super::key::Codes;
use super::role::{LONGEST_ID, Role, Stored, check_id, role_key};
use crate::record::{V1, decode};
use crate::{AuthError, AuthService, Name, TRIES};

/// Largest metadata of a secret id, as JSON.
const LARGEST_METADATA: usize = 4 * 1024;

/// What a caller asks of a new secret id.
#[derive(Debug, Default)]
pub struct NewSecretId {
    /// A text of the caller's choice instead of a random one.
    pub custom: Option<Secret<String>>,
    /// Becomes metadata of the tokens.
    pub metadata: BTreeMap<String, String>,
    /// From where it counts, within what the role says.
    pub cidrs: Vec<Cidr>,
    /// From where its tokens count, within what the role says.
    pub token_cidrs: Vec<Cidr>,
    /// Logins; `None` for what the role says, zero for unlimited.
    pub num_uses: Option<u64>,
    /// Seconds; `None` for what the role says, zero for unlimited.
    pub ttl: Option<u64>,
}

/// A new secret id. The only place where its text exists.
#[derive(Debug)]
pub struct Generated {
    /// What the machine shows.
    pub secret_id: Secret<String>,
    /// The handle by which others manage it without holding it.
    pub accessor: String,
    /// Seconds; zero for unlimited.
    pub ttl: u64,
    /// Logins; zero for unlimited.
    pub num_uses: u64,
}

/// Which secret id.
#[derive(Clone, Copy, Debug)]
pub enum SecretIdAt<'a> {
    /// By its text.
    Text(&'a SecretIdText),
    /// By its accessor.
    Accessor(&'a str),
}

/// The text of a secret id.
pub type SecretIdText = Secret<String>;

/// What is stored of a secret id.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretIdInfo {
    v: V1,
    /// Its accessor.
    pub accessor: String,
    /// Logins that are left; zero for unlimited.
    pub num_uses: u64,
    /// The seconds that it was made with; zero for unlimited.
    pub ttl: u64,
    /// When it was made.
    pub creation_time: Timestamp,
    /// When it was made or last used with a count.
    pub last_updated_time: Timestamp,
    /// When it ends; `None` for never.
    pub expiration_time: Option<Timestamp>,
    /// Becomes metadata of the tokens.
    pub metadata: BTreeMap<String, String>,
    /// From where it counts; empty for everywhere.
    pub cidrs: Vec<Cidr>,
    /// From where its tokens count; empty for everywhere.
    pub token_cidrs: Vec<Cidr>,
}

impl fmt::Debug for SecretIdInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret id of {}", self.creation_time)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessorRecord {
    v: V1,
    secret_id: String,
}

/// A secret id as it was read.
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) info: SecretIdInfo,
    pub(super) revision: Revision,
    /// The entries that go with it.
    accessor: Key,
    expiry: Option<Key>,
}

impl Found {
    pub(super) fn counts(&self, now: Timestamp) -> bool {
        self.info.expiration_time.is_none_or(|end| now < end)
    }

    /// Adds its end.
    pub(super) fn ended(&self, batch: Batch) -> Batch {
        let mut batch = batch
            .require(self.key.clone(), Some(self.revision))
            .delete(self.key.clone())
            .delete(self.accessor.clone());
        if let Some(entry) = &self.expiry {
            batch = batch.delete(entry.clone());
        }
        batch
    }
}

impl AuthService {
    /// `role/NAME/secret-id` and `custom-secret-id`: makes one.
    pub async fn generate_secret_id(
        &self,
        permit: &Permit,
        new: &NewSecretId,
    ) -> Result<Generated, AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "role")?);
        let codes = self.codes(mount).await?;
        for _ in 0..TRIES {
            let found = self.stored_role(mount, &name).await?;
            let stored = found.ok_or(AuthError::NotFound)?;
            let info = self.drawn_up(&stored.role, new, permit)?;
            let text = match &new.custom {
                Some(text) => text.clone(),
                None => Secret::new(self.uuid()),
            };
            let place = Place::new(mount, &codes, &stored.role.uid, text.expose(), &info)?;
            if self.get(&place.key).await?.is_some() {
                return Err(AuthError::invalid("the secret_id is already registered"));
            }
            let batch = place.batch(&info)?;
            let batch = batch.require(role_key(mount, &name)?, Some(stored.revision));
            match self.barrier.commit(batch).await {
                Ok(_) => {
                    return Ok(Generated {
                        secret_id: text,
                        accessor: info.accessor,
                        ttl: info.ttl,
                        num_uses: info.num_uses,
                    });
                }
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AuthError::Busy)
    }

    /// Judges what is asked against what the role allows.
    fn drawn_up(
        &self,
        role: &Role,
        new: &NewSecretId,
        permit: &Permit,
    ) -> Result<SecretIdInfo, AuthError> {
        if !role.bind_secret_id {
            return Err(AuthError::invalid("bind_secret_id is not set on the role"));
        }
        if let Some(custom) = &new.custom {
            check_id(custom.expose(), "secret_id")?;
        }
        if serde_json::to_vec(&new.metadata)?.len() > LARGEST_METADATA {
            return Err(AuthError::invalid("field 'metadata': has at most 4 KiB"));
        }
        within(&new.cidrs, &role.secret_id_bound_cidrs, "cidr_list")?;
        within(
            &new.token_cidrs,
            &role.token.bound_cidrs,
            "token_bound_cidrs",
        )?;
        let num_uses = limited(new.num_uses, role.secret_id_num_uses).ok_or_else(|| {
            AuthError::invalid("num_uses cannot be higher than the role's secret_id_num_uses")
        })?;
        let ttl = limited(new.ttl, role.secret_id_ttl).ok_or_else(|| {
            AuthError::invalid("ttl cannot be longer than the role's secret_id_ttl")
        })?;
        let (ttl, now) = (ttl.min(permit.lease_times().max), permit.now());
        Ok(SecretIdInfo {
            v: V1,
            accessor: self.uuid(),
            num_uses,
            ttl,
            creation_time: now,
            last_updated_time: now,
            expiration_time: (ttl > 0).then(|| now.plus(Duration::from_secs(ttl))),
            metadata: new.metadata.clone(),
            cidrs: new.cidrs.clone(),
            token_cidrs: new.token_cidrs.clone(),
        })
    }

    /// `role/NAME/secret-id/`: the accessors of those that count.
    pub async fn secret_id_accessors(&self, permit: &Permit) -> Result<Vec<String>, AuthError> {
        let name = Name::of(permit, "role")?;
        let found = self.stored_role(permit.mount(), &name).await?;
        let role = found.ok_or(AuthError::NotFound)?.role;
        let prefix = permit.mount().key("s", format!("{}/id/", role.uid))?;
        let mut range = KeyRange::prefix(prefix.as_bytes().to_vec());
        let mut accessors = Vec::new();
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else {
                accessors.sort();
                return Ok(accessors);
            };
            range = range.after(last);
            for (_, plain) in &page {
                let info: SecretIdInfo = decode(plain)?;
                if info.expiration_time.is_none_or(|end| permit.now() < end) {
                    accessors.push(info.accessor);
                }
            }
        }
    }

    /// `role/NAME/secret-id/lookup` and `secret-id-accessor/lookup`: what is known of one.
    pub async fn look_up_secret_id(
        &self,
        permit: &Permit,
        at: SecretIdAt<'_>,
    ) -> Result<Option<SecretIdInfo>, AuthError> {
        let found = self.named_secret_id(permit, at).await?;
        let counting = found.filter(|found| found.counts(permit.now()));
        Ok(counting.map(|found| found.info))
    }

    /// `role/NAME/secret-id/destroy` and `secret-id-accessor/destroy`: ends one. `false` if it is
    /// not there.
    pub async fn destroy_secret_id(
        &self,
        permit: &Permit,
        at: SecretIdAt<'_>,
    ) -> Result<bool, AuthError> {
        for _ in 0..TRIES {
            let Some(found) = self.named_secret_id(permit, at).await? else {
                return Ok(false);
            };
            match self.barrier.commit(found.ended(Batch::new())).await {
                Ok(_) => return Ok(true),
                // It was used meanwhile.
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AuthError::Busy)
    }

    async fn named_secret_id(
        &self,
        permit: &Permit,
        at: SecretIdAt<'_>,
    ) -> Result<Option<Found>, AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "role")?);
        let codes = self.codes(mount).await?;
        let found = self.stored_role(mount, &name).await?;
        let Stored { role, .. } = found.ok_or(AuthError::NotFound)?;
        let code = match at {
            SecretIdAt::Text(text) => codes.secret_id(&role.uid, text.expose()),
            SecretIdAt::Accessor(accessor) => {
                let key = accessor_key(mount, &codes, &role.uid, accessor)?;
                match self.get(&key).await? {
                    Some(plain) => decode::<AccessorRecord>(&plain)?.secret_id,
                    None => return Ok(None),
                }
            }
        };
        self.found_secret_id(mount, &codes, &role.uid, &code).await
    }

    /// The secret id with this code, of the role `uid`.
    pub(super) async fn found_secret_id(
        &self,
        mount: &Mount,
        codes: &Codes,
        uid: &str,
        code: &str,
    ) -> Result<Option<Found>, AuthError> {
        let key = secret_id_key(mount, uid, code)?;
        let Some(plain) = self.get(&key).await? else {
            return Ok(None);
        };
        let info: SecretIdInfo = decode(&plain)?;
        let accessor = accessor_key(mount, codes, uid, &info.accessor)?;
        let expiry = match info.expiration_time {
            Some(end) => Some(expiry::keys_entry(end, code, &[&key, &accessor])?.0),
            None => None,
        };
        Ok(Some(Found {
            key,
            info,
            revision: plain.revision,
            accessor,
            expiry,
        }))
    }

    /// `tidy/secret-id`: removes what has ended and not been swept yet, and accessors of nothing.
    /// How many of them there were.
    pub async fn tidy_secret_ids(&self, permit: &Permit) -> Result<usize, AuthError> {
        if permit.rest() != "tidy/secret-id" {
            return Err(AuthError::WrongPermit);
        }
        let mount = permit.mount();
        let codes = self.codes(mount).await?;
        let mut range = KeyRange::prefix(mount.prefix("s"));
        let mut removed = 0;
        loop {
            let page = self.barrier.scan(&range, 500).await?;
            let Some((last, _)) = page.last() else {
                return Ok(removed);
            };
            range = range.after(last);
            for (key, plain) in &page {
                let text = String::from_utf8_lossy(key.as_bytes()).into_owned();
                let parts: Vec<&str> = text.rsplitn(4, '/').collect();
                let batch = match parts[..] {
                    [code, "id", uid, _] => {
                        let found = self.found_secret_id(mount, &codes, uid, code).await?;
                        let ended = found.filter(|found| !found.counts(permit.now()));
                        ended.map(|found| found.ended(Batch::new()))
                    }
                    [_, "accessor", uid, _] => {
                        let code = decode::<AccessorRecord>(plain)?.secret_id;
                        let secret_id = secret_id_key(mount, uid, &code)?;
                        let dangles = self.get(&secret_id).await?.is_none();
                        let gone = || Batch::new().require_absent(secret_id).delete(key.clone());
                        dangles.then(gone)
                    }
                    _ => None,
                };
                let Some(batch) = batch else { continue };
                match self.barrier.commit(batch).await {
                    Ok(_) => removed += 1,
                    Err(BarrierError::Conflict) => {}
                    Err(other) => return Err(other.into()),
                }
            }
        }
    }
}

/// Where a new secret id stands.
struct Place {
    key: Key,
    code: String,
    accessor: Key,
}

impl Place {
    fn new(
        mount: &Mount,
        codes: &Codes,
        uid: &str,
        text: &str,
        info: &SecretIdInfo,
    ) -> Result<Self, AuthError> {
        let code = codes.secret_id(uid, text);
        Ok(Self {
            key: secret_id_key(mount, uid, &code)?,
            accessor: accessor_key(mount, codes, uid, &info.accessor)?,
            code,
        })
    }

    fn batch(&self, info: &SecretIdInfo) -> Result<Batch, AuthError> {
        let accessor = AccessorRecord {
            v: V1,
            secret_id: self.code.clone(),
        };
        let mut batch = Batch::new()
            .require_absent(self.key.clone())
            .put(self.key.clone(), serde_json::to_vec(info)?)
            .put(self.accessor.clone(), serde_json::to_vec(&accessor)?);
        if let Some(end) = info.expiration_time {
            let (key, entry) = expiry::keys_entry(end, &self.code, &[&self.key, &self.accessor])?;
            batch = batch.put(key, entry);
        }
        Ok(batch)
    }
}

fn secret_id_key(mount: &Mount, uid: &str, code: &str) -> Result<Key, AuthError> {
    Ok(mount.key("s", format!("{uid}/id/{code}"))?)
}

fn accessor_key(mount: &Mount, codes: &Codes, uid: &str, accessor: &str) -> Result<Key, AuthError> {
    let code = codes.accessor(uid, accessor);
    Ok(mount.key("s", format!("{uid}/accessor/{code}"))?)
}

/// What was asked for, if it is within what the role allows. Zero is unlimited in both.
fn limited(asked: Option<u64>, of_role: u64) -> Option<u64> {
    match asked {
        None => Some(of_role),
        Some(asked) if of_role == 0 || (asked > 0 && asked <= of_role) => Some(asked),
        Some(_) => None,
    }
}

/// Whether each of `asked` lies in one of `allowed`, if there are any.
fn within(asked: &[Cidr], allowed: &[Cidr], field: &str) -> Result<(), AuthError> {
    let inside = |cidr: &Cidr| allowed.iter().any(|outer| outer.contains(cidr));
    match allowed.is_empty() || asked.iter().all(inside) {
        true => Ok(()),
        false => Err(AuthError::invalid(format!(
            "field '{field}': must lie within the blocks of the role"
        ))),
    }
}

/// Longest secret id that is looked up.
pub(super) fn is_possible(text: &str) -> bool {
    text.len() <= LONGEST_ID
}
