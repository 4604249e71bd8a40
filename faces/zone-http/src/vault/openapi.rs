//! The OpenAPI document, from the table of endpoints.
//!
//! `docs/reference/openapi.json` is the one of all engines, each at a place named in braces;
//! `sys/internal/specs/openapi` gives the one of the mounts that the caller can see.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use zone_access::Operation;

use super::exchange::{Call, Fault, Reply};
use super::fields::Fields;
use super::routes::{Does, ENGINES, Engine, Field, Form, Route};
use crate::Zone;

/// An engine where it is mounted.
pub(super) struct Place {
    pub(super) engine: &'static Engine,
    /// Without a slash at the end.
    pub(super) prefix: String,
    /// Only the row of this pattern.
    pub(super) only: Option<&'static str>,
}

/// `sys/internal/specs/openapi`.
pub(super) fn serve(zone: &Zone, call: &Call) -> Result<Reply, Fault> {
    let generic = Fields(&call.data)
        .flag("generic_mount_paths")?
        .unwrap_or(false);
    let access = zone.system.access();
    let mut places = Vec::new();
    for mount in access.mounts()? {
        let Some(engine) = Engine::of(&mount).filter(|_| access.sees(&call.permit, &mount)) else {
            continue;
        };
        let prefix = match generic {
            true => engine.place.to_owned(),
            false => mount.path.as_str().trim_end_matches('/').to_owned(),
        };
        places.push(Place {
            engine,
            prefix,
            only: None,
        });
    }
    Ok(Reply::Raw {
        content_type: "application/json",
        body: document(&places).to_string().into_bytes(),
    })
}

/// The document that stands under `docs/reference`.
pub fn reference() -> String {
    let place = |engine: &'static Engine| Place {
        engine,
        prefix: engine.place.to_owned(),
        only: None,
    };
    let places: Vec<_> = ENGINES.iter().map(place).collect();
    let text = serde_json::to_string_pretty(&document(&places));
    text.unwrap_or_default() + "\n"
}

/// OpenAPI 3.0 of some places.
pub(super) fn document(places: &[Place]) -> Value {
    let mut paths = BTreeMap::new();
    for place in places {
        for route in place.engine.routes {
            if place.only.is_none_or(|only| only == route.pattern) {
                let path = format!("/{}/{}", place.prefix, route.pattern.replace("*}", "}"));
                let item = path_item(place.engine, route, &path);
                paths.insert(path, item);
            }
        }
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "zonehead: Vault's HTTP API",
            "description": "A parameter at the end of a path may hold slashes.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0" },
        },
        "servers": [{ "url": "/v1" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "apiKey", "in": "header", "name": "X-Vault-Token" },
            },
            "schemas": { "Envelope": envelope(), "Errors": errors() },
        },
    })
}

fn path_item(engine: &Engine, route: &Route, path: &str) -> Value {
    let mut item = Map::new();
    item.insert("description".into(), route.about.into());
    let parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            let schema = json!({ "type": "string" });
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".into(), parameters.into());
    }
    if route.needs_sudo(engine.kind) {
        item.insert("x-vault-sudo".into(), true.into());
    }
    let lists = route
        .does
        .iter()
        .any(|does| does.operation == Operation::List);
    let reads = route
        .does
        .iter()
        .any(|does| does.operation == Operation::Read);
    for does in route.does {
        let method = match does.operation {
            // A list is a read with a flag: OpenAPI knows one of each method.
            Operation::List if reads => continue,
            Operation::List | Operation::Read => "get",
            Operation::Create | Operation::Update => "post",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
        };
        let listing = method == "get" && lists;
        item.insert(
            method.into(),
            one(engine, route, path, does, listing.then_some(!reads)),
        );
    }
    Value::Object(item)
}

/// One operation. `listing`: whether it takes `list`, and must.
fn one(engine: &Engine, route: &Route, path: &str, does: &Does, listing: Option<bool>) -> Value {
    let verb = match does.operation {
        Operation::Create | Operation::Update => "write",
        other => other.as_str(),
    };
    let mut operation = json!({
        "operationId": operation_id(verb, path),
        "summary": route.about,
        "tags": [engine.kind.as_str()],
    });
    if route.is_open(engine.kind, does.operation) {
        operation["security"] = json!([]);
        operation["x-vault-unauthenticated"] = true.into();
    }
    let mut query: Vec<Value> = Vec::new();
    if let Some(required) = listing {
        let schema = json!({ "type": "string", "enum": ["true"] });
        query
            .push(json!({ "name": "list", "in": "query", "required": required, "schema": schema }));
    }
    let writes = matches!(
        does.operation,
        Operation::Create | Operation::Update | Operation::Patch
    );
    if writes {
        operation["requestBody"] = body(does);
    } else {
        query.extend(does.fields.iter().map(|field| {
            json!({
                "name": field.name,
                "in": "query",
                "description": field.about,
                "schema": schema(field.form),
            })
        }));
    }
    if !query.is_empty() {
        operation["parameters"] = query.into();
    }
    operation["responses"] = responses(writes || does.operation == Operation::Delete);
    operation
}

fn operation_id(verb: &str, path: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let text: String = path.chars().map(plain).collect();
    let words: Vec<&str> = text.split('-').filter(|word| !word.is_empty()).collect();
    format!("{verb}-{}", words.join("-"))
}

fn body(does: &Does) -> Value {
    let content_type = match does.operation {
        Operation::Patch => "application/merge-patch+json",
        _ => "application/json",
    };
    let property = |field: &Field| {
        let mut schema = schema(field.form);
        if !field.about.is_empty() {
            schema["description"] = field.about.into();
        }
        (field.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = does.fields.iter().map(property).collect();
    let schema = json!({ "type": "object", "properties": properties });
    json!({ "content": { content_type: { "schema": schema } } })
}

fn schema(form: Form) -> Value {
    match form {
        Form::Text | Form::Time => json!({ "type": "string" }),
        Form::Flag => json!({ "type": "boolean" }),
        Form::Number => json!({ "type": "integer" }),
        Form::Decimal => json!({ "type": "number" }),
        Form::List => json!({ "type": "array", "items": { "type": "string" } }),
        Form::Object => json!({ "type": "object", "additionalProperties": true }),
    }
}

fn responses(changes: bool) -> Value {
    let of = |name: &str, about: &str| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "description": about, "content": { "application/json": { "schema": schema } } })
    };
    let mut responses = Map::new();
    responses.insert("200".into(), of("Envelope", "The answer"));
    if changes {
        let done = json!({ "description": "Done, and nothing to say" });
        responses.insert("204".into(), done);
    }
    responses.insert("400".into(), of("Errors", "The request is wrong"));
    responses.insert("403".into(), of("Errors", "The policies do not allow it"));
    if !changes {
        responses.insert("404".into(), of("Errors", "Nothing is there"));
    }
    Value::Object(responses)
}

fn envelope() -> Value {
    let nullable = |kind: &str| json!({ "type": kind, "nullable": true });
    json!({
        "type": "object",
        "description": "Vault's envelope. Certificates and lists come without it.",
        "properties": {
            "request_id": { "type": "string" },
            "lease_id": { "type": "string" },
            "renewable": { "type": "boolean" },
            "lease_duration": { "type": "integer" },
            "data": nullable("object"),
            "wrap_info": nullable("object"),
            "warnings": { "type": "array", "nullable": true, "items": { "type": "string" } },
            "auth": nullable("object"),
        },
    })
}

fn errors() -> Value {
    json!({
        "type": "object",
        "properties": { "errors": { "type": "array", "items": { "type": "string" } } },
        "required": ["errors"],
    })
}
