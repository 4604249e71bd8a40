//! A head whose store is a real PostgreSQL server.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use zone_e2e::head::Process;
use zone_e2e::{Api, Head, Keys, Place, root};
use zone_testkit::Postgres;

fn place_on(server: &Postgres) -> Arc<Place> {
    let place = Place::new();
    let text = format!(
        "zone = \"zone.test\"\n[storage]\ntype = \"postgresql\"\npath = \"{}\"\n\
         connection_url = \"{}\"\nmax_connections = 4\n[[listener]]\naddress = \"127.0.0.1:0\"\n",
        place.data().display(),
        server.url()
    );
    place.write("zonehead.toml", text);
    place
}

/// The zone in a new process, and its root.
async fn again(place: &Arc<Place>, keys: &Keys) -> (Head, Api) {
    let head = place.start();
    head.unseal(keys).await;
    let root = head.with_token(&keys.root_token);
    (head, root)
}

/// Secrets, tokens and the authority as on the embedded store, through `kill -9` of the head and
/// crashes of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_head_on_postgresql_survives_its_own_end_and_the_servers() {
    let server = Postgres::start();
    let place = place_on(&server);
    let mut head = place.start();
    let keys = head.init(3, 2).await;
    head.unseal(&keys).await;
    let root = head.with_token(&keys.root_token);
    let status = root.get("sys/seal-status").await.expect(200).json();
    assert_eq!(status["storage_type"], "postgresql");
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    root.put("sys/mounts/pki", &json!({ "type": "pki" }))
        .await
        .expect(204);
    let ask = json!({ "common_name": "Test CA", "key_type": "ec" });
    root.put("pki/root/generate/internal", &ask)
        .await
        .expect(200);
    let role = json!({ "allow_any_name": true, "key_type": "ec" });
    root.put("pki/roles/any", &role).await.expect(200);
    let policy = json!({ "policy": "path \"secret/*\" { capabilities = [\"read\"] }" });
    root.put("sys/policies/acl/reader", &policy)
        .await
        .expect(204);
    let ask = json!({ "policies": ["reader"] });
    let made = root.put("auth/token/create", &ask).await.expect(200).json();
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let write = |value: u64| json!({ "data": { "value": value } });

    for round in 1..=3 {
        let root = head.with_token(&keys.root_token);
        root.put("secret/data/a", &write(round)).await.expect(200);
        server.crash();
        let away = root.get("secret/data/a").await;
        assert_eq!(away.status, 503, "{}", away.text());
        server.begin();
        let found = root.get("secret/data/a").await.expect(200).json();
        assert_eq!(found["data"]["data"]["value"], round);
        let name = format!("host{round}.test");
        root.put(
            "pki/issue/any",
            &json!({ "common_name": name, "ttl": "1h" }),
        )
        .await
        .expect(200);
        head.process.kill();
        head = place.start();
        head.unseal(&keys).await;
        let reader = head.with_token(&token);
        let found = reader.get("secret/data/a").await.expect(200).json();
        assert_eq!(found["data"]["data"]["value"], round);
    }
    let root = head.with_token(&keys.root_token);
    let certificates = root.list("pki/certs").await.expect(200).json();
    assert_eq!(certificates["data"]["keys"].as_array().unwrap().len(), 4);
    assert!(head.terminate().success());
}

/// A second head on the same schema does not start; a server that is away says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_head_on_one_schema_is_refused() {
    let server = Postgres::start();
    let place = place_on(&server);
    let first: Head = place.start();
    let other = place_on(&server);
    let mut second = other.spawn();
    second.wait_for(0, "another head has the store open");
    assert_eq!(second.wait().code(), Some(1));
    assert!(first.terminate().success());
    server.crash();
    let mut late = place.spawn();
    late.wait_for(0, "opening the store on PostgreSQL");
    assert_eq!(late.wait().code(), Some(1));
    server.begin();
    assert!(place.start().terminate().success());
}

/// Writes one secret after the other until it is told to stop; those that were acknowledged.
async fn write_on(
    root: Api,
    writer: usize,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("w{writer}-{number}");
        let body = json!({ "data": { "value": number } });
        let answer = root.put(&format!("secret/data/{name}"), &body).await;
        match answer.status {
            200 => {
                acknowledged.push(name);
                done.fetch_add(1, Ordering::Relaxed);
            }
            503 => tokio::task::yield_now().await,
            _ => panic!("{}: {}", answer.status, answer.text()),
        }
    }
    acknowledged
}

/// Waits until the store has taken `more` secrets.
async fn taken(done: &AtomicU64, more: u64) {
    let goal = done.load(Ordering::Relaxed) + more;
    while done.load(Ordering::Relaxed) < goal {
        tokio::task::yield_now().await;
    }
}

/// A zone with KV at `secret/`.
async fn zone_on(place: &Arc<Place>) -> (Head, Keys) {
    let (head, keys) = Head::unsealed_at(place.clone()).await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/mounts/secret", &json!({ "type": "kv-v2" }))
        .await
        .expect(204);
    (head, keys)
}

async fn health(head: &Head, status: u16) -> Value {
    head.api().get("sys/health").await.expect(status).json()
}

/// The server goes away under load and comes back: the seal is told all the while, the rest says
/// why it is not served, and each secret that was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_server_that_goes_and_comes_back_costs_nothing_that_was_acknowledged() {
    let server = Postgres::start();
    let place = place_on(&server);
    let (head, keys) = zone_on(&place).await;
    let root = head.with_token(&keys.root_token);
    let token = async || {
        let ask = json!({ "policies": ["default"] });
        let made = root.put("auth/token/create", &ask).await.expect(200).json();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (plain, ended) = (head.with_token(&token().await), token().await);
    let end = json!({ "token": ended });
    root.put("auth/token/revoke", &end).await.expect(204);
    let ended = head.with_token(&ended);

    let (done, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let writers: Vec<_> = (0..3)
        .map(|writer| tokio::spawn(write_on(root.clone(), writer, done.clone(), stop.clone())))
        .collect();
    for _ in 0..3 {
        taken(&done, 20).await;
        server.crash();
        let away = root.get("secret/data/w0-0").await;
        away.refused(503, "storage is not available");
        let status = head.api().get("sys/seal-status").await.expect(200).json();
        assert_eq!(
            (&status["sealed"], &status["t"]),
            (&json!(false), &json!(1))
        );
        assert_eq!(health(&head, 200).await["store_available"], false);
        for (caller, path) in [
            (&plain, "secret/data/w0-0"),
            (&ended, "auth/token/lookup-self"),
        ] {
            let answer = caller.get(path).await;
            assert!(matches!(answer.status, 403 | 503), "{}", answer.text());
        }
        server.begin();
        root.get("secret/data/w0-0").await.expect(200);
        ended.get("auth/token/lookup-self").await.expect(403);
        while health(&head, 200).await["store_available"] != true {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    drop(head);
    let (_head, root) = again(&place, &keys).await;
    let found = root.list("secret/metadata").await.expect(200).json();
    let found = found["data"]["keys"].as_array().unwrap();
    for name in acknowledged {
        assert!(found.contains(&json!(name)), "{name} was acknowledged");
    }
}

/// A sealed zone tells its seal while its store is away, and opens when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_a_sealed_zone_waits_for_its_server() {
    let server = Postgres::start();
    let (head, keys) = zone_on(&place_on(&server)).await;
    let root = head.with_token(&keys.root_token);
    root.put("sys/seal", &json!({})).await.expect(204);
    server.crash();
    let status = head.api().get("sys/seal-status").await.expect(200).json();
    assert_eq!((&status["sealed"], &status["n"]), (&json!(true), &json!(1)));
    assert_eq!(health(&head, 503).await["store_available"], false);
    let share = json!({ "key": keys.hex[0] });
    let refused = head.api().put("sys/unseal", &share).await;
    refused.refused(503, "storage is not available");
    server.begin();
    head.unseal(&keys).await;
    assert_eq!(health(&head, 200).await["store_available"], true);
}

/// Connections, groups and failures as `sys/metrics` tells them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_measured() {
    let server = Postgres::start();
    let (head, keys) = zone_on(&place_on(&server)).await;
    let root = head.with_token(&keys.root_token);
    let figure = async |series: &str| {
        let text = root.get("sys/metrics?format=prometheus").await.expect(200);
        let text = text.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("no {series} in {text}"));
        value.trim().parse::<f64>().unwrap()
    };
    let connections = async || {
        let idle = figure("zonehead_store_connections{state=\"idle\"}").await;
        idle + figure("zonehead_store_connections{state=\"used\"}").await
    };
    let groups = figure("zonehead_store_group_seconds_count").await;
    root.put("secret/data/a", &json!({ "data": { "value": 1 } }))
        .await
        .expect(200);
    assert!(figure("zonehead_store_group_seconds_count").await > groups);
    assert!(figure("zonehead_store_group_seconds_sum").await > 0.0);
    assert!((1.0..=4.0).contains(&connections().await));
    let failures = "zonehead_store_failures_total{kind=\"unavailable\"}";
    assert_eq!(figure(failures).await, 0.0);
    server.crash();
    root.get("secret/data/a").await.expect(503);
    server.begin();
    assert!(figure(failures).await > 0.0);
    let told = root.get("sys/metrics").await.expect(200).json();
    let sample = &told["Samples"][0];
    assert_eq!(sample["Name"], "zonehead.store.group.seconds");
    assert!(sample["Sum"].as_f64().unwrap() > 0.0, "{sample}");
}

async fn write(root: &Api, name: &str, value: u64) {
    let body = json!({ "data": { "value": value } });
    let path = format!("secret/data/{name}");
    root.put(&path, &body).await.expect(200);
}

async fn read(root: &Api, name: &str) -> Option<Value> {
    let answer = root.get(&format!("secret/data/{name}")).await;
    match answer.status {
        404 => None,
        _ => Some(answer.expect(200).json()["data"]["data"]["value"].take()),
    }
}

/// The number of the last group in the store.
fn last_group(server: &Postgres) -> u64 {
    let text = server.sql("SELECT last_group FROM zonehead.head");
    text.parse().unwrap()
}

/// The number in the last checkpoint of the place's trail, which must be whole.
fn last_checkpoint(place: &Place) -> u64 {
    let mut verify = place.command();
    verify.args(["audit", "verify", "-format=json"]);
    let output = verify.arg(place.audit_log()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["last_revision"].as_u64().unwrap()
}

const DUMP: &str = "pg_dump --format=custom --schema=zonehead --file=zone.dump zonehead";
const RESTORE: &str = "pg_restore --exit-on-error --single-transaction --dbname=zonehead zone.dump";

/// A command as the page tells it, with a file of the test's.
fn as_told(line: &str, file: &Path) -> String {
    let page = root().join("docs/how-to/postgresql-backup.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(line), "the page does not say {line:?}");
    line.replace("zone.dump", &file.display().to_string())
}

/// `docs/how-to/postgresql-backup.md`, the logical copy: on the same server, and on another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_a_running_zone_is_restored() {
    let server = Postgres::start();
    let place = place_on(&server);
    let (head, keys) = zone_on(&place).await;
    let root = head.with_token(&keys.root_token);
    write(&root, "a", 1).await;
    let file = place.file("zone.dump");
    server.client(&as_told(DUMP, &file));
    write(&root, "a", 2).await;
    write(&root, "b", 1).await;
    assert!(head.terminate().success());

    let restore = as_told(RESTORE, &file);
    server.sql("ALTER SCHEMA zonehead RENAME TO zonehead_before");
    server.client(&restore);
    assert!(last_group(&server) < last_checkpoint(&place));
    let (head, root) = again(&place, &keys).await;
    assert_eq!(read(&root, "a").await, Some(json!(1)));
    assert_eq!(read(&root, "b").await, None);
    write(&root, "c", 3).await;
    assert!(head.terminate().success());
    last_checkpoint(&place);

    let other = Postgres::start();
    other.client(&restore);
    let audit = place.data().join("audit");
    std::fs::rename(&audit, place.file("audit-of-before")).unwrap();
    let new = place_on(&other);
    let config = std::fs::read_to_string(new.config_file()).unwrap();
    let directories = format!("[audit]\ndirectories = [\"{}\"]\n", audit.display());
    new.write("zonehead.toml", format!("{config}{directories}"));
    let (_head, root) = again(&new, &keys).await;
    assert_eq!(read(&root, "a").await, Some(json!(1)));
    write(&root, "a", 4).await;
    assert_eq!(read(&root, "a").await, Some(json!(4)));
}

/// The same, the physical copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_of_a_running_zone_is_put_back() {
    let server = Postgres::start();
    let place = place_on(&server);
    let (head, keys) = zone_on(&place).await;
    let root = head.with_token(&keys.root_token);
    write(&root, "a", 1).await;
    server.base_backup("copy");
    write(&root, "a", 2).await;
    assert!(head.terminate().success());
    server.crash();
    server.put_back("copy");
    server.begin();
    let (_head, root) = again(&place, &keys).await;
    assert_eq!(read(&root, "a").await, Some(json!(1)));
    write(&root, "a", 3).await;
    assert_eq!(read(&root, "a").await, Some(json!(3)));
}

/// A restore under a head that runs: it knows a later group than the store and writes no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_head_that_runs_through_a_restore_writes_no_more() {
    let server = Postgres::start();
    let place = place_on(&server);
    let (head, keys) = zone_on(&place).await;
    let root = head.with_token(&keys.root_token);
    write(&root, "a", 1).await;
    let file = place.file("zone.dump");
    server.client(&as_told(DUMP, &file));
    write(&root, "a", 2).await;
    server.sql("DROP SCHEMA zonehead CASCADE");
    server.client(&as_told(RESTORE, &file));
    let before = last_group(&server);
    for _ in 0..2 {
        let body = json!({ "data": { "value": 3 } });
        let refused = root.put("secret/data/a", &body).await;
        refused.refused(503, "storage is not available");
    }
    assert_eq!(last_group(&server), before);
    drop(head);
    let (_head, root) = again(&place, &keys).await;
    assert_eq!(read(&root, "a").await, Some(json!(1)));
    write(&root, "a", 3).await;
}

/// The same server in Vault's own form of the configuration. A password in its URL is refused, and
/// shown nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_in_vaults_form_of_the_configuration() {
    const PASSWORD: &str = "canary-5f0c";
    let server = Postgres::start();
    let place = Place::new();
    let start = |url: &str| {
        let text = format!(
            "zone = \"zone.test\"\nstorage \"postgresql\" {{\n  path = \"{}\"\n  \
             connection_url = \"{url}\"\n  max_parallel = \"4\"\n  ha_enabled = \"false\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:0\"\n}}\n",
            place.data().display()
        );
        place.write("vault.hcl", text);
        let mut command = place.command();
        command.args(["server", "-config=vault.hcl"]);
        Process::spawn(command)
    };
    let with_password = format!("postgresql://zonehead:{PASSWORD}@db.example.org/zonehead");
    let mut refused = start(&with_password);
    refused.wait_for(0, "no password in the URL");
    assert_eq!(refused.wait().code(), Some(1));
    assert!(!refused.log().contains(PASSWORD), "{}", refused.log());
    let head = Head::serving(place.clone(), start(&server.url()));
    let keys = head.init(1, 1).await;
    head.unseal(&keys).await;
    let status = head.api().get("sys/seal-status").await.expect(200).json();
    assert_eq!(status["storage_type"], "postgresql");
    assert!(last_group(&server) > 0);
}
