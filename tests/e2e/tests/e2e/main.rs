//! End-to-end tests: the real `zonehead` as a process of its own, clients that others wrote.
//!
//! `cargo test -p zone-e2e` runs them. What they need beyond Rust is installed by
//! `cargo xtask setup`; a program that is missing fails its test and is never passed over.

mod attacks;
mod crash;
mod hvac;
mod life;
mod limits;
mod pki;
mod reload;
mod tls;
mod services;
mod zone;
