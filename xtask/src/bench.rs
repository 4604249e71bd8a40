//! `cargo xtask bench`: builds the release binary and the bench, and runs it.

use std::path::Path;

use crate::shell::{cargo, run};

/// Passes `args` to the bench; `--help` lists its flags. A `--` before them, as cargo wants it
/// elsewhere, is taken too.
pub(crate) fn measure(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let args = args.strip_prefix(&["--".to_owned()][..]).unwrap_or(args);
    run(cargo(root).args([
        "build",
        "--release",
        "--package",
        "zonehead",
        "--package",
        "zone-bench",
    ]))?;
    run(cargo(root)
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "zone-bench",
            "--",
        ])
        .args(args))
}
