//! All audit devices of the zone.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, FutureExt as _};
use parking_lot::RwLock;
use tokio::sync::oneshot;
use zone_ports::Clock;

use crate::AuditError;
use crate::chain::ChainHead;
use crate::device::{Device, Order};
use crate::entry::{Alert, AuditEntry};
use crate::refusals::Refusals;

/// How long a line may wait for its device.
const PATIENCE: Duration = Duration::from_secs(10);

type Waiter = oneshot::Receiver<Result<(), AuditError>>;

/// The way to every audit device. Without one (before unseal, after seal) nothing is recorded and
/// [`Broker::record`] fails.
#[derive(Debug)]
pub struct Broker {
    devices: RwLock<Arc<[Arc<Device>]>>,
    refusals: Refusals,
    clock: Arc<dyn Clock>,
}

/// One device, for `sys/audit` and metrics.
#[derive(Clone, Debug)]
pub struct DeviceStatus {
    /// Its name.
    pub name: String,
    /// Whether it satisfies A1.
    pub counts: bool,
    /// Whether its last write failed.
    pub failing: bool,
    /// Lines that it lost.
    pub lost: u64,
    /// Its last line; `None` while it is stuck in a write, and without a chain.
    pub head: Option<ChainHead>,
}

impl Broker {
    /// No devices yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            devices: RwLock::new(Arc::new([])),
            refusals: Refusals::default(),
            clock,
        }
    }

    /// Records `entry` in every device (A1).
    ///
    /// # Errors
    ///
    /// No device that counts took the line. For a request: do not run it. For a response: answer
    /// 500 and revoke the credentials that it carries.
    pub async fn record(&self, entry: &AuditEntry<'_>) -> Result<(), AuditError> {
        if let Some(summary) = self.refusals.due(self.clock.monotonic()) {
            self.broadcast(&summary.line(self.clock.now()));
        }
        let submit = |device: &Device, here| device.submit(entry, here);
        self.write(submit).await
    }

    /// Records what an operator should look at, in every device, as a line of its own that may use
    /// the reserve of a full disk.
    ///
    /// # Errors
    ///
    /// As [`Broker::record`]: do not let happen what could not be told.
    pub async fn alert(&self, alert: &Alert<'_>) -> Result<(), AuditError> {
        let line = alert.line();
        let submit = |device: &Device, here| device.push(line.clone(), true, here);
        self.write(submit).await
    }

    /// Records that a caller without a valid token was refused, for the reason `kind` (few fixed
    /// words: `missing token`). At most 10 a second and network (/24, /48) and 100 a second in
    /// all get a line of their own (one: a request line with `error`); the others are counted
    /// in one line per second, so a flood cannot fill the disk.
    ///
    /// # Errors
    ///
    /// As [`Broker::record`]. `Ok` for a refusal that is only counted.
    pub async fn record_refusal(
        &self,
        kind: &'static str,
        from: Option<IpAddr>,
        entry: &AuditEntry<'_>,
    ) -> Result<(), AuditError> {
        if !self.admits(from) {
            self.count(kind, from);
            return Ok(());
        }
        self.record(entry).await
    }

    /// Whether a call without a token gets lines of its own whatever comes of it. At most as many
    /// do as of [`Broker::record_refusal`], which are counted with them.
    pub fn admits(&self, from: Option<IpAddr>) -> bool {
        self.refusals.admit(self.clock.monotonic(), from)
    }

    /// Counts a call that got no line, under `kind` (few fixed words).
    pub fn count(&self, kind: &'static str, from: Option<IpAddr>) {
        self.refusals.count(self.clock.monotonic(), kind, from);
    }

    /// Writes the count of suppressed refusals if one is due. Call it about once a second.
    pub fn tick(&self) {
        if let Some(summary) = self.refusals.due(self.clock.monotonic()) {
            self.broadcast(&summary.line(self.clock.now()));
        }
    }

    async fn write(
        &self,
        submit: impl Fn(&Device, bool) -> Result<Waiter, AuditError>,
    ) -> Result<(), AuditError> {
        let devices = self.devices();
        // With one device that counts nobody waits for another, so a caller may do the write
        // itself. The others only queue.
        let here = devices.iter().filter(|device| device.counts()).count() == 1;
        let mut waiters: Vec<(&Device, Waiter)> = Vec::with_capacity(devices.len());
        let mut failure = AuditError::NoDevice;
        let mut recorded = false;
        for device in devices.iter() {
            match submit(device, here) {
                Ok(mut waiter) if device.counts() => match waiter.try_recv() {
                    Ok(Ok(())) => recorded = true,
                    Ok(Err(error)) => failure = error,
                    Err(_) => waiters.push((device, waiter)),
                },
                Ok(_) => {}
                Err(error) if device.counts() => failure = error,
                // Counted by the device, which tells it in a later line.
                Err(_) => {}
            }
        }
        if recorded {
            return Ok(());
        }
        match first_success(waiters).await {
            Some(result) => result,
            None => Err(failure),
        }
    }

    fn broadcast(&self, line: &[u8]) {
        for device in self.devices().iter() {
            if let Err(error) = device.push(line.to_vec(), false, false) {
                tracing::warn!(%error, "a summary of refusals was dropped");
            }
        }
    }

    /// Adds a device.
    ///
    /// # Errors
    ///
    /// [`AuditError::Exists`].
    pub fn add(&self, device: Arc<Device>) -> Result<(), AuditError> {
        let mut devices = self.devices.write();
        if devices.iter().any(|other| other.name() == device.name()) {
            return Err(AuditError::Exists);
        }
        *devices = devices.iter().cloned().chain([device]).collect();
        Ok(())
    }

    /// Removes and closes a device.
    ///
    /// # Errors
    ///
    /// [`AuditError::LastDevice`], [`AuditError::Unknown`], or why its last checkpoint could not
    /// be written (it is removed all the same).
    pub async fn remove(&self, name: &str) -> Result<(), AuditError> {
        let device = {
            let mut devices = self.devices.write();
            let device = find(&devices, name).ok_or(AuditError::Unknown)?;
            let others = devices.iter().filter(|other| other.counts()).count();
            if device.counts() && others == 1 {
                return Err(AuditError::LastDevice);
            }
            *devices = devices
                .iter()
                .filter(|other| other.name() != name)
                .cloned()
                .collect();
            device
        };
        device.order(Order::Close).await
    }

    /// The device of that name.
    pub fn device(&self, name: &str) -> Option<Arc<Device>> {
        find(&self.devices(), name)
    }

    /// Every device.
    pub fn list(&self) -> Vec<DeviceStatus> {
        let status = |device: &Arc<Device>| DeviceStatus {
            name: device.name().to_owned(),
            counts: device.counts(),
            failing: device.is_failing(),
            lost: device.lost(),
            head: device.head(),
        };
        self.devices().iter().map(status).collect()
    }

    /// Opens every file again, after somebody moved the old ones away (SIGHUP).
    pub async fn reopen_all(&self) -> Result<(), AuditError> {
        self.order_all(Order::Reopen).await
    }

    /// Has the device of that name rotate its file.
    pub async fn rotate(&self, name: &str) -> Result<(), AuditError> {
        self.device(name)
            .ok_or(AuditError::Unknown)?
            .order(Order::Rotate)
            .await
    }

    /// Writes a checkpoint in every device that has lines since its last one.
    pub async fn checkpoint_all(&self) -> Result<(), AuditError> {
        self.flush_refusals();
        self.order_all(Order::Checkpoint).await
    }

    /// At seal and at the end: last checkpoints, everything on stable storage, threads ended, no
    /// device left. Answers with each device's last line, for [`crate::DeviceConfig::remembered`].
    pub async fn close(&self) -> Vec<(String, Option<ChainHead>)> {
        self.flush_refusals();
        let devices = std::mem::replace(&mut *self.devices.write(), Arc::new([]));
        let closings = devices.iter().map(|device| async {
            let closed = tokio::time::timeout(PATIENCE, device.order(Order::Close)).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::error!(
                    device = device.name(),
                    "the audit device was not closed cleanly"
                );
            }
            (device.name().to_owned(), device.head())
        });
        future::join_all(closings).await
    }

    fn flush_refusals(&self) {
        if let Some(summary) = self.refusals.flush() {
            self.broadcast(&summary.line(self.clock.now()));
        }
    }

    async fn order_all(&self, order: Order) -> Result<(), AuditError> {
        let devices = self.devices();
        let orders = devices.iter().map(|device| async move {
            let patient = tokio::time::timeout(PATIENCE, device.order(order)).await;
            patient.unwrap_or_else(|_| {
                Err(AuditError::Stuck {
                    device: device.name().to_owned(),
                })
            })
        });
        future::join_all(orders).await.into_iter().collect()
    }

    fn devices(&self) -> Arc<[Arc<Device>]> {
        Arc::clone(&self.devices.read())
    }
}

fn find(devices: &[Arc<Device>], name: &str) -> Option<Arc<Device>> {
    devices.iter().find(|device| device.name() == name).cloned()
}

/// The first `Ok`, or the last failure; `None` if nobody is waited for.
async fn first_success(waiters: Vec<(&Device, Waiter)>) -> Option<Result<(), AuditError>> {
    let stuck = waiters.first()?.0.name().to_owned();
    let answers = waiters.into_iter().map(|(device, waiter)| {
        let closed = || AuditError::Closed {
            device: device.name().to_owned(),
        };
        waiter.map(move |answer| answer.unwrap_or_else(|_| Err(closed())))
    });
    let first = future::select_ok(answers);
    match tokio::time::timeout(PATIENCE, first).await {
        Ok(answer) => Some(answer.map(|((), _)| ())),
        Err(_) => Some(Err(AuditError::Stuck { device: stuck })),
    }
}
