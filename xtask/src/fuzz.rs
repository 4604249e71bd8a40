//! `cargo xtask fuzz`: builds and runs the driver of `tests/fuzz`.

use std::path::Path;

use crate::shell::{cargo, run};

/// Passes its arguments on to `zone-fuzz`.
pub(crate) fn run_driver(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let quiet = ["run", "--quiet", "--package", "zone-fuzz", "--"];
    run(cargo(root).args(quiet).args(args))
}
