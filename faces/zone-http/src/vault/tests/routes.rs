//! The table of endpoints: all of it is served, nothing else is, and help and the OpenAPI
//! document tell of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zone_access::{MountKind, Operation};

use super::super::routes::{ENGINES, Engine, Form};
use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;

/// Where the bench has an engine.
pub(super) fn place(engine: &Engine) -> &'static str {
    match engine.kind {
        MountKind::Kv if engine.version == Some(1) => "old",
        MountKind::Kv => "secret",
        MountKind::Pki => "pki",
        MountKind::AppRole => "auth/approle",
        MountKind::Userpass => "auth/userpass",
        _ => engine.place,
    }
}

pub(super) fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "GET",
        Operation::List => "LIST",
        Operation::Create | Operation::Update => "PUT",
        Operation::Patch => "PATCH",
        Operation::Delete => "DELETE",
    }
}

/// Whether the answer is that there is no such endpoint or operation.
fn is_unserved(shown: &Shown) -> bool {
    shown.text.contains("unsupported path")
        || shown.text.contains("unsupported operation")
        || shown.text.contains("Invalid path for a versioned K/V")
}

/// Each in a zone of its own: some end the zone.
#[tokio::test]
async fn every_row_of_the_table_is_served() {
    for engine in ENGINES {
        for route in engine.routes {
            for does in route.does {
                let bench = Bench::with_methods().await;
                if engine.version == Some(1) {
                    let old = json!({ "type": "kv-v1" });
                    bench.root("PUT", "sys/mounts/old", old).await;
                }
                let path = format!("{}/{}", place(engine), route.sample());
                let method = method(does.operation);
                let shown = bench.root(method, &path, json!({})).await;
                assert!(!is_unserved(&shown), "{method} {path}: {shown:?}");
            }
        }
    }
}

/// Whatever no row names is refused before an engine hears of it.
#[tokio::test]
async fn what_no_row_names_is_not_served() {
    let bench = Bench::with_methods().await;
    for engine in ENGINES {
        for route in engine.routes {
            let rest = route.sample();
            let open = engine.kind == MountKind::System
                && super::super::OPEN_SYS.contains(&format!("sys/{rest}").as_str());
            if open {
                continue;
            }
            let served = |operation| {
                let found = engine.matching(&rest);
                let does = |route: &&super::super::routes::Route| {
                    route.does.iter().any(|does| does.operation == operation)
                };
                found.iter().any(does)
            };
            for operation in [
                Operation::Read,
                Operation::List,
                Operation::Update,
                Operation::Patch,
                Operation::Delete,
            ] {
                // KV words its own refusals; its tests hold them.
                if served(operation) || engine.kind == MountKind::Kv {
                    continue;
                }
                let path = format!("{}/{rest}", place(engine));
                let method = method(operation);
                let shown = bench.root(method, &path, json!({})).await;
                assert_eq!(shown.status, 405, "{method} {path}: {shown:?}");
            }
        }
        if engine.kind != MountKind::Kv && engine.kind != MountKind::Cubbyhole {
            let path = format!("{}/no-such/endpoint/here", place(engine));
            assert_eq!(bench.root("GET", &path, NONE).await.status, 404, "{path}");
        }
    }
}

#[test]
fn rows_are_unambiguous_and_documented() {
    for engine in ENGINES {
        let mut seen = BTreeSet::new();
        for route in engine.routes {
            assert!(seen.insert(route.pattern), "{} twice", route.pattern);
            assert!(!route.about.is_empty() && !route.about.ends_with('.'));
            assert!(!route.does.is_empty(), "{}", route.pattern);
            let mut operations = BTreeSet::new();
            for does in route.does {
                assert!(
                    operations.insert(does.operation.as_str()),
                    "{}",
                    route.pattern
                );
                let names: BTreeSet<_> = does.fields.iter().map(|field| field.name).collect();
                assert_eq!(names.len(), does.fields.len(), "{}", route.pattern);
            }
        }
    }
}

/// Each field of the table stands as a text in the code that serves it.
#[test]
fn fields_of_the_table_are_read() {
    let mut code = String::new();
    let src = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/vault");
    gather(&src, &mut code);
    for engine in ENGINES {
        for route in engine.routes {
            for field in route.does.iter().flat_map(|does| does.fields) {
                // Name constraints are read in pairs.
                let name = field.name.trim_start_matches("permitted_");
                let text = format!("\"{}\"", name.trim_start_matches("excluded_"));
                assert!(code.contains(&text), "{} of {}", field.name, route.pattern);
            }
        }
    }
}

fn gather(dir: &Path, code: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "routes" | "tests") {
                gather(&path, code);
            }
        } else if !name.starts_with("tests") {
            code.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// `cargo xtask gen` writes it.
#[test]
fn the_openapi_document_is_current() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/openapi.json"
    );
    let now = super::super::openapi_reference();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(file, &now).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    // Not shown: it is long.
    assert!(
        written == now,
        "docs/reference/openapi.json is old: run cargo xtask gen"
    );
}

#[tokio::test]
async fn the_document_tells_of_what_the_caller_sees() {
    let bench = Bench::new().await;
    let path = "sys/internal/specs/openapi";
    let all = bench.root("GET", path, NONE).await;
    assert_eq!(all.field("content-type"), Some("application/json"));
    assert_eq!(all.field("cache-control"), Some("no-store"));
    let paths = all.json()["paths"].clone();
    assert!(paths["/secret/data/{path}"]["get"].is_object());
    assert!(paths["/sys/seal"]["x-vault-sudo"] == true);
    assert_eq!(paths["/sys/health"]["get"]["security"], json!([]));
    let own = bench
        .token(
            r#"path "sys/internal/specs/openapi" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["update"] }"#,
        )
        .await;
    let own = bench.by(&own, "GET", path, NONE).await.json();
    let own = own["paths"].as_object().unwrap();
    assert!(own.contains_key("/pki/issue/{role}"));
    assert!(
        !own.contains_key("/secret/data/{path}"),
        "a mount that it cannot see"
    );
    let generic = bench
        .root("GET", &format!("{path}?generic_mount_paths=true"), NONE)
        .await;
    assert!(generic.json()["paths"]["/{kv_mount_path}/data/{path}"].is_object());
    assert_eq!(bench.send("GET", path, NONE).await.status, 403);
}

#[tokio::test]
async fn help_tells_of_the_path_and_never_of_what_is_there() {
    let bench = Bench::new().await;
    let secret = json!({ "data": { "password": "CANARY" } });
    bench.root("PUT", "secret/data/x", secret).await;
    bench.trail.clear();
    let shown = bench.root("GET", "secret/data/x?help=1", NONE).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.field("content-type"), Some("application/json"));
    assert_eq!(shown.field("cache-control"), Some("no-store"));
    assert!(!shown.text.contains("CANARY"));
    let help = shown.json();
    let text = help["help"].as_str().unwrap();
    assert!(
        text.starts_with("Request:        data/x\nMatching Route: secret/data/{path*}\n"),
        "{text}"
    );
    assert!(text.contains("version (whole number)"), "{text}");
    let paths = help["openapi"]["paths"].as_object().unwrap();
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/secret/data/{path}"]);
    let lines = ["request help secret/data/x", "response help secret/data/x"];
    assert_eq!(bench.trail.shown(), lines);
    for mount in ["secret", "secret/", "sys", "auth/token", "cubbyhole"] {
        let help = bench.root("GET", &format!("{mount}?help=1"), NONE).await;
        assert_eq!(help.status, 200, "{mount}: {help:?}");
    }
    let audit = bench
        .root("GET", "sys/audit/file?help=true", NONE)
        .await
        .json();
    assert!(
        audit["help"]
            .as_str()
            .unwrap()
            .contains("write (needs sudo)")
    );
    let unknown = bench.root("GET", "sys/no-such/path?help=1", NONE).await;
    assert_eq!(unknown.status, 404);
}

/// Whoever may do nothing below a mount does not learn from help that it is there.
#[tokio::test]
async fn attack_help_shows_nobody_a_mount_that_he_cannot_see() {
    let bench = Bench::new().await;
    let own = bench
        .token(r#"path "pki/issue/web" { capabilities = ["update"] }"#)
        .await;
    assert_eq!(
        bench
            .by(&own, "GET", "pki/issue/web?help=1", NONE)
            .await
            .status,
        200
    );
    for path in ["secret/data/x", "secret", "nowhere/x", "sys/mounts"] {
        let shown = bench.by(&own, "GET", &format!("{path}?help=1"), NONE).await;
        assert_eq!(shown.brief(), r#"403 ["permission denied"]"#, "{path}");
    }
    assert_eq!(
        bench.send("GET", "secret/data/x?help=1", NONE).await.status,
        403
    );
    let once = json!({ "policies": ["root"], "num_uses": 1 });
    let once = bench.root("POST", "auth/token/create", once).await.json();
    let once = once["auth"]["client_token"].as_str().unwrap();
    assert_eq!(bench.by(once, "GET", "sys?help=1", NONE).await.status, 200);
    assert_eq!(
        bench.by(once, "GET", "sys?help=1", NONE).await.status,
        403,
        "a use"
    );
}

#[test]
fn every_form_is_in_use() {
    let forms: BTreeSet<String> = ENGINES
        .iter()
        .flat_map(|engine| engine.routes)
        .flat_map(|route| route.does)
        .flat_map(|does| does.fields)
        .map(|field| format!("{:?}", field.form))
        .collect();
    let all = [
        Form::Text,
        Form::Flag,
        Form::Number,
        Form::Decimal,
        Form::Time,
        Form::List,
        Form::Object,
    ];
    assert_eq!(forms, all.iter().map(|form| format!("{form:?}")).collect());
}
