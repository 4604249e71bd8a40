//! `kv …`.

use expect_test::expect;

use super::*;

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
    check(
        ANSWERS,
        &["kv", "get", "secret/app"],
        expect![[r#"
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

    "#]],
    )
    .await;
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
    check(
        &[MOUNT],
        &["kv", "get", "secret/none"],
        expect![[r#"
        exit 2
        > GET /v1/sys/internal/ui/mounts/secret/none
        > GET /v1/secret/data/none
        ! No value found at secret/data/none
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["kv", "get", "kv/app"],
        expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/kv/app
        > GET /v1/kv/app
        == Data ==
        Key    Value
        ---    -----
        a      b
    "#]],
    )
    .await;
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
    check_with(
        "hunter2",
        ANSWERS,
        &arguments,
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "put", "secret/a b", "k=v"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["kv", "put", "secret/a"],
        expect![[r#"
        exit 1
        ! Must supply data
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["kv", "delete", "secret/a"],
        expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/a
        > DELETE /v1/secret/data/a
        Success! Data deleted (if it existed) at: secret/data/a
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["kv", "destroy", "secret/a"],
        expect![[r#"
        exit 1
        ! No versions provided, use -versions to name the versions to destroy
    "#]],
    )
    .await;
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

const METADATA: Answers = &[
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

#[tokio::test]
async fn kv_metadata() {
    check(
        METADATA,
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
    check(
        METADATA,
        &put,
        expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret/a
        > PUT /v1/secret/metadata/a
        > {"max_versions":0,"cas_required":true}
        Success! Data written to: secret/metadata/a
    "#]],
    )
    .await;
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
    check(
        METADATA,
        &patch,
        expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret
        > PATCH /v1/secret/metadata/a
        > content-type: application/merge-patch+json
        > {"delete_version_after":"1h","custom_metadata":{"who":"me=you","old":null}}
        Success! Data written to: secret/metadata/a
    "#]],
    )
    .await;
}

#[tokio::test]
async fn kv_list() {
    check(
        METADATA,
        &["kv", "list", "-mount=secret"],
        expect![[r#"
        exit 0
        > GET /v1/sys/internal/ui/mounts/secret
        > GET /v1/secret/metadata?list=true
        Keys
        ----
        a
        b/
    "#]],
    )
    .await;
    check(
        METADATA,
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
        METADATA,
        &["kv", "list", "-format=json", "secret/none"],
        expect![[r#"
            exit 2
            > GET /v1/sys/internal/ui/mounts/secret/none
            > GET /v1/secret/metadata/none?list=true
            {}
        "#]],
    )
    .await;
    check(
        METADATA,
        &["kv", "list", "secret/none"],
        expect![[r#"
        exit 2
        > GET /v1/sys/internal/ui/mounts/secret/none
        > GET /v1/secret/metadata/none?list=true
        ! No value found at secret/metadata/none
    "#]],
    )
    .await;
}

#[tokio::test]
async fn kv_enable_versioning_tunes_the_mount() {
    const ANSWERS: Answers = &[("PUT /v1/sys/mounts/kv/tune", 204, "")];
    check(
        ANSWERS,
        &["kv", "enable-versioning", "kv/"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/mounts/kv/tune
            > {"options":{"version":"2"}}
            Success! Tuned the secrets engine at: kv/
        "#]],
    )
    .await;
}
