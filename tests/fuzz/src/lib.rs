//! Fuzzing without a fuzzer's toolchain: each target is a plain function of bytes that panics
//! when a promise is broken, and [`drive`] feeds it mutated seeds on stable Rust.
//!
//! The driver is blind (it sees no coverage), so that it needs nothing but a compiler; libFuzzer
//! drives the same functions for longer, see `README.md`. Input number `n` of a run depends on
//! the target, the run's seed and `n` alone: whatever it finds can be made again.

mod drive;
mod mutate;
mod seeds;
mod targets;

pub use drive::{Crash, Limit, Report, drive, keep_panics};
pub use mutate::Mutator;
pub use targets::{TARGETS, Target, target};
