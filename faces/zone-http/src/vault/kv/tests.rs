//! Vault's shapes, to the letter. What the calls do is proven in `zone-secrets`.

use zone_access::MountKind;
use zone_testkit::Lab;

use super::*;

/// A KV mount at `kv/`; time stands at 2026-11-18T09:46:40Z.
struct Bench {
    lab: Lab,
    kv: KvService,
}

impl Bench {
    async fn new() -> Self {
        let lab = Lab::new().await;
        lab.mount(MountKind::Kv, "kv/").await;
        let kv = KvService::new(lab.barrier.clone(), lab.random.clone());
        Self { lab, kv }
    }

    /// Status, `data`, warnings or errors of one call.
    async fn call(&self, operation: Operation, rest: &str, data: &str) -> String {
        let permit = self.lab.permit(operation, &format!("kv/{rest}")).await;
        let data = zone_types::json::parse_object(data.as_bytes()).unwrap();
        let client = "127.0.0.1:40000".parse().unwrap();
        let call = Call {
            permit,
            data,
            client,
            token: None,
            wants: crate::stream::Wants::Body,
        };
        let (status, answer) = match handle(&self.kv, &call).await {
            Ok(Reply::NoContent) => return "204".to_owned(),
            Ok(Reply::Data(answer)) => (200, answer),
            Ok(Reply::Accepted(answer)) => (202, answer),
            Ok(Reply::Gone(answer)) => (404, answer),
            Ok(Reply::Raw { .. } | Reply::Unwrapped { .. } | Reply::Events(..)) => {
                panic!("KV has an envelope for everything")
            }
            Err(fault) => return format!("{} {:?}", fault.status, fault.errors),
        };
        let mut text = status.to_string();
        if let Some(data) = answer.data {
            text += &format!(" {data}");
        }
        if !answer.warnings.is_empty() {
            text += &format!(" {:?}", answer.warnings);
        }
        text
    }

    async fn check(&self, operation: Operation, rest: &str, data: &str, expected: &str) {
        let shown = self.call(operation, rest, data).await;
        assert_eq!(shown, expected, "{} {rest} {data}", operation.as_str());
    }
}

use Operation::{Create, Delete, List, Patch, Read, Update};

/// What is told of a version that is there.
fn version(number: u32) -> String {
    format!(
        "{{\"created_time\":\"2026-11-18T09:46:40Z\",\"custom_metadata\":null,\
         \"deletion_time\":\"\",\"destroyed\":false,\"version\":{number}}}"
    )
}

#[tokio::test]
async fn data_is_written_and_read() {
    let bench = Bench::new().await;
    let written = format!("200 {}", version(1));
    bench
        .check(Create, "data/a", r#"{"data":{"b":1.50,"a":{}}}"#, &written)
        .await;
    let read = format!(
        r#"200 {{"data":{{"b":1.50,"a":{{}}}},"metadata":{}}}"#,
        version(1)
    );
    bench.check(Read, "data/a", "{}", &read).await;
    bench
        .check(Read, "data/a", r#"{"version":"1"}"#, &read)
        .await;
    bench
        .check(Read, "data/a", r#"{"version":"0"}"#, &read)
        .await;
    let patched = format!("200 {}", version(2));
    bench
        .check(
            Patch,
            "data/a",
            r#"{"data":{"a":null},"options":{"cas":1}}"#,
            &patched,
        )
        .await;
    let read = format!(r#"200 {{"data":{{"b":1.50}},"metadata":{}}}"#, version(2));
    bench.check(Read, "data/a", "{}", &read).await;
    let subkeys = format!(
        r#"200 {{"metadata":{},"subkeys":{{"b":null}}}}"#,
        version(2)
    );
    bench
        .check(Read, "subkeys/a", r#"{"depth":"1"}"#, &subkeys)
        .await;
    bench.check(Read, "data/none", "{}", "404 []").await;
    bench.check(Read, "subkeys/none", "{}", "404 []").await;
    bench
        .check(Read, "data/a", r#"{"version":"3"}"#, "404 []")
        .await;
    bench
        .check(Patch, "data/none", r#"{"data":{}}"#, "404 []")
        .await;
}

#[tokio::test]
async fn a_version_without_data_is_404_with_its_metadata() {
    let bench = Bench::new().await;
    bench.call(Create, "data/a", r#"{"data":{"k":1}}"#).await;
    bench.check(Delete, "data/a", "{}", "204").await;
    let deleted = r#"{"created_time":"2026-11-18T09:46:40Z","custom_metadata":null,"deletion_time":"2026-11-18T09:46:40Z","destroyed":false,"version":1}"#;
    let read = format!(r#"404 {{"data":null,"metadata":{deleted}}}"#);
    bench.check(Read, "data/a", "{}", &read).await;
    let subkeys = format!(r#"404 {{"metadata":{deleted},"subkeys":null}}"#);
    bench.check(Read, "subkeys/a", "{}", &subkeys).await;
    bench
        .check(Patch, "data/a", r#"{"data":{}}"#, &format!("404 {deleted}"))
        .await;
    bench
        .check(Update, "undelete/a", r#"{"versions":[1]}"#, "204")
        .await;
    let read = format!(r#"200 {{"data":{{"k":1}},"metadata":{}}}"#, version(1));
    bench.check(Read, "data/a", "{}", &read).await;
    bench
        .check(Update, "destroy/a", r#"{"versions":"1"}"#, "204")
        .await;
    let destroyed = version(1).replace("false", "true");
    let read = format!(r#"404 {{"data":null,"metadata":{destroyed}}}"#);
    bench.check(Read, "data/a", "{}", &read).await;
}

#[tokio::test]
async fn check_and_set_comes_in_every_spelling_and_is_never_passed_over() {
    let bench = Bench::new().await;
    let mismatch = r#"400 ["check-and-set parameter did not match the current version"]"#;
    let options = |cas: &str| format!(r#"{{"data":{{}},"options":{{"cas":{cas}}}}}"#);
    bench.check(Create, "data/a", &options("1"), mismatch).await;
    bench
        .check(Create, "data/a", &options("-1"), mismatch)
        .await;
    bench
        .check(
            Create,
            "data/a",
            &options("0"),
            &format!("200 {}", version(1)),
        )
        .await;
    bench
        .check(Update, "data/a", &options("\"0\""), mismatch)
        .await;
    bench
        .check(
            Update,
            "data/a",
            &options("\"1\""),
            &format!("200 {}", version(2)),
        )
        .await;
    for unclear in ["null", "\"\"", "\"one\"", "1.5", "[1]", "true"] {
        let shown = bench.call(Update, "data/a", &options(unclear)).await;
        assert!(
            shown.starts_with("400 [\"field 'cas': "),
            "{unclear}: {shown}"
        );
    }
    for unclear in [
        r#"{"data":{},"options":[]}"#,
        r#"{"data":{},"options":"cas=1"}"#,
    ] {
        let shown = bench.call(Update, "data/a", unclear).await;
        assert!(
            shown.starts_with("400 [\"field 'options': "),
            "{unclear}: {shown}"
        );
    }
    let required = r#"400 ["check-and-set parameter required for this call"]"#;
    bench
        .check(Update, "config", r#"{"cas_required":true}"#, "204")
        .await;
    bench
        .check(Update, "data/a", r#"{"data":{}}"#, required)
        .await;
    bench
        .check(Update, "data/a", r#"{"data":{},"options":{}}"#, required)
        .await;
}

#[tokio::test]
async fn a_write_needs_an_object_in_data() {
    let bench = Bench::new().await;
    for body in ["{}", r#"{"data":null}"#, r#"{"value":"v1 style"}"#] {
        bench
            .check(Create, "data/a", body, r#"400 ["no data provided"]"#)
            .await;
        bench
            .check(Patch, "data/a", body, r#"400 ["no data provided"]"#)
            .await;
    }
    for body in [r#"{"data":"text"}"#, r#"{"data":[1]}"#, r#"{"data":1}"#] {
        bench
            .check(
                Create,
                "data/a",
                body,
                r#"400 ["field 'data': expected an object"]"#,
            )
            .await;
    }
    let none = r#"400 ["No version number provided"]"#;
    for body in ["{}", r#"{"versions":[]}"#, r#"{"versions":""}"#] {
        bench.check(Update, "delete/a", body, none).await;
        bench.check(Update, "undelete/a", body, none).await;
        bench
            .check(
                Update,
                "destroy/a",
                body,
                r#"400 ["no version number provided"]"#,
            )
            .await;
    }
    bench
        .check(Update, "delete/a", r#"{"versions":["1","2"]}"#, "204")
        .await;
    bench
        .check(Update, "delete/a", r#"{"versions":"1,2"}"#, "204")
        .await;
    let shown = bench.call(Update, "delete/a", r#"{"versions":[0]}"#).await;
    assert!(shown.starts_with("400"), "{shown}");
    let shown = bench.call(Read, "data/a", r#"{"version":"-1"}"#).await;
    assert!(shown.starts_with("400"), "{shown}");
}

#[tokio::test]
async fn metadata_is_set_patched_and_shown() {
    let bench = Bench::new().await;
    let body = r#"{"max_versions":5,"cas_required":true,"delete_version_after":"3h25m19s",
        "custom_metadata":{"b":"x","a":1.50,"flag":true}}"#;
    bench.check(Create, "metadata/a", body, "204").await;
    let shown = r#"200 {"cas_required":true,"created_time":"2026-11-18T09:46:40Z","current_metadata_version":1,"current_version":0,"custom_metadata":{"a":"1.50","b":"x","flag":"1"},"delete_version_after":"3h25m19s","max_versions":5,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2026-11-18T09:46:40Z","versions":{}}"#;
    bench.check(Read, "metadata/a", "{}", shown).await;
    let body = r#"{"max_versions":null,"cas_required":null,"delete_version_after":null,
        "custom_metadata":{"a":null,"c":"y"}}"#;
    bench.check(Patch, "metadata/a", body, "204").await;
    bench.call(Update, "data/a", r#"{"data":{}}"#).await;
    let shown = r#"200 {"cas_required":false,"created_time":"2026-11-18T09:46:40Z","current_metadata_version":2,"current_version":1,"custom_metadata":{"b":"x","c":"y","flag":"1"},"delete_version_after":"0s","max_versions":0,"metadata_cas_required":false,"oldest_version":0,"updated_time":"2026-11-18T09:46:40Z","versions":{"1":{"created_time":"2026-11-18T09:46:40Z","deletion_time":"","destroyed":false}}}"#;
    bench.check(Read, "metadata/a", "{}", shown).await;
    bench
        .check(Patch, "metadata/a", r#"{"custom_metadata":null}"#, "204")
        .await;
    assert!(
        bench
            .call(Read, "metadata/a", "{}")
            .await
            .contains(r#""custom_metadata":null"#)
    );
    bench
        .check(Patch, "metadata/none", r#"{"max_versions":1}"#, "404 []")
        .await;
    bench.check(Read, "metadata/none", "{}", "404 []").await;
    for body in [
        r#"{"custom_metadata":{"k":{}}}"#,
        r#"{"custom_metadata":["k"]}"#,
        r#"{"custom_metadata":{"k":null}}"#,
        r#"{"custom_metadata":{"":"v"}}"#,
        r#"{"max_versions":-1}"#,
        r#"{"max_versions":99999999999}"#,
        r#"{"delete_version_after":"-1h"}"#,
        r#"{"cas_required":"perhaps"}"#,
        r#"{"max_versions":1,"metadata_cas":null}"#,
        r#"{"max_versions":1,"metadata_cas":1}"#,
    ] {
        let shown = bench.call(Update, "metadata/a", body).await;
        assert!(shown.starts_with("400"), "{body}: {shown}");
    }
    bench.check(Delete, "metadata/a", "{}", "204").await;
    bench.check(Read, "metadata/a", "{}", "404 []").await;
}

#[tokio::test]
async fn a_mount_keeps_its_settings() {
    let bench = Bench::new().await;
    let shown = |after: &str, cas: bool, most: u32| {
        format!(
            "200 {{\"cas_required\":{cas},\"delete_version_after\":\"{after}\",\
             \"max_versions\":{most},\"metadata_cas_required\":false}}"
        )
    };
    bench
        .check(Read, "config", "{}", &shown("0s", false, 0))
        .await;
    bench
        .check(
            Update,
            "config",
            r#"{"max_versions":"7","cas_required":"true"}"#,
            "204",
        )
        .await;
    bench
        .check(Read, "config", "{}", &shown("0s", true, 7))
        .await;
    for (given, after) in [
        ("\"90s\"", "1m30s"),
        ("3600", "1h0m0s"),
        ("\"-1s\"", "-1s"),
        ("-5", "-1s"),
        ("0", "0s"),
    ] {
        let body = format!(r#"{{"delete_version_after":{given}}}"#);
        bench.check(Update, "config", &body, "204").await;
        bench
            .check(Read, "config", "{}", &shown(after, true, 7))
            .await;
    }
    let body = r#"{"cas_required":false}"#;
    let warning = r#"200 ["\"cas_required\" set to false, but is mandated by backend config. This value will be ignored."]"#;
    bench.check(Update, "metadata/a", body, warning).await;
    bench
        .check(
            Delete,
            "config",
            "{}",
            "405 [\"1 error occurred:\\n\\t* unsupported operation\\n\\n\"]",
        )
        .await;
}

#[tokio::test]
async fn lists_come_whole_or_in_pages() {
    let bench = Bench::new().await;
    bench.check(List, "metadata/", "{}", "404 []").await;
    for path in ["a", "b/c", "b/d"] {
        bench
            .call(Create, &format!("data/{path}"), r#"{"data":{}}"#)
            .await;
    }
    bench
        .check(List, "metadata/", "{}", r#"200 {"keys":["a","b/"]}"#)
        .await;
    bench
        .check(List, "metadata/b/", "{}", r#"200 {"keys":["c","d"]}"#)
        .await;
    let paged = r#"{"list":"true","after":"a","limit":"1"}"#;
    bench
        .check(List, "metadata/", paged, r#"200 {"keys":["b/"]}"#)
        .await;
    bench
        .check(
            List,
            "metadata/",
            r#"{"limit":"-1"}"#,
            r#"200 {"keys":["a","b/"]}"#,
        )
        .await;
    bench
        .check(
            List,
            "metadata/",
            r#"{"limit":"1"}"#,
            r#"200 {"keys":["a"]}"#,
        )
        .await;
}

#[tokio::test]
async fn paths_of_version_1_are_named() {
    let bench = Bench::new().await;
    let wrong = |command: &str| {
        format!(
            "404 [\"Invalid path for a versioned K/V secrets engine. See the API docs for the \
             appropriate API endpoints to use. If using the Vault CLI, use 'vault kv {command}' \
             for this operation.\"]"
        )
    };
    bench.check(Read, "a", "{}", &wrong("get")).await;
    bench.check(Update, "a/b", "{}", &wrong("put")).await;
    bench.check(List, "", "{}", &wrong("list")).await;
    bench.check(Delete, "data/", "{}", &wrong("delete")).await;
    bench
        .check(Delete, "data/folder/", "{}", &wrong("delete"))
        .await;
    bench.check(Patch, "config/a", "{}", &wrong("patch")).await;
    let root = r#"404 ["Non-listing operations on the root of a K/V v2 mount are not supported."]"#;
    for area in ["data", "metadata", "delete", "undelete", "destroy"] {
        bench.check(Update, area, "{}", root).await;
    }
}

#[tokio::test]
async fn e1_errors_of_the_zone_stay_inside() {
    let bench = Bench::new().await;
    bench.call(Create, "data/a", r#"{"data":{}}"#).await;
    let prefix = bench
        .lab
        .access
        .mount_of("kv/")
        .unwrap()
        .unwrap()
        .prefix("v");
    for key in bench.lab.store.keys() {
        if key.as_bytes().starts_with(&prefix) {
            bench.lab.store.forge(&key, "nonsense");
        }
    }
    bench
        .check(Read, "data/a", "{}", r#"500 ["internal error"]"#)
        .await;
    let denied = Fault::from(KvError::Denied);
    assert_eq!(
        (denied.status, denied.errors),
        (403, vec!["permission denied".to_owned()])
    );
}
