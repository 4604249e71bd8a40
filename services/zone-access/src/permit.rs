//! Permission as a value (A2).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zone_policy::{Acl, Operation};
use zone_types::{NamespaceId, RequestPath, Timestamp};

use crate::mount::{LeaseTimes, Mount};
use crate::token::TokenEntry;

/// Proof that a policy (or the list of open endpoints) allowed one operation on one path at one
/// instant.
///
/// Only `zone-access` makes one. It is not `Clone`: one request, one permit.
pub struct Permit {
    pub(crate) mount: Arc<Mount>,
    pub(crate) times: LeaseTimes,
    pub(crate) path: RequestPath,
    pub(crate) operation: Operation,
    pub(crate) now: Timestamp,
    pub(crate) token: Option<Arc<TokenEntry>>,
    pub(crate) acl: Option<Arc<Acl>>,
    pub(crate) sudo: bool,
    pub(crate) rule: Option<Arc<str>>,
    pub(crate) wrap_ttl: Option<Duration>,
}

impl Permit {
    /// The namespace of the request.
    pub fn namespace(&self) -> &NamespaceId {
        &self.mount.namespace
    }

    /// The mount that serves the request.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// How long leases of the mount live.
    pub fn lease_times(&self) -> LeaseTimes {
        self.times
    }

    /// The whole path below `/v1/`, as the policy judged it.
    pub fn path(&self) -> &RequestPath {
        &self.path
    }

    /// The path below the mount: `data/app` of `secret/data/app`.
    pub fn rest(&self) -> &str {
        self.path
            .as_str()
            .get(self.mount.path.as_str().len()..)
            .unwrap_or("")
    }

    /// What was allowed.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The instant of the decision; the service's idea of now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The caller's token; `None` on an open endpoint.
    pub fn token(&self) -> Option<&Arc<TokenEntry>> {
        self.token.as_ref()
    }

    /// Whether the policies give sudo on this path.
    pub fn sudo(&self) -> bool {
        self.sudo
    }

    /// The policy line that decided, for the audit trail.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// How long the wrapped answer is kept, as the policies judged it; `None`: it is not wrapped.
    pub fn wrap_ttl(&self) -> Option<Duration> {
        self.wrap_ttl
    }

    /// The caller's policies; `None` on an open endpoint without a token.
    pub fn acl(&self) -> Option<&Acl> {
        self.acl.as_deref()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permit to {} {}", self.operation.as_str(), self.path)
    }
}
