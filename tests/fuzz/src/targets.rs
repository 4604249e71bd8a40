//! What is fuzzed, and the promises that do not belong to one crate alone.

use serde_json::Value;
use zone_types::json::{self, MAX_DEPTH};
use zone_types::{RequestPath, Timestamp};
use zone_x509::Certificate;
use zone_x509::chain::{Question, Unlisted};

use crate::seeds;

/// One thing to fuzz.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics if `data` breaks a promise; else does nothing that can be seen.
    pub run: fn(data: &[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the input's language, to be strewn in.
    pub words: &'static [&'static str],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "path",
        run: fuzz_path,
        seeds: seeds::path,
        words: seeds::PATH_WORDS,
    },
    Target {
        name: "policy",
        run: zone_policy::fuzz_policy,
        seeds: seeds::policy,
        words: seeds::POLICY_WORDS,
    },
    Target {
        name: "json",
        run: fuzz_json,
        seeds: seeds::json,
        words: seeds::JSON_WORDS,
    },
    Target {
        name: "record",
        run: zone_barrier::fuzz_record,
        seeds: seeds::record,
        words: seeds::RECORD_WORDS,
    },
    Target {
        name: "csr",
        run: zone_x509::fuzz_csr,
        seeds: seeds::csr,
        words: seeds::DER_WORDS,
    },
    Target {
        name: "certificate",
        run: fuzz_certificate,
        seeds: seeds::certificate,
        words: seeds::DER_WORDS,
    },
    Target {
        name: "crl",
        run: fuzz_crl,
        seeds: seeds::crl,
        words: seeds::DER_WORDS,
    },
    Target {
        name: "lint",
        run: zone_x509::lint::fuzz_lint,
        seeds: seeds::lint,
        words: seeds::DER_WORDS,
    },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// A3: what is accepted is canonical, and encoding it in any way gives the same path again.
fn fuzz_path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(path) = RequestPath::from_wire(raw) else {
        return;
    };
    let text = path.as_str();
    assert_eq!(
        RequestPath::from_text(text).as_ref(),
        Ok(&path),
        "canonical text reads as itself"
    );
    assert!(text.len() <= raw.len(), "decoding never lengthens");
    assert!(
        !text.starts_with('/') && !text.contains("//"),
        "no empty segment"
    );
    assert!(
        !text
            .split('/')
            .any(|segment| segment == "." || segment == ".."),
        "no dot segment"
    );
    assert!(
        !text.contains(|c: char| c.is_control() || c == '\\'),
        "no control character"
    );
    let encode = |byte: u8| match byte {
        b'/' => "/".to_owned(),
        byte => format!("%{byte:02X}"),
    };
    let encoded: String = text.bytes().map(encode).collect();
    if encoded.len() <= zone_types::path::MAX_PATH {
        assert_eq!(
            RequestPath::from_wire(&encoded).as_ref(),
            Ok(&path),
            "one form of all"
        );
    }
}

/// What is accepted keeps its meaning when written and read again, and obeys the limits.
fn fuzz_json(data: &[u8]) {
    let Ok(value) = json::parse_value(data) else {
        return;
    };
    assert!(
        serde_json::from_slice::<Value>(data).is_ok(),
        "stricter than serde_json, not other"
    );
    assert!(depth(&value) <= MAX_DEPTH, "the depth is bounded");
    let written = value.to_string();
    assert_eq!(
        json::parse_value(written.as_bytes()).as_ref(),
        Ok(&value),
        "written: {written}"
    );
}

/// What is read can be read in every field, reported and asked about.
fn fuzz_certificate(data: &[u8]) {
    zone_x509::fuzz_certificate(data);
    report(data);
    let Ok(certificate) = Certificate::from_der(data) else {
        return;
    };
    let roots = [certificate.clone()];
    let question = Question {
        certificate: &certificate,
        intermediates: &roots,
        roots: &roots,
        lists: &[],
        at: certificate.not_before(),
        purpose: None,
        name: None,
        unlisted: Unlisted::Accept,
    };
    if let Ok(verified) = question.answer() {
        assert_eq!(verified.path.len(), 1, "what is trusted needs no more");
    }
}

fn fuzz_crl(data: &[u8]) {
    zone_x509::fuzz_crl(data);
    report(data);
}

/// A report shows no character that moves a terminal's cursor.
fn report(data: &[u8]) {
    let Ok(reports) = zone_x509::inspect::inspect(data, Timestamp::EPOCH) else {
        return;
    };
    for report in reports {
        let text = report.to_string();
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "no control character"
        );
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
