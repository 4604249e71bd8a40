//! What the tour prints: numbered steps, what was shown, commands. Colours only for a terminal.

use std::io::{self, IsTerminal, Write};

/// Where a step's lines go, as soon as they are true.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    colour: bool,
    steps: u32,
}

impl Screen {
    /// Standard output; colours unless it is no terminal or `NO_COLOR` is set.
    pub(super) fn of_process() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(
            Box::new(io::stdout()),
            io::stdout().is_terminal() && !refused,
        )
    }

    pub(super) fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        Self {
            out,
            colour,
            steps: 0,
        }
    }

    /// A step begins.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps += 1;
        let title = self.paint("1", &format!("{}. {title}", self.steps));
        self.line(&format!("\n{title}"))
    }

    /// Something was done and checked.
    pub(super) fn shown(&mut self, text: &str) -> io::Result<()> {
        let mark = self.paint("32", "ok");
        self.line(&format!("   {mark}  {text}"))
    }

    /// What cannot be claimed.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.line(&format!("       {text}"))
    }

    /// A command line that does the same.
    pub(super) fn command(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint("36", &format!("$ {text}"));
        self.line(&format!("       {text}"))
    }

    /// A title without a number.
    pub(super) fn heading(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint("1", text);
        self.line(&format!("\n{text}"))
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(colour: bool) -> String {
        let page = Page::default();
        let mut screen = Screen::new(Box::new(page.clone()), colour);
        screen.step("First").unwrap();
        screen.shown("done").unwrap();
        screen.command("zonehead status").unwrap();
        screen.step("Second").unwrap();
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn steps_are_numbered_and_plain_without_a_terminal() {
        let expected = "\n1. First\n   ok  done\n       $ zonehead status\n\n2. Second\n";
        assert_eq!(printed(false), expected);
        assert!(printed(true).contains("\x1b[32mok\x1b[0m"));
    }
}
