//! The end of a device that touches its sink: chains lines, makes checkpoints, rotates.
//!
//! One writer per device, behind a mutex; every method blocks. After a failed append nothing is
//! assumed of the file: the next turn reads its end and begins a new epoch.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use zone_crypto::sign::{PrivateKey, SignatureScheme};
use zone_ports::audit::{AuditRoom, AuditTail};
use zone_ports::{AuditSink, AuditSinkError, Clock};

use crate::chain::{self, ChainHead, CheckpointNote, EpochNote, EpochReason, LINES_PER_CHECKPOINT};
use crate::{AuditError, DeviceConfig, Durability, RevisionSource};

/// A checkpoint follows the first line after the last one by this much at the latest.
pub(crate) const CHECKPOINT_AGE: Duration = Duration::from_secs(10);
/// Most bytes in one append, unless one line is longer.
const MAX_APPEND: usize = 1024 * 1024;
/// Room for the chain object of a line.
const CHAIN_BYTES: usize = 160;

/// One line on its way.
pub(crate) struct Job {
    /// The open line.
    pub(crate) line: Vec<u8>,
    /// May use the reserve of a full disk.
    pub(crate) operator: bool,
    /// Told when `write(2)` returned.
    pub(crate) done: oneshot::Sender<Result<(), AuditError>>,
}

pub(crate) struct Writer {
    config: DeviceConfig,
    sink: Box<dyn AuditSink>,
    clock: Arc<dyn Clock>,
    revision: RevisionSource,
    signer: PrivateKey,
    /// The last line of the chain, written or in the buffer.
    head: ChainHead,
    /// The last line that the sink took.
    written: ChainHead,
    /// The file must be read again before the next append.
    broken: Option<EpochReason>,
    /// The last append failed.
    failing: Arc<AtomicBool>,
    since_checkpoint: u64,
    checkpoint_due: Option<Duration>,
    size: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Takes the sink and continues what it holds.
    pub(crate) fn open(
        config: DeviceConfig,
        signer: PrivateKey,
        sink: Box<dyn AuditSink>,
        clock: Arc<dyn Clock>,
        revision: RevisionSource,
    ) -> Result<Self, AuditError> {
        let head = config.remembered.unwrap_or(ChainHead::GENESIS);
        let mut writer = Self {
            config,
            sink,
            clock,
            revision,
            signer,
            head,
            written: head,
            broken: Some(EpochReason::Restart),
            failing: Arc::default(),
            since_checkpoint: 0,
            checkpoint_due: None,
            size: 0,
            buffer: Vec::new(),
        };
        writer.recover()?;
        Ok(writer)
    }

    /// The last line that the sink took.
    pub(crate) fn last_line(&self) -> ChainHead {
        self.written
    }

    /// When the next checkpoint is due on the monotonic clock; `None`: nothing to check.
    pub(crate) fn checkpoint_due(&self) -> Option<Duration> {
        self.checkpoint_due
    }

    /// Whether the last write failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Told whether the last write failed.
    pub(crate) fn failing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.failing)
    }

    /// Whether the file is larger than it may be.
    pub(crate) fn wants_rotation(&self) -> bool {
        self.config
            .rotate_bytes
            .is_some_and(|limit| self.size >= limit)
            && !self.is_broken()
    }

    /// Writes `jobs` in order and tells each of them how it went.
    pub(crate) fn write(&mut self, jobs: Vec<Job>) {
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            let mut bytes = 0;
            let mut part = Vec::new();
            while let Some(job) =
                jobs.next_if(|job| part.is_empty() || bytes + job.line.len() <= MAX_APPEND)
            {
                bytes += job.line.len() + CHAIN_BYTES;
                part.push(job);
            }
            self.write_part(part, bytes);
        }
    }

    fn write_part(&mut self, mut part: Vec<Job>, bytes: usize) {
        if let Err(error) = self.prepare(&mut part, bytes) {
            return answer(part, &Err(error));
        }
        if part.is_empty() {
            return;
        }
        let mut result = self.append(&part);
        if result.as_ref().is_err_and(file_went_away) && self.recover().is_ok() {
            // The sink looked before it wrote, so this cannot double a line.
            result = self.append(&part);
        }
        answer(part, &result);
    }

    fn append(&mut self, part: &[Job]) -> Result<(), AuditError> {
        self.buffer.clear();
        for job in part {
            self.push_line(&job.line);
        }
        self.flush()
    }

    /// Makes the file whole again and turns away those who may not use the reserve.
    fn prepare(&mut self, part: &mut Vec<Job>, bytes: usize) -> Result<(), AuditError> {
        self.recover()?;
        let room = self
            .sink
            .room(bytes as u64)
            .map_err(|error| self.failed(error))?;
        if room == AuditRoom::ReserveOnly {
            let (operators, others) = std::mem::take(part)
                .into_iter()
                .partition(|job| job.operator);
            *part = operators;
            answer(
                others,
                &Err(AuditError::Full {
                    device: self.config.name.clone(),
                }),
            );
        }
        Ok(())
    }

    fn push_line(&mut self, line: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(line);
        self.head.seal(&mut self.buffer, start);
        self.since_checkpoint += 1;
        let now = self.clock.monotonic();
        let due = *self
            .checkpoint_due
            .get_or_insert(now.saturating_add(CHECKPOINT_AGE));
        if self.since_checkpoint >= LINES_PER_CHECKPOINT || now >= due {
            self.push_checkpoint();
        }
    }

    fn push_checkpoint(&mut self) {
        let start = self.buffer.len();
        let note = CheckpointNote {
            now: self.clock.now(),
            zone: &self.config.zone,
            device: &self.config.name,
            revision: (self.revision)(),
            key: self.signer.public_key(),
        };
        let sign = |message: &[u8]| self.signer.sign(SignatureScheme::Ed25519, message);
        match chain::push_checkpoint(&mut self.buffer, &note, &self.head, sign) {
            Ok(()) => {
                self.head.seal(&mut self.buffer, start);
                self.since_checkpoint = 0;
                self.checkpoint_due = None;
            }
            Err(error) => {
                self.buffer.truncate(start);
                tracing::error!(device = %self.config.name, %error, "no audit checkpoint");
            }
        }
    }

    /// Appends the buffer.
    fn flush(&mut self) -> Result<(), AuditError> {
        let mut result = self.sink.append(&self.buffer);
        if result.is_ok() && self.config.durability == Durability::Batch {
            result = self.sink.sync();
        }
        result.map_err(|error| self.failed(error))?;
        self.size += self.buffer.len() as u64;
        self.written = self.head;
        self.failing.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&mut self, error: AuditSinkError) -> AuditError {
        self.broken = Some(EpochReason::Failure);
        self.failing.store(true, Ordering::Relaxed);
        self.head = self.written;
        let error = AuditError::from_sink(&self.config.name, error);
        tracing::warn!(device = %self.config.name, error = %Causes(&error), "audit write failed");
        error
    }

    /// After a start, a failure or a reopening: reads the end of the file and begins an epoch.
    fn recover(&mut self) -> Result<(), AuditError> {
        let Some(cause) = self.broken else {
            return Ok(());
        };
        self.recover_as(cause)
            .inspect_err(|_| self.broken = Some(cause))
    }

    fn recover_as(&mut self, cause: EpochReason) -> Result<(), AuditError> {
        if cause == EpochReason::Failure {
            // The file may have been deleted or its directory replaced.
            self.sink.reopen().map_err(|error| self.failed(error))?;
        }
        let tail = self.sink.tail().map_err(|error| self.failed(error))?;
        self.size = self.sink.size().map_err(|error| self.failed(error))?;
        let known = self.head;
        let found = tail.line.as_deref().map(ChainHead::of_line);
        let (prior, reason, remembered) = judge(known, found, tail.cut, cause);
        if cause == EpochReason::Reopen && found == Some(Some(known)) {
            self.broken = None;
            return Ok(());
        }
        let epoch = prior.epoch.max(known.epoch) + 1;
        self.buffer.clear();
        self.head = ChainHead { epoch, ..prior };
        self.push_epoch(prior, reason, remembered, tail.cut);
        // What was found is signed at once: from here on it cannot be changed unseen.
        self.push_checkpoint();
        self.sink
            .room(self.buffer.len() as u64)
            .map_err(|error| self.failed(error))?;
        self.flush()?;
        self.broken = None;
        Ok(())
    }

    fn push_epoch(
        &mut self,
        prior: ChainHead,
        reason: EpochReason,
        remembered: Option<ChainHead>,
        cut: u64,
    ) {
        let note = EpochNote {
            v: 1,
            zone: self.config.zone.clone(),
            device: self.config.name.clone(),
            head: self.config.head.clone(),
            reason,
            prior,
            remembered,
            cut,
        };
        let start = self.buffer.len();
        note.push(&mut self.buffer, self.clock.now());
        self.head.seal(&mut self.buffer, start);
        self.since_checkpoint += 1;
        let due = self.clock.monotonic().saturating_add(CHECKPOINT_AGE);
        self.checkpoint_due.get_or_insert(due);
    }

    /// Writes a checkpoint if lines were written since the last one.
    pub(crate) fn checkpoint(&mut self) -> Result<(), AuditError> {
        self.recover()?;
        if self.since_checkpoint == 0 {
            return Ok(());
        }
        self.buffer.clear();
        self.push_checkpoint();
        self.sink
            .room(self.buffer.len() as u64)
            .map_err(|error| self.failed(error))?;
        self.flush()
    }

    /// Writes a checkpoint if one is due.
    pub(crate) fn checkpoint_if_due(&mut self) {
        if self
            .checkpoint_due
            .is_some_and(|due| self.clock.monotonic() >= due)
        {
            // A failure is logged and the next line meets it again.
            drop(self.checkpoint());
        }
    }

    /// Writes a checkpoint and puts all on stable storage.
    pub(crate) fn settle(&mut self) -> Result<(), AuditError> {
        self.checkpoint()?;
        self.sink.sync().map_err(|error| self.failed(error))
    }

    /// Settles and lets the file go: whoever is told may open it at once.
    pub(crate) fn close(&mut self) -> Result<(), AuditError> {
        let settled = self.settle();
        self.sink = Box::new(Gone);
        settled
    }

    /// Closes the file under a name of its own and goes on in a new one.
    pub(crate) fn rotate(&mut self) -> Result<(), AuditError> {
        self.settle()?;
        let suffix = self.suffix();
        let prior = self.head;
        self.buffer.clear();
        self.head.epoch += 1;
        self.push_epoch(prior, EpochReason::Rotation, None, 0);
        self.sink
            .rotate(&suffix, &self.buffer)
            .map_err(|error| self.failed(error))?;
        self.written = self.head;
        self.size = self.buffer.len() as u64;
        Ok(())
    }

    /// `.20261124T060501Z.42`: when, and the number of the last line.
    fn suffix(&self) -> String {
        let now = zone_types::Timestamp::from_secs(self.clock.now().secs()).to_string();
        let compact: String = now.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        format!(".{compact}.{}", self.head.seq)
    }

    /// Opens the file of the device's name again.
    pub(crate) fn reopen(&mut self) -> Result<(), AuditError> {
        if self.broken.is_none() {
            self.settle()?;
        }
        self.sink.reopen().map_err(|error| self.failed(error))?;
        self.broken.get_or_insert(EpochReason::Reopen);
        self.recover()
    }
}

/// In place of the sink of a device that was closed.
#[derive(Debug)]
struct Gone;

impl Gone {
    fn fault<T>() -> Result<T, AuditSinkError> {
        Err(AuditSinkError {
            doing: "used: the device is closed",
            source: ErrorKind::NotConnected.into(),
        })
    }
}

impl AuditSink for Gone {
    fn append(&mut self, _: &[u8]) -> Result<(), AuditSinkError> {
        Self::fault()
    }

    fn room(&mut self, _: u64) -> Result<AuditRoom, AuditSinkError> {
        Self::fault()
    }

    fn sync(&mut self) -> Result<(), AuditSinkError> {
        Self::fault()
    }

    fn size(&mut self) -> Result<u64, AuditSinkError> {
        Self::fault()
    }

    fn rotate(&mut self, _: &str, _: &[u8]) -> Result<(), AuditSinkError> {
        Self::fault()
    }

    fn reopen(&mut self) -> Result<(), AuditSinkError> {
        Self::fault()
    }

    fn tail(&mut self) -> Result<AuditTail, AuditSinkError> {
        Self::fault()
    }
}

/// What to continue, given the last line that is known and the last line that was found (`None`:
/// the file is empty; `Some(None)`: its last line is not one of a chain).
fn judge(
    known: ChainHead,
    found: Option<Option<ChainHead>>,
    cut: u64,
    cause: EpochReason,
) -> (ChainHead, EpochReason, Option<ChainHead>) {
    match found {
        None if known == ChainHead::GENESIS => (known, EpochReason::Start, None),
        // Files begin with a whole line.
        None if cut > 0 => (known, EpochReason::Tampered, Some(known)),
        // A new file: moved away by somebody, or deleted. The chain goes on from memory, and
        // whoever has not got the old file sees that lines are missing.
        None => (known, cause, None),
        Some(Some(line)) if line == known || line.seq > known.seq => (line, cause, None),
        Some(Some(line)) => (line, EpochReason::Tampered, Some(known)),
        Some(None) => (known, EpochReason::Tampered, Some(known)),
    }
}

fn answer(jobs: Vec<Job>, result: &Result<(), AuditError>) {
    for job in jobs {
        // A waiter that went away has its line all the same.
        drop(job.done.send(result.clone()));
    }
}

/// Somebody deleted the file or changed it behind the sink's back.
fn file_went_away(error: &AuditError) -> bool {
    let AuditError::Failed { source, .. } = error else {
        return false;
    };
    matches!(
        source.source.kind(),
        ErrorKind::NotFound | ErrorKind::InvalidData
    )
}

/// An error with its causes, for the log.
struct Causes<'a>(&'a AuditError);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(inner) = cause {
            write!(f, ": {inner}")?;
            cause = inner.source();
        }
        Ok(())
    }
}
