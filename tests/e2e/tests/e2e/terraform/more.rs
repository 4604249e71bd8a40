//! Resources and data sources that fewer configurations have.

use http::Method;
use serde_json::{Value, json};
use zone_e2e::Api;

use super::{Managed, Read, State, call, post, read, write};

/// `vault_kv_secret_backend_v2`; `vault_generic_secret`, which asks the zone first which version of
/// KV a path is of.
pub(super) async fn generic_secrets(api: &Api, state: &mut State) {
    for (path, version) in [("tf-two/in", "2"), ("tf-one", "1")] {
        let mount = json!({ "type": "kv", "options": { "version": version } });
        let at = format!("sys/mounts/{path}");
        post(api, &at, &mount).await.expect(204);
        let shown = json!({ "options": { "version": version } });
        state.keep(
            "vault_mount",
            vec![read(&at, shown)],
            (Method::DELETE, at.clone()),
        );
        let preflight = format!("sys/internal/ui/mounts/{path}/app/db");
        let found = call(api, Method::GET, &preflight, &Value::Null)
            .await
            .expect(200)
            .data();
        // Both are taken for texts without looking.
        assert_eq!(found["path"], format!("{path}/"), "{found}");
        assert_eq!(found["options"]["version"], version, "{found}");
    }
    let config =
        json!({ "max_versions": 5, "cas_required": false, "delete_version_after": 12_600 });
    write(api, "tf-two/in/config", &config).await.expect(204);
    let shown =
        json!({ "max_versions": 5, "cas_required": false, "delete_version_after": "3h30m0s" });
    state.0.push(Managed {
        name: "vault_kv_secret_backend_v2",
        reads: vec![read("tf-two/in/config", shown)],
        destroy: None,
    });
    let secret = json!({ "user": "app", "ports": [1, 2] });
    let two = json!({ "data": secret, "options": {} });
    write(api, "tf-two/in/data/app/db", &two).await.expect(200);
    let shown = json!({ "data": secret });
    let metadata = (Method::DELETE, "tf-two/in/metadata/app/db".to_owned());
    state.keep(
        "vault_generic_secret.two",
        vec![read("tf-two/in/data/app/db", shown)],
        metadata,
    );
    write(api, "tf-one/app/db", &secret).await.expect(204);
    let gone = (Method::DELETE, "tf-one/app/db".to_owned());
    state.keep(
        "vault_generic_secret.one",
        vec![read("tf-one/app/db", secret)],
        gone,
    );
}

/// `vault_token_auth_backend_role`: whatever is not set is sent empty.
pub(super) async fn token_role(api: &Api, state: &mut State) {
    let at = "auth/token/roles/tf";
    let role = json!({
        "token_no_default_policy": false, "token_type": "default-service",
        "token_explicit_max_ttl": 3600, "token_max_ttl": 0, "token_period": 1200,
        "token_policies": [], "token_num_uses": 0, "token_bound_cidrs": ["10.1.0.0/16"],
        "alias_metadata": {}, "allowed_policies": ["tf"], "allowed_policies_glob": ["team-*"],
        "disallowed_policies": ["root"], "disallowed_policies_glob": [], "orphan": true,
        "allowed_entity_aliases": [], "renewable": true, "path_suffix": "x",
    });
    write(api, at, &role).await.expect(204);
    let shown = json!({
        "token_type": "default-service", "token_explicit_max_ttl": 3600, "token_period": 1200,
        "token_num_uses": 0, "token_bound_cidrs": ["10.1.0.0/16"], "allowed_policies": ["tf"],
        "allowed_policies_glob": ["team-*"], "disallowed_policies": ["root"],
        "disallowed_policies_glob": [], "orphan": true, "renewable": true, "path_suffix": "x",
    });
    state.keep(
        "vault_token_auth_backend_role",
        vec![read(at, shown)],
        (Method::DELETE, at.into()),
    );
}

/// `vault_approle_auth_backend_login`, and a provider that logs in by itself (`auth_login`).
pub(super) async fn login(api: &Api, state: &mut State) {
    post(api, "sys/auth/tf-approle", &json!({ "type": "approle" }))
        .await
        .expect(204);
    let role = json!({ "token_policies": ["default"], "token_type": "default" });
    write(api, "auth/tf-approle/role/web", &role)
        .await
        .expect(204);
    let role_id = call(
        api,
        Method::GET,
        "auth/tf-approle/role/web/role-id",
        &Value::Null,
    )
    .await;
    let role_id = role_id.expect(200).field("role_id");
    let made = write(
        api,
        "auth/tf-approle/role/web/secret-id",
        &json!({ "metadata": "" }),
    )
    .await;
    let secret_id = made.expect(200).field("secret_id");
    let body = json!({ "role_id": role_id, "secret_id": secret_id });
    let auth = write(&api.token(""), "auth/tf-approle/login", &body)
        .await
        .expect(200)
        .json();
    let auth = &auth["auth"];
    assert!(auth["client_token"].is_string(), "{auth}");
    let by = json!({ "accessor": auth["accessor"] });
    let shown = json!({ "policies": ["default"], "renewable": true, "accessor": auth["accessor"] });
    state.0.push(Managed {
        name: "vault_approle_auth_backend_login",
        reads: vec![Read {
            method: Method::POST,
            path: "auth/token/lookup-accessor".into(),
            body: by.clone(),
            expected: shown,
        }],
        destroy: Some((Method::POST, "auth/token/revoke-accessor".into(), by)),
    });
}

/// `vault_audit_request_header`: found under the name as it is spelt.
pub(super) async fn request_header(api: &Api, state: &mut State) {
    let at = "sys/config/auditing/request-headers/X-Trace-Id";
    write(api, at, &json!({ "hmac": true })).await.expect(204);
    let shown = json!({ "X-Trace-Id": { "hmac": true } });
    let gone = (Method::DELETE, at.to_owned());
    state.keep("vault_audit_request_header", vec![read(at, shown)], gone);
}

/// `vault_identity_group_member_entity_ids` and `…_policies`: read, add, write back.
pub(super) async fn members(api: &Api, state: &mut State) {
    let mut ids = Vec::new();
    for name in ["tf-one", "tf-two"] {
        let made = write(api, "identity/entity", &json!({ "name": name }))
            .await
            .expect(200);
        ids.push(made.field("id"));
        let path = format!("identity/entity/id/{}", made.field("id"));
        state.keep(
            "vault_identity_entity",
            vec![read(&path, json!({ "name": name }))],
            (Method::DELETE, path.clone()),
        );
    }
    let group = json!({ "type": "internal", "name": "tf-crew", "policies": [],
                        "member_entity_ids": [], "member_group_ids": [] });
    let made = write(api, "identity/group", &group).await.expect(200);
    let at = format!("identity/group/id/{}", made.field("id"));
    for at_most in 1..=2 {
        let found = call(api, Method::GET, &at, &Value::Null)
            .await
            .expect(200)
            .data();
        assert_eq!(found["type"], "internal");
        // Null or a list, nothing else.
        let known = found["member_entity_ids"].as_array().map_or(0, Vec::len);
        assert_eq!(known, at_most - 1, "{found}");
        let members = json!({ "member_entity_ids": ids[..at_most] });
        write(api, &at, &members).await.expect(204);
    }
    write(api, &at, &json!({ "policies": ["tf"] }))
        .await
        .expect(204);
    let found = call(api, Method::GET, &at, &Value::Null)
        .await
        .expect(200)
        .data();
    let mut members: Vec<&str> = found["member_entity_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    members.sort_unstable();
    ids.sort_unstable();
    assert_eq!(members, ids);
    let shown = json!({ "name": "tf-crew", "policies": ["tf"], "member_entity_ids": found["member_entity_ids"] });
    state.keep(
        "vault_identity_group",
        vec![read(&at, shown)],
        (Method::DELETE, at),
    );
}

/// `vault_quota_rate_limit`, `vault_quota_lease_count`: each looks whether it is there, before it is
/// made too.
pub(super) async fn quotas(api: &Api, state: &mut State) {
    let whole = json!({ "path": "", "rate": 100_000, "inheritable": true });
    let whole_read = json!({ "name": "tf-all", "path": "", "rate": 100_000.0, "interval": 1,
                             "block_interval": 0, "role": "", "inheritable": true });
    let part =
        json!({ "path": "auth/token/", "rate": 1000.5, "interval": 60, "block_interval": 90 });
    let part_read = json!({ "name": "tf-part", "path": "auth/token/", "rate": 1000.5, "interval": 60,
                            "block_interval": 90, "role": "" });
    let leases = json!({ "path": "auth/tf-approle/", "max_leases": 100 });
    for (resource, kind, name, ask, shown) in [
        (
            "vault_quota_rate_limit",
            "rate-limit",
            "tf-all",
            whole,
            whole_read,
        ),
        (
            "vault_quota_rate_limit",
            "rate-limit",
            "tf-part",
            part,
            part_read,
        ),
        (
            "vault_quota_lease_count",
            "lease-count",
            "tf",
            leases.clone(),
            leases,
        ),
    ] {
        let at = format!("sys/quotas/{kind}/{name}");
        let nothing = call(api, Method::GET, &at, &Value::Null).await;
        nothing.expect(404);
        for _ in 0..2 {
            write(api, &at, &ask).await.expect(204);
        }
        let gone = (Method::DELETE, at.clone());
        state.keep(resource, vec![read(&at, shown)], gone);
    }
}

/// Data sources: `vault_auth_backends`, `vault_identity_entity`, `vault_kv_secrets_list_v2`,
/// `vault_approle_auth_backend_role_id`.
pub(super) async fn data_sources(api: &Api) {
    let all = call(api, Method::GET, "sys/auth", &Value::Null)
        .await
        .expect(200)
        .data();
    for (path, method) in all.as_object().unwrap() {
        assert!(
            path.ends_with('/') && method["accessor"].is_string(),
            "{path}: {method}"
        );
        assert!(
            method["type"].is_string() && method["config"].is_object(),
            "{path}: {method}"
        );
    }
    let found = write(api, "identity/lookup/entity", &json!({ "name": "tf-one" })).await;
    let found = found.expect(200).data();
    for text in [
        "id",
        "name",
        "creation_time",
        "last_update_time",
        "namespace_id",
    ] {
        assert!(found[text].is_string(), "{text}: {found}");
    }
    for list in [
        "aliases",
        "direct_group_ids",
        "group_ids",
        "inherited_group_ids",
    ] {
        assert!(found[list].is_array(), "{list}: {found}");
    }
    let nobody = write(
        api,
        "identity/lookup/entity",
        &json!({ "name": "tf-nobody" }),
    )
    .await;
    nobody.expect(204);
    let list = call(
        api,
        Method::GET,
        "tf-two/in/metadata/app?list=true",
        &Value::Null,
    )
    .await;
    assert_eq!(list.expect(200).data()["keys"], json!(["db"]));
    call(
        api,
        Method::GET,
        "tf-two/in/metadata/none?list=true",
        &Value::Null,
    )
    .await
    .expect(404);
}
