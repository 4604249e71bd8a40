//! Removing more versions than one batch can.
//!
//! The batch that takes them off the list writes a cleanup record. It goes last, so after a crash
//! [`KvService::resume`] finds it and goes on. Nobody can reach the versions meanwhile, and a new
//! secret at the same path has another generation.

use tracing::warn;
use zone_access::Mount;
use zone_barrier::Batch;
use zone_ports::{Key, KeyRange};

use super::change::REMOVALS;
use super::place::{trash_key, version_range};
use super::record::Trash;
use super::{KvError, KvService};

impl KvService {
    /// Goes on with what a crash left of removals in `mount`. For each mount after unsealing, and
    /// at any time later: it runs beside everything else. Returns how many it finished.
    pub async fn resume(&self, mount: &Mount) -> Result<usize, KvError> {
        let mut range = KeyRange::prefix(mount.prefix("t"));
        let mut done = 0;
        loop {
            let page = self.barrier.scan(&range, 100).await?;
            let Some((last, _)) = page.last() else {
                return Ok(done);
            };
            range = range.after(last);
            for (key, plain) in &page {
                self.clean(mount, key, &Trash::decode(&plain.value)?)
                    .await?;
                done += 1;
            }
        }
    }

    /// Cleans up now if it can be; a failure is left to [`KvService::resume`]: the change that
    /// brought it about is durable already.
    pub(super) async fn clean_or_leave(&self, mount: &Mount, id: [u8; 8], trash: &Trash) {
        let cleaned = match trash_key(mount, id) {
            Ok(key) => self.clean(mount, &key, trash).await,
            Err(error) => Err(error),
        };
        if let Err(error) = cleaned {
            warn!(%error, "removed versions are still stored; they go after the next unsealing");
        }
    }

    /// Removes the versions in few batches, and the record with the last of them.
    async fn clean(&self, mount: &Mount, key: &Key, trash: &Trash) -> Result<(), KvError> {
        let mut dead = Vec::new();
        for run in &trash.ranges {
            let mut range = version_range(mount, &trash.path, trash.generation, *run)?;
            loop {
                let found = self
                    .barrier
                    .scan_keys(&range, REMOVALS - dead.len())
                    .await?;
                let Some(last) = found.last() else { break };
                range = range.after(last);
                dead.extend(found);
                if dead.len() == REMOVALS {
                    self.remove(&mut dead).await?;
                }
            }
        }
        dead.push(key.clone());
        self.remove(&mut dead).await
    }

    async fn remove(&self, keys: &mut Vec<Key>) -> Result<(), KvError> {
        let batch = keys.drain(..).fold(Batch::new(), Batch::delete);
        self.barrier.commit(batch).await?;
        Ok(())
    }
}
