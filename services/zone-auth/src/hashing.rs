//! Hashing passwords, a bounded number at once: each takes 19 MiB and milliseconds of a core, and
//! anybody may ask for one without a token. A flood waits in a queue that ends; behind its end
//! the answer is "too many", at once and for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use zone_crypto::password::{self, Cost, HASH_LEN};
use zone_types::Secret;

use crate::AuthError;

/// How many passwords wait at most.
pub const QUEUE: usize = 64;

/// The threads that hash.
#[derive(Debug)]
pub struct Hashers {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    done: AtomicU64,
    cost: Cost,
}

/// Counts one who waits, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hashers {
    /// `at_once` passwords are hashed at once, with the usual cost.
    pub fn new(at_once: usize) -> Self {
        Self::with_cost(at_once, Cost::USUAL)
    }

    /// As [`Hashers::new`] with another cost; for tests that count and do not measure.
    pub fn with_cost(at_once: usize, cost: Cost) -> Self {
        Self {
            running: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            cost,
        }
    }

    /// What new passwords are hashed with.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// How many passwords were hashed so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// The hash of `password`. A caller that goes away does not make room for another before its
    /// hash is done.
    pub(crate) async fn hash(
        &self,
        password: &Secret<String>,
        salt: [u8; 16],
        cost: Cost,
    ) -> Result<[u8; HASH_LEN], AuthError> {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            drop(Place(&self.waiting));
            return Err(AuthError::Overloaded);
        }
        let place = Place(&self.waiting);
        let turn = self.running.clone().acquire_owned().await;
        let turn = turn.map_err(|_| AuthError::Overloaded)?;
        drop(place);
        let password = password.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            let hash = password::hash(password.expose().as_bytes(), &salt, cost);
            drop(turn);
            hash
        });
        let hash = hashed.await.map_err(|_| AuthError::Overloaded)?;
        self.done.fetch_add(1, Ordering::AcqRel);
        hash.map_err(|_| AuthError::Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attack_a_flood_of_logins_waits_in_a_bounded_queue() {
        let hashers = Arc::new(Hashers::with_cost(1, Cost::LEAST));
        let busy = hashers.running.clone().acquire_owned().await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..QUEUE + 40 {
            let hashers = hashers.clone();
            tasks.push(tokio::spawn(async move {
                let password = Secret::new("p".to_owned());
                hashers.hash(&password, [1; 16], Cost::LEAST).await
            }));
        }
        // Those beyond the queue are answered although nothing is ever hashed.
        let mut refused = 0;
        while refused < 40 {
            tokio::task::yield_now().await;
            refused = tasks.iter().filter(|task| task.is_finished()).count();
        }
        assert_eq!(hashers.done(), 0);
        drop(busy);
        let mut hashed = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => hashed += 1,
                Err(error) => assert!(matches!(error, AuthError::Overloaded)),
            }
        }
        assert_eq!((hashed, hashers.done()), (QUEUE, QUEUE as u64));
        assert_eq!(hashers.waiting.load(Ordering::Acquire), 0);
    }
}
