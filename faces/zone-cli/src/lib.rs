//! The client commands of `zonehead`, with the names and flags that `vault` users know.
//!
//! ```text
//! arguments ─▶ argv (-flag → --flag) ─▶ clap ─▶ Context ─▶ a command ─▶ Client ─▶ Output
//! ```
//!
//! What must hold: results go to standard output and everything else to standard error; the exit
//! code is 0, 1 for wrong use, 2 for work that failed (`status`: 2 if sealed); no secret stands in
//! an error.
//!
//! Deliberately absent: the server's roles. The binary adds its own commands to [`command`], then:
//!
//! ```no_run
//! # async fn example(now: impl Fn() -> zone_types::Timestamp + Send + Sync + 'static) -> u8 {
//! let mut console = zone_cli::Console::of_process(now);
//! let command = zone_cli::finish(zone_cli::command());
//! match zone_cli::parse(command, std::env::args_os().skip(1)) {
//!     Ok(matches) => zone_cli::run(&matches, &mut console).await,
//!     Err(ending) => ending.print(&mut console),
//! }
//! # }
//! ```
//!
//! Start at [`commands`]; the wire is in [`client`].

mod argv;
pub mod client;
mod commands;
mod console;
mod context;
mod failure;
mod help;
mod output;
mod spec;
mod terminal;
#[cfg(test)]
mod testing;
mod token_file;
mod values;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command};

pub use console::{Console, Environment, Input, MAX_INPUT};
pub use help::{reference, reference_of};

use context::Context;

/// The command tree, without help texts; the binary may add to it before [`finish`].
pub fn command() -> Command {
    commands::tree()
}

/// Sets the help texts of a whole tree.
pub fn finish(command: Command) -> Command {
    // Derived commands that were added have put their own purpose over the root's.
    help::with_texts(command.about(commands::ABOUT), "")
}

/// Why nothing is to be run: help was asked for, or the arguments are wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What to print.
    pub text: String,
    /// The exit code: 0 for help, 1 for wrong use.
    pub code: u8,
}

impl Ending {
    /// Prints the text: help on standard output, all else on standard error. Returns the code.
    pub fn print(&self, console: &mut Console) -> u8 {
        let text = self.text.trim_end();
        let printed = match self.code {
            0 => console.print(text),
            _ => console.error(text),
        };
        if printed.is_ok() { self.code } else { 1 }
    }
}

/// Reads the arguments, without the program's name.
///
/// # Errors
///
/// Help was asked for, or the arguments do not fit.
pub fn parse(
    mut command: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, Ending> {
    command.build();
    let (words, arguments) = argv::normalise(&command, arguments);
    let wrong = |text: String| Ending {
        text: format!("{text}\n\nRun '{words} -help' for its flags and examples."),
        code: 1,
    };
    let arguments = arguments.map_err(|fault| wrong(fault.to_string()))?;
    let named = std::iter::once(OsString::from(command.get_name())).chain(arguments);
    command
        .try_get_matches_from(named)
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ending {
                text: error.render().to_string(),
                code: 0,
            },
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ending {
                text: error.render().to_string(),
                code: 1,
            },
            _ => wrong(sentence(&error)),
        })
}

/// A parser's error without the value of a positional argument, which can be a secret.
fn sentence(error: &clap::Error) -> String {
    let name = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => plain_name(name),
        Some(ContextValue::Strings(names)) => {
            let names: Vec<_> = names.iter().map(|name| plain_name(name)).collect();
            names.join(", ")
        }
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            format!(
                "Not enough arguments: {} is missing",
                name(ContextKind::InvalidArg)
            )
        }
        ErrorKind::UnknownArgument => "Too many arguments".to_owned(),
        ErrorKind::MissingSubcommand => "The command is not whole".to_owned(),
        ErrorKind::InvalidSubcommand => unknown_command(
            &name(ContextKind::InvalidSubcommand),
            error.get(ContextKind::SuggestedSubcommand),
        ),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => format!(
            "Invalid value {:?} for {}",
            name(ContextKind::InvalidValue),
            name(ContextKind::InvalidArg)
        ),
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").replace("--", "-")
        }
    }
}

/// `--flag <value>` as `-flag`, `<NAME>` as `NAME`.
fn plain_name(name: &str) -> String {
    match name.strip_prefix("--") {
        Some(flag) => format!(
            "-{}",
            flag.split([' ', '[', '=']).next().unwrap_or_default()
        ),
        None => name
            .trim_end_matches("...")
            .trim_matches(['<', '>'])
            .to_owned(),
    }
}

fn unknown_command(name: &str, near: Option<&ContextValue>) -> String {
    let near = match near {
        Some(ContextValue::String(near)) => std::slice::from_ref(near),
        Some(ContextValue::Strings(near)) => near,
        _ => &[],
    };
    match near.iter().min_by_key(|near| argv::edits(name, near)) {
        Some(near) => format!("There is no command '{name}'; did you mean '{near}'?"),
        None => format!("There is no command '{name}'"),
    }
}

/// Prints a wrapped answer, whatever the command would have made of it.
fn shown(reply: &client::Reply, arguments: &ArgMatches, console: &mut Console) -> failure::Outcome {
    let cx = Context {
        console: &mut *console,
        arguments,
    };
    let output = cx.output()?;
    output.reply(console, reply)
}

/// Runs the command that `matches` names. Returns the exit code.
pub async fn run(matches: &ArgMatches, console: &mut Console) -> u8 {
    let mut path = Vec::new();
    let mut arguments = matches;
    while let Some((name, below)) = arguments.subcommand() {
        path.push(name);
        arguments = below;
    }
    let ended = match commands::find(&path.join(" ")) {
        Some(leaf) => {
            (leaf.run)(Context {
                console: &mut *console,
                arguments,
            })
            .await
        }
        None => Err(failure::Failure::usage(format!(
            "'{}' is no client command",
            path.join(" ")
        ))),
    };
    let ended = match ended {
        Err(failure::Failure {
            wrapped: Some(reply),
            ..
        }) => shown(&reply, arguments, console),
        ended => ended,
    };
    let flushed = console.stdout.flush();
    match (ended, flushed) {
        (Ok(code), Ok(())) => code,
        (Ok(_), Err(_)) => 1,
        (Err(failure), _) => {
            if !failure.text.is_empty() && console.error(&failure.text).is_err() {
                return 1;
            }
            failure.code
        }
    }
}
