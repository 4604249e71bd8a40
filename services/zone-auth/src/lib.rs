//! Auth methods: AppRole for machines, userpass for people. Whoever convinces one gets a token.
//!
//! ```text
//! role id + secret id ─▶ approle ─┐
//!                                 ├─▶ zone-access: token, and what the login uses up, in one batch
//! name + password ────▶ userpass ─┘
//! ```
//!
//! # Invariants
//!
//! * A2. Every method takes a `Permit`, but [`AuthService::exists`], which chooses between the
//!   capabilities `create` and `update` before anybody is judged and says one bit.
//! * A3. Which role or user is meant comes from `permit.rest()` alone, in its one spelling
//!   ([`canonical`]): `Ann`, ` ann ` and `ann` are one user, with one lock.
//! * B1. Secret ids, their accessors and role ids stand in storage keys as HMACs under the mount's
//!   key only; a secret id's text is stored nowhere.
//! * S1. A login is one batch: the use of the secret id, the token, its expiry. So a secret id
//!   with five uses lets exactly five through, whoever races.
//! * Locked, unknown and wrong are one answer, after the same work: the same count of store reads
//!   in both methods, and the same one Argon2id call in userpass.
//! * Nobody gives what he lacks: policies that the writer of a role or user does not hold need
//!   sudo; `root` is never given (attack 8).
//!
//! # Deliberately absent
//!
//! No HTTP, and no cache of records: nothing outlives a seal (B2). Password hashing is fenced in
//! here, so that a head without it can be built.
//!
//! Start at [`AuthService`]; stored forms: `docs/formats/auth.md`.

mod approle;
mod error;
mod hashing;
mod name;
mod params;
mod record;
mod renewals;
mod userpass;

pub use approle::{
    Generated, NewSecretId, Role, RoleChange, SecretIdAt, SecretIdInfo, SecretIdText,
};
pub use error::AuthError;
pub use hashing::{Hashers, QUEUE};
pub use name::{Name, canonical};
pub use params::{TokenChange, TokenParams};
pub use renewals::RoleTerms;
pub use userpass::{LockedUsers, MAX_PASSWORD, UserChange};

use std::fmt;
use std::sync::Arc;

use zone_access::{Access, Mount, MountKind};
use zone_barrier::{Barrier, Plain};
use zone_ports::{Key, Random, random};
use zone_types::RequestId;

/// How often a change that lost a race is tried again.
const TRIES: usize = 64;
/// Locks that keep the uses of one secret id apart.
const TURNS: usize = 64;

/// Both methods, for all mounts of their kinds.
pub struct AuthService {
    barrier: Barrier,
    access: Access,
    random: Arc<dyn Random>,
    hashers: Arc<Hashers>,
    lockout: Arc<userpass::Lockout>,
    /// By a part of the HMAC: who counts a use of a secret id with limited uses.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

impl AuthService {
    /// The methods over `barrier`; tokens are made by `access`, passwords hashed by `hashers`.
    pub fn new(
        barrier: Barrier,
        access: Access,
        random: Arc<dyn Random>,
        hashers: Hashers,
    ) -> Self {
        Self {
            lockout: Arc::new(userpass::Lockout::new(barrier.clone())),
            barrier,
            access,
            random,
            hashers: Arc::new(hashers),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
        }
    }

    /// Forgets what is counted in memory, when the zone is sealed (B2). Locks stay: they are
    /// stored.
    pub fn forget(&self) {
        self.lockout.forget();
    }

    /// How passwords are hashed, and how many were so far.
    pub fn hashers(&self) -> &Hashers {
        &self.hashers
    }

    /// Whether a write to `rest` below `mount` would change something that is there.
    pub async fn exists(&self, mount: &Mount, rest: &str) -> Result<bool, AuthError> {
        let (area, name) = rest.split_once('/').unwrap_or((rest, ""));
        let name = Name::parse(name);
        let key = match (mount.kind, area, name) {
            (MountKind::AppRole, "role", Some(name)) => approle::role_key(mount, &name)?,
            (MountKind::Userpass, "users", Some(name)) => userpass::user_key(mount, &name)?,
            _ => return Ok(true),
        };
        Ok(self.get(&key).await?.is_some())
    }

    async fn get(&self, key: &Key) -> Result<Option<Plain>, AuthError> {
        Ok(self.barrier.get(key).await?)
    }

    fn uuid(&self) -> String {
        RequestId::from_random(random::bytes(&*self.random)).to_string()
    }
}

impl fmt::Debug for AuthService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthService")
    }
}
