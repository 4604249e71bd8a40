//! What the tokens of a role or user are like: the `token_…` fields, the same in both methods.

use serde::{Deserialize, Serialize};
use zone_access::{LeaseTimes, LoginGrant, Mount, Permit, TokenChoice, TokenKind, login_policies};
use zone_types::Cidr;

use crate::AuthError;

/// Largest record of a role or user: what a login stores must fit into a token.
pub(crate) const LARGEST: usize = 8 * 1024;

/// As a role or user holds it. Spans in seconds; zero means not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenParams {
    /// Policies, in their one spelling, sorted.
    pub policies: Vec<String>,
    /// Time to live.
    pub ttl: u64,
    /// No renewal goes beyond it.
    pub max_ttl: u64,
    /// Nor beyond this, also of periodic tokens.
    pub explicit_max_ttl: u64,
    /// Makes them periodic.
    pub period: u64,
    /// Uses; zero for unlimited.
    pub num_uses: u64,
    /// From where they are got and used; empty for everywhere.
    pub bound_cidrs: Vec<Cidr>,
    /// Leaves out `default`.
    pub no_default_policy: bool,
    /// `None`: as the mount says.
    pub token_type: Option<TokenChoice>,
}

/// What to change; `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// See [`TokenParams::policies`]; in any spelling.
    pub policies: Option<Vec<String>>,
    /// See [`TokenParams::ttl`].
    pub ttl: Option<u64>,
    /// See [`TokenParams::max_ttl`].
    pub max_ttl: Option<u64>,
    /// See [`TokenParams::explicit_max_ttl`].
    pub explicit_max_ttl: Option<u64>,
    /// See [`TokenParams::period`].
    pub period: Option<u64>,
    /// See [`TokenParams::num_uses`].
    pub num_uses: Option<u64>,
    /// See [`TokenParams::bound_cidrs`].
    pub bound_cidrs: Option<Vec<Cidr>>,
    /// See [`TokenParams::no_default_policy`].
    pub no_default_policy: Option<bool>,
    /// See [`TokenParams::token_type`].
    pub token_type: Option<Option<TokenChoice>>,
}

impl TokenParams {
    /// Applies `change`; the policies that came to those that were there.
    pub(crate) fn apply(
        &mut self,
        change: &TokenChange,
        times: LeaseTimes,
    ) -> Result<Vec<String>, AuthError> {
        let mut added = Vec::new();
        if let Some(names) = &change.policies {
            let policies = login_policies(names)?;
            let new = policies.iter().filter(|name| !self.policies.contains(name));
            added = new.cloned().collect();
            self.policies = policies;
        }
        self.ttl = change.ttl.unwrap_or(self.ttl);
        self.max_ttl = change.max_ttl.unwrap_or(self.max_ttl);
        self.explicit_max_ttl = change.explicit_max_ttl.unwrap_or(self.explicit_max_ttl);
        self.period = change.period.unwrap_or(self.period);
        self.num_uses = change.num_uses.unwrap_or(self.num_uses);
        self.no_default_policy = change.no_default_policy.unwrap_or(self.no_default_policy);
        self.token_type = change.token_type.unwrap_or(self.token_type);
        if let Some(cidrs) = &change.bound_cidrs {
            self.bound_cidrs.clone_from(cidrs);
        }
        self.check(times)?;
        Ok(added)
    }

    fn check(&self, times: LeaseTimes) -> Result<(), AuthError> {
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return Err(AuthError::invalid(
                "'token_ttl' cannot be greater than 'token_max_ttl'",
            ));
        }
        if self.period > times.max {
            return Err(AuthError::invalid(
                "'token_period' cannot be greater than the mount's maximum lease time",
            ));
        }
        let batch = [TokenChoice::Batch, TokenChoice::DefaultBatch];
        if self
            .token_type
            .is_some_and(|choice| batch.contains(&choice))
        {
            if self.period > 0 {
                return Err(AuthError::invalid(
                    "'token_type' cannot be 'batch' or 'default-batch' when set to generate \
                     periodic tokens",
                ));
            }
            if self.num_uses > 0 {
                return Err(AuthError::invalid(
                    "'token_type' cannot be 'batch' or 'default-batch' when set to generate \
                     tokens with limited use count",
                ));
            }
        }
        Ok(())
    }

    /// What a login gives, but for who it is.
    pub(crate) fn grant(&self, permit: &Permit) -> LoginGrant {
        LoginGrant {
            policies: self.policies.clone(),
            no_default_policy: self.no_default_policy,
            ttl: self.ttl,
            max_ttl: self.max_ttl,
            period: self.period,
            explicit_max_ttl: self.explicit_max_ttl,
            num_uses: self.num_uses,
            bound_cidrs: self.bound_cidrs.clone(),
            kind: self.kind(permit.mount()),
            ..LoginGrant::default()
        }
    }

    /// The mount decides if it leaves no choice, else the role, else the mount's default. A batch
    /// token can be neither counted nor periodic nor renewed, so a role that asks for one of these
    /// gets a service token where the mount only prefers the other.
    fn kind(&self, mount: &Mount) -> TokenKind {
        let of_mount = mount
            .config
            .token_type
            .unwrap_or(TokenChoice::DefaultService);
        let counted = self.num_uses > 0 || self.period > 0 || self.explicit_max_ttl > 0;
        let wanted = match of_mount {
            TokenChoice::Service | TokenChoice::Batch => of_mount,
            TokenChoice::DefaultBatch if self.token_type.is_none() && counted => {
                TokenChoice::Service
            }
            TokenChoice::DefaultService | TokenChoice::DefaultBatch => {
                self.token_type.unwrap_or(of_mount)
            }
        };
        match wanted {
            TokenChoice::Service | TokenChoice::DefaultService => TokenKind::Service,
            TokenChoice::Batch | TokenChoice::DefaultBatch => TokenKind::Batch,
        }
    }
}

/// The mount's name below `auth/`, as display names begin: `team-apps` for `auth/team/apps/`.
pub(crate) fn shown(mount: &Mount) -> String {
    let path = mount.path.as_str();
    let below = path.strip_prefix("auth/").unwrap_or(path);
    below.trim_end_matches('/').replace('/', "-")
}
