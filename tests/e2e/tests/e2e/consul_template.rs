//! consul-template 0.32.0: secrets and certificates rendered into files, and again when they change.

use serde_json::json;
use zone_e2e::head::Process;
use zone_e2e::{Api, Head, tool};

const TEMPLATE: &str = r#"{{ with secret "secret/data/app" }}password={{ .Data.data.password }}{{ end }}
{{ range secrets "secret/metadata/" }}name={{ . }}
{{ end }}{{ with pkiCert "pki/issue/web" "common_name=www.render.test" "ttl=1h" }}{{ .Cert }}{{ .CA }}{{ end }}"#;

async fn prepare(root: &Api) {
    let kv = json!({ "type": "kv", "options": { "version": "2" } });
    root.put("sys/mounts/secret", &kv).await.expect(204);
    let secret = json!({ "data": { "password": "first" } });
    root.put("secret/data/app", &secret).await.expect(200);
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ca = json!({ "common_name": "Render root", "key_type": "ec", "ttl": "48h" });
    root.put("pki/root/generate/internal", &ca)
        .await
        .expect(200);
    let role =
        json!({ "allowed_domains": "render.test", "allow_subdomains": true, "key_type": "ec" });
    root.put("pki/roles/web", &role).await.expect(200);
    let policy = r#"
        path "secret/*" { capabilities = ["read", "list"] }
        path "pki/issue/web" { capabilities = ["update"] }
    "#;
    root.put("sys/policies/acl/render", &json!({ "policy": policy }))
        .await
        .expect(204);
}

#[tokio::test]
async fn consul_template_renders_again_when_a_secret_changes() {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    prepare(&root).await;
    let ask = json!({ "policies": ["render"], "period": "1h" });
    let made = root.put("auth/token/create", &ask).await.expect(200).json();
    let token = made["auth"]["client_token"].as_str().unwrap();

    head.place.write("app.tmpl", TEMPLATE);
    // KV secrets have no lease: they are read again at half of this.
    let config = "vault {\n default_lease_duration = \"2s\"\n renew_token = true\n}\n\
                  log_level = \"info\"\n\
                  template {\n source = \"app.tmpl\"\n destination = \"app.conf\"\n}\n";
    head.place.write("render.hcl", config);
    let mut command = head.place.program(tool::go("consul-template"));
    command
        .args(["-config", "render.hcl"])
        .env("VAULT_ADDR", head.url())
        .env("VAULT_CACERT", head.place.ca_file())
        .env("VAULT_TOKEN", token);
    let process = Process::spawn(command);
    process.wait_for(0, "rendered \"app.tmpl\"");
    let rendered = || std::fs::read_to_string(head.place.file("app.conf")).unwrap();
    let first = rendered();
    assert!(first.contains("password=first"), "{first}");
    assert!(first.contains("name=app"), "{first}");
    assert_eq!(first.matches("BEGIN CERTIFICATE").count(), 2, "{first}");

    let from = process.log_len();
    let next = json!({ "data": { "password": "second" } });
    root.put("secret/data/app", &next).await.expect(200);
    process.wait_for(from, "rendered \"app.tmpl\"");
    let second = rendered();
    assert!(second.contains("password=second"), "{second}");
    let certificate = |text: &str| text.split("name=app").nth(1).map(str::to_owned);
    assert_eq!(
        certificate(&first),
        certificate(&second),
        "the certificate is kept"
    );
}

/// A token that nobody but consul-template ever held; the age of a secret of version 1 is its `ttl`.
#[tokio::test]
async fn consul_template_unwraps_its_token_and_keeps_to_the_ttl_of_kv_version_1() {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    let old = json!({ "type": "kv", "options": { "version": "1" } });
    root.put("sys/mounts/old", &old).await.expect(204);
    let secret = |password: &str| json!({ "password": password, "ttl": "2s" });
    root.put("old/app", &secret("first")).await.expect(204);
    let policy = r#"
        path "old/*" { capabilities = ["read", "list"] }
        path "sys/tools/hash/sha2-256" { capabilities = ["update"] }
    "#;
    let policy = json!({ "policy": policy });
    root.put("sys/policies/acl/render", &policy)
        .await
        .expect(204);
    let ask = json!({ "policies": ["render"], "ttl": "1h" });
    let wrapping = root.header("X-Vault-Wrap-TTL", "5m");
    let made = wrapping.put("auth/token/create", &ask).await.expect(200);
    let info = made.json()["wrap_info"].take();

    let template = r#"{{ with secret "old/app" }}password={{ .Data.password }}{{ end }}
{{ range secrets "old/" }}name={{ . }}
{{ end }}{{ with secret "sys/tools/hash/sha2-256" "input=YWRhbQ==" }}sum={{ .Data.sum }}{{ end }}"#;
    head.place.write("app.tmpl", template);
    let config = "vault {\n unwrap_token = true\n renew_token = true\n}\n log_level = \"info\"\n\
                  template {\n source = \"app.tmpl\"\n destination = \"app.conf\"\n}\n";
    head.place.write("render.hcl", config);
    let start = || {
        let mut command = head.place.program(tool::go("consul-template"));
        command
            .args(["-config", "render.hcl"])
            .env("VAULT_ADDR", head.url())
            .env("VAULT_CACERT", head.place.ca_file())
            .env("VAULT_TOKEN", info["token"].as_str().unwrap());
        Process::spawn(command)
    };
    let process = start();
    process.wait_for(0, "rendered \"app.tmpl\"");
    let rendered = || std::fs::read_to_string(head.place.file("app.conf")).unwrap();
    let first = rendered();
    assert!(first.contains("password=first\nname=app\n"), "{first}");
    // SHA-256 of "adam".
    let sum = "sum=f7f376a1fcd0d0e11a10ed1b6577c99784d3a6bbe669b1d13fae43eb64634f6e";
    assert!(first.contains(sum), "{first}");
    let from = process.log_len();
    root.put("old/app", &secret("second")).await.expect(204);
    process.wait_for(from, "rendered \"app.tmpl\"");
    assert!(rendered().contains("password=second"), "{}", rendered());
    // The wrapping token is used up: another one with it gets nothing.
    let mut late = start();
    assert_ne!(late.wait().code(), Some(0));
    assert!(
        late.log().contains("wrapping token is not valid"),
        "{}",
        late.log()
    );
}
