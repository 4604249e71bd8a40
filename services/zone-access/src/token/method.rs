//! Tokens by the auth method that made them: they end when it is taken away.
//!
//! They end at once, because a token counts only while the mount that made it is there. Their
//! records, and what hangs on them, are removed by the sweep, from one entry for each token:
//! `method/MOUNT/TOKEN`.

use std::sync::Arc;

use zone_barrier::Batch;
use zone_ports::{Key, KeyRange};
use zone_types::MountId;

use super::tree::STEP;
use super::{TokenEntry, TokenId, TokenRecord, TokenStore};
use crate::lease::covers;
use crate::mount::{Mount, MountKind};
use crate::{Access, AccessError, OpenState};

/// Where tokens make tokens; that mount stays where it is.
const MADE_BELOW: &str = "auth/token/";

impl TokenStore {
    pub(super) fn method_key(&self, mount: &MountId, id: &TokenId) -> Result<Key, AccessError> {
        let rest = format!("{mount}/{}", id.as_str());
        Ok(self.mount.key("method", rest)?)
    }

    /// The entries of the tokens that `mount` made, each with the token's id at its end. Of the
    /// token mount: the records of all tokens.
    pub(crate) fn made_at(&self, mount: &Mount) -> Result<KeyRange, AccessError> {
        if mount.id == self.mount.id {
            return Ok(KeyRange::prefix(self.mount.prefix("token")));
        }
        Ok(KeyRange::prefix(self.method_prefix(&mount.id)?))
    }

    /// What the entries of the tokens begin with that an auth method made.
    pub(crate) fn method_prefix(&self, mount: &MountId) -> Result<Vec<u8>, AccessError> {
        let prefix = self.mount.key("method", format!("{mount}/"))?;
        Ok(prefix.as_bytes().to_vec())
    }
}

impl TokenRecord {
    /// Whether `rest` covers the part of the path below the mount that made the token, wherever
    /// that hangs now: what methods serve to strangers is `login` or `login/NAME`. What another
    /// mount asked for, as a wrapping token, is below none.
    pub(crate) fn is_below(&self, rest: &str) -> bool {
        if self.auth_mount.is_none() {
            let below = self.path.strip_prefix(MADE_BELOW);
            return below.is_some_and(|below| covers(rest, below));
        }
        let mut ends = [1, 2].into_iter().filter_map(|n| last(&self.path, n));
        ends.any(|end| covers("login", end) && covers(rest, end))
    }
}

/// The last `n` segments of a path.
fn last(path: &str, n: usize) -> Option<&str> {
    let (at, _) = path.rmatch_indices('/').nth(n - 1)?;
    path.get(at + 1..)
}

impl OpenState {
    /// The path of a token, below the mount that made it where that hangs now.
    pub(crate) fn path_of(&self, record: &TokenRecord) -> String {
        let made_by = record.auth_mount.as_ref();
        let below = made_by.and_then(|id| {
            let mount = self.mounts.by_id(id)?;
            let segments = if mount.kind == MountKind::Userpass {
                2
            } else {
                1
            };
            let below = last(&record.path, segments)?;
            Some(format!("{}{below}", mount.path.as_str()))
        });
        below.unwrap_or_else(|| record.path.clone())
    }

    /// Whether the auth method that made the token is still there.
    pub(super) fn method_stands(&self, record: &TokenRecord) -> bool {
        let made_by = record.auth_mount.as_ref();
        made_by.is_none_or(|id| self.mounts.by_id(id).is_some())
    }

    /// The same of a service token, and that it was not revoked by its path.
    pub(super) fn token_stands(&self, record: &TokenRecord) -> bool {
        self.method_stands(record) && !self.prefixes.end_token(record, &self.tokens.mount.id)
    }
}

impl Access {
    /// Removes a few tokens that were made by the removed method `mount`. `true` if there were
    /// any.
    pub(crate) async fn sweep_method(
        &self,
        state: &Arc<OpenState>,
        mount: &MountId,
    ) -> Result<bool, AccessError> {
        let prefix = state.tokens.mount.key("method", format!("{mount}/"))?;
        let range = KeyRange::prefix(prefix.as_bytes().to_vec());
        let keys = self.barrier.scan_keys(&range, STEP).await?;
        let mut tokens: Vec<TokenEntry> = Vec::new();
        let mut leftovers = Batch::new();
        for key in &keys {
            let id = TokenId::from_hex(&key.as_bytes()[prefix.as_bytes().len()..]);
            match id {
                Some(id) => match self.read_token(state, &id).await? {
                    Some(entry) => tokens.push(entry),
                    None => leftovers = leftovers.delete(key.clone()),
                },
                None => leftovers = leftovers.delete(key.clone()),
            }
        }
        if !keys.is_empty() {
            self.end_all(state, &tokens, leftovers).await?;
        }
        Ok(!keys.is_empty())
    }
}
