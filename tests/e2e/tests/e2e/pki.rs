//! Certificates and revocation lists, judged by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use zone_e2e::{Api, Head, Place, tool};

fn openssl(args: &[&str]) -> Command {
    let mut openssl = tool::program("openssl");
    openssl.args(args);
    openssl
}

/// A head with a CA at `pki/`, made by the head itself.
async fn with_root(key_type: &str) -> (Head, Api) {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    mount(&root).await;
    let ask = json!({ "common_name": "zone root", "key_type": key_type, "ttl": "8760h" });
    root.put("pki/root/generate/internal", &ask)
        .await
        .expect(200);
    (head, root)
}

async fn mount(root: &Api) {
    let ask = json!({ "type": "pki", "config": { "max_lease_ttl": "8760h" } });
    root.put("sys/mounts/pki", &ask).await.expect(204);
}

async fn role(root: &Api, key_type: &str, bits: u32) {
    let role = json!({
        "allowed_domains": ["svc.test"], "allow_subdomains": true, "allow_ip_sans": true,
        "key_type": key_type, "key_bits": bits, "max_ttl": "72h",
    });
    root.put("pki/roles/svc", &role).await.expect(200);
}

async fn issue(root: &Api) -> Value {
    let ask = json!({ "common_name": "db.svc.test", "ip_sans": "127.0.0.1", "ttl": "1h" });
    root.put("pki/issue/svc", &ask).await.expect(200).data()
}

/// Writes a text of an answer to a file.
fn keep(place: &Place, name: &str, text: &Value) -> PathBuf {
    place.write(
        name,
        format!("{}\n", text.as_str().expect("a text").trim_end()),
    )
}

async fn fetch(head: &Head, path: &str, name: &str) -> PathBuf {
    let answer = head.api().get(path).await.expect(200);
    head.place.write(name, &answer.body)
}

/// `openssl verify` with a CRL for each CA of the chain.
fn verify(ca: &Path, crls: &Path, more: &[&Path], leaf: &Path) -> Command {
    let mut verify = openssl(&[
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-purpose",
        "sslserver",
    ]);
    verify
        .args(["-verify_hostname", "db.svc.test", "-CAfile"])
        .arg(ca)
        .arg("-CRLfile")
        .arg(crls);
    for file in more {
        verify.arg("-untrusted").arg(file);
    }
    verify.arg(leaf);
    verify
}

#[tokio::test]
async fn openssl_verifies_chain_and_crl_and_sees_a_revocation() {
    let (head, root) = with_root("ec").await;
    role(&root, "ec", 256).await;
    let [stays, goes] = [issue(&root).await, issue(&root).await];
    let stays = keep(&head.place, "stays.pem", &stays["certificate"]);
    let gone = keep(&head.place, "goes.pem", &goes["certificate"]);
    let ca = fetch(&head, "pki/ca/pem", "ca.pem").await;
    let crl = fetch(&head, "pki/crl/pem", "crl.pem").await;
    for leaf in [&stays, &gone] {
        tool::succeed(&mut verify(&ca, &crl, &[], leaf));
    }

    let serial = json!({ "serial_number": goes["serial_number"] });
    let revoked = root.put("pki/revoke", &serial).await.expect(200).data();
    assert_eq!(revoked["state"], "revoked");
    let chain = fetch(&head, "pki/crl/chain", "chain.pem").await;
    tool::succeed(&mut verify(&ca, &chain, &[], &stays));
    let said = tool::fail(&mut verify(&ca, &chain, &[], &gone));
    assert!(said.contains("certificate revoked"), "{said}");
}

#[tokio::test]
async fn crls_are_the_same_list_in_der_and_pem_and_signed_by_the_ca() {
    let (head, root) = with_root("rsa").await;
    role(&root, "ed25519", 0).await;
    let leaf = issue(&root).await;
    let serial = leaf["serial_number"].as_str().unwrap();
    root.put("pki/revoke", &json!({ "serial_number": serial }))
        .await
        .expect(200);
    let ca = fetch(&head, "pki/ca/pem", "ca.pem").await;
    let pem = fetch(&head, "pki/crl/pem", "crl.pem").await;
    let der = fetch(&head, "pki/crl", "crl.der").await;
    let shown = |form: &str, file: &Path| {
        let mut crl = openssl(&["crl", "-inform", form, "-noout", "-text", "-CAfile"]);
        let output = tool::run(crl.arg(&ca).arg("-in").arg(file));
        assert!(output.status.success() && tool::said(&output).contains("verify OK"));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = shown("DER", &der);
    assert_eq!(text, shown("PEM", &pem));
    assert!(
        text.contains(&serial.replace(':', "").to_uppercase()),
        "{text}"
    );
    assert!(
        text.contains("X509v3 CRL Number") && text.contains("Next Update"),
        "{text}"
    );
    assert!(
        !text.contains("Issuing Distribution Point"),
        "/crl is the complete list"
    );

    let der_ca = fetch(&head, "pki/ca", "ca.der").await;
    let print = |form, file: &Path| {
        tool::text(openssl(&["x509", "-noout", "-fingerprint", "-inform", form, "-in"]).arg(file))
    };
    assert_eq!(print("DER", &der_ca), print("PEM", &ca));
}

#[tokio::test]
async fn every_key_type_is_issued_and_fits_its_certificate() {
    let (head, root) = with_root("ec").await;
    let ca = fetch(&head, "pki/ca/pem", "ca.pem").await;
    for (key_type, bits, shown) in [
        ("rsa", 2048, "Public-Key: (2048 bit)"),
        ("ec", 256, "NIST CURVE: P-256"),
        ("ec", 384, "NIST CURVE: P-384"),
        ("ec", 521, "NIST CURVE: P-521"),
        ("ed25519", 0, "ED25519 Public-Key"),
    ] {
        role(&root, key_type, bits).await;
        let issued = issue(&root).await;
        let leaf = keep(&head.place, "leaf.pem", &issued["certificate"]);
        let key = keep(&head.place, "leaf.key", &issued["private_key"]);
        let crl = fetch(&head, "pki/crl/pem", "crl.pem").await;
        tool::succeed(&mut verify(&ca, &crl, &[], &leaf));
        let text = tool::text(openssl(&["x509", "-noout", "-text", "-in"]).arg(&leaf));
        assert!(text.contains(shown), "{key_type} {bits}: {text}");
        assert!(text.contains("IP Address:127.0.0.1"), "{text}");
        let of_leaf = tool::text(openssl(&["x509", "-noout", "-pubkey", "-in"]).arg(&leaf));
        let of_key = tool::text(openssl(&["pkey", "-pubout", "-in"]).arg(&key));
        assert_eq!(of_leaf, of_key, "{key_type} {bits}");
        assert_eq!(issued["private_key_type"], key_type);
    }
}

#[tokio::test]
async fn a_csr_of_openssl_is_signed_with_its_own_key() {
    let (head, root) = with_root("ec").await;
    role(&root, "any", 0).await;
    let (key, own) = csr(&head.place, "db.svc.test");
    let ask = json!({ "csr": own });
    let signed = root.put("pki/sign/svc", &ask).await.expect(200).data();
    assert!(signed.get("private_key").is_none());
    let leaf = keep(&head.place, "own.pem", &signed["certificate"]);
    let of_leaf = tool::text(openssl(&["x509", "-noout", "-pubkey", "-in"]).arg(&leaf));
    assert_eq!(
        of_leaf,
        tool::text(openssl(&["pkey", "-pubout", "-in"]).arg(&key))
    );
    let ca = fetch(&head, "pki/ca/pem", "ca.pem").await;
    let crl = fetch(&head, "pki/crl/pem", "crl.pem").await;
    tool::succeed(&mut verify(&ca, &crl, &[], &leaf));

    let (_, elsewhere) = csr(&head.place, "db.elsewhere.test");
    let refused = root.put("pki/sign/svc", &json!({ "csr": elsewhere })).await;
    refused.refused(400, "db.elsewhere.test");
}

/// A key file and a request for `name`, made by openssl.
fn csr(place: &Place, name: &str) -> (PathBuf, String) {
    let (key, csr) = (place.file("own.key"), place.file("own.csr"));
    let mut request = openssl(&["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj"]);
    request
        .arg(format!("/CN={name}"))
        .arg("-addext")
        .arg(format!("subjectAltName=DNS:{name}"));
    tool::succeed(request.arg("-keyout").arg(&key).arg("-out").arg(&csr));
    (key, std::fs::read_to_string(csr).unwrap())
}

/// A root and an intermediate made by openssl; their keys come along, so that the head can make a
/// list for each.
fn foreign_chain(place: &Place) -> (PathBuf, PathBuf, String) {
    let file = |name: &str| place.file(name);
    let ca = "basicConstraints=critical,CA:TRUE";
    let usage = "keyUsage=critical,keyCertSign,cRLSign";
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let mut top = openssl(&["req", "-x509", "-days", "3650", "-subj", "/CN=old root"]);
    top.args(key)
        .args(["-addext", usage])
        .arg("-keyout")
        .arg(file("top.key"));
    tool::succeed(top.arg("-out").arg(file("top.pem")));
    let mut between = openssl(&["req", "-new", "-subj", "/CN=old intermediate"]);
    between.args(key).arg("-keyout").arg(file("between.key"));
    tool::succeed(between.arg("-out").arg(file("between.csr")));
    let extensions = format!(
        "{ca},pathlen:0\n{usage}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    );
    let extensions = place.write("between.ext", extensions);
    let mut sign = openssl(&["x509", "-req", "-days", "1825", "-CAcreateserial", "-in"]);
    sign.arg(file("between.csr"))
        .arg("-CA")
        .arg(file("top.pem"))
        .arg("-CAkey")
        .arg(file("top.key"));
    tool::succeed(
        sign.arg("-extfile")
            .arg(extensions)
            .arg("-out")
            .arg(file("between.pem")),
    );
    let names = ["between.pem", "between.key", "top.pem", "top.key"];
    let bundle = names
        .map(|name| std::fs::read_to_string(file(name)).unwrap())
        .join("\n");
    (file("top.pem"), file("between.pem"), bundle)
}

#[tokio::test]
async fn crl_chain_has_a_list_for_each_ca_of_an_imported_chain() {
    let (head, keys) = Head::unsealed().await;
    let root = head.with_token(&keys.root_token);
    mount(&root).await;
    let (top, between, bundle) = foreign_chain(&head.place);
    let imported = root
        .put("pki/config/ca", &json!({ "pem_bundle": bundle }))
        .await
        .expect(200)
        .data();
    assert_eq!(
        imported["imported_issuers"].as_array().unwrap().len(),
        2,
        "{imported}"
    );
    let issuers = root.list("pki/issuers").await.expect(200).data();
    let of_serial = tool::text(openssl(&["x509", "-noout", "-serial", "-in"]).arg(&between));
    let of_serial = of_serial
        .trim()
        .trim_start_matches("serial=")
        .to_lowercase();
    let info = issuers["key_info"].as_object().unwrap();
    let intermediate = info
        .iter()
        .find(|(_, info)| info["serial_number"].as_str().unwrap().replace(':', "") == of_serial);
    let id = intermediate.expect("the intermediate is an issuer").0;
    root.put("pki/config/issuers", &json!({ "default": id }))
        .await
        .expect(200);
    role(&root, "ec", 256).await;
    let issued = issue(&root).await;
    assert_eq!(issued["ca_chain"].as_array().unwrap().len(), 2, "{issued}");
    let leaf = keep(&head.place, "leaf.pem", &issued["certificate"]);
    let lists = fetch(&head, "pki/crl/chain", "chain.pem").await;
    let text = std::fs::read_to_string(&lists).unwrap();
    assert_eq!(text.matches("BEGIN X509 CRL").count(), 2, "{text}");
    tool::succeed(&mut verify(&top, &lists, &[&between], &leaf));
    let only_one = fetch(&head, "pki/crl/pem", "crl.pem").await;
    let said = tool::fail(&mut verify(&top, &only_one, &[&between], &leaf));
    assert!(said.contains("unable to get certificate CRL"), "{said}");

    root.put(
        "pki/revoke",
        &json!({ "serial_number": issued["serial_number"] }),
    )
    .await
    .expect(200);
    let lists = fetch(&head, "pki/crl/chain", "chain.pem").await;
    let said = tool::fail(&mut verify(&top, &lists, &[&between], &leaf));
    assert!(said.contains("certificate revoked"), "{said}");
    let chain = fetch(&head, "pki/ca_chain", "ca_chain.pem").await;
    let chain = std::fs::read_to_string(chain).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");
}
