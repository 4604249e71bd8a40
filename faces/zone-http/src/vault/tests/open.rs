//! What is served without a token, and what while sealed (A2, B2).

use serde_json::{Value, json};

use crate::testing::Bench;

/// Methods that Vault knows, and some that it does not.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "LIST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "SCAN",
];

/// A path for each endpoint of reference §1.2 and of this zone, served or not.
const PATHS: &[&str] = &[
    "sys/health",
    "sys/seal-status",
    "sys/init",
    "sys/unseal",
    "sys/leader",
    "sys/seal",
    "sys/step-down",
    "sys/mounts",
    "sys/mounts/secret",
    "sys/mounts/secret/tune",
    "sys/auth",
    "sys/auth/token",
    "sys/remount",
    "sys/policies/acl",
    "sys/policies/acl/default",
    "sys/policy",
    "sys/policy/default",
    "sys/audit",
    "sys/audit/file",
    "sys/audit-hash/file",
    "sys/capabilities",
    "sys/capabilities-self",
    "sys/capabilities-accessor",
    "sys/key-status",
    "sys/rotate",
    "sys/rekey/init",
    "sys/rekey/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/internal/ui/mounts",
    "sys/internal/ui/mounts/secret/x",
    "sys/internal/specs/openapi",
    "sys/metrics",
    "sys/leases/lookup",
    "sys/leases/renew",
    "sys/leases/revoke",
    "sys/leases/revoke-prefix/secret",
    "sys/wrapping/wrap",
    "sys/wrapping/unwrap",
    "sys/wrapping/lookup",
    "sys/tools/random",
    "sys/tools/hash",
    "sys/host-info",
    "sys/raw/core",
    "sys/config/cors",
    "sys/health/x",
    "sys/init/x",
    "sys",
    "sys/",
    "auth/token/create",
    "auth/token/create-orphan",
    "auth/token/lookup",
    "auth/token/lookup-self",
    "auth/token/lookup-accessor",
    "auth/token/renew",
    "auth/token/renew-self",
    "auth/token/renew-accessor",
    "auth/token/revoke",
    "auth/token/revoke-self",
    "auth/token/revoke-accessor",
    "auth/token/revoke-orphan",
    "auth/token/accessors",
    "auth/token/roles",
    "auth/token/roles/x",
    "auth/token/create/x",
    "auth/token/revoke-batch",
    "auth/token/tidy",
    "auth/approle/login",
    "auth/userpass/login/x",
    "identity/entity",
    "cubbyhole/x",
    "secret/data/x",
    "secret/metadata/x",
    "secret/delete/x",
    "secret/undelete/x",
    "secret/destroy/x",
    "secret/subkeys/x",
    "secret/config",
    "pki/ca",
    "pki/ca/pem",
    "pki/ca_chain",
    "pki/cert/ca",
    "pki/cert/ca_chain",
    "pki/cert/ca/raw",
    "pki/cert/ca/raw/pem",
    "pki/cert/crl",
    "pki/certs",
    "pki/crl",
    "pki/crl/pem",
    "pki/crl/chain",
    "pki/crl/rotate",
    "pki/crl/shard/0",
    "pki/issuer/default",
    "pki/issuer/default/der",
    "pki/issuer/default/pem",
    "pki/issuer/default/json",
    "pki/issuer/default/crl",
    "pki/issuer/default/crl/der",
    "pki/issuer/default/crl/pem",
    "pki/issuer/default/issue/web",
    "pki/issuer/default/sign/web",
    "pki/issuers",
    "pki/issuers/import/bundle",
    "pki/keys",
    "pki/key/default",
    "pki/root",
    "pki/root/generate/internal",
    "pki/root/generate/exported",
    "pki/root/sign-intermediate",
    "pki/intermediate/generate/internal",
    "pki/config/ca",
    "pki/config/crl",
    "pki/config/urls",
    "pki/config/issuers",
    "pki/roles",
    "pki/roles/web",
    "pki/issue/web",
    "pki/sign/web",
    "pki/sign-verbatim",
    "pki/revoke",
    "pki/tidy",
    "pki/ocsp",
    "nowhere/x",
    "",
];

async fn bench_with_ca() -> Bench {
    let bench = Bench::new().await;
    let root = json!({ "common_name": "Test CA", "key_type": "ec", "ttl": "720h" });
    let made = bench.root("PUT", "pki/root/generate/internal", root).await;
    assert_eq!(made.status, 200, "{made:?}");
    bench
}

/// Each (method, path) that does not ask for a token or say that there is no such method.
async fn served(bench: &Bench) -> Vec<String> {
    let mut served = Vec::new();
    for path in PATHS {
        for method in METHODS {
            let answer = bench.send(method, path, Value::Null).await;
            let prefix = path.ends_with('/') && answer.text.contains("ending in '/'");
            if !matches!(answer.status, 403 | 405) && !prefix {
                served.push(format!("{} {method} {path}", answer.status));
            }
        }
    }
    served
}

#[tokio::test]
async fn a2_without_a_token_only_the_golden_list_is_served() {
    let bench = bench_with_ca().await;
    let served = served(&bench).await;
    let expected = [
        "200 GET sys/health",
        "200 HEAD sys/health",
        "200 GET sys/seal-status",
        "200 HEAD sys/seal-status",
        "200 GET sys/init",
        "200 HEAD sys/init",
        "400 POST sys/init",
        "400 PUT sys/init",
        "400 POST sys/unseal",
        "400 PUT sys/unseal",
        "200 GET sys/leader",
        "200 HEAD sys/leader",
        "200 GET sys/internal/ui/mounts",
        "200 HEAD sys/internal/ui/mounts",
        "400 GET sys/wrapping/lookup",
        "400 HEAD sys/wrapping/lookup",
        "400 POST sys/wrapping/lookup",
        "400 PUT sys/wrapping/lookup",
        "200 GET pki/ca",
        "200 HEAD pki/ca",
        "200 GET pki/ca/pem",
        "200 HEAD pki/ca/pem",
        "200 GET pki/ca_chain",
        "200 HEAD pki/ca_chain",
        "200 GET pki/cert/ca",
        "200 HEAD pki/cert/ca",
        "200 GET pki/cert/ca_chain",
        "200 HEAD pki/cert/ca_chain",
        "200 GET pki/cert/ca/raw",
        "200 HEAD pki/cert/ca/raw",
        "200 GET pki/cert/ca/raw/pem",
        "200 HEAD pki/cert/ca/raw/pem",
        "200 GET pki/cert/crl",
        "200 HEAD pki/cert/crl",
        "200 GET pki/crl",
        "200 HEAD pki/crl",
        "200 GET pki/crl/pem",
        "200 HEAD pki/crl/pem",
        "200 GET pki/crl/chain",
        "200 HEAD pki/crl/chain",
        "404 GET pki/crl/shard/0",
        "404 HEAD pki/crl/shard/0",
        "200 GET pki/issuer/default/der",
        "200 HEAD pki/issuer/default/der",
        "200 GET pki/issuer/default/pem",
        "200 HEAD pki/issuer/default/pem",
        "200 GET pki/issuer/default/json",
        "200 HEAD pki/issuer/default/json",
        "200 GET pki/issuer/default/crl",
        "200 HEAD pki/issuer/default/crl",
        "200 GET pki/issuer/default/crl/der",
        "200 HEAD pki/issuer/default/crl/der",
        "200 GET pki/issuer/default/crl/pem",
        "200 HEAD pki/issuer/default/crl/pem",
    ];
    assert_eq!(served, expected);
    assert!(!bench.zone.system.is_sealed());
}

/// No spelling of a path that needs a token is taken for an open one.
#[tokio::test]
async fn a2_open_endpoints_have_one_spelling() {
    let bench = bench_with_ca().await;
    for path in [
        "sys/health/",
        "sys/unseal/",
        "SYS/health",
        "pki/CA",
        "pki/ca/pem/",
        "pki/ca/",
        "pki/cert/",
        "pki/crl/shard/",
        "pki/crl/shard/0/x",
        "pki/issuer/default/issue/web/der",
        "sys/internal/ui/mountsx",
        "sys/internal/ui",
        "secret/data/ca",
    ] {
        for method in ["GET", "LIST"] {
            let answer = bench.send(method, path, Value::Null).await;
            assert_eq!(
                answer.brief(),
                r#"403 ["permission denied"]"#,
                "{method} {path}"
            );
        }
        let wrong = bench.by("hvs.wrong", "GET", path, Value::Null).await;
        assert_eq!(wrong.brief(), r#"403 ["permission denied"]"#, "{path}");
    }
    // A list of an open endpoint is not open.
    let listed = bench.send("GET", "sys/internal/ui/mounts?list=true", Value::Null);
    assert_eq!(listed.await.status, 403);
    // A wrong token changes nothing on an open endpoint.
    let known = bench
        .by("hvs.wrong", "GET", "pki/ca/pem", Value::Null)
        .await;
    assert_eq!(known.status, 200);
}

#[tokio::test]
async fn b2_while_sealed_only_the_seal_is_served() {
    let bench = Bench::sealed().await;
    for path in PATHS {
        for method in METHODS {
            let open = super::super::OPEN_SYS.contains(path);
            let answer = bench.root(method, path, Value::Null).await;
            if open {
                assert!(answer.status != 403, "{method} {path}: {answer:?}");
            } else if method == "HEAD" {
                assert_eq!(answer.status, 503, "{method} {path}");
            } else {
                let sealed = r#"503 ["Vault is sealed"]"#;
                assert_eq!(answer.brief(), sealed, "{method} {path}");
            }
        }
    }
    let broken = bench.root("PUT", "secret/data/x", json!("{")).await;
    assert_eq!(broken.status, 503, "nothing of the request is looked at");
    let mut bench = bench;
    bench.unseal().await;
    assert_eq!(bench.root("PUT", "sys/seal", Value::Null).await.status, 204);
    bench.root.clear();
    let again = bench.send("PUT", "sys/seal", Value::Null).await;
    assert_eq!(
        again.status, 503,
        "needs a token, which nobody can judge now"
    );
}
