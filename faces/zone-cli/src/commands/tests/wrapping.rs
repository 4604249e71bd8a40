//! `-wrap-ttl` on every command, `unwrap` and `path-help`.

use expect_test::expect;

use super::*;

const WRAPPED: &str = r#"{"data":null,"auth":null,"wrap_info":{"token":"hvs.wrap","accessor":"acc",
    "ttl":300,"creation_time":"2026-11-27T10:00:00Z","creation_path":"auth/token/create",
    "wrapped_accessor":"inner"}}"#;

const ANSWERS: Answers = &[
    ("PUT /v1/auth/token/create", 200, WRAPPED),
    ("GET /v1/sys/policies/acl/x", 200, WRAPPED),
    ("PUT /v1/secret/data/a", 200, WRAPPED),
    (
        "GET /v1/secret/data/a",
        200,
        r#"{"data":{"data":{"k":"v"},"metadata":{"version":3}}}"#,
    ),
    (
        "GET /v1/sys/internal/ui/mounts/secret/a",
        200,
        r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#,
    ),
    (
        "PUT /v1/sys/wrapping/unwrap",
        200,
        r#"{"data":{"secret_id":"s"},"wrap_info":null}"#,
    ),
];

#[tokio::test]
async fn a_wrapped_answer_is_shown_in_vaults_words() {
    check(
        ANSWERS,
        &["token", "create", "-wrap-ttl=5m", "-policy=x"],
        expect![[r#"
            exit 0
            > PUT /v1/auth/token/create
            > x-vault-wrap-ttl: 5m
            > {"policies":["x"],"no_parent":false,"no_default_policy":false,"renewable":true}
            Key                              Value
            ---                              -----
            wrapping_token:                  hvs.wrap
            wrapping_accessor:               acc
            wrapping_token_ttl:              5m
            wrapping_token_creation_time:    2026-11-27T10:00:00Z
            wrapping_token_creation_path:    auth/token/create
            wrapped_accessor:                inner
        "#]],
    )
    .await;
    check(
        ANSWERS,
        &["policy", "read", "-wrap-ttl=60", "x"],
        expect![[r#"
            exit 0
            > GET /v1/sys/policies/acl/x
            > x-vault-wrap-ttl: 60
            Key                              Value
            ---                              -----
            wrapping_token:                  hvs.wrap
            wrapping_accessor:               acc
            wrapping_token_ttl:              5m
            wrapping_token_creation_time:    2026-11-27T10:00:00Z
            wrapping_token_creation_path:    auth/token/create
            wrapped_accessor:                inner
        "#]],
    )
    .await;
    for (field, expected) in [
        ("wrapping_token", "hvs.wrap"),
        ("wrapping_token_ttl", "300"),
        ("wrapping_accessor", "acc"),
        ("wrapped_accessor", "inner"),
    ] {
        let script = Script::start(ANSWERS).await;
        let mut lab = script.lab();
        let field = format!("-field={field}");
        let arguments = ["token", "create", "-wrap-ttl=60", &field];
        assert_eq!(lab.run(&arguments).await, 0);
        assert_eq!(lab.stdout(), expected, "{field}");
    }
}

/// What a command reads on its way is not wrapped; what it answers is.
#[tokio::test]
async fn only_the_answer_is_wrapped() {
    check(
        ANSWERS,
        &[
            "kv",
            "patch",
            "-wrap-ttl=60",
            "-method=rw",
            "secret/a",
            "b=c",
        ],
        expect![[r#"
            exit 0
            > GET /v1/sys/internal/ui/mounts/secret/a
            > GET /v1/secret/data/a
            > PUT /v1/secret/data/a
            > x-vault-wrap-ttl: 60
            > {"data":{"k":"v","b":"c"},"options":{"cas":3}}
            Key                              Value
            ---                              -----
            wrapping_token:                  hvs.wrap
            wrapping_accessor:               acc
            wrapping_token_ttl:              5m
            wrapping_token_creation_time:    2026-11-27T10:00:00Z
            wrapping_token_creation_path:    auth/token/create
            wrapped_accessor:                inner
        "#]],
    )
    .await;
}

#[tokio::test]
async fn unwrapping_needs_the_wrapping_token_alone() {
    check(
        ANSWERS,
        &["unwrap", "hvs.wrap"],
        expect![[r#"
        exit 0
        > PUT /v1/sys/wrapping/unwrap
        > x-vault-token: hvs.wrap
        > {}
        Key          Value
        ---          -----
        secret_id    s
    "#]],
    )
    .await;
    check_with(
        "hvs.wrap\n",
        ANSWERS,
        &["unwrap", "-field=secret_id", "-"],
        expect![[r#"
            exit 0
            > PUT /v1/sys/wrapping/unwrap
            > x-vault-token: hvs.wrap
            > {}
            s"#]],
    )
    .await;
    check(
        ANSWERS,
        &["unwrap"],
        expect![[r#"
        exit 0
        > PUT /v1/sys/wrapping/unwrap
        > {}
        Key          Value
        ---          -----
        secret_id    s
    "#]],
    )
    .await;
    check(
        &[(
            "PUT /v1/sys/wrapping/unwrap",
            400,
            r#"{"errors":["wrapping token is not valid or does not exist"]}"#,
        )],
        &["unwrap", "hvs.used"],
        expect![[r#"
            exit 2
            > PUT /v1/sys/wrapping/unwrap
            > x-vault-token: hvs.used
            > {}
            ! Error unwrapping: Error making API request.
            !
            ! URL: PUT http://SERVER/v1/sys/wrapping/unwrap
            ! Code: 400. Errors:
            !
            ! * wrapping token is not valid or does not exist
        "#]],
    )
    .await;
}

#[tokio::test]
async fn the_environment_asks_for_wrapping_too() {
    let script = Script::start(ANSWERS).await;
    let address = format!("http://{}", script.authority());
    let mut lab = crate::testing::Lab::new(&[
        ("VAULT_ADDR", &address),
        ("VAULT_TOKEN", "hvs.canary"),
        ("VAULT_WRAP_TTL", "90"),
    ]);
    assert_eq!(
        lab.run(&["token", "create", "-field=wrapping_token"]).await,
        0
    );
    assert_eq!(lab.run(&["unwrap"]).await, 0);
    let seen = script.seen();
    assert!(seen[0].contains("x-vault-wrap-ttl: 90"), "{seen:?}");
    assert!(!seen[1].contains("x-vault-wrap-ttl"), "{seen:?}");
}

#[tokio::test]
async fn help_for_a_path_is_its_text() {
    let answers: Answers = &[
        (
            "GET /v1/secret/data/a?help=1",
            200,
            r#"{"help":"A secret.\n\nread\n","see_also":null,"openapi":{}}"#,
        ),
        ("GET /v1/kv?help=1", 403, DENIED),
    ];
    check(
        answers,
        &["path-help", "/secret/data/a"],
        expect![[r#"
        exit 0
        > GET /v1/secret/data/a?help=1
        A secret.

        read
    "#]],
    )
    .await;
    check(
        answers,
        &["path-help", "-format=json", "secret/data/a"],
        expect![[r#"
            exit 0
            > GET /v1/secret/data/a?help=1
            {
              "help": "A secret.\n\nread\n",
              "openapi": {},
              "see_also": null
            }
        "#]],
    )
    .await;
    check(
        answers,
        &["path-help", "kv"],
        expect![[r#"
        exit 2
        > GET /v1/kv?help=1
        ! Error retrieving help for kv: Error making API request.
        !
        ! URL: GET http://SERVER/v1/kv
        ! Code: 403. Errors:
        !
        ! * permission denied
    "#]],
    )
    .await;
}
