//! What is stored, held against `golden/auth-1.json`, which docs/formats/auth.md explains.
//!
//! To make the file of a *new* version: keep the old one and the second test, and write another
//! with `ZONEHEAD_WRITE_GOLDEN=1 cargo test -p zone-auth`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zone_access::TokenChoice;
use zone_auth::{NewSecretId, RoleChange, TokenChange};
use zone_barrier::Batch;
use zone_ports::Key;

use crate::common::{Bench, secret};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/auth-1.json");

/// A zone with one of everything. What is drawn is the same each time.
async fn make() -> Bench {
    let bench = Bench::new().await;
    let token = TokenChange {
        policies: Some(vec!["app".into()]),
        ttl: Some(600),
        max_ttl: Some(1200),
        explicit_max_ttl: Some(2400),
        bound_cidrs: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        no_default_policy: Some(true),
        token_type: Some(Some(TokenChoice::DefaultService)),
        ..TokenChange::default()
    };
    let role = RoleChange {
        role_id: Some("web-role".into()),
        secret_id_bound_cidrs: Some(vec!["10.1.0.0/16".parse().unwrap()]),
        secret_id_num_uses: Some(9),
        secret_id_ttl: Some(3600),
        token: token.clone(),
        ..RoleChange::default()
    };
    bench.role("web", role).await;
    let new = NewSecretId {
        custom: Some(secret("chosen-secret-id")),
        metadata: [("team".into(), "a".into())].into(),
        ..NewSecretId::default()
    };
    bench.secret_id("web", &new).await;
    bench.user("ann", "right", token).await;
    for _ in 0..5 {
        bench.enter("ann", "wrong").await.unwrap_err();
    }
    while !all(&bench).await.keys().any(|key| key.contains("lock/")) {
        tokio::task::yield_now().await;
    }
    bench
}

/// Records of both mounts and of the expiry index, without what access alone writes.
async fn all(bench: &Bench) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for method in ["approle", "userpass"] {
        for (key, value) in bench.of_mount(&format!("auth/{method}/login")).await {
            found.insert(format!("{method} {key}"), value);
        }
    }
    for (key, value) in bench.records("core/expiry/").await {
        if key.contains("/keys/") {
            found.insert(format!("core/expiry/{key}"), value);
        }
    }
    found
}

fn golden() -> BTreeMap<String, Value> {
    serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap()
}

#[tokio::test]
async fn records_are_written_as_specified() {
    let made = all(&make().await).await;
    if std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some() && !std::path::Path::new(FILE).exists() {
        std::fs::create_dir_all(std::path::Path::new(FILE).parent().unwrap()).unwrap();
        std::fs::write(FILE, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
    }
    assert_eq!(fixed(&made), fixed(&golden()));
}

/// The same with what is drawn, or made from it, taken out: it depends on what else init draws.
fn fixed(records: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    let mut fixed: Vec<_> = records
        .iter()
        .map(|(key, value)| (without_drawn(key), without_drawn(&value.to_string())))
        .collect();
    fixed.sort();
    fixed
}

/// `#` for each digit of long hex numbers, but for the seconds of the expiry index.
fn without_drawn(text: &str) -> String {
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f' | '-');
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_digit) {
        let run = &rest[start..];
        let length = run.find(|c| !is_digit(c)).unwrap_or(run.len());
        let (run, after) = run.split_at(length);
        out.push_str(&rest[..start]);
        match length >= 16 && !run.starts_with("00000000") {
            true => out.push_str(&"#".repeat(length)),
            false => out.push_str(run),
        }
        rest = after;
    }
    out + rest
}

/// The golden records put into an empty zone are served.
#[tokio::test]
async fn records_of_version_1_are_read() {
    let bench = Bench::new().await;
    for (key, value) in golden() {
        let key = match key.split_once(' ') {
            Some((method, rest)) => {
                let mount = bench.mount(&format!("auth/{method}/login"));
                format!("{}/{}/{rest}", mount.namespace, mount.id)
            }
            None => key,
        };
        let batch = Batch::new().put(Key::new(key).unwrap(), value.to_string());
        bench.lab.barrier.commit(batch).await.unwrap();
    }
    let created = bench
        .log_in("web-role", &secret("chosen-secret-id"))
        .await
        .unwrap();
    assert_eq!(created.entry.record.policies, ["app"]);
    assert_eq!(created.entry.record.meta.as_ref().unwrap()["team"], "a");
    let permit = bench.root("sys/locked-users").await;
    let locked = bench.auth.locked_users(&permit, None).await.unwrap();
    assert_eq!(locked[0].names, ["ann"]);
    let mount = bench.mount("auth/userpass/login");
    bench
        .auth
        .unlock_user(&permit, &mount.accessor, "ann")
        .await
        .unwrap();
    bench.enter("ann", "right").await.unwrap();
}

/// A record of another version, or with fields that this head does not know, is not guessed at.
#[tokio::test]
async fn what_is_not_version_1_is_refused() {
    for (field, value) in [("v", json!(2)), ("limits_more", json!(true))] {
        let bench = make().await;
        for method in ["approle", "userpass"] {
            let mount = bench.mount(&format!("auth/{method}/login"));
            for (rest, mut record) in bench.of_mount(&format!("auth/{method}/login")).await {
                record[field] = value.clone();
                let key = Key::new(format!("{}/{}/{rest}", mount.namespace, mount.id)).unwrap();
                let batch = Batch::new().put(key, record.to_string());
                bench.lab.barrier.commit(batch).await.unwrap();
            }
        }
        let refused = bench.log_in("web-role", &secret("chosen-secret-id")).await;
        assert!(
            matches!(refused, Err(zone_auth::AuthError::Corrupt)),
            "{field}"
        );
        let refused = bench.enter("ann", "right").await;
        assert!(
            matches!(refused, Err(zone_auth::AuthError::Corrupt)),
            "{field}"
        );
    }
}
