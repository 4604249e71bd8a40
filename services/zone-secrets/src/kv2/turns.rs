//! One writer of a secret at a time within this head.
//!
//! Correctness does not rest on this (each batch demands the metadata unchanged); it spares
//! writers of one secret from losing to one another round after round.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use zone_ports::Key;

type Queue = Arc<tokio::sync::Mutex<()>>;

/// Who is writing what.
#[derive(Default)]
pub(crate) struct Turns {
    queues: Mutex<HashMap<Key, Queue>>,
}

/// The right to write one secret, until it is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    queue: Option<Queue>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else writes `key`. First come, first served.
    pub(crate) async fn wait(&self, key: &Key) -> Turn<'_> {
        let queue = self.queues.lock().entry(key.clone()).or_default().clone();
        let mut turn = Turn {
            turns: self,
            key: key.clone(),
            queue: Some(queue.clone()),
            guard: None,
        };
        turn.guard = Some(queue.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    /// Also runs for a caller who went away while waiting, so no queue is left behind.
    fn drop(&mut self) {
        self.guard = None;
        self.queue = None;
        let mut queues = self.turns.queues.lock();
        if queues
            .get(&self.key)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_exclude_each_other_and_leave_nothing() {
        let turns = Turns::default();
        let key = Key::new("a").unwrap();
        let first = turns.wait(&key).await;
        let mut second = Box::pin(turns.wait(&key));
        assert!(futures_pending(&mut second).await);
        drop(first);
        let second = second.await;
        {
            let mut abandoned = Box::pin(turns.wait(&key));
            assert!(futures_pending(&mut abandoned).await);
        }
        drop(second);
        assert!(turns.queues.lock().is_empty());
    }

    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
