//! What commands ask of a server and print of its answers. The server's side of each exchange is
//! written down here; the real server is asked in the end-to-end tests.

use expect_test::{Expect, expect};

use crate::testing::{Answers, Lab, Script};

/// Runs a command against a scripted server: exit code, requests, output, messages.
async fn check(answers: Answers, arguments: &[&str], expected: Expect) {
    check_with("", answers, arguments, expected).await;
}

async fn check_with(input: &str, answers: Answers, arguments: &[&str], expected: Expect) {
    let script = Script::start(answers).await;
    let mut lab = script.lab();
    lab.input(input);
    let code = lab.run(arguments).await;
    let mut shown = format!("exit {code}\n");
    for request in script.seen() {
        shown.push_str(&format!("> {}\n", request.replace('\n', "\n> ")));
    }
    shown.push_str(&lab.stdout());
    for line in lab.stderr().lines() {
        shown.push_str(format!("! {line}").trim_end());
        shown.push('\n');
    }
    expected.assert_eq(&shown.replace(&script.authority(), "SERVER"));
}

const MOUNT: (&str, u16, &str) = (
    "GET /v1/sys/internal/ui/mounts/",
    200,
    r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#,
);
const OLD_MOUNT: (&str, u16, &str) = (
    "GET /v1/sys/internal/ui/mounts/",
    200,
    r#"{"data":{"path":"kv/","type":"kv","options":null}}"#,
);
const SECRET: &str = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,
    "data":{"data":{"user":"app","n":5},"metadata":{"created_time":"2026-11-26T09:00:00Z",
    "custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}},
    "wrap_info":null,"warnings":null,"auth":null}"#;
const WRITTEN: &str = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,
    "data":{"created_time":"2026-11-26T09:00:00Z","custom_metadata":null,"deletion_time":"",
    "destroyed":false,"version":3},"warnings":null}"#;
const DENIED: &str = r#"{"errors":["permission denied"]}"#;

#[tokio::test]
async fn kv_get_prints_metadata_and_data() {
    const ANSWERS: Answers = &[MOUNT, ("GET /v1/secret/data/app/db", 200, SECRET)];
    check(
        ANSWERS,
        &["kv", "get", "-mount=secret", "app/db"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret
            > GET /v1/secret/data/app/db
            === Secret Path ===
            secret/data/app/db

            ======= Metadata =======
            Key                Value
            ---                -----
            created_time       2026-11-26T09:00:00Z
            custom_metadata    <nil>
            deletion_time      n/a
            destroyed          false
            version            2

            ==== Data ====
            Key     Value
            ---     -----
            n       5
            user    app
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "get", "-field=user", "secret/app/db"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/app/db
            > GET /v1/secret/data/app/db
            app"#]],
    )
    .await;
    check(
        ANSWERS,
        &[
            "kv",
            "get",
            "-version",
            "2",
            "-format=json",
            "secret/app/db",
        ],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/app/db
            > GET /v1/secret/data/app/db?version=2
            {
              "request_id": "r",
              "lease_id": "",
              "lease_duration": 0,
              "renewable": false,
              "data": {
                "data": {
                  "n": 5,
                  "user": "app"
                },
                "metadata": {
                  "created_time": "2026-11-26T09:00:00Z",
                  "custom_metadata": null,
                  "deletion_time": "",
                  "destroyed": false,
                  "version": 2
                }
              },
              "warnings": null
            }
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "get", "-field=none", "secret/app/db"],
        expect![[r#"
            exit 1
            > GET /v1/sys/internal/ui/mounts/secret/app/db
            > GET /v1/secret/data/app/db
            ! Field "none" not present in secret
        "#]],
    )
    .await;
}

#[tokio::test]
async fn kv_get_shows_what_is_left_of_a_deleted_version() {
    const GONE: &str = r#"{"data":{"data":null,"metadata":{"deletion_time":"2026-11-26T09:00:00Z",
        "destroyed":false,"version":1}}}"#;
    const ANSWERS: Answers = &[MOUNT, ("GET /v1/secret/data/app", 404, GONE)];
    check(ANSWERS, &["kv", "get", "secret/app"], expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/app
        > GET /v1/secret/data/app
        = Secret Path =
        secret/data/app

        ====== Metadata ======
        Key              Value
        ---              -----
        deletion_time    2026-11-26T09:00:00Z
        destroyed        false
        version          1

    "#]]).await;
    check(
        ANSWERS,
        &["kv", "get", "-field=a", "secret/app"],
        expect![[r#"
            exit 2
            > GET /v1/sys/internal/ui/mounts/secret/app
            > GET /v1/secret/data/app
            ! No data found at secret/data/app
        "#]],
    )
    .await;
    check(&[MOUNT], &["kv", "get", "secret/none"], expect![[r#"
        exit 2
        > GET /v1/sys/internal/ui/mounts/secret/none
        > GET /v1/secret/data/none
        ! No value found at secret/data/none
    "#]]).await;
}

#[tokio::test]
async fn kv_knows_version_1() {
    const ANSWERS: Answers = &[
        OLD_MOUNT,
        (
            "GET /v1/kv/app",
            200,
            r#"{"data":{"a":"b"},"lease_duration":2764800}"#,
        ),
        ("PUT /v1/kv/app", 204, ""),
    ];
    check(ANSWERS, &["kv", "get", "kv/app"], expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/kv/app
        > GET /v1/kv/app
        == Data ==
        Key    Value
        ---    -----
        a      b
    "#]]).await;
    check(
        ANSWERS,
        &["kv", "put", "-mount=kv", "app", "a=b"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/kv
            > PUT /v1/kv/app
            > {"a":"b"}
            Success! Data written to: kv/app
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "rollback", "-version=1", "kv/app"],
        expect![[r#"
            exit 2
            > GET /v1/sys/internal/ui/mounts/kv/app
            ! K/V engine mount must be version 2 for rollback support
        "#]],
    )
    .await;
}

#[tokio::test]
async fn kv_put_sends_texts_and_the_check() {
    const ANSWERS: Answers = &[MOUNT, ("PUT /v1/secret/data/", 200, WRITTEN)];
    let arguments = [
        "kv",
        "put",
        "-cas=0",
        "-mount=secret",
        "app/db",
        "user=app",
        "n=5",
        "p=-",
    ];
    check_with("hunter2", ANSWERS, &arguments, expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret
        > PUT /v1/secret/data/app/db
        > {"data":{"user":"app","n":"5","p":"hunter2"},"options":{"cas":0}}
        === Secret Path ===
        secret/data/app/db

        ======= Metadata =======
        Key                Value
        ---                -----
        created_time       2026-11-26T09:00:00Z
        custom_metadata    <nil>
        deletion_time      n/a
        destroyed          false
        version            3
    "#]]).await;
    check(ANSWERS, &["kv", "put", "secret/a b", "k=v"], expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/a%20b
        > PUT /v1/secret/data/a%20b
        > {"data":{"k":"v"},"options":{}}
        = Secret Path =
        secret/data/a b

        ======= Metadata =======
        Key                Value
        ---                -----
        created_time       2026-11-26T09:00:00Z
        custom_metadata    <nil>
        deletion_time      n/a
        destroyed          false
        version            3
    "#]]).await;
    check(ANSWERS, &["kv", "put", "secret/a"], expect![[r#"
        exit 1
        ! Must supply data
    "#]]).await;
    const CONFLICT: Answers = &[
        MOUNT,
        (
            "PUT /v1/secret/data/",
            400,
            r#"{"errors":["check-and-set parameter did not match the current version"]}"#,
        ),
    ];
    check(
        CONFLICT,
        &["kv", "put", "-cas=1", "secret/a", "k=v"],
        expect![[r#"
            exit 2
            > GET /v1/sys/internal/ui/mounts/secret/a
            > PUT /v1/secret/data/a
            > {"data":{"k":"v"},"options":{"cas":1}}
            ! Error writing data to secret/data/a: Error making API request.
            !
            ! URL: PUT http://SERVER/v1/secret/data/a
            ! Code: 400. Errors:
            !
            ! * check-and-set parameter did not match the current version
        "#]],
    )
    .await;
}

#[tokio::test]
async fn kv_patch_falls_back_to_read_and_write() {
    const ANSWERS: Answers = &[
        MOUNT,
        ("PATCH /v1/secret/data/a", 403, DENIED),
        ("GET /v1/secret/data/a", 200, SECRET),
        ("PUT /v1/secret/data/a", 200, WRITTEN),
    ];
    let arguments = [
        "kv",
        "patch",
        "-format=json",
        "-remove-data=user",
        "secret/a",
        "k=v",
    ];
    check(ANSWERS, &arguments, expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/a
        > PATCH /v1/secret/data/a
        > content-type: application/merge-patch+json
        > {"data":{"k":"v","user":null},"options":{}}
        > GET /v1/secret/data/a
        > PUT /v1/secret/data/a
        > {"data":{"n":5,"k":"v"},"options":{"cas":2}}
        {
          "request_id": "r",
          "lease_id": "",
          "lease_duration": 0,
          "renewable": false,
          "data": {
            "created_time": "2026-11-26T09:00:00Z",
            "custom_metadata": null,
            "deletion_time": "",
            "destroyed": false,
            "version": 3
          },
          "warnings": null
        }
        ! The server refused to patch secret/data/a, so it was read and written again. Grant the capability 'patch' to spare that.
        !
    "#]]).await;
    check(
        ANSWERS,
        &["kv", "patch", "-method=patch", "secret/a", "k=v"],
        expect![[r#"
            exit 2
            > GET /v1/sys/internal/ui/mounts/secret/a
            > PATCH /v1/secret/data/a
            > content-type: application/merge-patch+json
            > {"data":{"k":"v"},"options":{}}
            ! Error writing data to secret/data/a: Error making API request.
            !
            ! URL: PATCH http://SERVER/v1/secret/data/a
            ! Code: 403. Errors:
            !
            ! * permission denied
        "#]],
    )
    .await;
    const ALLOWED: Answers = &[MOUNT, ("PATCH /v1/secret/data/a", 200, WRITTEN)];
    check(
        ALLOWED,
        &["kv", "patch", "-cas=2", "-field=version", "secret/a", "k=v"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > PATCH /v1/secret/data/a
            > content-type: application/merge-patch+json
            > {"data":{"k":"v"},"options":{"cas":2}}
            3"#]],
    )
    .await;
}

#[tokio::test]
async fn kv_versions() {
    const ANSWERS: Answers = &[
        MOUNT,
        ("PUT /v1/secret/delete/", 204, ""),
        ("PUT /v1/secret/undelete/", 204, ""),
        ("PUT /v1/secret/destroy/", 204, ""),
        ("DELETE /v1/secret/data/", 204, ""),
        ("DELETE /v1/secret/metadata/", 204, ""),
        ("GET /v1/secret/data/a", 200, SECRET),
        ("PUT /v1/secret/data/a", 200, WRITTEN),
    ];
    check(ANSWERS, &["kv", "delete", "secret/a"], expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/a
        > DELETE /v1/secret/data/a
        Success! Data deleted (if it existed) at: secret/data/a
    "#]]).await;
    check(
        ANSWERS,
        &["kv", "delete", "-versions=1,2", "-versions=3", "secret/a"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > PUT /v1/secret/delete/a
            > {"versions":["1","2","3"]}
            Success! Data deleted (if it existed) at: secret/data/a
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "undelete", "-versions=1", "secret/a"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > PUT /v1/secret/undelete/a
            > {"versions":["1"]}
            Success! Data written to: secret/undelete/a
        "#]],
    )
    .await;
    check(ANSWERS, &["kv", "destroy", "secret/a"], expect![[r#"
        exit 1
        ! No versions provided, use -versions to name the versions to destroy
    "#]]).await;
    check(
        ANSWERS,
        &["kv", "metadata", "delete", "secret/a"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > DELETE /v1/secret/metadata/a
            Success! Data deleted (if it existed) at: secret/metadata/a
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "rollback", "-version=1", "-format=json", "secret/a"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > GET /v1/secret/data/a
            > GET /v1/secret/data/a?version=1
            > PUT /v1/secret/data/a
            > {"data":{"user":"app","n":5},"options":{"cas":2}}
            {
              "request_id": "r",
              "lease_id": "",
              "lease_duration": 0,
              "renewable": false,
              "data": {
                "created_time": "2026-11-26T09:00:00Z",
                "custom_metadata": null,
                "deletion_time": "",
                "destroyed": false,
                "version": 3
              },
              "warnings": null
            }
        "#]],
    )
    .await;
}

#[tokio::test]
async fn kv_metadata() {
    const ANSWERS: Answers = &[
        MOUNT,
        (
            "GET /v1/secret/metadata/a",
            200,
            r#"{"data":{"cas_required":false,"current_version":2,"delete_version_after":"0s",
            "versions":{"10":{"destroyed":false,"deletion_time":""},"2":{"destroyed":true,
            "deletion_time":""}}}}"#,
        ),
        ("PUT /v1/secret/metadata/a", 204, ""),
        ("PATCH /v1/secret/metadata/a", 204, ""),
        (
            "GET /v1/secret/metadata?list=true",
            200,
            r#"{"data":{"keys":["b/","a"]}}"#,
        ),
    ];
    check(
        ANSWERS,
        &["kv", "metadata", "get", "secret/a"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > GET /v1/secret/metadata/a
            = Metadata Path =
            secret/metadata/a

            ========== Metadata ==========
            Key                     Value
            ---                     -----
            cas_required            false
            current_version         2
            delete_version_after    0s

            ====== Version 2 ======
            Key              Value
            ---              -----
            deletion_time    n/a
            destroyed        true

            ===== Version 10 =====
            Key              Value
            ---              -----
            deletion_time    n/a
            destroyed        false
        "#]],
    )
    .await;
    let put = [
        "kv",
        "metadata",
        "put",
        "-max-versions=0",
        "-cas-required",
        "secret/a",
    ];
    check(ANSWERS, &put, expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/a
        > PUT /v1/secret/metadata/a
        > {"max_versions":0,"cas_required":true}
        Success! Data written to: secret/metadata/a
    "#]]).await;
    let patch = [
        "kv",
        "metadata",
        "patch",
        "-mount=secret",
        "-custom-metadata=who=me=you",
        "-remove-custom-metadata=old",
        "-delete-version-after=1h",
        "a",
    ];
    check(ANSWERS, &patch, expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret
        > PATCH /v1/secret/metadata/a
        > content-type: application/merge-patch+json
        > {"delete_version_after":"1h","custom_metadata":{"who":"me=you","old":null}}
        Success! Data written to: secret/metadata/a
    "#]]).await;
    check(ANSWERS, &["kv", "list", "-mount=secret"], expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret
        > GET /v1/secret/metadata?list=true
        Keys
        ----
        a
        b/
    "#]]).await;
    check(
        ANSWERS,
        &["kv", "list", "-format=json", "secret"],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret
            > GET /v1/secret/metadata?list=true
            [
              "b/",
              "a"
            ]
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "list", "-format=json", "secret/none"],
        expect![[r#"
            exit 2
            > GET /v1/sys/internal/ui/mounts/secret/none
            > GET /v1/secret/metadata/none?list=true
            {}
        "#]],
    )
    .await;
    check(ANSWERS, &["kv", "list", "secret/none"], expect![[r#"
        exit 2
        > GET /v1/sys/internal/ui/mounts/secret/none
        > GET /v1/secret/metadata/none?list=true
        ! No value found at secret/metadata/none
    "#]]).await;
}

#[tokio::test]
async fn generic_paths() {
    const ANSWERS: Answers = &[
        ("GET /v1/sys/x?a=1&a=2", 200, r#"{"data":{"k":"v"}}"#),
        ("GET /v1/pki/ca/pem", 200, "-----BEGIN CERTIFICATE-----\n"),
        ("GET /v1/pki/denied", 403, DENIED),
        (
            "PUT /v1/pki/issue/web",
            200,
            r#"{"data":{"serial_number":"0a"},"warnings":["short"]}"#,
        ),
        (
            "PUT /v1/secret/a",
            404,
            r#"{"errors":[],"warnings":["Invalid path for K/V"]}"#,
        ),
        ("PUT /v1/sys/rotate", 204, ""),
        ("PATCH /v1/pki/roles/web", 200, r#"{"data":{"ttl":60}}"#),
        ("DELETE /v1/pki/roles/web", 204, ""),
        (
            "GET /v1/pki/certs?list=true&after=a&limit=2",
            200,
            r#"{"data":{"keys":["c","b"]}}"#,
        ),
    ];
    check(ANSWERS, &["read", "/sys/x/", "a=1", "a=2"], expect![[r#"
        exit 0
        > GET /v1/sys/x?a=1&a=2
        Key    Value
        ---    -----
        k      v
    "#]]).await;
    check(
        ANSWERS,
        &["read", "-format=raw", "pki/ca/pem"],
        expect![[r#"
            exit 0
            > GET /v1/pki/ca/pem
            -----BEGIN CERTIFICATE-----
        "#]],
    )
    .await;
    check(ANSWERS, &["read", "pki/ca/pem"], expect![[r#"
        exit 2
        > GET /v1/pki/ca/pem
        ! Error reading pki/ca/pem: the answer of http://SERVER/v1/pki/ca/pem cannot be read: it is not JSON; 'zonehead read -format=raw' shows it as it is
    "#]]).await;
    check(
        ANSWERS,
        &["read", "-format=raw", "pki/denied"],
        expect![[r#"
            exit 2
            > GET /v1/pki/denied
            ! Error reading pki/denied: Error making API request.
            !
            ! URL: GET http://SERVER/v1/pki/denied
            ! Code: 403. Errors:
            !
            ! * permission denied
        "#]],
    )
    .await;
    check(ANSWERS, &["read", "pki/none"], expect![[r#"
        exit 2
        > GET /v1/pki/none
        ! No value found at pki/none
    "#]]).await;
    check(
        ANSWERS,
        &["write", "pki/issue/web", "common_name=a"],
        expect![[r#"
            exit 0
            > PUT /v1/pki/issue/web
            > {"common_name":"a"}
            Key              Value
            ---              -----
            serial_number    0a
            ! WARNING! The following warnings were returned from the server:
            !
            !   * short
            !
        "#]],
    )
    .await;
    check(ANSWERS, &["write", "secret/a", "k=v"], expect![[r#"
        exit 2
        > PUT /v1/secret/a
        > {"k":"v"}
        ! WARNING! The following warnings were returned from the server:
        !
        !   * Invalid path for K/V
        !
        ! Error writing data to secret/a: Error making API request.
        !
        ! URL: PUT http://SERVER/v1/secret/a
        ! Code: 404. Errors:
        !
    "#]]).await;
    check(ANSWERS, &["write", "-f", "sys/rotate"], expect![[r#"
        exit 0
        > PUT /v1/sys/rotate
        > {}
        Success! Data written to: sys/rotate
    "#]]).await;
    check(ANSWERS, &["write", "sys/rotate"], expect![[r#"
        exit 1
        ! Must supply data or use -force
    "#]]).await;
    check(
        ANSWERS,
        &["patch", "-format=yaml", "pki/roles/web", "ttl=1m"],
        expect![[r#"
            exit 0
            > PATCH /v1/pki/roles/web
            > content-type: application/merge-patch+json
            > {"ttl":"1m"}
            request_id: ""
            lease_id: ""
            lease_duration: 0
            renewable: false
            data:
              ttl: 60
            warnings: null
        "#]],
    )
    .await;
    check(ANSWERS, &["delete", "pki/roles/web"], expect![[r#"
        exit 0
        > DELETE /v1/pki/roles/web
        Success! Data deleted (if it existed) at: pki/roles/web
    "#]]).await;
    check(
        ANSWERS,
        &["list", "-after=a", "-limit=2", "pki/certs"],
        expect![[r#"
            exit 0
            > GET /v1/pki/certs?list=true&after=a&limit=2
            Keys
            ----
            b
            c
        "#]],
    )
    .await;
}

const SEALED: &str = r#"{"type":"shamir","initialized":true,"sealed":true,"t":3,"n":5,"progress":1,
    "nonce":"n-1","version":"1.21.0","zonehead_version":"0.1.0","build_date":"",
    "storage_type":"redb"}"#;
const OPEN: &str = r#"{"type":"shamir","initialized":true,"sealed":false,"t":3,"n":5,"progress":0,
    "nonce":"","version":"1.21.0","storage_type":"redb","cluster_name":"lab","cluster_id":"id"}"#;
const ALONE: &str = r#"{"ha_enabled":false,"is_self":true,"leader_address":""}"#;

#[tokio::test]
async fn status_tells_by_its_exit_code() {
    const SEALED_ANSWERS: Answers = &[
        ("GET /v1/sys/seal-status", 200, SEALED),
        ("GET /v1/sys/leader", 200, ALONE),
    ];
    const OPEN_ANSWERS: Answers = &[
        ("GET /v1/sys/seal-status", 200, OPEN),
        ("GET /v1/sys/leader", 200, ALONE),
    ];
    check(SEALED_ANSWERS, &["status"], expect![[r#"
        exit 2
        > GET /v1/sys/seal-status
        > GET /v1/sys/leader
        Key                 Value
        ---                 -----
        Seal Type           shamir
        Initialized         true
        Sealed              true
        Total Shares        5
        Threshold           3
        Unseal Progress     1/3
        Unseal Nonce        n-1
        Version             1.21.0
        Zonehead Version    0.1.0
        Storage Type        redb
        HA Enabled          false
    "#]]).await;
    check(OPEN_ANSWERS, &["status"], expect![[r#"
        exit 0
        > GET /v1/sys/seal-status
        > GET /v1/sys/leader
        Key             Value
        ---             -----
        Seal Type       shamir
        Initialized     true
        Sealed          false
        Total Shares    5
        Threshold       3
        Version         1.21.0
        Storage Type    redb
        Cluster Name    lab
        Cluster ID      id
        HA Enabled      false
    "#]]).await;
    check(OPEN_ANSWERS, &["status", "-format=json"], expect![[r#"
        exit 0
        > GET /v1/sys/seal-status
        > GET /v1/sys/leader
        {
          "cluster_id": "id",
          "cluster_name": "lab",
          "ha_enabled": false,
          "initialized": true,
          "n": 5,
          "nonce": "",
          "progress": 0,
          "sealed": false,
          "storage_type": "redb",
          "t": 3,
          "type": "shamir",
          "version": "1.21.0"
        }
    "#]]).await;
    check(SEALED_ANSWERS, &["status", "-field=sealed"], expect![[r#"
        exit 2
        > GET /v1/sys/seal-status
        > GET /v1/sys/leader
        true"#]]).await;
    check(
        &[("GET", 500, r#"{"errors":["x"]}"#)],
        &["status"],
        expect![[r#"
            exit 1
            > GET /v1/sys/seal-status
            ! Error checking seal status: Error making API request.
            !
            ! URL: GET http://SERVER/v1/sys/seal-status
            ! Code: 500. Errors:
            !
            ! * x
        "#]],
    )
    .await;
    check(&[("GET", 200, "<html>")], &["status"], expect![[r#"
        exit 1
        > GET /v1/sys/seal-status
        ! Error checking seal status: the answer of http://SERVER/v1/sys/seal-status cannot be read: it is not JSON; 'zonehead read -format=raw' shows it as it is
    "#]]).await;
}

#[tokio::test]
async fn init_prints_shares_once() {
    const ANSWERS: Answers = &[
        (
            "PUT /v1/sys/init",
            200,
            r#"{"keys":["6b31","6b32"],"keys_base64":["azE=","azI="],"root_token":"hvs.root"}"#,
        ),
        ("GET /v1/sys/init", 200, r#"{"initialized":false}"#),
    ];
    check(
        ANSWERS,
        &["operator", "init", "-n=2", "-t", "2"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/init
            > {"secret_shares":2,"secret_threshold":2}
            Unseal Key 1: azE=
            Unseal Key 2: azI=

            Initial Root Token: hvs.root

            The store is initialized with 2 key shares and a threshold of 2. Give the
            shares to their holders now: nobody can print them again. After each start and
            each seal, 2 of them unseal the store. Without 2 of them it stays sealed for ever.
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["init", "-key-shares=2", "-key-threshold=2", "-format=json"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/init
            > {"secret_shares":2,"secret_threshold":2}
            {
              "recovery_keys_b64": [],
              "recovery_keys_hex": [],
              "recovery_keys_shares": 0,
              "recovery_keys_threshold": 0,
              "root_token": "hvs.root",
              "unseal_keys_b64": [
                "azE=",
                "azI="
              ],
              "unseal_keys_hex": [
                "6b31",
                "6b32"
              ],
              "unseal_shares": 2,
              "unseal_threshold": 2
            }
        "#]],
    )
    .await;
    check(ANSWERS, &["operator", "init", "-status"], expect![[r#"
        exit 2
        > GET /v1/sys/init
        The store is not initialized
    "#]]).await;
    const AGE: Answers = &[(
        "PUT /v1/sys/init",
        200,
        r#"{"keys":[],"keys_base64":[],"keys_age":["-----BEGIN AGE-----\nx\n"],"root_token":"t"}"#,
    )];
    let arguments = [
        "init",
        "-n=1",
        "-t=1",
        "-age-recipients=age1a, age1b",
        "-age-recipients=age1c",
    ];
    check(AGE, &arguments, expect![[r#"
        exit 0
        > PUT /v1/sys/init
        > {"secret_shares":1,"secret_threshold":1,"age_recipients":["age1a","age1b","age1c"]}
        Unseal Key 1 (age):
        -----BEGIN AGE-----
        x


        Initial Root Token: t

        The store is initialized with 1 key shares and a threshold of 1. Give the
        shares to their holders now: nobody can print them again. After each start and
        each seal, 1 of them unseal the store. Without 1 of them it stays sealed for ever.
    "#]]).await;
}

#[tokio::test]
async fn unseal_reads_the_share_from_standard_input() {
    const ANSWERS: Answers = &[
        ("PUT /v1/sys/unseal", 200, SEALED),
        ("GET /v1/sys/leader", 200, ALONE),
    ];
    check_with("azE=\n", ANSWERS, &["unseal"], expect![[r#"
        exit 0
        > PUT /v1/sys/unseal
        > {"key":"azE="}
        > GET /v1/sys/leader
        Key                 Value
        ---                 -----
        Seal Type           shamir
        Initialized         true
        Sealed              true
        Total Shares        5
        Threshold           3
        Unseal Progress     1/3
        Unseal Nonce        n-1
        Version             1.21.0
        Zonehead Version    0.1.0
        Storage Type        redb
        HA Enabled          false
    "#]]).await;
    check_with(
        "azE=\n",
        ANSWERS,
        &["operator", "unseal", "-format=json", "-"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/unseal
            > {"key":"azE="}
            > GET /v1/sys/leader
            {
              "build_date": "",
              "ha_enabled": false,
              "initialized": true,
              "n": 5,
              "nonce": "n-1",
              "progress": 1,
              "sealed": true,
              "storage_type": "redb",
              "t": 3,
              "type": "shamir",
              "version": "1.21.0",
              "zonehead_version": "0.1.0"
            }
        "#]],
    )
    .await;
    check(ANSWERS, &["operator", "unseal", "azI="], expect![[r#"
        exit 0
        > PUT /v1/sys/unseal
        > {"key":"azI="}
        > GET /v1/sys/leader
        Key                 Value
        ---                 -----
        Seal Type           shamir
        Initialized         true
        Sealed              true
        Total Shares        5
        Threshold           3
        Unseal Progress     1/3
        Unseal Nonce        n-1
        Version             1.21.0
        Zonehead Version    0.1.0
        Storage Type        redb
        HA Enabled          false
    "#]]).await;
    check(ANSWERS, &["unseal", "-reset"], expect![[r#"
        exit 0
        > PUT /v1/sys/unseal
        > {"reset":true}
        > GET /v1/sys/leader
        Key                 Value
        ---                 -----
        Seal Type           shamir
        Initialized         true
        Sealed              true
        Total Shares        5
        Threshold           3
        Unseal Progress     1/3
        Unseal Nonce        n-1
        Version             1.21.0
        Zonehead Version    0.1.0
        Storage Type        redb
        HA Enabled          false
    "#]]).await;
    check(ANSWERS, &["unseal"], expect![[r#"
        exit 1
        ! The share is empty
    "#]]).await;
    check(ANSWERS, &["unseal", "-non-interactive"], expect![[r#"
        exit 1
        ! Not enough arguments: -non-interactive wants the share as an argument
    "#]]).await;
    const WRONG: Answers = &[(
        "PUT /v1/sys/unseal",
        400,
        r#"{"errors":["this is no share of the unseal key"]}"#,
    )];
    check_with("hunter2", WRONG, &["unseal"], expect![[r#"
        exit 2
        > PUT /v1/sys/unseal
        > {"key":"hunter2"}
        ! Error unsealing: Error making API request.
        !
        ! URL: PUT http://SERVER/v1/sys/unseal
        ! Code: 400. Errors:
        !
        ! * this is no share of the unseal key
    "#]]).await;
}

#[tokio::test]
async fn seal_rotate_and_key_status() {
    const ANSWERS: Answers = &[
        ("PUT /v1/sys/seal", 204, ""),
        ("PUT /v1/sys/rotate", 204, ""),
        (
            "GET /v1/sys/key-status",
            200,
            r#"{"data":{"term":2,"install_time":"2026-11-26T09:00:00.5Z","encryptions":7}}"#,
        ),
    ];
    check(ANSWERS, &["seal"], expect![[r#"
        exit 0
        > PUT /v1/sys/seal
        > {}
        Success! The store is sealed.
    "#]]).await;
    check(ANSWERS, &["operator", "rotate"], expect![[r#"
        exit 0
        > PUT /v1/sys/rotate
        > {}
        > GET /v1/sys/key-status
        Success! Rotated key

        Key Term            2
        Install Time        26 Nov 26 09:00 UTC
        Encryption Count    7
    "#]]).await;
    check(
        ANSWERS,
        &["operator", "key-status", "-format=yaml"],
        expect![[r#"
            exit 0
            > GET /v1/sys/key-status
            encryptions: 7
            install_time: "2026-11-26T09:00:00.5Z"
            term: 2
        "#]],
    )
    .await;
}

#[tokio::test]
async fn tokens() {
    const AUTH: &str = r#"{"auth":{"client_token":"hvs.new","accessor":"acc","policies":["app"],
        "token_policies":["app"],"metadata":null,"lease_duration":60,"renewable":true,
        "orphan":false,"entity_id":""}}"#;
    const ANSWERS: Answers = &[
        ("PUT /v1/auth/token/create", 200, AUTH),
        ("PUT /v1/auth/token/renew", 200, AUTH),
        (
            "GET /v1/auth/token/lookup-self",
            200,
            r#"{"data":{"id":"hvs.canary","ttl":60}}"#,
        ),
        (
            "PUT /v1/auth/token/lookup",
            200,
            r#"{"data":{"accessor":"acc"}}"#,
        ),
        ("PUT /v1/auth/token/revoke", 204, ""),
        (
            "PUT /v1/sys/capabilities",
            200,
            r#"{"data":{"capabilities":["update","read"]}}"#,
        ),
    ];
    let create = [
        "token",
        "create",
        "-policy=app",
        "-policy=b,c",
        "-ttl=1h",
        "-orphan",
        "-renewable=false",
        "-use-limit=3",
        "-metadata=who=me",
        "-field=token",
    ];
    check(ANSWERS, &create, expect![[r#"
        exit 0
        > PUT /v1/auth/token/create
        > {"ttl":"1h","policies":["app","b","c"],"meta":{"who":"me"},"num_uses":3,"no_parent":true,"no_default_policy":false,"renewable":false}
        hvs.new"#]]).await;
    check(ANSWERS, &["token", "create"], expect![[r#"
        exit 0
        > PUT /v1/auth/token/create
        > {"no_parent":false,"no_default_policy":false,"renewable":true}
        Key                  Value
        ---                  -----
        token                hvs.new
        token_accessor       acc
        token_duration       1m
        token_renewable      true
        token_policies       ["app"]
        identity_policies    []
        policies             ["app"]
    "#]]).await;
    check(ANSWERS, &["token", "lookup"], expect![[r#"
        exit 0
        > GET /v1/auth/token/lookup-self
        Key    Value
        ---    -----
        id     hvs.canary
        ttl    1m
    "#]]).await;
    check(
        ANSWERS,
        &["token", "lookup", "-accessor", "acc"],
        expect![[r#"
            exit 0
            > PUT /v1/auth/token/lookup-accessor
            > {"accessor":"acc"}
            Key         Value
            ---         -----
            accessor    acc
        "#]],
    )
    .await;
    check(ANSWERS, &["token", "renew", "-i", "5m"], expect![[r#"
        exit 0
        > PUT /v1/auth/token/renew-self
        > {"increment":"5m"}
        Key                  Value
        ---                  -----
        token                hvs.new
        token_accessor       acc
        token_duration       1m
        token_renewable      true
        token_policies       ["app"]
        identity_policies    []
        policies             ["app"]
    "#]]).await;
    check(ANSWERS, &["token", "revoke", "-self"], expect![[r#"
        exit 0
        > PUT /v1/auth/token/revoke-self
        > {}
        Success! Revoked token (if it existed)
    "#]]).await;
    check(
        ANSWERS,
        &["token", "revoke", "-mode=orphan", "hvs.x"],
        expect![[r#"
            exit 0
            > PUT /v1/auth/token/revoke-orphan
            > {"token":"hvs.x"}
            Success! Revoked token (if it existed)
        "#]],
    )
    .await;
    check(ANSWERS, &["token", "revoke"], expect![[r#"
        exit 1
        ! Not enough arguments: name the token or use -self
    "#]]).await;
    check(
        ANSWERS,
        &["token", "capabilities", "secret/data/a"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/capabilities-self
            > {"paths":["secret/data/a"]}
            read, update
        "#]],
    )
    .await;
    check_with(
        "hvs.x\n",
        ANSWERS,
        &["token", "capabilities", "-", "a"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/capabilities
            > {"token":"hvs.x","paths":["a"]}
            read, update
        "#]],
    )
    .await;
}

#[tokio::test]
async fn login_stores_what_the_server_knows() {
    const ANSWERS: Answers = &[(
        "GET /v1/auth/token/lookup-self",
        200,
        r#"{"data":{"id":"x","accessor":"acc","policies":["root"],"ttl":0,"renewable":false}}"#,
    )];
    let script = Script::start(ANSWERS).await;
    let home = tempfile::tempdir().unwrap();
    let home_text = home.path().to_str().unwrap();
    let address = format!("http://{}", script.authority());
    let mut lab = Lab::new(&[("VAULT_ADDR", &address), ("HOME", home_text)]);
    lab.input("hvs.mine\n");
    assert_eq!(lab.run(&["login"]).await, 0);
    expect![[r#"
        Success! You are now logged in. The token below is stored in HOME/.zonehead/token;
        the next commands use it.

        Key                  Value
        ---                  -----
        token                hvs.mine
        token_accessor       acc
        token_duration       ∞
        token_renewable      false
        token_policies       ["root"]
        identity_policies    []
        policies             ["root"]
    "#]].assert_eq(&lab.stdout().replace(home_text, "HOME"));
    let stored = std::fs::read_to_string(home.path().join(".zonehead/token")).unwrap();
    assert_eq!(stored, "hvs.mine");
    assert!(!home.path().join(".vault-token").exists());
    assert!(script.seen()[0].contains("x-vault-token: hvs.mine"));
    // The next command uses it.
    assert_eq!(lab.run(&["token", "lookup"]).await, 0);
    assert!(script.seen()[0].contains("x-vault-token: hvs.mine"));
    // Nothing is stored when it is not wanted.
    assert_eq!(lab.run(&["login", "-token-only", "hvs.other"]).await, 0);
    lab.stderr();
    assert!(lab.stdout().ends_with("hvs.other"));
    assert_eq!(script.seen().len(), 0);
    assert_eq!(lab.run(&["login", "-no-store", "-no-print", "x"]).await, 1);
    assert_eq!(lab.run(&["login", "-method=ldap", "x"]).await, 1);
}

#[tokio::test]
async fn a_refused_login_stores_nothing_and_shows_no_token() {
    let script = Script::start(&[("GET", 403, DENIED)]).await;
    let home = tempfile::tempdir().unwrap();
    let address = format!("http://{}", script.authority());
    let mut lab = Lab::new(&[
        ("VAULT_ADDR", &address),
        ("HOME", home.path().to_str().unwrap()),
    ]);
    assert_eq!(lab.run(&["login", "token=hvs.wrong"]).await, 2);
    assert_eq!(lab.stdout(), "");
    assert!(!lab.stderr().contains("hvs.wrong"));
    assert!(!home.path().join(".zonehead").exists());
}

#[tokio::test]
async fn policies() {
    const ANSWERS: Answers = &[
        (
            "GET /v1/sys/policies/acl?list=true",
            200,
            r#"{"data":{"keys":["default","root"]}}"#,
        ),
        (
            "GET /v1/sys/policies/acl/app",
            200,
            r#"{"data":{"name":"app","policy":"path \"a\" {}\n"}}"#,
        ),
        ("PUT /v1/sys/policies/acl/app", 204, ""),
        ("DELETE /v1/sys/policies/acl/app", 204, ""),
    ];
    check(ANSWERS, &["policy", "list"], expect![[r#"
        exit 0
        > GET /v1/sys/policies/acl?list=true
        default
        root
    "#]]).await;
    check(ANSWERS, &["policy", "list", "-format=json"], expect![[r#"
        exit 0
        > GET /v1/sys/policies/acl?list=true
        [
          "default",
          "root"
        ]
    "#]]).await;
    check(ANSWERS, &["policy", "read", "App"], expect![[r#"
        exit 0
        > GET /v1/sys/policies/acl/app
        path "a" {}
    "#]]).await;
    check(ANSWERS, &["policy", "read", "none"], expect![[r#"
        exit 2
        > GET /v1/sys/policies/acl/none
        ! No policy named: none
    "#]]).await;
    check_with(
        "path \"a\" {}",
        ANSWERS,
        &["policy", "write", "App", "-"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/policies/acl/app
            > {"policy":"path \"a\" {}"}
            Success! Uploaded policy: app
            ! Policy name was converted from "App" to "app"
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["policy", "write", "app", "/nowhere.hcl"],
        expect![[r#"
            exit 2
            ! Error reading policy /nowhere.hcl: No such file or directory (os error 2)
        "#]],
    )
    .await;
    check(ANSWERS, &["policy", "delete", "app"], expect![[r#"
        exit 0
        > DELETE /v1/sys/policies/acl/app
        Success! Deleted policy: app
    "#]]).await;
}

#[tokio::test]
async fn mounts() {
    const MOUNTS: &str = r#"{"request_id":"r","secret/":{"type":"kv"},"data":{
        "sys/":{"type":"system","accessor":"s","description":"system","config":
        {"default_lease_ttl":0,"max_lease_ttl":0,"force_no_cache":false},"options":null,"uuid":"u1",
        "local":false,"seal_wrap":false,"external_entropy_access":false},
        "secret/":{"type":"kv","accessor":"k","description":"","config":
        {"default_lease_ttl":0,"max_lease_ttl":60,"force_no_cache":false},"options":{"version":"2"},
        "uuid":"u2","local":false,"seal_wrap":false,"external_entropy_access":false}}}"#;
    const ANSWERS: Answers = &[
        ("GET /v1/sys/mounts", 200, MOUNTS),
        ("PUT /v1/sys/mounts/", 204, ""),
        ("DELETE /v1/sys/mounts/", 204, ""),
    ];
    check(ANSWERS, &["secrets", "list"], expect![[r#"
        exit 0
        > GET /v1/sys/mounts
        Path       Type      Accessor    Description
        ----       ----      --------    -----------
        secret/    kv        k           n/a
        sys/       system    s           system
    "#]]).await;
    check(ANSWERS, &["secrets", "list", "-detailed"], expect![[r#"
        exit 0
        > GET /v1/sys/mounts
        Path       Plugin    Accessor    Default TTL    Max TTL    Force No Cache    Replication    Seal Wrap    External Entropy Access    Options           Description    UUID
        ----       ------    --------    -----------    -------    --------------    -----------    ---------    -----------------------    -------           -----------    ----
        secret/    kv        k           system         60         false             replicated     false        false                      map[version:2]    n/a            u2
        sys/       system    s           n/a            n/a        false             replicated     false        false                      map[]             system         u1
    "#]]).await;
    check(
        ANSWERS,
        &["secrets", "enable", "-path=/secret/", "-version=2", "kv"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/mounts/secret
            > {"type":"kv","description":"","config":{},"options":{"version":"2"}}
            Success! Enabled the kv secrets engine at: secret/
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["secrets", "enable", "-max-lease-ttl=1h", "pki"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/mounts/pki
            > {"type":"pki","description":"","config":{"max_lease_ttl":"1h"},"options":null}
            Success! Enabled the pki secrets engine at: pki/
        "#]],
    )
    .await;
    let tune = [
        "secrets",
        "tune",
        "-description=",
        "-audit-non-hmac-request-keys=a,b",
        "-options=x=y",
        "secret/",
    ];
    check(ANSWERS, &tune, expect![[r#"
        exit 0
        > PUT /v1/sys/mounts/secret/tune
        > {"audit_non_hmac_request_keys":["a","b"],"description":"","options":{"x":"y"}}
        Success! Tuned the secrets engine at: secret/
    "#]]).await;
    check(ANSWERS, &["secrets", "disable", "secret/"], expect![[r#"
        exit 0
        > DELETE /v1/sys/mounts/secret
        Success! Disabled the secrets engine (if it existed) at: secret/
    "#]]).await;
}

#[tokio::test]
async fn audit_devices() {
    const ANSWERS: Answers = &[
        (
            "GET /v1/sys/audit",
            200,
            r#"{"data":{"file/":{"type":"file","description":"d","local":false,
            "options":{"file_path":"audit.log"}}}}"#,
        ),
        ("PUT /v1/sys/audit/", 204, ""),
        (
            "DELETE /v1/sys/audit/",
            400,
            r#"{"errors":["the last audit device cannot be removed"]}"#,
        ),
    ];
    check(ANSWERS, &["audit", "list", "-detailed"], expect![[r#"
        exit 0
        > GET /v1/sys/audit
        Path     Type    Description    Replication    Options
        ----     ----    -----------    -----------    -------
        file/    file    d              replicated     file_path=audit.log
    "#]]).await;
    check(
        &[("GET", 200, r#"{"data":{}}"#)],
        &["audit", "list"],
        expect![[r#"
            exit 2
            > GET /v1/sys/audit
            No audit devices are enabled.
        "#]],
    )
    .await;
    let enable = ["audit", "enable", "-path=second", "file", "file_path=b.log"];
    check(ANSWERS, &enable, expect![[r#"
        exit 0
        > PUT /v1/sys/audit/second
        > {"type":"file","description":"","options":{"file_path":"b.log"}}
        Success! Enabled the file audit device at: second/
    "#]]).await;
    check(ANSWERS, &["audit", "disable", "file"], expect![[r#"
        exit 2
        > DELETE /v1/sys/audit/file
        ! Error disabling audit device: Error making API request.
        !
        ! URL: DELETE http://SERVER/v1/sys/audit/file
        ! Code: 400. Errors:
        !
        ! * the last audit device cannot be removed
    "#]]).await;
}

#[tokio::test]
async fn wrong_use_is_explained() {
    for (arguments, expected) in [
        (&["kv", "get"][..], expect![[r#"
            exit 1
            Not enough arguments: <KEY> is missing

            Run 'zonehead kv get -help' for its flags and examples.
        "#]]),
        (&["kv", "get", "a", "hunter2"], expect![[r#"
            exit 1
            Too many arguments

            Run 'zonehead kv get -help' for its flags and examples.
        "#]]),
        (&["kv", "gett", "a"], expect![[r#"
            exit 1
            There is no command 'gett'; did you mean metadata, get?

            Run 'zonehead kv -help' for its flags and examples.
        "#]]),
        (&["hunter"], expect![[r#"
            exit 1
            There is no command 'hunter'

            Run 'zonehead -help' for its flags and examples.
        "#]]),
        (&["status", "-format=xml"], expect![[r#"
            exit 1
            Invalid output format: xml (table, json, yaml)
        "#]]),
        (&["kv", "get", "-version=two", "a"], expect![[r#"
            exit 1
            Invalid value "two" for -version <n>

            Run 'zonehead kv get -help' for its flags and examples.
        "#]]),
        (&["token", "create", "-orphan=maybe"], expect![[r#"
            exit 1
            Invalid value "maybe" for -orphan[=<orphan>]

            Run 'zonehead token create -help' for its flags and examples.
        "#]]),
        (&["status", "-header=X-Vault-Token=a"], expect![[r#"
            exit 1
            the header X-Vault-Token is set by the client itself
        "#]]),
        (&["kv", "put", "secret/a", "hunter2hunter2"], expect![[r#"
            exit 1
            Failed to parse K=V data: "hunter2h…" is not of the form key=value, key=@file, key=-, @file or -
        "#]]),
    ] {
        let mut lab = Lab::new(&[("VAULT_ADDR", "http://127.0.0.1:1")]);
        let code = lab.run(arguments).await;
        expected.assert_eq(&format!("exit {code}\n{}{}", lab.stdout(), lab.stderr()));
    }
}

#[tokio::test]
async fn help_is_printed_where_it_was_asked_for() {
    let mut lab = Lab::new(&[]);
    assert_eq!(lab.run(&["kv", "undelete", "-help"]).await, 0);
    expect![[r#"
        Usage: zonehead kv undelete [flags] KEY

          Bring back versions of a secret that 'kv delete' hid

          Versions that were destroyed do not come back.

        Examples:

          $ zonehead kv undelete -mount=secret -versions=3 app/db

        Arguments:

          KEY
              The secret; with its mount in front if -mount is not given.

        Flags:

          -versions=<n,…>
              Which versions.

          -mount=<path>
              Where the engine is mounted. Without it the first argument begins with the
              mount, and the server is asked where that ends.

        Output flags:

          -format=<format>
              table, json or yaml. Default: table. [VAULT_FORMAT]

        Connection flags:

          -address=<url>
              Where the server is. Default: https://127.0.0.1:8200. [VAULT_ADDR]

          -ca-cert=<file>
              PEM file with the authority of the server's certificate. Default: what the
              system trusts. [VAULT_CACERT]

          -ca-path=<directory>
              Directory of such files. [VAULT_CAPATH]

          -tls-server-name=<name>
              The name that the server's certificate must hold, if it is not the host of
              the address. [VAULT_TLS_SERVER_NAME]

          -tls-skip-verify
              Take any server certificate. Whoever sits between sees the token.
              [VAULT_SKIP_VERIFY]

          -client-cert=<file>
              PEM file with a client certificate. [VAULT_CLIENT_CERT]

          -client-key=<file>
              PEM file with its private key. [VAULT_CLIENT_KEY]

          -namespace=<path>
              The namespace of the request. [VAULT_NAMESPACE]

          -header=<name=value>
              One more header; can be given several times.

          -disable-redirects
              Do not follow a redirect. [VAULT_DISABLE_REDIRECTS]

          -non-interactive
              Never ask on the terminal.
    "#]].assert_eq(&lab.stdout());
    assert_eq!(lab.run(&["kv"]).await, 1);
    assert_eq!(lab.stdout(), "");
    expect![[r#"
        Usage: zonehead kv COMMAND

          Work with secrets in a key-value engine

        Commands:

          get         Read a secret
          put         Write a secret
          patch       Change some keys of a secret, keep the others
          list        List secrets
          delete      Hide versions of a secret
          undelete    Bring back versions of a secret that 'kv delete' hid
          destroy     Remove the data of versions for good
          rollback    Make an older version of a secret the newest one
          metadata    Work with what is known about a secret: versions, limits, notes

        Run 'zonehead kv COMMAND -help' for flags and examples.
    "#]].assert_eq(&lab.stderr());
}

#[tokio::test]
async fn tokenless_callers_are_told_to_log_in() {
    let script = Script::start(&[("GET", 403, DENIED)]).await;
    let address = format!("http://{}", script.authority());
    let mut lab = Lab::new(&[
        ("ZONEHEAD_ADDR", &address),
        ("VAULT_ADDR", "http://127.0.0.1:1"),
    ]);
    assert_eq!(lab.run(&["read", "secret/data/a", "q=hunter2"]).await, 2);
    expect![[r#"
        Error reading secret/data/a: Error making API request.

        URL: GET http://SERVER/v1/secret/data/a
        Code: 403. Errors:

        * permission denied

        No token was sent: run 'zonehead login', or set VAULT_TOKEN.
    "#]].assert_eq(&lab.stderr().replace(&script.authority(), "SERVER"));
}

#[test]
fn every_group_has_a_purpose() {
    fn walk(command: &clap::Command, words: &str) {
        for below in command.get_subcommands() {
            let words = format!("{words} {}", below.get_name());
            let about = below
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !about.is_empty() && !about.ends_with('.'),
                "{words}: {about:?}"
            );
            if below.get_subcommands().next().is_none() {
                let examples = below
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(examples.contains("zonehead "), "{words} has no example");
            }
            walk(below, &words);
        }
    }
    let command = crate::command();
    command.clone().debug_assert();
    walk(&command, "");
}

/// Each example in the help is one that the parser takes.
#[test]
fn examples_are_right() {
    fn walk(command: &clap::Command, count: &mut usize) {
        for below in command.get_subcommands() {
            let examples = below
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for line in examples.lines().map(str::trim) {
                let own = line.rsplit(" | ").next().unwrap();
                let words = words(own.strip_prefix("zonehead ").unwrap_or(own));
                let read = crate::parse(crate::command(), words.iter().map(Into::into));
                assert!(read.is_ok(), "{line}: {read:?}");
                *count += 1;
            }
            walk(below, count);
        }
    }
    /// Words of a line, with single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (at, part) in line.split('\'').enumerate() {
            match at % 2 {
                0 => {
                    for (at, word) in part.split(' ').enumerate() {
                        if at > 0 {
                            words.push(String::new());
                        }
                        words.last_mut().unwrap().push_str(word);
                    }
                }
                _ => words.last_mut().unwrap().push_str(part),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
    let mut count = 0;
    walk(&crate::command(), &mut count);
    assert!(count > 60, "{count}");
}
