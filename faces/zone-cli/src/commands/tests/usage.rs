//! Help, wrong use, and that the help is right.

use expect_test::expect;

use super::*;
use crate::testing::Lab;

#[tokio::test]
async fn wrong_use_is_explained() {
    for (arguments, expected) in [
        (
            &["kv", "get"][..],
            expect![[r#"
                exit 1
                Not enough arguments: KEY is missing

                Run 'zonehead kv get -help' for its flags and examples.
            "#]],
        ),
        (
            &["kv", "get", "a", "hunter2"],
            expect![[r#"
            exit 1
            Too many arguments

            Run 'zonehead kv get -help' for its flags and examples.
        "#]],
        ),
        (
            &["kv", "gett", "a"],
            expect![[r#"
                exit 1
                There is no command 'gett'; did you mean 'get'?

                Run 'zonehead kv -help' for its flags and examples.
            "#]],
        ),
        (
            &["hunter"],
            expect![[r#"
            exit 1
            There is no command 'hunter'

            Run 'zonehead -help' for its flags and examples.
        "#]],
        ),
        (
            &["status", "-format=xml"],
            expect![[r#"
            exit 1
            Invalid output format: xml (table, json, yaml)
        "#]],
        ),
        (
            &["kv", "get", "-version=two", "a"],
            expect![[r#"
                exit 1
                Invalid value "two" for -version

                Run 'zonehead kv get -help' for its flags and examples.
            "#]],
        ),
        (
            &["token", "create", "-orphan=maybe"],
            expect![[r#"
                exit 1
                Invalid value "maybe" for -orphan

                Run 'zonehead token create -help' for its flags and examples.
            "#]],
        ),
        (
            &["status", "-header=X-Vault-Token=a"],
            expect![[r#"
            exit 1
            the header X-Vault-Token is set by the client itself
        "#]],
        ),
        (
            &["kv", "put", "secret/a", "hunter2hunter2"],
            expect![[r#"
            exit 1
            Failed to parse K=V data: "hunter2h…" is not of the form key=value, key=@file, key=-, @file or -
        "#]],
        ),
    ] {
        let mut lab = Lab::new(&[("VAULT_ADDR", "http://127.0.0.1:1")]);
        let code = lab.run(arguments).await;
        expected.assert_eq(&format!("exit {code}\n{}{}", lab.stdout(), lab.stderr()));
    }
}

#[tokio::test]
async fn help_is_printed_where_it_was_asked_for() {
    let mut lab = Lab::new(&[]);
    assert_eq!(lab.run(&["kv", "undelete", "-help"]).await, 0);
    expect![[r#"
        Usage: zonehead kv undelete [flags] KEY

          Bring back versions of a secret that 'kv delete' hid

          Versions that were destroyed do not come back.

        Examples:

          $ zonehead kv undelete -mount=secret -versions=3 app/db

        Arguments:

          KEY
              The secret; with its mount in front if -mount is not given.

        Flags:

          -versions=<n,…>
              Which versions.

          -mount=<path>
              Where the engine is mounted. Without it the first argument begins with the
              mount, and the server is asked where that ends.

        Output flags:

          -format=<format>
              table, json or yaml. Default: table. [VAULT_FORMAT]

        Connection flags:

          -address=<url>
              Where the server is: https://HOST:PORT, or unix:///PATH. Default:
              https://127.0.0.1:8200. [VAULT_ADDR]

          -ca-cert=<file>
              PEM file with the authority of the server's certificate. Default: what the
              system trusts. [VAULT_CACERT]

          -ca-path=<directory>
              Directory of such files. [VAULT_CAPATH]

          -tls-server-name=<name>
              The name that the server's certificate must hold, if it is not the host of
              the address. [VAULT_TLS_SERVER_NAME]

          -tls-skip-verify
              Take any server certificate. Whoever sits between sees the token.
              [VAULT_SKIP_VERIFY]

          -client-cert=<file>
              PEM file with a client certificate. [VAULT_CLIENT_CERT]

          -client-key=<file>
              PEM file with its private key. [VAULT_CLIENT_KEY]

          -namespace=<path>
              The namespace of the request. [VAULT_NAMESPACE]

          -wrap-ttl=<duration>
              Print a token that unwraps the answer once within this time, in place of
              the answer: 60, 5m. [VAULT_WRAP_TTL]

          -header=<name=value>
              One more header; can be given several times.

          -disable-redirects
              Do not follow a redirect. [VAULT_DISABLE_REDIRECTS]

          -non-interactive
              Never ask on the terminal.
    "#]]
    .assert_eq(&lab.stdout());
    assert_eq!(lab.run(&["kv"]).await, 1);
    assert_eq!(lab.stdout(), "");
    expect![[r#"
        Usage: zonehead kv COMMAND

          Work with secrets in a key-value engine

        Commands:

          enable-versioning    Make a mount of version 1 one of version 2
          get                  Read a secret
          put                  Write a secret
          patch                Change some keys of a secret, keep the others
          list                 List secrets
          delete               Hide versions of a secret
          undelete             Bring back versions of a secret that 'kv delete' hid
          destroy              Remove the data of versions for good
          rollback             Make an older version of a secret the newest one
          metadata             Work with what is known about a secret: versions, limits, notes

        Run 'zonehead kv COMMAND -help' for flags and examples.
    "#]]
    .assert_eq(&lab.stderr());
}

#[tokio::test]
async fn tokenless_callers_are_told_to_log_in() {
    let script = Script::start(&[("GET", 403, DENIED)]).await;
    let address = format!("http://{}", script.authority());
    let mut lab = Lab::new(&[
        ("ZONEHEAD_ADDR", &address),
        ("VAULT_ADDR", "http://127.0.0.1:1"),
    ]);
    assert_eq!(lab.run(&["read", "secret/data/a", "q=hunter2"]).await, 2);
    expect![[r#"
        Error reading secret/data/a: Error making API request.

        URL: GET http://SERVER/v1/secret/data/a
        Code: 403. Errors:

        * permission denied

        No token was sent: run 'zonehead login', or set VAULT_TOKEN.
    "#]]
    .assert_eq(&lab.stderr().replace(&script.authority(), "SERVER"));
}

#[test]
fn every_group_has_a_purpose() {
    fn walk(command: &clap::Command, words: &str) {
        for below in command.get_subcommands() {
            let words = format!("{words} {}", below.get_name());
            let about = below
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !about.is_empty() && !about.ends_with('.'),
                "{words}: {about:?}"
            );
            if below.get_subcommands().next().is_none() {
                let examples = below
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(examples.contains("zonehead "), "{words} has no example");
            }
            walk(below, &words);
        }
    }
    let command = crate::command();
    command.clone().debug_assert();
    walk(&command, "");
}

/// Each example in the help is one that the parser takes.
#[test]
fn examples_are_right() {
    fn walk(command: &clap::Command, count: &mut usize) {
        for below in command.get_subcommands() {
            let examples = below
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for line in examples.lines().map(str::trim) {
                if line.contains("$(") {
                    continue;
                }
                let own = line.rsplit(" | ").next().unwrap();
                let words = words(own.strip_prefix("zonehead ").unwrap_or(own));
                let read = crate::parse(crate::command(), words.iter().map(Into::into));
                assert!(read.is_ok(), "{line}: {read:?}");
                *count += 1;
            }
            walk(below, count);
        }
    }
    /// Words of a line, with single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (at, part) in line.split('\'').enumerate() {
            match at % 2 {
                0 => {
                    for (at, word) in part.split(' ').enumerate() {
                        if at > 0 {
                            words.push(String::new());
                        }
                        words.last_mut().unwrap().push_str(word);
                    }
                }
                _ => words.last_mut().unwrap().push_str(part),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
    let mut count = 0;
    walk(&crate::command(), &mut count);
    assert!(count > 60, "{count}");
}
