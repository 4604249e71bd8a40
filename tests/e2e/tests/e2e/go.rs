//! Vault's client library for Go (module `github.com/hashicorp/vault/api` 1.12.2), one area a test.

use zone_e2e::{Head, tool};

/// Drives one area of a new zone as root.
async fn drive(area: &str) {
    let (head, keys) = Head::unsealed().await;
    let mut command = head.place.program(tool::go("clients"));
    command
        .env("VAULT_ADDR", head.url())
        .env("VAULT_CACERT", head.place.ca_file())
        .env("VAULT_TOKEN", &keys.root_token)
        // A refusal that is tried again would hide one that should not be.
        .env("VAULT_MAX_RETRIES", "0");
    let said = tool::text(command.arg(area));
    assert_eq!(said, format!("{area}: ok\n"));
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
async fn go_kv() {
    drive("kv").await;
}

#[tokio::test]
async fn go_pki() {
    drive("pki").await;
}
