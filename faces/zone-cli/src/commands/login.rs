//! `login`: checks a token, or gets one from an auth method, and keeps it for the next commands.

use clap::Command;
use serde_json::{Map, Value};
use zone_types::Secret;

use crate::client::{Auth, Reply, texts};
use crate::context::{Context, trimmed};
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::spec::{connected, fielded, flag, leaf, rest, switch};
use crate::{token_file, values};

pub(super) fn describe() -> Command {
    let command = leaf(
        "login",
        "Log in, and keep the token for the next commands",
        "Without an argument the token is asked for, without echo, or read from standard input, and \
         looked up at the server. With -method=userpass or -method=approle it is got from there; \
         'zonehead auth help TYPE' tells how. It is stored with mode 0600 in $ZONEHEAD_TOKEN_FILE or \
         ~/.zonehead/token; ~/.vault-token is read by other commands and never written. \
         VAULT_TOKEN, if it is set, wins over what is stored.",
        "zonehead login
         zonehead login token=@token.txt
         zonehead login -method=userpass username=ann
         zonehead login -method=approle -token-only role_id=ID secret_id=@secret-id
         zonehead login -no-store -field=token_policies -",
    );
    connected(fielded(command.args([
        flag(
            "method",
            "type",
            "Kind of login: token, userpass or approle. Default: token.",
        ),
        flag(
            "path",
            "path",
            "Where the auth method is mounted; unused by token. Default: the type.",
        ),
        switch("no-store", "Do not keep the token."),
        switch("no-print", "Do not show the token."),
        switch("token-only", "Print only the token and do not keep it."),
        rest(
            "token",
            "TOKEN|KEY=VALUE",
            "The token, token=…, token=@file, or - for standard input; for other methods what they \
             ask for.",
        ),
    ])))
}

pub(super) async fn run(mut cx: Context<'_>) -> Outcome {
    let mut output = cx.output()?;
    let token_only = cx.is_on("token-only");
    let (store, print) = (!cx.is_on("no-store") && !token_only, !cx.is_on("no-print"));
    if token_only {
        output.field = Some("token".into());
    }
    if !store && !print && !token_only {
        return Err(Failure::usage(
            "-no-store and -no-print cannot be used together",
        ));
    }
    let method = cx.text("method").unwrap_or("token").to_owned();
    let auth = match method.as_str() {
        "token" => {
            let token = asked_token(&mut cx)?;
            looked_up(&mut cx, token, !token_only).await?
        }
        "userpass" | "approle" => got(&mut cx, &method).await?,
        _ => {
            return Err(Failure::usage(format!(
                "There is no login of the type {method:?}; -method=token, userpass and approle \
                 exist"
            )));
        }
    };
    if store {
        let path = token_file::store(&cx.console.environment, &auth.client_token)?;
        warn_of_variable(&mut cx)?;
        if print && output.is_table() && output.field.is_none() {
            let path = path.display();
            cx.console.print(&format!(
                "Success! You are now logged in. The token below is stored in {path};\nthe next \
                 commands use it.\n"
            ))?;
        }
    } else if !token_only {
        cx.console
            .warn("The token was not stored: set VAULT_TOKEN to use it.\n")?;
    }
    if !print {
        return Ok(0);
    }
    shown(&mut cx, &output, auth)
}

fn shown(cx: &mut Context<'_>, output: &Output, auth: Auth) -> Outcome {
    let reply = Reply {
        auth: Some(auth),
        ..Reply::default()
    };
    output.reply(cx.console, &reply)
}

fn warn_of_variable(cx: &mut Context<'_>) -> Result<(), Failure> {
    if cx.console.environment.twin("TOKEN").is_some() {
        let text =
            "WARNING! VAULT_TOKEN or ZONEHEAD_TOKEN is set and wins over the stored token.\n";
        cx.console.warn(text)?;
    }
    Ok(())
}

fn asked_token(cx: &mut Context<'_>) -> Result<Secret<String>, Failure> {
    let given = cx.all("token");
    let token = match &given[..] {
        [] if cx.can_ask() => cx.ask("Token (will be hidden): ")?,

        [] if cx.is_on("non-interactive") => {
            return Err(Failure::usage("Not enough arguments: give the token"));
        }
        [] => values::read_one("-", &mut *cx.console.input)?,
        [token] => {
            let value = token.strip_prefix("token=").unwrap_or(token);
            values::read_one(value, &mut *cx.console.input)?
        }
        _ => return Err(Failure::usage("Too many arguments")),
    };
    let token = Secret::new(token.expose().trim().to_owned());
    match token.expose().is_empty() {
        true => Err(Failure::usage("The token is empty")),
        false => Ok(token),
    }
}

/// The token that an auth method gives.
async fn got(cx: &mut Context<'_>, method: &str) -> Result<Auth, Failure> {
    let path = trimmed(cx.text("path").unwrap_or(method)).to_owned();
    let path = path.strip_prefix("auth/").unwrap_or(&path).to_owned();
    let given = cx.all("token");
    let mut body = values::read(given.iter().map(String::as_str), &mut *cx.console.input)?;
    let endpoint = match method {
        "userpass" => {
            let name = body.remove("username");
            let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
            if name.is_empty() {
                return Err(Failure::usage("Not enough arguments: give username=NAME"));
            }
            if !body.contains_key("password") {
                let password = match cx.can_ask() {
                    true => cx.ask("Password (will be hidden): ")?,
                    false => values::read_one("-", &mut *cx.console.input)?,
                };
                let text = password.expose().trim_end_matches(['\r', '\n']);
                body.insert("password".into(), text.into());
            }
            format!("auth/{path}/login/{name}")
        }
        _ => format!("auth/{path}/login"),
    };
    let client = cx.client_of_nobody()?;
    let reply = client.write(&endpoint, &body.into()).await;
    let reply = reply.map_err(Failure::of("Error authenticating"))?;
    let auth = reply.and_then(|reply| reply.auth);
    auth.ok_or_else(|| Failure::failed("Error authenticating: the answer has no token"))
}

/// What the server knows of the token; only the token itself without `ask`.
async fn looked_up(
    cx: &mut Context<'_>,
    token: Secret<String>,
    ask: bool,
) -> Result<Auth, Failure> {
    if !ask {
        return Ok(Auth {
            client_token: token,
            ..Auth::default()
        });
    }
    let client = cx.client_with(token.clone())?;
    let reply = client.peek("auth/token/lookup-self", &[]).await;
    let reply = reply.map_err(Failure::of("Error authenticating"))?;
    let data = reply.and_then(|reply| reply.data);
    let data = data.ok_or_else(|| Failure::failed("Error authenticating: the answer is empty"))?;
    Ok(auth_of(&data, token))
}

fn auth_of(data: &Map<String, Value>, token: Secret<String>) -> Auth {
    let policies = texts(data.get("policies"));
    let mut all = policies.clone();
    let identity_policies = texts(data.get("identity_policies"));
    all.extend(identity_policies.iter().cloned());
    let text = |name: &str| {
        data.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let flag = |name: &str| data.get(name).and_then(Value::as_bool).unwrap_or(false);
    Auth {
        client_token: token,
        accessor: text("accessor"),
        policies: all,
        token_policies: policies,
        identity_policies,
        metadata: data.get("meta").and_then(Value::as_object).cloned(),
        orphan: flag("orphan"),
        entity_id: text("entity_id"),
        lease_duration: data.get("ttl").and_then(Value::as_u64).unwrap_or(0),
        renewable: flag("renewable"),
    }
}
