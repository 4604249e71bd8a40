//! A running `zonehead server`: its process, its log, its shares and token.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{Api, LIMIT, Place, Raw};

/// Lines that a failed test shows.
const SHOWN: usize = 60;

/// A process with its output collected. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Log>,
}

#[derive(Debug, Default)]
struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    open: usize,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no reader panics")
    }

    fn collect(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        self.lock().open += 1;
        let log = self.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                log.lock().lines.push(text);
                log.changed.notify_all();
                line.clear();
            }
            log.lock().open -= 1;
            log.changed.notify_all();
        });
    }

    /// Waits until `found` gives something or `LIMIT` is over.
    fn wait<T>(&self, mut found: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        let mut waited = Duration::ZERO;
        let step = Duration::from_millis(500);
        loop {
            if let Some(result) = found(&state) {
                return Some(result);
            }
            if waited >= LIMIT {
                return None;
            }
            let (next, timeout) = self
                .changed
                .wait_timeout(state, step)
                .expect("no reader panics");
            state = next;
            if timeout.timed_out() {
                waited += step;
            }
        }
    }
}

impl Process {
    /// Starts `command` with its output collected.
    pub fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::new(Log::default());
        log.collect(child.stdout.take().expect("stdout is piped"));
        log.collect(child.stderr.take().expect("stderr is piped"));
        Self { child, log }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.log.lock().lines.join("\n")
    }

    /// Lines so far: where [`Self::wait_for`] can begin.
    pub fn log_len(&self) -> usize {
        self.log.lock().lines.len()
    }

    /// Waits for a line with `text` at or behind line `from`.
    pub fn wait_for(&self, from: usize, text: &str) -> String {
        let found = self.log.wait(|state| {
            let hit = state
                .lines
                .iter()
                .skip(from)
                .find(|line| line.contains(text));
            match hit {
                Some(line) => Some(Ok(line.clone())),
                None => (state.open == 0).then_some(Err(())),
            }
        });
        match found {
            Some(Ok(line)) => line,
            Some(Err(())) => panic!("the process ended without {text:?}:\n{}", self.log()),
            None => panic!("no {text:?} in the log:\n{}", self.log()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has an id"), signal).expect("the process is there");
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let ended = self.log.wait(|state| (state.open == 0).then_some(()));
        assert!(ended.is_some(), "the process goes on:\n{}", self.log());
        self.child.wait().expect("a child can be waited for")
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let state = self.log.lock();
            let from = state.lines.len().saturating_sub(SHOWN);
            eprintln!(
                "log of process {}:\n{}",
                self.child.id(),
                state.lines[from..].join("\n")
            );
        }
    }
}

/// What init gave.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The shares in hex.
    pub hex: Vec<String>,
    /// The same in base64.
    pub base64: Vec<String>,
    /// The first token.
    pub root_token: String,
    /// Shares that unseal.
    pub threshold: usize,
}

/// A head that serves.
#[derive(Debug)]
pub struct Head {
    /// Its process; dropped before its data, so that it writes nothing into a removed directory.
    pub process: Process,
    /// Its data; outlives it.
    pub place: Arc<Place>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Head {
    /// A new zone, unsealed, in a place of its own.
    pub async fn unsealed() -> (Self, Keys) {
        Self::unsealed_at(Place::new()).await
    }

    /// A new zone, unsealed, in `place`.
    pub async fn unsealed_at(place: Arc<Place>) -> (Self, Keys) {
        let head = place.start();
        let keys = head.init(1, 1).await;
        head.unseal(&keys).await;
        (head, keys)
    }

    /// The head that `process` is, as soon as it serves, sealed.
    pub fn serving(place: Arc<Place>, process: Process) -> Self {
        let line = process.wait_for(0, "serving, sealed");
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("address=")?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self {
            place,
            process,
            address,
        }
    }

    /// A client without a token.
    pub fn api(&self) -> Api {
        Api::new(self.address, &self.place.ca_file())
    }

    /// A client with a token.
    pub fn with_token(&self, token: &str) -> Api {
        self.api().token(token)
    }

    /// A connection for bytes that no proper client sends.
    pub async fn raw(&self) -> Raw {
        Raw::connect(&self.api()).await
    }

    /// The address that clients are given.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Makes the zone.
    pub async fn init(&self, shares: u8, threshold: u8) -> Keys {
        let ask = json!({ "secret_shares": shares, "secret_threshold": threshold });
        let made = self.api().put("sys/init", &ask).await.expect(200).json();
        Keys {
            hex: texts(&made["keys"]),
            base64: texts(&made["keys_base64"]),
            root_token: made["root_token"]
                .as_str()
                .expect("a root token")
                .to_owned(),
            threshold: usize::from(threshold),
        }
    }

    /// Unseals with the first shares.
    pub async fn unseal(&self, keys: &Keys) {
        self.unseal_with(&keys.hex[..keys.threshold]).await;
    }

    /// Unseals with these shares.
    pub async fn unseal_with(&self, shares: &[String]) {
        let api = self.api();
        let mut status = Value::Null;
        for share in shares {
            status = api
                .put("sys/unseal", &json!({ "key": share }))
                .await
                .expect(200)
                .json();
        }
        assert_eq!(status["sealed"], false, "{status}");
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait()
    }

    /// Whether the process still answers.
    pub async fn lives(&self) {
        let answer = self.api().get("sys/seal-status").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .map(|item| item.as_str().expect("a text").to_owned())
        .collect()
}
