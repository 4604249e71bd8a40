//! End-to-end tests: the real `zonehead` as a process of its own, clients that others wrote.
//!
//! `cargo test -p zone-e2e` runs them. What they need beyond Rust is installed by
//! `cargo xtask setup`; a program that is missing fails its test and is never passed over.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod attacks;
mod audit_devices;
mod canary;
mod cli;
mod consul_template;
mod crash;
mod dev;
mod events;
mod first_hour;
mod go;
mod hvac;
mod kills;
mod leases;
mod life;
mod limits;
mod listeners;
mod offline;
mod pages;
mod pki;
mod pkilint;
mod postgresql;
mod quotas;
mod races;
mod reload;
mod services;
mod systemd;
mod terraform;
mod tls;
mod tokens;
mod turning;
mod wrapping;
mod zone;
