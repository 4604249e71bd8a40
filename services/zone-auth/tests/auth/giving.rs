//! Attack 8: nobody gives himself, by a role or a user, what he lacks.

use zone_access::{Operation, Permit};
use zone_auth::{RoleChange, TokenChange, UserChange};
use zone_types::Secret;

use crate::common::{Bench, said, secret};

const ADMIN: &str = r#"
path "auth/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "secret/data/app/*" { capabilities = ["read"] }
"#;

pub(crate) async fn bench() -> (Bench, Secret<String>) {
    let bench = Bench::new().await;
    bench.lab.policy("admin", ADMIN).await;
    let held = r#"path "secret/data/app/x" { capabilities = ["read"] }"#;
    bench.lab.policy("held", held).await;
    let more = r#"path "secret/*" { capabilities = ["read"] }"#;
    bench.lab.policy("more", more).await;
    let wall = r#"path "secret/data/app/x" { capabilities = ["deny"] }"#;
    bench.lab.policy("wall", wall).await;
    let admin = bench.lab.token(&["admin"]).await;
    (bench, admin.text)
}

pub(crate) async fn permit(bench: &Bench, token: &Secret<String>, path: &str) -> Permit {
    let path = format!("auth/{path}");
    bench
        .lab
        .permit_of(token, Operation::Update, &path)
        .await
        .unwrap()
}

fn policies(names: &[&str]) -> TokenChange {
    TokenChange {
        policies: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..TokenChange::default()
    }
}

fn role(names: &[&str]) -> RoleChange {
    RoleChange {
        token: policies(names),
        ..RoleChange::default()
    }
}

#[tokio::test]
async fn attack_8_a_role_gives_no_more_than_its_writer_holds_without_sudo() {
    let (bench, admin) = bench().await;
    let at = permit(&bench, &admin, "approle/role/web").await;
    bench
        .auth
        .write_role(&at, &role(&["held", "default"]))
        .await
        .unwrap();
    for (names, text) in [
        (&["more"][..], "more than you hold"),
        (&["held", "more"], "more than you hold"),
        (&["coming"], "does not exist"),
        (&["root"], "'root'"),
    ] {
        let refused = said(bench.auth.write_role(&at, &role(names)).await);
        assert!(refused.contains(text), "{refused}");
    }
    // What an operator with sudo gave stays, and all else can be changed.
    bench.role("web", role(&["more"])).await;
    let again = RoleChange {
        secret_id_num_uses: Some(3),
        ..role(&["more", "held"])
    };
    bench.auth.write_role(&at, &again).await.unwrap();
    bench.auth.write_role(&at, &role(&["held"])).await.unwrap();
    let back = bench.auth.write_role(&at, &role(&["more"])).await;
    assert!(said(back).contains("sudo"));
    let sudo = r#"path "auth/*" { capabilities = ["update", "sudo"] }"#;
    bench.lab.policy("sudo", sudo).await;
    let operator = bench.lab.token(&["sudo"]).await.text;
    let at = permit(&bench, &operator, "approle/role/web").await;
    bench
        .auth
        .write_role(&at, &role(&["more", "coming"]))
        .await
        .unwrap();
    let refused = bench.auth.write_role(&at, &role(&["root"])).await;
    assert!(said(refused).contains("'root'"), "not even with sudo");
}

#[tokio::test]
async fn attack_8_a_narrow_denial_of_the_writer_is_not_shed_by_a_role() {
    let (bench, _) = bench().await;
    let barred = r#"path "secret/data/app/x" { capabilities = ["deny"] }"#;
    bench.lab.policy("barred", barred).await;
    let admin = bench.lab.token(&["admin", "barred"]).await.text;
    let at = permit(&bench, &admin, "approle/role/web").await;
    let refused = bench.auth.write_role(&at, &role(&["held"])).await;
    assert!(said(refused).contains("more than you hold"));
}

#[tokio::test]
async fn attack_8_nobody_takes_over_a_user_who_has_more() {
    let (bench, admin) = bench().await;
    bench.user("boss", "old", policies(&["more"])).await;
    bench.user("ann", "old", policies(&["held"])).await;
    let password = || UserChange {
        password: Some(secret("mine now")),
        ..UserChange::default()
    };
    for path in ["users/boss", "users/boss/password"] {
        let at = permit(&bench, &admin, &format!("userpass/{path}")).await;
        let refused = bench.auth.write_user(&at, &password()).await;
        assert!(said(refused).contains("sudo"), "{path}");
    }
    bench.enter("boss", "old").await.unwrap();
    let ann = permit(&bench, &admin, "userpass/users/ann/password").await;
    bench.auth.change_user(&ann, &password()).await.unwrap();
    bench.enter("ann", "mine now").await.unwrap();
    let more = UserChange {
        token: policies(&["more"]),
        ..UserChange::default()
    };
    assert!(said(bench.auth.change_user(&ann, &more).await).contains("more than you hold"));
    let new = permit(&bench, &admin, "userpass/users/new").await;
    let more = UserChange {
        password: Some(secret("p")),
        ..more
    };
    assert!(said(bench.auth.write_user(&new, &more).await).contains("more than you hold"));
    let held = UserChange {
        token: policies(&["held"]),
        ..more
    };
    bench.auth.write_user(&new, &held).await.unwrap();
}

/// A user who may change his own password can.
#[tokio::test]
async fn a_user_changes_his_own_password() {
    let (bench, _) = bench().await;
    let own = r#"path "auth/userpass/users/ann/password" { capabilities = ["update"] }
                 path "secret/data/*" { capabilities = ["read"] }"#;
    bench.lab.policy("own", own).await;
    bench.user("ann", "old", policies(&["own"])).await;
    let ann = bench.enter("ann", "old").await.unwrap().text;
    let at = permit(&bench, &ann, "userpass/users/ann/password").await;
    let change = UserChange {
        password: Some(secret("new")),
        ..UserChange::default()
    };
    bench.auth.change_user(&at, &change).await.unwrap();
    bench.enter("ann", "new").await.unwrap();
    assert!(bench.enter("ann", "old").await.is_err());
}
