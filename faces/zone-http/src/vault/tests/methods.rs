//! AppRole and userpass at the face: Vault's shapes to the letter, status, headers, body.

use serde_json::{Value, json};

use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;

/// Status and headers.
#[track_caller]
fn plain(answer: &Shown, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let wanted = (status != 204).then_some("application/json");
    assert_eq!(answer.field("content-type"), wanted);
}

async fn bench() -> Bench {
    Bench::with_methods().await
}

async fn role(bench: &Bench, body: Value) -> String {
    plain(
        &bench.root("POST", "auth/approle/role/web", body).await,
        204,
    );
    let id = bench
        .root("GET", "auth/approle/role/web/role-id", NONE)
        .await;
    plain(&id, 200);
    id.json()["data"]["role_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_role_is_shown_as_vault_shows_it() {
    let bench = bench().await;
    let path = "auth/approle/role/web";
    plain(&bench.root("GET", path, NONE).await, 404);
    plain(&bench.root("LIST", "auth/approle/role", NONE).await, 404);
    role(&bench, json!({})).await;
    let shown = bench.root("GET", path, NONE).await;
    plain(&shown, 200);
    let expected = json!({
        "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0,
        "token_policies": [], "token_ttl": 0, "token_type": "default",
        "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null,
        "secret_id_num_uses": 0, "secret_id_ttl": 0 });
    assert_eq!(shown.json()["data"], expected);
    role(
        &bench,
        json!({ "policies": "b, A,b", "token_ttl": "1h", "token_max_ttl": 7200, "period": "0",
                "token_bound_cidrs": "127.0.0.1,10.0.0.0/8", "secret_id_ttl": "10m",
                "bound_cidr_list": ["10.0.0.1/32"], "token_type": "service" }),
    )
    .await;
    let shown = bench.root("GET", path, NONE).await.json();
    let data = &shown["data"];
    assert_eq!(data["token_policies"], json!(["a", "b"]));
    assert_eq!(
        (&data["token_ttl"], &data["token_max_ttl"]),
        (&json!(3600), &json!(7200))
    );
    assert_eq!(
        data["token_bound_cidrs"],
        json!(["127.0.0.1", "10.0.0.0/8"])
    );
    // As it was given: Vault leaves the length out only where it parses.
    assert_eq!(data["secret_id_bound_cidrs"], json!(["10.0.0.1/32"]));
    assert_eq!(
        (&data["secret_id_ttl"], &data["token_type"]),
        (&json!(600), &json!("service"))
    );
    let listed = bench.root("GET", "auth/approle/role?list=true", NONE).await;
    plain(&listed, 200);
    assert_eq!(listed.json()["data"], json!({ "keys": ["web"] }));
    plain(&bench.root("DELETE", path, NONE).await, 204);
    plain(&bench.root("DELETE", path, NONE).await, 204);
}

#[tokio::test]
async fn each_field_of_a_role_has_an_endpoint() {
    let bench = bench().await;
    role(&bench, json!({})).await;
    for (endpoint, field, given, shown, unset) in [
        (
            "policies",
            "token_policies",
            json!("x,Y"),
            json!(["x", "y"]),
            json!([]),
        ),
        ("period", "token_period", json!("1m"), json!(60), json!(0)),
        (
            "token-num-uses",
            "token_num_uses",
            json!("3"),
            json!(3),
            json!(0),
        ),
        ("token-ttl", "token_ttl", json!(60), json!(60), json!(0)),
        (
            "token-max-ttl",
            "token_max_ttl",
            json!(90),
            json!(90),
            json!(0),
        ),
        (
            "token-bound-cidrs",
            "token_bound_cidrs",
            json!(["::1"]),
            json!(["::1"]),
            json!([]),
        ),
        (
            "secret-id-num-uses",
            "secret_id_num_uses",
            json!(4),
            json!(4),
            json!(0),
        ),
        (
            "secret-id-ttl",
            "secret_id_ttl",
            json!("2m"),
            json!(120),
            json!(0),
        ),
        (
            "secret-id-bound-cidrs",
            "secret_id_bound_cidrs",
            json!("10.0.0.0/8"),
            json!(["10.0.0.0/8"]),
            json!(null),
        ),
        (
            "bound-cidr-list",
            "bound_cidr_list",
            json!("10.0.0.0/8"),
            json!(["10.0.0.0/8"]),
            json!(null),
        ),
    ] {
        let path = format!("auth/approle/role/web/{endpoint}");
        plain(
            &bench.root("POST", &path, json!({ field: given })).await,
            204,
        );
        let read = bench.root("GET", &path, NONE).await;
        plain(&read, 200);
        assert_eq!(read.json()["data"], json!({ field: shown }), "{endpoint}");
        plain(&bench.root("DELETE", &path, NONE).await, 204);
        let read = bench.root("GET", &path, NONE).await.json();
        assert_eq!(read["data"], json!({ field: unset }), "{endpoint}");
        let missing = bench.root("POST", &path, json!({})).await;
        assert!(
            missing.status == 400 && missing.text.contains("missing"),
            "{missing:?}"
        );
        let nobody = format!("auth/approle/role/nobody/{endpoint}");
        plain(
            &bench.root("POST", &nobody, json!({ field: given })).await,
            404,
        );
        plain(&bench.root("GET", &nobody, NONE).await, 404);
    }
}

#[tokio::test]
async fn fields_that_are_not_simply_set() {
    let bench = bench().await;
    role(&bench, json!({ "local_secret_ids": true })).await;
    let local = "auth/approle/role/web/local-secret-ids";
    let read = bench.root("GET", local, NONE).await.json();
    assert_eq!(read["data"], json!({ "local_secret_ids": true }));
    plain(
        &bench
            .root("POST", local, json!({ "local_secret_ids": false }))
            .await,
        405,
    );
    let bind = "auth/approle/role/web/bind-secret-id";
    let unbound = bench
        .root("POST", bind, json!({ "bind_secret_id": false }))
        .await;
    assert!(unbound.status == 400 && unbound.text.contains("at least one constraint"));
    let read = bench.root("GET", bind, NONE).await.json();
    assert_eq!(read["data"], json!({ "bind_secret_id": true }));
    let id = "auth/approle/role/web/role-id";
    plain(
        &bench.root("POST", id, json!({ "role_id": "mine" })).await,
        204,
    );
    let read = bench.root("GET", id, NONE).await.json();
    assert_eq!(read["data"], json!({ "role_id": "mine" }));
}

#[tokio::test]
async fn a_secret_id_is_made_shown_and_destroyed() {
    let bench = bench().await;
    role(&bench, json!({})).await;
    let path = "auth/approle/role/web/secret-id";
    plain(&bench.root("LIST", path, NONE).await, 404);
    let metadata = json!({ "team": "a" }).to_string();
    let ask = json!({ "metadata": metadata, "cidr_list": "10.0.0.0/8,10.0.0.1/32", "num_uses": "7",
                      "ttl": "1h" });
    let made = bench.root("POST", path, ask).await;
    plain(&made, 200);
    let made = made.json()["data"].clone();
    let text = made["secret_id"].as_str().unwrap();
    let accessor = made["secret_id_accessor"].as_str().unwrap();
    assert_eq!((text.len(), accessor.len()), (36, 36));
    assert_eq!(
        made,
        json!({ "secret_id": text, "secret_id_accessor": accessor, "secret_id_num_uses": 7,
                "secret_id_ttl": 3600 })
    );
    let listed = bench.root("LIST", path, NONE).await;
    plain(&listed, 200);
    assert_eq!(listed.json()["data"], json!({ "keys": [accessor] }));
    let by_text = bench
        .root(
            "POST",
            &format!("{path}/lookup"),
            json!({ "secret_id": text }),
        )
        .await;
    plain(&by_text, 200);
    let expected = json!({
        "cidr_list": ["10.0.0.0/8", "10.0.0.1/32"], "creation_time": "2026-11-18T09:46:40Z",
        "expiration_time": "2026-11-18T10:46:40Z", "last_updated_time": "2026-11-18T09:46:40Z",
        "metadata": { "team": "a" }, "secret_id_accessor": accessor, "secret_id_num_uses": 7,
        "secret_id_ttl": 3600, "token_bound_cidrs": [] });
    assert_eq!(by_text.json()["data"], expected);
    let at = "auth/approle/role/web/secret-id-accessor";
    let ask = json!({ "secret_id_accessor": accessor });
    let by_accessor = bench
        .root("POST", &format!("{at}/lookup"), ask.clone())
        .await;
    assert_eq!(by_accessor.json()["data"], expected);
    plain(
        &bench
            .root("POST", &format!("{at}/destroy"), ask.clone())
            .await,
        204,
    );
    for verb in ["lookup", "destroy"] {
        plain(
            &bench
                .root("POST", &format!("{at}/{verb}"), ask.clone())
                .await,
            404,
        );
        let by_text = format!("{path}/{verb}");
        let gone = bench
            .root("POST", &by_text, json!({ "secret_id": text }))
            .await;
        plain(&gone, 204);
        let missing = bench
            .root("POST", &format!("{path}/{verb}"), json!({}))
            .await;
        assert_eq!(missing.brief(), r#"400 ["missing secret_id"]"#);
    }
    let custom = json!({ "secret_id": "chosen", "metadata": { "a": "b" } });
    let custom = bench
        .root("POST", "auth/approle/role/web/custom-secret-id", custom)
        .await;
    assert_eq!(custom.json()["data"]["secret_id"], "chosen");
    let delete = format!("{path}/destroy?secret_id=chosen");
    plain(&bench.root("DELETE", &delete, NONE).await, 204);
    plain(&bench.root("LIST", path, NONE).await, 404);
    let tidied = bench
        .root("POST", "auth/approle/tidy/secret-id", NONE)
        .await;
    plain(&tidied, 200);
    for (field, value) in [
        ("metadata", json!("[SECRET")),
        ("metadata", json!(r#"{"a":1}"#)),
        ("metadata", json!(["SECRET"])),
        ("cidr_list", json!("SECRET")),
        ("num_uses", json!(-1)),
        ("ttl", json!("-1s")),
    ] {
        let refused = bench.root("POST", path, json!({ field: value })).await;
        plain(&refused, 400);
        let named = refused.text.contains(field) && !refused.text.contains("SECRET");
        assert!(named, "{field}: {refused:?}");
    }
    plain(
        &bench
            .root("POST", "auth/approle/role/nobody/secret-id", NONE)
            .await,
        404,
    );
}

#[tokio::test]
async fn an_approle_login_answers_the_whole_auth_block() {
    let bench = bench().await;
    let role_id = role(
        &bench,
        json!({ "token_policies": "app", "token_ttl": 600,
                                       "token_num_uses": 9 }),
    )
    .await;
    let made = bench
        .root("POST", "auth/approle/role/web/secret-id", NONE)
        .await
        .json();
    let ask = json!({ "role_id": role_id, "secret_id": made["data"]["secret_id"] });
    let login = bench.send("POST", "auth/approle/login", ask.clone()).await;
    plain(&login, 200);
    let answer = login.json();
    let auth = &answer["auth"];
    let token = auth["client_token"].as_str().unwrap();
    assert!(token.starts_with("hvs.") && token.len() == 28);
    let expected = json!({
        "client_token": token, "accessor": auth["accessor"], "policies": ["app", "default"],
        "token_policies": ["app", "default"], "identity_policies": auth["identity_policies"],
        "metadata": { "role_name": "web" }, "lease_duration": 600, "renewable": true,
        "entity_id": auth["entity_id"], "token_type": "service", "orphan": true,
        "mfa_requirement": null, "num_uses": 9 });
    assert_eq!(auth, &expected);
    assert_eq!(
        (&answer["data"], &answer["lease_duration"]),
        (&NONE, &json!(0))
    );
    let own = bench
        .by(token, "GET", "auth/token/lookup-self", NONE)
        .await
        .json();
    assert_eq!(own["data"]["path"], "auth/approle/login");
    assert_eq!(own["data"]["display_name"], "approle");
    assert_eq!(own["data"]["num_uses"], 8);
    // Neither the secret id nor the token stand in the trail.
    let trail = format!("{:?}", bench.trail.lines());
    assert!(!trail.contains(token) && !trail.contains(made["data"]["secret_id"].as_str().unwrap()));
    assert!(
        bench
            .trail
            .shown()
            .contains(&"response update auth/approle/login".to_owned())
    );
    for (body, text) in [
        (json!({}), r#"400 ["missing role_id"]"#),
        (
            json!({ "role_id": "x" }),
            r#"400 ["invalid role or secret ID"]"#,
        ),
        (
            json!({ "role_id": role_id }),
            r#"400 ["invalid role or secret ID"]"#,
        ),
        (
            json!({ "role_id": role_id, "secret_id": "x" }),
            r#"400 ["invalid role or secret ID"]"#,
        ),
        (
            json!({ "role_id": ["x"] }),
            r#"400 ["field 'role_id': expected text"]"#,
        ),
    ] {
        let refused = bench.send("POST", "auth/approle/login", body).await;
        plain(&refused, 400);
        assert_eq!(refused.brief(), text);
    }
    for method in ["GET", "LIST", "DELETE"] {
        plain(&bench.send(method, "auth/approle/login", NONE).await, 403);
    }
    // A bad token that comes along changes nothing.
    let login = bench.by("hvs.bad", "PUT", "auth/approle/login", ask).await;
    plain(&login, 200);
}

#[tokio::test]
async fn users_are_made_shown_listed_and_deleted() {
    let bench = bench().await;
    let path = "auth/userpass/users/ann";
    plain(&bench.root("GET", path, NONE).await, 404);
    plain(&bench.root("LIST", "auth/userpass/users", NONE).await, 404);
    let missing = bench.root("POST", path, json!({})).await;
    assert_eq!(missing.brief(), r#"400 ["missing password"]"#);
    let hash = json!({ "password_hash": "$2a$SECRET" });
    let refused = bench.root("POST", path, hash).await;
    assert!(refused.status == 400 && refused.text.contains("'password_hash'"));
    assert!(!refused.text.contains("SECRET"));
    let user = json!({ "password": "right", "policies": "staff", "ttl": "1h", "max_ttl": "2h" });
    plain(&bench.root("POST", path, user).await, 204);
    let shown = bench.root("GET", path, NONE).await;
    plain(&shown, 200);
    let expected = json!({
        "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 7200,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0,
        "token_policies": ["staff"], "token_ttl": 3600, "token_type": "default" });
    assert_eq!(shown.json()["data"], expected);
    let listed = bench.root("LIST", "auth/userpass/users", NONE).await.json();
    assert_eq!(listed["data"], json!({ "keys": ["ann"] }));
    plain(
        &bench
            .root(
                "PUT",
                &format!("{path}/policies"),
                json!({ "policies": "a,b" }),
            )
            .await,
        204,
    );
    plain(
        &bench
            .root(
                "PUT",
                &format!("{path}/password"),
                json!({ "password": "new" }),
            )
            .await,
        204,
    );
    let shown = bench.root("GET", path, NONE).await.json();
    assert_eq!(shown["data"]["token_policies"], json!(["a", "b"]));
    let login = bench
        .send(
            "PUT",
            "auth/userpass/login/ann",
            json!({ "password": "new" }),
        )
        .await;
    plain(&login, 200);
    let auth = &login.json()["auth"];
    assert_eq!(auth["metadata"], json!({ "username": "ann" }));
    assert_eq!(auth["policies"], json!(["a", "b", "default"]));
    assert_eq!(
        (&auth["lease_duration"], &auth["orphan"]),
        (&json!(3600), &json!(true))
    );
    for (name, body, text) in [
        (
            "ann",
            json!({ "password": "x" }),
            r#"400 ["invalid username or password"]"#,
        ),
        (
            "nobody",
            json!({ "password": "x" }),
            r#"400 ["invalid username or password"]"#,
        ),
        ("nobody", json!({}), r#"400 ["missing password"]"#),
        ("ann", json!({}), r#"400 ["missing password"]"#),
    ] {
        let refused = bench
            .send("POST", &format!("auth/userpass/login/{name}"), body)
            .await;
        plain(&refused, 400);
        assert_eq!(refused.brief(), text);
    }
    plain(&bench.root("DELETE", path, NONE).await, 204);
    plain(&bench.root("GET", path, NONE).await, 404);
    let missing = bench
        .root(
            "POST",
            &format!("{path}/password"),
            json!({ "password": "x" }),
        )
        .await;
    assert_eq!(missing.brief(), r#"400 ["username does not exist"]"#);
}

/// CVE-2025-6004, CVE-2025-6013: one user, whatever the spelling, with one lock and one rule.
#[tokio::test]
async fn cve_2025_6004_all_spellings_of_a_name_are_one_user() {
    let bench = bench().await;
    let made = bench
        .root(
            "POST",
            "auth/userpass/users/Ann",
            json!({ "password": "right" }),
        )
        .await;
    plain(&made, 204);
    let listed = bench.root("LIST", "auth/userpass/users", NONE).await.json();
    assert_eq!(listed["data"]["keys"], json!(["ann"]));
    let login = async |name: &str, password: &str| {
        let path = format!("auth/userpass/login/{name}");
        let answer = bench
            .send("POST", &path, json!({ "password": password }))
            .await;
        answer.status
    };
    assert_eq!(login("%20ANN%20", "right").await, 200);
    for name in ["ann", "Ann", "aNN", "%20ann", "ann%20"] {
        assert_eq!(login(name, "wrong").await, 400);
    }
    for name in ["ann", "ANN", "%20ann"] {
        assert_eq!(login(name, "right").await, 400, "locked in every spelling");
    }
    let locked = bench.root("GET", "sys/locked-users", NONE).await;
    plain(&locked, 200);
    let mount = bench.root("GET", "sys/auth/userpass", NONE).await.json();
    let accessor = mount["data"]["accessor"].as_str().unwrap();
    assert_eq!(
        locked.json()["data"],
        json!({ "by_namespace": [{ "namespace_id": "root", "namespace_path": "", "counts": 1,
            "mount_accessors": [{ "mount_accessor": accessor, "counts": 1,
                                  "alias_identifiers": ["ann"] }] }], "total": 1 })
    );
    let unlock = format!("sys/locked-users/{accessor}/unlock/ANN");
    plain(&bench.root("POST", &unlock, NONE).await, 204);
    assert_eq!(login("ANN", "right").await, 200);
    let none = bench.root("GET", "sys/locked-users", NONE).await.json();
    assert_eq!(none["data"], json!({ "by_namespace": [], "total": 0 }));
    // A3: the rule for the plain spelling holds for the others.
    let policy = r#"path "auth/userpass/users/*" { capabilities = ["read"] }
                    path "auth/userpass/users/ann" { capabilities = ["deny"] }
                    path "auth/approle/role/*" { capabilities = ["read"] }
                    path "auth/approle/role/web" { capabilities = ["deny"] }
                    path "sys/locked-users/*" { capabilities = ["update"] }
                    path "sys/locked-users/+/unlock/ann" { capabilities = ["deny"] }"#;
    let token = bench.token(policy).await;
    for (method, path) in [
        ("GET", "auth/userpass/users/ANN"),
        ("GET", "auth/userpass/users/%20ann"),
        ("GET", "auth/approle/role/Web"),
        ("POST", unlock.as_str()),
    ] {
        plain(&bench.by(&token, method, path, NONE).await, 403);
    }
    plain(
        &bench
            .by(&token, "GET", "auth/userpass/users/Bob", NONE)
            .await,
        404,
    );
}

/// `create` makes what is new, `update` changes what is there.
#[tokio::test]
async fn create_and_update_are_told_apart() {
    let bench = bench().await;
    let policy = r#"path "auth/approle/role/+" { capabilities = ["create"] }
                    path "auth/userpass/users/+" { capabilities = ["update"] }"#;
    let token = bench.token(policy).await;
    let role = async || {
        bench
            .by(&token, "POST", "auth/approle/role/web", json!({}))
            .await
    };
    plain(&role().await, 204);
    plain(&role().await, 403);
    let user = json!({ "password": "p" });
    let path = "auth/userpass/users/ann";
    plain(&bench.by(&token, "POST", path, user.clone()).await, 403);
    bench.root("POST", path, user.clone()).await;
    plain(&bench.by(&token, "POST", path, user).await, 204);
}

/// A1: whoever's answer cannot be recorded gets 500, and what it would have handed out is taken
/// back.
#[tokio::test]
async fn a1_credentials_of_an_answer_that_is_not_recorded_are_taken_back() {
    let bench = bench().await;
    let role_id = role(&bench, json!({})).await;
    let path = "auth/approle/role/web/secret-id";
    let made = bench.root("POST", path, NONE).await.json();
    let ask = json!({ "role_id": role_id, "secret_id": made["data"]["secret_id"] });
    let accessors = async || {
        let listed = bench
            .root("LIST", "auth/token/accessors", NONE)
            .await
            .json();
        listed["data"]["keys"].as_array().unwrap().len()
    };
    let before = accessors().await;
    bench.trail.fail_after(1);
    plain(&bench.send("POST", "auth/approle/login", ask).await, 500);
    bench.trail.heal();
    assert_eq!(accessors().await, before);
    bench.trail.fail_after(1);
    plain(&bench.root("POST", path, NONE).await, 500);
    bench.trail.heal();
    let listed = bench.root("LIST", path, NONE).await.json();
    assert_eq!(listed["data"]["keys"].as_array().unwrap().len(), 1);
}

/// The secret id comes wrapped, once, and works.
#[tokio::test]
async fn a_secret_id_can_be_wrapped() {
    let bench = bench().await;
    let role_id = role(&bench, json!({})).await;
    let root = bench.root.clone();
    let fields = [("x-vault-token", root.as_str()), ("x-vault-wrap-ttl", "60")];
    let path = "auth/approle/role/web/secret-id";
    let wrapped = bench.with("POST", path, &fields, NONE).await;
    plain(&wrapped, 200);
    let wrapped = wrapped.json();
    assert_eq!(wrapped["data"], NONE);
    assert_eq!(wrapped["wrap_info"]["creation_path"], path);
    let token = wrapped["wrap_info"]["token"].as_str().unwrap();
    let unwrapped = bench.by(token, "POST", "sys/wrapping/unwrap", NONE).await;
    plain(&unwrapped, 200);
    let secret_id = unwrapped.json()["data"]["secret_id"].clone();
    let ask = json!({ "role_id": role_id, "secret_id": secret_id });
    plain(&bench.send("POST", "auth/approle/login", ask).await, 200);
    plain(
        &bench.by(token, "POST", "sys/wrapping/unwrap", NONE).await,
        400,
    );
}

#[tokio::test]
async fn tokens_of_a_disabled_method_end() {
    let bench = bench().await;
    bench
        .root(
            "POST",
            "auth/userpass/users/ann",
            json!({ "password": "p" }),
        )
        .await;
    let login = bench
        .send(
            "POST",
            "auth/userpass/login/ann",
            json!({ "password": "p" }),
        )
        .await;
    let token = login.json()["auth"]["client_token"]
        .as_str()
        .unwrap()
        .to_owned();
    plain(
        &bench
            .by(&token, "GET", "auth/token/lookup-self", NONE)
            .await,
        200,
    );
    plain(&bench.root("DELETE", "sys/auth/userpass", NONE).await, 204);
    plain(
        &bench
            .by(&token, "GET", "auth/token/lookup-self", NONE)
            .await,
        403,
    );
    plain(
        &bench
            .send(
                "POST",
                "auth/userpass/login/ann",
                json!({ "password": "p" }),
            )
            .await,
        403,
    );
}
