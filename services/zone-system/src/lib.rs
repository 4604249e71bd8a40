//! What runs the zone as a whole: init, unseal, seal, key rotation, audit devices.
//!
//! Stands above `zone-access` and knows the services only as [`SealListener`]s.
//!
//! # Invariants
//!
//! * B2. While sealed every service is closed; sealing drops keys and caches.
//! * A1. From init on one built-in audit device exists; the last device cannot be removed.
//! * Init is two steps with one deciding record at the end: a crash before it leaves a zone that
//!   can be initialised again.

mod audit;
mod audit_target;
mod init;
mod raw;
mod rekey;
mod root_token;
mod rotation;
mod seal;
mod settings;
mod versions;

pub use audit::{AuditDevice, AuditPlaces, NewDevice, OpenAudit, OpenStream};
pub use audit_target::{AuditTarget, StreamTarget, Transport};
pub use init::{HandedShares, InitOptions, Initialised};
pub use rekey::{RekeyOptions, RekeyStatus, RekeyStep};
pub use root_token::{OTP_LENGTH, RootStatus, RootStep};
pub use rotation::RotationConfig;
pub use seal::SealStatus;
pub use settings::{AuditedHeader, Cors, Settings};
pub use versions::Installed;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use zone_access::Access;
use zone_audit::{Broker, ChainHead};
use zone_barrier::Barrier;
use zone_ports::{Clock, Random, Recipients};

/// Told when the zone opens and closes. Neither call may block.
pub trait SealListener: Send + Sync {
    /// The zone was unsealed: take up in the background what a crash or a seal interrupted.
    fn opened(&self) {}
    /// The zone was sealed: drop every cached value.
    fn closed(&self);
}

/// The service.
pub struct System {
    barrier: Barrier,
    access: Access,
    broker: Arc<Broker>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    recipients: Arc<dyn Recipients>,
    places: AuditPlaces,
    listeners: Vec<Arc<dyn SealListener>>,
    /// One init, unseal or seal at a time.
    turning: Mutex<()>,
    /// Every service is ready.
    open: AtomicBool,
    /// The ends of the audit chains as they are stored.
    remembered: Mutex<HashMap<String, ChainHead>>,
    /// As the store has them; a new zone's while sealed.
    settings: ArcSwap<Settings>,
    /// One change of them at a time.
    changing_settings: Mutex<()>,
    /// The program's.
    version: &'static str,
    /// What key holders do together.
    ceremonies: Mutex<Ceremonies>,
    /// When a new term of the key begins by itself.
    rotation: parking_lot::Mutex<RotationConfig>,
}

/// Attempts that are under way. Gone when the zone is sealed (B2).
#[derive(Default)]
struct Ceremonies {
    rekey: Option<rekey::RekeyAttempt>,
    root: Option<root_token::RootAttempt>,
}

/// What [`System`] is made of.
pub struct Parts {
    /// The barrier, sealed or not yet initialised.
    pub barrier: Barrier,
    /// Access over the same barrier.
    pub access: Access,
    /// The audit broker.
    pub broker: Arc<Broker>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The generator.
    pub random: Arc<dyn Random>,
    /// Who encrypts shares to people's keys.
    pub recipients: Arc<dyn Recipients>,
    /// Where audit files may be.
    pub places: AuditPlaces,
    /// Services with caches.
    pub listeners: Vec<Arc<dyn SealListener>>,
    /// The program's version.
    pub version: &'static str,
}

impl System {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            barrier,
            access,
            broker,
            clock,
            random,
            recipients,
            places,
            listeners,
            version,
        } = parts;
        Self {
            barrier,
            access,
            broker,
            clock,
            random,
            recipients,
            places,
            listeners,
            turning: Mutex::new(()),
            open: AtomicBool::new(false),
            remembered: Mutex::default(),
            settings: ArcSwap::default(),
            changing_settings: Mutex::new(()),
            version,
            ceremonies: Mutex::default(),
            rotation: parking_lot::Mutex::default(),
        }
    }

    /// Mounts, policies and tokens.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Tells of every event from now on.
    pub fn events(&self) -> zone_barrier::Events {
        self.barrier.events()
    }

    /// The audit broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }
}

/// Takes no other version of a record: what it means is not guessed at.
fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        1 => Ok(1),
        _ => Err(serde::de::Error::custom("another version")),
    }
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("System")
    }
}

/// Why the system refused, sorted by what the caller can do. Fit for the client; no values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// The request is wrong; the text names the field and the rule.
    #[error("{0}")]
    Invalid(String),
    /// The zone is sealed.
    #[error("the zone is sealed")]
    Sealed,
    /// The zone was initialised before.
    #[error("Vault is already initialized")]
    AlreadyInitialised,
    /// The zone was not initialised yet.
    #[error("Vault is not initialized")]
    NotInitialised,
    /// A key could not be made or read.
    #[error("a key could not be made or read")]
    Key,
    /// A record of this crate is not what this crate wrote.
    #[error("a system record is corrupt")]
    Corrupt,
    /// The file or receiver of an audit device cannot be used.
    #[error("the audit destination was refused")]
    Sink(#[source] zone_ports::audit::AuditSinkError),
    /// An audit device failed.
    #[error("the audit device failed")]
    Audit(#[source] zone_audit::AuditError),
    /// Access failed.
    #[error(transparent)]
    Access(#[from] zone_access::AccessError),
    /// The barrier or its store failed.
    #[error("storage failed")]
    Barrier(#[source] zone_barrier::BarrierError),
}
