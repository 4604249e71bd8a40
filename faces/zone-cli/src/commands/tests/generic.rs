//! `read`, `write`, `list`, `delete`, `patch`.

use expect_test::expect;

use super::*;

const PATHS: Answers = &[
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

#[tokio::test]
async fn any_path_is_read() {
    check(
        PATHS,
        &["read", "/sys/x/", "a=1", "a=2"],
        expect![[r#"
        exit 0
        > GET /v1/sys/x?a=1&a=2
        Key    Value
        ---    -----
        k      v
    "#]],
    )
    .await;
    check(
        PATHS,
        &["read", "-format=raw", "pki/ca/pem"],
        expect![[r#"
            exit 0
            > GET /v1/pki/ca/pem
            -----BEGIN CERTIFICATE-----
        "#]],
    )
    .await;
    check(PATHS, &["read", "pki/ca/pem"], expect![[r#"
        exit 2
        > GET /v1/pki/ca/pem
        ! Error reading pki/ca/pem: the answer of http://SERVER/v1/pki/ca/pem cannot be read: it is not JSON; 'zonehead read -format=raw' shows it as it is
    "#]]).await;
    check(
        PATHS,
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
    check(
        PATHS,
        &["read", "pki/none"],
        expect![[r#"
        exit 2
        > GET /v1/pki/none
        ! No value found at pki/none
    "#]],
    )
    .await;
}

#[tokio::test]
async fn any_path_is_written() {
    check(
        PATHS,
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
    check(
        PATHS,
        &["write", "secret/a", "k=v"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        PATHS,
        &["write", "-f", "sys/rotate"],
        expect![[r#"
        exit 0
        > PUT /v1/sys/rotate
        > {}
        Success! Data written to: sys/rotate
    "#]],
    )
    .await;
    check(
        PATHS,
        &["write", "sys/rotate"],
        expect![[r#"
        exit 1
        ! Must supply data or use -force
    "#]],
    )
    .await;
}

#[tokio::test]
async fn any_path_is_patched_deleted_and_listed() {
    check(
        PATHS,
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
    check(
        PATHS,
        &["delete", "pki/roles/web"],
        expect![[r#"
        exit 0
        > DELETE /v1/pki/roles/web
        Success! Data deleted (if it existed) at: pki/roles/web
    "#]],
    )
    .await;
    check(
        PATHS,
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
