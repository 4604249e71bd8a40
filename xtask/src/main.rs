//! All automation: what CI runs, a newcomer can run. `cargo xtask` lists the commands.
//!
//! Plain Rust over the programs that do the work; nothing here knows how the zone works.

mod bench;
mod fuzz;
mod gen_pages;
mod layers;
mod setup;
mod shell;
mod sim;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test [--fuzz-seconds N] [-- ARGS]  everything: setup, cargo test --workspace ARGS, fuzz
  setup                              what the tests need: Debian packages (as root; else the
                                     line to run is printed), Python clients in target/venv,
                                     Go clients in target/go-clients
  tidy                               layers, file headers and lengths, banned words, golden files
  fuzz [--seconds N] [TARGET…]       drives the fuzz targets on stable Rust, 20 s each
  sim [--seed N | --from N --count N]
                                     simulated histories of a zone that crashes; one seed is
                                     told step by step
  bench [FLAGS]                      rates beside the machine's limits (release build)
  gen                                writes generated pages anew: docs/reference
  ci-tools                           what .ci/run needs beyond Rust: cargo-deny in target/tools
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let result = shell::root().and_then(|root| match command.as_str() {
        "test" => test::run_all(&root, &rest),
        "setup" => setup::install(&root),
        "tidy" => tidy::check(&root),
        "fuzz" => fuzz::run_driver(&root, &rest),
        "sim" => sim::run_driver(&root, &rest),
        "bench" => bench::measure(&root, &rest),
        "gen" => gen_pages::write(&root),
        "ci-tools" => tools::install(&root),
        "" | "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("no command {other:?}\n\n{USAGE}")),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
