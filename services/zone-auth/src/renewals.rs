//! What roles and users say now, for renewals of tokens that they gave.

use async_trait::async_trait;
use zone_access::{AccessError, Mount, MountKind, RenewalTerms, Renewals, TokenRecord};
use zone_barrier::Barrier;

use crate::{AuthError, Name, TokenParams, approle, userpass};

/// The roles and users of all mounts.
#[derive(Debug)]
pub struct RoleTerms {
    barrier: Barrier,
}

impl RoleTerms {
    /// Reads them through `barrier`.
    pub fn new(barrier: Barrier) -> Self {
        Self { barrier }
    }

    async fn of_role(
        &self,
        mount: &Mount,
        token: &TokenRecord,
    ) -> Result<TokenParams, AccessError> {
        let name = token.role.as_deref().and_then(Name::parse);
        let found = match name {
            Some(name) => approle::read_role(&self.barrier, mount, &name).await,
            None => Ok(None),
        };
        let found = found.map_err(access_error)?;
        let gone = || invalid("the role of the token does not exist any more, cannot renew");
        Ok(found.ok_or_else(gone)?.role.token)
    }

    /// As in Vault, a user whose policies changed has to log in anew.
    async fn of_user(
        &self,
        mount: &Mount,
        token: &TokenRecord,
    ) -> Result<TokenParams, AccessError> {
        let name = token.meta.as_ref().and_then(|meta| meta.get("username"));
        let found = match name.and_then(|name| Name::parse(name)) {
            Some(name) => userpass::read(&self.barrier, mount, &name).await,
            None => Ok(None),
        };
        let found = found.map_err(access_error)?;
        let gone = || invalid("the user of the token does not exist any more, cannot renew");
        let params = found.ok_or_else(gone)?.user.token;
        let mut policies = params.policies.clone();
        if !params.no_default_policy {
            policies.push("default".into());
        }
        policies.sort();
        policies.dedup();
        match policies == token.policies {
            true => Ok(params),
            false => Err(invalid("policies have changed, not renewing")),
        }
    }
}

#[async_trait]
impl Renewals for RoleTerms {
    async fn terms(&self, mount: &Mount, token: &TokenRecord) -> Result<RenewalTerms, AccessError> {
        let params = match mount.kind {
            MountKind::AppRole => self.of_role(mount, token).await?,
            MountKind::Userpass => self.of_user(mount, token).await?,
            _ => return Err(AccessError::Corrupt),
        };
        Ok(RenewalTerms {
            ttl: params.ttl,
            max_ttl: params.max_ttl,
            period: params.period,
        })
    }
}

fn invalid(text: &str) -> AccessError {
    AccessError::Invalid(text.into())
}

fn access_error(error: AuthError) -> AccessError {
    match error {
        AuthError::Access(error) => error,
        _ => AccessError::Corrupt,
    }
}
