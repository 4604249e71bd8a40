//! `cargo xtask ci-tools`: programs that CI needs beyond Rust itself, pinned, under
//! `target/tools`.

use std::path::Path;

use crate::shell::{cargo, program, run};

/// Name, version.
const TOOLS: &[(&str, &str)] = &[("cargo-deny", "0.20.2")];

/// Installs what is missing or of another version.
pub(crate) fn install(root: &Path) -> anyhow::Result<()> {
    let tools = root.join("target/tools");
    for (name, version) in TOOLS {
        let known = program(tools.join("bin").join(name))
            .arg("--version")
            .output();
        let there = known.is_ok_and(|out| {
            String::from_utf8_lossy(&out.stdout).trim() == format!("{name} {version}")
        });
        if there {
            continue;
        }
        println!("xtask: {name} {version} into target/tools");
        run(cargo(root)
            .args(["install", "--locked", "--quiet", "--force", "--root"])
            .arg(&tools)
            .arg(format!("{name}@{version}")))?;
    }
    Ok(())
}
