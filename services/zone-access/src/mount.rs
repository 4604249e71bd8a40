//! Mounts: where an engine hangs. The id never changes, so a remount moves one record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zone_ports::Key;
use zone_ports::store::KeyFault;
use zone_types::{MountId, MountPath, NamespaceId};

/// KV mounts that became version 2 lately.
pub(crate) const UPGRADES: &str = "core/kv-upgrade/";

/// Which engine serves a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// KV (version 1 unless the option `version` is `2`).
    Kv,
    /// The certificate authority.
    Pki,
    /// `cubbyhole/`.
    Cubbyhole,
    /// `identity/`.
    Identity,
    /// `sys/`.
    System,
    /// `auth/token/`.
    Token,
    /// The auth method AppRole, below `auth/`.
    AppRole,
    /// The auth method userpass, below `auth/`.
    Userpass,
}

impl MountKind {
    /// Vault's name of the type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Pki => "pki",
            Self::Cubbyhole => "cubbyhole",
            Self::Identity => "identity",
            Self::System => "system",
            Self::Token => "token",
            Self::AppRole => "approle",
            Self::Userpass => "userpass",
        }
    }

    /// Whether it is an auth method: it hangs below `auth/` and makes tokens.
    pub const fn is_auth(self) -> bool {
        matches!(self, Self::Token | Self::AppRole | Self::Userpass)
    }
}

/// What can be tuned. TTLs in seconds; zero means the zone's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MountConfig {
    /// Default lease time in seconds.
    pub default_lease_ttl: u64,
    /// Longest lease time in seconds.
    pub max_lease_ttl: u64,
    /// Accepted and shown; there is no cache to bypass per mount.
    pub force_no_cache: bool,
    /// `unauth` shows the mount to callers without a token.
    pub listing_visibility: String,
    /// Request keys whose values stand in the clear in the audit trail.
    pub audit_non_hmac_request_keys: Vec<String>,
    /// Response keys whose values stand in the clear in the audit trail.
    pub audit_non_hmac_response_keys: Vec<String>,
    /// Of an auth method: what logins give. [`TokenChoice::DefaultService`] if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<TokenChoice>,
    /// Of a method with passwords: when wrong ones lock a user; the usual if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_lockout: Option<UserLockout>,
}

/// Which type of token a method gives, and whether its roles may say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenChoice {
    /// Service tokens where a role does not say otherwise.
    DefaultService,
    /// Batch tokens where a role does not say otherwise.
    DefaultBatch,
    /// Service tokens, whatever a role says.
    Service,
    /// Batch tokens, whatever a role says.
    Batch,
}

impl TokenChoice {
    /// Vault's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }

    /// From Vault's word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::DefaultService,
            Self::DefaultBatch,
            Self::Service,
            Self::Batch,
        ];
        all.into_iter().find(|choice| choice.as_str() == word)
    }
}

/// When wrong passwords lock a user. Spans in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserLockout {
    /// The wrong password that locks, counted from one.
    pub threshold: u64,
    /// How long the lock holds.
    pub duration: u64,
    /// After this long without a wrong one the count begins anew.
    pub counter_reset: u64,
    /// Nobody is locked.
    pub disabled: bool,
}

impl Default for UserLockout {
    /// As in Vault: five wrong ones, a quarter of an hour.
    fn default() -> Self {
        Self {
            threshold: 5,
            duration: 900,
            counter_reset: 900,
            disabled: false,
        }
    }
}

/// How long leases and tokens live, in seconds, where nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// At first.
    pub default: u64,
    /// At most.
    pub max: u64,
}

impl Default for LeaseTimes {
    /// Vault's.
    fn default() -> Self {
        Self {
            default: crate::DEFAULT_TTL_SECS,
            max: crate::MAX_TTL_SECS,
        }
    }
}

impl LeaseTimes {
    /// Those of a mount, in a zone that has these.
    #[must_use]
    pub fn of(self, mount: &Mount) -> Self {
        self.tuned(&mount.config)
    }

    fn tuned(self, config: &MountConfig) -> Self {
        let or = |own: u64, zone: u64| if own > 0 { own } else { zone };
        Self {
            default: or(config.default_lease_ttl, self.default),
            max: or(config.max_lease_ttl, self.max),
        }
    }

    /// What a mount may be tuned to.
    pub(crate) fn check(self, config: &MountConfig) -> Result<(), crate::AccessError> {
        match config.default_lease_ttl > self.tuned(config).max {
            true => Err(crate::AccessError::invalid(
                "default_lease_ttl must not exceed max_lease_ttl",
            )),
            false => Ok(()),
        }
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its id, for life; prefix of all its storage keys.
    pub id: MountId,
    /// Where it hangs, with `/` at the end: `secret/`, `auth/token/`.
    pub path: MountPath,
    /// Its engine.
    pub kind: MountKind,
    /// Shown as `accessor`: `kv_1a2b3c4d`.
    pub accessor: String,
    /// Shown as `uuid`.
    pub uuid: String,
    /// Free text.
    pub description: String,
    /// Engine options, for KV `version`.
    pub options: BTreeMap<String, String>,
    /// What can be tuned.
    pub config: MountConfig,
    /// Of a KV mount that became version 2: its secrets are still being moved, and nobody gets at
    /// them meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgrading: bool,
}

impl Mount {
    /// The version of a KV mount: 1 unless its options say 2, as in Vault.
    pub fn kv_version(&self) -> u8 {
        match self.options.get("version").map(String::as_str) {
            Some("2") => 2,
            _ => 1,
        }
    }

    /// There from the moment at which a KV mount becomes version 2 until no request that began
    /// before can still be under way. Each write of version 1 demands that it is absent.
    pub fn upgrade_key(&self) -> Result<Key, KeyFault> {
        Key::new(format!("{UPGRADES}{}/{}", self.namespace, self.id))
    }

    /// The storage key `ns-id/mount-id/kind/rest`.
    pub fn key(&self, kind: &str, rest: impl AsRef<[u8]>) -> Result<Key, KeyFault> {
        let mut bytes = self.prefix(kind);
        bytes.extend_from_slice(rest.as_ref());
        Key::new(bytes)
    }

    /// The prefix `ns-id/mount-id/kind/` of every key of one kind.
    pub fn prefix(&self, kind: &str) -> Vec<u8> {
        format!("{}/{}/{kind}/", self.namespace, self.id).into_bytes()
    }
}
