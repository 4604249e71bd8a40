//! The units under `deploy/systemd`, judged by systemd's own tools.

use std::path::PathBuf;

use zone_e2e::{Place, root, tool, zonehead};

/// The highest exposure that is taken, in tenths, of the 100 that `systemd-analyze security` gives
/// to a service without any restriction.
const EXPOSURE: &str = "15";

/// The units with the program under test in the place of the installed one.
fn units(place: &Place) -> Vec<PathBuf> {
    ["zonehead.service", "zonehead.socket"]
        .map(|name| {
            let text = std::fs::read_to_string(root().join("deploy/systemd").join(name)).unwrap();
            let own = zonehead().display().to_string();
            place.write(name, text.replace("/usr/local/bin/zonehead", &own))
        })
        .to_vec()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let place = Place::new();
    let mut command = tool::program("systemd-analyze");
    command
        .args(["verify", "--man=no", "--recursive-errors=one"])
        .args(units(&place));
    let output = tool::run(&mut command);
    let said = tool::said(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("zonehead.service:"), "{said}");
}

#[test]
fn the_service_is_shut_in() {
    let place = Place::new();
    let mut command = tool::program("systemd-analyze");
    command.args([
        "security",
        "--offline=true",
        "--threshold",
        EXPOSURE,
        "--no-pager",
    ]);
    let said = tool::text(command.arg(&units(&place)[0]));
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn the_users_file_is_read_by_systemd() {
    let file = root().join("deploy/systemd/zonehead.sysusers");
    let mut command = tool::program("systemd-sysusers");
    let said = tool::said(&tool::run(command.arg("--dry-run").arg(file)));
    assert!(said.contains("zonehead"), "{said}");
}
