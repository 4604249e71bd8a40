//! What these tests share.

use std::collections::BTreeMap;

use serde_json::Value;
use zone_access::{AccessError, Ask, CreateToken, Created, Operation, Permit};
use zone_ports::KeyRange;
use zone_testkit::Lab;
use zone_types::{RequestPath, Secret};

/// Lets its holder make tokens.
pub(crate) const MAKER: &str =
    r#"path "auth/token/create*" { capabilities = ["create", "update"] }"#;

/// A plain request for a renewable token.
pub(crate) fn ask() -> CreateToken {
    CreateToken {
        renewable: true,
        ..CreateToken::default()
    }
}

/// [`ask`] for these policies.
pub(crate) fn ask_for(policies: &[&str]) -> CreateToken {
    CreateToken {
        policies: policies.iter().map(|name| (*name).to_owned()).collect(),
        ..ask()
    }
}

/// [`ask`] for this time to live in seconds.
pub(crate) fn ask_ttl(ttl: u64) -> CreateToken {
    CreateToken { ttl, ..ask() }
}

/// `by` asks at `auth/token/{rest}`.
pub(crate) async fn create_at(
    lab: &Lab,
    by: &Secret<String>,
    rest: &str,
    ask: CreateToken,
) -> Result<Created, AccessError> {
    let path = format!("auth/token/{rest}");
    let permit = lab.permit_of(by, Operation::Update, &path).await;
    lab.access.create_token(&permit.unwrap(), ask).await
}

/// `by` asks at `auth/token/create`.
pub(crate) async fn create(
    lab: &Lab,
    by: &Secret<String>,
    ask: CreateToken,
) -> Result<Created, AccessError> {
    create_at(lab, by, "create", ask).await
}

/// A child of `by` with all its policies.
pub(crate) async fn child(lab: &Lab, by: &Secret<String>) -> Created {
    create(lab, by, ask()).await.unwrap()
}

/// Whether the token counts, by its text and by its accessor.
pub(crate) async fn lives(lab: &Lab, token: &Created) -> bool {
    let by_text = lab.access.token(token.text.expose()).await.unwrap();
    let accessor = &token.entry.record.accessor;
    let by_accessor = lab.access.token_by_accessor(accessor).await.unwrap();
    assert_eq!(by_text.is_some(), by_accessor.is_some());
    by_text.is_some()
}

/// What the error says.
#[track_caller]
pub(crate) fn said<T>(result: Result<T, AccessError>) -> String {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => error.to_string(),
    }
}

/// A permit of root at `path`.
pub(crate) async fn root_at(lab: &Lab, path: &str) -> Permit {
    lab.permit(Operation::Update, path).await
}

/// Every record below `prefix`, in the clear, as JSON.
pub(crate) async fn records(lab: &Lab, prefix: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut range = KeyRange::prefix(prefix.to_owned());
    loop {
        let page = lab.barrier.scan(&range, 1000).await.unwrap();
        let Some((last, _)) = page.last() else {
            return found;
        };
        range = range.after(last);
        for (key, plain) in &page {
            let key = String::from_utf8(key.as_bytes().to_vec()).unwrap();
            let rest = key[prefix.len()..].to_owned();
            found.insert(rest, serde_json::from_slice(&plain.value).unwrap());
        }
    }
}

/// Keys of the store that hold one of `parts`.
pub(crate) fn keys_with(lab: &Lab, parts: &[&str]) -> Vec<String> {
    let keys = lab.store.keys();
    let text = keys
        .iter()
        .map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    text.filter(|key| !key.starts_with("core/commit-log/"))
        .filter(|key| parts.iter().any(|part| key.contains(part)))
        .collect()
}

/// The prefix of the token mount's keys.
pub(crate) fn token_area(lab: &Lab) -> String {
    let mount = lab.access.token_mount().unwrap();
    format!("{}/{}/", mount.namespace, mount.id)
}

/// Holds every record of tokens against every other one: nothing is left over, nothing is
/// missing. Gives the ids of the tokens.
#[track_caller]
pub(crate) fn check_whole(records: &TokenRecords) -> Vec<String> {
    let tokens = &records.tokens;
    let id_of = |value: &Value| value.as_str().unwrap().to_owned();
    for (key, accessor) in &records.accessors {
        let owner = tokens.get(&id_of(&accessor["token"]));
        assert!(owner.is_some(), "accessor {key} of no token");
    }
    assert_eq!(records.accessors.len(), tokens.len());
    let mut children = Vec::new();
    let mut ends = Vec::new();
    for (id, token) in tokens {
        if !token["parent"].is_null() {
            let parent = id_of(&token["parent"]);
            assert!(tokens.contains_key(&parent), "{id} has lost its parent");
            children.push(format!("{parent}/{id}"));
        }
        if let Some(end) = token["expire_time"].as_str() {
            let secs = zone_types::Timestamp::parse_rfc3339(end).unwrap().secs();
            ends.push(format!("{secs:016x}/token/{id}"));
        }
    }
    children.sort();
    ends.sort();
    assert!(records.children.keys().eq(&children), "child records");
    assert!(records.expiry.keys().eq(&ends), "expiry entries");
    assert_eq!(records.work.len(), 0, "work is left");
    tokens.keys().cloned().collect()
}

/// All records that concern tokens.
pub(crate) struct TokenRecords {
    tokens: BTreeMap<String, Value>,
    accessors: BTreeMap<String, Value>,
    children: BTreeMap<String, Value>,
    expiry: BTreeMap<String, Value>,
    work: BTreeMap<String, Value>,
}

impl TokenRecords {
    /// How many tokens there are.
    pub(crate) fn count(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) async fn read(lab: &Lab) -> Self {
        let area = token_area(lab);
        Self {
            tokens: records(lab, &format!("{area}token/")).await,
            accessors: records(lab, &format!("{area}accessor/")).await,
            children: records(lab, &format!("{area}child/")).await,
            expiry: records(lab, "core/expiry/").await,
            work: records(lab, "core/token-tree/").await,
        }
    }
}

/// After all background work: exactly these tokens are left, with all that belongs to them.
pub(crate) async fn only_left(lab: &Lab, tokens: &[&Created]) {
    lab.settle().await;
    let root = lab.access.token(lab.root.expose()).await.unwrap().unwrap();
    let mut want: Vec<String> = tokens
        .iter()
        .map(|token| token.entry.id.as_str().to_owned())
        .chain([root.id.as_str().to_owned()])
        .collect();
    want.sort();
    let left = check_whole(&TokenRecords::read(lab).await);
    assert_eq!(left, want);
}

/// A permit as a stranger has it who logs in at the method `path`.
pub(crate) async fn at_login(lab: &Lab, path: &str) -> Permit {
    let path = RequestPath::from_text(&format!("{path}/login")).unwrap();
    let ask = Ask {
        token: None,
        path: &path,
        operation: Operation::Update,
        data: None,
        remote: None,
        wrap_ttl: None,
    };
    lab.access.authorize(ask).await.unwrap()
}
