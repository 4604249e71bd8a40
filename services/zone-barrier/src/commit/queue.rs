//! Between the callers and the writer's thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;
use zone_ports::StoreError;
use zone_ports::store::{Op, Revision};

use super::{CommitError, share};
use crate::batch::Precondition;

/// One batch on its way.
pub(super) struct Request {
    pub(super) ops: Vec<Op>,
    pub(super) conditions: Vec<Precondition>,
    /// Bytes of keys and values.
    pub(super) bytes: usize,
    pub(super) reply: oneshot::Sender<Result<Revision, CommitError>>,
}

impl Request {
    /// Answers the caller, if it still waits.
    pub(super) fn answer(self, answer: Result<Revision, CommitError>) {
        drop(self.reply.send(answer));
    }
}

/// Why a group, or everything from now on, fails.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The store says so; all share the cause.
    Store(Arc<StoreError>),
    /// Another writer took over, nobody holds the committer, or its thread is gone.
    Stopped,
}

impl Failure {
    pub(super) fn error(&self) -> CommitError {
        match self {
            Self::Store(error) => CommitError::Store(share(error)),
            Self::Stopped => CommitError::Stopped,
        }
    }

    /// Whether nothing may be written after it.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(**error, StoreError::Corrupt { .. } | StoreError::Fenced)
            }
            Self::Stopped => true,
        }
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The writer waits here.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    closed: Option<Failure>,
    /// Set while the writer does not know how its last group ended.
    outage: Option<Arc<StoreError>>,
}

impl Queue {
    /// Hands a batch to the writer.
    pub(super) fn push(&self, request: Request) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        if let Some(closed) = &state.closed {
            return Err(closed.error());
        }
        if let Some(error) = &state.outage {
            return Err(CommitError::Store(share(error)));
        }
        state.waiting.push_back(request);
        // The writer takes all there is at once, so only the first of them has to wake it.
        if state.waiting.len() == 1 {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves all that waits behind `into`. Waits for something if `into` is empty. False once the
    /// queue is closed and nothing is left.
    pub(super) fn take(&self, into: &mut VecDeque<Request>) -> bool {
        let mut state = self.state.lock();
        while into.is_empty() && state.waiting.is_empty() {
            if state.closed.is_some() {
                return false;
            }
            self.arrived.wait(&mut state);
        }
        into.append(&mut state.waiting);
        true
    }

    /// Takes nothing any more; whoever waits gets the reason. The first reason stays.
    pub(super) fn close(&self, reason: Failure) {
        let (waiting, reason) = {
            let mut state = self.state.lock();
            let reason = state.closed.get_or_insert(reason).clone();
            (std::mem::take(&mut state.waiting), reason)
        };
        self.arrived.notify_one();
        for request in waiting {
            request.answer(Err(reason.error()));
        }
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed.is_some()
    }

    /// Waits for `span`. Who waits, or comes meanwhile, is told that the store does not answer:
    /// nothing of those batches was sent to it.
    pub(super) fn refuse_for(&self, span: Duration, error: &Arc<StoreError>) {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return;
        }
        state.outage = Some(error.clone());
        let waiting = std::mem::take(&mut state.waiting);
        MutexGuard::unlocked(&mut state, || {
            for request in waiting {
                request.answer(Err(CommitError::Store(share(error))));
            }
        });
        if state.closed.is_none() {
            self.arrived.wait_for(&mut state, span);
        }
        state.outage = None;
    }
}
