//! A zone as services use it: authorities, certificates in files, lists, secrets by the CLI.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use zone_e2e::{Api, Head, tool};

/// The engine whose authority the services trust.
pub(crate) const PKI: &str = "pki";
/// An engine with another authority of the same name.
pub(crate) const FOREIGN: &str = "foreign";

/// A head with a KV engine at `secret/`.
pub(crate) struct Zone {
    pub(crate) head: Head,
    pub(crate) root: Api,
    token: String,
}

/// A certificate and its key.
pub(crate) struct Identity {
    /// The certificate with its intermediates.
    pub(crate) chain: PathBuf,
    /// The private key, readable for its owner alone.
    pub(crate) key: PathBuf,
    /// The serial number with colons.
    pub(crate) serial: String,
}

impl Zone {
    /// A new zone.
    pub(crate) async fn new() -> Self {
        let (head, keys) = Head::unsealed().await;
        let token = keys.root_token;
        let root = head.with_token(&token);
        let kv = json!({ "type": "kv-v2" });
        root.put("sys/mounts/secret", &kv).await.expect(204);
        Self { head, root, token }
    }

    /// Mounts a PKI engine with the role `service`: EC P-256, any name in `zone.test`.
    pub(crate) async fn mount(&self, mount: &str) {
        let ask = json!({ "type": "pki", "config": { "max_lease_ttl": "8760h" } });
        let path = format!("sys/mounts/{mount}");
        self.root.put(&path, &ask).await.expect(204);
        let role = json!({
            "allowed_domains": ["zone.test"], "allow_subdomains": true, "max_ttl": "72h",
            "key_type": "ec", "key_bits": 256,
        });
        let path = format!("{mount}/roles/service");
        self.root.put(&path, &role).await.expect(200);
    }

    /// Mounts an engine with a root of its own. All roots bear one name: they differ by key alone.
    /// Returns the root.
    pub(crate) async fn own_authority(&self, mount: &str) -> PathBuf {
        self.mount(mount).await;
        let ask = json!({ "common_name": "zone root", "key_type": "ec", "ttl": "8760h" });
        let path = format!("{mount}/root/generate/internal");
        self.root.put(&path, &ask).await.expect(200);
        let name = format!("{mount}-ca.pem");
        self.fetch(&format!("{mount}/ca/pem"), &name).await
    }

    /// Mounts an engine that issues under an intermediate, with the keys of both imported.
    /// Returns the root, which alone is to be trusted.
    pub(crate) async fn imported_authority(&self, mount: &str) -> PathBuf {
        self.mount(mount).await;
        let (top, bundle) = self.chain_of_openssl();
        let path = format!("{mount}/config/ca");
        let ask = json!({ "pem_bundle": bundle });
        let imported = self.root.put(&path, &ask).await.expect(200).data();
        let issuers = texts(&imported["imported_issuers"]);
        assert_eq!(issuers.len(), 2, "{imported}");
        for id in issuers {
            let path = format!("{mount}/issuer/{id}");
            let issuer = self.root.get(&path).await.expect(200).data();
            // The root's own chain is the root; the intermediate's has both.
            if texts(&issuer["ca_chain"]).len() == 2 {
                let path = format!("{mount}/config/issuers");
                let ask = json!({ "default": id });
                self.root.put(&path, &ask).await.expect(200);
            }
        }
        top
    }

    /// A root and an intermediate: the root's file, and all certificates and keys as PEM.
    fn chain_of_openssl(&self) -> (PathBuf, String) {
        let file = |name: &str| self.head.place.file(name);
        let script = "
            set -e
            ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 -days 3650 -subj '/CN=zone root' $ec \
                -addext keyUsage=critical,keyCertSign,cRLSign -keyout top.key -out top.pem
            openssl req -new -subj '/CN=zone issuing' $ec -keyout issuing.key -out issuing.csr
            openssl x509 -req -days 1825 -in issuing.csr -CA top.pem -CAkey top.key \
                -CAcreateserial -extfile issuing.ext -out issuing.pem";
        let extensions = "basicConstraints=critical,CA:TRUE,pathlen:0\n\
            keyUsage=critical,keyCertSign,cRLSign\n\
            subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
        self.head.place.write("issuing.ext", extensions);
        let mut sh = tool::program("sh");
        tool::succeed(sh.args(["-c", script]).current_dir(self.head.place.path()));
        let names = ["issuing.pem", "issuing.key", "top.pem", "top.key"];
        let bundle = names
            .map(|name| std::fs::read_to_string(file(name)).expect("openssl wrote it"))
            .join("\n");
        (file("top.pem"), bundle)
    }

    /// A certificate for `name`, kept in files named `file`.
    pub(crate) async fn issue(&self, mount: &str, name: &str, file: &str) -> Identity {
        self.issue_for(mount, name, file, "1h").await
    }

    /// A certificate with a life of its own.
    pub(crate) async fn issue_for(
        &self,
        mount: &str,
        name: &str,
        file: &str,
        ttl: &str,
    ) -> Identity {
        let ask = json!({ "common_name": name, "ttl": ttl });
        let path = format!("{mount}/issue/service");
        let issued = self.root.put(&path, &ask).await.expect(200).data();
        Identity::kept(&self.head, file, &issued)
    }

    /// Revokes a certificate.
    pub(crate) async fn revoke(&self, mount: &str, identity: &Identity) {
        let ask = json!({ "serial_number": identity.serial });
        let path = format!("{mount}/revoke");
        self.root.put(&path, &ask).await.expect(200);
    }

    /// Fetches without a token into a file.
    pub(crate) async fn fetch(&self, path: &str, name: &str) -> PathBuf {
        let answer = self.head.api().get(path).await.expect(200);
        self.head.place.write(name, &answer.body)
    }

    /// A token that may read one secret and nothing else.
    pub(crate) async fn reader(&self, secret: &str) -> String {
        let rule = format!("path \"secret/data/{secret}\" {{ capabilities = [\"read\"] }}");
        let policy = json!({ "policy": rule });
        let path = format!("sys/policies/acl/{secret}");
        self.root.put(&path, &policy).await.expect(204);
        let ask = json!({ "policies": [secret], "ttl": "1h" });
        let made = self.root.put("auth/token/create", &ask).await.expect(200);
        let token = &made.json()["auth"]["client_token"];
        token.as_str().expect("a token").to_owned()
    }

    /// Writes a secret with the CLI; the value stands in no argument.
    pub(crate) fn keep_secret(&self, path: &str, field: &str, value: &str) {
        let file = self.head.place.write("value", value);
        let mut kv = self.cli(&self.token);
        kv.args(["kv", "put", "-mount=secret", path])
            .arg(format!("{field}=@{}", file.display()));
        tool::succeed(&mut kv);
        std::fs::remove_file(file).expect("it was written");
    }

    /// Reads a field of a secret with the CLI, as a service does when it starts.
    pub(crate) fn read_secret(&self, token: &str, path: &str, field: &str) -> String {
        let mut kv = self.cli(token);
        kv.args(["kv", "get", "-mount=secret"])
            .arg(format!("-field={field}"))
            .arg(path);
        tool::text(&mut kv).trim_end().to_owned()
    }

    /// The CLI with a token.
    pub(crate) fn cli(&self, token: &str) -> Command {
        let mut command = self.head.place.command();
        command
            .env("VAULT_ADDR", self.head.url())
            .env("VAULT_CACERT", self.head.place.ca_file())
            .env("VAULT_TOKEN", token);
        command
    }
}

impl Identity {
    /// Writes what `issue` answered to files.
    fn kept(head: &Head, file: &str, issued: &Value) -> Self {
        let text = |name: &str| issued[name].as_str().expect("a text").to_owned();
        let chain = [vec![text("certificate")], texts(&issued["ca_chain"])].concat();
        let chain = chain.join("\n") + "\n";
        let key = text("private_key") + "\n";
        let key = head.place.write(&format!("{file}.key"), key);
        only_owner(&key);
        Self {
            chain: head.place.write(&format!("{file}.pem"), chain),
            key,
            serial: text("serial_number"),
        }
    }
}

/// A list of texts.
fn texts(list: &Value) -> Vec<String> {
    let all = list.as_array().expect("a list").iter();
    all.map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

/// Takes away what group and others may do.
pub(crate) fn only_owner(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
        .expect("the file is ours");
}
