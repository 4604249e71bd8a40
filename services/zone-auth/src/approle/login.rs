//! `login`: a role id and a secret id for a token.
//!
//! Four reads, whatever is wrong: the mount's key, the role id, the role, the secret id. What is
//! not there is looked for in a place where nothing ever is.

use std::net::IpAddr;

use zone_access::{AliasName, Created, Permit};
use zone_barrier::Batch;
use zone_types::{Cidr, Secret};

use super::key::Codes;
use super::role::{RoleIdRecord, Stored, role_id_key, role_key};
use super::secret_id::{Found, is_possible};
use crate::params::shown;
use crate::record::decode;
use crate::{AuthError, AuthService, Name, TRIES, TURNS};

/// Vault's words, for whatever is wrong.
const REFUSED: AuthError = AuthError::Credentials("invalid role or secret ID");
/// Names and ids that nothing has.
const NOBODY: &str = "-";

/// A role and what was shown to log in to it.
struct Shown {
    name: Name,
    stored: Stored,
    secret_id: Option<Found>,
}

impl AuthService {
    /// `login`: the token of whoever shows `role_id` and `secret_id` and comes from `remote`.
    ///
    /// # Errors
    ///
    /// [`AuthError::Credentials`] for whatever is wrong with them, the address included.
    pub async fn log_in_approle(
        &self,
        permit: &Permit,
        role_id: &str,
        secret_id: &Secret<String>,
        remote: IpAddr,
    ) -> Result<Created, AuthError> {
        if permit.rest() != "login" {
            return Err(AuthError::WrongPermit);
        }
        let mut turn = None;
        for _ in 0..TRIES {
            let codes = self.codes(permit.mount()).await?;
            let shown = self.shown(permit, &codes, role_id, secret_id).await?;
            let Some(shown) = shown.filter(|shown| shown.convinces(permit, remote)) else {
                return Err(REFUSED);
            };
            if let Some(found) = shown.counted()
                && turn.is_none()
            {
                // One use after the other: of many at once all but one would lose each round.
                turn = Some(self.turns[turn_of(found)].lock().await);
                continue;
            }
            if let Some(created) = self.admit(permit, &shown).await? {
                return Ok(created);
            }
        }
        Err(AuthError::Busy)
    }

    async fn shown(
        &self,
        permit: &Permit,
        codes: &Codes,
        role_id: &str,
        secret_id: &Secret<String>,
    ) -> Result<Option<Shown>, AuthError> {
        let mount = permit.mount();
        let of_role = self.get(&role_id_key(mount, codes, role_id)?).await?;
        let name = match &of_role {
            Some(plain) => Name::parse(&decode::<RoleIdRecord>(plain)?.role),
            None => None,
        };
        let stored = match &name {
            Some(name) => self.stored_role(mount, name).await?,
            None => self.get(&mount.key("role", NOBODY)?).await?.and(None),
        };
        let uid = stored.as_ref().map_or(NOBODY, |stored| &stored.role.uid);
        let possible = is_possible(secret_id.expose());
        let code = codes.secret_id(uid, if possible { secret_id.expose() } else { "" });
        let found = self.found_secret_id(mount, codes, uid, &code).await?;
        Ok(match (name, stored) {
            // A role id that changed hands between the two reads counts for neither.
            (Some(name), Some(stored)) if stored.role.role_id == role_id => Some(Shown {
                name,
                stored,
                secret_id: found.filter(|_| possible),
            }),
            _ => None,
        })
    }

    /// The token, and the use of the secret id, in one batch. `None` if role or secret id changed
    /// meanwhile.
    async fn admit(&self, permit: &Permit, shown: &Shown) -> Result<Option<Created>, AuthError> {
        let (mount, role) = (permit.mount(), &shown.stored.role);
        let mut grant = role.token.grant(permit);
        let mut meta = std::collections::BTreeMap::new();
        let mut batch =
            Batch::new().require(role_key(mount, &shown.name)?, Some(shown.stored.revision));
        if let Some(found) = shown.secret_id.as_ref().filter(|_| role.bind_secret_id) {
            meta.clone_from(&found.info.metadata);
            if !found.info.token_cidrs.is_empty() {
                grant.bound_cidrs.clone_from(&found.info.token_cidrs);
            }
            batch = used(found, batch, permit)?;
        }
        meta.insert("role_name".into(), shown.name.as_str().into());
        grant.meta = Some(meta);
        grant.alias = Some(AliasName {
            name: role.role_id.clone(),
            metadata: std::collections::BTreeMap::new(),
        });
        grant.display_name = self::shown(mount);
        grant.role = Some(shown.name.as_str().to_owned());
        Ok(self.access.log_in(permit, &grant, batch).await?)
    }
}

impl Shown {
    fn convinces(&self, permit: &Permit, remote: IpAddr) -> bool {
        let role = &self.stored.role;
        let from = |cidrs: &[Cidr]| cidrs.is_empty() || cidrs.iter().any(|cidr| cidr.holds(remote));
        let known = match (&self.secret_id, role.bind_secret_id) {
            (_, false) => true,
            (None, true) => false,
            (Some(found), true) => {
                found.counts(permit.now())
                    && from(&found.info.cidrs)
                    && from(&found.info.token_cidrs)
            }
        };
        known && from(&role.secret_id_bound_cidrs) && from(&role.token.bound_cidrs)
    }

    /// The secret id, if its uses are counted.
    fn counted(&self) -> Option<&Found> {
        let bound = self.stored.role.bind_secret_id;
        let found = self.secret_id.as_ref().filter(|_| bound)?;
        (found.info.num_uses > 0).then_some(found)
    }
}

/// Adds one use of a secret id: the last one ends it.
fn used(found: &Found, batch: Batch, permit: &Permit) -> Result<Batch, AuthError> {
    match found.info.num_uses {
        0 => Ok(batch.require(found.key.clone(), Some(found.revision))),
        1 => Ok(found.ended(batch)),
        left => {
            let mut info = found.info.clone();
            info.num_uses = left - 1;
            info.last_updated_time = permit.now();
            Ok(batch
                .require(found.key.clone(), Some(found.revision))
                .put(found.key.clone(), serde_json::to_vec(&info)?))
        }
    }
}

fn turn_of(found: &Found) -> usize {
    let bytes = found.key.as_bytes();
    let end = bytes.iter().rev().take(4);
    end.fold(0, |sum, byte| (sum * 31 + usize::from(*byte)) % TURNS)
}
