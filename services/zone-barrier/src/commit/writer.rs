//! The committer's thread: gathers, judges, applies, answers.
//!
//! A thread of its own, so that a store may block in `apply` without holding up the runtime, and
//! so that a caller who goes away cannot cut a group. It polls the store inside the runtime in
//! which the committer was opened.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{broadcast, watch};
use zone_ports::store::{Op, Revision, Versioned, WriteSet};
use zone_ports::{Key, Store, StoreError};

use super::group::{Group, Revisions, Verdict};
use super::log::{self, Kept};
use super::queue::{Failure, Queue, Request};
use super::watch::Committed;
use super::{CommitError, CommitOptions};
use crate::batch::Precondition;

/// The first wait between two tries to read back how a group ended; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Most records of the log that one group removes.
const MOST_PRUNED: usize = 256;

pub(super) struct Writer {
    pub(super) store: Arc<dyn Store>,
    pub(super) queue: Arc<Queue>,
    pub(super) options: CommitOptions,
    /// The last group.
    pub(super) number: Revision,
    /// The commit log as of the last group.
    pub(super) kept: Kept,
    pub(super) last: Arc<AtomicU64>,
    pub(super) events: broadcast::Sender<Committed>,
}

/// A group ready for the store.
struct Sealed {
    set: WriteSet,
    keys: Vec<Key>,
    /// The commit log as of this group.
    kept: Kept,
    /// Its record there, by which it is known again.
    record: Bytes,
}

/// How an attempt to apply a group ended.
enum Outcome {
    Applied,
    /// It was applied, but another writer has been here since.
    AppliedLast,
    /// Nothing was written; the next group may work.
    Not(Arc<StoreError>),
    /// Nothing was written and nothing may be any more.
    End(Failure),
}

impl Writer {
    /// Begins the thread. It drops `ending` last.
    pub(super) fn start(self, ending: watch::Sender<()>) -> Result<(), StoreError> {
        let backend = self.store.kind();
        let runtime = tokio::runtime::Handle::try_current().ok();
        let work = move || {
            let _ending = ending;
            let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
            let _closing = Closing(self.queue.clone());
            block_on(self.run());
        };
        let thread = std::thread::Builder::new().name("committer".to_owned());
        match thread.spawn(work) {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::Unavailable {
                backend,
                source: Box::new(error),
            }),
        }
    }

    async fn run(mut self) {
        let mut waiting = VecDeque::new();
        while self.queue.take(&mut waiting) {
            let group = self.gather(&mut waiting).await;
            if let Err(reason) = self.settle(group).await {
                self.queue.close(reason.clone());
                for request in waiting {
                    request.answer(Err(reason.error()));
                }
                return;
            }
        }
    }

    /// Moves what fits together from `waiting` into one group, in order.
    async fn gather(&self, waiting: &mut VecDeque<Request>) -> Group {
        let revisions = self.look_up(waiting).await;
        let mut group = Group::new(self.store.group_limit());
        let mut later = VecDeque::new();
        for request in waiting.drain(..) {
            if let Verdict::Later(request) = group.admit(request, &revisions) {
                later.push_back(request);
            }
        }
        *waiting = later;
        group
    }

    /// The revisions that the conditions ask about, all at once.
    async fn look_up(&self, waiting: &VecDeque<Request>) -> Revisions {
        let mut keys: Vec<&Key> = Vec::new();
        for condition in waiting.iter().flat_map(|request| &request.conditions) {
            let (Precondition::Absent(key) | Precondition::At(key, _)) = condition;
            keys.push(key);
        }
        keys.sort_unstable();
        keys.dedup();
        let found = join_all(keys.iter().map(|key| self.store.get(key))).await;
        let revision = |found: Result<Option<Versioned>, _>| match found {
            Ok(found) => Ok(found.map(|found| found.revision)),
            Err(error) => Err(Arc::new(error)),
        };
        let found = found.into_iter().map(revision);
        keys.into_iter().cloned().zip(found).collect()
    }

    /// Applies a group and answers everybody in it. An error ends the writer.
    async fn settle(&mut self, mut group: Group) -> Result<(), Failure> {
        if group.ops.is_empty() {
            answer(group, &Ok(self.number));
            return Ok(());
        }
        let sealed = match self.seal(&mut group).await {
            Ok(sealed) => sealed,
            Err(error) => {
                let error = Failure::Store(Arc::new(error));
                answer(group, &Err(error.clone()));
                return if error.is_final() { Err(error) } else { Ok(()) };
            }
        };
        let number = sealed.set.number;
        let outcome = match self.store.apply(sealed.set).await {
            Ok(()) => Outcome::Applied,
            Err(error) => self.read_back(number, &sealed.record, error).await,
        };
        match &outcome {
            Outcome::Applied | Outcome::AppliedLast => {
                self.number = number;
                self.kept = sealed.kept;
                self.last.store(number.0, Ordering::Release);
                self.tell(number, sealed.keys);
                answer(group, &Ok(number));
            }
            Outcome::Not(error) => answer(group, &Err(Failure::Store(error.clone()))),
            Outcome::End(reason) => answer(group, &Err(reason.clone())),
        }
        match outcome {
            Outcome::Applied | Outcome::Not(_) => Ok(()),
            Outcome::AppliedLast => Err(Failure::Stopped),
            Outcome::End(reason) => Err(reason),
        }
    }

    /// Adds the group's record to it and takes the oldest records away.
    async fn seal(&self, group: &mut Group) -> Result<Sealed, StoreError> {
        let number = Revision(self.number.0 + 1);
        let keys = group.keys();
        let spare = group.spare();
        let mut ops = std::mem::take(&mut group.ops);
        let kept = self.prune(number, spare, &mut ops).await?;
        let record = log::encode(self.options.fence, kept, &keys);
        ops.push(Op::Put {
            key: log::key(number),
            value: record.clone(),
        });
        let set = WriteSet {
            number,
            fence: self.options.fence,
            ops,
        };
        let kept = Kept {
            first: kept.first,
            bytes: kept.bytes + record.len() as u64,
        };
        Ok(Sealed {
            set,
            keys,
            kept,
            record,
        })
    }

    /// Removes the oldest records of the log once it is over its bounds: many at once and seldom,
    /// because neighbours lie on the same pages. No more than `spare`.
    async fn prune(
        &self,
        number: Revision,
        spare: usize,
        ops: &mut Vec<Op>,
    ) -> Result<Kept, StoreError> {
        let CommitOptions {
            keep_groups,
            keep_bytes,
            ..
        } = self.options;
        let mut kept = self.kept;
        let over = |kept: Kept, groups: u64, bytes: u64| {
            kept.first < number.0 && (number.0 - kept.first >= groups || kept.bytes > bytes)
        };
        let slack = (
            keep_groups + keep_groups / 128,
            keep_bytes + keep_bytes / 64,
        );
        if !over(kept, slack.0, slack.1) {
            return Ok(kept);
        }
        let mut room = spare.min(MOST_PRUNED);
        while room > 0 && over(kept, keep_groups, keep_bytes) {
            let key = log::key(Revision(kept.first));
            if let Some(oldest) = self.store.get(&key).await? {
                kept.bytes = kept.bytes.saturating_sub(oldest.value.len() as u64);
                ops.push(Op::Delete { key });
                room -= 1;
            }
            kept.first += 1;
        }
        Ok(kept)
    }

    /// Finds out how a group ended that was not answered with `Ok`.
    async fn read_back(&self, number: Revision, record: &Bytes, error: StoreError) -> Outcome {
        let error = match error {
            StoreError::Full { .. } => return Outcome::Not(Arc::new(error)),
            StoreError::Corrupt { .. } => {
                return Outcome::End(Failure::Store(Arc::new(error)));
            }
            error => Arc::new(error),
        };
        let mut wait = FIRST_WAIT;
        loop {
            match self.ask(number, record, &error).await {
                Ok(outcome) => return outcome,
                Err(StoreError::Unavailable { .. }) if !self.queue.is_closed() => {
                    self.queue.refuse_for(wait, &error);
                    wait = LONGEST_WAIT.min(wait * 2);
                }
                Err(StoreError::Unavailable { .. }) => return Outcome::End(Failure::Stopped),
                Err(error) => return Outcome::End(Failure::Store(Arc::new(error))),
            }
        }
    }

    /// Whether group `number` is ours, is missing, or is another writer's.
    async fn ask(
        &self,
        number: Revision,
        record: &Bytes,
        error: &Arc<StoreError>,
    ) -> Result<Outcome, StoreError> {
        let last = self.store.last_group().await?;
        if last < number {
            let fenced = matches!(**error, StoreError::Fenced);
            return Ok(if last == self.number && !fenced {
                Outcome::Not(error.clone())
            } else {
                Outcome::End(Failure::Stopped)
            });
        }
        let found = self.store.get(&log::key(number)).await?;
        let ours = found.is_some_and(|found| found.value == *record);
        Ok(match (ours, last == number) {
            (true, true) => Outcome::Applied,
            (true, false) => Outcome::AppliedLast,
            (false, _) => Outcome::End(Failure::Stopped),
        })
    }

    fn tell(&self, revision: Revision, keys: Vec<Key>) {
        if self.events.receiver_count() > 0 {
            let keys = keys.into();
            // Fails only if the last watch went away meanwhile.
            drop(self.events.send(Committed { revision, keys }));
        }
    }
}

/// Tells everybody in a group what became of it.
fn answer(group: Group, result: &Result<Revision, Failure>) {
    let Group {
        winners, losers, ..
    } = group;
    match result {
        Ok(revision) => {
            for request in winners {
                request.answer(Ok(*revision));
            }
            for request in losers {
                request.answer(Err(CommitError::Conflict));
            }
        }
        Err(failure) => {
            for request in winners.into_iter().chain(losers) {
                request.answer(Err(failure.error()));
            }
        }
    }
}

/// Closes the queue when the thread ends, also by a panic.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close(Failure::Stopped);
    }
}

/// Runs a future on this thread alone.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
