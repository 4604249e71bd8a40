//! One audit device: its keys, its queue, its thread.
//!
//! Whoever has a line pushes it to the queue. The thread takes all that is queued, writes it in
//! one append and wakes the waiters. Where the broker allows it and the sink was quick so far,
//! the pushing task does that turn itself and saves two thread switches a line; whoever comes
//! meanwhile only queues, and the one who writes takes his line along.
//!
//! What must hold: a full or stuck device costs its own waiters only. Not here: which device
//! must answer (see `broker`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use zone_crypto::hmac;
use zone_crypto::sign::{KeyAlgorithm, PrivateKey, PublicKey};
use zone_ports::{AuditSink, AuditStream, Clock};
use zone_types::Secret;

use crate::chain::ChainHead;
use crate::encode::Encoder;
use crate::entry::AuditEntry;
use crate::redact::hmac_text;
use crate::stream::{Stream, StreamConfig};
use crate::writer::{CHECKPOINT_AGE, Job, Writer};
use crate::{AuditError, RevisionSource};

/// Most lines in a queue.
const MAX_LINES: usize = 8_192;
/// Most bytes in a queue.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// A turn on a caller's thread that took longer sends the next lines to the device's thread.
const QUICK: Duration = Duration::from_millis(1);
/// How many lines go through the thread after a slow turn.
const PENALTY: u64 = 1_000;
/// Turns that one caller does for others before the thread takes over.
const MAX_TURNS: usize = 8;

/// What a device is.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its name, as `sys/audit` shows it without the slash: `file`.
    pub name: String,
    /// The zone's id; stands in epoch and checkpoint lines.
    pub zone: String,
    /// Which head writes; stands in epoch lines.
    pub head: String,
    /// Whether accessors are written as HMACs (Vault's `hmac_accessor`, true by default).
    pub hmac_accessor: bool,
    /// Whether answers to lists are written as the number of their keys (Vault's
    /// `elide_list_responses`, false by default).
    pub elide_lists: bool,
    /// When lines go to stable storage.
    pub durability: Durability,
    /// The file is rotated once it has this many bytes; `None`: never by size.
    pub rotate_bytes: Option<u64>,
    /// The last line that the zone remembers (`Device::head` of an earlier run). If the file
    /// then ends before it, the next epoch says so and verification finds it.
    pub remembered: Option<ChainHead>,
    /// Whether a line in this device satisfies A1.
    pub counts: bool,
}

/// When lines go to stable storage. `write(2)` returns before a line counts in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the system writes it; at rotation and at seal at the latest. A crash of the process
    /// loses nothing, a crash of the machine may lose the last seconds.
    #[default]
    System,
    /// Before the waiters are answered: one `fdatasync` for all lines of a batch.
    Batch,
}

/// The keys of a device.
#[derive(Debug)]
pub struct DeviceKeys {
    /// Key of the HMACs in its lines: 32 random bytes, kept in the barrier.
    pub hmac: Secret<[u8; 32]>,
    /// Signs its checkpoints: an Ed25519 key.
    pub signer: PrivateKey,
}

/// A running device.
pub struct Device {
    name: String,
    counts: bool,
    encoder: Encoder,
    way: Way,
}

/// Where a device's lines go.
enum Way {
    /// Into a chain of lines that is signed.
    Chain {
        public_key: PublicKey,
        shared: Arc<Shared>,
    },
    /// To a receiver from which nothing can be read back.
    Stream(Stream),
}

struct Shared {
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    wake: Condvar,
    writer: Mutex<Writer>,
    /// Lines that still have to go through the thread because a turn was slow.
    penalty: AtomicU64,
    /// `Durability::System`: a turn needs no disk.
    light: bool,
    failing: Arc<AtomicBool>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    bytes: usize,
    orders: Vec<(Order, oneshot::Sender<Result<(), AuditError>>)>,
    /// The thread waits with a time limit, for the next checkpoint.
    timed: bool,
    /// A caller's turn left a file that is due for rotation.
    rotate: bool,
    closed: bool,
}

/// What a device's thread is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Checkpoint,
    Rotate,
    Reopen,
    /// Checkpoint, sync, end.
    Close,
}

impl Device {
    /// Continues the chain that `sink` holds and starts the device's thread. `revision` tells the
    /// number of the last commit group, for checkpoints; it must not block.
    ///
    /// # Errors
    ///
    /// The sink's; [`AuditError::Key`] if the signer is no Ed25519 key.
    pub async fn start(
        config: DeviceConfig,
        keys: DeviceKeys,
        sink: Box<dyn AuditSink>,
        clock: Arc<dyn Clock>,
        revision: RevisionSource,
    ) -> Result<Arc<Self>, AuditError> {
        if keys.signer.algorithm() != KeyAlgorithm::Ed25519 {
            return Err(AuditError::Key);
        }
        let public_key = keys.signer.public_key().clone();
        let encoder = Encoder {
            key: hmac::Key::new(keys.hmac.expose()),
            hmac_accessor: config.hmac_accessor,
            elide_lists: config.elide_lists,
        };
        let (name, counts) = (config.name.clone(), config.counts);
        let light = config.durability == Durability::System;
        let (ready, opened) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("audit-{name}"));
        let spawned = thread.spawn(move || {
            match Writer::open(config, keys.signer, sink, Arc::clone(&clock), revision) {
                Ok(writer) => {
                    let shared = Arc::new(Shared::new(clock, writer, light));
                    if ready.send(Ok(Arc::clone(&shared))).is_ok() {
                        shared.run();
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        spawned.map_err(|_| AuditError::Thread)?;
        let shared = opened.await.map_err(|_| AuditError::Thread)??;
        Ok(Arc::new(Self {
            name,
            counts,
            encoder,
            way: Way::Chain { public_key, shared },
        }))
    }

    /// Starts the thread of a device whose lines go to `receiver`. It need not be there yet.
    ///
    /// # Errors
    ///
    /// [`AuditError::Thread`].
    pub fn stream(
        config: StreamConfig,
        hmac: &Secret<[u8; 32]>,
        receiver: Box<dyn AuditStream>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, AuditError> {
        let encoder = Encoder {
            key: hmac::Key::new(hmac.expose()),
            hmac_accessor: config.hmac_accessor,
            elide_lists: config.elide_lists,
        };
        let (name, counts) = (config.name.clone(), config.acknowledges);
        let way = Way::Stream(Stream::start(config, receiver, clock)?);
        Ok(Arc::new(Self {
            name,
            counts,
            encoder,
            way,
        }))
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a line in this device satisfies A1.
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// `hmac-sha256:<hex>` of `value`, as this device's lines hold it (`sys/audit-hash`).
    pub fn hash(&self, value: &str) -> String {
        hmac_text(&self.encoder.key, value.as_bytes())
    }

    /// The key that verifies this device's checkpoints; `None`: its lines are not chained.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.way {
            Way::Chain { public_key, .. } => Some(public_key),
            Way::Stream(_) => None,
        }
    }

    /// Whether the last write failed.
    pub fn is_failing(&self) -> bool {
        match &self.way {
            Way::Chain { shared, .. } => shared.failing.load(Ordering::Relaxed),
            Way::Stream(stream) => stream.is_failing(),
        }
    }

    /// Lines that its receiver never got. Always zero for a file: there each of them failed its
    /// request or stands in another device.
    pub fn lost(&self) -> u64 {
        match &self.way {
            Way::Chain { .. } => 0,
            Way::Stream(stream) => stream.lost(),
        }
    }

    /// The last line written. Keep it in the barrier and give it back as
    /// [`DeviceConfig::remembered`]. `None` while the device is stuck in a write, and for one
    /// whose lines are not chained.
    pub fn head(&self) -> Option<ChainHead> {
        let Way::Chain { shared, .. } = &self.way else {
            return None;
        };
        let writer = shared.writer.try_lock_for(Duration::from_millis(50))?;
        let head = writer.last_line();
        drop(writer);
        // Who could not get the lock meanwhile has only queued.
        shared.wake.notify_one();
        Some(head)
    }

    /// Encodes and queues `entry`; with `here` the calling thread may do the write.
    pub(crate) fn submit(
        &self,
        entry: &AuditEntry<'_>,
        here: bool,
    ) -> Result<oneshot::Receiver<Result<(), AuditError>>, AuditError> {
        self.push(self.encoder.encode(entry), entry.operator, here)
    }

    /// Queues an open line.
    pub(crate) fn push(
        &self,
        line: Vec<u8>,
        operator: bool,
        here: bool,
    ) -> Result<oneshot::Receiver<Result<(), AuditError>>, AuditError> {
        let shared = match &self.way {
            Way::Chain { shared, .. } => shared,
            Way::Stream(stream) => return stream.push(line),
        };
        let (done, waiter) = oneshot::channel();
        let here = here && shared.light && !shared.is_slow();
        let first = {
            let mut queue = shared.queue.lock();
            if queue.closed {
                return Err(AuditError::Closed {
                    device: self.name.clone(),
                });
            }
            if queue.jobs.len() >= MAX_LINES || queue.bytes >= MAX_BYTES {
                return Err(AuditError::Busy {
                    device: self.name.clone(),
                });
            }
            queue.bytes += line.len();
            queue.jobs.push(Job {
                line,
                operator,
                done,
            });
            queue.jobs.len() == 1
        };
        if here {
            shared.turns();
        } else if first {
            shared.wake.notify_one();
        }
        Ok(waiter)
    }

    /// Has the thread do `order` after all that is queued.
    pub(crate) async fn order(&self, order: Order) -> Result<(), AuditError> {
        let shared = match &self.way {
            Way::Chain { shared, .. } => shared,
            Way::Stream(stream) if order == Order::Close => return stream.close().await,
            // Nothing to sign, to rotate or to open anew.
            Way::Stream(_) => return Ok(()),
        };
        let (done, waiter) = oneshot::channel();
        {
            let mut queue = shared.queue.lock();
            if queue.closed {
                return Err(AuditError::Closed {
                    device: self.name.clone(),
                });
            }
            queue.closed = order == Order::Close;
            queue.orders.push((order, done));
        }
        shared.wake.notify_one();
        waiter.await.map_err(|_| AuditError::Closed {
            device: self.name.clone(),
        })?
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "audit device {}", self.name)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Way::Chain { shared, .. } = &self.way {
            shared.queue.lock().closed = true;
            shared.wake.notify_one();
        }
    }
}

impl Shared {
    fn new(clock: Arc<dyn Clock>, writer: Writer, light: bool) -> Self {
        Self {
            clock,
            failing: writer.failing(),
            queue: Mutex::default(),
            wake: Condvar::new(),
            writer: Mutex::new(writer),
            penalty: AtomicU64::new(0),
            light,
        }
    }

    /// The thread's life.
    fn run(&self) {
        loop {
            let closed = self.wait();
            let mut writer = self.writer.lock();
            let ended = self.turn(&mut writer);
            if ended {
                return;
            }
            writer.checkpoint_if_due();
            if writer.wants_rotation()
                && let Err(error) = writer.rotate()
            {
                tracing::error!(%error, "the audit file was not rotated");
            }
            self.queue.lock().timed = writer.checkpoint_due().is_some();
            if closed {
                // Dropped without an order to close.
                if let Err(error) = writer.settle() {
                    tracing::error!(%error, "the audit file was not settled");
                }
                return;
            }
        }
    }

    /// Until there is something to do; `true`: the device is closed and nothing is queued.
    fn wait(&self) -> bool {
        let mut queue = self.queue.lock();
        loop {
            let rotate = std::mem::take(&mut queue.rotate);
            if rotate || !queue.jobs.is_empty() || !queue.orders.is_empty() {
                return false;
            }
            if queue.closed {
                return true;
            }
            if !queue.timed {
                self.wake.wait(&mut queue);
            } else if self.wake.wait_for(&mut queue, CHECKPOINT_AGE).timed_out() {
                return false;
            }
        }
    }

    /// Writes what is queued, then does what was ordered; `true` after an order to close.
    fn turn(&self, writer: &mut Writer) -> bool {
        let (jobs, orders) = {
            let mut queue = self.queue.lock();
            queue.bytes = 0;
            (
                std::mem::take(&mut queue.jobs),
                std::mem::take(&mut queue.orders),
            )
        };
        writer.write(jobs);
        let mut ended = false;
        for (order, done) in orders {
            let result = match order {
                Order::Checkpoint => writer.checkpoint(),
                Order::Rotate => writer.rotate(),
                Order::Reopen => writer.reopen(),
                Order::Close => {
                    ended = true;
                    writer.close()
                }
            };
            drop(done.send(result));
        }
        ended
    }

    /// Turns on a caller's thread: only lines, and only while the sink is quick.
    fn turns(&self) {
        for _ in 0..MAX_TURNS {
            let Some(mut writer) = self.writer.try_lock() else {
                return;
            };
            let jobs = {
                let mut queue = self.queue.lock();
                queue.bytes = 0;
                std::mem::take(&mut queue.jobs)
            };
            let start = self.clock.monotonic();
            writer.write(jobs);
            if self.clock.monotonic().saturating_sub(start) > QUICK || writer.is_broken() {
                self.penalty.store(PENALTY, Ordering::Relaxed);
            }
            let rotate = writer.wants_rotation();
            let due = writer.checkpoint_due().is_some();
            // Unlocked before the queue is looked at: whoever pushed while this lock was held
            // and went away to wait is seen now.
            drop(writer);
            let mut queue = self.queue.lock();
            if rotate || (due && !queue.timed) {
                queue.timed |= due;
                queue.rotate |= rotate;
                self.wake.notify_one();
            }
            if queue.jobs.is_empty() {
                return;
            }
        }
        self.wake.notify_one();
    }

    fn is_slow(&self) -> bool {
        let left = self.penalty.load(Ordering::Relaxed);
        if left > 0 {
            self.penalty.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }
}
