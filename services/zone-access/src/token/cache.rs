//! The tokens that were used lately, bounded by what they take and not by their number alone: what
//! clients choose freely makes a record of up to 16 KiB.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::{TokenEntry, TokenId, TokenRecord};
use crate::{Access, AccessError};

/// Bytes that all cached tokens take together: some 16,000 usual ones.
const ROOM: u64 = 16 * 1024 * 1024;
/// How many there are expected to be.
const EXPECTED: usize = 16_384;
/// What a token takes beside its texts.
const FRAME: usize = 512;

pub(super) type TokenCache = Cache<TokenId, Arc<TokenEntry>, Weight>;

pub(super) fn empty() -> TokenCache {
    Cache::with_weighter(EXPECTED, ROOM, Weight)
}

/// Weighs a token as it was weighed when it was read: the weight of what is cached must not change.
#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<TokenId, Arc<TokenEntry>> for Weight {
    fn weight(&self, _: &TokenId, entry: &Arc<TokenEntry>) -> u64 {
        entry.weight
    }
}

/// About how many bytes a token with this record takes.
pub(super) fn weight_of(record: &TokenRecord) -> u64 {
    let list = |texts: &[String]| texts.iter().map(|text| 24 + text.len()).sum::<usize>();
    let meta = record.meta.iter().flatten();
    let meta: usize = meta.map(|(key, value)| 96 + key.len() + value.len()).sum();
    let texts = [&record.accessor, &record.path, &record.display_name];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let all = FRAME + list(&record.policies) + list(&record.bound_cidrs) + meta + texts;
    u64::try_from(all).unwrap_or(ROOM)
}

impl Access {
    /// Number and bytes of the tokens that are cached, and how many bytes they take at most.
    pub fn cached_tokens(&self) -> Result<(usize, u64, u64), AccessError> {
        let state = self.state()?;
        let cache = &state.tokens.cache;
        Ok((cache.len(), cache.weight(), ROOM))
    }
}
