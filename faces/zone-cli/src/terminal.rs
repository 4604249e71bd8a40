//! Reading a secret from a terminal without echo.
//!
//! What must hold: the terminal gets its settings back, also after Ctrl-C.

use std::io::{self, Read, Write};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use zone_types::Secret;

/// Longest line.
const LONGEST: usize = 64 * 1024;

/// Prints `prompt` on standard error and reads one line of standard input without echo.
pub(crate) fn read_hidden(prompt: &str) -> io::Result<Secret<String>> {
    let quiet = Quiet::begin()?;
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    let line = read_line(&mut io::stdin().lock());
    drop(quiet);
    writeln!(stderr)?;
    line
}

/// Standard input without echo, byte by byte; without signals from keys, so that Ctrl-C cannot
/// leave the terminal like that.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// One line as keys give it: Enter ends it, Backspace takes one byte back, Ctrl-U all of them.
fn read_line(keys: &mut impl Read) -> io::Result<Secret<String>> {
    // Reserved at once: a buffer that grows leaves copies behind.
    let mut line = Vec::with_capacity(LONGEST);
    let ended = read_keys(keys, &mut line);
    let line = Secret::new(line);
    ended?;
    match std::str::from_utf8(line.expose()) {
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what was typed is not UTF-8",
        )),
    }
}

fn read_keys(keys: &mut impl Read, line: &mut Vec<u8>) -> io::Result<()> {
    let mut key = [0];
    loop {
        keys.read_exact(&mut key)?;
        match key[0] {
            b'\n' | b'\r' => return Ok(()),
            0x03 => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            0x04 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            0x08 | 0x7f => drop(line.pop()),
            0x15 => line.clear(),
            byte if line.len() < LONGEST => line.push(byte),
            _ => return Err(io::ErrorKind::FileTooLarge.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Result<String, io::ErrorKind> {
        match read_line(&mut &keys[..]) {
            Ok(line) => Ok(line.expose().clone()),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn keys_edit_the_line() {
        assert_eq!(typed(b"hunter2\n"), Ok("hunter2".into()));
        assert_eq!(typed(b"hunx\x7fter2\rrest"), Ok("hunter2".into()));
        assert_eq!(typed(b"wrong\x15right\n"), Ok("right".into()));
        assert_eq!(typed(b"\x7f\x08a\n"), Ok("a".into()));
    }

    #[test]
    fn interruption_and_end_are_errors() {
        assert_eq!(typed(b"hun\x03"), Err(io::ErrorKind::Interrupted));
        assert_eq!(typed(b"\x04"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(typed(b"no newline"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(typed(b"\xff\n"), Err(io::ErrorKind::InvalidData));
    }
}
