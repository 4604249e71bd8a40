//! Events as foreign clients hear them: `websockets` from PyPI, curl, and our own command.

use serde_json::{Value, json};
use zone_e2e::head::Process;
use zone_e2e::{Api, Head, Place, root, tool};

async fn zone() -> (Head, Api, String) {
    let (head, keys) = Head::unsealed().await;
    let api = head.with_token(&keys.root_token);
    let mount = json!({ "type": "kv-v2" });
    api.put("sys/mounts/secret", &mount).await.expect(204);
    (head, api, keys.root_token)
}

async fn write(api: &Api, path: &str) {
    let body = json!({ "data": { "v": "CANARY-VALUE" } });
    api.put(&format!("secret/data/{path}"), &body)
        .await
        .expect(200);
}

/// A token that may hear and read below `secret/data/mine/`.
async fn listener(api: &Api) -> String {
    let policy = r#"path "sys/events/subscribe/*" { capabilities = ["read"] }
path "secret/data/mine/*" { capabilities = ["read"] }"#;
    api.put("sys/policies/acl/ear", &json!({ "policy": policy }))
        .await
        .expect(204);
    let made = api
        .put("auth/token/create", &json!({ "policies": ["ear"] }))
        .await
        .expect(200);
    made.json()["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn websocket(head: &Head, token: &str, kind: &str) -> Process {
    let mut python = tool::python();
    python.arg(root().join("tests/e2e/clients/events.py"));
    python
        .arg(head.url())
        .arg(head.place.ca_file())
        .args([token, kind]);
    Process::spawn(python)
}

fn curl(head: &Head, token: &str, more: &[&str]) -> Process {
    let mut curl = tool::program("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--no-buffer",
        "--include",
        "--cacert",
    ]);
    curl.arg(head.place.ca_file()).args(more);
    curl.args(["--header", "Accept: text/event-stream"]);
    curl.args(["--header", &format!("X-Vault-Token: {token}")]);
    curl.arg(format!(
        "{}/v1/sys/events/subscribe/kv-v2/data-*",
        head.url()
    ));
    Process::spawn(curl)
}

#[tokio::test]
async fn a_websocket_client_hears_what_it_may_until_its_token_is_revoked() {
    let (head, api, _) = zone().await;
    let token = listener(&api).await;
    let mut ear = websocket(&head, &token, "kv-v2/*?json=true");
    ear.wait_for(0, "ready");
    write(&api, "other").await;
    write(&api, "mine/a").await;
    let line = ear.wait_for(1, "{");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["data"]["event_type"], "kv-v2/data-write");
    let metadata = &event["data"]["event"]["metadata"];
    assert_eq!(metadata["path"], "secret/data/mine/a");
    assert_eq!(metadata["modified"], "true");
    assert_eq!(event["data"]["plugin_info"]["mount_path"], "secret/");
    api.put("auth/token/revoke", &json!({ "token": token }))
        .await
        .expect(204);
    let end = ear.wait_for(2, "closed");
    assert!(end.starts_with("closed 1008 the token ended"), "{end}");
    ear.wait();
    assert!(!ear.log().contains("CANARY-VALUE") && !ear.log().contains("other"));
    // Without a token, and without json=true.
    websocket(&head, "hvs.none", "*?json=true").wait_for(0, "refused 403");
    let refused = websocket(&head, &listener(&api).await, "*").wait_for(0, "refused 400");
    assert!(refused.contains("'json'"), "{refused}");
    head.lives().await;
}

#[tokio::test]
async fn a_websocket_client_hears_of_kv_version_1() {
    let (head, api, _) = zone().await;
    let mount = json!({ "type": "kv", "options": { "version": "1" } });
    api.put("sys/mounts/old", &mount).await.expect(204);
    let policy = r#"path "sys/events/subscribe/kv-v1/*" { capabilities = ["read"] }
path "old/mine/*" { capabilities = ["read"] }"#;
    let policy = json!({ "policy": policy });
    api.put("sys/policies/acl/ear", &policy).await.expect(204);
    let ask = json!({ "policies": ["ear"] });
    let made = api.put("auth/token/create", &ask).await.expect(200).json();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let ear = websocket(&head, token, "kv-v1/*?json=true");
    ear.wait_for(0, "ready");
    let secret = json!({ "v": "CANARY-VALUE" });
    for path in ["old/other", "old/mine/a"] {
        api.put(path, &secret).await.expect(204);
    }
    let told = |line: String| -> Value { serde_json::from_str(&line).unwrap() };
    let write = told(ear.wait_for(1, "kv-v1/write"));
    let metadata = &write["data"]["event"]["metadata"];
    let expected = json!({ "path": "old/mine/a", "data_path": "old/mine/a",
                           "operation": "write", "modified": "true" });
    assert_eq!(*metadata, expected);
    api.delete("old/mine/a").await.expect(204);
    let delete = told(ear.wait_for(2, "kv-v1/delete"));
    assert_eq!(delete["data"]["event_type"], "kv-v1/delete");
    let expected = json!({ "path": "old/mine/a", "operation": "delete", "modified": "true" });
    assert_eq!(delete["data"]["event"]["metadata"], expected);
    assert!(!ear.log().contains("CANARY-VALUE") && !ear.log().contains("other"));
    // Another type is another right.
    websocket(&head, token, "kv-v2/*?json=true").wait_for(0, "refused 403");
}

#[tokio::test]
async fn curl_hears_the_same_as_server_sent_events() {
    let (head, api, _) = zone().await;
    let token = listener(&api).await;
    for version in ["--http1.1", "--http2"] {
        let ear = curl(&head, &token, &[version]);
        ear.wait_for(0, ": subscribed");
        write(&api, "other").await;
        write(&api, "mine/b").await;
        let from = ear.log_len();
        ear.wait_for(0, "event: kv-v2/data-write");
        let data = ear.wait_for(0, "data: {");
        let json: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(
            json["data"]["event"]["metadata"]["data_path"],
            "secret/data/mine/b"
        );
        let log = ear.log().to_ascii_lowercase();
        assert!(
            log.contains("content-type: text/event-stream")
                && log.contains("cache-control: no-store")
        );
        assert!(!log.contains("secret/data/other"), "{from}: {log}");
    }
}

#[tokio::test]
async fn our_own_command_prints_events_and_says_why_they_end() {
    let (head, api, _) = zone().await;
    let token = listener(&api).await;
    let mut command = head.place.command();
    command
        .env("VAULT_ADDR", head.url())
        .env("VAULT_CACERT", head.place.ca_file());
    command
        .env("VAULT_TOKEN", &token)
        .args(["events", "subscribe", "*"]);
    let mut ear = Process::spawn(command);
    // It says nothing before the first event: write until it has heard one.
    while ear.log_len() == 0 {
        write(&api, "mine/c").await;
    }
    assert!(ear.wait_for(0, "{").contains("secret/data/mine/c"));
    api.put("auth/token/revoke", &json!({ "token": token }))
        .await
        .expect(204);
    ear.wait_for(0, "The server ended the stream: the token ended");
    assert_eq!(ear.wait().code(), Some(2));
}

#[tokio::test]
async fn a_head_that_stops_does_not_wait_for_listeners() {
    let (head, api, token) = zone().await;
    let mut web = websocket(&head, &token, "*?json=true");
    let mut stream = curl(&head, &token, &[]);
    web.wait_for(0, "ready");
    stream.wait_for(0, ": subscribed");
    drop(api);
    assert!(head.terminate().success());
    let end = web.wait_for(1, "closed");
    assert!(end.starts_with("closed 1001"), "{end}");
    web.wait();
    stream.wait();
}

/// S1 for events: whatever was heard before kill -9 is there after it.
#[tokio::test]
async fn s1_what_was_told_before_a_kill_was_committed() {
    let (mut head, keys) = Head::unsealed_at(Place::new()).await;
    let api = head.with_token(&keys.root_token);
    api.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    let ear = websocket(&head, &keys.root_token, "kv-v2/data-write?json=true");
    ear.wait_for(0, "ready");
    let writer = tokio::spawn({
        let api = api.clone();
        async move {
            let body = json!({ "data": { "v": 1 } }).to_string();
            let put = || {
                api.try_send(
                    http::Method::PUT,
                    "secret/data/x",
                    "application/json",
                    body.clone(),
                )
            };
            while put().await.is_ok() {}
        }
    });
    while ear.log_len() < 50 {
        tokio::task::yield_now().await;
    }
    head.process.kill();
    writer.await.unwrap();
    ear.wait_for(1, "closed");
    let version = |line: &str| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["data"]["event"]["metadata"]["current_version"]
            .as_str()?
            .parse::<u64>()
            .ok()
    };
    let heard: Vec<u64> = ear.log().lines().filter_map(version).collect();
    let expected: Vec<u64> = (1..=heard.len() as u64).collect();
    assert_eq!(heard, expected, "each once, in order");
    let place = head.place.clone();
    drop(head);
    let head = place.start();
    head.unseal(&keys).await;
    let api = head.with_token(&keys.root_token);
    let metadata = api.get("secret/metadata/x").await.expect(200).data();
    let current = metadata["current_version"].as_u64().unwrap();
    assert!(current >= heard.len() as u64, "{current} {}", heard.len());
}
