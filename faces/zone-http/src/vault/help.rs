//! `?help=1`: what a path is good for, from the table of endpoints. Never what stands there.

use std::fmt::Write as _;

use serde_json::{Value, json};
use zone_access::{Helped, Operation};

use super::audit::Trail;
use super::exchange::{Fault, Reply};
use super::openapi::{self, Place};
use super::routes::{Engine, Form, Route};
use super::{Asked, envelope};
use crate::Zone;
use crate::app::{Inbound, Outbound};

/// Answers a request for help that was allowed.
pub(super) async fn serve(zone: &Zone, inbound: &Inbound, asked: &Asked, of: &Helped) -> Outbound {
    let trail = Trail::of_help(inbound, of);
    if let Err(fault) = trail.request(zone, &asked.data).await {
        return envelope::refuse(&inbound.id, fault);
    }
    let result = match inbound.wrap_ttl {
        Some(_) => Err(Fault::bad_request("X-Vault-Wrap-TTL: help is not wrapped")),
        None => about(of),
    };
    let answer = envelope::encode(&inbound.id, &inbound.path, result);
    match trail.response(zone, &asked.data, &answer).await {
        Ok(()) => answer.outbound,
        Err(fault) => envelope::refuse(&inbound.id, fault),
    }
}

fn about(of: &Helped) -> Result<Reply, Fault> {
    let engine = Engine::of(&of.mount).ok_or_else(Fault::unsupported_path)?;
    let rest = of.rest.strip_suffix('/').unwrap_or(&of.rest);
    let found = engine.matching(rest);
    let mount = of.mount.path.as_str().trim_end_matches('/');
    let text = match (rest, found.first()) {
        (_, Some(route)) if !rest.is_empty() || route.pattern.starts_with('{') => {
            path_text(engine, mount, rest, route)
        }
        ("", _) => engine_text(engine, mount),
        _ => return Err(Fault::unsupported_path()),
    };
    let place = Place {
        engine,
        prefix: mount.to_owned(),
        only: found.first().map(|route| route.pattern),
    };
    let body = json!({
        "help": text,
        "see_also": Value::Null,
        "openapi": openapi::document(&[place]),
    });
    Ok(Reply::Raw {
        content_type: "application/json",
        body: body.to_string().into_bytes(),
    })
}

fn path_text(engine: &Engine, mount: &str, rest: &str, route: &Route) -> String {
    let mut text = format!(
        "Request:        {rest}\nMatching Route: {mount}/{}\n\n",
        route.pattern
    );
    let _ = writeln!(text, "{}.", route.about);
    for does in route.does {
        let _ = write!(text, "\n{}", verb(does.operation));
        if route.is_open(engine.kind, does.operation) {
            text.push_str(" (no token needed)");
        } else if route.needs_sudo(engine.kind) {
            text.push_str(" (needs sudo)");
        }
        text.push('\n');
        for field in does.fields {
            let _ = write!(text, "\n    {} ({})\n", field.name, form(field.form));
            if !field.about.is_empty() {
                let _ = writeln!(text, "        {}.", field.about);
            }
        }
    }
    text
}

fn engine_text(engine: &Engine, mount: &str) -> String {
    let mut text = format!("{}.\n\nPaths:\n", engine.about);
    for route in engine.routes {
        let _ = write!(
            text,
            "\n    {mount}/{}\n        {}.\n",
            route.pattern, route.about
        );
    }
    text
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Create | Operation::Update => "write",
        other => other.as_str(),
    }
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Text => "text",
        Form::Flag => "true or false",
        Form::Number => "whole number",
        Form::Decimal => "number",
        Form::Time => "seconds, or a duration like 1h30m",
        Form::List => "list, or comma-separated text",
        Form::Object => "object",
    }
}
