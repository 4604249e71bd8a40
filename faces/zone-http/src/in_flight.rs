//! The requests that are being served at this moment.
//!
//! In shards, so that requests do not wait for one another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zone_access::TokenEntry;
use zone_types::{RequestId, Timestamp};

/// Shards; a request's is chosen by its random id.
const SHARDS: usize = 32;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// When it came.
    pub(crate) since: Timestamp,
    /// The client's address.
    pub(crate) client: SocketAddr,
    /// `GET`.
    pub(crate) method: String,
    /// Below `/v1/`.
    pub(crate) path: String,
    /// Whose it is, once that is known.
    pub(crate) token: Option<Arc<TokenEntry>>,
}

impl Request {
    /// What Vault counts as one client: an entity, or all tokens without one that have the same
    /// policies. Empty for strangers.
    pub(crate) fn client_id(&self) -> String {
        let Some(token) = &self.token else {
            return String::new();
        };
        let token = &token.record;
        if let Some(entity) = &token.entity {
            return entity.as_str().to_owned();
        }
        let mut policies = token.policies.clone();
        policies.sort();
        let text = format!("{}\0{}", policies.join("\x7f"), token.namespace);
        STANDARD.encode(zone_crypto::sha256(text.as_bytes()))
    }
}

/// All requests that are being served.
#[derive(Debug)]
pub struct InFlight {
    shards: [Mutex<HashMap<String, Request>>; SHARDS],
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl InFlight {
    /// Notes a request until the mark is dropped.
    pub(crate) fn begin(&self, id: &RequestId, request: Request) -> Mark<'_> {
        let id = id.to_string();
        let shard = self.shard(&id);
        locked(shard).insert(id.clone(), request);
        Mark { shard, id }
    }

    /// The token of a request was found.
    pub(crate) fn identify(&self, id: &RequestId, token: &Arc<TokenEntry>) {
        let id = id.to_string();
        if let Some(request) = locked(self.shard(&id)).get_mut(&id) {
            request.token = Some(token.clone());
        }
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<(String, Request)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = locked(shard);
            all.extend(
                shard
                    .iter()
                    .map(|(id, request)| (id.clone(), request.clone())),
            );
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn shard(&self, id: &str) -> &Mutex<HashMap<String, Request>> {
        let sum: usize = id.bytes().map(usize::from).sum();
        &self.shards[sum % SHARDS]
    }
}

fn locked(
    shard: &Mutex<HashMap<String, Request>>,
) -> std::sync::MutexGuard<'_, HashMap<String, Request>> {
    // A map is whole after each of the two things that are done with it.
    shard
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A request is under way while this is there.
pub(crate) struct Mark<'a> {
    shard: &'a Mutex<HashMap<String, Request>>,
    id: String,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        locked(self.shard).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_there_while_they_are_served() {
        let all = InFlight::default();
        let request = Request {
            since: Timestamp::EPOCH,
            client: "10.0.0.1:1".parse().unwrap(),
            method: "GET".into(),
            path: "sys/mounts".into(),
            token: None,
        };
        let marks: Vec<_> = (0..100_u8)
            .map(|at| all.begin(&RequestId::from_random([at; 16]), request.clone()))
            .collect();
        assert_eq!(all.all().len(), 100);
        drop(marks);
        assert!(all.all().is_empty());
    }
}
