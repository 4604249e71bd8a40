//! Runs simulated histories: `cargo xtask sim`. One seed (`--seed N` or `ZONEHEAD_SIM_SEED`) is
//! told step by step; else `--count` histories from `--from` on, and how often what happened.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use zone_sim::{HISTORIES, Sim, run_all};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the zone stood all of it.
fn run(mut args: impl Iterator<Item = String>) -> Result<bool> {
    let mut seed = zone_sim::seed_asked_for()?;
    let (mut from, mut count) = (0, HISTORIES);
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|text| text.parse().ok());
        let number = number.with_context(|| format!("{arg} needs a number"));
        match arg.as_str() {
            "--seed" => seed = Some(number?),
            "--from" => from = number?,
            "--count" => count = number?,
            other => bail!("sim does not know {other:?}"),
        }
    }
    Ok(match seed {
        Some(seed) => one(seed),
        None => many(from, count),
    })
}

fn one(seed: u64) -> bool {
    match Sim::new().run_traced(seed, None) {
        Ok((_, trace)) => {
            for line in trace {
                println!("{line}");
            }
            println!("seed {seed}: all holds");
            true
        }
        Err(failure) => {
            eprintln!("{failure}");
            false
        }
    }
}

fn many(from: u64, count: u64) -> bool {
    match run_all(from..from.saturating_add(count)) {
        Ok(report) => {
            for (what, times) in &report.met {
                println!("{times:8}  {what}");
            }
            println!("{count} histories: all holds");
            true
        }
        Err(failure) => {
            eprintln!("{failure}");
            false
        }
    }
}
