//! Users: their passwords and what their tokens are like.

use serde::{Deserialize, Serialize};
use zone_access::{Mount, Permit};
use zone_barrier::{BarrierError, Batch};
use zone_crypto::password::Cost;
use zone_ports::store::Revision;
use zone_ports::{Key, random};
use zone_types::Secret;

use crate::params::LARGEST;
use crate::record::{V1, decode};
use crate::{AuthError, AuthService, Name, TRIES, TokenChange, TokenParams};

/// Longest password in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// What to change of a user; `None` stays as it is.
#[derive(Debug, Default)]
pub struct UserChange {
    /// The password; a new user needs one.
    pub password: Option<Secret<String>>,
    /// What its tokens are like.
    pub token: TokenChange,
}

/// The hash of a password, with what it was made.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hashed {
    algorithm: Argon2id,
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    hash: String,
}

/// The one algorithm that there is.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Argon2id {
    #[serde(rename = "argon2id")]
    Argon2id,
}

impl Hashed {
    /// What nobody's password gives, at the price of anybody's.
    pub(super) fn nobodys(cost: Cost) -> Self {
        Self::new(cost, [0; 16], [0; 32])
    }

    fn new(cost: Cost, salt: [u8; 16], hash: [u8; 32]) -> Self {
        Self {
            algorithm: Argon2id::Argon2id,
            memory: cost.memory,
            passes: cost.passes,
            lanes: cost.lanes,
            salt: hex::encode(salt),
            hash: hex::encode(hash),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        Cost {
            memory: self.memory,
            passes: self.passes,
            lanes: self.lanes,
        }
    }

    pub(super) fn salt(&self) -> Result<[u8; 16], AuthError> {
        let bytes = hex::decode(&self.salt).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(AuthError::Corrupt)
    }

    /// Whether `hash` is the same, in constant time.
    pub(super) fn is(&self, hash: &[u8; 32]) -> bool {
        zone_crypto::ct_eq(self.hash.as_bytes(), hex::encode(hash).as_bytes())
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserRecord {
    v: V1,
    pub(super) password: Hashed,
    pub(crate) token: TokenParams,
}

/// A user as it was read.
pub(crate) struct Stored {
    pub(crate) user: UserRecord,
    pub(crate) revision: Revision,
}

impl AuthService {
    /// `users/`: the names of all users.
    pub async fn users(&self, permit: &Permit) -> Result<Vec<String>, AuthError> {
        self.names(&permit.mount().prefix("user")).await
    }

    /// `users/NAME`: what the tokens of one user are like.
    pub async fn user(&self, permit: &Permit) -> Result<TokenParams, AuthError> {
        let name = Name::of(permit, "users")?;
        let found = read(&self.barrier, permit.mount(), &name).await?;
        Ok(found.ok_or(AuthError::NotFound)?.user.token)
    }

    /// `users/NAME`: makes a user, or changes one.
    pub async fn write_user(&self, permit: &Permit, change: &UserChange) -> Result<(), AuthError> {
        self.change_or_make_user(permit, change, true).await
    }

    /// `users/NAME/password` and `users/NAME/policies`: changes a user who is there.
    pub async fn change_user(&self, permit: &Permit, change: &UserChange) -> Result<(), AuthError> {
        self.change_or_make_user(permit, change, false).await
    }

    async fn change_or_make_user(
        &self,
        permit: &Permit,
        change: &UserChange,
        may_make: bool,
    ) -> Result<(), AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "users")?);
        let key = user_key(mount, &name)?;
        let old = read(&self.barrier, mount, &name).await?;
        if old.is_none() && !may_make {
            return Err(AuthError::Missing("username does not exist"));
        }
        let hashed = match &change.password {
            Some(password) => Some(self.new_hash(password).await?),
            None => None,
        };
        for _ in 0..TRIES {
            let old = read(&self.barrier, mount, &name).await?;
            let revision = old.as_ref().map(|old| old.revision);
            let user = self.changed(permit, old, change, hashed.clone()).await?;
            let value = serde_json::to_vec(&user)?;
            if value.len() > LARGEST {
                return Err(AuthError::invalid("a user has at most 8 KiB"));
            }
            let batch = Batch::new().require(key.clone(), revision);
            match self.barrier.commit(batch.put(key.clone(), value)).await {
                Ok(_) => return Ok(()),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AuthError::Busy)
    }

    /// The user as `change` makes it. Whoever sets a password can log in with it, so he gives
    /// himself what the user has; whoever adds policies gives them (attack 8).
    async fn changed(
        &self,
        permit: &Permit,
        old: Option<Stored>,
        change: &UserChange,
        hashed: Option<Hashed>,
    ) -> Result<UserRecord, AuthError> {
        if hashed.is_some() {
            let name = Name::of(permit, "users")?;
            self.access.refuse_to_let_in(permit, name.as_str()).await?;
        }
        let before = old.as_ref().map(|old| old.user.token.policies.clone());
        let mut given = Vec::new();
        let mut user = match (old, hashed) {
            (Some(old), Some(password)) => {
                given.clone_from(&old.user.token.policies);
                UserRecord {
                    password,
                    ..old.user
                }
            }
            (Some(old), None) => old.user,
            (None, Some(password)) => UserRecord {
                v: V1,
                password,
                token: TokenParams::default(),
            },
            (None, None) => return Err(AuthError::invalid("missing password")),
        };
        given.extend(user.token.apply(&change.token, permit.lease_times())?);
        self.access.refuse_to_give(permit, &given).await?;
        let (before, after) = (before.unwrap_or_default(), &user.token.policies);
        self.access.refuse_to_take(permit, &before, after).await?;
        Ok(user)
    }

    async fn new_hash(&self, password: &Secret<String>) -> Result<Hashed, AuthError> {
        check_password(password)?;
        let salt = random::bytes::<16>(&*self.random);
        let cost = self.hashers.cost();
        let hash = self.hashers.hash(password, salt, cost).await?;
        Ok(Hashed::new(cost, salt, hash))
    }

    /// `users/NAME`: removes a user, and a lock with it. Nothing there: no error.
    pub async fn delete_user(&self, permit: &Permit) -> Result<(), AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "users")?);
        let batch = Batch::new().delete(user_key(mount, &name)?);
        self.barrier.commit(batch).await?;
        self.lockout.unlock(mount, &name).await
    }
}

/// The same for everybody, known or not.
pub(super) fn check_password(password: &Secret<String>) -> Result<(), AuthError> {
    if password.expose().is_empty() {
        return Err(AuthError::invalid("missing password"));
    }
    if password.expose().len() > MAX_PASSWORD {
        return Err(AuthError::invalid(format!(
            "field 'password': has at most {MAX_PASSWORD} bytes"
        )));
    }
    Ok(())
}

/// The user `name` of `mount`.
pub(crate) async fn read(
    barrier: &zone_barrier::Barrier,
    mount: &Mount,
    name: &Name,
) -> Result<Option<Stored>, AuthError> {
    let Some(plain) = barrier.get(&user_key(mount, name)?).await? else {
        return Ok(None);
    };
    Ok(Some(Stored {
        user: decode(&plain)?,
        revision: plain.revision,
    }))
}

pub(crate) fn user_key(mount: &Mount, name: &Name) -> Result<Key, AuthError> {
    Ok(mount.key("user", name.as_str())?)
}
