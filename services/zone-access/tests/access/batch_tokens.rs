//! Batch tokens: nothing of them is stored, and yet they end.

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use zone_access::{
    AccessError, Ask, CreateToken, Created, CutOff, LoginGrant, MountKind, NewMount, Operation,
    RefusalKind, RoleChange, TokenKind,
};
use zone_barrier::Batch;
use zone_ports::Key;
use zone_testkit::Lab;
use zone_types::{EntityId, RequestPath, Secret};

use crate::common::{
    MAKER, TokenRecords, ask, ask_for, at_login, create, create_at, records, root_at, said,
};
use crate::roles::write;

fn batch(policies: &[&str]) -> CreateToken {
    CreateToken {
        kind: Some(TokenKind::Batch),
        ..ask_for(policies)
    }
}

async fn made(lab: &Lab, ask: CreateToken) -> Created {
    create(lab, &lab.root, ask).await.unwrap()
}

async fn counts(lab: &Lab, text: &Secret<String>) -> bool {
    lab.access.token(text.expose()).await.unwrap().is_some()
}

async fn cut(lab: &Lab, of: CutOff) {
    let permit = root_at(lab, "auth/token/revoke-batch").await;
    lab.access.cut_off_batch(&permit, of, None).await.unwrap();
}

#[tokio::test]
async fn nothing_of_a_batch_token_is_stored() {
    let lab = Lab::new().await;
    let before = lab.store.applies();
    let token = made(&lab, batch(&["app"])).await;
    assert_eq!(lab.store.applies(), before, "no write");
    let text = token.text.expose();
    assert!(
        text.starts_with("hvb.") && text.len() < 500,
        "{}",
        text.len()
    );
    assert_eq!(token.entry.kind, TokenKind::Batch);
    assert_eq!(token.entry.record.accessor, "");
    assert!(!token.entry.record.renewable);
    let found = lab.access.token(text).await.unwrap().unwrap();
    assert_eq!(found.record, token.entry.record);
    assert_eq!(found.record.policies, ["app", "default"]);
    let again = lab.reopen().await;
    let found = again.access.token(text).await.unwrap().unwrap();
    assert_eq!(found.record, token.entry.record, "also by the next head");
    assert!(!format!("{token:?}").contains(&text[4..]));
}

#[tokio::test]
async fn a_batch_token_is_judged_like_any_other() {
    let lab = Lab::new().await;
    lab.mount(MountKind::Kv, "secret").await;
    lab.policy("app", r#"path "secret/*" { capabilities = ["read"] }"#)
        .await;
    let token = made(&lab, batch(&["app"])).await;
    let at = async |operation, path: &str| lab.permit_of(&token.text, operation, path).await;
    assert!(at(Operation::Read, "secret/data/x").await.is_ok());
    let refused = at(Operation::Update, "secret/data/x").await.unwrap_err();
    assert!(matches!(refused.kind, RefusalKind::Denied));
    let granted = lab.access.capabilities(&token.entry, "secret/data/x").await;
    assert_eq!(granted.unwrap(), ["read"]);
    lab.policy("app", r#"path "secret/*" { capabilities = ["deny"] }"#)
        .await;
    assert!(at(Operation::Read, "secret/data/x").await.is_err());
}

#[tokio::test]
async fn b3_a_bent_batch_token_is_nobodys() {
    let lab = Lab::new().await;
    let token = made(&lab, batch(&["app"])).await;
    let text = token.text.expose().clone();
    for at in 4..text.len() {
        let mut bent = text.clone().into_bytes();
        bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
        let bent = Secret::new(String::from_utf8(bent).unwrap());
        assert!(!counts(&lab, &bent).await, "byte {at}");
    }
    for cut in [4, 5, 40, text.len() - 1] {
        assert!(!counts(&lab, &Secret::new(text[..cut].to_owned())).await);
    }
    for more in ["=", "A", " ", "\n"] {
        assert!(!counts(&lab, &Secret::new(format!("{text}{more}"))).await);
    }
    let long = Secret::new(format!("hvb.{}", "A".repeat(100_000)));
    assert!(!counts(&lab, &long).await);
    assert!(counts(&lab, &token.text).await);
}

#[tokio::test]
async fn b3_a_batch_token_of_another_zone_is_nobodys() {
    let (one, other) = (Lab::new().await, Lab::new().await);
    let token = made(&one, batch(&["app"])).await;
    // Both labs draw the same bytes, so both salts are one: give the other one another.
    assert!(counts(&other, &token.text).await, "what the test stands on");
    let salt = serde_json::json!({ "v": 1, "salt": "11".repeat(32) }).to_string();
    let key = Key::new("core/access/token-salt").unwrap();
    let put = Batch::new().put(key, salt);
    other.barrier.commit(put).await.unwrap();
    other.seal_and_unseal().await;
    assert!(!counts(&other, &token.text).await);
}

#[tokio::test]
async fn no_two_batch_tokens_are_alike() {
    let lab = Lab::new().await;
    let one = made(&lab, batch(&["app"])).await;
    let other = made(&lab, batch(&["app"])).await;
    assert_ne!(one.text.expose(), other.text.expose());
    let heads = |token: &Created| token.text.expose()[4..40].to_owned();
    assert_ne!(heads(&one), heads(&other), "fresh bytes and nonce");
}

#[tokio::test]
async fn a_batch_token_ends_with_its_time() {
    let lab = Lab::new().await;
    let wanted = CreateToken {
        ttl: 60,
        ..batch(&["app"])
    };
    let token = made(&lab, wanted).await;
    lab.clock.advance(Duration::from_secs(59));
    assert!(counts(&lab, &token.text).await);
    lab.clock.advance(Duration::from_secs(1));
    assert!(!counts(&lab, &token.text).await);
    assert!(!counts(&lab.reopen().await, &token.text).await);
}

#[tokio::test]
async fn a_batch_token_ends_with_its_parent_unless_it_is_an_orphan() {
    let lab = Lab::new().await;
    let grandparent = create(&lab, &lab.root, ask()).await.unwrap();
    let parent = create(&lab, &grandparent.text, ask()).await.unwrap();
    let bound = create(&lab, &parent.text, batch(&["app"])).await.unwrap();
    let free = create_at(&lab, &parent.text, "create-orphan", batch(&["app"]))
        .await
        .unwrap();
    assert!(counts(&lab, &bound.text).await && counts(&lab, &free.text).await);
    lab.access
        .revoke_token(&grandparent.entry.id)
        .await
        .unwrap();
    for swept in [false, true] {
        assert!(!counts(&lab, &bound.text).await, "{swept}");
        assert!(counts(&lab, &free.text).await);
        lab.settle().await;
    }
    let parent = create(&lab, &lab.root, ask()).await.unwrap();
    let bound = create(&lab, &parent.text, batch(&["app"])).await.unwrap();
    lab.access.revoke_orphan(&parent.entry.id).await.unwrap();
    assert!(
        !counts(&lab, &bound.text).await,
        "what has no record cannot be let go"
    );
}

/// Found by a simulated history: the id of a token is the HMAC of its text, so another token of the
/// same custom text is found where the parent was.
#[tokio::test]
async fn a_batch_token_stays_ended_when_its_parents_custom_id_is_given_away() {
    let lab = Lab::new().await;
    let custom = || CreateToken {
        id: Some(Secret::new("a-custom-id".into())),
        ..ask()
    };
    let parent = create(&lab, &lab.root, custom()).await.unwrap();
    let child = create(&lab, &parent.text, batch(&["app"])).await.unwrap();
    assert!(counts(&lab, &child.text).await);
    lab.access.revoke_token(&parent.entry.id).await.unwrap();
    assert!(!counts(&lab, &child.text).await);
    let heir = create(&lab, &lab.root, custom()).await.unwrap();
    assert_eq!(heir.entry.id, parent.entry.id, "found at the same place");
    assert!(!counts(&lab, &child.text).await, "not its child");
    assert!(!counts(&lab.reopen().await, &child.text).await);
    let own = create(&lab, &heir.text, batch(&["app"])).await.unwrap();
    assert!(counts(&lab, &own.text).await);
}

#[tokio::test]
async fn a_batch_token_is_no_token_with_a_record() {
    let lab = Lab::new().await;
    lab.policy("maker", MAKER).await;
    let token = made(&lab, batch(&["maker"])).await;
    let refused = said(create(&lab, &token.text, ask()).await);
    assert_eq!(refused, "batch tokens cannot create more tokens");
    let renew = root_at(&lab, "auth/token/renew").await;
    let refused = said(lab.access.renew_token(&renew, &token.entry, 60).await);
    assert_eq!(refused, "batch tokens cannot be renewed");
    lab.policy(
        "all",
        r#"path "cubbyhole/*" { capabilities = ["create", "update", "read", "list", "delete"] }"#,
    )
    .await;
    let token = made(&lab, batch(&["all"])).await;
    let at = lab.permit_of(&token.text, Operation::Update, "cubbyhole/x");
    let at = at.await.unwrap();
    let kept = RawValue::from_string("{}".into()).unwrap();
    let want = "cubbyhole operations are only supported by \"service\" type tokens";
    assert_eq!(said(lab.access.cubbyhole_write(&at, kept).await), want);
    assert_eq!(said(lab.access.cubbyhole_read(&at).await), want);
    assert_eq!(said(lab.access.cubbyhole_list(&at).await), want);
    assert_eq!(said(lab.access.cubbyhole_delete(&at).await), want);
}

#[tokio::test]
async fn what_a_batch_token_cannot_be_is_refused_by_field() {
    let lab = Lab::new().await;
    let unfit = [
        (
            CreateToken {
                num_uses: 1,
                ..batch(&["app"])
            },
            "num_uses",
        ),
        (
            CreateToken {
                period: 1,
                ..batch(&["app"])
            },
            "period",
        ),
        (
            CreateToken {
                explicit_max_ttl: 1,
                ..batch(&["app"])
            },
            "explicit_max_ttl",
        ),
        (
            CreateToken {
                id: Some(Secret::new("mine".into())),
                ..batch(&["app"])
            },
            "id",
        ),
    ];
    for (wanted, field) in unfit {
        let refused = said(create(&lab, &lab.root, wanted).await);
        assert_eq!(refused, format!("batch tokens cannot have \"{field}\" set"));
    }
    for policies in [&[][..], &["root"], &[" ROOT "]] {
        let refused = said(create(&lab, &lab.root, batch(policies)).await);
        assert_eq!(refused, "batch tokens cannot be root tokens");
    }
    let large = CreateToken {
        display_name: "x".repeat(5000),
        ..batch(&["app"])
    };
    assert!(said(create(&lab, &lab.root, large).await).contains("4 KiB"));
    let largest = CreateToken {
        display_name: "x".repeat(3700),
        ..batch(&["app"])
    };
    assert!(counts(&lab, &made(&lab, largest).await.text).await);
}

#[tokio::test]
async fn a_batch_token_keeps_to_its_addresses() {
    let lab = Lab::new().await;
    let wanted = CreateToken {
        bound_cidrs: vec!["10.0.0.0/8".into()],
        ..batch(&["default"])
    };
    let token = made(&lab, wanted).await;
    let path = RequestPath::from_text("auth/token/lookup-self").unwrap();
    for (remote, allowed) in [([10, 1, 2, 3], true), ([11, 1, 2, 3], false)] {
        let ask = Ask {
            token: Some(&token.text),
            path: &path,
            operation: Operation::Read,
            data: None,
            remote: Some(remote.into()),
            wrap_ttl: None,
        };
        assert_eq!(lab.access.authorize(ask).await.is_ok(), allowed);
    }
}

#[tokio::test]
async fn a_mark_ends_the_batch_tokens_of_one_role() {
    let lab = Lab::new().await;
    let change = RoleChange {
        allowed_policies: Some(vec!["app".into()]),
        ..RoleChange::default()
    };
    write(&lab, "ci", &change).await.unwrap();
    write(&lab, "other", &change).await.unwrap();
    let by = async |role: &str| {
        let rest = format!("create/{role}");
        create_at(&lab, &lab.root, &rest, batch(&[])).await.unwrap()
    };
    let (old, other, plain) = (
        by("ci").await,
        by("other").await,
        made(&lab, batch(&["app"])).await,
    );
    assert!(counts(&lab, &old.text).await, "and is cached from here on");
    lab.clock.advance(Duration::from_secs(1));
    let mount = lab.access.token_mount().unwrap().id.clone();
    let role = CutOff::Role {
        mount,
        name: "ci".into(),
    };
    cut(&lab, role.clone()).await;
    assert!(!counts(&lab, &old.text).await);
    assert!(counts(&lab, &other.text).await && counts(&lab, &plain.text).await);
    lab.clock.advance(Duration::from_nanos(1));
    let new = by("ci").await;
    assert!(counts(&lab, &new.text).await);
    let again = lab.reopen().await;
    assert!(!counts(&again, &old.text).await, "the mark is durable");
    assert!(counts(&again, &new.text).await);
    let permit = root_at(&lab, "auth/token/revoke-batch").await;
    let marks = lab.access.cut_off_marks(&permit).await.unwrap();
    assert_eq!(marks.len(), 1);
    assert_eq!(marks[0].of, role);
    cut(&lab, CutOff::All).await;
    assert!(!counts(&lab, &new.text).await && !counts(&lab, &plain.text).await);
}

#[tokio::test]
async fn a_mark_only_moves_forward_and_never_into_the_future() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "auth/token/revoke-batch").await;
    let now = permit.now();
    let at = async |before| lab.access.cut_off_batch(&permit, CutOff::All, before).await;
    assert_eq!(at(None).await.unwrap(), now);
    let earlier = now.minus(Duration::from_secs(60));
    assert_eq!(at(Some(earlier)).await.unwrap(), now, "it stays");
    let later = now.plus(Duration::from_nanos(1));
    assert!(said(at(Some(later)).await).starts_with("issued_before"));
}

async fn login_lab() -> Lab {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/auth/approle").await;
    let kind = MountKind::AppRole;
    let enabled = lab
        .access
        .enable(&permit, kind, "auth/approle", NewMount::default());
    enabled.await.unwrap();
    lab
}

async fn log_in(
    lab: &Lab,
    grant: &LoginGrant,
    with: Batch,
) -> Result<Option<Created>, AccessError> {
    let permit = at_login(lab, "auth/approle").await;
    lab.access.log_in(&permit, grant, with).await
}

fn login() -> LoginGrant {
    LoginGrant {
        policies: vec!["app".into()],
        kind: TokenKind::Batch,
        role: Some("web".into()),
        ..LoginGrant::default()
    }
}

#[tokio::test]
async fn a_login_with_a_batch_token_stores_what_the_method_changes_and_no_more() {
    let lab = login_lab().await;
    let before = lab.store.applies();
    let made = log_in(&lab, &login(), Batch::new()).await.unwrap().unwrap();
    assert_eq!(lab.store.applies(), before);
    assert!(counts(&lab, &made.text).await && made.entry.record.orphan());
    let key = || Key::new("root/test/uses").unwrap();
    let once = || Batch::new().require_absent(key()).put(key(), "{}");
    assert!(log_in(&lab, &login(), once()).await.unwrap().is_some());
    assert!(log_in(&lab, &login(), once()).await.unwrap().is_none());
    let counted = LoginGrant {
        num_uses: 1,
        ..login()
    };
    let refused = said(log_in(&lab, &counted, Batch::new()).await);
    assert_eq!(refused, "batch tokens cannot have \"num_uses\" set");
}

#[tokio::test]
async fn a_batch_token_ends_with_the_method_that_made_it_and_by_its_role() {
    let lab = login_lab().await;
    let made = log_in(&lab, &login(), Batch::new()).await.unwrap().unwrap();
    let mount = lab.access.mount_of("auth/approle/login").unwrap().unwrap();
    let elsewhere = CutOff::Role {
        mount: lab.access.token_mount().unwrap().id.clone(),
        name: "web".into(),
    };
    cut(&lab, elsewhere).await;
    assert!(counts(&lab, &made.text).await, "a role of another mount");
    let of = CutOff::Role {
        mount: mount.id.clone(),
        name: "web".into(),
    };
    cut(&lab, of).await;
    assert!(!counts(&lab, &made.text).await);
    lab.clock.advance(Duration::from_secs(1));
    let made = log_in(&lab, &login(), Batch::new()).await.unwrap().unwrap();
    assert!(counts(&lab, &made.text).await);
    let permit = lab.permit(Operation::Delete, "sys/auth/approle").await;
    lab.access
        .disable_auth(&permit, "auth/approle")
        .await
        .unwrap();
    assert!(!counts(&lab, &made.text).await);
}

#[tokio::test]
async fn a_mark_of_an_entity_is_kept_by_its_id() {
    let lab = Lab::new().await;
    let id = EntityId::parse("8609694a-cdbc-db9b-d345-e782dbb562ed").unwrap();
    cut(&lab, CutOff::Entity(id.clone())).await;
    let permit = root_at(&lab, "auth/token/revoke-batch").await;
    let marks = lab.access.cut_off_marks(&permit).await.unwrap();
    assert_eq!(marks[0].of, CutOff::Entity(id));
}

/// What docs/formats/access.md says of roles, marks and texts. A token in this file stays good.
#[tokio::test]
async fn records_and_texts_are_as_specified() {
    const FILE: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/token-roles-1.json"
    );
    let lab = Lab::new().await;
    let change = RoleChange {
        allowed_policies: Some(vec!["app".into()]),
        allowed_policies_glob: Some(vec!["team-*".into()]),
        disallowed_policies: Some(vec!["root".into()]),
        disallowed_policies_glob: Some(vec!["admin*".into()]),
        orphan: Some(true),
        renewable: Some(false),
        path_suffix: Some("v1".into()),
        bound_cidrs: Some(vec!["10.0.0.0/8".into()]),
        token_type: Some(zone_access::RoleKind::DefaultBatch),
        ..RoleChange::default()
    };
    write(&lab, "ci", &change).await.unwrap();
    let wanted = CreateToken {
        meta: Some([("team".to_owned(), "a".to_owned())].into()),
        ..batch(&["team-x"])
    };
    let token = create_at(&lab, &lab.root, "create/ci", wanted).await;
    let mount = lab.access.token_mount().unwrap().id.clone();
    let name = "old".to_owned();
    cut(&lab, CutOff::Role { mount, name }).await;
    let area = crate::common::token_area(&lab);
    let all: Value = serde_json::json!({
        "token": token.unwrap().text.expose(),
        "roles": records(&lab, &format!("{area}role/")).await,
        "cuts": records(&lab, &format!("{area}cut/")).await,
    });
    if std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some() && !std::path::Path::new(FILE).exists() {
        let text = serde_json::to_string_pretty(&all).unwrap();
        std::fs::write(FILE, text + "\n").unwrap();
    }
    let golden: Value = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
    assert_eq!(all["roles"], golden["roles"]);
    // Which mount it is depends on what else the zone draws.
    for cuts in [&all["cuts"], &golden["cuts"]] {
        let mark = cuts.as_object().unwrap().values().next().unwrap();
        assert_eq!(mark["v"], 1);
        assert_eq!(mark["of"]["role"]["name"], "old");
        assert_eq!(mark["issued_before"], "2026-11-18T09:46:40Z");
    }
    assert_eq!(TokenRecords::read(&lab).await.count(), 1, "root alone");
}
