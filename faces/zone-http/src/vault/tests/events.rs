//! `sys/events/subscribe`: who hears what, and when a stream ends. Alerts of canaries.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::stream::ReplyBody;
use crate::testing::{Bench, Shown, peer};

const NONE: Value = Value::Null;

/// One subscriber.
struct Ear {
    body: ReplyBody,
}

impl Ear {
    /// The next thing that is sent, without comments; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = next.await.expect("something is told")?.unwrap();
            let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
            if !text.starts_with(':') {
                return Some(text);
            }
        }
    }

    /// The next event: its type and its path.
    async fn event(&mut self) -> String {
        let text = self.next().await.unwrap();
        let data = text.lines().find_map(|line| line.strip_prefix("data: "));
        let json: Value = serde_json::from_str(data.unwrap()).unwrap();
        let path = json["data"]["event"]["metadata"]["path"].as_str();
        format!("{} {}", json["type"].as_str().unwrap(), path.unwrap_or("-"))
    }
}

impl Bench {
    async fn subscribe(&self, token: &str, pattern: &str) -> Result<Ear, Shown> {
        let request = Request::get(format!("/v1/sys/events/subscribe/{pattern}"))
            .header("host", "zone.example")
            .header("accept", "text/event-stream")
            .header("x-vault-token", token)
            .body(Full::new(Bytes::new()))
            .unwrap();
        let (parts, mut body) = self.app.answer(request, &peer()).await.into_parts();
        let status = parts.status.as_u16();
        if status == 200 {
            let field = |name: &str| parts.headers[name].to_str().unwrap().to_owned();
            assert_eq!(field("content-type"), "text/event-stream");
            assert_eq!(field("cache-control"), "no-store");
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(*first, *b": subscribed\n\n");
            return Ok(Ear { body });
        }
        let text = body.collect().await.unwrap().to_bytes();
        Err(Shown {
            status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    async fn put(&self, path: &str) {
        let body = json!({ "data": { "v": "CANARY-VALUE" } });
        let done = self.root("PUT", &format!("secret/data/{path}"), body).await;
        assert_eq!(done.status, 200, "{done:?}");
    }
}

#[tokio::test]
async fn an_event_has_vaults_cloud_events_form() {
    let bench = Bench::new().await;
    let mut ear = bench.subscribe(&bench.root, "kv-v2/data-*").await.unwrap();
    bench.put("app").await;
    let text = ear.next().await.unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let json: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    let id = json["id"].as_str().unwrap();
    assert_eq!(lines[0], format!("id: {id}"));
    assert_eq!(lines[1], "event: kv-v2/data-write");
    assert!(text.ends_with("\n\n") && !text.contains("CANARY-VALUE"));
    assert_eq!(
        json,
        json!({
            "id": id,
            "source": "zonehead://zone.example",
            "specversion": "1.0",
            "type": "kv-v2/data-write",
            "data": {
                "event": {
                    "id": id,
                    "metadata": {
                        "current_version": "1",
                        "data_path": "secret/data/app",
                        "modified": "true",
                        "oldest_version": "0",
                        "operation": "data-write",
                        "path": "secret/data/app",
                    },
                },
                "event_type": "kv-v2/data-write",
                "plugin_info": {
                    "mount_class": "secret",
                    "mount_accessor": json["data"]["plugin_info"]["mount_accessor"],
                    "mount_path": "secret/",
                    "plugin": "kv",
                },
            },
            "datacontentype": "application/cloudevents",
            "datacontenttype": "application/json",
            "time": json["time"],
        })
    );
}

#[tokio::test]
async fn a_subscriber_hears_only_what_he_may_read_and_asked_for() {
    let bench = Bench::new().await;
    let policy = r#"path "sys/events/subscribe/*" { capabilities = ["read"] }
path "secret/data/mine/*" { capabilities = ["read"] }
path "secret/data/mine/not" { capabilities = ["deny"] }
path "secret/data/blind" { capabilities = ["update"] }"#;
    let token = bench.token(policy).await;
    let mut ear = bench.subscribe(&token, "*").await.unwrap();
    let mut narrow = bench.subscribe(&token, "kv-v2/metadata-*").await.unwrap();
    for path in ["other", "mine/not", "blind", "mine/a"] {
        bench.put(path).await;
    }
    assert_eq!(ear.event().await, "kv-v2/data-write secret/data/mine/a");
    let metadata = json!({ "max_versions": 3 });
    bench
        .root("PUT", "secret/metadata/other", metadata.clone())
        .await;
    bench.root("PUT", "secret/metadata/mine/a", metadata).await;
    let wanted = "kv-v2/metadata-write secret/metadata/mine/a";
    assert_eq!(ear.event().await, wanted);
    assert_eq!(narrow.event().await, wanted);
    // A policy that grants less holds for the next event; one without the subscription ends it.
    let less = policy.replace("secret/data/mine/*", "secret/data/mine/b");
    bench
        .root("PUT", "sys/policies/acl/own", json!({ "policy": less }))
        .await;
    bench.put("mine/a").await;
    bench.put("mine/b").await;
    assert_eq!(ear.event().await, "kv-v2/data-write secret/data/mine/b");
    let none = less.replace("sys/events/subscribe/*", "sys/none");
    bench
        .root("PUT", "sys/policies/acl/own", json!({ "policy": none }))
        .await;
    assert!(ear.next().await.unwrap().starts_with("event: zone/end\n"));
    assert_eq!(ear.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_with_the_zone() {
    let bench = Bench::new().await;
    let policy = r#"path "sys/events/subscribe/*" { capabilities = ["read"] }"#;
    let token = bench.token(policy).await;
    let mut ear = bench.subscribe(&token, "*").await.unwrap();
    let mut root = bench.subscribe(&bench.root, "*").await.unwrap();
    bench
        .root("POST", "auth/token/revoke", json!({ "token": token }))
        .await;
    assert!(
        ear.next()
            .await
            .unwrap()
            .starts_with("event: zone/end\ndata: the token ended")
    );
    assert_eq!(ear.next().await, None);
    assert_eq!(bench.zone.events.count(), 1, "its place is free");
    // One that expires ends without anybody's doing.
    let ask = json!({ "policies": ["own"], "ttl": "1m" });
    let made = bench.root("POST", "auth/token/create", ask).await.json();
    let short = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let mut short = bench.subscribe(&short, "*").await.unwrap();
    bench.clock.advance(Duration::from_secs(61));
    assert!(short.next().await.unwrap().starts_with("event: zone/end\n"));
    bench.root("PUT", "sys/seal", NONE).await;
    let last = root.next().await.unwrap();
    assert!(last.contains("sealed"), "{last}");
    assert_eq!(bench.zone.events.count(), 0);
}

/// A batch token is not stored, so no change of a record tells that it ended.
#[tokio::test]
async fn a_batch_token_hears_until_it_ends() {
    let bench = Bench::new().await;
    let policy = r#"path "sys/events/subscribe/*" { capabilities = ["read"] }
path "secret/data/*" { capabilities = ["read"] }"#;
    bench.token(policy).await;
    let ask = json!({ "type": "batch", "policies": ["own"], "ttl": "1m" });
    let made = bench.root("POST", "auth/token/create", ask).await.json();
    let batch = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let mut ear = bench.subscribe(&batch, "*").await.unwrap();
    bench.put("x").await;
    assert_eq!(ear.event().await, "kv-v2/data-write secret/data/x");
    bench.clock.advance(Duration::from_secs(61));
    bench.put("x").await;
    assert!(ear.next().await.unwrap().starts_with("event: zone/end\n"));
}

#[tokio::test]
async fn who_is_slow_is_told_that_he_missed_something_and_costs_no_memory() {
    let bench = Bench::new().await;
    let mut ear = bench.subscribe(&bench.root, "kv-v2/*").await.unwrap();
    for _ in 0..1_100 {
        bench.put("x").await;
    }
    let mut heard = 0;
    while !ear.event().await.starts_with("zone/resync") {
        heard += 1;
    }
    assert!(heard < 1_100, "{heard}");
}

#[tokio::test]
async fn subscribers_are_bounded_and_audited() {
    let bench = Bench::new().await;
    let mut ears = Vec::new();
    bench.trail.clear();
    for _ in 0..16 {
        ears.push(bench.subscribe(&bench.root, "*").await.unwrap());
    }
    let lines = bench.trail.lines();
    assert_eq!(lines.len(), 32);
    assert_eq!(lines[0]["request"]["path"], "sys/events/subscribe/*");
    assert_eq!(lines[1]["response"]["status"], 200);
    let Err(full) = bench.subscribe(&bench.root, "*").await else {
        panic!("a seventeenth");
    };
    assert_eq!(full.status, 429);
    assert_eq!(full.field("retry-after"), Some("1"));
    drop(ears.pop());
    // Its task notices at its next turn.
    while bench.zone.events.count() == 16 {
        tokio::task::yield_now().await;
    }
    ears.push(bench.subscribe(&bench.root, "*").await.unwrap());
}

#[tokio::test]
async fn what_is_not_served_is_said() {
    let bench = Bench::new().await;
    let ask = async |method: &str, tail: &str, fields: &[(&str, &str)]| {
        let path = format!("sys/events/{tail}");
        let root = [&[("x-vault-token", &*bench.root)], fields].concat();
        let shown = bench.with(method, &path, &root, NONE).await;
        assert_eq!(shown.field("content-type"), Some("application/json"));
        assert_eq!(shown.field("cache-control"), Some("no-store"));
        shown.brief()
    };
    let sse = ("accept", "text/event-stream");
    let socket = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let said = ask("GET", "subscribe/kv*", &[]).await;
    assert!(
        said.starts_with("426") && said.contains("text/event-stream"),
        "{said}"
    );
    for (tail, fields, why) in [
        ("subscribe/kv*?filter=x", &[sse][..], "'filter'"),
        ("subscribe/kv*?bexpr=x", &[sse], "'bexpr'"),
        ("subscribe/kv*?namespaces=other", &[sse], "'namespaces'"),
        ("subscribe/a%3fb", &[sse], "a type of events"),
        ("subscribe/kv*", &socket, "'json'"),
        ("subscribe/kv*?json=false", &socket, "'json'"),
        ("subscribe/kv*?json=true", &socket[..3], "RFC 6455"),
    ] {
        let said = ask("GET", tail, fields).await;
        assert!(
            said.starts_with("400") && said.contains(why),
            "{tail}: {said}"
        );
    }
    assert!(ask("GET", "subscriptions", &[sse]).await.starts_with("404"));
    assert!(ask("PUT", "subscribe/kv", &[sse]).await.starts_with("405"));
    assert!(
        ask("GET", "subscribe/*", &[sse, ("x-vault-wrap-ttl", "60")])
            .await
            .starts_with("400")
    );
    let Err(stranger) = bench.subscribe("hvs.none", "*").await else {
        panic!("a stranger hears");
    };
    assert_eq!(stranger.status, 403);
    assert_eq!(bench.zone.events.count(), 0);
}

#[tokio::test]
async fn a_canary_raises_one_event_and_one_alert_for_each_reading() {
    let bench = Bench::new().await;
    bench.put("bait").await;
    let custom = json!({ "custom_metadata": { "canary": "true" } });
    bench.root("PUT", "secret/metadata/bait", custom).await;
    let mut ear = bench.subscribe(&bench.root, "zone/*").await.unwrap();
    let thief = r#"path "secret/*" { capabilities = ["read", "patch", "list"] }"#;
    let thief = bench.token(thief).await;
    let alerts = async |method: &str, path: &str, fields: &[(&str, &str)], body: Value| {
        bench.trail.clear();
        let fields = [&[("x-vault-token", &*thief)], fields].concat();
        let status = bench.with(method, path, &fields, body).await.status;
        (status, bench.trail.alerts())
    };
    let patch = json!({ "data": { "w": "2" } });
    let wrapped = ("x-vault-wrap-ttl", "60s");
    for (method, path, fields, body) in [
        ("GET", "secret/data/bait", &[][..], NONE),
        ("HEAD", "secret/data/bait", &[], NONE),
        ("GET", "secret/data/bait?version=1", &[wrapped], NONE),
        ("GET", "secret/subkeys/bait", &[], NONE),
        ("PATCH", "secret/data/bait", &[], patch),
    ] {
        let (status, alerts) = alerts(method, path, fields, body).await;
        assert_eq!((status, alerts.len()), (200, 1), "{method} {path}");
        let alert = &alerts[0]["alert"];
        assert_eq!(alert["kind"], "canary-read");
        assert_eq!(alert["path"], path.split('?').next().unwrap());
        assert_eq!(alert["display_name"], "token");
        assert_eq!(alert["remote_address"], "10.1.2.3");
        assert_eq!(alert["request"].as_str().unwrap().len(), 36);
        let event = ear.event().await;
        assert!(event.starts_with("zone/canary-read secret/"), "{event}");
    }
    for (method, path) in [
        ("GET", "secret/metadata/bait"),
        ("LIST", "secret/metadata"),
        ("GET", "secret/data/bait?version=9"),
        ("GET", "secret/data/none"),
    ] {
        let (_, alerts) = alerts(method, path, &[], NONE).await;
        assert!(alerts.is_empty(), "{method} {path}");
    }
}
