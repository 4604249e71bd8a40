//! `status` and `operator …`.

use expect_test::expect;

use super::*;

const SEALED: &str = r#"{"type":"shamir","initialized":true,"sealed":true,"t":3,"n":5,"progress":1,
    "nonce":"n-1","version":"1.21.0","zonehead_version":"0.1.0","build_date":"",
    "storage_type":"redb"}"#;
const OPEN: &str = r#"{"type":"shamir","initialized":true,"sealed":false,"t":3,"n":5,"progress":0,
    "nonce":"","version":"1.21.0","storage_type":"redb","cluster_name":"lab","cluster_id":"id"}"#;
const ALONE: &str = r#"{"ha_enabled":false,"is_self":true,"leader_address":""}"#;

const SEALED_SERVER: Answers = &[
    ("GET /v1/sys/seal-status", 200, SEALED),
    ("GET /v1/sys/leader", 200, ALONE),
];

const OPEN_SERVER: Answers = &[
    ("GET /v1/sys/seal-status", 200, OPEN),
    ("GET /v1/sys/leader", 200, ALONE),
];

#[tokio::test]
async fn status_tells_by_its_exit_code() {
    check(
        SEALED_SERVER,
        &["status"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        OPEN_SERVER,
        &["status"],
        expect![[r#"
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
    "#]],
    )
    .await;
}

#[tokio::test]
async fn status_as_a_document_or_a_field() {
    check(
        OPEN_SERVER,
        &["status", "-format=json"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        SEALED_SERVER,
        &["status", "-field=sealed"],
        expect![[r#"
        exit 2
        > GET /v1/sys/seal-status
        > GET /v1/sys/leader
        true"#]],
    )
    .await;
}

#[tokio::test]
async fn status_that_cannot_be_asked_is_1() {
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
    check(
        ANSWERS,
        &["operator", "init", "-status"],
        expect![[r#"
        exit 2
        > GET /v1/sys/init
        The store is not initialized
    "#]],
    )
    .await;
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
    check(
        AGE,
        &arguments,
        expect![[r#"
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
    "#]],
    )
    .await;
}

const UNSEALING: Answers = &[
    ("PUT /v1/sys/unseal", 200, SEALED),
    ("GET /v1/sys/leader", 200, ALONE),
];

#[tokio::test]
async fn unseal_reads_the_share_from_standard_input() {
    check_with(
        "azE=\n",
        UNSEALING,
        &["unseal"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check_with(
        "azE=\n",
        UNSEALING,
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
}

#[tokio::test]
async fn unseal_takes_the_share_as_an_argument_or_resets() {
    check(
        UNSEALING,
        &["operator", "unseal", "azI="],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        UNSEALING,
        &["unseal", "-reset"],
        expect![[r#"
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
    "#]],
    )
    .await;
}

#[tokio::test]
async fn unseal_refuses_an_empty_share_and_names_a_wrong_one() {
    check(
        UNSEALING,
        &["unseal"],
        expect![[r#"
        exit 1
        ! The share is empty
    "#]],
    )
    .await;
    check(
        UNSEALING,
        &["unseal", "-non-interactive"],
        expect![[r#"
        exit 1
        ! Not enough arguments: -non-interactive wants the share as an argument
    "#]],
    )
    .await;
    const WRONG: Answers = &[(
        "PUT /v1/sys/unseal",
        400,
        r#"{"errors":["this is no share of the unseal key"]}"#,
    )];
    check_with(
        "hunter2",
        WRONG,
        &["unseal"],
        expect![[r#"
        exit 2
        > PUT /v1/sys/unseal
        > {"key":"hunter2"}
        ! Error unsealing: Error making API request.
        !
        ! URL: PUT http://SERVER/v1/sys/unseal
        ! Code: 400. Errors:
        !
        ! * this is no share of the unseal key
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["seal"],
        expect![[r#"
        exit 0
        > PUT /v1/sys/seal
        > {}
        Success! The store is sealed.
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["operator", "rotate"],
        expect![[r#"
        exit 0
        > PUT /v1/sys/rotate
        > {}
        > GET /v1/sys/key-status
        Success! Rotated key

        Key Term            2
        Install Time        26 Nov 26 09:00 UTC
        Encryption Count    7
    "#]],
    )
    .await;
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
async fn events_are_printed_until_the_server_ends_them() {
    const EVENTS: &str = ": subscribed\n\nid: 1\nevent: kv-v2/data-write\ndata: {\"id\":\"1\"}\n\n\
                          event: zone/end\ndata: the token ended\n\n";
    const ANSWERS: Answers = &[
        ("GET /v1/sys/events/subscribe/kv-v2/data-*", 200, EVENTS),
        (
            "GET /v1/sys/events/subscribe/none",
            403,
            r#"{"errors":["permission denied"]}"#,
        ),
    ];
    check(
        ANSWERS,
        &["events", "subscribe", "kv-v2/data-*"],
        expect![[r#"
            exit 2
            > GET /v1/sys/events/subscribe/kv-v2/data-*
            {"id":"1"}
            ! The server ended the stream: the token ended
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["events", "subscribe", "none"],
        expect![[r#"
        exit 2
        > GET /v1/sys/events/subscribe/none
        ! Error subscribing to events: Error making API request.
        !
        ! URL: GET http://SERVER/v1/sys/events/subscribe/none
        ! Code: 403. Errors:
        !
        ! * permission denied
    "#]],
    )
    .await;
}
