//! Every field of every endpoint, from the table, with every kind of JSON: no user mistake is a
//! 500, and no error holds the value.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use zone_access::{MountKind, Operation};

use super::super::routes::{ENGINES, Engine};
use crate::testing::{Bench, Shown};

const CANARY: &str = "cAnAry7Zq9XvT2mWkR4b";

/// Where the bench has an engine.
fn place(engine: &Engine) -> &'static str {
    match engine.kind {
        MountKind::Kv => "secret",
        MountKind::Pki => "pki",
        _ => engine.place,
    }
}

fn values() -> Vec<Value> {
    vec![
        json!(CANARY),
        json!(""),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!(null),
        json!([CANARY]),
        json!([[CANARY]]),
        json!([null]),
        json!({ "k": CANARY }),
        json!({ "k": [CANARY] }),
        json!(CANARY.repeat(5000)),
    ]
}

fn judge(asked: &str, name: &str, shown: &Shown) {
    assert!(shown.status < 500, "{asked} {name}: {shown:?}");
    if shown.status >= 400 {
        assert!(!shown.text.contains(CANARY), "{asked} {name}: {shown:?}");
    }
}

#[tokio::test]
async fn cve_2025_4166_no_mistake_is_a_500_and_no_error_shows_the_value() {
    let bench = Bench::new().await;
    let mut asked = BTreeSet::new();
    for engine in ENGINES {
        for route in engine.routes {
            for does in route.does {
                for field in does.fields {
                    for value in values() {
                        let path = format!("{}/{}", place(engine), route.sample());
                        let shown = match does.operation {
                            Operation::Update | Operation::Create => {
                                let body = Map::from_iter([(field.name.to_owned(), value)]);
                                bench.root("PUT", &path, Value::Object(body)).await
                            }
                            Operation::Patch => {
                                let body = Map::from_iter([(field.name.to_owned(), value)]);
                                bench.root("PATCH", &path, Value::Object(body)).await
                            }
                            Operation::Read | Operation::List | Operation::Delete => {
                                let method = match does.operation {
                                    Operation::List => "LIST",
                                    Operation::Read => "GET",
                                    _ => "DELETE",
                                };
                                let text = value.as_str().unwrap_or("-1.5");
                                let text: String = text.chars().take(3000).collect();
                                let path = format!("{path}?{}={text}", field.name);
                                bench.root(method, &path, Value::Null).await
                            }
                        };
                        judge(&path, field.name, &shown);
                        asked.insert(format!("{path} {}", field.name));
                    }
                }
            }
        }
    }
    assert!(asked.len() > 200, "{}", asked.len());
    for line in bench.trail.lines() {
        // Keys may stand there.
        let text = line.to_string().replace(&format!("\"{CANARY}\":"), "");
        assert!(!text.contains(&format!("\"{CANARY}\"")), "{text:.2000}");
    }
}
