//! Vault's own forms.

use std::path::PathBuf;

use expect_test::{Expect, expect};

use crate::config::{as_toml, load};

/// Writes the files into a directory of their own.
fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    let paths = files
        .iter()
        .map(|(name, text)| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect();
    (directory, paths)
}

fn converted(files: &[(&str, &str)]) -> String {
    let (directory, paths) = written(files);
    match as_toml(&paths) {
        Ok(text) => text,
        Err(fault) => fault
            .to_string()
            .replace(directory.path().to_str().unwrap(), "DIR"),
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&converted(&[("vault.hcl", text)]));
}

const STORAGE: &str = "zone = \"zone.example\"\nstorage \"file\" { path = \"/srv/zone\" }\n";

#[test]
fn a_whole_file_of_vault_is_read() {
    let text = r#"
        # A server behind a proxy.
        ui            = false
        disable_mlock = true
        cluster_name  = "zone.example.org"
        api_addr      = "https://head.example.org:8200"
        log_level     = "Debug"
        log_format    = "json"

        storage "file" {
          path = "/var/lib/zonehead"
        }

        listener "tcp" {
          address         = "0.0.0.0"
          tls_cert_file   = "/etc/tls/head.pem"
          tls_key_file    = "/etc/tls/head.key"
          tls_min_version = "tls12"
          x_forwarded_for_authorized_addrs = "10.0.0.0/8, 192.0.2.7"
          x_forwarded_for_reject_not_present = "false"
          disable_unauthed_rekey_endpoints = false
        }

        listener "unix" {
          address      = "/run/zonehead/api.sock"
          socket_mode  = "0660"
          socket_group = "zonehead"
          tls_disable  = 1
        }

        seal "shamir" {}
        telemetry { prometheus_retention_time = "30s" disable_hostname = true }
        audit { directories = ["/var/log/zonehead"] durability = "batch" rotate_bytes = 1073741824 }
    "#;
    check(
        text,
        expect![[r#"
            zone = "zone.example.org"
            api_addr = "https://head.example.org:8200"

            [storage]
            path = "/var/lib/zonehead"

            [audit]
            directories = ["/var/log/zonehead"]
            receivers = []
            durability = "batch"
            rotate_bytes = 1073741824

            [log]
            level = "debug"
            format = "json"

            [[listener]]
            address = "0.0.0.0:8200"
            names = []
            cert_file = "/etc/tls/head.pem"
            key_file = "/etc/tls/head.key"
            tls_min_version = "1.2"
            trusted_proxies = ["10.0.0.0/8", "192.0.2.7/32"]
            x_forwarded_for_reject_not_present = false
            x_forwarded_for_reject_not_authorized = true
            disable_unauthed_rekey_endpoints = false
            disable_unauthed_generate_root_endpoints = true

            [[listener]]
            address = "unix:/run/zonehead/api.sock"
            names = []
            tls_min_version = "1.3"
            trusted_proxies = []
            x_forwarded_for_reject_not_present = false
            x_forwarded_for_reject_not_authorized = false
            disable_unauthed_rekey_endpoints = true
            disable_unauthed_generate_root_endpoints = true
            socket_mode = "0660"
            socket_group = "zonehead"
        "#]],
    );
}

#[test]
fn json_and_hcl_say_the_same() {
    let hcl = format!("{STORAGE}listener \"tcp\" {{ address = \"127.0.0.1:8200\" }}\n");
    let once = r#"{ "zone": "zone.example",
                    "storage": { "file": { "path": "/srv/zone" } },
                    "listener": { "tcp": { "address": "127.0.0.1:8200" } } }"#;
    let listed = r#"{ "zone": "zone.example",
                      "storage": [{ "file": [{ "path": "/srv/zone" }] }],
                      "listener": [{ "tcp": { "address": "127.0.0.1:8200" } }] }"#;
    let expected = converted(&[("a.hcl", &hcl)]);
    assert!(expected.contains("127.0.0.1:8200"), "{expected}");
    assert_eq!(converted(&[("a.json", once)]), expected);
    assert_eq!(converted(&[("a.json", listed)]), expected);
    assert_eq!(converted(&[("a.hcl", once)]), expected);
}

#[test]
fn several_files_and_directories_are_one_configuration() {
    let (directory, _) = written(&[
        ("10-storage.hcl", STORAGE),
        (
            "20-api.json",
            r#"{ "listener": { "tcp": { "address": "127.0.0.1:1" } } }"#,
        ),
        (
            "30-more.hcl",
            "listener \"tcp\" { address = \"127.0.0.1:2\" }",
        ),
        ("README", "not read"),
    ]);
    let settings = load(&[directory.path().to_owned()]).unwrap();
    let places: Vec<_> = settings
        .listeners
        .iter()
        .map(|listener| listener.place.to_string())
        .collect();
    assert_eq!(places, ["127.0.0.1:1", "127.0.0.1:2"]);
    let twice = converted(&[("a.hcl", STORAGE), ("b.hcl", "\n\nzone = \"other\"")]);
    expect!["DIR/b.hcl: line 3: 'zone' stands already in DIR/a.hcl line 1"]
        .assert_eq(&twice.replace(&format!("{}/", "DIR"), "DIR/"));
    let mixed = converted(&[("a.hcl", STORAGE), ("b.toml", "")]);
    assert!(
        mixed.contains("b.toml") && mixed.contains("only .hcl and .json"),
        "{mixed}"
    );
    let empty = tempfile::tempdir().unwrap();
    let fault = load(&[empty.path().to_owned()]).unwrap_err().to_string();
    assert!(fault.contains("no .hcl"), "{fault}");
}

#[test]
fn what_is_not_obeyed_is_refused_with_what_takes_its_place() {
    let refused = |text: &str| converted(&[("vault.hcl", &format!("{STORAGE}{text}\n"))]);
    for (text, instead) in [
        (
            "ui = true",
            "line 3: 'ui' can only be false: there is no web interface yet",
        ),
        (
            "cluster_addr = \"https://x:8201\"",
            "'cluster_addr' is not supported: remove it",
        ),
        ("plugin_directory = \"/x\"", "there are no plugins"),
        (
            "seal \"awskms\" { kms_key_id = \"x\" }",
            "seal \"awskms\" is not supported",
        ),
        (
            "telemetry { statsd_address = \"x\" }",
            "sys/metrics?format=prometheus",
        ),
        ("audit \"file\" \"x\" { }", "expected one label"),
        (
            "listener \"tcp\" { tls_disable = true }",
            "plain HTTP is for listener \"unix\"",
        ),
        (
            "listener \"tcp\" { address = \"localhost:8200\" }",
            "with an IP address",
        ),
        (
            "listener \"tcp\" { proxy_protocol_behavior = \"use_always\" }",
            "x_forwarded_for_authorized_addrs",
        ),
        (
            "listener \"tcp\" { x_forwarded_for_authorized_addrs = \"ten\" }",
            "expected an address or a block",
        ),
        (
            "listener \"tcp\" { x_forwarded_for_hop_skips = 1 }",
            "can only be 0",
        ),
        (
            "listener \"tcp\" { colour = 1 }",
            "unknown key 'listener.colour'",
        ),
        ("listener \"udp\" { }", "listener \"tcp\""),
        (
            "listener \"unix\" { socket_mode = \"0660\" }",
            "'address' is missing",
        ),
        (
            "listener \"unix\" { address = \"/x\" socket_mode = \"u+w\" }",
            "'socket_mode'",
        ),
        (
            "listener \"unix\" { address = \"/x\" tls_cert_file = \"/y\" }",
            "a Unix socket has no TLS",
        ),
        (
            "log_level = \"loud\"",
            "expected trace, debug, info, warn or error",
        ),
        ("colour = \"red\"", "line 3: unknown key 'colour'"),
        ("zone = \"again\"", "'zone' stands already in"),
        ("", "expected at least one [[listener]]"),
    ] {
        let answer = refused(text);
        assert!(answer.contains(instead), "{text}: {answer}");
        assert!(answer.starts_with("DIR/vault.hcl: "), "{text}: {answer}");
    }
}

#[test]
fn a_store_is_named_and_is_our_own() {
    let with = |storage: &str| converted(&[("v.hcl", &format!("zone = \"z.example\"\n{storage}"))]);
    for (storage, instead) in [
        ("", "expected a block: storage \"file\""),
        (
            "storage \"raft\" { path = \"/x\" node_id = \"a\" }",
            "storage \"raft\" is not supported",
        ),
        ("storage \"inmem\" {}", "zonehead dev"),
        (
            "storage \"consul\" { address = \"x\" }",
            "storage \"consul\" is not supported",
        ),
        ("storage \"file\" {}", "'path' is missing"),
        (
            "storage \"file\" { path = \"/x\" colour = 1 }",
            "unknown key 'storage.colour'",
        ),
        (
            "storage \"file\" { path = \"/x\" }\nstorage \"file\" { path = \"/y\" }",
            "stands already",
        ),
    ] {
        let answer = with(storage);
        assert!(answer.contains(instead), "{storage}: {answer}");
    }
    let old = tempfile::tempdir().unwrap();
    std::fs::write(old.path().join("vault.db"), "").unwrap();
    let answer = with(&format!(
        "storage \"file\" {{ path = \"{}\" }}",
        old.path().display()
    ));
    assert!(answer.contains("holds Vault's raft data"), "{answer}");
}

#[test]
fn a_value_never_stands_in_a_fault() {
    // Somebody may paste a token where a number belongs.
    for text in [
        "ui = \"hvs.SECRET\"",
        "log_format = \"hvs.SECRET\"",
        "listener \"tcp\" { address = \"hvs.SECRET\" }",
        "audit { rotate_bytes = \"hvs.SECRET\" }",
    ] {
        let answer = converted(&[("vault.hcl", &format!("{STORAGE}{text}\n"))]);
        assert!(
            !answer.contains("SECRET") && answer.contains("expected"),
            "{answer}"
        );
    }
}

#[test]
fn a_zone_on_postgresql_and_its_lease_times() {
    check(
        r#"
        zone              = "zone.example"
        default_lease_ttl = "1h"
        max_lease_ttl     = 86400
        storage "postgresql" {
          path           = "/srv/zone"
          connection_url = "postgresql://zonehead@db.example.org/zonehead"
          ha_enabled     = "false"
          max_parallel   = "16"
          ca_file        = "/etc/zonehead/pg-ca.pem"
        }
        listener "tcp" { address = "127.0.0.1:8200" }
        "#,
        expect![[r#"
            zone = "zone.example"
            default_lease_ttl = "1h"
            max_lease_ttl = "86400"

            [storage]
            type = "postgresql"
            path = "/srv/zone"
            connection_url = "postgresql://zonehead@db.example.org/zonehead"
            ca_file = "/etc/zonehead/pg-ca.pem"
            max_connections = 16

            [audit]
            directories = []
            receivers = []
            durability = "system"

            [log]
            level = "info"
            format = "text"

            [[listener]]
            address = "127.0.0.1:8200"
            names = []
            tls_min_version = "1.3"
            trusted_proxies = []
            x_forwarded_for_reject_not_present = false
            x_forwarded_for_reject_not_authorized = false
            disable_unauthed_rekey_endpoints = true
            disable_unauthed_generate_root_endpoints = true
        "#]],
    );
}

/// A password in the URL is refused before anything could show it.
#[test]
fn what_vault_says_of_a_postgresql_server_and_is_not_obeyed() {
    let refused = |lines: &str| {
        let text = format!(
            "zone = \"z\"\nstorage \"postgresql\" {{\n{lines}\n}}\nlistener \"tcp\" {{ }}\n"
        );
        converted(&[("vault.hcl", &text)])
    };
    let url = "connection_url = \"postgresql://zonehead@db.example.org/zonehead\"";
    let path = "path = \"/srv/zone\"";
    for (key, instead) in [
        ("table = \"kv\"", "schema = \"zonehead\""),
        ("ha_enabled = \"true\"", "a zone has one head"),
        ("max_idle_connections = 5", "max_parallel says how many"),
        ("max_parallel = \"many\"", "expected a number"),
        (
            "max_parallel = 0",
            "'storage.max_connections': expected 1 to 1000",
        ),
    ] {
        let text = refused(&format!("{path}\n{url}\n{key}"));
        assert!(text.contains(instead), "{key}: {text}");
    }
    assert!(refused(url).contains("'path' is missing"));
    let secret = "connection_url = \"postgresql://zonehead:CANARY@db.example.org/zonehead\"";
    let text = refused(&format!("{path}\n{secret}"));
    assert!(text.contains("no password in the URL"), "{text}");
    assert!(!text.contains("CANARY"), "{text}");
}
