//! Attack 8: nobody grants what he lacks, neither by a token nor by a policy.

use crate::common::{MAKER, ask, ask_for, ask_ttl, child, create, create_at, lives, root_at, said};
use std::time::Duration;
use zone_access::{AccessError, CreateToken, Created, MountKind, Operation};
use zone_testkit::Lab;
use zone_types::Secret;

/// A token that may make tokens and holds `app` beside.
async fn maker(lab: &Lab) -> Created {
    lab.policy("maker", MAKER).await;
    lab.policy("app", r#"path "secret/app/*" { capabilities = ["read"] }"#)
        .await;
    lab.token(&["maker", "app"]).await
}

const SUBSET: &str = "child policies must be subset of parent";

#[tokio::test]
async fn attack_8_policies_of_a_child_are_a_subset_of_its_parents() {
    let lab = Lab::new().await;
    let by = maker(&lab).await;
    for policies in [&["ops"][..], &["app", "ops"], &["default", "\tOPS "]] {
        let refused = said(create(&lab, &by.text, ask_for(policies)).await);
        assert_eq!(refused, SUBSET, "{policies:?}");
    }
    let fewer = create(&lab, &by.text, ask_for(&[" APP "])).await.unwrap();
    assert_eq!(fewer.entry.record.policies, ["app", "default"]);
    // What a policy says later is not what its holder granted; the name is what he holds.
    let with_sudo = r#"path "auth/token/create" { capabilities = ["update", "sudo"] }"#;
    lab.policy("boss", with_sudo).await;
    let boss = lab.token(&["boss"]).await;
    let more = create(&lab, &boss.text, ask_for(&["ops"])).await.unwrap();
    assert_eq!(more.entry.record.policies, ["default", "ops"]);
}

#[tokio::test]
async fn attack_8_root_in_any_spelling_comes_from_root_alone() {
    let lab = Lab::new().await;
    let by = maker(&lab).await;
    let with_sudo = r#"path "auth/token/create" { capabilities = ["update", "sudo"] }"#;
    lab.policy("boss", with_sudo).await;
    let boss = lab.token(&["boss"]).await;
    let spellings = [
        "root",
        " Root",
        "ROOT",
        "root\n",
        "\u{2003}rOOt\u{a0}",
        "\t root \u{3000}",
    ];
    for text in spellings {
        for token in [&by, &boss] {
            let refused = said(create(&lab, &token.text, ask_for(&["app", text])).await);
            let want = "root tokens may not be created without parent token being root";
            assert_eq!(refused, want, "{text:?}");
        }
        let root = create(&lab, &lab.root, ask_for(&["app", text])).await;
        assert_eq!(root.unwrap().entry.record.policies, ["root"], "{text:?}");
    }
}

#[tokio::test]
async fn attack_8_default_is_not_given_by_who_lacks_it() {
    let lab = Lab::new().await;
    lab.policy("maker", MAKER).await;
    let bare = CreateToken {
        no_default_policy: true,
        ..ask_for(&["maker"])
    };
    let bare = create(&lab, &lab.root, bare).await.unwrap();
    assert_eq!(bare.entry.record.policies, ["maker"]);
    let asked = said(create(&lab, &bare.text, ask_for(&["default"])).await);
    assert_eq!(asked, SUBSET);
    let silent = create(&lab, &bare.text, ask_for(&["maker"])).await.unwrap();
    assert_eq!(silent.entry.record.policies, ["maker"]);
}

#[tokio::test]
async fn attack_8_a_child_does_not_lose_the_policy_that_holds_its_parent_back() {
    let lab = Lab::new().await;
    lab.policy("maker", MAKER).await;
    lab.policy(
        "wide",
        r#"path "secret/*" { capabilities = ["read", "update"] }"#,
    )
    .await;
    lab.policy(
        "deny",
        r#"path "secret/admin/*" { capabilities = ["deny"] }"#,
    )
    .await;
    lab.policy(
        "less",
        r#"path "secret/admin/*" { capabilities = ["read"] }"#,
    )
    .await;
    lab.policy(
        "same",
        r#"path "secret/x" { capabilities = ["read", "update"] }"#,
    )
    .await;
    for holding in ["deny", "less"] {
        let by = lab.token(&["maker", "wide", holding, "same"]).await;
        let refused = said(create(&lab, &by.text, ask_for(&["wide"])).await);
        assert!(refused.starts_with("child policies give more"), "{refused}");
        create(&lab, &by.text, ask_for(&["wide", holding]))
            .await
            .unwrap();
        create(&lab, &by.text, ask_for(&[holding, "same"]))
            .await
            .unwrap();
        create(&lab, &by.text, ask()).await.unwrap();
    }
}

#[tokio::test]
async fn attack_8_what_takes_sudo_takes_it() {
    let lab = Lab::new().await;
    let by = maker(&lab).await;
    let id = CreateToken {
        id: Some(Secret::new("mine".into())),
        ..ask()
    };
    let orphan = CreateToken {
        no_parent: true,
        ..ask()
    };
    let periodic = CreateToken {
        period: 60,
        ..ask()
    };
    for wanted in [id, orphan, periodic] {
        let refused = create(&lab, &by.text, wanted).await;
        assert!(
            matches!(refused, Err(AccessError::Denied(_))),
            "{refused:?}"
        );
    }
    let at = "auth/token/create-orphan";
    let refused = lab.permit_of(&by.text, Operation::Update, at).await;
    assert_eq!(refused.unwrap_err().reason, "the endpoint needs sudo");
    let orphan = create_at(&lab, &lab.root, "create-orphan", ask_for(&["app"])).await;
    assert!(orphan.unwrap().entry.record.orphan());
}

#[tokio::test]
async fn attack_8_a_token_with_limited_uses_has_no_children() {
    let lab = Lab::new().await;
    lab.policy("maker", MAKER).await;
    for uses in [1, 2, 5] {
        let wanted = CreateToken {
            num_uses: uses,
            ..ask_for(&["maker"])
        };
        let by = create(&lab, &lab.root, wanted).await.unwrap();
        let refused = said(create(&lab, &by.text, ask()).await);
        assert_eq!(refused, "restricted use token cannot generate child tokens");
    }
}

#[tokio::test]
async fn attack_8_root_that_expires_makes_no_root_without_end() {
    let lab = Lab::new().await;
    let short = create(&lab, &lab.root, ask_ttl(3600)).await.unwrap();
    assert!(short.entry.record.is_root());
    let want = "expiring root tokens cannot create non-expiring root tokens";
    for rest in ["create", "create-orphan"] {
        let refused = said(create_at(&lab, &short.text, rest, ask()).await);
        assert_eq!(refused, want);
    }
    let wanted = CreateToken {
        explicit_max_ttl: 60,
        ..ask()
    };
    let ends = create(&lab, &short.text, wanted).await.unwrap();
    assert_eq!(ends.entry.record.creation_ttl, 60);
    let periodic = CreateToken {
        period: 60,
        ..ask()
    };
    let periodic = create(&lab, &short.text, periodic).await.unwrap();
    assert!(periodic.entry.record.expire_time.is_some());
    lab.clock.advance(Duration::from_secs(3600));
    assert!(!lives(&lab, &periodic).await);
}

#[tokio::test]
async fn attack_8_addresses_of_a_child_lie_within_its_parents() {
    let lab = Lab::new().await;
    // Permits in these tests come from nowhere, so the parent's record is set up by its own
    // policies: root makes a token that is bound, and asks for it with an address.
    lab.policy("maker", MAKER).await;
    let wanted = CreateToken {
        bound_cidrs: vec!["10.0.0.0/8".into(), "::1".into()],
        ..ask_for(&["maker"])
    };
    let by = create(&lab, &lab.root, wanted).await.unwrap();
    let path = zone_types::RequestPath::from_text("auth/token/create").unwrap();
    let make = async |cidrs: &[&str]| {
        let ask = zone_access::Ask {
            token: Some(&by.text),
            path: &path,
            operation: Operation::Update,
            data: None,
            remote: Some([10, 0, 0, 1].into()),
            wrap_ttl: None,
        };
        let permit = lab.access.authorize(ask).await.unwrap();
        let wanted = CreateToken {
            bound_cidrs: cidrs.iter().map(|cidr| (*cidr).to_owned()).collect(),
            ..ask_for(&[])
        };
        lab.access.create_token(&permit, wanted).await
    };
    let silent = make(&[]).await.unwrap();
    assert_eq!(silent.entry.record.bound_cidrs, ["10.0.0.0/8", "::1"]);
    let narrow = make(&["10.2.0.0/16"]).await.unwrap();
    assert_eq!(narrow.entry.record.bound_cidrs, ["10.2.0.0/16"]);
    for wide in [
        &["0.0.0.0/0"][..],
        &["10.0.0.0/7"],
        &["10.2.0.0/16", "::/64"],
    ] {
        let refused = said(make(wide).await);
        assert_eq!(
            refused,
            "bound_cidrs must lie within those of the parent, or of the role"
        );
    }
}

/// A token that may write policies below `team-` and reads `secret/`, and what `held` says.
async fn author(lab: &Lab, held: &str) -> Created {
    lab.mount(MountKind::Kv, "secret").await;
    let rules = r#"path "sys/policies/acl/*" { capabilities = ["update", "delete"] }
        path "secret/*" { capabilities = ["read"] }"#;
    lab.policy("author", rules).await;
    lab.policy("held", held).await;
    lab.token(&["author", "held"]).await
}

async fn write(lab: &Lab, by: &Created, name: &str, text: &str) -> Result<(), AccessError> {
    let path = format!("sys/policies/acl/{name}");
    let permit = lab.permit_of(&by.text, Operation::Update, &path).await;
    lab.access.write_policy(&permit.unwrap(), name, text).await
}

async fn delete(lab: &Lab, by: &Created, name: &str) -> Result<(), AccessError> {
    let path = format!("sys/policies/acl/{name}");
    let permit = lab.permit_of(&by.text, Operation::Delete, &path).await;
    lab.access.delete_policy(&permit.unwrap(), name).await
}

#[tokio::test]
async fn attack_8_who_writes_policies_writes_only_what_he_holds() {
    let lab = Lab::new().await;
    let by = author(&lab, "").await;
    let covered = r#"path "secret/team/*" { capabilities = ["read"] }"#;
    write(&lab, &by, "team", covered).await.unwrap();
    let more = [
        r#"path "secret/team/*" { capabilities = ["read", "update"] }"#,
        r#"path "*" { capabilities = ["sudo"] }"#,
        r#"path "sys/seal" { capabilities = ["update", "sudo"] }"#,
        r#"path "+/team/x" { capabilities = ["read"] }"#,
    ];
    for text in more {
        for name in ["team", "author", "new"] {
            let refused = said(write(&lab, &by, name, text).await);
            assert!(refused.contains("needs sudo"), "{name}: {refused}");
        }
    }
    let root = root_at(&lab, "sys/policies/acl/team").await;
    lab.access
        .write_policy(&root, "team", more[1])
        .await
        .unwrap();
}

#[tokio::test]
async fn attack_8_a_denial_is_taken_away_only_with_sudo() {
    let lab = Lab::new().await;
    let deny = r#"path "secret/admin/*" { capabilities = ["deny"] }"#;
    let by = author(&lab, "").await;
    lab.policy("others", deny).await;
    for name in ["others"] {
        for text in [
            "",
            r#"path "secret/admin/*" { capabilities = ["read"] }"#,
            r#"path "secret/admin/x" { capabilities = ["deny"] }"#,
        ] {
            let refused = said(write(&lab, &by, name, text).await);
            assert!(refused.contains("a rule that denies"), "{refused}");
        }
        let refused = said(delete(&lab, &by, name).await);
        assert!(refused.contains("a rule that denies"), "{refused}");
    }
    let longer = format!("{deny}\npath \"secret/x\" {{ capabilities = [\"read\"] }}");
    write(&lab, &by, "others", &longer).await.unwrap();
    let root = lab
        .permit(Operation::Delete, "sys/policies/acl/others")
        .await;
    lab.access.delete_policy(&root, "others").await.unwrap();
}

#[tokio::test]
async fn attack_8_nobody_takes_off_what_holds_him_back() {
    let lab = Lab::new().await;
    // Narrower than what `author` gives, so it holds back.
    let held = r#"path "secret/admin/*" { capabilities = ["list"] }"#;
    let by = author(&lab, held).await;
    let refused = said(delete(&lab, &by, "held").await);
    assert!(refused.contains("you would hold more"), "{refused}");
    let refused = said(write(&lab, &by, "held", "").await);
    assert!(refused.contains("you would hold more"), "{refused}");
    // The same policy in a place where it holds nobody back can go.
    lab.policy("spare", held).await;
    delete(&lab, &by, "spare").await.unwrap();
    write(&lab, &by, "team", "").await.unwrap();
    // An own policy that only gives can go too.
    let give = r#"path "secret/x/*" { capabilities = ["read"] }"#;
    lab.policy("give", give).await;
    let other = lab.token(&["author", "give"]).await;
    delete(&lab, &other, "give").await.unwrap();
    assert!(child(&lab, &lab.root).await.entry.record.is_root());
}
