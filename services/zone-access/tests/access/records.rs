//! What is stored, held against the golden files, which docs/formats/access.md explains.
//!
//! Each file holds every record of a small zone in the clear; `access-1.json` is of a head before
//! the cubbyhole, `access-2.json` of one before identity. To make another: keep the old ones and the test that reads them, and write it
//! with `ZONEHEAD_WRITE_GOLDEN=1 cargo test -p zone-access`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{ask, ask_for, child, create, create_at, records, root_at};
use crate::wrapping::{unwrap, wrap};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use zone_access::{Access, AccessError, CreateToken, MountKind, Operation};
use zone_barrier::commit::Committer;
use zone_barrier::{Barrier, Batch, InitAsk};
use zone_ports::{Clock, Key, Store};
use zone_testkit::{FakeClock, Lab, MemStore, PlainMemory, SeededRandom};
use zone_types::Secret;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/access-3.json");
const SECOND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/access-2.json");
const FIRST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/access-1.json");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Golden {
    /// Texts of tokens by what the scenario calls them.
    pub(crate) tokens: BTreeMap<String, String>,
    /// Every record by its key.
    records: BTreeMap<String, Value>,
}

/// An open barrier over an empty store, and access with random bytes of its own: what the
/// barrier draws does not show here.
pub(crate) async fn empty() -> Lab {
    let store = MemStore::new();
    let clock = Arc::new(FakeClock::default());
    let port: Arc<dyn Store> = Arc::new(store.clone());
    let committer = Committer::open(port).await.unwrap();
    let own = Arc::new(SeededRandom::new(1));
    let barrier = Barrier::new(committer, own, Arc::new(PlainMemory));
    let ask = InitAsk {
        shares: 1,
        threshold: 1,
    };
    let prepared = barrier.init_prepare(ask, clock.now()).await.unwrap();
    barrier.init_finish().await.unwrap();
    let random = Arc::new(SeededRandom::new(2));
    let access = Access::new(barrier.clone(), clock.clone(), random.clone());
    Lab {
        store,
        barrier,
        access,
        clock,
        random,
        root: Secret::default(),
        shares: prepared.shares,
    }
}

async fn make() -> Golden {
    let mut lab = empty().await;
    lab.access.bootstrap().await.unwrap();
    lab.root = lab.access.create_root_token().await.unwrap().text;
    lab.mount(MountKind::Kv, "secret").await;
    lab.mount(MountKind::Pki, "old").await;
    let tune = root_at(&lab, "sys/mounts/secret/tune").await;
    let tuned = lab.access.tune(&tune, "secret", |mount| {
        mount.description = "the team's".into();
        mount.config.max_lease_ttl = 86_400;
        mount.config.listing_visibility = "unauth".into();
    });
    tuned.await.unwrap();
    lab.policy(
        "app",
        "path \"secret/data/app/*\" {\n  capabilities = [\"read\"]\n}\n",
    )
    .await;
    // What the default policy says is no matter of format.
    lab.policy("default", "# nothing\n").await;
    lab.clock.advance(Duration::from_millis(61_500));
    lab.access.sweep().await.unwrap();
    let disable = lab.permit(Operation::Delete, "sys/mounts/old").await;
    lab.access.disable(&disable, "old").await.unwrap();
    let app = CreateToken {
        meta: Some(BTreeMap::from([("team".into(), "a".into())])),
        display_name: "web".into(),
        ttl: 3600,
        explicit_max_ttl: 7200,
        num_uses: 5,
        bound_cidrs: vec!["10.0.0.0/8".into()],
        ..ask_for(&["app"])
    };
    let app = create(&lab, &lab.root, app).await.unwrap();
    let renew = root_at(&lab, "auth/token/renew").await;
    lab.access
        .renew_token(&renew, &app.entry, 1800)
        .await
        .unwrap();
    let periodic = CreateToken {
        id: Some(Secret::new("00000000-0000-0000-0000-000000000000".into())),
        period: 600,
        ..ask_for(&["app"])
    };
    let periodic = create_at(&lab, &lab.root, "create-orphan", periodic)
        .await
        .unwrap();
    let ended = child(&lab, &lab.root).await;
    let lost = child(&lab, &ended.text).await;
    let left = child(&lab, &lab.root).await;
    let released = create(&lab, &left.text, ask()).await.unwrap();
    lab.access.revoke_token(&ended.entry.id).await.unwrap();
    lab.access.revoke_orphan(&left.entry.id).await.unwrap();
    let keep = lab.permit(Operation::Update, "cubbyhole/notes/x").await;
    let kept = RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
    lab.access.cubbyhole_write(&keep, kept).await.unwrap();
    let wrapped = wrap(&lab, r#"{"data":{"b":2}}"#, 1800).await;
    let named = [
        ("wrapping", wrapped.text),
        ("root", lab.root.clone()),
        ("app", app.text),
        ("periodic", periodic.text),
        ("lost", lost.text),
        ("released", released.text),
    ];
    Golden::of(&lab, named).await
}

impl Golden {
    /// All that the zone holds now.
    pub(crate) async fn of(
        lab: &Lab,
        named: impl IntoIterator<Item = (&'static str, Secret<String>)>,
    ) -> Self {
        let mut all = BTreeMap::new();
        for area in ["core/", "root/"] {
            let found = records(lab, area).await.into_iter();
            all.extend(found.map(|(rest, value)| (format!("{area}{rest}"), value)));
        }
        let named = named.into_iter();
        Self {
            tokens: named
                .map(|(name, text)| (name.to_owned(), text.expose().clone()))
                .collect(),
            records: all,
        }
    }

    /// The same is in `file`, which is written if there is none and one is wanted.
    pub(crate) fn is_in(&self, file: &str) {
        let wanted = std::env::var_os("ZONEHEAD_WRITE_GOLDEN").is_some();
        if wanted && !std::path::Path::new(file).exists() {
            let text = serde_json::to_string_pretty(self).unwrap();
            std::fs::write(file, text + "\n").unwrap();
        }
        let golden = golden(file);
        for (key, value) in &golden.records {
            assert_eq!(self.records.get(key), Some(value), "{key}");
        }
        assert_eq!(*self, golden);
    }
}

pub(crate) fn golden(file: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[tokio::test]
async fn records_are_written_as_specified() {
    make().await.is_in(FILE);
}

/// Puts the golden records into an empty zone and lets access load them.
pub(crate) async fn load(golden: &Golden) -> Lab {
    let mut lab = empty().await;
    for (key, value) in &golden.records {
        let key = Key::new(key.clone()).unwrap();
        let batch = Batch::new().put(key, value.to_string());
        lab.barrier.commit(batch).await.unwrap();
    }
    lab.root = Secret::new(golden.tokens["root"].clone());
    lab.access.load().await.unwrap();
    lab
}

#[tokio::test]
async fn zones_of_old_heads_are_read() {
    for file in [FIRST, SECOND, FILE] {
        reads_all_of(&golden(file)).await;
    }
}

async fn reads_all_of(golden: &Golden) {
    let lab = load(golden).await;
    let find = async |name: &str| {
        let text = &golden.tokens[name];
        lab.access
            .token(text)
            .await
            .unwrap()
            .map(|entry| entry.record.clone())
    };
    let floor = FakeClock::START.plus(Duration::from_millis(61_500));
    assert_eq!(lab.access.now().unwrap(), floor, "the time floor");
    assert!(find("root").await.unwrap().is_root());
    assert!(find("lost").await.is_none());
    let app = find("app").await.unwrap();
    assert_eq!((app.ttl(floor), app.num_uses), (1800, 5));
    assert_eq!((app.explicit_max_ttl, app.creation_ttl), (7200, 3600));
    assert_eq!(app.policies, ["app", "default"]);
    assert_eq!(app.bound_cidrs, ["10.0.0.0/8"]);
    assert_eq!(app.meta.unwrap()["team"], "a");
    let periodic = find("periodic").await.unwrap();
    assert!(periodic.orphan() && periodic.period == 600);
    for swept in [false, true] {
        assert_eq!(find("released").await.unwrap().orphan(), swept);
        lab.settle().await;
    }
    let secret = lab.access.mount_of("secret/x").unwrap().unwrap();
    assert_eq!(secret.config.max_lease_ttl, 86_400);
    assert_eq!(secret.config.listing_visibility, "unauth");
    assert!(lab.access.mount_of("old/x").unwrap().is_none());
    let token = Secret::new(golden.tokens["periodic"].clone());
    let permit = lab
        .permit_of(&token, Operation::Read, "secret/data/app/x")
        .await;
    assert_eq!(
        permit.unwrap().rule(),
        Some("\"secret/data/app/*\" (app line 1)")
    );
    if let Some(text) = golden.tokens.get("wrapping") {
        assert_eq!(kept(&lab).await.unwrap(), Some(r#"{"a":1}"#.to_owned()));
        let answer = unwrap(&lab, &Secret::new(text.clone())).await;
        assert_eq!(answer.unwrap(), r#"{"data":{"b":2}}"#);
    }
    lab.clock.advance(Duration::from_secs(3600));
    lab.settle().await;
    assert_eq!(records(&lab, "core/mount-trash/").await.len(), 0);
    assert_eq!(records(&lab, "core/token-tree/").await.len(), 0);
    assert_eq!(records(&lab, "core/expiry/").await.len(), 0);
}

/// A record of another version, or with fields that this head does not know, is not guessed at.
#[tokio::test]
async fn what_is_not_version_1_is_refused() {
    let golden = golden(FILE);
    for (key, value) in &golden.records {
        let mut newer = value.clone();
        newer["v"] = 2.into();
        let mut unknown = value.clone();
        unknown["limits_more"] = true.into();
        for changed in [newer, unknown] {
            let lab = load(&golden).await;
            let batch = Batch::new().put(Key::new(key.clone()).unwrap(), changed.to_string());
            lab.barrier.commit(batch).await.unwrap();
            lab.access.forget();
            let refused = lab.access.load().await.is_err() || reads_fail(&lab, &golden).await;
            let mark = *value == serde_json::json!({"v": 1});
            assert_eq!(refused, !mark, "{key}");
        }
    }
}

/// What root keeps in its cubbyhole.
async fn kept(lab: &Lab) -> Result<Option<String>, AccessError> {
    let permit = lab.permit(Operation::Read, "cubbyhole/notes/x").await;
    let data = lab.access.cubbyhole_read(&permit).await?;
    Ok(data.map(|data| data.get().to_owned()))
}

/// Whether anything that reads records says that one is corrupt.
async fn reads_fail(lab: &Lab, golden: &Golden) -> bool {
    let root = lab.permit_of(&lab.root, Operation::Read, "cubbyhole/notes/x");
    if root.await.is_err() {
        return true;
    }
    let mut failed = matches!(kept(lab).await, Err(AccessError::Corrupt));
    for text in golden.tokens.values() {
        let text = Secret::new(text.clone());
        let found = lab.access.token(text.expose()).await;
        if let Ok(Some(entry)) = &found {
            failed |= lab.access.capabilities(entry, "x").await.is_err();
        }
        failed |= found.is_err();
    }
    for accessor in golden
        .records
        .values()
        .filter_map(|record| record["accessor"].as_str())
    {
        failed |= lab.access.token_by_accessor(accessor).await.is_err();
    }
    let wrapping = Secret::new(golden.tokens["wrapping"].clone());
    failed |= matches!(unwrap(lab, &wrapping).await, Err(AccessError::Corrupt));
    failed |= lab.access.sweep().await.is_err();
    lab.clock.advance(Duration::from_secs(700));
    // What cannot be read is left alone by the sweep.
    let before = records(lab, "core/").await.len();
    let mut more = true;
    while more && !failed {
        match lab.access.sweep().await {
            Ok(some) => more = some,
            Err(_) => failed = true,
        }
    }
    let left = records(lab, "core/token-tree/").await.len()
        + records(lab, "core/mount-trash/").await.len();
    failed || (before > 0 && left > 0)
}
