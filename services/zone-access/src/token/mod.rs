//! Service tokens: what is stored, how one is found, whether it still counts.
//!
//! A token is `hvs.` and 24 random base62 digits (142 bits). The store sees only its HMAC (B1);
//! nothing that is stored can be turned back into it.
//!
//! A token counts while its own record is there, its time has not passed, and all its ancestors
//! count. So deleting a parent's record ends the whole tree at once (S1), whatever the number of
//! its descendants; [`tree`] removes their records afterwards.

mod create;
mod life;
pub(crate) mod tree;

pub use create::{CreateToken, Created};

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use zone_barrier::{Barrier, Batch};
use zone_policy::Acl;
use zone_ports::store::Revision;
use zone_ports::{Key, Random, random};
use zone_types::{NamespaceId, Timestamp};

use crate::mount::Mount;
use crate::{Access, AccessError, OpenState};

const SALT: &str = "core/access/token-salt";
/// Tokens and accessors longer than this are nobody's.
const LONGEST: usize = 256;
/// Deepest tree of tokens.
const DEEPEST: usize = 64;

/// Which token: the HMAC-SHA256 of its text under the zone's token salt, in hex.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(Arc<str>);

impl TokenId {
    pub(crate) fn from_hex(hex: &str) -> Self {
        Self(hex.into())
    }

    /// The hex digits, as they stand in storage keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {}…", self.0.get(..8).unwrap_or(""))
    }
}

/// What is stored of a token. Instants in UTC, spans in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRecord {
    v: u8,
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
    #[serde(default)]
    pub bound_cidrs: Vec<String>,
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
    /// What is stored of it.
    pub record: TokenRecord,
    /// The group that wrote the record.
    pub(crate) revision: Revision,
    /// Its compiled policies, with the policy generation that they were compiled from.
    pub(crate) compiled: Mutex<Option<(u64, Arc<Acl>)>>,
}

impl fmt::Debug for TokenEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.id, self.record.display_name)
    }
}

/// The token mount, its HMAC key, and the tokens that were used lately.
pub(crate) struct TokenStore {
    pub(crate) mount: Arc<Mount>,
    hmac: zone_crypto::hmac::Key,
    cache: Cache<TokenId, Arc<TokenEntry>>,
}

#[derive(Serialize, Deserialize)]
struct SaltRecord {
    v: u8,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct AccessorRecord {
    v: u8,
    token: TokenId,
}

/// Draws the salt of a new zone, unless it has one.
pub(crate) async fn bootstrap(barrier: &Barrier, random: &dyn Random) -> Result<(), AccessError> {
    let key = Key::new(SALT)?;
    if barrier.get(&key).await?.is_some() {
        return Ok(());
    }
    let record = SaltRecord {
        v: 1,
        salt: hex::encode(random::bytes::<32>(random)),
    };
    barrier
        .commit(Batch::new().put(key, serde_json::to_vec(&record)?))
        .await?;
    Ok(())
}

impl TokenStore {
    pub(crate) async fn load(barrier: &Barrier, mount: Arc<Mount>) -> Result<Self, AccessError> {
        let plain = barrier
            .get(&Key::new(SALT)?)
            .await?
            .ok_or(AccessError::Corrupt)?;
        let record: SaltRecord = serde_json::from_slice(&plain.value)?;
        let salt =
            zeroize::Zeroizing::new(hex::decode(&record.salt).map_err(|_| AccessError::Corrupt)?);
        Ok(Self {
            mount,
            hmac: zone_crypto::hmac::Key::new(&salt),
            cache: Cache::new(16_384),
        })
    }

    pub(crate) fn id_of(&self, token: &str) -> TokenId {
        self.tagged(b"token\0", token)
    }

    fn accessor_id(&self, accessor: &str) -> TokenId {
        self.tagged(b"accessor\0", accessor)
    }

    fn tagged(&self, tag: &[u8], text: &str) -> TokenId {
        let mut input = zeroize::Zeroizing::new(Vec::with_capacity(tag.len() + text.len()));
        input.extend_from_slice(tag);
        input.extend_from_slice(text.as_bytes());
        TokenId(hex::encode(self.hmac.sign(&input)).into())
    }

    fn key(&self, id: &TokenId) -> Result<Key, AccessError> {
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

    pub(crate) fn drop_cached(&self, id: &TokenId) {
        self.cache.remove(id);
    }
}

impl Access {
    /// The token of that text, if it counts now.
    pub async fn token(&self, text: &str) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        if text.is_empty() || text.len() > LONGEST {
            return Ok(None);
        }
        let state = self.state()?;
        let id = state.tokens.id_of(text);
        self.live(&state, &id, state.floor.now(&*self.clock)).await
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
        let record: AccessorRecord = serde_json::from_slice(&plain.value)?;
        self.live(&state, &record.token, state.floor.now(&*self.clock))
            .await
    }

    /// The token `id`, if it and all its ancestors count at `now`.
    pub(crate) async fn live(
        &self,
        state: &OpenState,
        id: &TokenId,
        now: Timestamp,
    ) -> Result<Option<Arc<TokenEntry>>, AccessError> {
        let Some(entry) = self.stored_token(state, id).await? else {
            return Ok(None);
        };
        let mut at = entry.clone();
        for _ in 0..DEEPEST {
            if at.record.expired(now) {
                return Ok(None);
            }
            let Some(parent) = at.record.parent.clone() else {
                return Ok(Some(entry));
            };
            match self.stored_token(state, &parent).await? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn stored_token(
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
        let record: TokenRecord = serde_json::from_slice(&plain.value)?;
        if record.v != 1 {
            return Err(AccessError::Corrupt);
        }
        Ok(Some(TokenEntry {
            id: id.clone(),
            record,
            revision: plain.revision,
            compiled: Mutex::new(None),
        }))
    }
}

/// Whether `address` lies in one of `cidrs` (all, if there are none).
pub(crate) fn bound_to(cidrs: &[String], address: Option<IpAddr>) -> bool {
    if cidrs.is_empty() {
        return true;
    }
    let Some(address) = address else { return false };
    cidrs
        .iter()
        .any(|cidr| parse_cidr(cidr).is_some_and(|(net, bits)| inside(net, bits, address)))
}

/// `10.0.0.0/8`, `::1/128`, or one address.
pub(crate) fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(widest);
    (bits <= widest).then_some((address, bits))
}

fn inside(net: IpAddr, bits: u8, address: IpAddr) -> bool {
    let shifted = |value: u128, width: u32| value.checked_shr(width - u32::from(bits)).unwrap_or(0);
    match (net, address.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            shifted(u32::from(a).into(), 32) == shifted(u32::from(b).into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => shifted(a.into(), 128) == shifted(b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidrs_bind() {
        let bound = |cidr: &str, address: &str| {
            bound_to(&[cidr.to_owned()], Some(address.parse().unwrap()))
        };
        assert!(bound("10.0.0.0/8", "10.1.2.3"));
        assert!(!bound("10.0.0.0/8", "11.1.2.3"));
        assert!(bound("0.0.0.0/0", "11.1.2.3"));
        assert!(bound("127.0.0.1", "127.0.0.1"));
        assert!(!bound("127.0.0.1/32", "127.0.0.2"));
        assert!(bound("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(bound("2001:db8::/32", "2001:db8::1"));
        assert!(!bound("2001:db8::/32", "10.0.0.1"));
        assert!(!bound_to(&["10.0.0.0/8".into()], None));
        assert!(parse_cidr("10.0.0.0/33").is_none());
        assert!(parse_cidr("ten").is_none());
    }
}
