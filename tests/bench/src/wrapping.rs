//! Cases about response wrapping.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::cases::{Against, Case, json_body, plan};
use crate::load::{Next, Plan};

/// Round trips: wrapped, and unwrapped by whoever has the token. Both are durable.
pub(crate) fn cases() -> Vec<Case> {
    let body = json_body(&json!({ "password": "correct horse battery staple" }));
    let wrap = plan(
        Method::POST,
        |_| "sys/wrapping/wrap".to_owned(),
        move |_| body.clone(),
    );
    let round = Plan {
        fields: vec![("x-vault-wrap-ttl", "60s")],
        then: Some(unwrap),
        ..wrap
    };
    vec![Case {
        name: "wrap and unwrap".to_owned(),
        plan: round.into(),
        against: Against::Fsync,
        token: None,
    }]
}

fn unwrap(wrapped: &Value) -> Option<Next> {
    Some(Next {
        path: "sys/wrapping/unwrap",
        token: Some(wrapped["wrap_info"]["token"].as_str()?.to_owned()),
        body: Bytes::new(),
    })
}
