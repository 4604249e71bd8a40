//! Services of others with certificates of the zone.

mod postgres;
mod redis;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A free port of 127.0.0.1, for programs that cannot be told to choose one. It is below those
/// that the kernel gives out, so that nobody gets it before the program binds it.
fn port() -> u16 {
    const FIRST: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 12_000).expect("below 12,000");
    (0..500)
        .map(|_| FIRST + (process + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a port is free")
}
