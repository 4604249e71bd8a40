//! Terraform's provider for Vault, as a recorded sequence: its calls in their order, with the bodies
//! that it sends and the fields that it reads.
//!
//! Read from `hashicorp/terraform-provider-vault` at commit 31447510 (behind 5.11.0), with its
//! `vault/api` 1.23.0: `internal/provider/meta.go`, `util/mountutil`, and the resources named below.
//! The provider itself cannot be had here; a field that it takes without looking (a type assertion
//! in Go) is asserted, because without it the provider crashes.

mod more;
mod usual;

use http::Method;
use serde_json::{Value, json};
use zone_e2e::{Answer, Api, Head};

/// Refusals by which the provider knows that there is nothing any more.
const GONE: [&str; 3] = [
    "No secret engine mount at",
    "No auth engine at",
    "Could not find header in config",
];

/// What the provider keeps of one resource, and how it looks after it.
struct Managed {
    /// Its address.
    name: &'static str,
    /// What a refresh asks.
    reads: Vec<Read>,
    /// How it is destroyed.
    destroy: Option<(Method, String, Value)>,
}

/// One read of a refresh.
struct Read {
    method: Method,
    path: String,
    body: Value,
    /// The fields of `data` that a difference would be planned for.
    expected: Value,
}

/// The resources in the order of their making.
#[derive(Default)]
struct State(Vec<Managed>);

impl State {
    fn keep(&mut self, name: &'static str, reads: Vec<Read>, destroy: (Method, String)) {
        let (method, path) = destroy;
        let destroy = Some((method, path, Value::Null));
        self.0.push(Managed {
            name,
            reads,
            destroy,
        });
    }
}

fn read(path: impl Into<String>, expected: Value) -> Read {
    Read {
        method: Method::GET,
        path: path.into(),
        body: Value::Null,
        expected,
    }
}

/// One call as Go's library makes it: no content type, `X-Vault-Request`.
async fn call(api: &Api, method: Method, path: &str, body: &Value) -> Answer {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let api = api.header("x-vault-request", "true");
    api.send(method, path, "", body).await
}

async fn write(api: &Api, path: &str, body: &Value) -> Answer {
    call(api, Method::PUT, path, body).await
}

async fn post(api: &Api, path: &str, body: &Value) -> Answer {
    call(api, Method::POST, path, body).await
}

/// `NewProviderMeta`: looks the token up, asks for the version, makes a child token.
async fn configure(api: &Api) -> Api {
    let own = call(api, Method::GET, "auth/token/lookup-self", &Value::Null).await;
    let own = own.expect(200).data();
    assert!(own["namespace_path"].is_string(), "{own}");
    assert!(own["ttl"].is_u64() && own["policies"].is_array(), "{own}");
    let child = json!({
        "display_name": "terraform", "ttl": "1200s", "explicit_max_ttl": "1200s",
        "renewable": false, "num_uses": 0, "type": "", "entity_alias": "",
    });
    let child = post(api, "auth/token/create", &child)
        .await
        .expect(200)
        .json();
    let auth = &child["auth"];
    assert_eq!(
        (&auth["lease_duration"], &auth["renewable"]),
        (&json!(1200), &json!(false))
    );
    assert!(auth["policies"].is_array(), "{auth}");
    let api = api.token(auth["client_token"].as_str().unwrap());
    let status = call(&api, Method::GET, "sys/seal-status", &Value::Null).await;
    let status = status.expect(200).json();
    let version = status["version"].as_str().unwrap();
    let numbers: Vec<u32> = version.split('.').map(|n| n.parse().unwrap()).collect();
    assert!(
        numbers.len() == 3 && numbers >= vec![1, 11, 0],
        "no +ent, many issuers: {version}"
    );
    api
}

/// Fields of `expected` in `found`, through objects.
fn differs(expected: &Value, found: &Value) -> Option<String> {
    match expected {
        Value::Object(fields) if found.is_object() => fields
            .iter()
            .find_map(|(name, value)| Some(format!("{name}: {}", differs(value, &found[name])?))),
        expected if expected == found => None,
        expected => Some(format!("{found}, not {expected}")),
    }
}

/// `plan`: every read again. Nothing may differ.
async fn refresh(api: &Api, state: &State) {
    for managed in &state.0 {
        for read in &managed.reads {
            let found = call(api, read.method.clone(), &read.path, &read.body).await;
            let data = found.expect(200).data();
            let difference = differs(&read.expected, &data);
            assert_eq!(difference, None, "{}: {}", managed.name, read.path);
        }
    }
}

/// `destroy`: in the other order. Then the provider must understand that there is nothing.
async fn destroy(api: &Api, state: &State) {
    for managed in state.0.iter().rev() {
        if let Some((method, path, body)) = &managed.destroy {
            let gone = call(api, method.clone(), path, body).await;
            assert!(
                matches!(gone.status, 200 | 204),
                "{}: {}",
                managed.name,
                gone.text()
            );
        }
    }
    for managed in &state.0 {
        let Some(read) = managed.reads.first() else {
            continue;
        };
        let left = call(api, read.method.clone(), &read.path, &read.body).await;
        let (errors, name) = (left.errors(), managed.name);
        let known = match left.status {
            400 => GONE.iter().any(|words| errors.contains(words)),
            403 => errors.contains("invalid accessor"),
            // Of a request header.
            404 => true,
            // The list of audit devices.
            200 => differs(&read.expected, &left.data()).is_some(),
            _ => false,
        };
        assert!(known, "{name}: {} {}", left.status, left.text());
    }
}

/// A zone, and the token that Terraform is given in it.
async fn zone() -> (Head, Api) {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    let all =
        r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
    root.put("sys/policies/acl/admin", &json!({ "policy": all }))
        .await
        .expect(204);
    let admin = json!({ "policies": ["admin"], "ttl": "2h" });
    let admin = root
        .put("auth/token/create", &admin)
        .await
        .expect(200)
        .json();
    let admin = root.token(admin["auth"]["client_token"].as_str().unwrap());
    (head, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terraform_applies_plans_nothing_and_destroys() {
    let (head, admin) = zone().await;
    let mut state = State::default();
    let first = configure(&admin).await;
    usual::secrets(&first, &mut state).await;
    let accessor = usual::auth_backends(&first, &mut state).await;
    usual::approle(&first, &mut state).await;
    usual::token(&first, &mut state).await;
    usual::identity(&first, &mut state, &accessor).await;
    let file = head.place.data().join("audit/tf.log");
    usual::audit(&first, &mut state, file.to_str().unwrap()).await;
    usual::pki(&first, &mut state).await;
    usual::generic(&first, &mut state, &accessor).await;

    // Another run, with a child token of its own, finds nothing to do.
    let second = configure(&admin).await;
    refresh(&second, &state).await;
    usual::change_mount(&second, &mut state).await;
    let third = configure(&admin).await;
    refresh(&third, &state).await;
    destroy(&third, &state).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terraform_finds_the_rest_of_the_core_as_it_left_it() {
    let (_head, admin) = zone().await;
    let mut state = State::default();
    let first = configure(&admin).await;
    more::generic_secrets(&first, &mut state).await;
    more::token_role(&first, &mut state).await;
    more::login(&first, &mut state).await;
    more::request_header(&first, &mut state).await;
    more::members(&first, &mut state).await;
    more::quotas(&first, &mut state).await;
    more::data_sources(&first).await;
    let second = configure(&admin).await;
    refresh(&second, &state).await;
    destroy(&second, &state).await;
}
