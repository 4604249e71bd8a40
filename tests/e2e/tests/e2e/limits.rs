//! Bad input (design, "Bad input"): each limit is a clear 4xx, and the head lives on.

use std::io::Write as _;

use http::Method;
use serde_json::{Value, json};
use zone_e2e::raw::RawAnswer;
use zone_e2e::{Answer, Api, Head, tool};

const MIB: usize = 1024 * 1024;

/// A zone with KV at `secret/`.
async fn zone() -> (Head, Api) {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    (head, root)
}

async fn put(root: &Api, body: impl Into<bytes::Bytes>) -> Answer {
    root.send(Method::PUT, "secret/data/x", "application/json", body)
        .await
}

/// One raw request on a connection of its own.
async fn raw(head: &Head, request: impl AsRef<[u8]>) -> RawAnswer {
    let mut raw = head.raw().await;
    // The head may answer and close before it has read everything.
    let _ = raw.try_send(request).await;
    raw.answer()
        .await
        .expect("a clear answer before the connection is closed")
}

#[tokio::test]
async fn body_over_32_mib_is_413_announced_or_not() {
    let (head, root) = zone().await;
    let announced = format!(
        "PUT /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        32 * MIB + 1
    );
    let answer = raw(&head, announced).await;
    assert_eq!(
        (answer.status, answer.body.contains("32 MiB")),
        (413, true),
        "{answer:?}"
    );

    let mut connection = head.raw().await;
    connection
        .send("PUT /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let mut chunk = format!("{MIB:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + MIB, b' ');
    chunk.extend_from_slice(b"\r\n");
    for _ in 0..33 {
        if connection.try_send(&chunk).await.is_err() {
            break;
        }
    }
    assert_eq!(
        connection.answer().await.map(|answer| answer.status),
        Some(413)
    );

    // Just below it the body is read, and judged by its content.
    let mut body = br#"{"data":{"v":"1"}}"#.to_vec();
    body.resize(32 * MIB, b' ');
    put(&root, body).await.expect(200);
    head.lives().await;
}

#[tokio::test]
async fn many_large_bodies_at_once_do_not_take_the_memory_of_the_head() {
    let (head, root) = zone().await;
    let announce = async || {
        let mut raw = head.raw().await;
        let length = 32 * MIB;
        let request = format!(
            "PUT /v1/x/y HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        raw.send(request).await;
        raw
    };
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut raw = announce().await;
        let begun = raw.answer().await.expect("the head waits for the body");
        assert_eq!(begun.status, 100, "{begun:?}");
        held.push(raw);
    }
    let refused = announce()
        .await
        .answer()
        .await
        .expect("an answer before the body");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.head.to_lowercase().contains("retry-after"),
        "{refused:?}"
    );
    // Who needs no large body is served meanwhile.
    root.get("sys/mounts").await.expect(200);
    drop(held);
    let mut body = br#"{"data":{}}"#.to_vec();
    body.resize(31 * MIB, b' ');
    let mut answer = put(&root, body.clone()).await;
    for _ in 0..100 {
        if answer.status == 200 {
            break;
        }
        answer = put(&root, body.clone()).await;
    }
    assert_eq!(
        answer.status,
        200,
        "the memory is free again: {}",
        answer.text()
    );
}

#[tokio::test]
async fn secret_over_1_mib_is_413_and_one_below_is_kept_whole() {
    let (head, root) = zone().await;
    let secret = |size: usize| json!({ "data": { "v": "s".repeat(size) } });
    let big = secret(MIB - 64);
    root.put("secret/data/big", &big).await.expect(200);
    assert_eq!(
        root.get("secret/data/big").await.expect(200).data()["data"],
        big["data"]
    );
    let refused = root.put("secret/data/big", &secret(MIB)).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    let read = root.get("secret/data/big").await.expect(200);
    assert_eq!(
        read.data()["metadata"]["version"],
        1,
        "nothing of the refused one is there"
    );
    head.lives().await;
}

#[tokio::test]
async fn cve_2025_6203_json_depth_keys_and_form_are_bounded() {
    let (head, root) = zone().await;
    let nested = |depth: usize| {
        let (open, close) = ("{\"a\":".repeat(depth - 1), "}".repeat(depth - 1));
        format!("{{\"data\":{open}{{}}{close}}}")
    };
    put(&root, nested(63)).await.expect(200);
    put(&root, nested(64)).await.refused(413, "64 levels");
    // Far deeper than any stack.
    put(&root, "[".repeat(4 * MIB))
        .await
        .refused(413, "64 levels");
    let keys = |count: usize| {
        let pairs: Vec<String> = (0..count).map(|key| format!("\"k{key}\":1")).collect();
        format!("{{\"data\":{{{}}}}}", pairs.join(","))
    };
    put(&root, keys(9_999)).await.expect(200);
    put(&root, keys(10_000)).await.refused(413, "10000");
    put(
        &root,
        format!("{{\"data\":{{\"a\":[{}1]}}}}", "1,".repeat(10_000)),
    )
    .await
    .refused(413, "10000");
    for (bad, said) in [
        (&br#"{"data":{"a":"1","a":"2"}}"#[..], "same key twice"),
        (br#"{"data":{}}{"data":{}}"#, "one JSON document"),
        (br#"{"data":{}} rubbish"#, "one JSON document"),
        (b"{\"data\":{\"a\":\"\xff\"}}", "one JSON document"),
        (br#"{"data":{"a":"\ud800"}}"#, "one JSON document"),
        (br#"{"data":"#, "one JSON document"),
        (br#"["data"]"#, "must be a JSON object"),
        (br#"{"data":"text"}"#, "'data'"),
    ] {
        put(&root, bad).await.refused(400, said);
    }
    head.lives().await;
}

#[tokio::test]
async fn header_over_64_kib_is_431() {
    let (head, root) = zone().await;
    let with = |value: usize| {
        format!(
            "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n",
            "h".repeat(value)
        )
    };
    assert_eq!(raw(&head, with(60 * 1024)).await.status, 200);
    assert_eq!(raw(&head, with(66 * 1024)).await.status, 431);
    let many: String = (0..200).map(|at| format!("X-{at}: 1\r\n")).collect();
    let answer = raw(
        &head,
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
    )
    .await;
    assert_eq!(answer.status, 431);
    // One that never ends.
    let mut connection = head.raw().await;
    connection
        .send("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Large: ")
        .await;
    while connection.try_send("h".repeat(8192)).await.is_ok() {}
    let twice =
        "GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nX-Vault-Token: a\r\nX-Vault-Token: b\r\n\r\n";
    assert_eq!(raw(&head, twice).await.status, 400);
    root.get("sys/mounts").await.expect(200);
}

#[tokio::test]
async fn path_over_4_kib_or_64_segments_is_400_before_anything_looks_at_it() {
    let (head, root) = zone().await;
    let anybody = head.api();
    anybody
        .get(&format!("secret/data/{}", "p".repeat(4097)))
        .await
        .refused(400, "4096");
    anybody
        .get(&format!("secret/{}", "a/".repeat(100)))
        .await
        .refused(400, "64 segments");
    anybody
        .get(&"a/".repeat(2040))
        .await
        .refused(400, "64 segments");
    let answer = raw(
        &head,
        format!(
            "GET /v1/{} HTTP/1.1\r\nHost: x\r\n\r\n",
            "p".repeat(60 * 1024)
        ),
    )
    .await;
    assert!(matches!(answer.status, 400 | 414), "{answer:?}");
    // A user path over 400 bytes is no key of the store.
    let long = format!("secret/data/{}", "p".repeat(500));
    let refused = root.put(&long, &json!({ "data": {} })).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    root.get("sys/mounts").await.expect(200);
}

#[tokio::test]
async fn cve_2026_3605_paths_in_other_spellings_are_400_and_never_served() {
    let (head, root) = zone().await;
    root.put("secret/data/x", &json!({ "data": { "v": "1" } }))
        .await
        .expect(200);
    for path in [
        "secret/data/%zz",
        "secret/data/%2",
        "secret/data/%",
        "secret/data%2fx",
        "secret/data%2Fx",
        "secret/../secret/data/x",
        "secret/%2e%2e/secret/data/x",
        "secret/./data/x",
        "secret/data/%2e",
        "secret//data/x",
        "/secret/data/x",
        "secret/data/x//",
        "secret/data/%00",
        "secret/data/%0a",
        "secret/data/%7f",
        "secret/data/%5cx",
        "secret/data/%ff",
        "secret/data/%c0%af",
        "secret/data/%e2%80%8bx",
        "sys/health/../mounts",
        "sys/health%2f..%2fmounts",
    ] {
        for method in ["GET", "PUT", "LIST", "DELETE"] {
            let token = "X-Vault-Token: x\r\n";
            let request = format!(
                "{method} /v1/{path} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 0\r\n\r\n"
            );
            let answer = raw(&head, request).await;
            assert_eq!(answer.status, 400, "{method} {path}: {answer:?}");
        }
    }
    root.get("secret/data/x?version=%zz")
        .await
        .refused(400, "percent");
    root.get("secret/data/x?version=1&version=2")
        .await
        .refused(400, "twice");
    root.get("secret/data/x").await.expect(200);
    head.lives().await;
}

#[tokio::test]
async fn attack_request_smuggling_gets_400_and_a_closed_connection() {
    let (head, root) = zone().await;
    let smuggled = "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let chunked = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4, 4\r\n",
    ] {
        let mut connection = head.raw().await;
        let request = format!("PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\n{fields}\r\n{chunked}");
        connection.send(request).await;
        let answer = connection.answer().await;
        let answer = answer.unwrap_or_else(|| panic!("{fields:?}: closed without an answer"));
        assert_eq!(answer.status, 400, "{fields:?}: {answer:?}");
        assert!(
            connection.is_closed().await,
            "{fields:?}: what follows must not be read"
        );
    }
    root.get("sys/mounts").await.expect(200);
}

#[tokio::test]
async fn cve_2026_3605_paths_over_http_2_are_400_too() {
    let (head, root) = zone().await;
    for (path, status) in [
        ("sys/seal-status", "2 200"),
        ("secret/../sys/seal-status", "2 400"),
        ("secret/%2e%2e/sys/seal-status", "2 400"),
        ("secret%2fdata/x", "2 400"),
        ("secret//data/x", "2 400"),
        (&"a/".repeat(100), "2 400"),
        (&"p".repeat(5000), "2 400"),
    ] {
        let mut curl = tool::program("curl");
        curl.args([
            "--silent",
            "--http2",
            "--path-as-is",
            "--output",
            "/dev/null",
        ]);
        curl.args(["-w", "%{http_version} %{http_code}", "--cacert"]);
        curl.arg(head.place.ca_file());
        let said = tool::text(curl.arg(format!("{}/v1/{path}", head.url())));
        assert_eq!(said, status, "{path}");
    }
    root.get("sys/mounts").await.expect(200);
}

#[tokio::test]
async fn what_is_no_http_or_no_tls_harms_nobody() {
    let (head, root) = zone().await;
    for bytes in [
        &b"\x16\x03\x01\xff\xff rubbish"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 4096],
        b"",
    ] {
        let mut plain = std::net::TcpStream::connect(head.address).unwrap();
        plain.write_all(bytes).unwrap();
    }
    for request in [
        "\0\0\0\0\r\n\r\n",
        "BREW /v1/pot HTCPCP/1.0\r\n\r\n",
        "GET /v1/sys/health HTTP/9.9\r\n\r\n",
    ] {
        let mut connection = head.raw().await;
        connection.send(request).await;
        let answer = connection.answer().await;
        assert!(
            answer.is_none_or(|answer| matches!(answer.status, 400 | 405 | 505)),
            "{request:?}"
        );
    }
    let verb = Method::from_bytes(b"BREW").unwrap();
    root.send(verb, "sys/mounts", "", "").await.expect(405);
    root.put("secret/data/folder/", &json!({ "data": {} }))
        .await
        .refused(400, "ending in '/'");
    let patch = root
        .send(
            Method::PATCH,
            "secret/data/x",
            "application/json",
            r#"{"data":{}}"#,
        )
        .await;
    assert_eq!(patch.status, 415, "{}", patch.text());
    let read = root
        .header("x-vault-namespace", "elsewhere")
        .get("sys/mounts")
        .await;
    read.refused(404, "namespace not found");
    head.lives().await;
}

#[tokio::test]
async fn a_head_that_is_sent_too_slowly_is_cut_off_and_bodies_are_answered() {
    let (head, root) = zone().await;
    let mut slow = head.raw().await;
    slow.send("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await;
    let mut silent = tokio::net::TcpStream::connect(head.address).await.unwrap();
    // 10 seconds each, at the same time: a request head, and a handshake.
    let mut byte = [0];
    let (header, handshake) = tokio::join!(
        slow.answer(),
        tokio::io::AsyncReadExt::read(&mut silent, &mut byte)
    );
    assert!(header.is_none_or(|answer| answer.status == 408));
    assert!(matches!(handshake, Ok(0) | Err(_)));
    // A body that ends early is no request.
    let mut short = head.raw().await;
    short
        .send("PUT /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"reset\":")
        .await;
    drop(short);
    root.get("sys/mounts").await.expect(200);
}

#[tokio::test]
async fn wrong_types_in_fields_are_400_never_500() {
    let (head, root) = zone().await;
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ask = json!({ "common_name": "root", "key_type": "ec", "ttl": "24h" });
    root.put("pki/root/generate/internal", &ask)
        .await
        .expect(200);
    let values = [
        json!(-1),
        json!(1e300),
        json!([[]]),
        json!({ "a": {} }),
        json!("\u{0}"),
        json!(u64::MAX),
    ];
    for (path, fields) in FIELDS {
        for field in *fields {
            for value in &values {
                let mut body = serde_json::Map::new();
                body.insert((*field).to_owned(), value.clone());
                let answer = root.put(path, &Value::Object(body)).await;
                assert!(
                    answer.status < 500,
                    "{path} {field}={value}: {} {}",
                    answer.status,
                    answer.text()
                );
            }
        }
    }
    assert!(
        !head.process.log().contains("panicked"),
        "{}",
        head.process.log()
    );
    head.lives().await;
}

/// Endpoints with their fields.
pub(crate) const FIELDS: &[(&str, &[&str])] = &[
    ("secret/data/t", &["data", "options"]),
    (
        "secret/metadata/t",
        &[
            "max_versions",
            "cas_required",
            "delete_version_after",
            "custom_metadata",
        ],
    ),
    (
        "secret/config",
        &["max_versions", "cas_required", "delete_version_after"],
    ),
    ("secret/delete/t", &["versions"]),
    ("secret/undelete/t", &["versions"]),
    ("secret/destroy/t", &["versions"]),
    (
        "auth/token/create",
        &[
            "id",
            "policies",
            "meta",
            "ttl",
            "period",
            "num_uses",
            "bound_cidrs",
            "explicit_max_ttl",
            "type",
        ],
    ),
    ("auth/token/lookup", &["token"]),
    ("auth/token/lookup-accessor", &["accessor"]),
    ("auth/token/renew-self", &["increment"]),
    ("auth/token/revoke", &["token"]),
    ("sys/policies/acl/t", &["policy"]),
    (
        "sys/mounts/t",
        &["type", "options", "config", "description"],
    ),
    (
        "sys/mounts/secret/tune",
        &[
            "default_lease_ttl",
            "max_lease_ttl",
            "listing_visibility",
            "options",
        ],
    ),
    ("sys/audit/t", &["type", "options", "description"]),
    ("sys/audit-hash/file", &["input"]),
    ("sys/capabilities-self", &["paths", "path"]),
    ("sys/capabilities", &["token", "paths"]),
    (
        "pki/roles/t",
        &[
            "allowed_domains",
            "ttl",
            "max_ttl",
            "key_type",
            "key_bits",
            "key_usage",
            "ext_key_usage_oids",
            "country",
            "not_after",
        ],
    ),
    (
        "pki/issue/t",
        &[
            "common_name",
            "alt_names",
            "ip_sans",
            "uri_sans",
            "other_sans",
            "ttl",
            "format",
        ],
    ),
    ("pki/sign/t", &["csr", "common_name"]),
    ("pki/revoke", &["serial_number", "certificate"]),
    ("pki/config/ca", &["pem_bundle"]),
    (
        "pki/config/urls",
        &[
            "issuing_certificates",
            "crl_distribution_points",
            "ocsp_servers",
        ],
    ),
    ("pki/config/crl", &["expiry", "auto_rebuild", "disable"]),
    ("pki/config/issuers", &["default"]),
    (
        "pki/root/generate/internal",
        &[
            "common_name",
            "key_type",
            "key_bits",
            "ttl",
            "max_path_length",
            "permitted_dns_domains",
        ],
    ),
    ("sys/unseal", &["key", "reset", "migrate"]),
    (
        "sys/init",
        &[
            "secret_shares",
            "secret_threshold",
            "age_recipients",
            "pgp_keys",
        ],
    ),
];

/// What hashing took goes back: 64 logins at once took a head to hundreds of MiB for good.
#[tokio::test]
async fn attack_a_flood_of_logins_leaves_no_memory_behind() {
    let (head, root) = zone().await;
    root.put("sys/auth/userpass", &json!({ "type": "userpass" }))
        .await
        .expect(204);
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", head.process.id()));
        let status = status.expect("the head runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") / 1024
    };
    let before = resident();
    let mut logins = tokio::task::JoinSet::new();
    for number in 0..64 {
        let api = head.api();
        logins.spawn(async move {
            let path = format!("auth/userpass/login/nobody{number}");
            api.put(&path, &json!({ "password": "no" })).await.status
        });
    }
    while let Some(status) = logins.join_next().await {
        assert_eq!(status.expect("answered"), 400);
    }
    let after = resident();
    assert!(
        after < before + 64,
        "{before} MiB before, {after} MiB after"
    );
}
