//! Roles: what may log in, under which constraints, and what it gets.

use serde::{Deserialize, Serialize};
use zone_access::{LeaseTimes, Mount, Permit};
use zone_barrier::{BarrierError, Batch};
use zone_ports::store::Revision;
use zone_ports::{Key, KeyRange, random};
use zone_types::Cidr;

use super::key::Codes;
use crate::params::LARGEST;
use crate::record::{V1, decode};
use crate::{AuthError, AuthService, Name, TRIES, TokenChange, TokenParams};

/// Longest role id and secret id of a caller's choice, in bytes.
pub(super) const LONGEST_ID: usize = 256;

/// A role. Spans in seconds, counts; zero for unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    v: V1,
    /// The part of storage keys that its secret ids have in common.
    pub(super) uid: String,
    /// What the machine shows as its name.
    pub role_id: String,
    /// Whether a secret id is needed.
    pub bind_secret_id: bool,
    /// Kept as it was set when the role was made; there is one cluster.
    pub local_secret_ids: bool,
    /// From where secret ids count; empty for everywhere.
    pub secret_id_bound_cidrs: Vec<Cidr>,
    /// Logins that a secret id is good for.
    pub secret_id_num_uses: u64,
    /// How long a secret id counts.
    pub secret_id_ttl: u64,
    /// What its tokens are like.
    pub token: TokenParams,
}

/// What to change; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct RoleChange {
    /// See [`Role::role_id`].
    pub role_id: Option<String>,
    /// See [`Role::bind_secret_id`].
    pub bind_secret_id: Option<bool>,
    /// See [`Role::local_secret_ids`]; only when the role is made.
    pub local_secret_ids: Option<bool>,
    /// See [`Role::secret_id_bound_cidrs`].
    pub secret_id_bound_cidrs: Option<Vec<Cidr>>,
    /// See [`Role::secret_id_num_uses`].
    pub secret_id_num_uses: Option<u64>,
    /// See [`Role::secret_id_ttl`].
    pub secret_id_ttl: Option<u64>,
    /// See [`Role::token`].
    pub token: TokenChange,
}

/// A role as it was read.
pub(crate) struct Stored {
    pub(crate) role: Role,
    pub(crate) revision: Revision,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleIdRecord {
    v: V1,
    pub(super) role: String,
}

impl Role {
    fn new(uid: String, role_id: String) -> Self {
        Self {
            v: V1,
            uid,
            role_id,
            bind_secret_id: true,
            local_secret_ids: false,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: 0,
            token: TokenParams::default(),
        }
    }

    /// Applies `change`; the policies that came to those that were there.
    fn apply(
        &mut self,
        change: &RoleChange,
        times: LeaseTimes,
        is_new: bool,
    ) -> Result<Vec<String>, AuthError> {
        if let Some(role_id) = &change.role_id {
            check_id(role_id, "role_id")?;
            self.role_id.clone_from(role_id);
        }
        if let Some(local) = change.local_secret_ids {
            if !is_new && local != self.local_secret_ids {
                return Err(AuthError::invalid(
                    "local_secret_ids can only be modified during role creation",
                ));
            }
            self.local_secret_ids = local;
        }
        self.bind_secret_id = change.bind_secret_id.unwrap_or(self.bind_secret_id);
        if let Some(cidrs) = &change.secret_id_bound_cidrs {
            self.secret_id_bound_cidrs.clone_from(cidrs);
        }
        self.secret_id_num_uses = change.secret_id_num_uses.unwrap_or(self.secret_id_num_uses);
        self.secret_id_ttl = change.secret_id_ttl.unwrap_or(self.secret_id_ttl);
        let added = self.token.apply(&change.token, times)?;
        let bound = !self.secret_id_bound_cidrs.is_empty() || !self.token.bound_cidrs.is_empty();
        if !self.bind_secret_id && !bound {
            return Err(AuthError::invalid(
                "at least one constraint should be enabled on the role: bind_secret_id, \
                 secret_id_bound_cidrs or token_bound_cidrs",
            ));
        }
        Ok(added)
    }
}

impl AuthService {
    /// `role/`: the names of all roles.
    pub async fn roles(&self, permit: &Permit) -> Result<Vec<String>, AuthError> {
        self.names(&permit.mount().prefix("role")).await
    }

    /// `role/NAME`: one role.
    pub async fn role(&self, permit: &Permit) -> Result<Role, AuthError> {
        let name = Name::of(permit, "role")?;
        let found = self.stored_role(permit.mount(), &name).await?;
        Ok(found.ok_or(AuthError::NotFound)?.role)
    }

    /// `role/NAME`: makes a role, or changes one.
    pub async fn write_role(&self, permit: &Permit, change: &RoleChange) -> Result<(), AuthError> {
        self.change_or_make_role(permit, change, true).await
    }

    /// `role/NAME/…`: changes a role that is there.
    pub async fn change_role(&self, permit: &Permit, change: &RoleChange) -> Result<(), AuthError> {
        self.change_or_make_role(permit, change, false).await
    }

    async fn change_or_make_role(
        &self,
        permit: &Permit,
        change: &RoleChange,
        may_make: bool,
    ) -> Result<(), AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "role")?);
        let codes = self.codes_or_new(mount).await?;
        for _ in 0..TRIES {
            let old = self.stored_role(mount, &name).await?;
            let mut role = match &old {
                Some(old) => old.role.clone(),
                None if may_make => {
                    Role::new(hex::encode(random::bytes::<8>(&*self.random)), self.uuid())
                }
                None => return Err(AuthError::NotFound),
            };
            let added = role.apply(change, permit.lease_times(), old.is_none())?;
            self.access.refuse_to_give(permit, &added).await?;
            if let Some(old) = &old {
                let (before, after) = (&old.role.token.policies, &role.token.policies);
                self.access.refuse_to_take(permit, before, after).await?;
            }
            if change.role_id.is_some() {
                self.access.refuse_to_let_in(permit, &role.role_id).await?;
            }
            let batch = self.role_batch(mount, &name, &codes, old, &role).await?;
            match self.barrier.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AuthError::Busy)
    }

    /// Puts `role` in place of `old`, and its role id with it.
    async fn role_batch(
        &self,
        mount: &Mount,
        name: &Name,
        codes: &Codes,
        old: Option<Stored>,
        role: &Role,
    ) -> Result<Batch, AuthError> {
        let value = serde_json::to_vec(role)?;
        if value.len() > LARGEST {
            return Err(AuthError::invalid("a role has at most 8 KiB"));
        }
        let key = role_key(mount, name)?;
        let revision = old.as_ref().map(|old| old.revision);
        let mut batch = Batch::new().require(key.clone(), revision).put(key, value);
        let old_id = old.map(|old| old.role.role_id);
        if old_id.as_deref() != Some(&role.role_id) {
            let id_key = role_id_key(mount, codes, &role.role_id)?;
            if self.get(&id_key).await?.is_some() {
                return Err(AuthError::invalid("the role_id is already in use"));
            }
            let record = RoleIdRecord {
                v: V1,
                role: name.as_str().to_owned(),
            };
            batch = batch
                .require_absent(id_key.clone())
                .put(id_key, serde_json::to_vec(&record)?);
            if let Some(old_id) = old_id {
                batch = batch.delete(role_id_key(mount, codes, &old_id)?);
            }
        }
        Ok(batch)
    }

    /// `role/NAME`: removes a role, whose secret ids end with it. Nothing there: no error.
    pub async fn delete_role(&self, permit: &Permit) -> Result<(), AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "role")?);
        let codes = self.codes(mount).await?;
        for _ in 0..TRIES {
            let Some(old) = self.stored_role(mount, &name).await? else {
                return Ok(());
            };
            let key = role_key(mount, &name)?;
            let (work, record) = self.access.discard(mount, &format!("s/{}", old.role.uid))?;
            let batch = Batch::new()
                .require(key.clone(), Some(old.revision))
                .delete(key)
                .delete(role_id_key(mount, &codes, &old.role.role_id)?)
                .put(work, record);
            match self.barrier.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AuthError::Busy)
    }

    pub(crate) async fn stored_role(
        &self,
        mount: &Mount,
        name: &Name,
    ) -> Result<Option<Stored>, AuthError> {
        read(&self.barrier, mount, name).await
    }

    /// The last parts of all keys below `prefix`, in order.
    pub(crate) async fn names(&self, prefix: &[u8]) -> Result<Vec<String>, AuthError> {
        let mut names = Vec::new();
        let mut range = KeyRange::prefix(prefix.to_vec());
        loop {
            let page = self.barrier.scan_keys(&range, 1000).await?;
            let Some(last) = page.last() else {
                return Ok(names);
            };
            range = range.after(last);
            for key in &page {
                let name = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
                names.push(name.map_err(|_| AuthError::Corrupt)?.to_owned());
            }
        }
    }
}

/// The role `name` of `mount`.
pub(crate) async fn read(
    barrier: &zone_barrier::Barrier,
    mount: &Mount,
    name: &Name,
) -> Result<Option<Stored>, AuthError> {
    let Some(plain) = barrier.get(&role_key(mount, name)?).await? else {
        return Ok(None);
    };
    Ok(Some(Stored {
        role: decode(&plain)?,
        revision: plain.revision,
    }))
}

pub(crate) fn role_key(mount: &Mount, name: &Name) -> Result<Key, AuthError> {
    Ok(mount.key("role", name.as_str())?)
}

pub(super) fn role_id_key(mount: &Mount, codes: &Codes, role_id: &str) -> Result<Key, AuthError> {
    Ok(mount.key("role-id", codes.role_id(role_id))?)
}

/// An id of a caller's choice.
pub(super) fn check_id(id: &str, field: &str) -> Result<(), AuthError> {
    let printable = !id.chars().any(char::is_control);
    if id.is_empty() || id.len() > LONGEST_ID || !printable {
        return Err(AuthError::invalid(format!(
            "field '{field}': expected 1 to {LONGEST_ID} bytes without control characters"
        )));
    }
    Ok(())
}
