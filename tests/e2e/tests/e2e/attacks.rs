//! Attacks to expect in the first week (design), against the running head.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use zone_e2e::{Api, Config, Head, Place, tool};

async fn zone() -> (Head, Api) {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    (head, root)
}

/// A token with one policy.
async fn token(root: &Api, name: &str, policy: &str) -> Api {
    root.put(
        &format!("sys/policies/acl/{name}"),
        &json!({ "policy": policy }),
    )
    .await
    .expect(204);
    let made = root
        .put("auth/token/create", &json!({ "policies": [name] }))
        .await
        .expect(200)
        .json();
    root.token(made["auth"]["client_token"].as_str().unwrap())
}

#[tokio::test]
async fn attack_1_pki_never_mints_the_zone_or_the_head() {
    let config = Config {
        listener: "names = [\"head.zone.test\"]".into(),
        ..Config::default()
    };
    let (head, keys) = Head::unsealed_at(Place::with(&config)).await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ask = json!({ "common_name": "root", "key_type": "ec", "ttl": "240h" });
    root.put("pki/root/generate/internal", &ask)
        .await
        .expect(200);
    let any = json!({
        "allow_any_name": true, "enforce_hostnames": false, "allow_ip_sans": true, "key_type": "any",
        "allowed_uri_sans": ["*"], "allow_localhost": true, "allow_glob_domains": true, "require_cn": false,
        "allow_wildcard_certificates": true, "allow_bare_domains": true, "ttl": "1h",
    });
    root.put("pki/roles/any", &any).await.expect(200);
    let generate = json!({ "key_type": "ec", "common_name": "fine.test" });
    root.put("pki/issue/any", &generate)
        .await
        .refused(400, "any");
    let ec = json!({ "key_type": "ec" });
    root.patch("pki/roles/any", &ec).await.expect(200);
    root.put("pki/issue/any", &json!({ "common_name": "fine.test" }))
        .await
        .expect(200);

    for asked in [
        json!({ "common_name": "fine.test", "uri_sans": "spiffe://zone.test/db" }),
        json!({ "common_name": "fine.test", "uri_sans": "SPIFFE://Zone.Test/db" }),
        json!({ "common_name": "fine.test", "uri_sans": "spiffe://zone.test" }),
        json!({ "common_name": "fine.test", "alt_names": "head.zone.test" }),
        json!({ "common_name": "HEAD.zone.test" }),
        json!({ "common_name": "fine.test", "alt_names": "*.zone.test" }),
        json!({ "common_name": "head.zone.test", "exclude_cn_from_sans": true }),
    ] {
        let refused = root.put("pki/issue/any", &asked).await;
        assert_eq!(refused.status, 400, "{asked}: {}", refused.text());
    }
    for (subject, names) in [
        ("/CN=fine.test", "URI:spiffe://zone.test/db"),
        ("/CN=head.zone.test", "DNS:fine.test"),
        ("/CN=fine.test", "DNS:fine.test,DNS:head.zone.test"),
    ] {
        let (key, csr) = (head.place.file("csr.key"), head.place.file("csr.pem"));
        let mut openssl = tool::program("openssl");
        openssl.args([
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]);
        openssl.args([
            "-subj",
            subject,
            "-addext",
            &format!("subjectAltName={names}"),
            "-keyout",
        ]);
        tool::succeed(openssl.arg(&key).arg("-out").arg(&csr));
        let csr = std::fs::read_to_string(csr).unwrap();
        let refused = root.put("pki/sign/any", &json!({ "csr": csr })).await;
        assert_eq!(refused.status, 400, "{subject} {names}: {}", refused.text());
    }
    let root_for_zone =
        json!({ "common_name": "head.zone.test", "alt_names": "head.zone.test", "ttl": "1h" });
    let refused = root.put("pki/root/generate/exported", &root_for_zone).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    // The listener's own CA is no ancestor of the mount's (C3).
    let ca = head
        .place
        .write("pki-ca.pem", root.get("pki/ca/pem").await.expect(200).body);
    let mut verify = tool::program("openssl");
    tool::fail(
        verify
            .args(["verify", "-CAfile"])
            .arg(head.place.ca_file())
            .arg(ca),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_3_a_flood_of_strangers_does_not_fill_the_audit_disk() {
    let (head, root) = zone().await;
    let before = std::fs::metadata(head.place.audit_log()).unwrap().len();
    let started = tokio::time::Instant::now();
    let floods: Vec<_> = (0..8)
        .map(|at| {
            let api = head.api().from(&format!("127.0.{at}.1"));
            let api = if at % 2 == 0 {
                api
            } else {
                api.token("hvs.AAAAAAAAAAAAAAAAAAAAAAAA")
            };
            tokio::spawn(async move {
                let path = format!("secret/data/{}", "flood".repeat(200));
                let body = json!({ "data": { "v": "x".repeat(2000) } });
                for _ in 0..500 {
                    let answer = api.put(&path, &body).await;
                    assert!(matches!(answer.status, 403 | 429), "{}", answer.text());
                }
            })
        })
        .collect();
    for flood in floods {
        flood.await.unwrap();
    }
    let seconds = started.elapsed().as_secs() + 2;
    let grown = std::fs::metadata(head.place.audit_log()).unwrap().len() - before;
    // 100 lines a second for all, none longer than its path and a few hundred bytes.
    let bound = seconds * 100 * 3_000;
    assert!(grown < bound, "{grown} bytes in {seconds} s");
    assert!(
        grown < 4_000 * 1_000,
        "far less than the 4,000 refusals of 1,000 bytes and more: {grown}"
    );
    root.get("sys/mounts").await.expect(200);
    let log = loop {
        let log = std::fs::read_to_string(head.place.audit_log()).unwrap();
        if log.contains("\"type\":\"refusals\"") {
            break log;
        }
        let counted = "what has no line of its own is counted, each second";
        assert!(started.elapsed() < zone_e2e::LIMIT, "{counted}");
        root.get("sys/mounts").await.expect(200);
    };
    let lines = log
        .lines()
        .filter(|line| line.contains("floodflood"))
        .count();
    let most = usize::try_from(seconds * 100).unwrap();
    assert!(
        (10..=most).contains(&lines),
        "{lines} of 4,000 in {seconds} s"
    );
}

#[tokio::test]
async fn attack_4_a_stranger_cannot_spoil_or_reset_an_unseal() {
    let head = Place::new().start();
    let keys = head.init(5, 3).await;
    let operator = head.api();
    let stranger = head.api().from("127.0.0.66");
    let put = async |api: &Api, body: Value| api.put("sys/unseal", &body).await;
    put(&operator, json!({ "key": keys.hex[0] }))
        .await
        .expect(200);
    let mine = put(&operator, json!({ "key": keys.hex[1] }))
        .await
        .expect(200)
        .json();
    assert_eq!(mine["progress"], 2);

    // Shares of the right form that are none of this zone.
    for at in 0..20 {
        let bad = format!("{:066x}", at + 1);
        put(&stranger, json!({ "key": bad }))
            .await
            .refused(400, "not one of this zone");
    }
    let seen = put(&stranger, json!({ "reset": true }))
        .await
        .expect(200)
        .json();
    assert_eq!(
        seen["progress"], 2,
        "only the stranger's own shares are dropped"
    );
    assert_eq!(seen["nonce"], "", "and it does not learn the nonce");
    assert_eq!(stranger.get("sys/seal-status").await.json()["nonce"], "");
    let guess = json!({ "reset": true, "nonce": "00000000-0000-0000-0000-000000000000" });
    put(&stranger, guess).await.refused(400, "nonce");
    assert_eq!(
        operator.get("sys/seal-status").await.json()["nonce"],
        mine["nonce"]
    );
    let open = put(&operator, json!({ "key": keys.hex[4] }))
        .await
        .expect(200)
        .json();
    assert_eq!(open["sealed"], false);
    put(&stranger, json!({ "reset": true })).await.expect(200);
    head.with_token(&keys.root_token)
        .get("sys/mounts")
        .await
        .expect(200);
}

#[tokio::test]
async fn attack_4_whoever_took_part_may_reset_with_the_nonce() {
    let head = Place::new().start();
    let keys = head.init(5, 3).await;
    let (one, other) = (head.api(), head.api().from("127.0.0.67"));
    one.put("sys/unseal", &json!({ "key": keys.hex[0] }))
        .await
        .expect(200);
    let status = other
        .put("sys/unseal", &json!({ "key": keys.hex[1] }))
        .await
        .expect(200)
        .json();
    let own = other
        .put("sys/unseal", &json!({ "reset": true }))
        .await
        .expect(200)
        .json();
    assert_eq!(own["progress"], 1);
    let all = json!({ "reset": true, "nonce": status["nonce"] });
    assert_eq!(
        other.put("sys/unseal", &all).await.expect(200).json()["progress"],
        0
    );
}

#[tokio::test]
async fn attack_6_forged_forwarding_headers_do_not_pass_cidr_bounds() {
    let config = Config {
        listener: "trusted_proxies = [\"127.0.0.9\"]".into(),
        ..Config::default()
    };
    let (head, keys) = Head::unsealed_at(Place::with(&config)).await;
    let root = head.with_token(&keys.root_token);
    let ask = json!({ "policies": ["default"], "bound_cidrs": ["10.9.9.0/24"] });
    let made = root.put("auth/token/create", &ask).await.expect(200).json();
    let bound = head.with_token(made["auth"]["client_token"].as_str().unwrap());
    let (proxy, other) = (bound.from("127.0.0.9"), bound.from("127.0.0.10"));
    let me = "auth/token/lookup-self";
    for api in [
        bound.clone(),
        other.header("x-forwarded-for", "10.9.9.1"),
        other
            .header("x-forwarded-for", "10.9.9.1")
            .header("x-real-ip", "10.9.9.1"),
        other.header("forwarded", "for=10.9.9.1"),
        other.header("x-forwarded-for", "10.9.9.1, 127.0.0.9"),
        proxy.clone(),
        proxy.header("x-forwarded-for", "10.9.9.1, 192.0.2.7"),
        proxy
            .header("x-forwarded-for", "10.9.9.1")
            .header("x-forwarded-for", "192.0.2.7"),
        proxy.header("x-forwarded-for", "10.9.9.1, rubbish"),
        proxy.header("forwarded", "for=10.9.9.1"),
    ] {
        assert_eq!(api.get(me).await.status, 403, "{api:?}");
    }
    proxy
        .header("x-forwarded-for", "10.9.9.1")
        .get(me)
        .await
        .expect(200);
    proxy
        .header("x-forwarded-for", "192.0.2.7, 10.9.9.1, 127.0.0.9")
        .get(me)
        .await
        .expect(200);

    // The audit trail names the address that counted.
    let log = std::fs::read_to_string(head.place.audit_log()).unwrap();
    assert!(log.contains("\"remote_address\":\"10.9.9.1\"") && log.contains("\"127.0.0.10\""));
}

#[tokio::test]
async fn attack_8_nobody_grants_what_he_lacks() {
    let (_head, root) = zone().await;
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("secret/data/crown", &json!({ "data": { "v": "1" } }))
        .await
        .expect(200);
    let writer = token(
        &root,
        "writer",
        "path \"sys/policies/acl/*\" { capabilities = [\"create\", \"update\", \"read\"] }\n\
         path \"sys/policy/*\" { capabilities = [\"create\", \"update\"] }\n\
         path \"auth/token/create\" { capabilities = [\"create\", \"update\"] }\n\
         path \"secret/data/mine/*\" { capabilities = [\"read\"] }",
    )
    .await;
    let everything = "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }";
    for path in [
        "sys/policies/acl/writer",
        "sys/policies/acl/new",
        "sys/policy/new",
        "sys/policies/acl/default",
        "sys/policies/acl/WRITER",
    ] {
        let refused = writer.put(path, &json!({ "policy": everything })).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
    }
    for path in [
        "sys/policies/acl/root",
        "sys/policies/acl/Root",
        "sys/policies/acl/%20root",
    ] {
        let refused = writer.put(path, &json!({ "policy": everything })).await;
        assert!(
            matches!(refused.status, 400 | 403),
            "{path}: {} {}",
            refused.status,
            refused.text()
        );
    }
    let crown = "path \"secret/data/crown\" { capabilities = [\"read\"] }";
    writer
        .put("sys/policies/acl/new", &json!({ "policy": crown }))
        .await
        .refused(403, "");
    let less = "path \"secret/data/mine/a\" { capabilities = [\"read\"] }";
    writer
        .put("sys/policies/acl/less", &json!({ "policy": less }))
        .await
        .expect(204);

    root.put("sys/policies/acl/crown", &json!({ "policy": crown }))
        .await
        .expect(204);
    for policies in [
        json!(["root"]),
        json!(["Root"]),
        json!([" root "]),
        json!("root"),
        json!(["crown"]),
        json!(["writer", "crown"]),
        json!(["\u{a0}root"]),
        json!(["less"]),
    ] {
        let refused = writer
            .put("auth/token/create", &json!({ "policies": policies }))
            .await;
        assert!(
            matches!(refused.status, 400 | 403),
            "{policies}: {} {}",
            refused.status,
            refused.text()
        );
    }
    let orphan = json!({ "policies": ["writer"], "no_parent": true });
    let refused = writer.put("auth/token/create", &orphan).await;
    assert!(matches!(refused.status, 400 | 403), "{}", refused.text());
    writer
        .put("auth/token/create-orphan", &json!({}))
        .await
        .refused(403, "");
    let child = writer
        .put("auth/token/create", &json!({}))
        .await
        .expect(200)
        .json();
    let child = writer.token(child["auth"]["client_token"].as_str().unwrap());
    child.get("secret/data/crown").await.expect(403);
    child.put("sys/seal", &json!({})).await.refused(403, "");
    child.get("sys/audit").await.expect(403);
    child.list("auth/token/accessors").await.expect(403);
}

#[tokio::test]
async fn cve_2025_6000_audit_devices_write_nowhere_but_in_their_directories() {
    let (head, root) = zone().await;
    let allowed = head.place.data().join("audit");
    let outside = head.place.file("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, allowed.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("target"), allowed.join("file-link")).unwrap();
    std::fs::write(allowed.join("script.sh"), "#!/bin/sh\n").unwrap();
    let zone_store = head.place.data().join("zone.redb");
    for path in [
        outside.join("a.log"),
        allowed.join("../../outside/a.log"),
        allowed.join("link/a.log"),
        allowed.join("file-link"),
        allowed.join("script.sh"),
        allowed.join("audit.log"),
        zone_store,
        "/dev/null".into(),
        "relative.log".into(),
        "stdout".into(),
    ] {
        for options in [
            json!({ "file_path": path }),
            json!({ "path": path, "mode": "0755" }),
        ] {
            let ask = json!({ "type": "file", "options": options });
            let refused = root.put("sys/audit/second", &ask).await;
            assert_eq!(refused.status, 400, "{path:?}: {}", refused.text());
        }
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(
        std::fs::read(allowed.join("script.sh")).unwrap(),
        b"#!/bin/sh\n"
    );
    for (kind, why) in [
        ("syslog", "audit.receivers"),
        ("socket", "audit.receivers"),
        ("exec", "file"),
    ] {
        let ask = json!({ "type": kind, "options": { "address": "127.0.0.1:9" } });
        root.put("sys/audit/other", &ask).await.refused(400, why);
    }
    root.delete("sys/audit/file").await.refused(400, "last");
}

#[tokio::test]
async fn attack_10_metrics_have_few_fixed_labels() {
    let (_head, root) = zone().await;
    root.put("sys/mounts/secret-of-mine", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    let shape = async || {
        let text = root
            .get("sys/metrics?format=prometheus")
            .await
            .expect(200)
            .text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect::<BTreeSet<_>>()
    };
    let before = shape().await;
    for at in 0..200 {
        let name = format!("team-{at}");
        root.put(
            &format!("secret-of-mine/data/{name}"),
            &json!({ "data": {} }),
        )
        .await
        .expect(200);
        root.put(
            &format!("sys/policies/acl/{name}"),
            &json!({ "policy": "" }),
        )
        .await;
        root.token(&name)
            .get(&format!("{name}/x"))
            .await
            .expect(403);
        root.header("user-agent", &name)
            .get(&format!("secret-of-mine/data/{name}"))
            .await
            .expect(200);
    }
    let after = shape().await;
    assert_eq!(before, after, "no request adds a series");
    assert!(
        after.len() < 200
            && after
                .iter()
                .all(|series| !series.contains("team") && !series.contains("secret-of"))
    );
    root.token("")
        .get("sys/metrics?format=prometheus")
        .await
        .expect(403);
}
