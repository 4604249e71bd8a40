//! Where the program under test is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The `zonehead` binary: `ZONEHEAD_TEST_BIN` if `cargo xtask test` built it, else built now, once.
pub fn zonehead() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("ZONEHEAD_TEST_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "zonehead"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(
        built.status.success(),
        "the binary under test does not build"
    );
    let text = String::from_utf8_lossy(&built.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = messages
        .filter(|message| message["target"]["name"] == "zonehead")
        .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    executables.next().expect("cargo names the executable")
}
