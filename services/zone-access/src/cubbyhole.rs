//! What a token keeps for itself: `cubbyhole/`.
//!
//! An entry is one record below the HMAC of the token that wrote it, so no other token can name
//! it, whatever its policies. A write is conditional on the token's own record: what is written
//! while the token ends is not written at all. The sweep removes the entries of a token that has
//! ended before it removes the token's work record ([`crate::token::tree`]).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};
use zone_barrier::{BarrierError, Batch};
use zone_ports::{Key, KeyRange};

use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::token::{LONGEST, TRIES, TokenEntry, TokenId, TokenKind};
use crate::{Access, AccessError, MountKind, OpenState};

/// Most entries of one token.
const ENTRIES: usize = 256;
/// Largest entry in bytes of JSON: one record of the barrier.
const LARGEST: usize = 64 * 1024;
/// Longest path of an entry in bytes.
const LONGEST_PATH: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryRecord {
    v: V1,
    data: Box<RawValue>,
}

impl Access {
    /// What the caller's token keeps at the permit's path, as JSON text.
    pub async fn cubbyhole_read(
        &self,
        permit: &Permit,
    ) -> Result<Option<Box<RawValue>>, AccessError> {
        let state = self.state()?;
        let owner = owner(permit)?;
        let key = entry_key(&state, &owner.id, permit.rest())?;
        match self.barrier.get(&key).await? {
            Some(plain) => Ok(Some(decode::<EntryRecord>(&plain)?.data)),
            None => Ok(None),
        }
    }

    /// Whether the token of that text, if it counts, keeps something at `rest`. For choosing
    /// between `create` and `update` before the request is judged.
    pub async fn cubbyhole_has(&self, token: &str, rest: &str) -> Result<bool, AccessError> {
        if token.len() > LONGEST {
            return Ok(false);
        }
        let state = self.state()?;
        let key = entry_key(&state, &state.tokens.id_of(token), rest)?;
        Ok(self.barrier.get(&key).await?.is_some())
    }

    /// Keeps `data` (JSON text) at the permit's path.
    pub async fn cubbyhole_write(
        &self,
        permit: &Permit,
        data: Box<RawValue>,
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        let owner = owner(permit)?;
        let key = entry_key(&state, &owner.id, permit.rest())?;
        if permit.rest().is_empty() || permit.rest().ends_with('/') {
            return Err(AccessError::invalid("the path of an entry is missing"));
        }
        let value = encoded(data)?;
        // One write after the other, so that the entries can be counted.
        let _turn = state.tokens.turn(&owner.id).lock().await;
        self.refuse_too_many(&state, &owner.id, &key).await?;
        for _ in 0..TRIES {
            // Renewals and uses change the record; only its end may stop the write.
            let Some(current) = self.read_token(&state, &owner.id).await? else {
                return Err(AccessError::Denied("the token has ended"));
            };
            let batch = Batch::new()
                .require(state.tokens.key(&owner.id)?, Some(current.revision))
                .put(key.clone(), value.to_vec());
            match self.barrier.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    /// Removes what is kept at the permit's path. Nothing there: no error, as in Vault.
    pub async fn cubbyhole_delete(&self, permit: &Permit) -> Result<(), AccessError> {
        let state = self.state()?;
        let key = entry_key(&state, &owner(permit)?.id, permit.rest())?;
        self.barrier.commit(Batch::new().delete(key)).await?;
        Ok(())
    }

    /// The names below the permit's path, in order; those of folders end in `/`.
    pub async fn cubbyhole_list(&self, permit: &Permit) -> Result<Vec<String>, AccessError> {
        let state = self.state()?;
        let folder = permit.rest();
        let mut prefix = entries(&state, &owner(permit)?.id);
        prefix.extend_from_slice(folder.as_bytes());
        let range = KeyRange::prefix(prefix.clone());
        let keys = self.barrier.scan_keys(&range, ENTRIES).await?;
        let mut names = BTreeSet::new();
        for key in &keys {
            let rest = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
            let rest = rest.map_err(|_| AccessError::Corrupt)?;
            let name = rest.split_inclusive('/').next().unwrap_or(rest);
            names.insert(name.to_owned());
        }
        Ok(names.into_iter().collect())
    }

    async fn refuse_too_many(
        &self,
        state: &OpenState,
        owner: &TokenId,
        key: &Key,
    ) -> Result<(), AccessError> {
        let range = KeyRange::prefix(entries(state, owner));
        let keys = self.barrier.scan_keys(&range, ENTRIES).await?;
        if keys.len() >= ENTRIES && !keys.contains(key) {
            return Err(AccessError::invalid(format!(
                "the cubbyhole of a token has at most {ENTRIES} entries"
            )));
        }
        Ok(())
    }

    /// Some of the entries of a token that has ended, at most `most`.
    pub(crate) async fn left_in_cubbyhole(
        &self,
        state: &OpenState,
        owner: &TokenId,
        most: usize,
    ) -> Result<Vec<Key>, AccessError> {
        let range = KeyRange::prefix(entries(state, owner));
        Ok(self.barrier.scan_keys(&range, most).await?)
    }
}

/// The token whose cubbyhole a permit opens.
fn owner(permit: &Permit) -> Result<&TokenEntry, AccessError> {
    let token = permit.token().filter(|token| {
        permit.mount().kind == MountKind::Cubbyhole && token.record.namespace == *permit.namespace()
    });
    let token = token.ok_or(AccessError::Denied("a cubbyhole belongs to a token"))?;
    match token.kind {
        TokenKind::Service => Ok(token),
        TokenKind::Batch => Err(AccessError::invalid(
            "cubbyhole operations are only supported by \"service\" type tokens",
        )),
    }
}

fn encoded(data: Box<RawValue>) -> Result<Zeroizing<Vec<u8>>, AccessError> {
    let size = data.get().len();
    let record = EntryRecord { v: V1, data };
    let mut value = Zeroizing::new(Vec::with_capacity(size + 64));
    let written = serde_json::to_writer(&mut *value, &record);
    Box::<str>::from(record.data).into_string().zeroize();
    written?;
    if size > LARGEST {
        return Err(AccessError::invalid(format!(
            "an entry of a cubbyhole has at most {} KiB",
            LARGEST / 1024
        )));
    }
    Ok(value)
}

/// What the keys of all entries of `owner` begin with.
fn entries(state: &OpenState, owner: &TokenId) -> Vec<u8> {
    let mut prefix = state.cubbyhole.prefix("entry");
    prefix.extend_from_slice(owner.as_str().as_bytes());
    prefix.push(b'/');
    prefix
}

fn entry_key(state: &OpenState, owner: &TokenId, rest: &str) -> Result<Key, AccessError> {
    if rest.len() > LONGEST_PATH {
        return Err(AccessError::invalid(format!(
            "a path in a cubbyhole has at most {LONGEST_PATH} bytes"
        )));
    }
    let mut key = entries(state, owner);
    key.extend_from_slice(rest.as_bytes());
    Ok(Key::new(key)?)
}
