//! The client commands against a head: what an operator types in the first hour.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use zone_e2e::{Head, Place, tool};

/// Commands of one operator, whose home is the head's directory.
struct Operator<'a> {
    head: &'a Head,
}

impl Operator<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.head.place.command();
        command
            .env("VAULT_ADDR", self.head.url())
            .env("VAULT_CACERT", self.head.place.ca_file());
        command.args(words);
        command
    }

    /// Standard output of a command that succeeds.
    #[track_caller]
    fn does(&self, words: &[&str]) -> String {
        tool::text(&mut self.command(words))
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["-format=json"]].concat();
        serde_json::from_str(&self.does(&words)).unwrap()
    }

    /// The exit code, and all that was said.
    fn ends(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = tool::run(&mut self.command(words));
        (output.status.code(), tool::said(&output))
    }

    /// A command with `input` on its standard input.
    #[track_caller]
    fn piped(&self, words: &[&str], input: &str) -> String {
        let file = self.head.place.write("stdin", input);
        let mut command = self.command(words);
        tool::text(command.stdin(Stdio::from(std::fs::File::open(file).unwrap())))
    }
}

#[tokio::test]
async fn cli_from_init_to_a_verified_trail() {
    let head = Place::new().start();
    let operator = Operator { head: &head };
    assert_eq!(operator.ends(&["status"]).0, Some(2), "sealed");
    assert_eq!(operator.ends(&["operator", "init", "-status"]).0, Some(2));
    let made = operator.json(&["operator", "init", "-key-shares=3", "-key-threshold=2"]);
    let shares = made["unseal_keys_b64"].as_array().unwrap();
    let root = made["root_token"].as_str().unwrap();
    assert_eq!(shares.len(), 3);
    let first = operator.json(&["operator", "unseal", shares[0].as_str().unwrap()]);
    assert_eq!(
        (&first["sealed"], &first["progress"]),
        (&true.into(), &1.into())
    );
    operator.piped(&["unseal", "-"], shares[2].as_str().unwrap());
    let status = operator.json(&["status"]);
    assert_eq!(
        (&status["sealed"], &status["initialized"]),
        (&false.into(), &true.into())
    );
    assert_eq!(operator.ends(&["status"]).0, Some(0));
    let nowhere = ["status", "-address=https://127.0.0.1:1"];
    assert_eq!(operator.ends(&nowhere).0, Some(1));

    let (code, said) = operator.ends(&["secrets", "list"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("permission denied") && said.contains("zonehead login"),
        "{said}"
    );
    operator.piped(&["login", "-"], root);
    let file = head.place.file(".zonehead/token");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), root);
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o077,
        0
    );
    secrets(&operator);
    policies_and_tokens(&operator);
    trail(&operator);

    operator.does(&["operator", "rotate"]);
    let term = operator.json(&["operator", "key-status"]);
    assert!(term.to_string().contains("\"term\":2"), "{term}");
    operator.does(&["operator", "seal"]);
    assert_eq!(operator.ends(&["status"]).0, Some(2));
}

fn secrets(operator: &Operator<'_>) {
    operator.does(&["secrets", "enable", "-path=secret", "kv-v2"]);
    let password = operator.head.place.write("password", "from a file");
    let from_file = format!("password=@{}", password.display());
    operator.does(&["kv", "put", "secret/app/db", "user=app", &from_file]);
    operator.piped(
        &["kv", "patch", "-mount=secret", "app/db", "token=-"],
        "from stdin",
    );
    let read = operator.json(&["kv", "get", "secret/app/db"]);
    assert_eq!(read["data"]["data"]["password"], "from a file");
    assert_eq!(read["data"]["data"]["token"], "from stdin");
    assert_eq!(read["data"]["metadata"]["version"], 2);
    let field = ["kv", "get", "-field=user", "-version=1", "secret/app/db"];
    assert_eq!(operator.does(&field), "app");
    assert_eq!(
        operator.json(&["kv", "list", "secret/app"]),
        serde_json::json!(["db"])
    );
    assert!(
        operator
            .does(&["read", "-format=yaml", "secret/data/app/db"])
            .contains("user: app")
    );
    let (code, said) = operator.ends(&["kv", "put", "-cas=1", "secret/app/db", "a=b"]);
    assert!(code == Some(2) && said.contains("check-and-set"), "{said}");
    operator.does(&["kv", "delete", "secret/app/db"]);
    assert_eq!(operator.ends(&["kv", "get", "secret/nothing"]).0, Some(2));
    operator.does(&["kv", "undelete", "-versions=2", "secret/app/db"]);
    operator.does(&["kv", "rollback", "-version=1", "secret/app/db"]);
    assert_eq!(
        operator.json(&["kv", "get", "secret/app/db"])["data"]["metadata"]["version"],
        3
    );
    operator.does(&["kv", "metadata", "put", "-max-versions=5", "secret/app/db"]);
    operator.does(&["kv", "destroy", "-versions=1", "secret/app/db"]);
    let known = operator.json(&["kv", "metadata", "get", "secret/app/db"]);
    assert_eq!(known["data"]["versions"]["1"]["destroyed"], true);
    operator.does(&["kv", "metadata", "delete", "secret/app/db"]);
    assert_eq!(operator.ends(&["kv", "list", "secret/app"]).0, Some(2));
}

fn policies_and_tokens(operator: &Operator<'_>) {
    let rules = "path \"secret/data/app/*\" { capabilities = [\"read\"] }";
    operator.piped(&["policy", "write", "app", "-"], rules);
    assert_eq!(operator.does(&["policy", "read", "app"]).trim(), rules);
    let made = operator.json(&["token", "create", "-policy=app", "-ttl=1h"]);
    let token = made["auth"]["client_token"].as_str().unwrap();
    let may = |path: &str| operator.does(&["token", "capabilities", token, path]);
    assert_eq!(may("secret/data/app/x").trim(), "read");
    assert_eq!(may("sys/mounts").trim(), "deny");
    let mut as_app = operator.command(&["kv", "put", "secret/app/x", "a=b"]);
    let said = tool::fail(as_app.env("VAULT_TOKEN", token));
    assert!(said.contains("permission denied"), "{said}");
    let own = operator.json(&["token", "lookup", token]);
    let accessor = own["data"]["accessor"].as_str().unwrap();
    operator.does(&["token", "revoke", "-accessor", accessor]);
    assert_eq!(operator.ends(&["token", "lookup", token]).0, Some(2));
    roles_and_batch_tokens(operator);
    operator.does(&["policy", "delete", "app"]);
    assert!(!operator.does(&["policy", "list"]).contains("app"));
}

fn roles_and_batch_tokens(operator: &Operator<'_>) {
    let role = "auth/token/roles/ci";
    operator.does(&["write", role, "allowed_policies=app", "token_period=1h"]);
    assert!(operator.does(&["list", "auth/token/roles"]).contains("ci"));
    let made = operator.json(&["token", "create", "-role=ci", "-display-name=job"]);
    assert_eq!(made["auth"]["policies"], json!(["app", "default"]));
    let accessor = made["auth"]["accessor"].as_str().unwrap();
    let renewed = operator.json(&["token", "renew", "-accessor", accessor]);
    assert_eq!(renewed["auth"]["lease_duration"], 3600);
    let own = operator.json(&["token", "lookup", "-accessor", accessor]);
    assert_eq!(own["data"]["role"], "ci");
    let may = [
        "token",
        "capabilities",
        "-accessor",
        accessor,
        "secret/data/app/x",
    ];
    assert_eq!(operator.does(&may).trim(), "read");
    let token = made["auth"]["client_token"].as_str().unwrap();
    operator.does(&["token", "revoke", "-mode=orphan", token]);
    let batch = operator.json(&["token", "create", "-type=batch", "-policy=app"]);
    let batch = batch["auth"]["client_token"].as_str().unwrap();
    assert!(batch.starts_with("hvb."), "{batch}");
    let own = operator.json(&["token", "lookup", batch]);
    assert_eq!(own["data"]["type"], "batch");
    operator.does(&["write", "auth/token/revoke-batch", "all=true"]);
    assert_eq!(operator.ends(&["token", "lookup", batch]).0, Some(2));
    operator.does(&["delete", role]);
}

fn trail(operator: &Operator<'_>) {
    operator.does(&["kv", "put", "secret/found", "v=needle-in-the-trail"]);
    let devices = operator.json(&["audit", "list", "-detailed"]);
    let key = devices["file/"]["public_key"].as_str().unwrap();
    let file = operator.head.place.audit_log();
    let file = file.to_str().unwrap();
    let hash = [
        "write",
        "-field=hash",
        "sys/audit-hash/file",
        "input=needle-in-the-trail",
    ];
    let found = operator.does(&["audit", "search", &operator.does(&hash), file]);
    assert!(found.contains("secret/data/found"), "{found}");
    let key = format!("-key={key}");
    let said = operator.does(&["audit", "verify", &key, file]);
    assert!(!said.is_empty());

    let text = std::fs::read_to_string(file).unwrap();
    let changed = text.replacen("secret/data/found", "secret/data/hidden", 1);
    let line = 1 + text
        .lines()
        .position(|line| line.contains("secret/data/found"))
        .unwrap();
    let copy = operator.head.place.write("changed.log", changed);
    let (code, said) = operator.ends(&["audit", "verify", &key, copy.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&format!("changed.log:{line}")), "{said}");
}

/// Identity has no commands of its own: the generic ones do.
#[tokio::test]
async fn cli_keeps_identity() {
    let head = Place::new().start();
    let operator = Operator { head: &head };
    let made = operator.json(&["operator", "init", "-key-shares=1", "-key-threshold=1"]);
    operator.does(&[
        "operator",
        "unseal",
        made["unseal_keys_b64"][0].as_str().unwrap(),
    ]);
    operator.does(&["login", made["root_token"].as_str().unwrap()]);
    let ask = [
        "write",
        "identity/entity",
        "name=ada",
        "policies=app,web",
        "metadata=team=blue",
    ];
    let made = operator.json(&ask);
    let id = made["data"]["id"].as_str().unwrap();
    let read = operator.json(&["read", &format!("identity/entity/id/{id}")]);
    assert_eq!(read["data"]["policies"], serde_json::json!(["app", "web"]));
    assert_eq!(read["data"]["metadata"]["team"], "blue");
    let member = format!("member_entity_ids={id}");
    operator.does(&["write", "identity/group", "name=ops", &member]);
    let listed = operator.json(&["list", "identity/group/name"]);
    assert_eq!(listed, serde_json::json!(["ops"]));
    let found = operator.json(&["write", "identity/lookup/group", "name=OPS"]);
    assert_eq!(found["data"]["member_entity_ids"], serde_json::json!([id]));
    let help = operator.does(&["path-help", "identity/entity"]);
    assert!(
        help.contains("policies") && help.contains("disabled"),
        "{help}"
    );
    operator.does(&["delete", "identity/entity/name/ada"]);
    assert_eq!(operator.ends(&["list", "identity/entity/name"]).0, Some(2));
}

#[tokio::test]
async fn cli_ends_leases_and_what_they_stand_for() {
    let (head, keys) = Head::unsealed().await;
    let operator = Operator { head: &head };
    operator.piped(&["login", "-"], &keys.root_token);
    operator.does(&["secrets", "enable", "pki"]);
    let root = [
        "write",
        "pki/root/generate/internal",
        "common_name=Root",
        "key_type=ec",
    ];
    operator.does(&root);
    let role = [
        "write",
        "pki/roles/web",
        "allow_any_name=true",
        "key_type=ec",
        "generate_lease=true",
        "ttl=24h",
    ];
    operator.does(&role);
    let issue = || {
        let made = operator.json(&["write", "pki/issue/web", "common_name=a.test"]);
        let serial = made["data"]["serial_number"].as_str().unwrap().to_owned();
        (made["lease_id"].as_str().unwrap().to_owned(), serial)
    };
    let revoked = |serial: &str| {
        let shown = operator.json(&["read", &format!("pki/cert/{serial}")]);
        shown["data"]["revocation_time"].as_i64().unwrap() > 0
    };

    let (lease, serial) = issue();
    let shown = operator.json(&["lease", "lookup", &lease]);
    assert_eq!(shown["data"]["id"], lease.as_str());
    let (code, said) = operator.ends(&["lease", "renew", &lease]);
    assert_eq!(code, Some(2));
    assert!(said.contains("lease is not renewable"), "{said}");
    assert!(!revoked(&serial));
    let done = operator.does(&["lease", "revoke", "-sync", &lease]);
    assert_eq!(done.trim(), format!("Success! Revoked lease: {lease}"));
    assert!(revoked(&serial));
    let (code, said) = operator.ends(&["lease", "lookup", &lease]);
    assert_eq!(code, Some(2));
    assert!(said.contains("invalid lease"), "{said}");

    // With the token that it was given to.
    let token = operator.json(&["token", "create", "-ttl=1h"]);
    let token = token["auth"]["client_token"].as_str().unwrap();
    let mut by_token = operator.command(&[
        "write",
        "-format=json",
        "pki/issue/web",
        "common_name=b.test",
    ]);
    by_token.env("VAULT_TOKEN", token);
    let made: Value = serde_json::from_str(&tool::text(&mut by_token)).unwrap();
    operator.does(&["token", "revoke", token]);
    let lease = made["lease_id"].as_str().unwrap();
    assert_eq!(
        operator.ends(&["lease", "lookup", lease]).0,
        Some(2),
        "at once"
    );

    // All below a path.
    let (lease, serial) = issue();
    let done = operator.does(&["lease", "revoke", "-prefix", "pki/issue/web"]);
    assert_eq!(
        done.trim(),
        "All revocation operations queued successfully!"
    );
    assert_eq!(operator.ends(&["lease", "lookup", &lease]).0, Some(2));
    operator.does(&["lease", "revoke", "-prefix", "-sync", "pki/issue/web"]);
    assert!(revoked(&serial));
    let made = operator.json(&["token", "create", "-ttl=1h"]);
    let accessor = made["auth"]["accessor"].as_str().unwrap().to_owned();
    operator.does(&["token", "revoke", "-mode=path", "auth/token/create"]);
    let lookup = ["token", "lookup", "-accessor", &accessor];
    assert_eq!(operator.ends(&lookup).0, Some(2));
    operator.does(&["token", "lookup"]);
}

/// A word behind `name` in a table of two columns.
fn cell(table: &str, name: &str) -> String {
    let row = table.lines().find_map(|line| line.strip_prefix(name));
    let row = row.unwrap_or_else(|| panic!("no {name} in {table}"));
    row.trim().to_owned()
}

#[tokio::test]
async fn cli_replaces_the_shares_and_makes_a_root_token_of_them() {
    let (head, keys) = Head::unsealed().await;
    let operator = Operator { head: &head };
    operator.piped(&["login", "-"], &keys.root_token);
    let old = &keys.base64[0];

    let begun = operator.does(&["operator", "rekey", "-init", "-n=2", "-t=2", "-verify"]);
    let nonce = format!("-nonce={}", cell(&begun, "Nonce"));
    let made = operator.json(&["operator", "rekey", &nonce, old]);
    let shares: Vec<_> = made["keys_base64"].as_array().unwrap().iter().collect();
    assert_eq!(shares.len(), 2);
    let verify = format!("-nonce={}", made["verification_nonce"].as_str().unwrap());
    for share in &shares {
        let share = share.as_str().unwrap();
        operator.does(&["operator", "rekey", "-verify", &verify, share]);
    }

    let begun = operator.does(&["operator", "generate-root", "-init"]);
    let (nonce, otp) = (cell(&begun, "Nonce"), cell(&begun, "OTP  "));
    let nonce = format!("-nonce={nonce}");
    let (code, said) = operator.ends(&["operator", "generate-root", &nonce, old]);
    assert_eq!(code, Some(2), "the old share is retired: {said}");
    let mut last = String::new();
    for share in &shares {
        last = operator.does(&["operator", "generate-root", &nonce, share.as_str().unwrap()]);
    }
    let encoded = format!("-decode={}", cell(&last, "Encoded Token"));
    let otp = format!("-otp={otp}");
    let token = operator.does(&["operator", "generate-root", &encoded, &otp]);
    let own = head
        .with_token(token.trim())
        .get("auth/token/lookup-self")
        .await;
    assert_eq!(own.expect(200).data()["policies"][0], "root");

    operator.does(&["secrets", "enable", "-path=kv", "kv-v2"]);
    operator.does(&["kv", "put", "kv/app", "a=b"]);
    operator.does(&["secrets", "move", "kv/", "team/kv/"]);
    assert_eq!(
        operator.json(&["kv", "get", "team/kv/app"])["data"]["data"]["a"],
        "b"
    );
}
