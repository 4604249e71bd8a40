//! `token`, `login`, `policy`, `secrets`, `audit`.

use expect_test::expect;

use super::*;
use crate::testing::Lab;

const TOKEN: &str = r#"{"auth":{"client_token":"hvs.new","accessor":"acc","policies":["app"],
    "token_policies":["app"],"metadata":null,"lease_duration":60,"renewable":true,
    "orphan":false,"entity_id":""}}"#;
const TOKENS: Answers = &[
    ("PUT /v1/auth/token/create", 200, TOKEN),
    ("PUT /v1/auth/token/renew", 200, TOKEN),
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

#[tokio::test]
async fn tokens_are_made() {
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
    check(TOKENS, &create, expect![[r#"
        exit 0
        > PUT /v1/auth/token/create
        > {"ttl":"1h","policies":["app","b","c"],"meta":{"who":"me"},"num_uses":3,"no_parent":true,"no_default_policy":false,"renewable":false}
        hvs.new"#]]).await;
    check(
        TOKENS,
        &["token", "create"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        TOKENS,
        &["token", "lookup"],
        expect![[r#"
        exit 0
        > GET /v1/auth/token/lookup-self
        Key    Value
        ---    -----
        id     hvs.canary
        ttl    1m
    "#]],
    )
    .await;
}

#[tokio::test]
async fn tokens_are_looked_up_and_renewed() {
    check(
        TOKENS,
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
    check(
        TOKENS,
        &["token", "renew", "-i", "5m"],
        expect![[r#"
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
    "#]],
    )
    .await;
    check(
        TOKENS,
        &["token", "revoke", "-self"],
        expect![[r#"
        exit 0
        > PUT /v1/auth/token/revoke-self
        > {}
        Success! Revoked token (if it existed)
    "#]],
    )
    .await;
}

#[tokio::test]
async fn tokens_are_revoked_and_judged() {
    check(
        TOKENS,
        &["token", "revoke", "-mode=orphan", "hvs.x"],
        expect![[r#"
            exit 0
            > PUT /v1/auth/token/revoke-orphan
            > {"token":"hvs.x"}
            Success! Revoked token (if it existed)
        "#]],
    )
    .await;
    check(
        TOKENS,
        &["token", "revoke"],
        expect![[r#"
        exit 1
        ! Not enough arguments: name the token or use -self
    "#]],
    )
    .await;
    check(
        TOKENS,
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
        TOKENS,
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
    "#]]
    .assert_eq(&lab.stdout().replace(home_text, "HOME"));
    let stored = std::fs::read_to_string(home.path().join(".zonehead/token")).unwrap();
    assert_eq!(stored, "hvs.mine");
    assert!(!home.path().join(".vault-token").exists());
    assert!(script.seen()[0].contains("x-vault-token: hvs.mine"));
    // The next command uses it.
    assert_eq!(lab.run(&["token", "lookup"]).await, 0);
    assert!(script.seen()[0].contains("x-vault-token: hvs.mine"));
    assert_eq!(lab.run(&["print", "token"]).await, 0);
    assert!(lab.stdout().ends_with("hvs.mine"));
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
    check(
        ANSWERS,
        &["policy", "list"],
        expect![[r#"
        exit 0
        > GET /v1/sys/policies/acl?list=true
        default
        root
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["policy", "list", "-format=json"],
        expect![[r#"
        exit 0
        > GET /v1/sys/policies/acl?list=true
        [
          "default",
          "root"
        ]
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["policy", "read", "App"],
        expect![[r#"
        exit 0
        > GET /v1/sys/policies/acl/app
        path "a" {}
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["policy", "read", "none"],
        expect![[r#"
        exit 2
        > GET /v1/sys/policies/acl/none
        ! No policy named: none
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["policy", "delete", "app"],
        expect![[r#"
        exit 0
        > DELETE /v1/sys/policies/acl/app
        Success! Deleted policy: app
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["secrets", "list"],
        expect![[r#"
        exit 0
        > GET /v1/sys/mounts
        Path       Type      Accessor    Description
        ----       ----      --------    -----------
        secret/    kv        k           n/a
        sys/       system    s           system
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &tune,
        expect![[r#"
        exit 0
        > PUT /v1/sys/mounts/secret/tune
        > {"audit_non_hmac_request_keys":["a","b"],"description":"","options":{"x":"y"}}
        Success! Tuned the secrets engine at: secret/
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["secrets", "disable", "secret/"],
        expect![[r#"
        exit 0
        > DELETE /v1/sys/mounts/secret
        Success! Disabled the secrets engine (if it existed) at: secret/
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &["audit", "list", "-detailed"],
        expect![[r#"
        exit 0
        > GET /v1/sys/audit
        Path     Type    Description    Replication    Options
        ----     ----    -----------    -----------    -------
        file/    file    d              replicated     file_path=audit.log
    "#]],
    )
    .await;
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
    check(
        ANSWERS,
        &enable,
        expect![[r#"
        exit 0
        > PUT /v1/sys/audit/second
        > {"type":"file","description":"","options":{"file_path":"b.log"}}
        Success! Enabled the file audit device at: second/
    "#]],
    )
    .await;
    check(
        ANSWERS,
        &["audit", "disable", "file"],
        expect![[r#"
        exit 2
        > DELETE /v1/sys/audit/file
        ! Error disabling audit device: Error making API request.
        !
        ! URL: DELETE http://SERVER/v1/sys/audit/file
        ! Code: 400. Errors:
        !
        ! * the last audit device cannot be removed
    "#]],
    )
    .await;
}

const METHODS: Answers = &[
    (
        "GET /v1/sys/auth",
        200,
        r#"{"data":{"token/":{"type":"token","accessor":"auth_token_1","description":"token based",
            "config":{"default_lease_ttl":0,"max_lease_ttl":0,"token_type":"default-service"},
            "uuid":"u1"},
          "apps/":{"type":"approle","accessor":"auth_approle_2","description":"",
            "config":{"default_lease_ttl":60,"max_lease_ttl":0,"token_type":"batch"},
            "uuid":"u2"}}}"#,
    ),
    ("PUT /v1/sys/auth/apps", 204, ""),
    ("PUT /v1/sys/auth/userpass/tune", 204, ""),
    ("DELETE /v1/sys/auth/apps", 204, ""),
    ("PUT /v1/auth/userpass/login/ann", 200, TOKEN),
    ("PUT /v1/auth/apps/login", 200, TOKEN),
];

#[tokio::test]
async fn auth_methods_are_listed_enabled_tuned_and_disabled() {
    check(
        METHODS,
        &["auth", "list"],
        expect![[r#"
        exit 0
        > GET /v1/sys/auth
        Path      Type       Accessor          Description
        ----      ----       --------          -----------
        apps/     approle    auth_approle_2    n/a
        token/    token      auth_token_1      token based
    "#]],
    )
    .await;
    check(METHODS, &["auth", "list", "-detailed"], expect![[r#"
        exit 0
        > GET /v1/sys/auth
        Path      Plugin     Accessor          Default TTL    Max TTL    Token Type         Replication    Description    UUID
        ----      ------     --------          -----------    -------    ----------         -----------    -----------    ----
        apps/     approle    auth_approle_2    60             system     batch              replicated     n/a            u2
        token/    token      auth_token_1      system         system     default-service    replicated     token based    u1
    "#]]).await;
    let enable = [
        "auth",
        "enable",
        "-path=apps/",
        "-description=the shop",
        "-token-type=batch",
        "-max-lease-ttl=1h",
        "approle",
    ];
    check(METHODS, &enable, expect![[r#"
        exit 0
        > PUT /v1/sys/auth/apps
        > {"type":"approle","description":"the shop","config":{"max_lease_ttl":"1h","token_type":"batch"}}
        Success! Enabled approle auth method at: apps/
    "#]]).await;
    let tune = [
        "auth",
        "tune",
        "-user-lockout-threshold=3",
        "-user-lockout-duration=1h",
        "-user-lockout-disable=false",
        "userpass/",
    ];
    check(METHODS, &tune, expect![[r#"
        exit 0
        > PUT /v1/sys/auth/userpass/tune
        > {"user_lockout_config":{"lockout_threshold":"3","lockout_duration":"1h","lockout_disable":false}}
        Success! Tuned the auth method at: userpass/
    "#]]).await;
    check(
        METHODS,
        &["auth", "disable", "apps/"],
        expect![[r#"
        exit 0
        > DELETE /v1/sys/auth/apps
        Success! Disabled the auth method (if it existed) at: apps/
    "#]],
    )
    .await;
    check(
        METHODS,
        &["auth", "help", "userpass"],
        expect![[r#"
        exit 0
        zonehead login -method=userpass [-path=userpass] username=NAME [password=PASSWORD]

        The password is asked for without echo if it is not given; password=- reads it
        from standard input, password=@FILE from a file.
    "#]],
    )
    .await;
    check(
        METHODS,
        &["auth", "help", "apps/"],
        expect![[r#"
        exit 0
        > GET /v1/sys/auth
        zonehead login -method=approle [-path=approle] role_id=ID [secret_id=SECRET]

        secret_id=- reads the secret id from standard input, secret_id=@FILE from a
        file; it is not needed if the role does not bind it.
    "#]],
    )
    .await;
    check(
        METHODS,
        &["auth", "help", "nothing"],
        expect![[r#"
        exit 2
        > GET /v1/sys/auth
        ! There is no auth method of that type or at nothing/
    "#]],
    )
    .await;
}

#[tokio::test]
async fn logins_by_name_and_by_role() {
    let by_name = [
        "login",
        "-method=userpass",
        "-token-only",
        "username=ann",
        "password=right",
    ];
    check(
        METHODS,
        &by_name,
        expect![[r#"
        exit 0
        > PUT /v1/auth/userpass/login/ann
        > {"password":"right"}
        hvs.new"#]],
    )
    .await;
    let by_role = [
        "login",
        "-method=approle",
        "-path=apps",
        "-no-store",
        "-field=token",
        "role_id=r",
        "secret_id=s",
    ];
    check(
        METHODS,
        &by_role,
        expect![[r#"
        exit 0
        > PUT /v1/auth/apps/login
        > {"role_id":"r","secret_id":"s"}
        hvs.new! The token was not stored: set VAULT_TOKEN to use it.
        !
    "#]],
    )
    .await;
    check(
        METHODS,
        &["login", "-method=userpass"],
        expect![[r#"
        exit 1
        ! Not enough arguments: give username=NAME
    "#]],
    )
    .await;
    check(
        METHODS,
        &["login", "-method=ldap"],
        expect![[r#"
        exit 1
        ! There is no login of the type "ldap"; -method=token, userpass and approle exist
    "#]],
    )
    .await;
}
