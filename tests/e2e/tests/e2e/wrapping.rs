//! Wrapping, cubbyhole, tools, cross-origin requests and the OpenAPI document, with the clients of
//! others; and what a crash leaves of a wrapped answer.

use serde_json::json;
use zone_e2e::{Head, Place, root, tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hvac_curl_and_a_validator_find_what_they_know() {
    let (head, keys) = Head::unsealed().await;
    let kv = json!({ "type": "kv-v2" });
    let api = head.with_token(&keys.root_token);
    api.put("sys/mounts/secret", &kv).await.expect(204);
    let mut script = tool::python();
    script.arg(root().join("tests/e2e/clients/hvac_wrapping.py"));
    script
        .arg(head.url())
        .arg(head.place.ca_file())
        .arg(&keys.root_token);
    let said = tokio::task::spawn_blocking(move || tool::text(&mut script));
    let said = said.await.unwrap();
    assert!(said.contains("wrapping: all calls answered"), "{said}");
}

#[test]
fn the_written_openapi_document_is_valid() {
    let mut validator = tool::python();
    validator.args(["-m", "openapi_spec_validator"]);
    validator.arg(root().join("docs/reference/openapi.json"));
    let said = tool::text(&mut validator);
    assert!(said.contains("OK"), "{said}");
}

/// Exactly one of many clients gets the answer, and none after a kill -9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_for_a_wrapped_answer_has_one_winner_also_across_a_crash() {
    let place = Place::new();
    let mut head = place.start();
    let keys = head.init(5, 3).await;
    head.unseal(&keys).await;
    let api = head.with_token(&keys.root_token);
    let wrapping = api.header("X-Vault-Wrap-TTL", "5m");
    let wrapped = wrapping
        .put("sys/wrapping/wrap", &json!({ "secret": "once" }))
        .await
        .expect(200);
    let token = wrapped.json()["wrap_info"]["token"].clone();
    let body = json!({ "token": token });
    let clients = (0..64).map(|_| {
        let (client, body) = (api.clone(), body.clone());
        tokio::spawn(async move { client.put("sys/wrapping/unwrap", &body).await.status })
    });
    let mut won = 0;
    for client in clients.collect::<Vec<_>>() {
        won += usize::from(client.await.unwrap() == 200);
    }
    assert_eq!(won, 1);
    head.process.kill();
    let head = place.start();
    head.unseal(&keys).await;
    let api = head.with_token(&keys.root_token);
    let again = api.put("sys/wrapping/unwrap", &body).await;
    again.refused(400, "wrapping token is not valid or does not exist");
}
