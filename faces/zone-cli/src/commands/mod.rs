//! All commands: one row each, with its words, its description and what it does.

mod audit;
mod audit_offline;
mod auth;
mod ceremony;
mod events;
mod generic;
mod kv;
mod lease;
mod login;
mod operator;
mod path_help;
mod pki;
mod policy;
mod policy_suggest;
mod policy_test;
mod print;
mod remount;
mod secrets;
mod status;
mod token;
mod trail;
mod unwrap;
mod why;

use std::future::Future;
use std::pin::Pin;

use clap::Command;

use crate::client::{ClientError, Reply};
use crate::console::Console;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// What a command does.
type Run = for<'a> fn(Context<'a>) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A command that does something.
pub(crate) struct Leaf {
    /// Its words.
    path: &'static str,
    /// Its description.
    describe: fn() -> Command,
    /// What it does.
    pub(crate) run: Run,
}

macro_rules! leaves {
    ($($path:literal: $($part:ident)::+;)+) => {
        &[$(Leaf {
            path: $path,
            describe: $($part)::+::describe,
            run: |context| Box::pin($($part)::+::run(context)),
        },)+]
    };
}

/// Each command; the order is that of the help.
const LEAVES: &[Leaf] = leaves! {
    "status": status;
    "login": login;
    "read": generic::read;
    "write": generic::write;
    "list": generic::list;
    "delete": generic::delete;
    "patch": generic::patch;
    "unwrap": unwrap;
    "path-help": path_help;
    "kv enable-versioning": kv::enable_versioning;
    "kv get": kv::get;
    "kv put": kv::put;
    "kv patch": kv::patch;
    "kv list": kv::list;
    "kv delete": kv::delete;
    "kv undelete": kv::undelete;
    "kv destroy": kv::destroy;
    "kv rollback": kv::rollback;
    "kv metadata get": kv::metadata::get;
    "kv metadata put": kv::metadata::put;
    "kv metadata patch": kv::metadata::patch;
    "kv metadata delete": kv::metadata::delete;
    "token create": token::create;
    "token lookup": token::lookup;
    "token renew": token::renew;
    "token revoke": token::revoke;
    "token capabilities": token::capabilities;
    "lease lookup": lease::lookup;
    "lease renew": lease::renew;
    "lease revoke": lease::revoke;
    "policy list": policy::list;
    "policy read": policy::read;
    "policy write": policy::write;
    "policy delete": policy::delete;
    "policy test": policy_test;
    "policy suggest": policy_suggest;
    "secrets list": secrets::list;
    "secrets enable": secrets::enable;
    "secrets disable": secrets::disable;
    "secrets tune": secrets::tune;
    "secrets move": remount::secrets;
    "auth list": auth::list;
    "auth enable": auth::enable;
    "auth disable": auth::disable;
    "auth tune": auth::tune;
    "auth move": remount::auth;
    "auth help": auth::help;
    "audit list": audit::list;
    "audit enable": audit::enable;
    "audit disable": audit::disable;
    "audit verify": audit_offline::verify;
    "audit search": audit_offline::search;
    "why": why;
    "events subscribe": events::subscribe;
    "pki verify": pki::verify;
    "pki inspect": pki::inspect;
    "operator init": operator::init;
    "operator unseal": operator::unseal;
    "operator seal": operator::seal;
    "operator rotate": operator::rotate;
    "operator key-status": operator::key_status;
    "operator rekey": ceremony::rekey;
    "operator generate-root": ceremony::generate_root;
    "operator step-down": ceremony::step_down;
    "init": operator::init;
    "unseal": operator::unseal;
    "seal": operator::seal;
    "print token": print::token;
    "version": print::version;
};

/// What the program is.
pub(crate) const ABOUT: &str = "The head of a security zone: secrets, certificates, audit";

/// What stands above the commands.
const GROUPS: &[(&str, &str)] = &[
    ("kv", "Work with secrets in a key-value engine"),
    (
        "kv metadata",
        "Work with what is known about a secret: versions, limits, notes",
    ),
    ("token", "Make, look at, renew and revoke tokens"),
    ("lease", "Look at, renew and revoke leases"),
    (
        "policy",
        "Work with policies; test and suggest them offline",
    ),
    ("secrets", "Mount, tune and remove secrets engines"),
    ("auth", "Enable, tune and remove auth methods"),
    (
        "audit",
        "Work with audit devices; verify and search audit files offline",
    ),
    (
        "pki",
        "Verify and look into certificates and lists, offline",
    ),
    ("events", "Hear of changes as they happen"),
    ("print", "Print what this program knows by itself"),
    ("operator", "Initialise, unseal, seal, rotate and rekey"),
];

/// The row of a command.
pub(crate) fn find(path: &str) -> Option<&'static Leaf> {
    LEAVES.iter().find(|leaf| leaf.path == path)
}

/// All commands as a tree.
pub(crate) fn tree() -> Command {
    let mut root = group(
        "zonehead",
        "The head of a security zone: secrets, certificates, audit",
    )
    .version(env!("CARGO_PKG_VERSION"))
    .disable_help_subcommand(true);
    for leaf in LEAVES {
        let words: Vec<&'static str> = leaf.path.split(' ').collect();
        root = grown(root, &words, "", leaf);
    }
    root
}

/// `command` with a leaf below it.
fn grown(command: Command, words: &[&'static str], above: &str, leaf: &Leaf) -> Command {
    let Some((first, rest)) = words.split_first() else {
        return command;
    };
    if rest.is_empty() {
        return command.subcommand((leaf.describe)().name(*first));
    }
    let path = format!("{above} {first}").trim().to_owned();
    let command = match command.find_subcommand(first) {
        Some(_) => command,
        None => {
            let about = GROUPS.iter().find(|(group, _)| *group == path);
            command.subcommand(group(first, about.map_or("", |(_, about)| about)))
        }
    };
    command.mut_subcommand(*first, |below| grown(below, rest, &path, leaf))
}

fn group(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
}

/// Prints the answer to a write: the envelope, or `success` if there is none. An error's data and
/// warnings are printed too, as Vault does.
fn written(
    console: &mut Console,
    output: &Output,
    result: Result<Option<Reply>, ClientError>,
    failure: &str,
    success: &str,
) -> Outcome {
    match result {
        Ok(Some(reply)) => output.reply(console, &reply),
        Ok(None) => {
            if output.is_table() {
                console.print(success)?;
            }
            Ok(0)
        }
        Err(error) => {
            if let ClientError::Api(refused) = &error
                && let Some(reply) = &refused.reply
            {
                let whole = Output {
                    field: None,
                    ..output.clone()
                };
                whole.reply(console, reply)?;
            }
            Err(Failure::of(failure)(error))
        }
    }
}

#[cfg(test)]
mod tests;
