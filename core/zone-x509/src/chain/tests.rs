//! Chains that are good, and for each rule a chain that breaks it alone.

use std::collections::BTreeSet;

use zone_crypto::sign::KeyType;

use super::*;
use crate::lint::draft::*;

type Change = fn(&mut Draft);
type ListChange = fn(&mut ListDraft);

fn as_it_is(_: &mut Draft) {}

/// A list to be given: who signs it, the serials in it, and how it differs.
#[derive(Clone, Copy)]
enum By {
    Root,
    Middle,
}

/// Root, middle CA and leaf with the question about them; each part can be changed.
struct Scene {
    root: Change,
    middle: Change,
    leaf: Change,
    lists: Vec<(By, &'static [u8], ListChange)>,
    gives_middle: bool,
    gives_root: bool,
    at: &'static str,
    purpose: Option<Purpose>,
    name: Option<AltName>,
    unlisted: Unlisted,
}

impl Scene {
    /// A scene that is accepted; serials: root and leaf `41…`, middle `42…`.
    fn good() -> Self {
        Self {
            root: as_it_is,
            middle: as_it_is,
            leaf: as_it_is,
            lists: vec![(By::Root, &[0x77], |_| {}), (By::Middle, &[0x77], |_| {})],
            gives_middle: true,
            gives_root: true,
            at: "2026-02-03T00:00:00Z",
            purpose: Some(Purpose::SERVER_AUTH),
            name: Some(AltName::Dns("a.example".into())),
            unlisted: Unlisted::Refuse,
        }
    }

    fn answer(&self) -> Result<Verified, Refusal> {
        let root = Signer::root(KeyType::P256, self.root);
        let middle = root.authority(|draft| {
            draft.serial = tlv(INTEGER, [0x42; 20]);
            (self.middle)(draft);
        });
        let leaf = middle.leaf(self.leaf);
        let lists: Vec<Crl> = self
            .lists
            .iter()
            .map(|(by, serials, change)| match by {
                By::Root => root.list(serials, change),
                By::Middle => middle.list(serials, change),
            })
            .collect();
        let question = Question {
            certificate: &leaf,
            intermediates: if self.gives_middle {
                &[middle.certificate]
            } else {
                &[]
            },
            roots: if self.gives_root {
                &[root.certificate]
            } else {
                &[]
            },
            lists: &lists,
            at: Timestamp::parse_rfc3339(self.at).unwrap(),
            purpose: self.purpose,
            name: self.name.as_ref(),
            unlisted: self.unlisted,
        };
        question.answer()
    }
}

fn no_cert_sign(draft: &mut Draft) {
    draft.put(USAGE, true, vec![0x03, 0x02, 0x01, 0x02]);
}

fn no_crl_sign(draft: &mut Draft) {
    draft.put(USAGE, true, vec![0x03, 0x02, 0x02, 0x04]);
}

fn no_room(draft: &mut Draft) {
    draft.put(
        BASIC,
        true,
        sequence(&[&tlv(BOOLEAN, [0xff]), &tlv(INTEGER, [0])]),
    );
}

fn client_only(draft: &mut Draft) {
    draft.put(PURPOSES, false, sequence(&[&oid("1.3.6.1.5.5.7.3.2")]));
}

fn permit(draft: &mut Draft, tree: &[u8]) {
    draft.put(SUBTREES, true, sequence(&[&tlv(0xa0, sequence(&[tree]))]));
}

fn sha1(draft: &mut Draft) {
    draft.algorithm = sequence(&[&oid("1.2.840.10045.4.1")]);
}

fn partial(draft: &mut ListDraft, uri: &str) {
    let full = tlv(0xa0, tlv(0xa0, tlv(URI, uri)));
    draft.put(ISSUING_POINT, true, sequence(&[&full]));
}

/// The rule that refuses, the subject that it names, and what is wrong.
type Row = (&'static str, &'static str, fn(&mut Scene));

const ROWS: &[Row] = &[
    ("issuer-known", "CN=a.example", |s| s.gives_middle = false),
    ("root-trusted", "CN=root", |s| {
        // A stranger's root, given as intermediate only.
        s.gives_root = false;
        s.gives_middle = false;
        s.leaf = |d| {
            d.subject = name("root");
            d.issuer = name("root");
        };
    }),
    ("signature", "CN=a.example", |s| {
        s.leaf = |d| d.algorithm = other_algorithm()
    }),
    ("signature-algorithm", "CN=a.example", |s| s.leaf = sha1),
    ("signature-algorithm", "CN=authority", |s| s.middle = sha1),
    ("version", "CN=authority", |s| {
        s.middle = |d| {
            d.version.clear();
        }
    }),
    ("extension", "CN=a.example", |s| {
        s.leaf = |d| d.put(USAGE, true, vec![4, 0])
    }),
    ("extension", "CN=authority", |s| {
        s.middle = |d| d.put(SUBTREES, true, vec![5, 0])
    }),
    ("extension", "CN=a.example", |s| {
        s.leaf = |d| d.put(PURPOSES, false, sequence(&[]))
    }),
    ("critical-extension", "CN=a.example", |s| {
        s.leaf = |d| d.put("1.2.3", true, vec![5, 0]);
    }),
    ("critical-extension", "CN=authority", |s| {
        s.middle = |d| d.put("1.2.3", true, vec![5, 0]);
    }),
    ("validity", "CN=a.example", |s| {
        s.leaf = |d| d.not_after = tlv(UTC, "260202235959Z")
    }),
    ("validity", "CN=a.example", |s| {
        s.leaf = |d| d.not_before = tlv(UTC, "260203000001Z")
    }),
    ("validity", "CN=authority", |s| {
        s.middle = |d| d.not_after = tlv(UTC, "260202235959Z")
    }),
    ("validity", "CN=root", |s| {
        s.root = |d| d.not_after = tlv(UTC, "260202235959Z")
    }),
    ("ca", "CN=authority", |s| s.middle = |d| d.drop(BASIC)),
    ("ca", "CN=root", |s| {
        s.root = |d| d.put(BASIC, true, sequence(&[]))
    }),
    ("path-length", "CN=root", |s| s.root = no_room),
    ("key-usage", "CN=authority", |s| s.middle = no_cert_sign),
    ("key-usage", "CN=root", |s| s.root = no_cert_sign),
    ("key-usage", "CN=a.example", |s| {
        s.leaf = |d| d.put(USAGE, true, vec![0x03, 0x02, 0x06, 0x40]);
    }),
    ("purpose", "CN=a.example", |s| s.leaf = client_only),
    ("purpose", "CN=authority", |s| s.middle = client_only),
    ("purpose", "CN=a.example", |s| {
        s.leaf = |d| d.put(PURPOSES, false, sequence(&[&oid("2.5.29.37.0")]));
    }),
    ("name-constraints", "CN=a.example", |s| {
        s.middle = |d| permit(d, &tlv(DNS, "b.example"));
    }),
    ("name-constraints", "CN=a.example", |s| {
        s.root = |d| permit(d, &tlv(0x87, [10, 1, 0, 0, 255, 255, 0, 0]));
    }),
    ("name-constraints", "CN=root", |s| {
        // Directory names cannot be judged.
        s.root = |d| permit(d, &tlv(0xa4, name("a")));
    }),
    ("name", "CN=a.example", |s| {
        s.name = Some(AltName::Dns("c.example".into()))
    }),
    ("name", "CN=a.example", |s| {
        // A common name is no name.
        s.leaf = |d| d.put(NAMES, false, names(&["other.example"]));
    }),
    ("name", "CN=a.example", |s| {
        s.name = Some(AltName::Ip("10.0.0.2".parse().unwrap()))
    }),
    ("name", "CN=a.example", |s| {
        s.name = Some(AltName::Uri("spiffe://z/b".into()))
    }),
    ("name", "CN=a.example", |s| {
        s.name = Some(AltName::Dns("x.y.b.example".into()))
    }),
    ("webpki", "CN=a.example", |s| {
        // webpki holds self-issued CAs to name constraints too; RFC 5280 does not.
        s.root = |d| permit(d, &tlv(DNS, "example"));
        s.middle = |d| {
            d.subject = name("root");
            d.put(NAMES, false, names(&["elsewhere.test"]));
        };
        s.leaf = |d| d.issuer = name("root");
    }),
    ("key", "CN=a.example", |s| s.leaf = |d| d.spki = short_rsa()),
    ("ca", "", |s| {
        s.middle = |d| d.subject = vec![0x30, 0];
        s.leaf = |d| d.issuer = vec![0x30, 0];
    }),
    ("leaf", "CN=a.example", |s| {
        s.leaf = |d| d.put(BASIC, true, sequence(&[&tlv(BOOLEAN, [0xff])]));
    }),
    ("extension", "CN=root", |s| {
        s.root = |d| d.put(SUBTREES, true, sequence(&[]))
    }),
    ("revoked", "CN=a.example", |s| s.lists[1].1 = &[0x77, 0x41]),
    ("revoked", "CN=authority", |s| s.lists[0].1 = &[0x42]),
    ("revoked", "CN=a.example", |s| {
        // A stale list still proves a revocation, beside a fresh one that forgot it.
        s.lists.push((By::Middle, &[0x41], |d| {
            d.next_update = tlv(UTC, "260202000001Z")
        }));
    }),
    ("crl-given", "CN=a.example", |s| s.lists.truncate(1)),
    ("crl-given", "CN=authority", |s| {
        s.lists.remove(0);
    }),
    ("crl-scope", "CN=a.example", |s| {
        s.lists[1].2 = |d| partial(d, "http://ca.example/crl/2");
    }),
    ("crl-scope", "CN=a.example", |s| {
        s.lists[1].2 = |d| partial(d, "urn:zonehead:crl:x:1");
    }),
    ("crl-signer", "CN=authority", |s| s.middle = no_crl_sign),
    ("crl-signature", "CN=a.example", |s| {
        s.lists[1].2 = |d| d.algorithm = other_algorithm();
    }),
    ("crl-fresh", "CN=a.example", |s| {
        s.lists[1].2 = |d| d.next_update = tlv(UTC, "260203000000Z");
    }),
    ("crl-fresh", "CN=a.example", |s| {
        s.lists[1].2 = |d| d.this_update = tlv(UTC, "260203000001Z");
    }),
    ("crl-fresh", "CN=authority", |s| {
        s.lists[0].2 = |d| d.next_update.clear()
    }),
];

/// Another algorithm than the key's, so that the signature is wrong.
fn other_algorithm() -> Vec<u8> {
    KeyType::Ed25519
        .algorithm()
        .scheme()
        .algorithm_identifier()
        .to_vec()
}

#[test]
fn each_rule_refuses_what_breaks_it_and_names_the_certificate() {
    for (at, (rule, subject, change)) in ROWS.iter().enumerate() {
        let mut scene = Scene::good();
        change(&mut scene);
        let refusal = match scene.answer() {
            Ok(verified) => panic!("row {at}, {rule}: accepted\n{verified}"),
            Err(refusal) => refusal,
        };
        assert_eq!(refusal.rule, *rule, "row {at}: {refusal}");
        assert!(
            refusal.certificate.starts_with(subject),
            "row {at}: {refusal}"
        );
        assert!(
            !refusal.next_step.is_empty() && !refusal.section.is_empty(),
            "row {at}"
        );
    }
    let tried: BTreeSet<_> = ROWS.iter().map(|(rule, ..)| *rule).collect();
    // All but "effort", which has its own test below.
    assert_eq!(tried.len(), 23, "{tried:?}");
}

#[test]
fn a_good_chain_says_what_was_checked() {
    let verified = Scene::good().answer().unwrap();
    let subjects: Vec<_> = verified
        .path
        .iter()
        .map(|link| link.subject.as_str())
        .collect();
    assert_eq!(subjects, ["CN=a.example", "CN=authority", "CN=root"]);
    assert!(matches!(
        verified.path[0].revocation,
        Revocation::Good { .. }
    ));
    assert!(matches!(
        verified.path[1].revocation,
        Revocation::Good { .. }
    ));
    assert_eq!(verified.path[2].revocation, Revocation::Trusted);
    assert!(verified.notes.is_empty(), "{:?}", verified.notes);
    let text = verified.to_string();
    for part in [
        "good at 2026-02-03T00:00:00Z",
        "not revoked by list 66051 of 2026-02-02T00:00:00Z, good until 2026-02-05T00:00:00Z",
        "bears the name DNS:a.example",
        "purpose ServerAuth",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_is_not_checked_is_said() {
    let mut scene = Scene::good();
    scene.unlisted = Unlisted::Accept;
    scene.lists.truncate(1);
    let verified = scene.answer().unwrap();
    assert!(matches!(
        verified.path[0].revocation,
        Revocation::NotChecked { .. }
    ));
    assert!(matches!(
        verified.path[1].revocation,
        Revocation::Good { .. }
    ));
    assert_eq!(verified.notes.len(), 1);
    assert!(
        verified.to_string().contains("revocation not checked"),
        "{verified}"
    );
}

#[test]
fn names_of_each_kind_are_found() {
    let found = [
        AltName::Dns("A.Example".into()),
        AltName::Dns("a.example.".into()),
        AltName::Dns("x.b.example".into()),
        AltName::Ip("10.0.0.1".parse().unwrap()),
        AltName::Uri("spiffe://z/a".into()),
    ];
    for name in found {
        let scene = Scene {
            name: Some(name.clone()),
            ..Scene::good()
        };
        scene
            .answer()
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    }
}

#[test]
fn mailboxes_below_their_constraints_are_judged_here_alone() {
    let mut scene = Scene::good();
    scene.root = |draft| permit(draft, &tlv(0x81, "b.example"));
    scene.leaf = |draft| draft.put(NAMES, false, names(&["a.example", "a@b.example"]));
    let verified = scene.answer().unwrap();
    assert!(verified.notes[0].contains("webpki refuse it"), "{verified}");
    scene.leaf = |draft| draft.put(NAMES, false, names(&["a.example", "a@c.example"]));
    assert_eq!(scene.answer().unwrap_err().rule, "name-constraints");
}

#[test]
fn a_part_of_a_list_is_enough_if_it_is_the_right_one() {
    let mut scene = Scene::good();
    scene.lists[1].2 = |draft| partial(draft, "http://ca.example/crl/1");
    scene.lists.push((By::Middle, &[0x41], |draft| {
        partial(draft, "http://ca.example/crl/2")
    }));
    let verified = scene.answer().unwrap();
    let Revocation::Good { points, .. } = &verified.path[0].revocation else {
        panic!()
    };
    assert_eq!(points, &["http://ca.example/crl/1"]);
    scene.lists[1].1 = &[0x41];
    assert_eq!(scene.answer().unwrap_err().rule, "revoked");
}

#[test]
fn a_stale_list_beside_a_fresh_one_does_no_harm() {
    let mut scene = Scene::good();
    let stale: ListChange = |draft| draft.next_update = tlv(UTC, "260202000001Z");
    scene.lists.insert(0, (By::Middle, &[0x77], stale));
    assert!(scene.answer().is_ok());
}

fn question<'a>(certificate: &'a Certificate, roots: &'a [Certificate]) -> Question<'a> {
    Question {
        certificate,
        intermediates: &[],
        roots,
        lists: &[],
        at: Timestamp::parse_rfc3339("2026-02-03T00:00:00Z").unwrap(),
        purpose: None,
        name: None,
        unlisted: Unlisted::Accept,
    }
}

#[test]
fn a_certificate_that_is_itself_trusted_is_good() {
    let root = Signer::root(KeyType::Ed25519, |_| {});
    let roots = [root.certificate.clone()];
    let verified = question(&root.certificate, &roots).answer().unwrap();
    assert_eq!(verified.path.len(), 1);
    assert!(verified.notes[0].contains("itself is trusted"));
    // A pinned leaf too, though still by its life and names.
    let pinned = [root.leaf(|_| {})];
    let mut asked = question(&pinned[0], &pinned);
    assert_eq!(asked.answer().unwrap().notes.len(), 2);
    let other = AltName::Dns("c.example".into());
    asked.name = Some(&other);
    assert_eq!(asked.answer().unwrap_err().rule, "name");
    asked.name = None;
    asked.at = Timestamp::parse_rfc3339("2027-01-01T00:00:01Z").unwrap();
    assert_eq!(asked.answer().unwrap_err().rule, "validity");
    asked.at = Timestamp::parse_rfc3339("2027-01-01T00:00:00Z").unwrap();
    assert!(asked.answer().is_ok());
}

#[test]
fn a_ca_can_be_the_end_of_a_path() {
    let root = Signer::root(KeyType::P384, |_| {});
    let authority = root.authority(|_| {});
    let roots = [root.certificate.clone()];
    let mut asked = question(&authority.certificate, &roots);
    assert_eq!(asked.answer().unwrap().path.len(), 2);
    let lists = [root.list(&[0x41], |_| {})];
    asked.lists = &lists;
    assert_eq!(asked.answer().unwrap_err().rule, "revoked");
}

#[test]
fn among_cas_of_one_name_the_one_that_signed_is_found() {
    let roots = [
        Signer::root(KeyType::P256, |_| {}),
        Signer::root(KeyType::P256, |_| {}),
    ];
    let leaf = roots[1].leaf(|_| {});
    let anchors = [roots[0].certificate.clone(), roots[1].certificate.clone()];
    let mut asked = question(&leaf, &anchors);
    // The other key's list neither speaks for this leaf nor stands in the way.
    let lists = [roots[0].list(&[0x41], |_| {})];
    asked.lists = &lists;
    let verified = asked.answer().unwrap();
    assert!(matches!(
        verified.path[0].revocation,
        Revocation::NotChecked { .. }
    ));
    let lists = [roots[0].list(&[], |_| {}), roots[1].list(&[0x41], |_| {})];
    asked.lists = &lists;
    assert_eq!(asked.answer().unwrap_err().rule, "revoked");
}

#[test]
fn a_cross_signed_ca_leads_to_the_root_that_is_trusted() {
    let (old, new) = (
        Signer::root(KeyType::P256, |_| {}),
        Signer::root(KeyType::P256, |_| {}),
    );
    let leaf = new.leaf(|_| {});
    // The new root's key, certified by the old one under the same name.
    let mut cross = Draft::authority(&new.key, &old);
    cross.subject = new.certificate.subject_der().to_vec();
    let between = [cross.sign(&old.key)];
    let roots = [old.certificate.clone()];
    let asked = Question {
        intermediates: &between,
        ..question(&leaf, &roots)
    };
    assert_eq!(asked.answer().unwrap().path.len(), 3);
    assert_eq!(
        question(&leaf, &roots).answer().unwrap_err().rule,
        "signature"
    );
}

#[test]
fn a_circle_of_cas_ends() {
    let one = Signer::root(KeyType::P256, |_| {});
    let two = one.authority(|_| {});
    let mut back = Draft::authority(&one.key, &two);
    back.subject = one.certificate.subject_der().to_vec();
    let between = [
        two.certificate.clone(),
        back.sign(&two.key),
        one.certificate.clone(),
    ];
    let leaf = two.leaf(|_| {});
    let asked = Question {
        intermediates: &between,
        ..question(&leaf, &[])
    };
    assert!(asked.answer().is_err());
}

#[test]
fn many_cas_of_one_name_do_not_cost_much() {
    let root = Signer::root(KeyType::P256, |_| {});
    let stranger = Signer::root(KeyType::P256, |_| {});
    let leaf = root.leaf(|draft| draft.drop(AUTHORITY));
    let copies = vec![stranger.certificate.clone(); 300];
    let asked = Question {
        intermediates: &copies,
        ..question(&leaf, &[])
    };
    assert_eq!(asked.answer().unwrap_err().rule, "effort");
}

#[test]
fn messages_show_no_control_characters() {
    let root = Signer::root(KeyType::P256, |draft| {
        draft.subject = attribute("2.5.4.3", UTF8, "a\u{1b}[2J\u{202e}b");
        draft.issuer = draft.subject.clone();
    });
    let text = question(&root.certificate, &[])
        .answer()
        .unwrap_err()
        .to_string();
    assert!(
        !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{text:?}"
    );
}

#[test]
fn webpki_follows_the_lists_too() {
    let root = Signer::root(KeyType::P256, |_| {});
    let leaf = root.leaf(|_| {});
    let point: ListChange = |draft| partial(draft, "http://ca.example/crl/1");
    let strange: ListChange = |draft| partial(draft, "urn:zonehead:crl:x:1");
    let rows = [
        (root.list(&[], |_| {}), Ok(())),
        (root.list(&[], point), Ok(())),
        (root.list(&[0x41], point), Err(webpki::Error::CertRevoked)),
        (
            root.list(&[0x41], strange),
            Err(webpki::Error::UnknownRevocationStatus),
        ),
    ];
    for (list, wanted) in rows {
        let list = webpki::BorrowedCertRevocationList::from_der(list.der())
            .unwrap()
            .into();
        let lists = [&list];
        let revocation = webpki::RevocationOptionsBuilder::new(&lists)
            .unwrap()
            .build();
        let (leaf, root) = (leaf.der().into(), root.certificate.der().into());
        let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
        let end = webpki::EndEntityCert::try_from(&leaf).unwrap();
        let at = std::time::Duration::from_secs(1_770_076_800);
        let verdict = end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            rustls_pki_types::UnixTime::since_unix_epoch(at),
            webpki::KeyUsage::server_auth(),
            Some(revocation),
            None,
        );
        assert_eq!(verdict.map(|_| ()), wanted);
    }
}
