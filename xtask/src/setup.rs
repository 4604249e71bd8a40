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

/// Installs whatever is missing.
pub(crate) fn install(root: &Path) -> anyhow::Result<()> {
    packages()?;
    venv(root)
}

fn packages() -> anyhow::Result<()> {
    let missing: Vec<&str> = PACKAGES
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
