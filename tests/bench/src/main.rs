//! `cargo xtask bench`: what the head does in a second, beside what the machine could do.
//!
//! Starts the release binary with a data directory on this disk, loads it over TLS from this
//! process, and prints each rate with its latency, the head's CPU time for each request, and the
//! ratio to limits that were measured in the same run: durable writes to a bare fsync loop and to
//! groups that go to the raw store, without encryption and without a head; reads to the head's cheapest call behind a token (permit and audit, but hardly an engine) and to a bare
//! handler on the same HTTP and TLS stack; certificates to bare signing.
//!
//! Figures of one run on a shared machine mean little; the ratios mean more.

#![expect(clippy::disallowed_methods, reason = "a bench reads the real clock")]

mod cases;
mod head;
mod leases;
mod limits;
mod load;
mod logins;
mod table;
mod tokens;
mod wrapping;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Flags of the bench.
#[derive(Parser)]
struct Options {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/zonehead")]
    zonehead: PathBuf,
    /// Where the data directory is made; must be on the disk that counts.
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
    /// Seconds for each run of each case.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of each case; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Clients at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    clients: Vec<usize>,
    /// Secrets for the measurements of size and start.
    #[arg(long, default_value_t = 100_000)]
    secrets: usize,
    /// Tokens for the measurements of size and start.
    #[arg(long, default_value_t = 100_000)]
    tokens: usize,
    /// Leases for the measurements of size and end.
    #[arg(long, default_value_t = 50_000)]
    leases: usize,
    /// Where zones are kept.
    #[arg(long, value_enum, default_value = "embedded")]
    store: head::StoreKind,
    /// Only cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Serve the empty handler, for the bench itself.
    #[arg(long, hide = true)]
    empty_handler: bool,
}

impl Options {
    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = match options.empty_handler {
        true => runtime.block_on(limits::serve_empty()),
        false => runtime.block_on(cases::run(&options)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
