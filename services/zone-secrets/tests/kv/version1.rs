//! KV version 1, and its way to version 2 with a crash at each write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zone_access::{Mount, MountKind, NewMount, Operation};
use zone_secrets::{KvError, KvService, Upgrades};
use zone_testkit::{Fault, Lab};

use crate::events::{facts, next};
use crate::zone::object;

/// A mount of version 1 at `kv/`.
struct Old {
    lab: Lab,
    kv: Arc<KvService>,
}

impl Old {
    async fn new() -> Self {
        let lab = Lab::new().await;
        let permit = lab.permit(Operation::Update, "sys/mounts/kv").await;
        let new = NewMount::default();
        let made = lab.access.enable(&permit, MountKind::Kv, "kv", new).await;
        assert_eq!(made.unwrap().kv_version(), 1);
        Self::with(lab)
    }

    fn with(lab: Lab) -> Self {
        let kv = Arc::new(KvService::new(lab.barrier.clone(), lab.random.clone()));
        lab.access
            .also_do(Arc::new(Upgrades::new(kv.clone(), lab.access.clone())));
        Self { lab, kv }
    }

    async fn delete(&self, path: &str) -> Result<(), KvError> {
        let path = format!("kv/{path}");
        let permit = self.lab.permit(Operation::Delete, &path).await;
        self.kv.kv1_delete(&permit).await
    }

    async fn write(&self, path: &str, data: &str) -> Result<(), KvError> {
        let permit = self
            .lab
            .permit(Operation::Update, &format!("kv/{path}"))
            .await;
        self.kv.kv1_write(&permit, &object(data)).await
    }

    async fn read(&self, path: &str) -> String {
        let permit = self
            .lab
            .permit(Operation::Read, &format!("kv/{path}"))
            .await;
        match self.kv.kv1_read(&permit).await {
            Ok(secret) => secret.data().unwrap().get().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    async fn list(&self, folder: &str) -> Vec<String> {
        let permit = self
            .lab
            .permit(Operation::List, &format!("kv/{folder}"))
            .await;
        self.kv.kv1_list(&permit).await.unwrap()
    }

    async fn tune(&self, version: &str) -> Result<(), zone_access::AccessError> {
        let permit = self
            .lab
            .permit(Operation::Update, "sys/mounts/kv/tune")
            .await;
        let options: BTreeMap<_, _> = [("version".to_owned(), version.to_owned())].into();
        let change = move |new: &mut NewMount| new.options = options;
        self.lab.access.tune(&permit, "kv/", change).await
    }

    async fn read2(&self, path: &str) -> String {
        let permit = self
            .lab
            .permit(Operation::Read, &format!("kv/data/{path}"))
            .await;
        match self.kv.read(&permit, None).await {
            Ok(found) => found.data().unwrap().unwrap().get().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn mount(&self) -> Arc<Mount> {
        self.lab.access.mount_of("kv/x").unwrap().unwrap()
    }
}

const TIMES: &str = r#"{"z":1.10,"a":{"b":[1,2]},"ttl":"1h"}"#;

#[tokio::test]
async fn each_change_of_version_1_tells_one_event_in_vaults_words() {
    let old = Old::new().await;
    let mut events = old.lab.barrier.events();
    for data in [r#"{"a":"CANARY"}"#, r#"{"b":"CANARY"}"#] {
        old.write("app/db", data).await.unwrap();
        let told = next(&old.lab, &mut events).await.unwrap();
        assert_eq!(told.path, "kv/app/db", "who may read there hears of it");
        let said = "kv-v1/write data_path=kv/app/db modified=true operation=write path=kv/app/db";
        assert_eq!(facts(&told), said);
        assert!(!format!("{told:?}").contains("CANARY"));
    }
    old.write("app/db", "{}").await.unwrap_err();
    old.delete("app/db").await.unwrap();
    let told = next(&old.lab, &mut events).await.unwrap();
    let said = "kv-v1/delete modified=true operation=delete path=kv/app/db";
    assert_eq!(facts(&told), said);
    // What changes nothing tells nothing.
    old.delete("app/db").await.unwrap();
    assert_eq!(next(&old.lab, &mut events).await, None);
}

#[tokio::test]
async fn a_secret_is_kept_to_the_letter_and_replaced_whole() {
    let old = Old::new().await;
    old.write("app/db", TIMES).await.unwrap();
    assert_eq!(old.read("app/db").await, TIMES);
    old.write("app/db", r#"{"b":2}"#).await.unwrap();
    assert_eq!(old.read("app/db").await, r#"{"b":2}"#);
    assert_eq!(old.read("app").await, "no such secret");
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(300_000));
    old.write("large", &large).await.unwrap();
    assert_eq!(old.read("large").await, large);
    old.delete("app/db").await.unwrap();
    old.delete("app/db").await.unwrap();
    assert_eq!(old.read("app/db").await, "no such secret");
}

#[tokio::test]
async fn names_are_listed_by_folder() {
    let old = Old::new().await;
    for path in ["a", "a/b", "a/c/d", "b"] {
        old.write(path, r#"{"k":1}"#).await.unwrap();
    }
    assert_eq!(old.list("").await, ["a", "a/", "b"]);
    assert_eq!(old.list("a/").await, ["b", "c/"]);
    assert!(old.list("none/").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_is_named() {
    let old = Old::new().await;
    let said = |result: Result<(), KvError>| result.unwrap_err().to_string();
    assert_eq!(said(old.write("a", "{}").await), "missing data fields");
    let long = "x".repeat(401);
    assert!(matches!(
        old.write(&long, r#"{"a":1}"#).await,
        Err(KvError::PathTooLong)
    ));
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(1024 * 1024));
    assert!(matches!(
        old.write("a", &large).await,
        Err(KvError::SecretTooLarge)
    ));
}

/// Permits are made before the secret is read: whoever may only create must not overwrite.
#[tokio::test]
async fn attack_a_quick_creator_overwrites_nothing() {
    let old = Old::new().await;
    old.lab
        .policy("c", r#"path "kv/*" { capabilities = ["create"] }"#)
        .await;
    let token = old.lab.token(&["c"]).await;
    let permit = old
        .lab
        .permit_of(&token.text, Operation::Create, "kv/a")
        .await
        .unwrap();
    old.write("a", r#"{"n":1}"#).await.unwrap();
    let late = old.kv.kv1_write(&permit, &object(r#"{"n":2}"#)).await;
    assert!(matches!(late, Err(KvError::Denied)));
    assert_eq!(old.read("a").await, r#"{"n":1}"#);
}

#[tokio::test]
async fn a_mount_becomes_version_2_with_all_its_secrets() {
    let old = Old::new().await;
    for n in 0..250 {
        let data = format!(r#"{{"n":{n}}}"#);
        old.write(&format!("d{}/{n}", n % 7), &data).await.unwrap();
    }
    old.tune("2").await.unwrap();
    assert!(old.mount().upgrading);
    assert!(old.read2("d0/0").await.starts_with("Upgrading from"));
    old.lab.settle().await;
    assert!(!old.mount().upgrading);
    for n in 0..250 {
        let found = old.read2(&format!("d{}/{n}", n % 7)).await;
        assert_eq!(found, format!(r#"{{"n":{n}}}"#));
    }
    assert!(old.tune("1").await.is_err(), "there is no way back");
    // The mark goes once no request of before can be under way.
    let mark = old.mount().upgrade_key().unwrap();
    assert!(old.lab.barrier.get(&mark).await.unwrap().is_some());
    old.lab.clock.advance(Duration::from_secs(601));
    old.lab.settle().await;
    assert!(old.lab.barrier.get(&mark).await.unwrap().is_none());
}

/// A request that was permitted before the upgrade writes nothing behind its back.
#[tokio::test]
async fn attack_a_late_write_of_version_1_is_refused() {
    let old = Old::new().await;
    old.write("a", r#"{"n":1}"#).await.unwrap();
    let write = old.lab.permit(Operation::Update, "kv/a").await;
    let delete = old.lab.permit(Operation::Delete, "kv/a").await;
    let read = old.lab.permit(Operation::Read, "kv/a").await;
    old.tune("2").await.unwrap();
    let late = old.kv.kv1_write(&write, &object(r#"{"n":2}"#)).await;
    assert!(matches!(late, Err(KvError::Upgrading)));
    let late = old.kv.kv1_delete(&delete).await;
    assert!(matches!(late, Err(KvError::Upgrading)));
    old.lab.settle().await;
    let late = old.kv.kv1_write(&write, &object(r#"{"n":2}"#)).await;
    assert!(matches!(late, Err(KvError::Upgrading)));
    let late = old.kv.kv1_read(&read).await;
    assert!(
        matches!(late, Err(KvError::Upgrading)),
        "not: no such secret"
    );
    assert_eq!(old.read2("a").await, r#"{"n":1}"#);
}

/// S1: the upgrade goes on after a crash at any of its writes; each secret is there once.
#[tokio::test]
async fn s1_an_upgrade_survives_a_crash_at_each_write() {
    for fault in [Fault::Lost, Fault::AnswerLost] {
        for step in 1..=7 {
            let old = Old::new().await;
            for n in 0..4 {
                let data = format!(r#"{{"n":{n}}}"#);
                old.write(&format!("s{n}"), &data).await.unwrap();
            }
            old.lab.store.fail_at(step, fault);
            let tuned = old.tune("2").await.is_ok();
            while let Ok(true) = old.lab.access.sweep().await {}
            let old = Old::with(old.lab.reopen().await);
            if old.mount().kv_version() == 1 {
                assert!(!tuned, "what was answered is durable");
                old.tune("2").await.unwrap();
            }
            old.lab.settle().await;
            assert!(!old.mount().upgrading);
            for n in 0..4 {
                let found = old.read2(&format!("s{n}")).await;
                assert_eq!(found, format!(r#"{{"n":{n}}}"#), "step {step}");
            }
        }
    }
}
