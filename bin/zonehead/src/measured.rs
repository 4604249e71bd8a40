//! The store as the head uses it, with its answers noted for `sys/metrics` and `sys/health`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use zone_http::metrics::StoreMeter;
use zone_ports::store::{GroupLimit, Revision, Versioned, WriteSet};
use zone_ports::{Clock, Key, KeyRange, Store, StoreError};

/// Any store; promises what that one does.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) meter: Arc<StoreMeter>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Measured {
    fn noted<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.meter.answered(&answer);
        answer
    }
}

#[async_trait]
impl Store for Measured {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, StoreError> {
        self.noted(self.store.get(key).await)
    }

    async fn scan(
        &self,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<(Key, Versioned)>, StoreError> {
        self.noted(self.store.scan(range, limit).await)
    }

    async fn apply(&self, group: WriteSet) -> Result<(), StoreError> {
        let begun = self.clock.monotonic();
        let answer = self.store.apply(group).await;
        if answer.is_ok() {
            let took = self.clock.monotonic().saturating_sub(begun);
            self.meter.applied(took);
        }
        self.noted(answer)
    }

    async fn last_group(&self) -> Result<Revision, StoreError> {
        self.noted(self.store.last_group().await)
    }

    async fn snapshot(&self, target: &Path) -> Result<Revision, StoreError> {
        // Fails for reasons of the file's too, which say nothing of the store.
        self.store.snapshot(target).await
    }

    fn group_limit(&self) -> GroupLimit {
        self.store.group_limit()
    }

    fn kind(&self) -> &'static str {
        self.store.kind()
    }
}
