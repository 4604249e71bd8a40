//! What a read and a durable write cost: `cargo run --release -p zone-barrier --example measure_store [DIR]`.
//!
//! A zone on the embedded store in DIR with 100,000 secrets (value and metadata, as KV v2 keeps
//! them), then for 1, 16 and 64 tasks: writes (read the metadata, write both on condition), reads,
//! and beside them what the disk does: one small write and one fdatasync at a time. CPU time is the
//! process's own.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zone_barrier::commit::Committer;
use zone_barrier::{Barrier, Batch, InitAsk};
use zone_host_linux::{HostClock, LockedMemory, OsRandom};
use zone_ports::{Clock, Key, Random, StoreError, random};
use zone_store_redb::RedbStore;

const SECRETS: u64 = 100_000;
const SPAN: Duration = Duration::from_secs(3);
const VALUE: usize = 300;
const METADATA: usize = 250;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let base = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let clock = Arc::new(HostClock::new());
    let disk = disk(dir.path(), &clock)?;
    println!("disk: one write and fdatasync takes {disk:.0} us (median)");
    runtime.block_on(measure(&dir.path().join("zone.redb"), &clock))
}

async fn measure(path: &Path, clock: &Arc<HostClock>) -> Result<(), Failure> {
    let barrier = start(path).await?;
    let ask = InitAsk {
        shares: 1,
        threshold: 1,
    };
    let prepared = barrier.init_prepare(ask, clock.now()).await?;
    barrier.init_finish().await?;
    fill(&barrier).await?;
    for tasks in [1, 16, 64] {
        let groups = barrier.last_revision().0;
        let zone = barrier.clone();
        let step = move |task, nth| write(zone.clone(), place(tasks, task, nth));
        let writes = run(clock, tasks, step).await?;
        let groups = (barrier.last_revision().0 - groups) as f64 / writes.count as f64;
        println!("{tasks:2} tasks write: {writes}, {groups:.2} groups each");
        let zone = barrier.clone();
        let step = move |task, nth| read(zone.clone(), place(tasks, task, nth));
        println!("{tasks:2} tasks read:  {}", run(clock, tasks, step).await?);
    }
    drop(barrier);
    // The writer's thread closes the file a moment later.
    while let Err(StoreError::Unavailable { .. }) = RedbStore::open(path) {
        tokio::task::yield_now().await;
    }
    let opening = clock.monotonic();
    let barrier = start(path).await?;
    let share = prepared.shares[0].expose();
    barrier.unseal_share(share, "measure", clock.now()).await?;
    let opened = (clock.monotonic() - opening).as_secs_f64() * 1e3;
    println!("opened and unsealed: {opened:.1} ms; {}", memory()?);
    Ok(())
}

async fn start(path: &Path) -> Result<Barrier, Failure> {
    let store = RedbStore::open(path)?;
    let committer = Committer::open(Arc::new(store)).await?;
    let memory = Arc::new(LockedMemory::new()?);
    Ok(Barrier::new(committer, Arc::new(OsRandom), memory))
}

async fn fill(barrier: &Barrier) -> Result<(), Failure> {
    for from in (0..SECRETS).step_by(30 * 32) {
        let batch = |first: u64| {
            let last = SECRETS.min(first + 30);
            (first..last).fold(Batch::new(), put)
        };
        let until = SECRETS.min(from + 30 * 32);
        let batches = (from..until).step_by(30).map(batch);
        let commits = batches.map(|batch| {
            let barrier = barrier.clone();
            tokio::spawn(async move { barrier.commit(batch).await })
        });
        for commit in commits.collect::<Vec<_>>() {
            commit.await??;
        }
    }
    Ok(())
}

/// Which secret a task takes for its `nth` step: all over the key space, no two tasks the same.
fn place(tasks: u64, task: u64, nth: u64) -> u64 {
    let each = SECRETS / tasks;
    nth.wrapping_mul(0x9e37_79b9_7f4a_7c15) % each * tasks + task
}

async fn write(barrier: Barrier, secret: u64) -> Result<(), Failure> {
    let found = barrier.get(&metadata(secret)).await?;
    let batch = put(Batch::new(), secret);
    let revision = found.map(|found| found.revision);
    barrier
        .commit(batch.require(metadata(secret), revision))
        .await?;
    Ok(())
}

async fn read(barrier: Barrier, secret: u64) -> Result<(), Failure> {
    let found = barrier.get(&value(secret)).await?;
    found.map(drop).ok_or_else(|| "the secret is gone".into())
}

fn put(batch: Batch, secret: u64) -> Batch {
    let mut content = vec![0; VALUE + METADATA];
    OsRandom.fill(&mut content);
    let described = content.split_off(VALUE);
    batch
        .put(value(secret), content)
        .put(metadata(secret), described)
}

fn value(secret: u64) -> Key {
    key("data", secret)
}

fn metadata(secret: u64) -> Key {
    key("meta", secret)
}

fn key(kind: &str, secret: u64) -> Key {
    let spread = secret.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let key = format!("root/0123456789abcdef/{kind}/apps/{spread:016x}/db");
    Key::new(key).expect("a short key")
}

/// What some tasks did.
struct Done {
    count: usize,
    wall: Duration,
    cpu: Duration,
    /// Of each step, sorted.
    spans: Vec<Duration>,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |span: Duration| span.as_secs_f64() * 1e6;
        let at = |share: usize| micros(self.spans[(self.count - 1) * share / 100]);
        let rate = self.count as f64 / self.wall.as_secs_f64();
        let cpu = micros(self.cpu) / self.count as f64;
        let (half, most) = (at(50), at(99));
        write!(
            f,
            "{rate:8.0}/s, p50 {half:7.1} us, p99 {most:8.1} us, {cpu:6.1} us CPU"
        )
    }
}

async fn run<F, S>(clock: &Arc<HostClock>, tasks: u64, step: F) -> Result<Done, Failure>
where
    F: Fn(u64, u64) -> S + Clone + Send + 'static,
    S: Future<Output = Result<(), Failure>> + Send,
{
    let (start, cpu) = (clock.monotonic(), cpu_time()?);
    let worker = |task| {
        let (clock, step) = (clock.clone(), step.clone());
        async move {
            let mut spans = Vec::new();
            for nth in 0.. {
                let begun = clock.monotonic();
                if begun - start > SPAN {
                    break;
                }
                step(task, nth).await?;
                spans.push(clock.monotonic() - begun);
                if nth % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            Ok::<_, Failure>(spans)
        }
    };
    let running: Vec<_> = (0..tasks).map(|task| tokio::spawn(worker(task))).collect();
    let mut spans = Vec::new();
    for task in running {
        spans.extend(task.await??);
    }
    spans.sort_unstable();
    Ok(Done {
        count: spans.len(),
        wall: clock.monotonic() - start,
        cpu: cpu_time()? - cpu,
        spans,
    })
}

/// Microseconds of one write of 4 KiB and one fdatasync, the median of 2,000.
fn disk(dir: &Path, clock: &HostClock) -> Result<f64, Failure> {
    let path = dir.join("disk");
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    let block: [u8; 4096] = random::bytes(&OsRandom);
    for at in 0..256 {
        file.write_all_at(&block, at * 4096)?;
    }
    file.sync_all()?;
    let mut spans = Vec::new();
    for nth in 0..2000 {
        let begun = clock.monotonic();
        file.write_all_at(&block, nth % 256 * 4096)?;
        file.sync_data()?;
        spans.push(clock.monotonic() - begun);
    }
    spans.sort_unstable();
    std::fs::remove_file(path)?;
    Ok(spans[1000].as_secs_f64() * 1e6)
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // USER_HZ is 100 on every Linux architecture that Rust's standard library runs on but Alpha.
    Ok(Duration::from_millis(ticks * 10))
}

fn memory() -> Result<String, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    Ok(line
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" "))
}
