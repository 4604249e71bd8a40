//! Devices whose lines go to a receiver from which nothing can be read back: syslog, a socket.
//!
//! ```text
//! push ──▶ queue (bounded) ──▶ thread ──deliver──▶ ports::AuditStream
//!             │ full: counted         │ away: again after a pause that doubles
//!             └──── "N lines were lost", as a line of its own, once there is room
//! ```
//!
//! What must hold: whoever pushes never waits; each line, lost ones too, has a number, so that a
//! receiver sees what is missing; without acknowledgement no line satisfies A1. Not here: a chain.
//! Nobody could verify one, since the head cannot read what the receiver kept.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use zone_ports::audit::{StreamLine, Undelivered};
use zone_ports::{AuditSinkError, AuditStream, Clock};
use zone_types::Timestamp;

use crate::AuditError;
use crate::redact::push_string;

/// Most lines in a queue.
const MAX_LINES: usize = 8_192;
/// Most bytes in a queue.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Most lines that are handed over at once. An acknowledging receiver answers each of them.
const TURN_LINES: usize = 256;
/// The first pause after a failure; each one doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Answer = Result<(), AuditError>;

/// What such a device is.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Its name, as `sys/audit` shows it without the slash: `syslog`.
    pub name: String,
    /// The zone's id; stands in each line.
    pub zone: String,
    /// Which head writes; stands in each line.
    pub head: String,
    /// Whether accessors are written as HMACs.
    pub hmac_accessor: bool,
    /// Whether answers to lists are written as the number of their keys.
    pub elide_lists: bool,
    /// Whether the receiver answers each line, so that a line there satisfies A1.
    pub acknowledges: bool,
}

/// The queue and the thread of one device. The thread ends when this is dropped.
pub(crate) struct Stream {
    shared: Arc<Shared>,
}

struct Shared {
    config: StreamConfig,
    clock: Arc<dyn Clock>,
    /// When this run began: numbers of lines are unique together with it.
    run: Timestamp,
    queue: Mutex<Queue>,
    wake: Condvar,
    failing: AtomicBool,
    lost: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// The number of the last line.
    seq: u64,
    /// Lines that were lost and not yet told of, and since when.
    untold: Option<(u64, Timestamp)>,
    closing: Vec<oneshot::Sender<Answer>>,
    closed: bool,
    /// The receiver is away: whoever needs an answer is refused at once.
    away: Option<Arc<AuditSinkError>>,
}

struct Job {
    seq: u64,
    line: Vec<u8>,
    done: Option<oneshot::Sender<Answer>>,
}

impl Stream {
    pub(crate) fn start(
        config: StreamConfig,
        receiver: Box<dyn AuditStream>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuditError> {
        let name = format!("audit-{}", config.name);
        let shared = Arc::new(Shared {
            config,
            run: clock.now(),
            clock,
            queue: Mutex::default(),
            wake: Condvar::new(),
            failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        });
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(name)
            .spawn(move || thread.run(receiver))
            .map_err(|_| AuditError::Thread)?;
        Ok(Self { shared })
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Queues an open line. Never waits.
    pub(crate) fn push(&self, line: Vec<u8>) -> Result<oneshot::Receiver<Answer>, AuditError> {
        let shared = &self.shared;
        let (done, waiter) = oneshot::channel();
        let mut queue = shared.queue.lock();
        if queue.closed {
            return Err(shared.closed());
        }
        if let Some(source) = queue.away.clone().filter(|_| shared.config.acknowledges) {
            shared.pass_over(&mut queue);
            return Err(shared.failure(source));
        }
        let full = queue.jobs.len() >= MAX_LINES || queue.bytes >= MAX_BYTES;
        if full {
            shared.pass_over(&mut queue);
            return Err(AuditError::Busy {
                device: shared.config.name.clone(),
            });
        }
        shared.tell_losses(&mut queue);
        shared.enqueue(&mut queue, line, Some(done));
        // While the receiver is away the thread waits for its next attempt, not for lines.
        let wake = queue.away.is_none();
        drop(queue);
        if wake {
            shared.wake.notify_one();
        }
        Ok(waiter)
    }

    /// Hands over what is queued, if the receiver takes it, and ends the thread.
    pub(crate) async fn close(&self) -> Answer {
        let (done, waiter) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if queue.closed {
                return Err(self.shared.closed());
            }
            queue.closed = true;
            queue.closing.push(done);
        }
        self.shared.wake.notify_one();
        waiter.await.map_err(|_| self.shared.closed())?
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    /// The thread's life.
    fn run(&self, mut receiver: Box<dyn AuditStream>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let (jobs, closed) = self.next();
            if jobs.is_empty() && closed {
                return self.end(Ok(()));
            }
            let Err(failure) = self.deliver(&mut *receiver, jobs) else {
                pause = FIRST_PAUSE;
                continue;
            };
            if closed {
                // One attempt: nobody waits for a receiver that is away.
                self.drop_queue();
                return self.end(Err(failure));
            }
            while !self.is_back(&mut *receiver, pause) {
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }

    /// The next lines, and whether the device is closed. Waits until there is one or the other.
    fn next(&self) -> (Vec<Job>, bool) {
        let mut queue = self.queue.lock();
        loop {
            self.tell_losses(&mut queue);
            if !queue.jobs.is_empty() || queue.closed {
                let count = queue.jobs.len().min(TURN_LINES);
                let jobs: Vec<Job> = queue.jobs.drain(..count).collect();
                queue.bytes -= jobs.iter().map(|job| job.line.len()).sum::<usize>();
                return (jobs, queue.closed);
            }
            self.wake.wait(&mut queue);
        }
    }

    fn deliver(&self, receiver: &mut dyn AuditStream, mut jobs: Vec<Job>) -> Answer {
        let lines: Vec<StreamLine<'_>> = jobs.iter().map(Job::as_line).collect();
        let failure = match receiver.deliver(&lines) {
            Ok(()) => {
                jobs.into_iter().for_each(|job| job.answer(Ok(())));
                return Ok(());
            }
            Err(failure) => failure,
        };
        let rest = jobs.split_off(failure.taken.min(jobs.len()));
        jobs.into_iter().for_each(|job| job.answer(Ok(())));
        self.undelivered(rest, failure)
    }

    /// Keeps what may still be taken later, and counts what will not. `Ok`: go on at once.
    fn undelivered(&self, mut rest: Vec<Job>, failure: Undelivered) -> Answer {
        let hopeless = failure.hopeless;
        let source = Arc::new(failure.error);
        let error = self.failure(Arc::clone(&source));
        let gone = match (self.config.acknowledges, hopeless) {
            // Each of them is refused by now, or another device has it.
            (true, false) => std::mem::take(&mut rest),
            (_, true) if !rest.is_empty() => vec![rest.remove(0)],
            _ => Vec::new(),
        };
        let mut queue = self.queue.lock();
        self.lose(&mut queue, gone.len() as u64);
        for job in rest.into_iter().rev() {
            queue.bytes += job.line.len();
            queue.jobs.push_front(job);
        }
        if hopeless {
            drop(queue);
            gone.into_iter()
                .for_each(|job| job.answer(Err(error.clone())));
            return Ok(());
        }
        let late = if self.config.acknowledges {
            queue.bytes = 0;
            std::mem::take(&mut queue.jobs)
        } else {
            VecDeque::new()
        };
        self.lose(&mut queue, late.len() as u64);
        queue.away = Some(source);
        drop(queue);
        gone.into_iter()
            .chain(late)
            .for_each(|job| job.answer(Err(error.clone())));
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(device = self.config.name, error = %chain(&error), "audit receiver is away");
        }
        Err(error)
    }

    /// Waits for `pause` (or for the end), then tries to connect.
    fn is_back(&self, receiver: &mut dyn AuditStream, pause: Duration) -> bool {
        let mut queue = self.queue.lock();
        if !queue.closed {
            self.wake.wait_for(&mut queue, pause);
        }
        let closed = queue.closed;
        drop(queue);
        if receiver.deliver(&[]).is_err() {
            return closed;
        }
        self.queue.lock().away = None;
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(device = self.config.name, "audit receiver is back");
        }
        true
    }

    fn enqueue(&self, queue: &mut Queue, mut line: Vec<u8>, done: Option<oneshot::Sender<Answer>>) {
        queue.seq += 1;
        let seq = queue.seq;
        line.extend_from_slice(b",\"stream\":{\"zone\":");
        push_string(&mut line, &self.config.zone);
        line.extend_from_slice(b",\"head\":");
        push_string(&mut line, &self.config.head);
        line.extend_from_slice(b",\"device\":");
        push_string(&mut line, &self.config.name);
        drop(write!(line, ",\"run\":\"{}\",\"seq\":{seq}}}}}", self.run));
        queue.bytes += line.len();
        queue.jobs.push_back(Job { seq, line, done });
    }

    /// A line that is not even queued. It has a number all the same.
    fn pass_over(&self, queue: &mut Queue) {
        queue.seq += 1;
        self.lose(queue, 1);
    }

    /// Counts lines that the receiver will not get.
    fn lose(&self, queue: &mut Queue, lines: u64) {
        if lines == 0 {
            return;
        }
        self.lost.fetch_add(lines, Ordering::Relaxed);
        let (count, since) = queue.untold.unwrap_or_else(|| (0, self.clock.now()));
        queue.untold = Some((count + lines, since));
    }

    /// Queues the line that tells what was lost, before anything else is queued.
    fn tell_losses(&self, queue: &mut Queue) {
        if queue.away.is_some() || queue.jobs.len() >= MAX_LINES || queue.bytes >= MAX_BYTES {
            return;
        }
        if let Some((lines, since)) = queue.untold.take() {
            let line = format!(
                "{{\"time\":\"{}\",\"type\":\"lost\",\"lost\":{{\"v\":1,\"lines\":{lines},\"since\":\"{since}\"}}",
                self.clock.now()
            );
            self.enqueue(queue, line.into_bytes(), None);
            tracing::warn!(device = self.config.name, lines, "audit lines were lost");
        }
    }

    fn drop_queue(&self) {
        let mut queue = self.queue.lock();
        let jobs = std::mem::take(&mut queue.jobs);
        self.lose(&mut queue, jobs.len() as u64);
        drop(queue);
        if !jobs.is_empty() {
            let (device, lines) = (&self.config.name, jobs.len());
            tracing::warn!(device, lines, "audit lines were lost at the end");
        }
        jobs.into_iter()
            .for_each(|job| job.answer(Err(self.closed())));
    }

    fn end(&self, result: Answer) {
        let closing = std::mem::take(&mut self.queue.lock().closing);
        for done in closing {
            drop(done.send(result.clone()));
        }
    }

    fn failure(&self, source: Arc<AuditSinkError>) -> AuditError {
        AuditError::Failed {
            device: self.config.name.clone(),
            source,
        }
    }

    fn closed(&self) -> AuditError {
        AuditError::Closed {
            device: self.config.name.clone(),
        }
    }
}

impl Job {
    fn as_line(&self) -> StreamLine<'_> {
        StreamLine {
            seq: self.seq,
            text: &self.line,
        }
    }

    fn answer(self, answer: Answer) {
        if let Some(done) = self.done {
            // A waiter that went away has its line all the same.
            drop(done.send(answer));
        }
    }
}

fn chain(error: &AuditError) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
