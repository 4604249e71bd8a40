//! Where mutation begins: valid inputs and near misses, and the words of each language.

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn path() -> Vec<Vec<u8>> {
    texts(&[
        "secret/data/app/db",
        "secret/metadata/",
        "sys/policies/acl/a%20b",
        "auth/token/%6Cookup-self",
        "a/b.c/..d/%C3%A4",
        "a/%2e%2e/b",
        "a%2fb",
        "a//b",
        "%E2%80%AE",
    ])
}

pub(crate) const PATH_WORDS: &[&str] = &[
    "/",
    "//",
    ".",
    "..",
    "/../",
    "/./",
    "%2e",
    "%2E",
    "%2f",
    "%00",
    "%",
    "%%",
    "%25",
    "%c0%af",
    "%ed%a0%80",
    "\\",
    "\u{202e}",
    "\u{feff}",
    "sys/",
    "ä",
    "+",
    "*",
];

pub(crate) fn policy() -> Vec<Vec<u8>> {
    let mut all = texts(&[
        zone_policy::DEFAULT_POLICY,
        r#"{"path": {"secret/*": {"capabilities": ["read", "list"]}, "a/+/b": {"policy": "deny"}}}"#,
        r#"path "s/+/x*" { capabilities = ["create", "update", "sudo"] min_wrapping_ttl = "1h30m"
             allowed_parameters = { "a" = ["x*", 1, true], "*" = [] }
             denied_parameters = { b = [] } required_parameters = ["c"] }"#,
        r#"path = { "a" = { policy = "write" }, "/b/" = { policy = "sudo" } } # end"#,
        "name = \"fuzz\" path \"\" {} /* c */ // c\npath \"*\" { comment = \"\\u00e4\\n\" }",
    ]);
    let many = (0..60).map(|at| format!("path \"a/+/{at}*\" {{ policy = \"read\" }}\n"));
    all.push(many.collect::<String>().into_bytes());
    all
}

pub(crate) const POLICY_WORDS: &[&str] = &[
    "path",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "=",
    ",",
    "*",
    "+",
    "/",
    "+*",
    "\"a/+/b*\"",
    "\"secret/*\"",
    "capabilities",
    "policy",
    "\"read\"",
    "\"list\"",
    "\"deny\"",
    "\"sudo\"",
    "{{identity.x}}",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "max_wrapping_ttl",
    "comment",
    "-1",
    "1e99",
    "\"5m\"",
    "true",
    "null",
    "#",
    "//",
    "/*",
    "*/",
    "\\u0041",
    "\\",
    "${",
    "<<EOF\n",
    ":",
    "\u{feff}",
    "\n",
];

pub(crate) fn json() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"data": {"password": "p\u00e4ss", "n": 1.5e-3, "deep": [[[]]]}, "options": {"cas": 0}}"#,
        r#"{"ttl": "1h", "policies": ["a", "b"], "x": null, "y": true, "z": -0}"#,
        r#"{"a": 1, "a": 2}"#,
        r#"{"s": "\ud83d\ude00\n", "big": 123456789012345678901234567890}"#,
        "[1, [2, [3, [4, {\"k\": [5]}]]]] ",
        r#"{"$serde_json::private::Number": "1"}"#,
        r#"{"$serde_json::private::RawValue": "1"}"#,
    ])
}

pub(crate) const JSON_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\"a\"",
    "\"a\":",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\n",
    "1",
    "-",
    "0.0",
    "1e400",
    "1E-9",
    "true",
    "false",
    "null",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    " ",
    "\"$serde_json::private::Number\":",
    "\u{feff}",
    "\u{0}",
];

pub(crate) fn record() -> Vec<Vec<u8>> {
    let golden = [
        include_str!("../../../services/zone-barrier/tests/golden/record-1.hex"),
        include_str!("../../../services/zone-barrier/tests/golden/keyring-1.hex"),
        include_str!("../../../services/zone-barrier/tests/golden/commit-log-1.hex"),
    ];
    let mut all: Vec<Vec<u8>> = golden
        .iter()
        .filter_map(|text| hex::decode(text.trim()).ok())
        .collect();
    all.push(include_bytes!("../../../services/zone-barrier/tests/golden/zone-1.json").to_vec());
    all.push(br#"{"v":1,"kind":"shamir","shares":5,"threshold":3,"hashes":[]}"#.to_vec());
    all.push(vec![0; 40]);
    all
}

pub(crate) const RECORD_WORDS: &[&str] = &[
    "\0\0\0\u{1}\u{1}",
    "\0\0\0\0",
    "\u{1}\0\u{3}",
    "{\"v\":1",
    "core/",
    "\u{7f}\u{7f}\u{7f}\u{7f}",
];

pub(crate) fn csr() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../seeds/request.csr.der").to_vec(),
        include_bytes!("../seeds/small.csr.der").to_vec(),
    ]
}

pub(crate) fn certificate() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../seeds/leaf.crt.der").to_vec(),
        include_bytes!("../seeds/leaf-rsa.crt.der").to_vec(),
        include_bytes!("../seeds/root.crt.der").to_vec(),
    ]
}

pub(crate) fn crl() -> Vec<Vec<u8>> {
    vec![
        include_bytes!("../seeds/part.crl.der").to_vec(),
        include_bytes!("../seeds/complete.crl.der").to_vec(),
    ]
}

/// What is signed in the certificates and lists.
pub(crate) fn lint() -> Vec<Vec<u8>> {
    let signed = certificate().into_iter().chain(crl());
    signed.map(|der| first_inside(&der).to_vec()).collect()
}

/// The first value in a DER `SEQUENCE`, both with lengths of two octets.
fn first_inside(der: &[u8]) -> &[u8] {
    let inside = &der[4..];
    let length = usize::from(inside[2]) << 8 | usize::from(inside[3]);
    &inside[..4 + length]
}

/// Headers, small values and object identifiers of extensions.
pub(crate) const DER_WORDS: &[&str] = &[
    "\x30\0",
    "\x30\x03",
    "\x31\0",
    "\x05\0",
    "\x01\x01\0",
    "\x02\x01\0",
    "\x02\x01\x02",
    "\x03\x02\x07",
    "\x04\0",
    "\x0a\x01\0",
    "\x0c\0",
    "\x13\x02DE",
    "\x17\x0d500101000000Z",
    "\x18\x0f20500101000000Z",
    "\x06\x03U\x1d\x0e",
    "\x06\x03U\x1d\x0f",
    "\x06\x03U\x1d\x11",
    "\x06\x03U\x1d\x13",
    "\x06\x03U\x1d\x14",
    "\x06\x03U\x1d\x15",
    "\x06\x03U\x1d\x1c",
    "\x06\x03U\x1d\x1e",
    "\x06\x03U\x1d\x1f",
    "\x06\x03U\x1d\x23",
    "\x06\x03U\x1d\x25",
    "*.",
    "\x1b[2J",
    "\u{202e}",
];

#[cfg(test)]
mod tests {
    use zone_x509::lint::{Profile, check_certificate, check_crl};
    use zone_x509::{Certificate, Crl, Request};

    #[test]
    fn der_seeds_are_accepted() {
        assert!(
            super::csr()
                .iter()
                .all(|der| Request::from_der(der).is_ok())
        );
        let certificates = super::certificate();
        assert!(
            certificates
                .iter()
                .all(|der| Certificate::from_der(der).is_ok())
        );
        assert!(super::crl().iter().all(|der| Crl::from_der(der).is_ok()));
        let [_, _, root, lists @ ..] = &super::lint()[..] else {
            panic!("three certificates come first");
        };
        assert_eq!(check_certificate(root, Profile::Root), Ok(()));
        assert!(lists.iter().all(|tbs| check_crl(tbs) == Ok(())));
    }
}
