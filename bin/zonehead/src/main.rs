//! `zonehead`: the head of a self-hosted security zone in one binary.
//!
//! Wires backends, services and faces together ([`wiring`]) and runs one of the [`roles`]; every
//! other word on the command line is a client command of `zone-cli`.

mod args;
mod config;
mod identity;
mod logging;
mod measured;
mod pages;
mod passed;
mod roles;
mod serving;
mod wiring;

use std::process::ExitCode;

use args::{ConfigCommand, DevCommand, Role};
use zone_host_linux::HostClock;
use zone_ports::Clock as _;

fn main() -> ExitCode {
    // One provider for all of TLS; a second call would be a bug of ours.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = HostClock::new();
    let mut console = zone_cli::Console::of_process(move || clock.now());
    let matches = match zone_cli::parse(args::command(), std::env::args_os().skip(1)) {
        Ok(matches) => matches,
        Err(ending) => return ExitCode::from(ending.print(&mut console)),
    };
    match args::role(&matches) {
        Some(role) => finish(run(role)),
        None => match runtime() {
            Ok(runtime) => ExitCode::from(runtime.block_on(zone_cli::run(&matches, &mut console))),
            Err(error) => finish(Err(error)),
        },
    }
}

fn run(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Server { config } => long_runtime()?.block_on(roles::server::run(&config)),
        Role::Config { command } => configuration(&command),
        Role::Completion { shell } => pages::completion(args::command(), shell),
        Role::Man { directory } => pages::manual(args::command(), &directory),
        Role::Dev {
            command: Some(DevCommand::Env { dir }),
            ..
        } => roles::dev::print_env(&dir),
        Role::Dev {
            options,
            command: None,
        } => long_runtime()?.block_on(roles::dev::run(options)),
    }
}

fn configuration(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check { files } => {
            config::load(files)?;
            for file in files {
                println!("{}: the configuration is valid", file.display());
            }
        }
        ConfigCommand::Convert { files } => print!("{}", config::as_toml(files)?),
    }
    Ok(())
}

/// For a process that stays.
fn long_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    zone_host_linux::return_freed_memory()?;
    runtime()
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
