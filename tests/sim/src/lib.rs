//! Deterministic simulation: a zone without faces, a clock that stands still, a store that loses
//! power at any commit, and seeded histories against a small model.
//!
//! # What every history checks
//!
//! * What was acknowledged is there after a crash, unless something acknowledged later ended it.
//! * What was not acknowledged is there whole or not at all: after a crash the zone is as one of
//!   the few states of the model in which the step that was under way did or did not happen.
//! * What was revoked or has expired never counts again, also through an ancestor, a sweep, a
//!   released parent, a token id that is used anew, a revocation by path, a mark for batch tokens,
//!   or an auth method that was taken away; tokens and leases follow a mount that is moved.
//! * A token of n uses permits n requests, a secret id of n uses n logins, a wrapping token opens
//!   once; also when several ask at the same moment.
//! * A lease that counts is with its engine; one that has ended is taken back in the end, however
//!   long the engine was away, unless it was let go by force or its mount was taken away.
//! * Of the shares before and after a rekey exactly one set opens the zone: the old one until the
//!   new one is in force, and never again then. Shares that were taken back, canceled or not yet
//!   verified never count. A root token takes a threshold of the shares that count.
//! * When all background work is done no record is left that belongs to nothing.
//!
//! # Replay
//!
//! All that a history draws comes from its seed, and each step of the zone draws from the seed and
//! the step's number. `cargo xtask sim --seed N` or `ZONEHEAD_SIM_SEED=N` runs one history and
//! prints its steps.
//!
//! Start at [`history`]; the model is in [`model`], what can happen in [`step`], how it is drawn in
//! [`draw`].

mod act;
mod check;
pub mod draw;
pub mod engine;
mod follow;
pub mod head;
pub mod history;
pub mod model;
pub mod step;
mod unheard;

pub use history::{Failure, Report, Sabotage, Sim};

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// How many histories CI runs.
pub const HISTORIES: u64 = 10_000;

/// Runs the histories of `seeds` on all cores. The first that failed (by seed), or what all of
/// them met.
pub fn run_all(seeds: std::ops::Range<u64>) -> Result<Report, Box<Failure>> {
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let met = Mutex::new(Report::default());
    let failed: Mutex<Option<Box<Failure>>> = Mutex::new(None);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let sim = Sim::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    match sim.run(seed, None) {
                        Ok(report) => met.lock().add(&report),
                        Err(failure) => {
                            // Earlier seeds are still judged, so the first one is told each time.
                            end.fetch_min(seed, Ordering::Relaxed);
                            let mut failed = failed.lock();
                            if failed.as_ref().is_none_or(|other| seed < other.seed) {
                                *failed = Some(failure);
                            }
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(met.into_inner()),
    }
}

/// The one seed that `ZONEHEAD_SIM_SEED` asks for.
pub fn seed_asked_for() -> anyhow::Result<Option<u64>> {
    match std::env::var("ZONEHEAD_SIM_SEED") {
        Ok(text) => match text.parse() {
            Ok(seed) => Ok(Some(seed)),
            Err(_) => anyhow::bail!("ZONEHEAD_SIM_SEED is not a number"),
        },
        Err(_) => Ok(None),
    }
}
