//! What bounds the renewal of a token that somebody got by logging in: not what its role said
//! then, but what the role says now. The roles belong to the auth methods above, so this is a
//! port.

use std::sync::Arc;

use async_trait::async_trait;

use crate::mount::Mount;
use crate::token::TokenRecord;
use crate::{Access, AccessError};

/// What a role says now. Spans in seconds; zero means not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenewalTerms {
    /// Time to live, unless the caller asks for another.
    pub ttl: u64,
    /// No renewal goes beyond it.
    pub max_ttl: u64,
    /// By what a periodic token is renewed each time.
    pub period: u64,
}

/// The roles of all auth methods.
#[async_trait]
pub trait Renewals: Send + Sync {
    /// The terms of `token`, which was made by the method at `mount`.
    ///
    /// # Errors
    ///
    /// [`AccessError::Invalid`] if the role is gone, or gives something else now.
    async fn terms(&self, mount: &Mount, token: &TokenRecord) -> Result<RenewalTerms, AccessError>;
}

impl Access {
    /// Has `renewals` judge renewals from now on. Once, when the head is put together; until then
    /// the terms of the login hold on.
    pub fn judge_renewals(&self, renewals: Arc<dyn Renewals>) {
        let set = self.renewals.set(renewals);
        debug_assert!(set.is_ok(), "set once");
    }

    /// `None`: the token was not made by an auth method, or nobody judges.
    pub(crate) async fn renewal_terms(
        &self,
        token: &TokenRecord,
    ) -> Result<Option<RenewalTerms>, AccessError> {
        let (Some(id), Some(renewals)) = (&token.auth_mount, self.renewals.get()) else {
            return Ok(None);
        };
        let mount = self.state()?.mounts.by_id(id);
        let mount = mount.ok_or(AccessError::Missing("token not found"))?;
        renewals.terms(&mount, token).await.map(Some)
    }
}
