//! `login/NAME`: a password for a token.
//!
//! Two reads (user, lock) and one Argon2id call, whether the user is there, locked, or neither;
//! then one answer for whatever was wrong.

use std::net::IpAddr;

use zone_access::{AliasName, Created, Permit};
use zone_barrier::Batch;
use zone_types::Secret;

use super::lockout::Verdict;
use super::user::{Hashed, Stored, check_password, read, user_key};
use crate::params::shown;
use crate::{AuthError, AuthService, Name, TRIES};

/// Vault's words, for whatever is wrong.
const REFUSED: AuthError = AuthError::Credentials("invalid username or password");

impl AuthService {
    /// `login/NAME`: the token of whoever knows the password and comes from `remote`.
    ///
    /// # Errors
    ///
    /// [`AuthError::Credentials`] for whatever is wrong, the address and a lock included;
    /// [`AuthError::Overloaded`] if too many others log in.
    pub async fn log_in_userpass(
        &self,
        permit: &Permit,
        password: &Secret<String>,
        remote: IpAddr,
    ) -> Result<Created, AuthError> {
        let (mount, name) = (permit.mount(), Name::of(permit, "login")?);
        check_password(password)?;
        let mut stored = read(&self.barrier, mount, &name).await?;
        let locked = self.lockout.stored(mount, &name).await?;
        let known = self.knows(stored.as_ref(), password).await?;
        let rules = mount.config.user_lockout.unwrap_or_default();
        let verdict = match stored {
            Some(_) => self
                .lockout
                .judge(mount, &name, rules, locked, known, permit.now()),
            None => Verdict::Refused,
        };
        if let Verdict::Locked(until) = verdict {
            self.lockout
                .store_behind(mount.clone(), name.clone(), until);
        }
        for _ in 0..TRIES {
            let Some(user) = stored.filter(|_| verdict == Verdict::Known) else {
                return Err(REFUSED);
            };
            let from = &user.user.token.bound_cidrs;
            if !from.is_empty() && !from.iter().any(|cidr| cidr.holds(remote)) {
                return Err(REFUSED);
            }
            if let Some(created) = self.admit_user(permit, &name, &user).await? {
                return Ok(created);
            }
            // Changed meanwhile: the same password must still be right.
            stored = read(&self.barrier, mount, &name).await?;
            stored = stored.filter(|new| new.user.password == user.user.password);
        }
        Err(AuthError::Busy)
    }

    /// Whether the password is the user's. Nobody's costs the same.
    async fn knows(
        &self,
        stored: Option<&Stored>,
        password: &Secret<String>,
    ) -> Result<bool, AuthError> {
        let nobodys = Hashed::nobodys(self.hashers.cost());
        let hashed = stored.map_or(&nobodys, |stored| &stored.user.password);
        let hash = self
            .hashers
            .hash(password, hashed.salt()?, hashed.cost())
            .await?;
        Ok(hashed.is(&hash) && stored.is_some())
    }

    async fn admit_user(
        &self,
        permit: &Permit,
        name: &Name,
        user: &Stored,
    ) -> Result<Option<Created>, AuthError> {
        let mount = permit.mount();
        let mut grant = user.user.token.grant(permit);
        grant.alias = Some(AliasName {
            name: name.as_str().to_owned(),
            metadata: std::collections::BTreeMap::new(),
        });
        grant.meta = Some([("username".to_owned(), name.as_str().to_owned())].into());
        grant.display_name = format!("{}-{name}", shown(mount));
        let key = user_key(mount, name)?;
        let batch = Batch::new().require(key, Some(user.revision));
        Ok(self.access.log_in(permit, &grant, batch).await?)
    }
}
