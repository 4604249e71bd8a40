//! One group while it is put together: who is in it, who lost, who has to wait for the next.

use std::collections::HashMap;
use std::sync::Arc;

use zone_ports::store::{GroupLimit, MAX_KEY, MAX_VALUE, Op, Revision};
use zone_ports::{Key, StoreError};

use super::log;
use super::queue::Request;
use super::{CommitError, share};
use crate::batch::{MAX_BATCH_BYTES, MAX_BATCH_OPS, Precondition};

/// Operations of a group that are left to the commit log: its record, and old ones that go.
const LOG_OPS: usize = 4;
/// Bytes of the key of such a record.
const LOG_KEY: usize = log::PREFIX.len() + 8;
/// What a group must be able to hold: the largest batch and its share of the log.
pub(super) const LEAST: GroupLimit = GroupLimit {
    ops: MAX_BATCH_OPS + LOG_OPS,
    bytes: MAX_BATCH_BYTES
        + log::HEAD
        + LOG_OPS * LOG_KEY
        + MAX_BATCH_OPS * (MAX_KEY + log::PER_KEY),
};

/// Which group wrote a key last, as far as the conditions of the gathered batches need it.
pub(super) type Revisions = HashMap<Key, Result<Option<Revision>, Arc<StoreError>>>;

/// What a batch of this group does to a key.
#[derive(Clone, Copy)]
enum Touch {
    Writes,
    Removes,
}

/// Batches that are applied together.
pub(super) struct Group {
    limit: GroupLimit,
    touched: HashMap<Key, Touch>,
    bytes: usize,
    log_bytes: usize,
    /// The changes of all batches.
    pub(super) ops: Vec<Op>,
    /// Their conditions hold; they hear what becomes of the group.
    pub(super) winners: Vec<Request>,
    /// They lost against a batch of this group.
    pub(super) losers: Vec<Request>,
}

/// What becomes of a batch.
pub(super) enum Verdict {
    /// It is in the group, or has its answer.
    Done,
    /// The group is full, or holds one of its keys.
    Later(Request),
}

/// How a condition stands.
enum Standing {
    Holds,
    Fails,
    /// Fails because of a batch of this group.
    Overtaken,
    Unknown(StoreError),
}

impl Group {
    pub(super) fn new(limit: GroupLimit) -> Self {
        Self {
            limit,
            touched: HashMap::new(),
            bytes: log::HEAD + LOG_OPS * LOG_KEY,
            log_bytes: log::HEAD,
            ops: Vec::new(),
            winners: Vec::new(),
            losers: Vec::new(),
        }
    }

    /// Judges one batch.
    pub(super) fn admit(&mut self, mut request: Request, revisions: &Revisions) -> Verdict {
        if request.reply.is_closed() {
            return Verdict::Done;
        }
        match self.judge(&request.conditions, revisions) {
            Standing::Holds => {}
            Standing::Fails => {
                request.answer(Err(CommitError::Conflict));
                return Verdict::Done;
            }
            Standing::Overtaken => {
                self.losers.push(request);
                return Verdict::Done;
            }
            Standing::Unknown(error) => {
                request.answer(Err(CommitError::Store(error)));
                return Verdict::Done;
            }
        }
        if !self.has_room(&request) {
            return Verdict::Later(request);
        }
        self.take(std::mem::take(&mut request.ops), request.bytes);
        self.winners.push(request);
        Verdict::Done
    }

    fn judge(&self, conditions: &[Precondition], revisions: &Revisions) -> Standing {
        let mut overtaken = false;
        for condition in conditions {
            match self.stands(condition, revisions) {
                Standing::Holds => {}
                Standing::Overtaken => overtaken = true,
                other => return other,
            }
        }
        if overtaken {
            Standing::Overtaken
        } else {
            Standing::Holds
        }
    }

    fn stands(&self, condition: &Precondition, revisions: &Revisions) -> Standing {
        let (key, wanted) = match condition {
            Precondition::Absent(key) => (key, None),
            Precondition::At(key, revision) => (key, Some(*revision)),
        };
        match (self.touched.get(key), wanted) {
            (Some(Touch::Removes), None) => return Standing::Holds,
            (Some(_), _) => return Standing::Overtaken,
            (None, _) => {}
        }
        match revisions.get(key) {
            Some(Ok(found)) if *found == wanted => Standing::Holds,
            Some(Err(error)) => Standing::Unknown(share(error)),
            // The writer looks up the key of each condition; one that nobody looked up is not
            // known to hold, and must not end the writer.
            Some(Ok(_)) | None => Standing::Fails,
        }
    }

    /// Whether the batch fits. A key is written by one batch of a group only: else the first
    /// one's caller would hold a revision under which the second one's value stands.
    fn has_room(&self, request: &Request) -> bool {
        if self.ops.is_empty() {
            return true;
        }
        let keys = || request.ops.iter().map(Op::key);
        let logged: usize = keys().map(|key| key.as_bytes().len() + log::PER_KEY).sum();
        self.ops.len() + request.ops.len() + LOG_OPS <= self.limit.ops
            && self.bytes + request.bytes + logged <= self.limit.bytes
            && self.log_bytes + logged <= MAX_VALUE
            && !keys().any(|key| self.touched.contains_key(key))
    }

    fn take(&mut self, ops: Vec<Op>, bytes: usize) {
        self.bytes += bytes;
        for op in ops {
            let logged = op.key().as_bytes().len() + log::PER_KEY;
            self.bytes += logged;
            self.log_bytes += logged;
            let touch = match op {
                Op::Put { .. } => Touch::Writes,
                Op::Delete { .. } => Touch::Removes,
            };
            self.touched.insert(op.key().clone(), touch);
            self.ops.push(op);
        }
    }

    /// How many old records of the log the group can remove beside its own.
    pub(super) fn spare(&self) -> usize {
        let ops = self.limit.ops.saturating_sub(self.ops.len() + 1);
        let bytes = self.limit.bytes.saturating_sub(self.bytes) / LOG_KEY;
        ops.min(bytes + LOG_OPS - 1)
    }

    /// The keys that the group touches, in order.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.ops.iter().map(|op| op.key().clone()).collect();
        keys.sort_unstable();
        keys
    }
}
