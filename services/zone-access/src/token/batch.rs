//! Batch tokens: all that is known of one stands in its text, sealed; nothing is stored.
//!
//! The text is `hvb.` and base64url of `version | fresh 16 | nonce 12 | AES-256-GCM | tag`. Each
//! is sealed with a key of its own, derived by HKDF-SHA256 from the zone's token salt and the
//! fresh bytes, so no count of tokens wears a key out. Version and namespace are bound; another
//! zone has another salt.
//!
//! A batch token cannot be renewed, counted, revoked, or have children or a cubbyhole. It ends
//! with its time, with its parent if it has one, with the auth method that made it, and where a
//! mark of [`super::cutoff`] cuts it off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;
use zone_crypto::{aead, hkdf};
use zone_ports::store::Revision;
use zone_ports::{Random, random};
use zone_types::{EntityId, MountId, NamespaceId, Secret, Timestamp};

use super::create::CreateToken;
use super::{Created, TokenEntry, TokenId, TokenKind, TokenRecord};
use crate::record::V1;
use crate::{Access, AccessError, OpenState};

/// What the text of each begins with.
pub(crate) const PREFIX: &str = "hvb.";
const VERSION: u8 = 1;
const FRESH: usize = 16;
const HEAD: usize = 1 + FRESH + aead::NONCE_LEN;
/// Most bytes of claims: a token has to fit into a header field.
const LARGEST: usize = 4 * 1024;
/// Longest text: of the largest claims.
const LONGEST: usize = PREFIX.len() + (HEAD + LARGEST + aead::TAG_LEN).div_ceil(3) * 4;

/// What a batch token says of itself.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    v: V1,
    policies: Vec<String>,
    path: String,
    name: String,
    /// Nanoseconds since 1970.
    made: i64,
    ttl: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<TokenId>,
    /// The parent's accessor, which no later token of the same id has. Heads before it came made
    /// tokens without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent_accessor: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cidrs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity: Option<EntityId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount: Option<MountId>,
}

impl Claims {
    fn of(record: &TokenRecord, parent: Option<&TokenEntry>) -> Self {
        Self {
            v: V1,
            policies: record.policies.clone(),
            path: record.path.clone(),
            name: record.display_name.clone(),
            made: record.creation_time.nanos(),
            ttl: record.creation_ttl,
            meta: record.meta.clone(),
            parent: record.parent.clone(),
            parent_accessor: parent.map(|parent| parent.record.accessor.clone()),
            cidrs: record.bound_cidrs.clone(),
            entity: record.entity.clone(),
            role: record.role.clone(),
            mount: record.auth_mount.clone(),
        }
    }

    fn into_entry(self, id: TokenId, namespace: NamespaceId) -> Arc<TokenEntry> {
        let made = Timestamp::from_nanos(self.made);
        let record = TokenRecord {
            v: V1,
            namespace,
            accessor: String::new(),
            policies: self.policies,
            path: self.path,
            meta: self.meta,
            display_name: self.name,
            num_uses: 0,
            creation_time: made,
            creation_ttl: self.ttl,
            explicit_max_ttl: 0,
            period: 0,
            expire_time: Some(made.plus(Duration::from_secs(self.ttl))),
            last_renewal: None,
            renewable: false,
            parent: self.parent,
            bound_cidrs: self.cidrs,
            max_ttl: 0,
            entity: self.entity,
            role: self.role,
            auth_mount: self.mount,
        };
        Arc::new(TokenEntry {
            kind: TokenKind::Batch,
            parent_accessor: self.parent_accessor,
            ..TokenEntry::new(id, record, Revision(0))
        })
    }
}

/// What seals batch tokens.
pub(super) struct BatchKey(Secret<[u8; 32]>);

impl BatchKey {
    pub(super) fn new(salt: &[u8]) -> Self {
        Self(hkdf::derive(salt, b"", &[b"zonehead batch tokens"]))
    }

    fn key(&self, fresh: &[u8]) -> aead::Key {
        let key = hkdf::derive(self.0.expose(), fresh, &[b"zonehead batch token"]);
        aead::Key::new(key.expose())
    }

    fn seal(
        &self,
        namespace: &NamespaceId,
        claims: &Claims,
        random: &dyn Random,
    ) -> Result<Secret<String>, AccessError> {
        let mut plain = Zeroizing::new(serde_json::to_vec(claims)?);
        if plain.len() > LARGEST {
            return Err(AccessError::invalid(
                "policies, metadata, display name and addresses of a batch token have at most 4 KiB",
            ));
        }
        let fresh: [u8; FRESH] = random::bytes(random);
        let nonce: [u8; aead::NONCE_LEN] = random::bytes(random);
        let tag = self.key(&fresh).seal(&nonce, &bound(namespace), &mut plain);
        let sealed = [&[VERSION][..], &fresh, &nonce, &plain, &tag].concat();
        Ok(Secret::new(format!("{PREFIX}{}", BASE64.encode(sealed))))
    }

    fn open(&self, namespace: &NamespaceId, text: &str) -> Option<Claims> {
        let sealed = BASE64.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (head, sealed) = sealed.split_at_checked(HEAD)?;
        let (version, head) = head.split_first()?;
        let (fresh, nonce) = head.split_at_checked(FRESH)?;
        if *version != VERSION {
            return None;
        }
        let key = self.key(fresh);
        let plain = key.open_copy(nonce.try_into().ok()?, &bound(namespace), sealed);
        serde_json::from_slice(&plain.ok()?).ok()
    }
}

/// What a sealed text is bound to beside its key.
fn bound(namespace: &NamespaceId) -> Vec<u8> {
    format!("zonehead batch token {VERSION}\0{namespace}").into_bytes()
}

/// Refuses what a batch token cannot be.
pub(super) fn refuse_unfit(ask: &CreateToken, policies: &[String]) -> Result<(), AccessError> {
    let unfit = [
        (ask.explicit_max_ttl > 0, "explicit_max_ttl"),
        (ask.num_uses > 0, "num_uses"),
        (ask.period > 0, "period"),
        (ask.id.is_some(), "id"),
    ];
    if let Some((_, field)) = unfit.iter().find(|(unfit, _)| *unfit) {
        return Err(AccessError::invalid(format!(
            "batch tokens cannot have \"{field}\" set"
        )));
    }
    match policies.iter().any(|policy| policy == "root") {
        true => Err(AccessError::invalid("batch tokens cannot be root tokens")),
        false => Ok(()),
    }
}

impl Access {
    /// The batch token of which `record` says all, but who its `parent` is.
    pub(super) fn sealed_token(
        &self,
        state: &OpenState,
        record: TokenRecord,
        parent: Option<&TokenEntry>,
    ) -> Result<Created, AccessError> {
        let claims = Claims::of(&record, parent);
        let key = &state.tokens.batch;
        let text = key.seal(&record.namespace, &claims, &*self.random)?;
        let id = state.tokens.id_of(text.expose());
        let entry = claims.into_entry(id, record.namespace);
        Ok(Created { text, entry })
    }

    /// The batch token of that text, if it counts at `now`.
    pub(super) async fn batch_token(
        &self,
        state: &OpenState,
        text: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if text.len() > LONGEST {
            return Ok(None);
        }
        let id = state.tokens.id_of(text);
        // What a text says never changes, so what is cached cannot lag behind.
        let entry = match state.tokens.cache.get(&id) {
            Some(entry) => entry,
            None => {
                let namespace = NamespaceId::root();
                let Some(claims) = state.tokens.batch.open(&namespace, text) else {
                    return Ok(None);
                };
                let entry = claims.into_entry(id.clone(), namespace);
                state.tokens.cache.insert(id, entry.clone());
                entry
            }
        };
        let counts = self.batch_counts(state, &entry, now).await?;
        Ok(counts.then_some(entry))
    }

    /// The token of `entry`, of either kind, if it still counts at `now`.
    pub(crate) async fn found_again(
        &self,
        state: &OpenState,
        entry: &Arc<TokenEntry>,
        now: Timestamp,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if entry.kind != TokenKind::Batch {
            return self.live(state, &entry.id, now).await;
        }
        let counts = self.batch_counts(state, entry, now).await?;
        Ok(counts.then(|| entry.clone()))
    }

    async fn batch_counts(
        &self,
        state: &OpenState,
        entry: &TokenEntry,
        now: Timestamp,
    ) -> Result<bool, AccessError> {
        let record = &entry.record;
        if record.expired(now) || !state.method_stands(record) {
            return Ok(false);
        }
        if self.is_cut_off(state, record).await? {
            return Ok(false);
        }
        let Some(parent) = &record.parent else {
            return Ok(true);
        };
        let parent = self.live(state, parent, now).await?;
        Ok(parent.is_some_and(|parent| is_parent(&parent.record, entry)))
    }
}

/// Whether `found`, which has the id of a batch token's parent, is that parent: a custom id can be
/// given to another token when the parent has ended.
fn is_parent(found: &TokenRecord, child: &TokenEntry) -> bool {
    match &child.parent_accessor {
        Some(accessor) => *accessor == found.accessor,
        None => found.creation_time <= child.record.creation_time,
    }
}
