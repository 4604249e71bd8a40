//! Places in revocation lists, given out when a certificate is issued.
//!
//! A shard takes [`SHARD_SIZE`] certificates of one issuer and then closes. Places are counted in
//! memory and reserved in the store in blocks, so that issuing writes nothing for it; a crash loses
//! at most the rest of a block. Shards are numbered through the mount, so that `crl/shard/<n>` says
//! it all. The certificates of a shard name the same distribution points: when these change, the
//! issuer opens the next shard.

use std::sync::Arc;

use parking_lot::Mutex;
use zone_access::Mount;
use zone_barrier::{Barrier, BarrierError, Batch};
use zone_ports::Key;
use zone_ports::store::Revision;

use crate::record::{self, ShardCount, ShardCursor, ShardRecord};
use crate::{ATTEMPTS, PkiError, keys};

/// Certificates of one shard.
pub const SHARD_SIZE: u32 = 8192;
/// Places reserved by one write; divides [`SHARD_SIZE`].
const BLOCK: u32 = 1024;

/// The places that this head has reserved for one issuer.
#[derive(Default)]
pub(crate) struct Places {
    block: Mutex<Block>,
    gate: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Block {
    shard: u32,
    left: u32,
    points: Arc<[String]>,
}

impl Block {
    fn take(&mut self, points: &Arc<[String]>) -> Option<u32> {
        let same = Arc::ptr_eq(&self.points, points) || self.points == *points;
        if self.left == 0 || !same {
            return None;
        }
        self.left -= 1;
        Some(self.shard)
    }
}

impl Places {
    /// The shard (from 1) of one more certificate of `issuer` that names `points`.
    pub(crate) async fn take(
        &self,
        barrier: &Barrier,
        mount: &Mount,
        issuer: &str,
        points: &Arc<[String]>,
    ) -> Result<u32, PkiError> {
        if let Some(shard) = self.block.lock().take(points) {
            return Ok(shard);
        }
        let _one = self.gate.lock().await;
        for _ in 0..ATTEMPTS {
            // While this one waited, somebody else may have reserved.
            if let Some(shard) = self.block.lock().take(points) {
                return Ok(shard);
            }
            if let Some(shard) = reserve(barrier, mount, issuer, points).await? {
                *self.block.lock() = Block {
                    shard,
                    left: BLOCK,
                    points: points.clone(),
                };
            }
        }
        Err(PkiError::Busy)
    }
}

/// A record and the revision at which it was read.
async fn read<T: serde::de::DeserializeOwned + Default>(
    barrier: &Barrier,
    key: &Key,
) -> Result<(T, Option<Revision>), PkiError> {
    match barrier.get(key).await? {
        Some(plain) => Ok((record::decode("shard", &plain.value)?, Some(plain.revision))),
        None => Ok((T::default(), None)),
    }
}

/// Reserves a block and answers with its shard; `None` if another writer was faster.
async fn reserve(
    barrier: &Barrier,
    mount: &Mount,
    issuer: &str,
    points: &Arc<[String]>,
) -> Result<Option<u32>, PkiError> {
    // The issuer must still be there: else one could be removed while it begins to issue.
    let owner = keys::issuer(mount, issuer)?;
    let there = barrier
        .get(&owner)
        .await?
        .ok_or(PkiError::NotFound)?
        .revision;
    let cursor_key = keys::shard_cursor(mount, issuer)?;
    let (mut cursor, seen) = read::<ShardCursor>(barrier, &cursor_key).await?;
    let mut batch = Batch::new()
        .require(owner, Some(there))
        .require(cursor_key.clone(), seen);
    let (filling, _) = read::<ShardRecord>(barrier, &keys::shard(mount, cursor.shard)?).await?;
    if cursor.shard != 0 && cursor.reserved < SHARD_SIZE && filling.points[..] == points[..] {
        cursor.reserved += BLOCK;
    } else {
        let count_key = keys::shard_count(mount)?;
        let (mut count, seen) = read::<ShardCount>(barrier, &count_key).await?;
        count.opened = count
            .opened
            .checked_add(1)
            .ok_or(PkiError::Internal("numbering a shard"))?;
        cursor = ShardCursor {
            shard: count.opened,
            reserved: BLOCK,
        };
        let opened = ShardRecord {
            issuer: issuer.to_owned(),
            points: points.to_vec(),
        };
        batch = batch
            .require(count_key.clone(), seen)
            .put(count_key, record::encode(&count)?)
            .put(keys::shard(mount, count.opened)?, record::encode(&opened)?);
    }
    let batch = batch.put(cursor_key, record::encode(&cursor)?);
    match barrier.commit(batch).await {
        Ok(_) => Ok(Some(cursor.shard)),
        Err(BarrierError::Conflict) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whose shard it is, and what its list says it covers: those distribution points of its
/// certificates that name the shard. If none does (then certificates point to the complete list),
/// a name that no certificate has, so that nobody takes this part for the whole. `None`: never
/// opened.
pub(crate) async fn scope_of(
    barrier: &Barrier,
    mount: &Mount,
    shard: u32,
) -> Result<Option<(String, Vec<String>)>, PkiError> {
    let found = barrier.get(&keys::shard(mount, shard)?).await?;
    let Some(plain) = found else { return Ok(None) };
    let ShardRecord { issuer, mut points } = record::decode("shard", &plain.value)?;
    points.retain(|url| url.contains("{{shard}}"));
    if points.is_empty() {
        points.push(format!("urn:zonehead:crl:{issuer}:{{{{shard}}}}"));
    }
    let scope = fill(&points, shard);
    Ok(Some((issuer, scope)))
}

/// `points` with the shard's number.
pub(crate) fn fill(points: &[String], shard: u32) -> Vec<String> {
    points
        .iter()
        .map(|url| url.replace("{{shard}}", &shard.to_string()))
        .collect()
}

/// The shards that a certificate of unknown origin may belong to: the numbers in its distribution
/// points, the last ones first.
pub(crate) fn candidates(points: &[String]) -> Vec<u32> {
    let numbers = |url: &String| -> Vec<u32> {
        let digits = url.split(|c: char| !c.is_ascii_digit());
        digits
            .rev()
            .filter_map(|part| part.parse().ok())
            .filter(|n| *n > 0)
            .collect()
    };
    points.iter().take(16).flat_map(numbers).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_point_names_its_shard() {
        let points = vec!["https://10.0.0.1:8200/v1/pki/crl/shard/{{shard}}".to_owned()];
        let filled = fill(&points, 42);
        assert_eq!(filled, ["https://10.0.0.1:8200/v1/pki/crl/shard/42"]);
        assert_eq!(candidates(&filled).first(), Some(&42));
        assert_eq!(SHARD_SIZE % BLOCK, 0);
    }
}
