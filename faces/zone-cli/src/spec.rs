//! How commands are described: one definition gives parser, help and reference.

use clap::{Arg, ArgAction, Command};

/// Heading of the flags that every request takes.
pub(crate) const CONNECTION: &str = "Connection flags";
/// Heading of the flags that choose what is printed.
pub(crate) const OUTPUT: &str = "Output flags";
/// Heading of a command's own flags.
pub(crate) const OWN: &str = "Flags";

/// A command that does something. `about` is one line; `long` explains, `examples` are commands
/// without the program's name, one a line.
pub(crate) fn leaf(
    name: &'static str,
    about: &'static str,
    long: &'static str,
    examples: &'static str,
) -> Command {
    Command::new(name)
        .about(about)
        .long_about(long)
        .after_help(examples)
        .args_override_self(true)
}

/// A flag with a value.
pub(crate) fn flag(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .help_heading(OWN)
}

/// A flag with a value that can be given several times.
pub(crate) fn many(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    flag(name, value, help).action(ArgAction::Append)
}

/// A flag that is on or off: `-name`, `-name=false`.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(parse_bool)
        .help(help)
        .help_heading(OWN)
}

/// A flag with a whole number.
pub(crate) fn number(name: &'static str, help: &'static str) -> Arg {
    flag(name, "n", help).value_parser(clap::value_parser!(i64))
}

/// An argument that must be there.
pub(crate) fn required(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    optional(name, value, help).required(true)
}

/// An argument that may be there.
pub(crate) fn optional(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .value_name(value)
        .help(help)
        .allow_negative_numbers(true)
}

/// Arguments up to the end.
pub(crate) fn rest(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    optional(name, value, help).num_args(0..)
}

/// Adds the flags of everything that talks to a server.
pub(crate) fn connected(command: Command) -> Command {
    let flag = |name, value, help| flag(name, value, help).help_heading(CONNECTION);
    let switch = |name, help| switch(name, help).help_heading(CONNECTION);
    command.args([
        flag(
            "address",
            "url",
            "Where the server is: https://HOST:PORT, or unix:///PATH. Default: https://127.0.0.1:8200. \
             [VAULT_ADDR]",
        ),
        flag(
            "ca-cert",
            "file",
            "PEM file with the authority of the server's certificate. Default: what the system \
             trusts. [VAULT_CACERT]",
        ),
        flag(
            "ca-path",
            "directory",
            "Directory of such files. [VAULT_CAPATH]",
        ),
        flag(
            "tls-server-name",
            "name",
            "The name that the server's certificate must hold, if it is not the host of the \
             address. [VAULT_TLS_SERVER_NAME]",
        ),
        switch(
            "tls-skip-verify",
            "Take any server certificate. Whoever sits between sees the token. \
             [VAULT_SKIP_VERIFY]",
        ),
        flag(
            "client-cert",
            "file",
            "PEM file with a client certificate. [VAULT_CLIENT_CERT]",
        ),
        flag(
            "client-key",
            "file",
            "PEM file with its private key. [VAULT_CLIENT_KEY]",
        ),
        flag(
            "namespace",
            "path",
            "The namespace of the request. [VAULT_NAMESPACE]",
        )
        .alias("ns"),
        flag(
            "wrap-ttl",
            "duration",
            "Print a token that unwraps the answer once within this time, in place of the answer: \
             60, 5m. [VAULT_WRAP_TTL]",
        ),
        many(
            "header",
            "name=value",
            "One more header; can be given several times.",
        )
        .help_heading(CONNECTION),
        switch(
            "disable-redirects",
            "Do not follow a redirect. [VAULT_DISABLE_REDIRECTS]",
        ),
        switch("non-interactive", "Never ask on the terminal."),
    ])
}

/// Adds `-format`.
pub(crate) fn formatted(command: Command) -> Command {
    command.arg(
        flag(
            "format",
            "format",
            "table, json or yaml. Default: table. [VAULT_FORMAT]",
        )
        .help_heading(OUTPUT),
    )
}

/// Adds `-format` and `-field`.
pub(crate) fn fielded(command: Command) -> Command {
    formatted(
        command.arg(
            flag(
                "field",
                "name",
                "Print only this field, without a newline if it goes to a pipe.",
            )
            .help_heading(OUTPUT),
        ),
    )
}

/// A truth value in the spellings of Go.
fn parse_bool(text: &str) -> Result<bool, &'static str> {
    parse_truth(text).ok_or("expected true or false")
}

/// As `parse_bool`, for environment variables.
pub(crate) fn parse_truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
