//! A new user's first hour, by the script that the documentation gives him.

use std::path::Path;

use zone_audit::verify::verify_files;
use zone_e2e::{Place, root, tool, zonehead};

#[tokio::test]
async fn a_new_users_first_hour() {
    let head = Place::new().start();
    let binary = zonehead().canonicalize().unwrap();
    let beside = binary.parent().unwrap_or(Path::new("/"));
    let path = std::env::var("PATH").unwrap();
    let mut script = head.place.program("bash");
    script
        .arg(root().join("docs/how-to/first-hour.sh"))
        .env("PATH", format!("{}:{path}", beside.display()))
        .env("VAULT_ADDR", head.url())
        .env("VAULT_CACERT", head.place.ca_file());
    let said = tool::text(&mut script);
    assert!(said.ends_with("== Done\n"), "{said}");
    assert_eq!(said.matches("hunter2").count(), 2, "{said}");
    // And all of it stands in a trail that holds, without any of the secrets.
    let log = head.place.audit_log();
    let place = head.place.clone();
    assert!(head.terminate().success());
    let lines = std::fs::read_to_string(place.audit_log()).unwrap();
    for secret in ["hunter2", "correct horse"] {
        assert!(!lines.contains(secret));
    }
    assert!(verify_files(&[log], None).is_ok());
}
