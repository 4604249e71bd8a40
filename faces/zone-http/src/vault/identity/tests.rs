//! Vault's shapes of identity: status, header fields and body of each endpoint. What the calls do
//! is proven in `zone-access`.

use serde_json::{Value, json};

use crate::testing::{Bench, Shown};

const NONE: Value = Value::Null;
const TIME: &str = "2026-11-18T09:46:40Z";

async fn call(bench: &Bench, method: &str, path: &str, body: Value) -> Shown {
    let shown = bench.root(method, &format!("identity/{path}"), body).await;
    assert_eq!(shown.field("cache-control"), Some("no-store"), "{path}");
    if shown.status != 204 {
        assert_eq!(shown.field("content-type"), Some("application/json"));
    }
    shown
}

/// `data` of a 200.
async fn data(bench: &Bench, method: &str, path: &str, body: Value) -> Value {
    let shown = call(bench, method, path, body).await;
    assert_eq!(shown.status, 200, "{method} {path}: {shown:?}");
    shown.json()["data"].clone()
}

async fn status(bench: &Bench, method: &str, path: &str, body: Value) -> u16 {
    call(bench, method, path, body).await.status
}

async fn refused(bench: &Bench, method: &str, path: &str, body: Value) -> String {
    let shown = call(bench, method, path, body).await;
    format!("{} {}", shown.status, shown.json()["errors"])
}

fn id(data: &Value) -> String {
    data["id"].as_str().unwrap().to_owned()
}

async fn entity(bench: &Bench, name: &str) -> String {
    id(&data(bench, "POST", "entity", json!({ "name": name })).await)
}

fn accessor(bench: &Bench) -> String {
    let mount = bench.zone.system.access().token_mount().unwrap();
    mount.accessor.clone()
}

#[tokio::test]
async fn an_entity_is_made_read_changed_and_deleted() {
    let bench = Bench::new().await;
    let ask = json!({ "name": "Ada", "policies": "b, A", "metadata": { "team": "blue" } });
    let made = data(&bench, "POST", "entity", ask).await;
    let ada = id(&made);
    assert_eq!(made, json!({ "id": ada, "name": "Ada", "aliases": null }));
    let expected = json!({
        "aliases": [],
        "creation_time": TIME,
        "direct_group_ids": [],
        "disabled": false,
        "group_ids": [],
        "id": ada,
        "inherited_group_ids": [],
        "last_update_time": TIME,
        "merged_entity_ids": null,
        "metadata": { "team": "blue" },
        "name": "Ada",
        "namespace_id": "root",
        "policies": ["a", "b"],
    });
    for path in [format!("entity/id/{ada}"), "entity/name/aDA".to_owned()] {
        assert_eq!(data(&bench, "GET", &path, NONE).await, expected, "{path}");
        let off = json!({ "disabled": "true" });
        assert_eq!(status(&bench, "PUT", &path, off).await, 204);
        let read = data(&bench, "GET", &path, NONE).await;
        assert_eq!(read["disabled"], true);
        let on = json!({ "id": ada, "disabled": false });
        assert_eq!(status(&bench, "POST", "entity", on).await, 204);
    }
    let info = json!({ "keys": [ada], "key_info": { &ada: { "name": "Ada" } } });
    for (method, path) in [("LIST", "entity/id"), ("GET", "entity/id?list=true")] {
        assert_eq!(data(&bench, method, path, NONE).await, info);
    }
    let by_name = data(&bench, "LIST", "entity/name", NONE).await;
    assert_eq!(by_name["keys"], json!(["Ada"]));
    assert_eq!(status(&bench, "DELETE", "entity/name/ada", NONE).await, 204);
    for path in [format!("entity/id/{ada}"), "entity/name/Ada".to_owned()] {
        assert_eq!(refused(&bench, "GET", &path, NONE).await, "404 []");
        assert_eq!(
            status(&bench, "DELETE", &path, NONE).await,
            204,
            "as in Vault"
        );
    }
    assert_eq!(refused(&bench, "LIST", "entity/id", NONE).await, "404 []");
    let two = [entity(&bench, "a").await, entity(&bench, "b").await];
    let all = json!({ "entity_ids": two });
    assert_eq!(
        status(&bench, "POST", "entity/batch-delete", all).await,
        204
    );
    assert_eq!(status(&bench, "LIST", "entity/name", NONE).await, 404);
    // A name without a body makes one too.
    let made = data(&bench, "POST", "entity/name/team/x", NONE).await;
    assert_eq!(made["name"], "team/x");
}

#[tokio::test]
async fn an_alias_is_made_read_changed_and_deleted() {
    let bench = Bench::new().await;
    let (ada, at) = (entity(&bench, "ada").await, accessor(&bench));
    let ask = json!({ "name": "Ada@x", "canonical_id": ada, "mount_accessor": at });
    let made = data(&bench, "POST", "entity-alias", ask.clone()).await;
    let alias = id(&made);
    assert_eq!(made, json!({ "id": alias, "canonical_id": ada }));
    assert_eq!(
        status(&bench, "POST", "entity-alias", ask).await,
        204,
        "the same again"
    );
    let path = format!("entity-alias/id/{alias}");
    let change = json!({ "custom_metadata": { "rack": "r7" } });
    let changed = data(&bench, "POST", &path, change).await;
    assert_eq!(changed, made);
    let expected = json!({
        "canonical_id": ada,
        "creation_time": TIME,
        "custom_metadata": { "rack": "r7" },
        "id": alias,
        "last_update_time": TIME,
        "local": false,
        "merged_from_canonical_ids": null,
        "metadata": null,
        "mount_accessor": at,
        "mount_path": "auth/token/",
        "mount_type": "token",
        "name": "Ada@x",
        "namespace_id": "root",
    });
    assert_eq!(data(&bench, "GET", &path, NONE).await, expected);
    let listed = data(&bench, "LIST", "entity-alias/id", NONE).await;
    assert_eq!(listed["keys"], json!([alias]));
    assert_eq!(listed["key_info"][&alias]["mount_path"], "auth/token/");
    let entities = data(&bench, "LIST", "entity/id", NONE).await;
    let brief = &entities["key_info"][&ada]["aliases"][0];
    assert_eq!(
        (&brief["id"], &brief["mount_type"]),
        (&json!(alias), &json!("token"))
    );
    assert_eq!(status(&bench, "DELETE", &path, NONE).await, 204);
    assert_eq!(refused(&bench, "GET", &path, NONE).await, "404 []");
    assert_eq!(status(&bench, "DELETE", &path, NONE).await, 204);
    // Vault's older name of the same is not there.
    let old = refused(&bench, "POST", "persona", json!({})).await;
    assert!(old.contains("unsupported path"), "{old}");
}

#[tokio::test]
async fn a_group_is_made_read_changed_and_deleted() {
    let bench = Bench::new().await;
    let ada = entity(&bench, "ada").await;
    let inner = id(&data(&bench, "POST", "group", json!({ "name": "inner" })).await);
    let ask = json!({
        "name": "Ops",
        "policies": ["p"],
        "metadata": { "site": "fra" },
        "member_entity_ids": [ada],
        "member_group_ids": inner,
    });
    let made = data(&bench, "POST", "group", ask).await;
    let ops = id(&made);
    assert_eq!(made, json!({ "id": ops, "name": "Ops" }));
    let expected = json!({
        "alias": {},
        "creation_time": TIME,
        "id": ops,
        "last_update_time": TIME,
        "member_entity_ids": [ada],
        "member_group_ids": [inner],
        "metadata": { "site": "fra" },
        "modify_index": 1,
        "name": "Ops",
        "namespace_id": "root",
        "parent_group_ids": null,
        "policies": ["p"],
        "type": "internal",
    });
    for path in [format!("group/id/{ops}"), "group/name/oPS".to_owned()] {
        assert_eq!(data(&bench, "GET", &path, NONE).await, expected, "{path}");
    }
    let below = data(&bench, "GET", &format!("group/id/{inner}"), NONE).await;
    assert_eq!(below["parent_group_ids"], json!([ops]));
    let read = data(&bench, "GET", "entity/name/ada", NONE).await;
    assert_eq!(read["direct_group_ids"], json!([ops]));
    assert_eq!(read["group_ids"], json!([ops]));
    let listed = data(&bench, "LIST", "group/name", NONE).await;
    assert_eq!(listed["keys"], json!(["Ops", "inner"]));
    assert_eq!(listed["key_info"][&ops]["num_member_entities"], 1);
    assert_eq!(listed["key_info"][&inner]["num_parent_groups"], 1);
    let empty = json!({ "member_entity_ids": [], "member_group_ids": [] });
    assert_eq!(
        status(&bench, "POST", &format!("group/id/{ops}"), empty).await,
        204
    );
    let read = data(&bench, "GET", "group/name/ops", NONE).await;
    assert!(read["member_entity_ids"].is_null() && read["member_group_ids"].is_null());
    assert_eq!(read["modify_index"], 2);
    let kind = json!({ "type": "external" });
    assert_eq!(
        refused(&bench, "POST", "group/name/ops", kind).await,
        r#"400 ["group type cannot be changed"]"#
    );
    assert_eq!(status(&bench, "DELETE", "group/name/ops", NONE).await, 204);
    assert_eq!(
        refused(&bench, "GET", "group/name/ops", NONE).await,
        "404 []"
    );
    assert_eq!(status(&bench, "DELETE", "group/name/ops", NONE).await, 204);
}

#[tokio::test]
async fn an_external_group_has_an_alias() {
    let bench = Bench::new().await;
    let at = accessor(&bench);
    let ask = json!({ "name": "ldap", "type": "external" });
    let group = id(&data(&bench, "POST", "group", ask).await);
    let ask = json!({ "name": "cn=ops", "canonical_id": group, "mount_accessor": at });
    let made = data(&bench, "POST", "group-alias", ask.clone()).await;
    let alias = id(&made);
    assert_eq!(made, json!({ "id": alias, "canonical_id": group }));
    let path = format!("group-alias/id/{alias}");
    assert_eq!(
        status(&bench, "POST", &path, ask).await,
        204,
        "the same again"
    );
    let expected = json!({
        "canonical_id": group,
        "creation_time": TIME,
        "id": alias,
        "last_update_time": TIME,
        "merged_from_canonical_ids": null,
        "metadata": null,
        "mount_accessor": at,
        "mount_path": "auth/token/",
        "mount_type": "token",
        "name": "cn=ops",
        "namespace_id": "root",
    });
    assert_eq!(data(&bench, "GET", &path, NONE).await, expected);
    let read = data(&bench, "GET", "group/name/ldap", NONE).await;
    assert_eq!(read["alias"]["name"], "cn=ops");
    let listed = data(&bench, "LIST", "group-alias/id", NONE).await;
    assert_eq!(listed["keys"], json!([alias]));
    let listed = data(&bench, "LIST", "group/id", NONE).await;
    assert_eq!(listed["key_info"][&group]["alias"]["id"], json!(alias));
    assert_eq!(status(&bench, "DELETE", &path, NONE).await, 204);
    assert_eq!(refused(&bench, "GET", &path, NONE).await, "404 []");
    let read = data(&bench, "GET", "group/name/ldap", NONE).await;
    assert_eq!(read["alias"], json!({}));
}

#[tokio::test]
async fn lookups_find_by_one_thing_at_a_time() {
    let bench = Bench::new().await;
    let (ada, at) = (entity(&bench, "ada").await, accessor(&bench));
    let ask = json!({ "name": "x", "canonical_id": ada, "mount_accessor": at });
    let alias = id(&data(&bench, "POST", "entity-alias", ask).await);
    let ask = json!({ "name": "g", "type": "external" });
    let group = id(&data(&bench, "POST", "group", ask).await);
    let ask = json!({ "name": "y", "canonical_id": group, "mount_accessor": at });
    let outer = id(&data(&bench, "POST", "group-alias", ask).await);
    let cases = [
        ("entity", &ada, "ada", &alias, "x"),
        ("group", &group, "G", &outer, "y"),
    ];
    for (kind, own, name, alias, alias_name) in cases {
        let path = format!("lookup/{kind}");
        for by in [
            json!({ "id": own }),
            json!({ "name": name }),
            json!({ "alias_id": alias }),
            json!({ "alias_name": alias_name, "alias_mount_accessor": at }),
        ] {
            assert_eq!(&id(&data(&bench, "POST", &path, by).await), own);
        }
        for by in [
            json!({ "id": "none" }),
            json!({ "name": "none" }),
            json!({ "alias_id": own }),
            json!({ "alias_name": "none", "alias_mount_accessor": at }),
        ] {
            assert_eq!(status(&bench, "POST", &path, by).await, 204);
        }
        for (by, text) in [
            (json!({}), "not supplied"),
            (json!({ "id": own, "name": name }), "conflict"),
            (json!({ "alias_name": "x" }), "both"),
        ] {
            let refused = refused(&bench, "POST", &path, by).await;
            assert!(
                refused.starts_with("400") && refused.contains(text),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn merging_tells_what_is_wrong() {
    let bench = Bench::new().await;
    let (a, b) = (entity(&bench, "a").await, entity(&bench, "b").await);
    for (ask, text) in [
        (
            json!({ "from_entity_ids": a }),
            "missing entity id to merge to",
        ),
        (
            json!({ "to_entity_id": a }),
            "missing entity ids to merge from",
        ),
        (
            json!({ "to_entity_id": a, "from_entity_ids": a }),
            "should not be present",
        ),
        (
            json!({ "to_entity_id": "x", "from_entity_ids": a }),
            "merge to is invalid",
        ),
        (
            json!({ "to_entity_id": a, "from_entity_ids": [b, "x"] }),
            "merge from is invalid",
        ),
    ] {
        let refused = refused(&bench, "POST", "entity/merge", ask).await;
        assert!(
            refused.starts_with("400") && refused.contains(text),
            "{refused}"
        );
    }
    let ask = json!({ "to_entity_id": a, "from_entity_ids": [b], "force": true });
    assert_eq!(status(&bench, "POST", "entity/merge", ask).await, 204);
    let read = data(&bench, "GET", "entity/name/a", NONE).await;
    assert_eq!(read["merged_entity_ids"], json!([b]));
}

#[tokio::test]
async fn mistakes_are_400_and_name_the_field() {
    let bench = Bench::new().await;
    for (path, ask, text) in [
        ("entity", json!({ "metadata": "x" }), "'metadata'"),
        ("entity", json!({ "disabled": "maybe" }), "'disabled'"),
        ("entity", json!({ "policies": { "a": 1 } }), "'policies'"),
        ("entity", json!({ "name": "a\u{0}" }), "'name'"),
        ("entity", json!({ "id": "none" }), "not found from id"),
        ("entity/id/none", json!({}), "not found from id"),
        (
            "entity",
            json!({ "policies": ["ROOT"] }),
            "cannot contain root",
        ),
        ("group", json!({ "type": "cosmic" }), "'type'"),
        (
            "group",
            json!({ "policies": " root" }),
            "cannot contain root",
        ),
        (
            "group",
            json!({ "member_entity_ids": "none" }),
            "'member_entity_ids'",
        ),
        (
            "group",
            json!({ "member_group_ids": ["none"] }),
            "'member_group_ids'",
        ),
        ("entity-alias", json!({ "name": "x" }), "'mount_accessor'"),
        (
            "entity-alias",
            json!({ "name": "x", "mount_accessor": "no" }),
            "'mount_accessor'",
        ),
        (
            "entity-alias/id/none",
            json!({ "name": "x" }),
            "invalid alias ID",
        ),
        ("group-alias", json!({ "name": "x" }), "mount_accessor"),
        ("entity/batch-delete", json!({}), "missing entity ids"),
    ] {
        let refused = refused(&bench, "POST", path, ask.clone()).await;
        assert!(
            refused.starts_with("400") && refused.contains(text),
            "{ask}: {refused}"
        );
    }
}

/// Whoever is behind a token may read himself by the default policy, and nobody else.
#[tokio::test]
async fn a_token_tells_of_its_entity() {
    let bench = Bench::new().await;
    let token = bench
        .token("path \"auth/token/lookup-self\" { capabilities = [\"read\"] }")
        .await;
    let shown = bench
        .by(&token, "GET", "auth/token/lookup-self", NONE)
        .await;
    let told = &shown.json()["data"];
    assert_eq!(told["entity_id"], "");
    assert!(told.get("identity_policies").is_none());
    let ada = entity(&bench, "ada").await;
    let path = format!("identity/entity/id/{ada}");
    assert_eq!(bench.by(&token, "GET", &path, NONE).await.status, 403);
}
