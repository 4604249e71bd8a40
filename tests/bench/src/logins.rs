//! Cases and figures about logging in.

use std::time::Instant;

use anyhow::Context;
use http::Method;
use serde_json::json;
use zone_cli::client::Client;
use zone_crypto::password::{self, Cost};

use crate::cases::{Against, Case, json_body, plan};
use crate::table;

/// Attempts of each kind whose times are compared.
const ATTEMPTS: usize = 200;

/// Logins of both methods; what they need is made here.
pub(crate) async fn cases(client: &Client) -> anyhow::Result<Vec<Case>> {
    for kind in ["approle", "userpass"] {
        let path = format!("sys/auth/{kind}");
        client.write(&path, &json!({ "type": kind })).await?;
    }
    let role = json!({ "token_policies": "default", "token_ttl": "1h" });
    client.write("auth/approle/role/bench", &role).await?;
    let role_id = field(client, "auth/approle/role/bench/role-id", "role_id", false).await?;
    let path = "auth/approle/role/bench/secret-id";
    let secret_id = field(client, path, "secret_id", true).await?;
    let user = json!({ "password": "right", "token_ttl": "1h" });
    client.write("auth/userpass/users/bench", &user).await?;
    let machine = json!({ "role_id": role_id, "secret_id": secret_id });
    Ok(vec![
        case("AppRole login", "auth/approle/login", json_body(&machine)),
        case(
            "userpass login (Argon2id 19 MiB)",
            "auth/userpass/login/bench",
            json_body(&json!({ "password": "right" })),
        ),
    ])
}

fn case(name: &str, path: &'static str, body: bytes::Bytes) -> Case {
    Case {
        name: name.to_owned(),
        plan: plan(
            Method::POST,
            move |_| path.to_owned(),
            move |_| body.clone(),
        )
        .into(),
        against: Against::Fsync,
        token: None,
    }
}

async fn field(client: &Client, path: &str, name: &str, write: bool) -> anyhow::Result<String> {
    let reply = match write {
        true => client.write(path, &json!({})).await?,
        false => client.read(path, &[]).await?,
    };
    let data = reply.and_then(|reply| reply.data).context("no data")?;
    let text = data.get(name).and_then(serde_json::Value::as_str);
    Ok(text.context("no such field")?.to_owned())
}

/// What one password costs, and whether the time of a refusal tells users from strangers: both
/// kinds in turn, so that whatever else runs on the machine hits both.
pub(crate) async fn enumeration(client: &Client) -> anyhow::Result<()> {
    let begun = Instant::now();
    for _ in 0..10 {
        password::hash(b"right", &[1; 16], Cost::USUAL)?;
    }
    let millis = begun.elapsed().as_secs_f64() * 100.0;
    table::note("Argon2id, 19 MiB, 2 passes, 1 lane", millis, "ms");
    let never = json!({ "user_lockout_config": { "lockout_disable": true } });
    client.write("sys/auth/userpass/tune", &never).await?;
    let wrong = json!({ "password": "wrong" });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ATTEMPTS {
        for (at, name) in ["bench", "nobody"].iter().enumerate() {
            let begun = Instant::now();
            let path = format!("auth/userpass/login/{name}");
            let refused = client.write(&path, &wrong).await;
            anyhow::ensure!(refused.is_err(), "a wrong password was taken");
            times[at].push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    for (who, mut times) in ["a user", "a stranger"].into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        for (what, at) in [("p10", 10), ("median", 50), ("p90", 90)] {
            let text = format!("wrong password of {who}, {what}");
            table::note(&text, times[times.len() * at / 100], "ms");
        }
    }
    Ok(())
}
