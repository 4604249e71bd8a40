//! What the tests need and the build does not: the real programs that zonehead is tested
//! against. This file is the one list of them.

use std::path::Path;

use anyhow::{Context, bail};

use crate::shell::{output, program, run};

/// Debian packages. One that a test uses belongs here, and no other.
const PACKAGES: &[&str] = &[
    "age",
    "ca-certificates",
    "curl",
    "fish",
    "jq",
    "mandoc",
    "openssl",
    "postgresql",
    "postgresql-client",
    "python3",
    "python3-venv",
    "redis-server",
    "redis-tools",
    "systemd",
    "util-linux",
    "zsh",
];

/// Python clients, pinned; see the file.
const REQUIREMENTS: &str = "tests/e2e/requirements.txt";

/// Where the Python environment lives, below the root.
pub(crate) const VENV: &str = "target/venv";

/// Clients in Go, pinned; see its `go.mod`.
const GO_MODULE: &str = "tests/e2e/clients/go";

/// Where their programs live, below the root.
pub(crate) const GO_PROGRAMS: &str = "target/go-clients";

/// Installs whatever is missing.
pub(crate) fn install(root: &Path) -> anyhow::Result<()> {
    packages(PACKAGES)?;
    // Any Go will do, not Debian's alone.
    if program("go").arg("version").output().is_err() {
        packages(&["golang-go"])?;
    }
    venv(root)?;
    go_clients(root)
}

fn packages(wanted: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    let uid = output(program("id").arg("-u"))?;
    if uid.trim() != "0" {
        bail!("the tests need Debian packages; run as root:\n\n  {line}\n");
    }
    println!("xtask: {line}");
    let apt = || {
        let mut apt = program("apt-get");
        // No questions, and no service started for a test that starts its own.
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        apt
    };
    run(apt().args(["update", "-q"]))?;
    run(apt()
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(&missing))
}

fn is_installed(package: &str) -> bool {
    let query = program("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output();
    query.is_ok_and(|answer| answer.status.success() && answer.stdout == b"installed")
}

/// Makes the environment anew unless its stamp says that it holds just what the file lists.
fn venv(root: &Path) -> anyhow::Result<()> {
    let wanted = std::fs::read_to_string(root.join(REQUIREMENTS))
        .with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let version = output(program("python3").arg("--version"))?;
    let stamp = format!("{version}{wanted}");
    let dir = root.join(VENV);
    let stamp_file = dir.join("stamp");
    if std::fs::read_to_string(&stamp_file).is_ok_and(|known| known == stamp) {
        return Ok(());
    }
    println!("xtask: Python clients into {VENV}");
    run(program("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    run(program(dir.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--requirement",
        ])
        .arg(root.join(REQUIREMENTS)))?;
    run(program(dir.join("bin/python")).args(["-m", "pip", "check"]))?;
    std::fs::write(&stamp_file, stamp).with_context(|| format!("cannot write {VENV}/stamp"))
}

/// Builds the Go programs; Go's own cache makes it a matter of seconds if nothing changed.
fn go_clients(root: &Path) -> anyhow::Result<()> {
    let programs = root.join(GO_PROGRAMS);
    std::fs::create_dir_all(&programs).with_context(|| format!("cannot make {GO_PROGRAMS}"))?;
    println!("xtask: Go clients into {GO_PROGRAMS}");
    run(program("go")
        .current_dir(root.join(GO_MODULE))
        .args(["build", "-mod=readonly", "-o"])
        .arg(&programs)
        .args([".", "github.com/hashicorp/consul-template"])
        .env("CGO_ENABLED", "0")
        // The Go that is there, never one that it would download.
        .env("GOTOOLCHAIN", "local"))
}
