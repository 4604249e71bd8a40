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
