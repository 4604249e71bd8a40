//! Tokens: what is stored, how one is found, whether it still counts.
//!
//! A service token is `hvs.` and 24 random base62 digits (142 bits). The store sees only its HMAC (B1);
//! nothing that is stored can be turned back into it.
//!
//! A token counts while its own record is there, its time has not passed, and all its ancestors
//! count. So deleting a parent's record ends the whole tree at once (S1), whatever the number of
//! its descendants; [`tree`] removes their records afterwards. A record and a work record of
//! [`tree`] never stand for the same token at the same time. Of a batch token (`hvb.`) nothing is
//! stored: [`batch`].

mod batch;
mod bound;
mod cache;
mod create;
mod cutoff;
mod grant;
mod life;
mod login;
mod method;
mod role;
mod spans;
pub(crate) mod tree;
mod wrap;

pub(crate) use bound::bound_to;
pub use create::{CreateToken, Created};
pub use cutoff::{CutMark, CutOff};
pub(crate) use life::TRIES;
pub use login::{AliasName, LoginGrant};
pub use role::{RoleChange, RoleKind, TokenRole, role_name};
pub use wrap::{Wrapped, WrappedAnswer, WrappedAt};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};
use zone_barrier::{Barrier, BarrierError, Batch};
use zone_policy::Acl;
use zone_ports::store::Revision;
use zone_ports::{Key, Random, random};
use zone_types::{EntityId, MountId, NamespaceId, Timestamp};

use crate::mount::Mount;
use crate::record::{V1, decode};
use crate::token::tree::Children;
use crate::{Access, AccessError, OpenState};

const SALT: &str = "core/access/token-salt";
/// Tokens and accessors longer than this are nobody's.
pub(crate) const LONGEST: usize = 256;
/// Most tokens in a line of descent.
const DEEPEST: usize = 32;
/// Locks that keep the uses of one token apart.
const TURNS: usize = 64;

/// Which token: the HMAC-SHA256 of its text under the zone's token salt, in hex.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 64]);

impl TokenId {
    /// From 64 lower-case hex digits.
    pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
        let digits: [u8; 64] = digits.try_into().ok()?;
        let lower_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(lower_hex).then_some(Self(digits))
    }

    /// The last part of a key.
    pub(crate) fn of_key(key: &Key) -> Option<Self> {
        let last = key.as_bytes().rsplit(|byte| *byte == b'/').next()?;
        Self::from_hex(last)
    }

    fn from_code(code: [u8; 32]) -> Self {
        let mut digits = [0; 64];
        hex::encode_to_slice(code, &mut digits).expect("two digits for each byte");
        Self(digits)
    }

    /// The hex digits, as they stand in storage keys.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits")
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {}…", self.as_str().get(..8).unwrap_or(""))
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(text.as_bytes()).ok_or_else(|| D::Error::custom("not a token's id"))
    }
}

/// What is stored of a token. Instants in UTC, spans in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    v: V1,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// The handle by which others manage it without holding it.
    pub accessor: String,
    /// Its policies: normalised, sorted, no duplicates.
    pub policies: Vec<String>,
    /// The endpoint that made it.
    pub path: String,
    /// Free metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// Shown in audit lines.
    pub display_name: String,
    /// Uses left; zero means unlimited.
    pub num_uses: u64,
    /// When it was made.
    pub creation_time: Timestamp,
    /// The time to live that it was made with; zero means that it does not expire.
    pub creation_ttl: u64,
    /// No renewal goes beyond this span from the creation; zero means the mount's maximum.
    pub explicit_max_ttl: u64,
    /// A periodic token is renewed by this span each time, without a maximum.
    pub period: u64,
    /// When it ends; `None` for never.
    pub expire_time: Option<Timestamp>,
    /// When it was last renewed.
    pub last_renewal: Option<Timestamp>,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// The token whose end ends this one.
    pub parent: Option<TokenId>,
    /// Addresses from which it can be used; empty for all.
    pub bound_cidrs: Vec<String>,
    /// No renewal goes beyond this span from the creation, on top of the mount's maximum; zero for
    /// none of its own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_ttl: u64,
    /// The entity behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityId>,
    /// The role that it was made by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The auth method that it was made by; `None` for `auth/token/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_mount: Option<MountId>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a token is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A record in the store: can be renewed, revoked, counted, and have children.
    #[default]
    Service,
    /// All is in the token itself; nothing is stored.
    Batch,
}

impl TokenKind {
    /// Vault's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

impl TokenRecord {
    /// Whether it has no parent.
    pub fn orphan(&self) -> bool {
        self.parent.is_none()
    }

    /// Whether it carries the root policy.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    /// Seconds left at `now`; zero if it does not expire.
    pub fn ttl(&self, now: Timestamp) -> u64 {
        self.expire_time.map_or(0, |end| end.since(now).as_secs())
    }

    fn expired(&self, now: Timestamp) -> bool {
        self.expire_time.is_some_and(|end| end <= now)
    }
}

/// A token that was found to count.
pub struct TokenEntry {
    /// Which.
    pub id: TokenId,
    /// What is stored of it, or what a batch token says of itself.
    pub record: TokenRecord,
    /// How it is kept.
    pub kind: TokenKind,
    /// Of a batch token: which token of its parent's id that is.
    parent_accessor: Option<String>,
    /// The group that wrote the record.
    pub(crate) revision: Revision,
    /// What it weighs in the cache.
    weight: u64,
    /// Its compiled policies.
    pub(crate) compiled: Mutex<Option<Compiled>>,
}

/// What a token may do, and what that was compiled from.
#[derive(Clone)]
pub(crate) struct Compiled {
    /// The generations of policies and identity.
    pub(crate) of: (u64, u64),
    pub(crate) acl: Arc<Acl>,
}

impl TokenEntry {
    fn new(id: TokenId, record: TokenRecord, revision: Revision) -> Self {
        let compiled = Mutex::new(None);
        Self {
            id,
            weight: cache::weight_of(&record),
            record,
            kind: TokenKind::Service,
            parent_accessor: None,
            revision,
            compiled,
        }
    }
}

impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.id, self.record.display_name)
    }
}

/// The token mount, its HMAC key, and the tokens that were used lately.
pub(crate) struct TokenStore {
    /// For its keys. It may have been tuned since.
    mount: Arc<Mount>,
    hmac: zone_crypto::hmac::Key,
    batch: batch::BatchKey,
    cache: cache::TokenCache,
    /// Marks of [`cutoff`] that were asked for lately.
    marks: Cache<TokenId, Option<Timestamp>>,
    /// By a part of the id: who counts a use of a token with limited uses.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaltRecord {
    v: V1,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessorRecord {
    v: V1,
    token: TokenId,
}

/// Draws the salt of a new zone, unless it has one.
pub(crate) async fn bootstrap(barrier: &Barrier, random: &dyn Random) -> Result<(), AccessError> {
    let key = Key::new(SALT)?;
    if barrier.get(&key).await?.is_some() {
        return Ok(());
    }
    let salt = Zeroizing::new(random::bytes::<32>(random));
    let mut record = SaltRecord {
        v: V1,
        salt: hex::encode(*salt),
    };
    let value = serde_json::to_vec(&record)?;
    record.salt.zeroize();
    barrier.commit(Batch::new().put(key, value)).await?;
    Ok(())
}

impl TokenStore {
    pub(crate) async fn load(barrier: &Barrier, mount: Arc<Mount>) -> Result<Self, AccessError> {
        let plain = barrier
            .get(&Key::new(SALT)?)
            .await?
            .ok_or(AccessError::Corrupt)?;
        let digits = Zeroizing::new(decode::<SaltRecord>(&plain)?.salt);
        let salt = Zeroizing::new(hex::decode(&*digits).map_err(|_| AccessError::Corrupt)?);
        Ok(Self {
            mount,
            hmac: zone_crypto::hmac::Key::new(&salt),
            batch: batch::BatchKey::new(&salt),
            cache: cache::empty(),
            marks: Cache::new(4096),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
        })
    }

    /// For its keys.
    pub(crate) fn mount(&self) -> &Mount {
        &self.mount
    }

    pub(crate) fn id_of(&self, token: &str) -> TokenId {
        self.tagged(b"token\0", token)
    }

    /// A name that may be long, as it stands in storage keys. The first part says what it is.
    pub(crate) fn code_of(&self, parts: &[&[u8]]) -> String {
        let mut tagged: Vec<&[u8]> = vec![b"name\0"];
        tagged.extend(parts);
        hex::encode(self.hmac.sign_parts(&tagged))
    }

    fn accessor_id(&self, accessor: &str) -> TokenId {
        self.tagged(b"accessor\0", accessor)
    }

    fn tagged(&self, tag: &[u8], text: &str) -> TokenId {
        TokenId::from_code(self.hmac.sign_parts(&[tag, text.as_bytes()]))
    }

    pub(crate) fn key(&self, id: &TokenId) -> Result<Key, AccessError> {
        Ok(self.mount.key("token", id.as_str())?)
    }

    fn accessor_key(&self, accessor: &str) -> Result<Key, AccessError> {
        Ok(self
            .mount
            .key("accessor", self.accessor_id(accessor).as_str())?)
    }

    fn child_key(&self, parent: &TokenId, child: &TokenId) -> Result<Key, AccessError> {
        Ok(self
            .mount
            .key("child", format!("{}/{}", parent.as_str(), child.as_str()))?)
    }

    pub(crate) fn drop_cached(&self, ids: &[TokenId]) {
        for id in ids {
            self.cache.remove(id);
        }
    }

    /// Held by whoever must be alone with one token.
    pub(crate) fn turn(&self, id: &TokenId) -> &tokio::sync::Mutex<()> {
        &self.turns[(usize::from(id.0[0]) * 16 + usize::from(id.0[1])) % TURNS]
    }
}

impl Access {
    /// The token of that text, if it counts now.
    pub async fn token(&self, text: &str) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        let state = self.state()?;
        self.find(&state, text, self.instant()).await
    }

    /// The token of that text, of either kind, if it counts at `now`.
    pub(crate) async fn find(
        &self,
        state: &OpenState,
        text: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if text.starts_with(batch::PREFIX) {
            return self.batch_token(state, text, now).await;
        }
        if text.is_empty() || text.len() > LONGEST {
            return Ok(None);
        }
        self.live(state, &state.tokens.id_of(text), now).await
    }

    /// The token that `accessor` stands for, if it counts now.
    pub async fn token_by_accessor(
        &self,
        accessor: &str,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if accessor.is_empty() || accessor.len() > LONGEST {
            return Ok(None);
        }
        let state = self.state()?;
        let Some(plain) = self
            .barrier
            .get(&state.tokens.accessor_key(accessor)?)
            .await?
        else {
            return Ok(None);
        };
        let record: AccessorRecord = decode(&plain)?;
        self.live(&state, &record.token, self.instant()).await
    }

    /// The token `id`, if it and all its ancestors count at `now`.
    pub(crate) async fn live(
        &self,
        state: &OpenState,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        let mut token = None;
        let lives = self.walk(state, id, now, |entry| {
            token.get_or_insert(entry);
        });
        Ok(if lives.await? { token } else { None })
    }

    /// Shows the token `id` and its ancestors to `seen`, the youngest first. Whether all of them
    /// count at `now`.
    async fn walk(
        &self,
        state: &OpenState,
        id: &TokenId,
        now: Timestamp,
        mut seen: impl FnMut(Arc<TokenEntry>),
    ) -> Result<bool, AccessError> {
        let Some(mut at) = self.stored_token(state, id).await? else {
            return Ok(false);
        };
        for _ in 0..DEEPEST {
            if at.record.expired(now) || !state.token_stands(&at.record) {
                return Ok(false);
            }
            let Some(parent) = &at.record.parent else {
                seen(at);
                return Ok(true);
            };
            if let Some(next) = self.stored_token(state, parent).await? {
                seen(at);
                at = next;
                continue;
            }
            match self.children_of_ended(parent).await? {
                Some(Children::Released) => {
                    seen(at);
                    return Ok(true);
                }
                Some(Children::End) => return Ok(false),
                None => {}
            }
            // The sweep may have made it an orphan since it was read.
            match self.read_token(state, &at.id).await? {
                Some(fresh) if fresh.revision != at.revision => at = Arc::new(fresh),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    pub(super) async fn stored_token(
        &self,
        state: &OpenState,
        id: &TokenId,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if let Some(entry) = state.tokens.cache.get(id) {
            return Ok(Some(entry));
        }
        // The guard makes a change that happens between our read and our insert win: the writer
        // removes the placeholder, and the insert then finds nothing to fill.
        let guard = match state.tokens.cache.get_value_or_guard_async(id).await {
            Ok(entry) => return Ok(Some(entry)),
            Err(guard) => guard,
        };
        let Some(entry) = self.read_token(state, id).await? else {
            return Ok(None);
        };
        let entry = Arc::new(entry);
        let _ = guard.insert(entry.clone());
        Ok(Some(entry))
    }

    /// The token as the store has it, past the cache.
    pub(crate) async fn read_token(
        &self,
        state: &OpenState,
        id: &TokenId,
    ) -> Result<Option<TokenEntry>, AccessError> {
        let Some(plain) = self.barrier.get(&state.tokens.key(id)?).await? else {
            return Ok(None);
        };
        let record: TokenRecord = decode(&plain)?;
        Ok(Some(TokenEntry::new(id.clone(), record, plain.revision)))
    }

    /// Commits a change of `tokens`, and forgets what the cache has of them.
    async fn change_tokens(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
        tokens: Vec<TokenId>,
    ) -> Result<Revision, BarrierError> {
        let then = move |state: &OpenState, _| state.tokens.drop_cached(&tokens);
        self.change(state, batch, then).await
    }
}
