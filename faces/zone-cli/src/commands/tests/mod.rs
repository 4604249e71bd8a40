//! What commands ask of a server and print of its answers. The server's side of each exchange is
//! written down here; the real server is asked in the end-to-end tests.

mod access;
mod ceremony;
mod generic;
mod kv;
mod offline;
mod system;
mod trail;
mod usage;
mod wrapping;

use expect_test::Expect;

use crate::testing::{Answers, Script};

/// Runs a command against a scripted server: exit code, requests, output, messages.
async fn check(answers: Answers, arguments: &[&str], expected: Expect) {
    check_with("", answers, arguments, expected).await;
}

async fn check_with(input: &str, answers: Answers, arguments: &[&str], expected: Expect) {
    let script = Script::start(answers).await;
    let mut lab = script.lab();
    lab.input(input);
    let code = lab.run(arguments).await;
    let mut shown = format!("exit {code}\n");
    for request in script.seen() {
        shown.push_str(&format!("> {}\n", request.replace('\n', "\n> ")));
    }
    shown.push_str(&lab.stdout());
    for line in lab.stderr().lines() {
        shown.push_str(format!("! {line}").trim_end());
        shown.push('\n');
    }
    expected.assert_eq(&shown.replace(&script.authority(), "SERVER"));
}

const DENIED: &str = r#"{"errors":["permission denied"]}"#;
