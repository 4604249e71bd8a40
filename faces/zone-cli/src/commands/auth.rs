//! `auth …`: mounts of auth methods.

use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use super::secrets::{lists, lives, mounts, rows};
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::table::{plain, table};
use crate::spec::{connected, flag, formatted, leaf, many, number, required, switch};

pub(super) mod list {
    //! `auth list`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "list",
            "List the auth methods",
            "With -detailed also the lives and types of their tokens, and their ids.",
            "zonehead auth list
             zonehead auth list -detailed",
        );
        connected(formatted(
            command.arg(switch("detailed", "Show more columns.")),
        ))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let output = cx.output()?;
        let reply = cx.client()?.read("sys/auth", &[]).await;
        let methods = mounts(reply.map_err(Failure::of("Error listing enabled authentications"))?);
        if !output.is_table() {
            return output.value(cx.console, &Value::Object(methods));
        }
        let titles: &[&str] = match cx.is_on("detailed") {
            true => &DETAILED,
            false => &SIMPLE,
        };
        cx.console.print(&table(&rows(&methods, titles)))?;
        Ok(0)
    }

    const SIMPLE: [&str; 4] = ["Path", "Type", "Accessor", "Description"];
    const DETAILED: [&str; 9] = [
        "Path",
        "Plugin",
        "Accessor",
        "Default TTL",
        "Max TTL",
        "Token Type",
        "Replication",
        "Description",
        "UUID",
    ];
}

pub(super) mod enable {
    //! `auth enable`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "enable",
            "Enable an auth method",
            "Methods: approle for machines, userpass for people.",
            "zonehead auth enable userpass
             zonehead auth enable -path=apps -description='the shop' approle",
        );
        let path = flag("path", "path", "Where to mount it. Default: the type.");
        connected(command.arg(path).args(tunable()).args([
            switch("local", "Do not replicate."),
            switch("seal-wrap", "Wrap critical values with the seal."),
            required("type", "TYPE", "The kind of method."),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let kind = cx.required("type").trim().to_owned();
        let path = trimmed(cx.text("path").unwrap_or(&kind)).to_owned();
        let mut config = Map::new();
        configure(&cx, &mut config);
        let mut body = json!({
            "type": kind,
            "description": cx.text("description").unwrap_or_default(),
            "config": config,
        });
        for (flag, field) in [("local", "local"), ("seal-wrap", "seal_wrap")] {
            if cx.is_on(flag) {
                body[field] = true.into();
            }
        }
        let reply = cx.client()?.write(&format!("sys/auth/{path}"), &body).await;
        reply.map_err(Failure::of(format!("Error enabling {kind} auth")))?;
        cx.console
            .print(&format!("Success! Enabled {kind} auth method at: {path}/"))?;
        Ok(0)
    }
}

pub(super) mod disable {
    //! `auth disable`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "disable",
            "Remove an auth method, its users and roles, and end its tokens",
            "There is no way back. Whoever logged in there is logged out at once.",
            "zonehead auth disable userpass/",
        );
        connected(command.arg(required("path", "PATH", "Where it is mounted.")))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = trimmed(cx.required("path")).to_owned();
        let reply = cx.client()?.delete(&format!("sys/auth/{path}"), &[]).await;
        reply.map_err(Failure::of(format!(
            "Error disabling auth method at {path}/"
        )))?;
        let text = format!("Success! Disabled the auth method (if it existed) at: {path}/");
        cx.console.print(&text)?;
        Ok(0)
    }
}

pub(super) mod tune {
    //! `auth tune`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "tune",
            "Change the settings of an auth method",
            "What is not given stays. 'zonehead read sys/auth/PATH/tune' shows the settings.",
            "zonehead auth tune -max-lease-ttl=8h userpass/
             zonehead auth tune -user-lockout-threshold=3 -user-lockout-duration=1h userpass/",
        );
        connected(command.args(tunable()).args([
            number(
                "user-lockout-threshold",
                "The wrong password that locks a user.",
            ),
            flag(
                "user-lockout-duration",
                "duration",
                "How long a user stays locked.",
            ),
            flag(
                "user-lockout-counter-reset-duration",
                "duration",
                "After this long without a wrong password the count begins anew.",
            ),
            switch("user-lockout-disable", "Lock nobody."),
            required("path", "PATH", "Where the method is mounted."),
        ]))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let path = trimmed(cx.required("path")).to_owned();
        let mut body = Map::new();
        configure(&cx, &mut body);
        if let Some(description) = cx.text("description") {
            body.insert("description".into(), description.into());
        }
        let lockout = lockout(&cx);
        if !lockout.is_empty() {
            body.insert("user_lockout_config".into(), lockout.into());
        }
        let reply = cx
            .client()?
            .write(&format!("sys/auth/{path}/tune"), &body.into())
            .await;
        reply.map_err(Failure::of(format!("Error tuning auth method {path}/")))?;
        cx.console
            .print(&format!("Success! Tuned the auth method at: {path}/"))?;
        Ok(0)
    }

    fn lockout(cx: &Context<'_>) -> Map<String, Value> {
        let mut lockout = Map::new();
        if let Some(threshold) = cx.number("user-lockout-threshold") {
            lockout.insert("lockout_threshold".into(), threshold.to_string().into());
        }
        for (flag, field) in [
            ("user-lockout-duration", "lockout_duration"),
            (
                "user-lockout-counter-reset-duration",
                "lockout_counter_reset_duration",
            ),
        ] {
            if let Some(text) = cx.text(flag) {
                lockout.insert(field.into(), text.into());
            }
        }
        if let Some(disable) = cx.switch("user-lockout-disable") {
            lockout.insert("lockout_disable".into(), disable.into());
        }
        lockout
    }
}

pub(super) mod help {
    //! `auth help`.
    use super::*;

    pub(in crate::commands) fn describe() -> Command {
        let command = leaf(
            "help",
            "Tell how to log in with an auth method",
            "Give the type of a method, or where one is mounted; the server is asked for the latter.",
            "zonehead auth help userpass
             zonehead auth help apps/",
        );
        connected(command.arg(required(
            "method",
            "TYPE|PATH",
            "The kind of a method, or where it is mounted.",
        )))
    }

    pub(in crate::commands) async fn run(mut cx: Context<'_>) -> Outcome {
        let asked = cx.required("method").to_owned();
        let path = trimmed(&asked).to_owned();
        if let Some(text) = usage(&asked) {
            cx.console.print(text)?;
            return Ok(0);
        }
        let reply = cx.client()?.read("sys/auth", &[]).await;
        let methods = mounts(reply.map_err(Failure::of("Error listing enabled authentications"))?);
        let kind = methods
            .get(&format!("{path}/"))
            .map(|method| plain(&method["type"]));
        let text = kind.as_deref().and_then(usage).ok_or_else(|| {
            Failure::failed(format!(
                "There is no auth method of that type or at {path}/"
            ))
        })?;
        cx.console.print(text)?;
        Ok(0)
    }

    fn usage(kind: &str) -> Option<&'static str> {
        Some(match kind {
            "token" => {
                "zonehead login [TOKEN]\n\n\
                 The token is asked for without echo if it is not given; '-' reads it from\n\
                 standard input."
            }
            "userpass" => {
                "zonehead login -method=userpass [-path=userpass] username=NAME [password=PASSWORD]\n\n\
                 The password is asked for without echo if it is not given; password=- reads it\n\
                 from standard input, password=@FILE from a file."
            }
            "approle" => {
                "zonehead login -method=approle [-path=approle] role_id=ID [secret_id=SECRET]\n\n\
                 secret_id=- reads the secret id from standard input, secret_id=@FILE from a\n\
                 file; it is not needed if the role does not bind it."
            }
            _ => return None,
        })
    }
}

fn tunable() -> [Arg; 7] {
    [
        flag("description", "text", "What the method is for."),
        flag("default-lease-ttl", "duration", "Usual life of tokens."),
        flag("max-lease-ttl", "duration", "Longest life of tokens."),
        flag(
            "listing-visibility",
            "word",
            "unauth: anybody may see the mount; hidden.",
        ),
        flag(
            "token-type",
            "type",
            "default-service, default-batch, service or batch.",
        ),
        many(
            "audit-non-hmac-request-keys",
            "key",
            "A key whose value stands clear in the audit.",
        ),
        many(
            "audit-non-hmac-response-keys",
            "key",
            "The same for answers.",
        ),
    ]
}

fn configure(cx: &Context<'_>, config: &mut Map<String, Value>) {
    lives(cx, config);
    lists(cx, config);
    if let Some(kind) = cx.text("token-type") {
        config.insert("token_type".into(), kind.into());
    }
}
