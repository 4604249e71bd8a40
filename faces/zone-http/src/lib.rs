//! The HTTP face: parse, ask for a permit, call one service, map the error.
//!
//! # Invariants
//!
//! * A2. Each engine call holds a permit; the endpoints without a token are on the golden list
//!   `zone_access::open` or in [`vault::OPEN_SYS`].
//! * A3. [`zone_types::RequestPath`] is made once, in [`app`]; policy, router and audit see it.
//! * A1. The request line is recorded before the engine runs, the response line before the client
//!   sees the answer.
//! * E1. What the client reads and what the log holds are two fields of [`vault::exchange::Fault`].
//!
//! Start at [`App::answer`]; Vault's API is in [`vault`].

pub mod app;
mod body;
mod cors;
pub mod events;
mod head;
pub mod in_flight;
pub mod limits;
pub mod metrics;
pub mod server;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod vault;

pub use app::{App, ListenerRules};

use std::sync::Arc;

use zone_auth::AuthService;
use zone_pki::PkiService;
use zone_ports::{Host, LogControl, Random};
use zone_secrets::KvService;
use zone_system::System;

/// The services behind the face.
pub struct Zone {
    /// Init, seal, rotation, audit; and access below it.
    pub system: System,
    /// KV version 2.
    pub kv: Arc<KvService>,
    /// AppRole and userpass.
    pub auth: Arc<AuthService>,
    /// The certificate authority.
    pub pki: Arc<PkiService>,
    /// The generator, for request ids.
    pub random: Arc<dyn Random>,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// The running log's levels.
    pub log: Arc<dyn LogControl>,
    /// Whether `sys/raw` is served.
    pub raw_storage: bool,
    /// The requests that are being served.
    pub in_flight: in_flight::InFlight,
    /// The head's own counters.
    pub metrics: metrics::Metrics,
    /// Who listens to the zone's events. Belongs to the listeners of `system` too.
    pub events: Arc<events::Subscribers>,
    /// What the zone says of itself.
    pub about: About,
}

/// What the zone says of itself to anybody.
#[derive(Clone, Debug)]
pub struct About {
    /// The version of Vault's API that is served, for clients that ask for it.
    pub api_version: &'static str,
    /// The version of zonehead.
    pub version: &'static str,
    /// The zone's name.
    pub zone: String,
    /// The address that clients are told to use.
    pub api_addr: String,
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zone")
    }
}
