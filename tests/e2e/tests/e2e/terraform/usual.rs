//! The resources of a usual configuration: mounts, policies, secrets, auth methods, tokens, identity,
//! an audit device, a CA.

use http::Method;
use serde_json::{Value, json};
use zone_e2e::Api;

use super::{Managed, Read, State, call, post, read, write};

/// `vault_mount`, `vault_policy`, `vault_kv_secret_v2`, `vault_kv_secret`.
pub(super) async fn secrets(api: &Api, state: &mut State) {
    for (name, path, version) in [
        ("vault_mount.kv", "tf-kv", "2"),
        ("vault_mount.old", "tf-old", "1"),
    ] {
        let options = json!({ "version": version });
        let mount = json!({
            "type": "kv", "description": "by Terraform", "local": false, "seal_wrap": false,
            "external_entropy_access": false, "options": options,
            "config": { "options": null, "default_lease_ttl": "3600s", "max_lease_ttl": "7200s",
                        "force_no_cache": false },
        });
        let at = format!("sys/mounts/{path}");
        post(api, &at, &mount).await.expect(204);
        let shown = json!({
            "type": "kv", "description": "by Terraform", "local": false, "seal_wrap": false,
            "external_entropy_access": false, "options": options,
            "config": { "default_lease_ttl": 3600, "max_lease_ttl": 7200, "force_no_cache": false },
        });
        state.keep(name, vec![read(&at, shown)], (Method::DELETE, at.clone()));
    }
    let policy = r#"path "tf-kv/data/app" { capabilities = ["read"] }"#;
    let at = "sys/policies/acl/tf";
    let before = call(api, Method::GET, at, &Value::Null).await;
    before.expect(404);
    write(api, at, &json!({ "policy": policy }))
        .await
        .expect(204);
    let shown = json!({ "policy": policy });
    state.keep(
        "vault_policy.tf",
        vec![read(at, shown)],
        (Method::DELETE, at.into()),
    );

    // The provider sends cas and options beside data, whatever they are.
    let secret = json!({ "data": { "user": "app" }, "cas": 0, "options": {} });
    write(api, "tf-kv/data/app", &secret).await.expect(200);
    let notes = json!({ "max_versions": 5, "delete_version_after": 12_600,
                        "custom_metadata": { "owner": "tf" } });
    write(api, "tf-kv/metadata/app", &notes).await.expect(204);
    let shown = json!({ "data": { "user": "app" },
                        "metadata": { "version": 1, "custom_metadata": { "owner": "tf" } } });
    // A duration of Go's, which the provider parses.
    let metadata = json!({ "max_versions": 5, "cas_required": false,
                           "delete_version_after": "3h30m0s", "custom_metadata": { "owner": "tf" } });
    let reads = vec![
        read("tf-kv/data/app", shown),
        read("tf-kv/metadata/app", metadata),
    ];
    state.keep(
        "vault_kv_secret_v2.app",
        reads,
        (Method::DELETE, "tf-kv/metadata/app".into()),
    );

    let old = json!({ "user": "app", "ttl": "1h" });
    write(api, "tf-old/app", &old).await.expect(204);
    let reads = vec![read("tf-old/app", old)];
    state.keep(
        "vault_kv_secret.app",
        reads,
        (Method::DELETE, "tf-old/app".into()),
    );
}

/// A changed `vault_mount`: `tuneMountWithMap`, then a move.
pub(super) async fn change_mount(api: &Api, state: &mut State) {
    let moved = json!({ "from": "tf-kv", "to": "tf-moved" });
    let id = post(api, "sys/remount", &moved)
        .await
        .expect(200)
        .field("migration_id");
    let status = call(
        api,
        Method::GET,
        &format!("sys/remount/status/{id}"),
        &Value::Null,
    )
    .await;
    assert_eq!(
        status.expect(200).data()["migration_info"]["status"],
        "success"
    );
    let tune = json!({ "default_lease_ttl": "1800s", "max_lease_ttl": "3600s",
                       "options": { "version": "2" }, "description": "moved" });
    post(api, "sys/mounts/tf-moved/tune", &tune)
        .await
        .expect(204);
    for managed in &mut state.0 {
        let places = managed.reads.iter_mut().map(|read| &mut read.path);
        let places = places.chain(managed.destroy.iter_mut().map(|(_, path, _)| path));
        for path in places {
            *path = path.replace("tf-kv", "tf-moved");
        }
    }
    state.0[0].reads[0].expected = json!({ "type": "kv", "description": "moved",
        "config": { "default_lease_ttl": 1800, "max_lease_ttl": 3600 },
        "options": { "version": "2" } });
}

/// `vault_auth_backend` of both kinds; gives the accessor of userpass.
pub(super) async fn auth_backends(api: &Api, state: &mut State) -> Value {
    let mut accessor = Value::Null;
    for (name, kind, path) in [
        ("vault_auth_backend.approle", "approle", "tf-approle"),
        ("vault_auth_backend.userpass", "userpass", "tf-userpass"),
    ] {
        let config = json!({ "options": null, "default_lease_ttl": "", "max_lease_ttl": "",
                             "force_no_cache": false });
        let enable = json!({
            "type": kind, "description": "", "config": config, "local": false, "seal_wrap": false,
            "external_entropy_access": false, "options": null,
        });
        post(api, &format!("sys/auth/{path}"), &enable)
            .await
            .expect(204);
        let tune = json!({ "options": null, "default_lease_ttl": "10m", "max_lease_ttl": "1h",
                           "force_no_cache": false, "listing_visibility": "unauth",
                           "token_type": "default-service" });
        let mount = format!("sys/mounts/auth/{path}");
        post(api, &format!("{mount}/tune"), &tune).await.expect(204);
        let shown = call(api, Method::GET, &mount, &Value::Null)
            .await
            .expect(200)
            .data();
        accessor = shown["accessor"].clone();
        assert!(accessor.is_string(), "{shown}");
        let tuned = json!({ "default_lease_ttl": 600, "max_lease_ttl": 3600,
                            "listing_visibility": "unauth", "token_type": "default-service" });
        let shown =
            json!({ "type": kind, "description": "", "local": false, "accessor": accessor });
        let reads = vec![read(&mount, shown), read(format!("{mount}/tune"), tuned)];
        state.keep(name, reads, (Method::DELETE, format!("sys/auth/{path}")));
    }
    accessor
}

/// `vault_approle_auth_backend_role` and `…_role_secret_id`, also wrapped.
pub(super) async fn approle(api: &Api, state: &mut State) {
    let role = "auth/tf-approle/role/web";
    let asked = json!({
        "token_policies": ["tf"], "token_type": "default", "token_ttl": 1200,
        "token_no_default_policy": false, "bind_secret_id": true, "secret_id_num_uses": 9,
        "secret_id_ttl": 1800, "secret_id_bound_cidrs": ["127.0.0.0/8"], "local_secret_ids": false,
    });
    write(api, role, &asked).await.expect(204);
    write(
        api,
        &format!("{role}/role-id"),
        &json!({ "role_id": "tf-role" }),
    )
    .await
    .expect(204);
    let reads = vec![
        read(role, asked),
        read(format!("{role}/role-id"), json!({ "role_id": "tf-role" })),
    ];
    state.keep(
        "vault_approle_auth_backend_role.web",
        reads,
        (Method::DELETE, role.into()),
    );

    let ask = json!({ "cidr_list": "127.0.0.1/32", "metadata": "{\"a\":\"b\"}" });
    let made = write(api, &format!("{role}/secret-id"), &ask)
        .await
        .expect(200);
    let accessor = made.field("secret_id_accessor");
    made.field("secret_id");
    let by = json!({ "secret_id_accessor": accessor });
    let shown = json!({ "cidr_list": ["127.0.0.1/32"], "token_bound_cidrs": [],
                        "metadata": { "a": "b" }, "secret_id_num_uses": 9,
                        "secret_id_ttl": 1800 });
    state.0.push(Managed {
        name: "vault_approle_auth_backend_role_secret_id.web",
        reads: vec![Read {
            method: Method::PUT,
            path: format!("{role}/secret-id-accessor/lookup"),
            body: by.clone(),
            expected: shown,
        }],
        destroy: Some((
            Method::PUT,
            format!("{role}/secret-id-accessor/destroy"),
            by,
        )),
    });

    let wrapping = api.header("x-vault-wrap-ttl", "300");
    let made = write(
        &wrapping,
        &format!("{role}/secret-id"),
        &json!({ "metadata": "" }),
    )
    .await;
    let info = made.expect(200).json()["wrap_info"].take();
    assert!(
        info["token"].is_string() && info["accessor"].is_string(),
        "{info}"
    );
    let by = json!({ "accessor": info["accessor"] });
    state.0.push(Managed {
        name: "vault_approle_auth_backend_role_secret_id.wrapped",
        reads: vec![Read {
            method: Method::PUT,
            path: "auth/token/lookup-accessor".into(),
            body: by.clone(),
            expected: json!({ "accessor": info["accessor"], "num_uses": 1 }),
        }],
        destroy: Some((Method::PUT, "auth/token/revoke-accessor".into(), by)),
    });
}

/// `vault_token`.
pub(super) async fn token(api: &Api, state: &mut State) {
    let ask = json!({ "policies": ["tf"], "meta": { "who": "tf" }, "ttl": "15m",
                      "no_parent": true, "display_name": "made", "num_uses": 0,
                      "renewable": true, "type": "", "entity_alias": "" });
    let made = post(api, "auth/token/create", &ask)
        .await
        .expect(200)
        .json();
    assert!(made["auth"]["client_token"].is_string());
    let by = json!({ "accessor": made["auth"]["accessor"] });
    let shown = post(api, "auth/token/lookup-accessor", &by)
        .await
        .expect(200)
        .data();
    for time in ["issue_time", "expire_time"] {
        let text = shown[time].as_str().unwrap();
        let shape: String = text
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert!(
            shape.starts_with("0000-00-00T00:00:00") && shape.ends_with('Z'),
            "{text}"
        );
    }
    let expected = json!({ "policies": ["default", "tf"], "orphan": true, "renewable": true,
                           "display_name": "token-made", "num_uses": 0, "meta": { "who": "tf" },
                           "issue_time": shown["issue_time"], "expire_time": shown["expire_time"] });
    state.0.push(Managed {
        name: "vault_token.made",
        reads: vec![Read {
            method: Method::POST,
            path: "auth/token/lookup-accessor".into(),
            body: by.clone(),
            expected,
        }],
        destroy: Some((Method::POST, "auth/token/revoke-accessor".into(), by)),
    });
}

/// `vault_identity_entity`, `…_entity_alias`, `…_group`, `…_group_alias`.
pub(super) async fn identity(api: &Api, state: &mut State, accessor: &Value) {
    let entity = json!({ "name": "tf-ann", "policies": ["tf"], "metadata": { "team": "blue" } });
    let made = write(api, "identity/entity", &entity).await.expect(200);
    let id = made.field("id");
    // Made again: no answer tells the provider that it is there already.
    write(api, "identity/entity", &entity).await.expect(204);
    let at = format!("identity/entity/id/{id}");
    let whole = call(api, Method::GET, &at, &Value::Null)
        .await
        .expect(200)
        .data();
    assert!(whole["aliases"].is_array(), "a list, though empty: {whole}");
    let shown = json!({ "name": "tf-ann", "policies": ["tf"], "metadata": { "team": "blue" },
                        "disabled": false });
    state.keep(
        "vault_identity_entity.ann",
        vec![read(&at, shown)],
        (Method::DELETE, at.clone()),
    );

    let look = json!({ "alias_name": "ann", "alias_mount_accessor": accessor });
    write(api, "identity/lookup/entity", &look)
        .await
        .expect(204);
    let alias = json!({ "name": "ann", "mount_accessor": accessor, "canonical_id": id,
                        "custom_metadata": {}, "external_id": "", "issuer": "" });
    let made = write(api, "identity/entity-alias", &alias)
        .await
        .expect(200)
        .field("id");
    let at = format!("identity/entity-alias/id/{made}");
    let shown =
        json!({ "id": made, "name": "ann", "mount_accessor": accessor, "canonical_id": id });
    state.keep(
        "vault_identity_entity_alias.ann",
        vec![read(&at, shown)],
        (Method::DELETE, at),
    );

    for (name, kind, members) in [
        ("vault_identity_group.crew", "internal", json!([id])),
        ("vault_identity_group.outside", "external", Value::Null),
    ] {
        let mut group = json!({ "type": kind, "name": format!("tf-{kind}"), "policies": ["tf"] });
        if kind == "internal" {
            group["member_entity_ids"] = members.clone();
            group["member_group_ids"] = json!([]);
        }
        let made = write(api, "identity/group", &group)
            .await
            .expect(200)
            .field("id");
        write(api, "identity/group", &group).await.expect(204);
        let at = format!("identity/group/id/{made}");
        let shown = json!({ "name": format!("tf-{kind}"), "type": kind, "policies": ["tf"],
                            "member_entity_ids": members });
        state.keep(name, vec![read(&at, shown)], (Method::DELETE, at));
        if kind == "external" {
            let alias =
                json!({ "name": "cn=tf", "mount_accessor": accessor, "canonical_id": made });
            let id = write(api, "identity/group-alias", &alias)
                .await
                .expect(200)
                .field("id");
            let at = format!("identity/group-alias/id/{id}");
            state.keep(
                "vault_identity_group_alias.outside",
                vec![read(&at, alias)],
                (Method::DELETE, at),
            );
        }
    }
}

/// `vault_audit`: the options are compared as a whole, and all of them are texts.
pub(super) async fn audit(api: &Api, state: &mut State, file: &str) {
    // Defaults too, spelt out.
    let options =
        json!({ "file_path": file, "hmac_accessor": "true", "format": "json", "mode": "0600" });
    let device = json!({ "type": "file", "description": "tf", "options": options, "local": false });
    write(api, "sys/audit/tf", &device).await.expect(204);
    let all = call(api, Method::GET, "sys/audit", &Value::Null)
        .await
        .expect(200)
        .data();
    assert_eq!(
        all["tf/"]["options"], options,
        "else it is made anew at each apply"
    );
    let shown = json!({ "tf/": { "type": "file", "description": "tf", "options": options } });
    let at = "sys/audit/tf".to_owned();
    state.keep(
        "vault_audit.tf",
        vec![read("sys/audit", shown)],
        (Method::DELETE, at),
    );
}

/// `vault_pki_secret_backend_root_cert`, `…_role`, `…_cert`.
pub(super) async fn pki(api: &Api, state: &mut State) {
    let mount = json!({
        "type": "pki", "description": "", "local": false, "seal_wrap": false,
        "external_entropy_access": false, "options": {},
        "config": { "options": null, "default_lease_ttl": "0s", "max_lease_ttl": "31536000s",
                    "force_no_cache": false },
    });
    post(api, "sys/mounts/tf-pki", &mount).await.expect(204);
    let shown = json!({ "type": "pki", "options": null,
                        "config": { "default_lease_ttl": 0, "max_lease_ttl": 31_536_000 } });
    state.keep(
        "vault_mount.pki",
        vec![read("sys/mounts/tf-pki", shown)],
        (Method::DELETE, "sys/mounts/tf-pki".into()),
    );
    let root = json!({ "common_name": "tf root", "ttl": "8760h", "key_type": "ec", "key_bits": 256,
                       "exclude_cn_from_sans": false, "use_pss": false });
    let made = write(api, "tf-pki/issuers/generate/root/internal", &root)
        .await
        .expect(200);
    for field in [
        "certificate",
        "issuing_ca",
        "serial_number",
        "issuer_id",
        "key_id",
    ] {
        made.field(field);
    }
    let issuer = format!("tf-pki/issuer/{}", made.field("issuer_id"));
    // The plan asks without a token whether the issuer is still that one.
    let stranger = api.token("");
    let pem = call(
        &stranger,
        Method::GET,
        &format!("{issuer}/pem"),
        &Value::Null,
    )
    .await
    .expect(200);
    assert_eq!(pem.text().trim(), made.field("certificate").trim());
    role_and_certificate(api, state).await;
    // Stricter than Vault (docs/vault-differences.md): it has issued, so that only the mount can be
    // destroyed.
    let kept = call(api, Method::DELETE, &issuer, &Value::Null).await;
    kept.refused(400, "revocation list would disappear");
}

async fn role_and_certificate(api: &Api, state: &mut State) {
    let role = json!({
        "allowed_domains": ["tf.test"], "allow_any_name": false, "allow_bare_domains": false,
        "allow_glob_domains": false, "allow_ip_sans": true, "allow_localhost": true,
        "allow_subdomains": true, "allow_wildcard_certificates": true,
        "allowed_uri_sans_template": false, "basic_constraints_valid_for_non_ca": false,
        "client_flag": true, "code_signing_flag": false, "email_protection_flag": false,
        "enforce_hostnames": true, "generate_lease": false, "no_store": false, "require_cn": true,
        "server_flag": true, "use_csr_common_name": true, "use_csr_sans": true,
        "key_bits": 256, "key_type": "ec", "max_ttl": "7200", "ttl": "3600",
    });
    let at = "tf-pki/roles/web";
    let made = write(api, at, &role).await;
    assert!(matches!(made.status, 200 | 204), "{}", made.text());
    let found = call(api, Method::GET, at, &Value::Null)
        .await
        .expect(200)
        .data();
    for number in ["key_bits", "signature_bits", "not_before_duration"] {
        assert!(found[number].is_u64(), "{number}: {found}");
    }
    let lists = [
        "allowed_domains",
        "key_usage",
        "ext_key_usage",
        "cn_validations",
        "country",
        "ou",
        "organization",
        "allowed_uri_sans",
        "policy_identifiers",
    ];
    for list in lists {
        assert!(found[list].is_array(), "{list}: {found}");
    }
    let mut expected = role;
    // Texts in its schema, seconds on the wire.
    expected["ttl"] = 3600.into();
    expected["max_ttl"] = 7200.into();
    state.keep(
        "vault_pki_secret_backend_role.web",
        vec![read(at, expected)],
        (Method::DELETE, at.into()),
    );
    let ask = json!({ "common_name": "a.tf.test", "ttl": "1h", "format": "pem",
                      "private_key_format": "der", "exclude_cn_from_sans": false,
                      "remove_roots_from_chain": false });
    let made = write(api, "tf-pki/issue/web", &ask).await.expect(200);
    for text in [
        "certificate",
        "issuing_ca",
        "private_key",
        "private_key_type",
        "serial_number",
    ] {
        made.field(text);
    }
    let data = made.data();
    assert!(
        data["expiration"].is_u64() && data["ca_chain"].is_array(),
        "{data}"
    );
    state.0.push(Managed {
        name: "vault_pki_secret_backend_cert.web",
        reads: Vec::new(),
        destroy: Some((
            Method::PUT,
            "tf-pki/revoke".into(),
            json!({ "serial_number": made.field("serial_number") }),
        )),
    });
}

/// `vault_generic_endpoint` for a user of userpass and a login, as its documentation has it.
pub(super) async fn generic(api: &Api, state: &mut State, accessor: &Value) {
    let at = "auth/tf-userpass/users/ann";
    let user = json!({ "policies": ["tf"], "password": "changeme" });
    write(api, at, &user).await.expect(204);
    // Told to ignore absent fields, it compares what is shown: not the field's older name.
    let shown = json!({ "token_policies": ["tf"] });
    state.keep(
        "vault_generic_endpoint.ann",
        vec![read(at, shown)],
        (Method::DELETE, at.into()),
    );
    let login = json!({ "password": "changeme" });
    write(api, "auth/tf-userpass/login/ann", &login)
        .await
        .expect(200);
    let look = json!({ "alias_name": "ann", "alias_mount_accessor": accessor });
    let found = write(api, "identity/lookup/entity", &look)
        .await
        .expect(200);
    found.field("id");
}
