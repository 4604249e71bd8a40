//! The background work of access: a reconciler without input. What is due is read from the store
//! each time, so it goes on after a crash where it was.

use zone_barrier::Batch;
use zone_ports::{Key, KeyRange};

use crate::mounts::TRASH;
use crate::{Access, AccessError};

impl Access {
    /// Does one round of what is due: expired tokens, descendants of revoked tokens, data of
    /// removed mounts, the time floor. `true` if there may be more to do at once.
    pub async fn sweep(&self) -> Result<bool, AccessError> {
        self.state()?.floor.persist(&self.barrier).await?;
        let expired = self.sweep_expired().await?;
        let trees = self.sweep_trees().await?;
        let trash = self.sweep_trash().await?;
        Ok(expired || trees || trash)
    }

    async fn sweep_trash(&self) -> Result<bool, AccessError> {
        let work = self.barrier.scan_keys(&KeyRange::prefix(TRASH), 1).await?;
        let Some(work) = work.first() else {
            return Ok(false);
        };
        let mount = String::from_utf8_lossy(&work.as_bytes()[TRASH.len()..]).into_owned();
        let prefix = format!("{mount}/");
        let keys: Vec<Key> = self
            .barrier
            .scan_keys(&KeyRange::prefix(prefix), 50)
            .await?;
        let mut batch = Batch::new();
        if keys.is_empty() {
            batch = batch.delete(work.clone());
        }
        for key in keys {
            batch = batch.delete(key);
        }
        self.barrier.commit(batch).await?;
        Ok(true)
    }
}
