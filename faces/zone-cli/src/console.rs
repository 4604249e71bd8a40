//! What a command sees of the world: streams, environment, clock. Injected, so that a test runs
//! a command in-process.
//!
//! What must hold: a secret that is read here is wiped when dropped and is never echoed.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};

use zeroize::Zeroizing;
use zone_types::{Secret, Timestamp};

use crate::terminal;

/// Most bytes that are read from standard input or from a value's file.
pub const MAX_INPUT: u64 = 32 * 1024 * 1024;

/// The environment variables of a run.
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. Names or values that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable; one that is empty counts as absent, as in Vault.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// `ZONEHEAD_<name>`, else `VAULT_<name>`.
    pub fn twin(&self, name: &str) -> Option<&str> {
        self.get(&format!("ZONEHEAD_{name}"))
            .or_else(|| self.get(&format!("VAULT_{name}")))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pair = |(name, value): (N, V)| (name.into(), value.into());
        Self(pairs.into_iter().map(pair).collect())
    }
}

/// Standard input.
pub trait Input: Send {
    /// Whether a person sits at the other end.
    fn is_terminal(&self) -> bool;

    /// Everything up to the end, at most [`MAX_INPUT`] bytes.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is longer (`FileTooLarge`).
    fn read_all(&mut self) -> io::Result<Secret<Vec<u8>>>;

    /// One line from the terminal, without echo. `prompt` goes to the terminal's error stream.
    ///
    /// # Errors
    ///
    /// `Interrupted` on Ctrl-C, `UnexpectedEof` on Ctrl-D, `InvalidData` if it is not UTF-8.
    fn read_hidden(&mut self, prompt: &str) -> io::Result<Secret<String>>;
}

/// Streams, environment and clock of one run.
pub struct Console {
    /// Standard input.
    pub input: Box<dyn Input>,
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
    /// Whether results go to a terminal.
    pub stdout_is_terminal: bool,
    /// Whether messages go to a terminal.
    pub stderr_is_terminal: bool,
    /// The environment.
    pub environment: Environment,
    /// The wall clock, for offline verification (T1: the binary brings it).
    pub clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Console {
    /// The console of this process.
    pub fn of_process(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            input: Box::new(ProcessInput),
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            environment: Environment::of_process(),
            clock: Box::new(clock),
        }
    }

    /// Prints a line of a result. On a terminal control characters are shown, not obeyed: what a
    /// stranger stored must not steer the operator's terminal.
    pub(crate) fn print(&mut self, text: &str) -> io::Result<()> {
        match self.stdout_is_terminal {
            true => writeln!(self.stdout, "{}", without_controls(text)),
            false => writeln!(self.stdout, "{text}"),
        }
    }

    /// Prints a warning on standard error.
    pub(crate) fn warn(&mut self, text: &str) -> io::Result<()> {
        self.message(text, "\x1b[33m")
    }

    /// Prints an error on standard error.
    pub(crate) fn error(&mut self, text: &str) -> io::Result<()> {
        self.message(text, "\x1b[31m")
    }

    fn message(&mut self, text: &str, color: &str) -> io::Result<()> {
        let text = without_controls(text);
        let colored = self.stderr_is_terminal && self.environment.get("NO_COLOR").is_none();
        if colored && !text.is_empty() {
            writeln!(self.stderr, "{color}{text}\x1b[0m")
        } else {
            writeln!(self.stderr, "{text}")
        }
    }
}

/// `text` with each control character but newline and tab replaced.
pub(crate) fn without_controls(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Reads `from` to its end, at most [`MAX_INPUT`] bytes.
pub(crate) fn read_bounded(from: impl Read) -> io::Result<Secret<Vec<u8>>> {
    let mut from = from.take(MAX_INPUT + 1);
    let mut whole = Zeroizing::new(vec![0; 64 * 1024]);
    let mut length = 0;
    loop {
        if length == whole.len() {
            // By hand: a vector that grows by itself leaves its old content in memory.
            let mut larger = Zeroizing::new(vec![0; whole.len() * 2]);
            larger[..length].copy_from_slice(&whole);
            whole = larger;
        }
        match from.read(&mut whole[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if length as u64 > MAX_INPUT {
        let text = "it is longer than 32 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    whole.truncate(length);
    Ok(Secret::new(std::mem::take(&mut *whole)))
}

struct ProcessInput;

impl Input for ProcessInput {
    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn read_all(&mut self) -> io::Result<Secret<Vec<u8>>> {
        read_bounded(io::stdin().lock())
    }

    fn read_hidden(&mut self, prompt: &str) -> io::Result<Secret<String>> {
        terminal::read_hidden(prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zonehead_variables_win_and_empty_ones_do_not_count() {
        let environment: Environment = [
            ("VAULT_ADDR", "https://vault:8200"),
            ("ZONEHEAD_ADDR", "https://zone:8200"),
            ("VAULT_NAMESPACE", "ns"),
            ("ZONEHEAD_NAMESPACE", ""),
        ]
        .into_iter()
        .collect();
        assert_eq!(environment.twin("ADDR"), Some("https://zone:8200"));
        assert_eq!(environment.twin("NAMESPACE"), Some("ns"));
        assert_eq!(environment.twin("CACERT"), None);
    }

    #[test]
    fn messages_cannot_steer_a_terminal() {
        assert_eq!(
            without_controls("a\x1b[2Jb\nc\td\u{9b}"),
            "a\u{fffd}[2Jb\nc\td\u{fffd}"
        );
    }

    #[test]
    fn colors_are_for_terminals_without_no_color() {
        let shown = |terminal: bool, environment: &[(&str, &str)]| {
            let mut lab = crate::testing::Lab::new(environment);
            lab.console.stderr_is_terminal = terminal;
            lab.console.error("no").unwrap();
            lab.stderr()
        };
        assert_eq!(shown(true, &[]), "\x1b[31mno\x1b[0m\n");
        assert_eq!(shown(true, &[("NO_COLOR", "1")]), "no\n");
        assert_eq!(shown(false, &[]), "no\n");
    }

    #[test]
    fn input_is_bounded() {
        let read = read_bounded(&b"share\n"[..]).unwrap();
        assert_eq!(read.expose(), b"share\n");
        let error = read_bounded(io::repeat(b'x')).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
