//! Limits on requests as a whole, and what becomes of one whose client goes away.

use serde_json::{Value, json};

use crate::testing::{Bench, Slow, peer, slow};

use super::*;

/// A write of the root token whose body the test sends.
fn write(
    bench: &Bench,
    path: &str,
    announced: usize,
) -> (mpsc::UnboundedSender<Bytes>, Request<Slow>) {
    let (sender, body) = slow(Some(announced));
    let request = Request::put(format!("/v1/{path}"))
        .header("host", "x")
        .header("x-vault-token", &bench.root)
        .body(body);
    (sender, request.unwrap())
}

#[tokio::test]
async fn attack_a_body_that_never_ends_is_cut_off() {
    let bench = Bench::new().await;
    let patience = Duration::from_millis(1);
    let app = App::with_patience(bench.zone.clone(), ListenerRules::default(), patience);
    let (sender, request) = write(&bench, "secret/data/x", 100);
    sender.send(Bytes::from_static(b"{")).unwrap();
    let response = app.answer(request, &peer()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert!(sender.is_closed(), "nobody waits for the rest");
    assert!(bench.trail.shown().is_empty());
}

#[tokio::test]
async fn attack_bodies_that_come_slowly_take_no_place_of_a_request() {
    let bench = Bench::new().await;
    let mut slow = Vec::new();
    for _ in 0..=limits::IN_FLIGHT {
        let (sender, request) = write(&bench, "secret/data/x", 100);
        let app = bench.app.clone();
        let answer = tokio::spawn(async move { app.answer(request, &peer()).await.status() });
        slow.push((sender, answer));
    }
    tokio::task::yield_now().await;
    let written = bench
        .root("PUT", "secret/data/y", json!({ "data": {} }))
        .await;
    assert_eq!(written.status, 200);
    for (sender, answer) in slow {
        sender.send(Bytes::from_static(b"{")).unwrap();
        drop(sender);
        assert_eq!(answer.await.unwrap(), 400);
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_again() {
    let bench = Bench::new().await;
    bench.store.hold();
    let mut held = Vec::new();
    for at in 0..limits::IN_FLIGHT {
        let (sender, request) = write(&bench, &format!("secret/data/{at}"), 11);
        sender.send(Bytes::from_static(b"{\"data\":{}}")).unwrap();
        let app = bench.app.clone();
        held.push(tokio::spawn(async move {
            app.answer(request, &peer()).await.status()
        }));
    }
    while bench.app.in_flight.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = bench.root("GET", "sys/mounts", Value::Null).await;
    assert_eq!(refused.brief(), r#"503 ["too many requests in flight"]"#);
    assert_eq!(refused.field("retry-after"), Some("1"));
    bench.store.release();
    for answer in held {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert_eq!(
        bench.root("GET", "sys/mounts", Value::Null).await.status,
        200
    );
}

/// What has begun is finished and recorded, whatever the client does.
#[tokio::test]
async fn a_request_goes_on_when_its_client_goes_away() {
    let bench = Bench::new().await;
    bench.store.hold();
    let (sender, request) = write(&bench, "secret/data/x", 18);
    sender
        .send(Bytes::from_static(b"{\"data\":{\"v\":\"1\"}}"))
        .unwrap();
    drop(sender);
    {
        let (client, arrived) = (peer(), bench.store.arrived());
        tokio::select! {
            _ = bench.app.answer(request, &client) => panic!("the store holds it"),
            () = arrived => {}
        }
    }
    bench.store.release();
    while bench.app.in_flight.available_permits() < limits::IN_FLIGHT {
        tokio::task::yield_now().await;
    }
    let lines = [
        "request create secret/data/x",
        "response create secret/data/x",
    ];
    assert_eq!(bench.trail.shown(), lines);
    let read = bench.root("GET", "secret/data/x", Value::Null).await.json();
    assert_eq!(read["data"]["data"], json!({ "v": "1" }));
}
