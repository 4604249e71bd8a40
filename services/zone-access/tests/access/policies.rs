//! Policies at rest: in force at once, gone at once, there after the unseal.

use crate::common::{root_at, said};
use zone_access::{AccessError, Operation, RefusalKind};
use zone_testkit::Lab;
use zone_types::Secret;

const READ: &str = r#"path "sys/mounts" { capabilities = ["read"] }"#;

async fn allowed(lab: &Lab, token: &Secret<String>) -> bool {
    match lab.permit_of(token, Operation::Read, "sys/mounts").await {
        Ok(_) => true,
        Err(refusal) => {
            assert!(matches!(refusal.kind, RefusalKind::Denied), "{refusal:?}");
            false
        }
    }
}

async fn delete(lab: &Lab, name: &str) -> Result<(), AccessError> {
    let permit = lab.permit(Operation::Delete, "sys/policies/acl/x").await;
    lab.access.delete_policy(&permit, name).await
}

#[tokio::test]
async fn a_change_is_in_force_when_it_returns() {
    let lab = Lab::new().await;
    // A name without a policy grants nothing, until there is one.
    let (one, two) = (lab.token(&["app"]).await, lab.token(&["app", "x"]).await);
    for _ in 0..3 {
        assert!(!allowed(&lab, &one.text).await && !allowed(&lab, &two.text).await);
        lab.policy("app", READ).await;
        assert!(allowed(&lab, &one.text).await && allowed(&lab, &two.text).await);
        lab.policy("APP ", "").await;
        assert!(!allowed(&lab, &one.text).await && !allowed(&lab, &two.text).await);
        lab.policy("x", READ).await;
        assert!(!allowed(&lab, &one.text).await && allowed(&lab, &two.text).await);
        delete(&lab, " X").await.unwrap();
        assert!(!allowed(&lab, &two.text).await);
        lab.policy("app", READ).await;
        assert!(allowed(&lab, &one.text).await);
        delete(&lab, "app").await.unwrap();
    }
    delete(&lab, "app").await.unwrap();
}

#[tokio::test]
async fn default_is_there_from_the_beginning_and_stays() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/policies/acl/default").await;
    let token = lab.token(&[]).await;
    assert_eq!(token.entry.record.policies, ["root"]);
    let bare = lab.token(&["app"]).await;
    let own = lab
        .permit_of(&bare.text, Operation::Read, "auth/token/lookup-self")
        .await;
    assert_eq!(
        own.unwrap().rule(),
        Some("\"auth/token/lookup-self\" (default line 2)")
    );
    let text = lab
        .access
        .policy(&permit, "default")
        .await
        .unwrap()
        .unwrap()
        .text;
    assert!(text.contains("auth/token/lookup-self"));
    let refused = said(delete(&lab, "DEFAULT").await);
    assert_eq!(refused, "cannot delete the policy 'default'");
    // It may be changed, and a restart does not put it back.
    lab.policy("default", READ).await;
    assert!(allowed(&lab, &bare.text).await);
    lab.seal_and_unseal().await;
    assert!(allowed(&lab, &bare.text).await);
    let own = lab
        .permit_of(&bare.text, Operation::Read, "auth/token/lookup-self")
        .await;
    assert!(own.is_err());
}

#[tokio::test]
async fn attack_8_root_is_nobodys_to_change() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/policies/acl/root").await;
    for name in ["root", " Root", "ROOT\n", "\u{3000}root"] {
        let refused = said(lab.access.write_policy(&permit, name, READ).await);
        assert_eq!(refused, "the policy 'root' cannot be changed");
        let refused = said(delete(&lab, name).await);
        assert_eq!(refused, "cannot delete the policy 'root'");
        let shown = lab.access.policy(&permit, name).await.unwrap().unwrap();
        assert_eq!((shown.name.as_str(), shown.text.as_str()), ("root", ""));
    }
}

#[tokio::test]
async fn policies_are_shown_as_they_were_written() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/policies/acl/x").await;
    let json = r#"{"path": {"a/*": {"capabilities": ["read"]}}}"#;
    lab.policy("Team/Web", json).await;
    lab.policy("b c", "# nothing\n").await;
    let names = lab.access.policy_names(&permit).await.unwrap();
    assert_eq!(names, ["b c", "default", "root", "team/web"]);
    lab.seal_and_unseal().await;
    let record = lab
        .access
        .policy(&permit, " TEAM/WEB")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (record.name.as_str(), record.text.as_str()),
        ("team/web", json)
    );
    assert!(lab.access.policy(&permit, "none").await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_no_policy_is_refused_with_its_place() {
    let lab = Lab::new().await;
    let permit = root_at(&lab, "sys/policies/acl/x").await;
    let write = async |name: &str, text: &str| lab.access.write_policy(&permit, name, text).await;
    let refused = said(write("x", "path \"a\" {\n  capabilities = [\"raed\"]\n}").await);
    assert!(
        refused.starts_with("failed to parse policy: line 2"),
        "{refused}"
    );
    let long = format!("# {}", "x".repeat(97 * 1024));
    assert_eq!(said(write("x", &long).await), "a policy has at most 96 KiB");
    for name in ["", " ", "a*", "../x", "a\u{200b}"] {
        assert!(
            said(write(name, READ).await).starts_with("a policy name"),
            "{name:?}"
        );
    }
    let names = lab.access.policy_names(&permit).await.unwrap();
    assert_eq!(names, ["default", "root"]);
}
