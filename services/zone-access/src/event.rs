//! Events as they are stored and told, and who may hear them.
//!
//! What must hold: an event names paths and facts, never a value; whoever hears it could have read
//! what it is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;
use zone_barrier::commit::Watch;
use zone_policy::{Acl, Operation};
use zone_ports::{Random, random};
use zone_types::{RequestId, RequestPath, Timestamp};

use crate::mount::{Mount, MountKind};
use crate::permit::Permit;
use crate::record::V1;
use crate::token::TokenEntry;
use crate::{Access, AccessError};

/// One event (docs/formats/events.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    v: V1,
    /// Its id: a UUID.
    pub id: String,
    /// When the change was permitted.
    pub time: Timestamp,
    /// What happened, in Vault's words: `kv-v2/data-write`.
    pub kind: String,
    /// What it is about: whoever may read there may hear of it.
    pub path: String,
    /// The mount: `secret/`.
    pub mount_path: String,
    /// Its accessor.
    pub mount_accessor: String,
    /// Its class: `secret`, `auth`.
    pub mount_class: String,
    /// Its engine: `kv`.
    pub plugin: String,
    /// Facts beside, as Vault names them.
    pub metadata: BTreeMap<String, String>,
}

impl Event {
    /// What `permit` let happen to `path`. Vault's facts `path` and `operation` are filled in.
    pub fn about(permit: &Permit, random: &dyn Random, kind: &str, path: &str) -> Self {
        let mount = permit.mount();
        let class = match mount.path.as_str().starts_with("auth/") {
            true => "auth",
            false => "secret",
        };
        let operation = kind
            .rsplit_once('/')
            .map_or(kind, |(_, operation)| operation);
        Self {
            v: V1,
            id: RequestId::from_random(random::bytes(random)).to_string(),
            time: permit.now(),
            kind: kind.to_owned(),
            path: path.to_owned(),
            mount_path: mount.path.as_str().to_owned(),
            mount_accessor: mount.accessor.clone(),
            mount_class: class.to_owned(),
            plugin: mount.kind.as_str().to_owned(),
            metadata: [
                ("operation".to_owned(), operation.to_owned()),
                ("path".to_owned(), permit.path().as_str().to_owned()),
            ]
            .into(),
        }
    }

    /// With one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.metadata.insert(name.to_owned(), value.into());
        self
    }

    /// The record, for [`zone_barrier::Batch::announce`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, AccessError> {
        Ok(Zeroizing::new(serde_json::to_vec(self)?))
    }

    /// What was announced.
    pub fn decode(record: &[u8]) -> Result<Self, AccessError> {
        Ok(serde_json::from_slice(record)?)
    }

    /// Whether `acl` lets its holder hear this event: it allows to read what the event is about.
    pub fn is_for(&self, acl: &Acl) -> bool {
        let Ok(path) = RequestPath::from_text(&self.path) else {
            return false;
        };
        let ask = zone_policy::Ask {
            path: &path,
            operation: Operation::Read,
            parameters: None,
            wrap_ttl: None,
        };
        acl.check(&ask).allowed
    }
}

/// What a long answer keeps of its permit, to ask again whether it still stands.
#[derive(Clone)]
pub struct Standing {
    token: Arc<TokenEntry>,
    path: RequestPath,
    operation: Operation,
}

impl Permit {
    /// For an answer that goes on; `None` on an open endpoint.
    pub fn standing(&self) -> Option<Standing> {
        Some(Standing {
            token: self.token.clone()?,
            path: self.path.clone(),
            operation: self.operation,
        })
    }
}

impl Standing {
    /// The token.
    pub fn token(&self) -> &Arc<TokenEntry> {
        &self.token
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "standing at {}", self.path)
    }
}

impl Access {
    /// The caller's policies as they are now, if the token still counts and they still allow what
    /// was permitted; else `None`.
    pub async fn still(&self, standing: &Standing) -> Result<Option<Arc<Acl>>, AccessError> {
        let state = self.state()?;
        let now = self.instant();
        let Some(entry) = self.found_again(&state, &standing.token, now).await? else {
            return Ok(None);
        };
        let acl = self.acl_of(&state, &entry).await?;
        let ask = zone_policy::Ask {
            path: &standing.path,
            operation: standing.operation,
            parameters: None,
            wrap_ttl: None,
        };
        let allowed = acl.check(&ask).allowed;
        Ok(allowed.then_some(acl))
    }

    /// Tells of each change of any token, so that an answer that goes on ends with its token.
    pub fn token_changes(&self) -> Result<Watch, AccessError> {
        let mount: Arc<Mount> = self
            .state()?
            .mounts
            .built_in(MountKind::Token)
            .ok_or(AccessError::Corrupt)?;
        let prefix = format!("{}/{}/", mount.namespace, mount.id);
        Ok(self.barrier.watch(prefix.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of `docs/formats/events.md`: change it only with a new version.
    #[test]
    fn the_record_keeps_its_form() {
        let golden = include_str!("../tests/golden/event-1.json").trim();
        let event = Event::decode(golden.as_bytes()).unwrap();
        assert_eq!(event.kind, "kv-v2/data-write");
        assert_eq!(event.metadata["current_version"], "3");
        assert_eq!(**event.encode().unwrap(), *golden.as_bytes());
        for other in [
            golden.replace("\"v\":1", "\"v\":2"),
            golden.replace("\"plugin\"", "\"unknown\""),
            golden.replace("{\"v\":1", "{\"more\":1,\"v\":1"),
        ] {
            assert!(Event::decode(other.as_bytes()).is_err(), "{other}");
        }
    }
}
