//! Which lines each request leaves in the trail, and what happens without one (A1).

use serde_json::{Value, json};

use crate::testing::Bench;

const READER: &str = r#"path "secret/data/mine" { capabilities = ["read"] }
path "sys/audit" { capabilities = ["read"] }"#;

#[tokio::test]
async fn a1_each_request_with_a_token_leaves_its_lines() {
    let bench = Bench::new().await;
    let token = bench.token(READER).await;
    let ask = async |method: &str, path: &str, body: Value, status: u16| {
        let answer = bench.by(&token, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let lines = bench.trail.shown();
        bench.trail.clear();
        lines.join("\n")
    };
    let none = Value::Null;
    assert_eq!(
        ask("GET", "secret/data/mine", none.clone(), 404).await,
        "request read secret/data/mine\nresponse read secret/data/mine"
    );
    assert_eq!(
        ask("GET", "secret/data/mine?version=x", none.clone(), 400).await,
        "request read secret/data/mine\n\
         response read secret/data/mine: field 'version': expected a whole number"
    );
    let refused = ask("GET", "secret/data/other", none.clone(), 403).await;
    assert!(
        refused.starts_with("request read secret/data/other: "),
        "{refused}"
    );
    assert_eq!(refused.lines().count(), 1);
    let write = ask("PUT", "secret/data/mine", json!({ "data": {} }), 403).await;
    assert!(
        write.starts_with("request create secret/data/mine: "),
        "{write}"
    );
    let sudo = ask("GET", "sys/audit", none.clone(), 403).await;
    assert_eq!(sudo, "request read sys/audit: the endpoint needs sudo");
    let list = ask("LIST", "secret/data/mine", none.clone(), 403).await;
    assert!(
        list.starts_with("request list secret/data/mine/: "),
        "{list}"
    );
    let lost = ask("DELETE", "nowhere/x", none.clone(), 403).await;
    assert!(lost.starts_with("request delete nowhere/x: "), "{lost}");
    // What cannot be read is no request yet.
    assert_eq!(ask("PUT", "secret/data/mine", json!("{"), 400).await, "");
    assert_eq!(ask("PUT", "secret/data/mine/", none, 400).await, "");
}

/// The line of a denial tells which rule denied, or that none matched, and who was asked.
#[tokio::test]
async fn a_denial_tells_its_rule() {
    let bench = Bench::new().await;
    let token = bench.token(READER).await;
    let ask = async |method: &str, path: &str| {
        bench.by(&token, method, path, Value::Null).await;
        let line = bench.trail.lines().remove(0);
        bench.trail.clear();
        line["auth"].clone()
    };
    let no_rule = ask("GET", "secret/data/other").await;
    assert_eq!(
        no_rule["policy_results"],
        json!({ "allowed": false, "granting_policies": [] })
    );
    assert!(!no_rule["policies"].as_array().unwrap().is_empty());
    let rule = |auth: &Value| {
        auth["policy_results"]["rule"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let sudo = ask("GET", "sys/audit").await;
    assert!(
        rule(&sudo).starts_with("\"sys/audit\" (") && rule(&sudo).contains("line 2"),
        "{sudo}"
    );
    let delete = ask("DELETE", "secret/data/mine").await;
    assert!(rule(&delete).contains("line 1"), "{delete}");
    assert_eq!(delete["policy_results"]["allowed"], false);
}

#[tokio::test]
async fn a1_open_endpoints_and_strangers_leave_lines_too() {
    let bench = Bench::new().await;
    let lines = async |method: &str, path: &str| {
        bench.send(method, path, Value::Null).await;
        let lines = bench.trail.shown();
        bench.trail.clear();
        lines
    };
    let open = ["request read pki/ca/pem", "response read pki/ca/pem"];
    let found = lines("GET", "pki/ca/pem").await;
    assert_eq!(found.len(), 2);
    assert!(
        found[0] == open[0] && found[1].starts_with(open[1]),
        "{found:?}"
    );
    let stranger = ["request read secret/data/x: missing client token"];
    assert_eq!(lines("GET", "secret/data/x").await, stranger);
    assert!(lines("GET", "sys/health").await.is_empty());
    assert!(lines("GET", "sys/seal-status").await.is_empty());
    let seal = bench.root("PUT", "sys/seal", Value::Null).await;
    assert_eq!(seal.status, 204);
    assert_eq!(bench.trail.shown(), ["request update sys/seal"]);
}

#[tokio::test]
async fn lines_name_the_mount_the_token_and_the_client_and_no_value() {
    let bench = Bench::new().await;
    let body = json!({ "data": { "password": "CANARYvalue" } });
    let fields = [
        ("x-vault-token", bench.root.as_str()),
        ("user-agent", "client/1"),
    ];
    let written = bench.with("PUT", "secret/data/x?a=CANARYquery", &fields, body);
    assert_eq!(written.await.status, 200);
    bench.root("GET", "secret/data/x", Value::Null).await;
    let lines = bench.trail.lines();
    assert_eq!(lines.len(), 4);
    let text = serde_json::to_string(&lines).unwrap();
    assert!(
        !text.contains("CANARY") && !text.contains(&bench.root),
        "{text}"
    );
    let request = &lines[0]["request"];
    assert_eq!(request["mount_point"], "secret/");
    assert_eq!(request["remote_address"], "10.1.2.3");
    assert_eq!(request["headers"]["user-agent"][0], "client/1");
    assert!(text.contains("\"password\""), "keys may stand there");
    assert_eq!(lines[0]["auth"]["policies"], json!(["root"]));
    assert_eq!(lines[1]["request"]["id"], request["id"]);
    assert_ne!(lines[2]["request"]["id"], request["id"]);
}

#[tokio::test]
async fn a1_what_cannot_be_recorded_is_not_done() {
    let bench = Bench::new().await;
    bench.trail.fail_after(0);
    let body = json!({ "data": { "v": "1" } });
    let refused = bench.root("PUT", "secret/data/x", body).await;
    let text = r#"500 ["the request could not be audited and was not served"]"#;
    assert_eq!(refused.brief(), text);
    let stranger = bench.send("GET", "secret/data/x", Value::Null).await;
    assert_eq!(stranger.brief(), text);
    bench.trail.heal();
    let read = bench.root("GET", "secret/data/x", Value::Null).await;
    assert_eq!(read.brief(), "404 []", "nothing was written");
}

#[tokio::test]
async fn a1_credentials_in_an_answer_that_cannot_be_recorded_are_revoked() {
    let bench = Bench::new().await;
    let before = bench
        .root("LIST", "auth/token/accessors", Value::Null)
        .await;
    let before = before.json()["data"]["keys"].as_array().unwrap().len();
    bench.trail.fail_after(1);
    let id = json!({ "id": "chosen-by-the-caller" });
    let refused = bench.root("POST", "auth/token/create", id).await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(!refused.text.contains("chosen-by"));
    bench.trail.heal();
    let me = bench.by(
        "chosen-by-the-caller",
        "GET",
        "auth/token/lookup-self",
        Value::Null,
    );
    assert_eq!(me.await.status, 403);
    let after = bench
        .root("LIST", "auth/token/accessors", Value::Null)
        .await;
    assert_eq!(
        after.json()["data"]["keys"].as_array().unwrap().len(),
        before
    );
}

#[tokio::test]
async fn a1_a_certificate_in_an_answer_that_cannot_be_recorded_is_revoked() {
    let bench = Bench::new().await;
    let root = json!({ "common_name": "Test CA", "key_type": "ec", "ttl": "720h" });
    bench.root("PUT", "pki/root/generate/internal", root).await;
    let role = json!({ "allow_any_name": true, "key_type": "ec", "ttl": "1h" });
    bench.root("PUT", "pki/roles/web", role).await;
    let certs = async |path: &str| {
        let listed = bench.root("LIST", path, Value::Null).await.json();
        listed["data"]["keys"].as_array().map_or(0, Vec::len)
    };
    let ask = json!({ "common_name": "a.example.com" });
    let path = "pki/issuer/default/issue/web";
    assert_eq!(bench.root("PUT", path, ask.clone()).await.status, 200);
    let (before, revoked) = (certs("pki/certs").await, certs("pki/certs/revoked").await);
    assert_eq!(revoked, 0);
    bench.trail.fail_after(1);
    let refused = bench.root("PUT", path, ask).await;
    let text = r#"500 ["the answer could not be audited; what was asked for may be done"]"#;
    assert_eq!(refused.brief(), text);
    bench.trail.heal();
    assert_eq!(certs("pki/certs").await, before + 1, "the effect stands");
    assert_eq!(certs("pki/certs/revoked").await, 1);
}

/// A rule holds for each spelling that is served, and the trail shows the one that was judged.
#[tokio::test]
async fn a3_attack_another_spelling_of_a_name_does_not_pass_a_rule() {
    let bench = Bench::new().await;
    let policy = r#"path "sys/*" { capabilities = ["create", "read", "update", "delete", "sudo"] }
path "sys/policies/acl/prod" { capabilities = ["deny"] }
path "sys/policy/prod" { capabilities = ["deny"] }
path "sys/mounts/secret" { capabilities = ["deny"] }
path "sys/audit/file" { capabilities = ["deny"] }"#;
    let token = bench.token(policy).await;
    for (method, path) in [
        ("PUT", "sys/policies/acl/PROD"),
        ("PUT", "sys/policies/acl/%20prod"),
        ("PUT", "sys/policies/acl/prod%C2%A0"),
        ("GET", "sys/policies/acl/Prod"),
        ("GET", "sys/policies/acl/prod/"),
        ("DELETE", "sys/policies/acl/Prod/"),
        ("PUT", "sys/policy/PROD"),
        ("DELETE", "sys/policy/prod/"),
        ("DELETE", "sys/mounts/secret/"),
        ("GET", "sys/mounts/secret/"),
        ("DELETE", "sys/audit/file/"),
    ] {
        let body = json!({ "policy": "" });
        let body = if method == "PUT" { body } else { Value::Null };
        let answer = bench.by(&token, method, path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        let lines = bench.trail.lines();
        let judged = lines.last().unwrap()["request"]["path"].as_str().unwrap();
        let name = judged.rsplit('/').next().unwrap();
        assert!(
            ["prod", "secret", "file"].contains(&name),
            "{path} as {judged}"
        );
    }
    let other = json!({ "policy": "# nothing" });
    let written = bench
        .by(&token, "PUT", "sys/policies/acl/TEST", other)
        .await;
    assert_eq!(written.status, 204);
    let read = bench
        .by(&token, "GET", "sys/policies/acl/test/", Value::Null)
        .await;
    assert_eq!(read.json()["data"]["name"], "test");
    assert_eq!(
        bench
            .by(&token, "GET", "sys/mounts/pki/", Value::Null)
            .await
            .status,
        200
    );
}
