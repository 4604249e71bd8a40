//! The words that are not client commands: `server`, `dev`, `config`, `completion`, `man`.

#[cfg(test)]
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

/// The first words that this binary takes itself.
const ROLES: [&str; 5] = ["server", "dev", "config", "completion", "man"];

/// What this process is.
#[derive(Subcommand)]
pub(crate) enum Role {
    /// Run the head of a zone.
    ///
    /// Starts sealed. Then, from any machine: `zonehead operator init` once, and
    /// `zonehead operator unseal` after each start. SIGHUP reloads, SIGTERM drains and seals.
    Server {
        /// The configuration: zonehead.toml (docs/how-to/zonehead.toml explains each key), or
        /// Vault's and OpenBao's own HCL or JSON files, or a directory of those. Can be given
        /// several times.
        #[arg(long, value_name = "FILE", required = true)]
        config: Vec<PathBuf>,
    },
    /// Run a whole zone on this machine, to try it.
    ///
    /// An initialised, unsealed zone on loopback with KV v2 at secret/ and a CA at pki/. Writes
    /// below --dir alone; ~/.vault-token is not touched. Never use it for real secrets: its
    /// unseal key lies beside its data.
    #[command(args_conflicts_with_subcommands = true)]
    Dev {
        #[command(flatten)]
        options: DevOptions,
        #[command(subcommand)]
        command: Option<DevCommand>,
    },
    /// Work on configuration files.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a script that lets a shell complete commands and flags.
    ///
    /// bash: zonehead completion bash > /etc/bash_completion.d/zonehead; zsh: into a file _zonehead
    /// in a directory of $fpath; fish: into ~/.config/fish/completions/zonehead.fish.
    Completion {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one for each command.
    ///
    /// Then: man -l DIR/zonehead.1, or install them below share/man/man1.
    Man {
        /// Where; made if absent.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// Flags of `zonehead dev`.
#[derive(Args)]
pub(crate) struct DevOptions {
    /// Where everything is kept; the same directory resumes the same zone. Default: a temporary
    /// one that is removed at the end.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// A loopback address and port. Default: 127.0.0.1:8200, or a free port if that is taken.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Only start the zone.
    #[arg(long)]
    pub(crate) no_tour: bool,
}

#[derive(Subcommand)]
pub(crate) enum DevCommand {
    /// Print the shell lines that point clients at the zone: eval "$(zonehead dev env --dir DIR)"
    Env {
        /// The directory that `zonehead dev` was given.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read a configuration and say what is wrong with it.
    Check {
        /// The files, as `server -config` takes them.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a configuration in the form of zonehead.toml, every default filled in.
    ///
    /// Reads Vault's and OpenBao's HCL and JSON: zonehead config convert vault.hcl > zonehead.toml
    Convert {
        /// The files, as `server -config` takes them.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// The whole command line: the roles and the client commands.
pub(crate) fn command() -> Command {
    zone_cli::finish(Role::augment_subcommands(zone_cli::command()))
}

/// The role that was asked for; `None` if it is a client command.
pub(crate) fn role(matches: &ArgMatches) -> Option<Role> {
    let named = matches.subcommand_name()?;
    ROLES
        .contains(&named)
        .then(|| Role::from_arg_matches(matches).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    /// `cargo xtask gen` writes it anew.
    #[test]
    fn the_reference_page_is_current() {
        let page = zone_cli::reference_of(&command());
        expect_test::expect_file!["../../../docs/reference/cli.md"].assert_eq(&page);
    }

    #[test]
    fn roles_and_client_commands_share_one_tree() {
        let parse = |line: &str| zone_cli::parse(command(), line.split(' ').map(OsString::from));
        let server = parse("server -config zonehead.toml").unwrap();
        assert!(matches!(role(&server), Some(Role::Server { .. })));
        let dev = parse("dev -no-tour --listen 127.0.0.1:0").unwrap();
        assert!(matches!(role(&dev), Some(Role::Dev { .. })));
        let env = parse("dev env --dir x").unwrap();
        assert!(matches!(
            role(&env),
            Some(Role::Dev {
                command: Some(_),
                ..
            })
        ));
        assert!(role(&parse("status").unwrap()).is_none());
        assert!(parse("server").is_err());
    }
}
