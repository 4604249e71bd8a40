//! One way for every change: commit, then bring what is in memory up to date.
//!
//! Both happen in a task of their own, so a caller that goes away between the two leaves no stale
//! value behind. [`Access::load`] waits for the changes that are under way: one that began before
//! a seal can therefore not be missing from what is read after the unseal.

use std::sync::Arc;

use zone_barrier::{BarrierError, Batch};
use zone_ports::store::Revision;

use crate::{Access, AccessError, OpenState};

impl Access {
    /// [`Access::change`] of what nothing in memory knows of. `false` if a condition did not hold.
    pub(crate) async fn changed(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
    ) -> Result<bool, AccessError> {
        match self.change(state, batch, |_, _| {}).await {
            Ok(_) => Ok(true),
            Err(BarrierError::Conflict) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }

    /// Commits `batch`; then calls `then` with whether it was applied. A store that has been taken
    /// over by another head may have applied it although the answer is an error, so caches are
    /// emptied in either case.
    pub(crate) async fn change(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
        then: impl FnOnce(&OpenState, bool) + Send + 'static,
    ) -> Result<Revision, BarrierError> {
        let under_way = self.changes.clone().read_owned().await;
        // The zone may have been sealed, and opened again, since the caller took its state.
        match self.state() {
            Ok(current) if Arc::ptr_eq(&current, state) => {}
            _ => return Err(BarrierError::Sealed),
        }
        let (barrier, state) = (self.barrier.clone(), state.clone());
        let watched = state.quotas.watch(&batch);
        let task = tokio::spawn(async move {
            let result = barrier.commit(batch).await;
            if result.is_ok() {
                state.quotas.follow(&watched);
            }
            then(&state, result.is_ok());
            drop(under_way);
            result
        });
        match task.await {
            Ok(result) => result,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            // The runtime ends, and this caller with it.
            Err(_) => Err(BarrierError::Sealed),
        }
    }
}
