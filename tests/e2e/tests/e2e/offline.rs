//! `zonehead pki verify` and `pki inspect` over files that a head and openssl made. No head is
//! asked: the commands know no address.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use zone_e2e::{Place, tool};

use crate::zone::{FOREIGN, Identity, PKI, Zone};

const NAME: &str = "db.zone.test";

/// What `pki verify` is given beside the certificate.
struct Verify<'a> {
    place: &'a Place,
    ca: &'a Path,
    lists: &'a [&'a Path],
    more: &'a [&'a str],
}

impl Verify<'_> {
    fn command(&self, file: &Path, format: &str) -> Command {
        let mut command = self.place.command();
        command
            .args(["pki", "verify", "-require-crl", "-purpose=ServerAuth"])
            .arg(format!("-format={format}"))
            .arg(format!("-ca={}", self.ca.display()));
        for list in self.lists {
            command.arg(format!("-crl={}", list.display()));
        }
        command.args(self.more).arg(file);
        command
    }

    /// The certificate is good; its path has `length` certificates.
    #[track_caller]
    fn accepts(&self, identity: &Identity, length: usize) {
        let said = tool::text(&mut self.command(&identity.chain, "table"));
        assert!(said.contains("The chain is good at "), "{said}");
        assert!(said.contains(&identity.serial), "{said}");
        let json = tool::text(&mut self.command(&identity.chain, "json"));
        let answer: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(answer["good"], true, "{answer}");
        let path = answer["verified"]["path"].as_array().expect("a path");
        let states: Vec<&Value> = path
            .iter()
            .map(|link| &link["revocation"]["state"])
            .collect();
        let (last, below) = states.split_last().expect("no empty path");
        assert_eq!(states.len(), length, "{answer}");
        assert_eq!(*last, "trusted");
        assert!(below.iter().all(|state| *state == "good"), "{answer}");
    }

    /// The certificate is refused by this rule, with exit code 2.
    #[track_caller]
    fn refuses(&self, identity: &Identity, rule: &str) {
        let output = tool::run(&mut self.command(&identity.chain, "table"));
        let said = tool::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(output.stdout.is_empty(), "{said}");
        assert!(said.contains(&format!("(rule {rule}, ")), "{said}");
        let output = tool::run(&mut self.command(&identity.chain, "json"));
        assert_eq!(output.status.code(), Some(2), "{}", tool::said(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(answer["good"], false, "{answer}");
        assert_eq!(answer["refusal"]["rule"], rule, "{answer}");
    }
}

#[tokio::test]
async fn pki_verify_tells_good_from_expired_revoked_foreign_and_misnamed() {
    let zone = Zone::new().await;
    let ca = zone.imported_authority(PKI).await;
    let other = zone.own_authority(FOREIGN).await;
    let good = zone.issue(PKI, NAME, "good").await;
    let goes = zone.issue(PKI, NAME, "goes").await;
    let foreign = zone.issue(FOREIGN, NAME, "foreign").await;
    let lists = zone.fetch("pki/crl/chain", "lists.pem").await;
    let half = zone.fetch("pki/crl/pem", "half.pem").await;
    let foreign_list = zone.fetch("foreign/crl", "foreign.crl").await;
    let verify = Verify {
        place: &zone.head.place,
        ca: &ca,
        lists: &[&lists],
        more: &["-name=db.zone.test"],
    };
    verify.accepts(&good, 3);
    verify.accepts(&goes, 3);
    zone.revoke(PKI, &goes).await;
    let newer = zone.fetch("pki/crl/chain", "newer.pem").await;
    let informed = Verify {
        lists: &[&newer],
        ..verify
    };
    informed.accepts(&good, 3);
    informed.refuses(&goes, "revoked");

    verify.refuses(&foreign, "signature");
    let trusting = Verify {
        ca: &other,
        lists: &[&foreign_list],
        ..verify
    };
    trusting.accepts(&foreign, 2);
    trusting.refuses(&good, "signature");
    for (lists, rule) in [(&half, "crl-given"), (&foreign_list, "crl-given")] {
        let lists = &[lists.as_path()];
        Verify { lists, ..verify }.refuses(&good, rule);
    }
    for (more, rule) in [
        (["-name=web.zone.test"], "name"),
        (["-purpose=CodeSigning"], "purpose"),
        (["-at=2036-01-01T00:00:00Z"], "validity"),
        (["-at=2026-01-01T00:00:00Z"], "validity"),
    ] {
        let more = &more;
        Verify { more, ..verify }.refuses(&good, rule);
    }
}

#[tokio::test]
async fn pki_verify_takes_no_changed_list_or_certificate() {
    let zone = Zone::new().await;
    let ca = zone.own_authority(PKI).await;
    let good = zone.issue(PKI, NAME, "good").await;
    let list = zone.fetch("pki/crl", "list.crl").await;
    let verify = Verify {
        place: &zone.head.place,
        ca: &ca,
        lists: &[&list],
        more: &[],
    };
    verify.accepts(&good, 2);

    let mut changed = std::fs::read(&list).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    let changed = zone.head.place.write("changed.crl", changed);
    let lists: &[&Path] = &[&changed];
    Verify { lists, ..verify }.refuses(&good, "crl-signature");

    let mut der = tool::program("openssl");
    der.args(["x509", "-outform", "DER", "-in"])
        .arg(&good.chain);
    let mut changed = tool::succeed(&mut der);
    *changed.last_mut().unwrap() ^= 1;
    let chain = zone.head.place.write("changed.der", changed);
    let changed = Identity { chain, ..good };
    verify.refuses(&changed, "signature");
    let mut missing = verify.command(Path::new("nowhere.pem"), "table");
    let output = tool::run(&mut missing);
    assert_eq!(output.status.code(), Some(1), "{}", tool::said(&output));
}

/// What `pki inspect` says of a file, in words and as JSON.
fn inspected(place: &Place, file: &Path) -> (String, Value) {
    let inspect = |format: &str| {
        let mut command = place.command();
        command
            .args(["pki", "inspect"])
            .arg(format!("-format={format}"));
        tool::text(command.arg(file))
    };
    let json = serde_json::from_str(&inspect("json")).expect("JSON");
    (inspect("table"), json)
}

#[tokio::test]
async fn pki_inspect_says_what_openssl_says() {
    let zone = Zone::new().await;
    zone.imported_authority(PKI).await;
    let leaf = zone.issue(PKI, NAME, "leaf").await;
    zone.revoke(PKI, &leaf).await;
    let list = zone.fetch("pki/crl/chain", "list.pem").await;
    let place = &zone.head.place;

    let (text, all) = inspected(place, &leaf.chain);
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    let shown = &all[0];
    let print = |what: &str| {
        let mut x509 = tool::program("openssl");
        x509.args(["x509", "-noout", what, "-sha256", "-in"]);
        let line = tool::text(x509.arg(&leaf.chain));
        line.trim().split_once('=').unwrap().1.to_lowercase()
    };
    let field = |name: &str| shown[name].as_str().unwrap().to_owned();
    assert_eq!(field("serial").replace(':', ""), print("-serial"));
    assert_eq!(field("sha256"), print("-fingerprint"));
    assert_eq!(field("subject"), "CN=db.zone.test");
    assert_eq!(field("issuer"), "CN=zone issuing");
    assert_eq!(shown["names"], serde_json::json!(["DNS:db.zone.test"]));
    for part in [leaf.serial.as_str(), "DNS:db.zone.test", "CN=zone root"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }

    let (text, all) = inspected(place, &list);
    assert!(text.contains(&leaf.serial), "{text}");
    let counts: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|l| &l["entries"])
        .collect();
    assert_eq!(counts, [1, 0], "{all}");
}
