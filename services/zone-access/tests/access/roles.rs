//! Token roles.

use std::time::Duration;

use zone_access::{
    AccessError, CreateToken, Created, Operation, RoleChange, RoleKind, TokenKind, TokenRole,
};
use zone_testkit::Lab;
use zone_types::Secret;

use crate::common::{ask, ask_for, ask_ttl, create, create_at, lives, root_at, said};

fn texts(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|text| (*text).to_owned()).collect())
}

/// A role that gives these policies.
fn gives(policies: &[&str]) -> RoleChange {
    RoleChange {
        allowed_policies: texts(policies),
        ..RoleChange::default()
    }
}

/// `by` writes the role.
pub(crate) async fn write_by(
    lab: &Lab,
    by: &Secret<String>,
    name: &str,
    change: &RoleChange,
) -> Result<(), AccessError> {
    let path = format!("auth/token/roles/{name}");
    let permit = lab.permit_of(by, Operation::Update, &path).await.unwrap();
    lab.access.write_token_role(&permit, name, change).await
}

/// Root writes the role.
pub(crate) async fn write(lab: &Lab, name: &str, change: &RoleChange) -> Result<(), AccessError> {
    write_by(lab, &lab.root, name, change).await
}

async fn read(lab: &Lab, name: &str) -> Option<TokenRole> {
    let permit = root_at(lab, "auth/token/roles/x").await;
    lab.access.token_role(&permit, name).await.unwrap()
}

/// `by` makes a token by the role `ci`.
async fn by_role(lab: &Lab, by: &Secret<String>, ask: CreateToken) -> Result<Created, AccessError> {
    create_at(lab, by, "create/ci", ask).await
}

/// A zone and a token that may make tokens by roles, and has nothing else.
async fn lab() -> (Lab, Created) {
    let lab = Lab::new().await;
    let text = r#"path "auth/token/create/*" { capabilities = ["update"] }"#;
    lab.policy("user", text).await;
    let user = lab.token(&["user"]).await;
    (lab, user)
}

#[tokio::test]
async fn a_role_is_written_changed_listed_and_removed() {
    let (lab, _) = lab().await;
    let first = RoleChange {
        allowed_policies: texts(&[" App ", "app", "web"]),
        period: Some(60),
        bound_cidrs: texts(&["10.0.0.0/8"]),
        ..RoleChange::default()
    };
    write(&lab, " CI ", &first).await.unwrap();
    let second = RoleChange {
        path_suffix: Some("Suffix.1".into()),
        token_type: Some(RoleKind::Service),
        ..RoleChange::default()
    };
    write(&lab, "ci", &second).await.unwrap();
    write(&lab, "a", &RoleChange::default()).await.unwrap();
    let role = read(&lab, "Ci").await.unwrap();
    assert_eq!(role.allowed_policies, ["app", "web"]);
    assert_eq!((role.period, role.name.as_str()), (60, "ci"));
    assert_eq!(role.path_suffix, "Suffix.1");
    assert_eq!(role.token_type, RoleKind::Service);
    assert!(role.renewable && !role.orphan);
    let lab = lab.reopen().await;
    assert_eq!(read(&lab, "ci").await.unwrap(), role, "as it was stored");
    let permit = root_at(&lab, "auth/token/roles").await;
    assert_eq!(lab.access.token_roles(&permit).await.unwrap(), ["a", "ci"]);
    lab.access.delete_token_role(&permit, "CI").await.unwrap();
    lab.access.delete_token_role(&permit, "ci").await.unwrap();
    assert_eq!(lab.access.token_roles(&permit).await.unwrap(), ["a"]);
    let refused = said(by_role(&lab, &lab.root, ask()).await);
    assert_eq!(refused, "unknown role");
}

#[tokio::test]
async fn a_wrong_role_is_refused_by_field() {
    let (lab, _) = lab().await;
    let refused = async |change: RoleChange| said(write(&lab, "ci", &change).await);
    let bad = RoleChange {
        path_suffix: Some("a/b".into()),
        ..RoleChange::default()
    };
    assert!(refused(bad).await.starts_with("path_suffix"));
    let bad = RoleChange {
        bound_cidrs: texts(&["10.0.0.0/33"]),
        ..RoleChange::default()
    };
    assert!(refused(bad).await.starts_with("token_bound_cidrs"));
    assert!(refused(gives(&["a*"])).await.contains("policy name"));
    let wraps = refused(gives(&["response-wrapping"])).await;
    assert!(wraps.contains("cannot be assigned"), "{wraps}");
    let wide = vec!["x".repeat(100); 1];
    let many = (0..200).map(|at| format!("{at}-{}", wide[0])).collect();
    let big = RoleChange {
        allowed_policies: Some(many),
        ..RoleChange::default()
    };
    assert!(refused(big).await.contains("16 KiB"));
    for name in ["", "a/b", "-", "ä"] {
        let said = said(
            write(&lab, "x", &RoleChange::default())
                .await
                .and_then(|()| zone_access::role_name(name).map(|_| ())),
        );
        assert!(said.starts_with("a token role's name"), "{name}");
    }
    assert_eq!(read(&lab, "ci").await, None);
}

#[tokio::test]
async fn a_role_gives_its_policies_to_whoever_may_use_it() {
    let (lab, user) = lab().await;
    let change = RoleChange {
        allowed_policies_glob: texts(&["team-*"]),
        disallowed_policies: texts(&["team-b"]),
        ..gives(&["app", "web"])
    };
    write(&lab, "ci", &change).await.unwrap();
    let all = by_role(&lab, &user.text, ask()).await.unwrap();
    assert_eq!(all.entry.record.policies, ["app", "default", "web"]);
    assert_eq!(all.entry.record.path, "auth/token/create/ci");
    assert_eq!(all.entry.record.role.as_deref(), Some("ci"));
    assert_eq!(all.entry.record.parent, Some(user.entry.id.clone()));
    let some = by_role(&lab, &user.text, ask_for(&["Team-a"])).await;
    assert_eq!(some.unwrap().entry.record.policies, ["default", "team-a"]);
    let bare = CreateToken {
        no_default_policy: true,
        ..ask_for(&["app", "default"])
    };
    let bare = by_role(&lab, &user.text, bare).await.unwrap();
    assert_eq!(bare.entry.record.policies, ["app"]);
    for (wanted, want) in [
        ("user", "token policies must be subset of the role's"),
        ("team-b", "a token policy is disallowed by this role"),
        ("root", "token policies must be subset of the role's"),
    ] {
        let refused = said(by_role(&lab, &user.text, ask_for(&[wanted])).await);
        assert!(refused.starts_with(want), "{refused}");
    }
}

#[tokio::test]
async fn a_role_without_policies_gives_none() {
    let (lab, user) = lab().await;
    let change = RoleChange {
        disallowed_policies_glob: texts(&["def*", "secret"]),
        ..RoleChange::default()
    };
    write(&lab, "ci", &change).await.unwrap();
    let same = by_role(&lab, &user.text, ask()).await.unwrap();
    assert_eq!(same.entry.record.policies, ["user"], "without default");
    let refused = said(by_role(&lab, &user.text, ask_for(&["app"])).await);
    assert_eq!(refused, "child policies must be subset of parent");
    let refused = said(by_role(&lab, &lab.root, ask_for(&["secret"])).await);
    assert_eq!(refused, "a token policy is disallowed by this role");
}

#[tokio::test]
async fn a_role_shapes_its_tokens() {
    let (lab, user) = lab().await;
    let change = RoleChange {
        orphan: Some(true),
        renewable: Some(false),
        explicit_max_ttl: Some(600),
        num_uses: Some(3),
        no_default_policy: Some(true),
        path_suffix: Some("v1".into()),
        bound_cidrs: texts(&["10.0.0.0/8"]),
        ..gives(&["app"])
    };
    write(&lab, "ci", &change).await.unwrap();
    let wanted = CreateToken {
        num_uses: 9,
        ..ask_ttl(3600)
    };
    let made = by_role(&lab, &user.text, wanted).await.unwrap();
    let record = &made.entry.record;
    assert!(record.orphan() && !record.renewable);
    assert_eq!((record.creation_ttl, record.explicit_max_ttl), (600, 600));
    assert_eq!(record.num_uses, 3);
    assert_eq!(record.policies, ["app"]);
    assert_eq!(record.path, "auth/token/create/ci/v1");
    assert_eq!(record.bound_cidrs, ["10.0.0.0/8"]);
    let outside = CreateToken {
        bound_cidrs: vec!["192.0.2.0/24".into()],
        ..ask()
    };
    let refused = said(by_role(&lab, &lab.root, outside).await);
    assert!(refused.starts_with("bound_cidrs must lie within"));
    lab.access.revoke_token(&user.entry.id).await.unwrap();
    assert!(lives(&lab, &made).await, "it has no parent");
}

#[tokio::test]
async fn a_renewal_asks_the_role_anew() {
    let (lab, user) = lab().await;
    let periodic = RoleChange {
        period: Some(60),
        ..gives(&["app"])
    };
    write(&lab, "ci", &periodic).await.unwrap();
    let made = by_role(&lab, &user.text, ask()).await.unwrap();
    assert_eq!(made.entry.record.period, 60);
    let longer = RoleChange {
        period: Some(90),
        ..RoleChange::default()
    };
    write(&lab, "ci", &longer).await.unwrap();
    let permit = root_at(&lab, "auth/token/renew").await;
    lab.clock.advance(Duration::from_secs(10));
    let renewed = lab.access.renew_token(&permit, &made.entry, 0).await;
    let renewed = renewed.unwrap();
    assert_eq!(renewed.record.ttl(lab.access.now().unwrap()), 90);
    lab.access.delete_token_role(&permit, "ci").await.unwrap();
    let refused = said(lab.access.renew_token(&permit, &made.entry, 0).await);
    assert_eq!(
        refused,
        "original token role could not be found, not renewing"
    );
    assert!(lives(&lab, &made).await);
}

/// A token that may write roles, but without sudo.
async fn writer(lab: &Lab, more: &[&str]) -> Created {
    let text = r#"path "auth/token/roles/*" { capabilities = ["update", "delete"] }"#;
    lab.policy("writer", text).await;
    let secret = r#"path "secret/*" { capabilities = ["read"] }"#;
    lab.policy("held", secret).await;
    lab.policy("lacked", r#"path "other/*" { capabilities = ["read"] }"#)
        .await;
    let mut policies = vec!["writer", "held"];
    policies.extend(more);
    lab.token(&policies).await
}

#[tokio::test]
async fn attack_8_a_role_gives_no_more_than_its_writer_holds() {
    let (lab, _) = lab().await;
    let by = writer(&lab, &[]).await;
    let default = RoleChange::default;
    write_by(&lab, &by.text, "ci", &gives(&["held"]))
        .await
        .unwrap();
    write_by(&lab, &by.text, "ci", &gives(&["default"]))
        .await
        .unwrap();
    write_by(&lab, &by.text, "none", &default()).await.unwrap();
    let orphan = RoleChange {
        orphan: Some(true),
        ..default()
    };
    let periodic = RoleChange {
        period: Some(60),
        ..default()
    };
    let glob = RoleChange {
        allowed_policies_glob: texts(&["held*"]),
        ..default()
    };
    let alias = RoleChange {
        allowed_entity_aliases: texts(&["ann"]),
        ..default()
    };
    for wide in [
        gives(&["lacked"]),
        gives(&[" Root "]),
        gives(&["held", "written-later"]),
        orphan,
        periodic,
        glob,
        alias,
    ] {
        let refused = write_by(&lab, &by.text, "ci", &wide).await;
        assert!(matches!(refused, Err(AccessError::Denied(_))), "{wide:?}");
    }
    let role = read(&lab, "ci").await.unwrap();
    assert_eq!(role.allowed_policies, ["default"]);
}

#[tokio::test]
async fn attack_8_a_role_that_gives_more_already_cannot_be_bent() {
    let (lab, _) = lab().await;
    let by = writer(&lab, &[]).await;
    let change = RoleChange {
        disallowed_policies: texts(&["held"]),
        ..gives(&["lacked"])
    };
    write(&lab, "ci", &change).await.unwrap();
    let bend = RoleChange {
        disallowed_policies: texts(&[]),
        ..RoleChange::default()
    };
    let refused = write_by(&lab, &by.text, "ci", &bend).await;
    assert!(matches!(refused, Err(AccessError::Denied(_))));
}

#[tokio::test]
async fn attack_8_a_role_does_not_leave_out_the_policy_that_denies() {
    let (lab, _) = lab().await;
    lab.policy("deny", r#"path "secret/x" { capabilities = ["deny"] }"#)
        .await;
    let by = writer(&lab, &["deny"]).await;
    for policies in [&["held"][..], &["held", "deny"]] {
        let refused = write_by(&lab, &by.text, "ci", &gives(policies)).await;
        assert!(
            matches!(refused, Err(AccessError::Denied(_))),
            "any subset can be asked for"
        );
    }
}

#[tokio::test]
async fn attack_8_a_bound_writer_writes_bound_roles() {
    let (lab, _) = lab().await;
    writer(&lab, &[]).await;
    let bound = CreateToken {
        bound_cidrs: vec!["10.0.0.0/8".into()],
        ..ask_for(&["writer", "held"])
    };
    let by = create(&lab, &lab.root, bound).await.unwrap();
    let path = zone_types::RequestPath::from_text("auth/token/roles/ci").unwrap();
    let ask = zone_access::Ask {
        token: Some(&by.text),
        path: &path,
        operation: Operation::Update,
        data: None,
        remote: Some([10, 0, 0, 1].into()),
        wrap_ttl: None,
    };
    let permit = lab.access.authorize(ask).await.unwrap();
    for (cidrs, allowed) in [
        (&[][..], false),
        (&["0.0.0.0/0"], false),
        (&["10.1.0.0/16", "192.0.2.1"], false),
        (&["10.1.0.0/16"], true),
    ] {
        let change = RoleChange {
            bound_cidrs: texts(cidrs),
            ..gives(&["held"])
        };
        let written = lab.access.write_token_role(&permit, "ci", &change).await;
        assert_eq!(written.is_ok(), allowed, "{cidrs:?}");
    }
}

#[tokio::test]
async fn attack_8_only_root_gets_root_by_a_role() {
    let (lab, user) = lab().await;
    write(&lab, "ci", &gives(&["root"])).await.unwrap();
    let refused = said(by_role(&lab, &user.text, ask()).await);
    assert!(refused.starts_with("root tokens may not"), "{refused}");
    let privileged = CreateToken {
        no_parent: true,
        ..ask_for(&["app"])
    };
    write(&lab, "ci", &gives(&["app"])).await.unwrap();
    let refused = by_role(&lab, &user.text, privileged).await;
    assert!(matches!(refused, Err(AccessError::Denied(_))));
}

#[tokio::test]
async fn two_writers_of_one_role_lose_nothing() {
    let (lab, _) = lab().await;
    let suffix = RoleChange {
        path_suffix: Some("x".into()),
        ..RoleChange::default()
    };
    let uses = RoleChange {
        num_uses: Some(5),
        ..RoleChange::default()
    };
    let both = tokio::join!(write(&lab, "ci", &suffix), write(&lab, "ci", &uses));
    assert!(both.0.is_ok() && both.1.is_ok());
    let role = read(&lab, "ci").await.unwrap();
    assert_eq!((role.path_suffix.as_str(), role.num_uses), ("x", 5));
}

#[tokio::test]
async fn a_role_chooses_the_kind_of_its_tokens() {
    let (lab, user) = lab().await;
    use {RoleKind as R, TokenKind as T};
    for (role, asked, want) in [
        (R::Service, Some(T::Batch), T::Service),
        (R::DefaultService, None, T::Service),
        (R::DefaultService, Some(T::Batch), T::Batch),
        (R::DefaultBatch, None, T::Batch),
        (R::DefaultBatch, Some(T::Service), T::Service),
        (R::Batch, Some(T::Service), T::Batch),
    ] {
        let change = RoleChange {
            token_type: Some(role),
            orphan: Some(true),
            renewable: Some(false),
            ..gives(&["app"])
        };
        write(&lab, "ci", &change).await.unwrap();
        let wanted = CreateToken {
            kind: asked,
            ..ask()
        };
        let made = by_role(&lab, &user.text, wanted).await.unwrap();
        assert_eq!(made.entry.kind, want, "{role:?} {asked:?}");
    }
}

#[tokio::test]
async fn a_role_for_batch_tokens_asks_for_nothing_that_they_are_not() {
    let (lab, _) = lab().await;
    let batch = || RoleChange {
        token_type: Some(RoleKind::Batch),
        orphan: Some(true),
        renewable: Some(false),
        ..RoleChange::default()
    };
    let unfit = [
        RoleChange {
            orphan: Some(false),
            ..batch()
        },
        RoleChange {
            renewable: Some(true),
            ..batch()
        },
        RoleChange {
            period: Some(1),
            ..batch()
        },
        RoleChange {
            explicit_max_ttl: Some(1),
            ..batch()
        },
        RoleChange {
            num_uses: Some(1),
            ..batch()
        },
    ];
    for change in unfit {
        let refused = said(write(&lab, "ci", &change).await);
        assert!(refused.starts_with("'token_type' cannot be 'batch'"));
    }
    write(&lab, "ci", &batch()).await.unwrap();
}
