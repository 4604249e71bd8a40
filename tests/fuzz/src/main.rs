//! `zone-fuzz [--seconds N] [--seed S] [--jobs N] [--from N --inputs N] [TARGET…]`: drives the
//! fuzz targets, some at a time. Ends with 1 at the first broken promise, which it names with
//! the command that shows it again, and leaves the input under `target/fuzz/`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use zone_fuzz::{Crash, Limit, Report, TARGETS, Target, drive, keep_panics, target};

/// An input that takes longer than this is reported as a hang.
const HANG: Duration = Duration::from_secs(20);

struct Options {
    seconds: u64,
    seed: u64,
    jobs: usize,
    from: u64,
    inputs: Option<u64>,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    keep_panics();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let options = options(std::env::args().skip(1))?;
    println!("fuzz: seed {}", options.seed);
    let queue: Mutex<VecDeque<_>> = Mutex::new(options.targets.iter().copied().collect());
    let crashes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let next = lock(&queue).pop_front();
                    let Some(target) = next else { return };
                    match watched(target, &options) {
                        Ok(report) => {
                            println!("fuzz: {:8} {:>10} inputs", target.name, report.inputs);
                        }
                        Err(crash) => lock(&crashes).push(crash),
                    }
                }
            });
        }
    });
    let crashes = crashes.into_inner().unwrap_or_else(PoisonError::into_inner);
    for crash in &crashes {
        show(crash)?;
    }
    if crashes.is_empty() {
        Ok(())
    } else {
        bail!("{} fuzz target(s) broke", crashes.len())
    }
}

/// Drives one target while a second thread looks for an input that never ends.
fn watched(target: &'static Target, options: &Options) -> Result<Report, Box<Crash>> {
    let start = now();
    let span = Duration::from_secs(options.seconds);
    let over = || now().duration_since(start) >= span;
    let limit = options.inputs.map_or(Limit::Until(&over), Limit::Inputs);
    let progress = AtomicU64::new(options.from);
    let (done, finished) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let finished = finished;
            let mut last = u64::MAX;
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(HANG)
            {
                let number = progress.load(Ordering::Relaxed);
                if number == last {
                    eprintln!("fuzz: {}: input {number} hangs", target.name);
                    eprintln!("{}", again(target.name, options.seed, number));
                    std::process::exit(1);
                }
                last = number;
            }
        });
        let result = drive(target, options.seed, options.from, limit, &progress);
        drop(done);
        result
    })
}

fn show(crash: &Crash) -> anyhow::Result<()> {
    let dir = PathBuf::from("target/fuzz");
    std::fs::create_dir_all(&dir).context("cannot create target/fuzz")?;
    let file = dir.join(format!("{}-{}-{}", crash.target, crash.seed, crash.number));
    std::fs::write(&file, &crash.input)
        .with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!(
        "fuzz: {} broke at input {}: {}",
        crash.target, crash.number, crash.message
    );
    eprintln!("  {:?}", String::from_utf8_lossy(&crash.input));
    eprintln!("  input, shrunk: {}", file.display());
    eprintln!("{}", again(crash.target, crash.seed, crash.number));
    Ok(())
}

fn again(target: &str, seed: u64, number: u64) -> String {
    format!("  again: cargo run -p zone-fuzz -- --seed {seed} --from {number} --inputs 1 {target}")
}

fn options(args: impl Iterator<Item = String>) -> anyhow::Result<Options> {
    let mut options = Options {
        seconds: 20,
        seed: 1,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        from: 0,
        inputs: None,
        targets: Vec::new(),
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = args
                .next()
                .with_context(|| format!("{arg} needs a number"))?;
            text.parse()
                .with_context(|| format!("{arg} needs a number"))
        };
        match arg.as_str() {
            "--seconds" => options.seconds = number()?,
            "--seed" => options.seed = number()?,
            "--jobs" => options.jobs = usize::try_from(number()?)?.clamp(1, 64),
            "--from" => options.from = number()?,
            "--inputs" => options.inputs = Some(number()?),
            name => options.targets.push(target(name).with_context(|| {
                let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                format!("no target {name:?}: there are {}", names.join(", "))
            })?),
        }
    }
    if options.targets.is_empty() {
        options.targets = TARGETS.iter().collect();
    }
    Ok(options)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver outside the zone; no test asserts on it"
)]
fn now() -> Instant {
    Instant::now()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
