//! Vault's client library for Go (module `github.com/hashicorp/vault/api` 1.12.2, and its
//! `auth/approle` 0.6.0), one area a test.

use zone_e2e::{Head, Place, tool};

/// Drives one area of a new zone as root.
async fn drive(area: &str) {
    let (head, keys) = Head::unsealed().await;
    run(&head, &keys.root_token, area);
}

/// Runs the client in the environment that every Vault client reads.
fn run(head: &Head, token: &str, area: &str) {
    let mut command = head.place.program(tool::go("clients"));
    command
        .env("VAULT_ADDR", head.url())
        .env("VAULT_CACERT", head.place.ca_file())
        .env("VAULT_TOKEN", token)
        .env("ZONEHEAD_TEST_AUDIT_DIR", head.place.data().join("audit"))
        // A refusal that is tried again would hide one that should not be.
        .env("VAULT_MAX_RETRIES", "0");
    let said = tool::text(command.arg(area));
    assert_eq!(said, format!("{area}: ok\n"));
}

#[tokio::test]
async fn go_makes_opens_and_rekeys_a_zone() {
    let head = Place::new().start();
    run(&head, "", "zone");
}

#[tokio::test]
async fn go_system() {
    drive("sys").await;
}

#[tokio::test]
async fn go_tokens() {
    drive("tokens").await;
}

#[tokio::test]
async fn go_token_roles() {
    drive("token-roles").await;
}

#[tokio::test]
async fn go_leases() {
    drive("leases").await;
}

#[tokio::test]
async fn go_kv() {
    drive("kv").await;
}

#[tokio::test]
async fn go_pki() {
    drive("pki").await;
}

#[tokio::test]
async fn go_system_moves_audit_auth_and_the_head() {
    drive("sys-more").await;
}

#[tokio::test]
async fn go_kv_without_versions() {
    drive("kv1").await;
}

#[tokio::test]
async fn go_wrapping() {
    drive("wrapping").await;
}

#[tokio::test]
async fn go_approle() {
    drive("approle").await;
}

#[tokio::test]
async fn go_userpass() {
    drive("userpass").await;
}

#[tokio::test]
async fn go_identity() {
    drive("identity").await;
}

#[tokio::test]
async fn go_quotas() {
    drive("quotas").await;
}
