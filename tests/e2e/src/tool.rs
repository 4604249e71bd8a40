//! Foreign programs.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::root;

/// A program from Debian. `cargo xtask setup` installs it.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Python with the clients of `requirements.txt`.
pub fn python() -> Command {
    let venv = std::env::var_os("ZONEHEAD_TEST_VENV")
        .map_or_else(|| root().join("target/venv"), PathBuf::from);
    let mut command = Command::new(venv.join("bin/python"));
    // Scripts share a module; nothing is written beside it.
    command.arg("-B");
    command
}

/// A program that `cargo xtask setup` built from Go modules: `clients`, `consul-template`.
pub fn go(name: &str) -> PathBuf {
    let programs = std::env::var_os("ZONEHEAD_TEST_GO")
        .map_or_else(|| root().join("target/go-clients"), PathBuf::from);
    programs.join(name)
}

/// Runs to the end, whatever the exit code. A missing program fails the test: none is passed over.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        let name = command.get_program().display();
        panic!("{name} cannot be run ({error}): install it with `cargo xtask setup`")
    })
}

/// Runs to the end and returns standard output. Another exit code than 0 fails the test.
#[track_caller]
pub fn succeed(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output.stdout
}

/// Like [`succeed`], as text.
#[track_caller]
pub fn text(command: &mut Command) -> String {
    String::from_utf8(succeed(command)).expect("the program writes UTF-8")
}

/// Runs to the end and returns all it said. Exit code 0 fails the test.
#[track_caller]
pub fn fail(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        !output.status.success(),
        "{command:?} succeeded: {}",
        said(&output)
    );
    said(&output)
}

/// Exit status, standard output and standard error.
pub fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{}\n{out}\n{err}", output.status)
}
