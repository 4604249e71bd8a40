//! Every operation of the table of endpoints, once as it succeeds and once without a token: status,
//! header fields and the form of the body. `cases.txt` holds a line for each.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::super::envelope::FIELDS;
use super::super::routes::ENGINES;
use super::routes::{method, place};
use crate::testing::{Bench, Shown, peer};

const CASES: &str = include_str!("cases.txt");

/// To who has a token that is none, where the token in the body is enough.
const HOLDS_NOTHING: &str = r#"400 ["wrapping token is not valid or does not exist"]"#;

/// One line.
struct Case {
    method: &'static str,
    pattern: &'static str,
    values: &'static str,
    body: &'static str,
    more: &'static str,
}

impl Case {
    fn parse(line: &'static str) -> Self {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [row, values, body, more] = parts[..] else {
            panic!("four parts, not {line:?}");
        };
        let (method, pattern) = row.split_once(' ').expect("a method and a pattern");
        Self {
            method,
            pattern,
            values,
            body,
            more,
        }
    }

    fn all() -> Vec<Self> {
        let lines = CASES.lines();
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(Self::parse).collect()
    }

    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.more.split_whitespace()
    }

    /// What stands behind `name:` in the last part.
    fn word(&self, name: &str) -> Option<&'static str> {
        self.words()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
    }

    fn has(&self, name: &str) -> bool {
        self.words().any(|word| word == name)
    }

    fn path(&self, known: &Known) -> String {
        let mut values = self.values.split(',');
        let parts = self
            .pattern
            .split('/')
            .map(|part| match part.starts_with('{') {
                true => known.fill(values.next().expect("a value for each part in braces")),
                false => part.to_owned(),
            });
        let mut path = parts.collect::<Vec<_>>().join("/");
        if let Some(query) = self.word("query") {
            path += &known.fill(&format!("?{query}"));
        }
        path
    }
}

/// What answers held.
struct Known(BTreeMap<&'static str, String>);

impl Known {
    /// `text` with what is known in place of `$name`.
    fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        // The longest name first: one may begin with another.
        let mut names: Vec<_> = self.0.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, value) in names {
            filled = filled.replace(&format!("${name}"), value);
        }
        assert!(!filled.contains('$'), "{text}: nothing of that name yet");
        filled
    }

    fn keep(&mut self, case: &Case, shown: &Shown) {
        for (name, pointer) in case.words().filter_map(|word| word.split_once('=')) {
            if !pointer.starts_with('/') {
                continue;
            }
            let json = shown.json();
            let found = json.pointer(pointer).and_then(Value::as_str);
            let found = found.unwrap_or_else(|| panic!("no {pointer} in {json}"));
            // As it stands in JSON: a certificate has line ends.
            let text = Value::from(found).to_string();
            self.0.insert(name, text[1..text.len() - 1].to_owned());
        }
    }
}

/// Each row of the table and each operation of it, as the cases name them; whether it is open.
fn rows() -> BTreeMap<String, bool> {
    let mut rows = BTreeMap::new();
    for engine in ENGINES {
        for route in engine.routes {
            for does in route.does {
                let (method, place) = (method(does.operation), place(engine));
                let row = format!("{method} {place}/{}", route.pattern);
                rows.insert(row, route.is_open(engine.kind, does.operation));
            }
        }
    }
    rows
}

#[test]
fn every_row_has_a_case_and_every_case_a_row() {
    let rows: BTreeSet<String> = rows().into_keys().collect();
    let cases = Case::all();
    let cases: BTreeSet<String> = cases
        .iter()
        .map(|case| format!("{} {}", case.method, case.pattern))
        .collect();
    let without: Vec<_> = rows.difference(&cases).collect();
    assert!(without.is_empty(), "add to cases.txt: {without:#?}");
    let unknown: Vec<_> = cases.difference(&rows).collect();
    assert!(unknown.is_empty(), "no such row: {unknown:#?}");
}

/// Sends a case; a stream's body is not waited for.
async fn send(bench: &Bench, case: &Case, known: &Known, token: Option<&str>) -> Shown {
    let method = Method::from_bytes(case.method.as_bytes()).unwrap();
    let path = case.path(known);
    let mut request = Request::builder()
        .method(&method)
        .uri(format!("/v1/{path}"))
        .header("host", "zone.example");
    let mut fields = Vec::new();
    if let Some(token) = token {
        fields.push(("x-vault-token", token));
    }
    if method == Method::PATCH {
        fields.push(("content-type", "application/merge-patch+json"));
    }
    if case.has("wrap") {
        fields.push(("x-vault-wrap-ttl", "5m"));
    }
    let stream = case.word("raw") == Some("text/event-stream");
    if stream {
        fields.push(("accept", "text/event-stream"));
    }
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let body = Bytes::from(known.fill(case.body));
    let request = request.body(Full::new(body)).unwrap();
    if !stream {
        return bench.answer(request).await;
    }
    let (parts, mut body) = bench.app.answer(request, &peer()).await.into_parts();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    Shown {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8_lossy(&first).into_owned(),
    }
}

/// Header fields and body of a success.
fn well_formed(case: &Case, shown: &Shown) {
    let (method, pattern) = (case.method, case.pattern);
    let named = format!("{method} {pattern}: {shown:?}");
    let status = case
        .words()
        .next()
        .and_then(|word| word.parse::<u16>().ok());
    assert_eq!(Some(shown.status), status, "{named}");
    assert_eq!(shown.field("cache-control"), Some("no-store"), "{named}");
    if shown.status == 204 {
        assert_eq!(shown.text, "", "{named}");
        return;
    }
    if let Some(kind) = case.word("raw") {
        let found = shown.field("content-type").unwrap().replace("; ", ";");
        assert_eq!(found, kind, "{named}");
        return;
    }
    assert_eq!(
        shown.field("content-type"),
        Some("application/json"),
        "{named}"
    );
    let json = shown.json();
    if shown.status == 400 {
        assert!(json["errors"][0].is_string(), "{named}");
        return;
    }
    let whole = FIELDS.iter().all(|name| json.get(name).is_some());
    assert_eq!(whole, !case.has("bare"), "{named}");
    assert_eq!(json.get("errors"), None, "{named}");
    if whole {
        let forms = json["request_id"].is_string()
            && json["lease_id"].is_string()
            && json["renewable"].is_boolean()
            && json["lease_duration"].is_u64();
        assert!(forms, "{named}");
        let something = ["data", "auth", "wrap_info", "warnings"];
        assert!(
            shown.status == 202 || something.iter().any(|name| !json[name].is_null()),
            "{named}"
        );
    }
}

/// A2, and what every client relies on (reference, 1.1).
#[tokio::test]
async fn each_endpoint_answers_in_the_form_of_its_row_and_only_to_a_token() {
    let rows = rows();
    let bench = Bench::empty().await;
    let csr = include_str!("../../../../../services/zone-pki/tests/data/plain.csr");
    let csr = Value::from(csr).to_string();
    let mut known = Known(BTreeMap::from([("csr", csr[1..csr.len() - 1].to_owned())]));
    let mut refused = 0;
    for case in Case::all() {
        let row = format!("{} {}", case.method, case.pattern);
        let open = rows.get(&row).unwrap_or_else(|| panic!("no row {row}"));
        if !open {
            let (wrong, said) = match case.has("holder") {
                true => (Some("hvs.wrong"), HOLDS_NOTHING),
                false => (None, r#"403 ["permission denied"]"#),
            };
            let none = send(&bench, &case, &known, wrong).await;
            assert_eq!(none.brief(), said, "{row}");
            let kind = none.field("content-type");
            assert_eq!(kind, Some("application/json"), "{row}");
            assert_eq!(none.field("cache-control"), Some("no-store"), "{row}");
            refused += 1;
        }
        let own = case.word("as").map(|name| known.fill(name));
        let token = match open {
            true => own,
            false => own.or_else(|| Some(known.0["root"].clone())),
        };
        let shown = send(&bench, &case, &known, token.as_deref()).await;
        well_formed(&case, &shown);
        known.keep(&case, &shown);
    }
    assert!(refused > 200, "{refused}");
}
