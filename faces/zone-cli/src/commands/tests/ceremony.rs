//! `operator rekey`, `operator generate-root`, `secrets move`, `auth move`.

use expect_test::expect;

use super::*;

const BEGUN: &str = r#"{"data":{"started":true,"nonce":"n-1","t":2,"n":3,"progress":0,"required":1,
    "pgp_fingerprints":null,"backup":false,"verification_required":true,"verification_nonce":""}}"#;
const DONE: &str = r#"{"data":{"complete":true,"nonce":"n-1","keys":["aa","bb"],
    "keys_base64":["qg==","uw=="],"verification_required":true,"verification_nonce":"v-1"}}"#;

const MOVED: &str = r#"{"data":{"migration_info":{"status":"success"}}}"#;

#[tokio::test]
async fn a_rekey_from_its_beginning_to_the_new_shares() {
    check(
        &[("PUT /v1/sys/rekey/init", 200, BEGUN)],
        &["operator", "rekey", "-init", "-n=3", "-t=2", "-verify"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/rekey/init
            > {"secret_shares":3,"secret_threshold":2,"require_verification":true}
            Nonce                    n-1
            Started                  true
            Progress                 0
            Required Shares          1
            New Threshold            2
            New Shares               3
            Verification Required    true
        "#]],
    )
    .await;
    check(
        &[
            ("GET /v1/sys/rekey/init", 200, BEGUN),
            ("PUT /v1/sys/rekey/update", 200, DONE),
        ],
        &["operator", "rekey", "-nonce=n-1", "cc"],
        expect![[r#"
            exit 0
            > GET /v1/sys/rekey/init
            > PUT /v1/sys/rekey/update
            > {"key":"cc","nonce":"n-1"}
            Key 1: qg==
            Key 2: uw==

            Give the shares to their holders now: nobody can print them again.
            The new shares do not count yet: the old ones open the store until the holders have
            handed in the new ones with

              zonehead operator rekey -verify -nonce=v-1
        "#]],
    )
    .await;
    check(
        &[(
            "GET /v1/sys/rekey/init",
            200,
            r#"{"data":{"started":false}}"#,
        )],
        &["operator", "rekey", "-nonce=n-1", "cc"],
        expect![[r#"
            exit 2
            > GET /v1/sys/rekey/init
            ! Error updating the rekey: nothing is under way; begin with -init
        "#]],
    )
    .await;
    check(
        &[("DELETE /v1/sys/rekey/init?nonce=n-1", 204, "")],
        &["operator", "rekey", "-cancel", "-nonce=n-1"],
        expect![[r#"
            exit 0
            > DELETE /v1/sys/rekey/init?nonce=n-1
            Success! Canceled rekeying (if it was started)
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_root_token_is_decoded_offline() {
    // "hvs." under "AAAA".
    check(
        &[],
        &["operator", "generate-root", "-decode=KTcybw", "-otp=AAAA"],
        expect![[r#"
            exit 0
            hvs.
        "#]],
    )
    .await;
    check(
        &[],
        &["operator", "generate-root", "-decode=KTcybw", "-otp=AAA"],
        expect![[r#"
            exit 1
            ! The token and the password do not belong together
        "#]],
    )
    .await;
}

#[tokio::test]
async fn mounts_are_moved() {
    check(
        &[
            (
                "PUT /v1/sys/remount",
                200,
                r#"{"data":{"migration_id":"m-1"}}"#,
            ),
            ("GET /v1/sys/remount/status/m-1", 200, MOVED),
        ],
        &["auth", "move", "approle/", "auth/machines/"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/remount
            > {"from":"auth/approle","to":"auth/machines"}
            > GET /v1/sys/remount/status/m-1
            Success! Moved auth method auth/approle/ to auth/machines/
        "#]],
    )
    .await;
}
