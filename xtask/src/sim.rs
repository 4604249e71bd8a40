//! `cargo xtask sim`: builds and runs the driver of `tests/sim`.

use std::path::Path;

use crate::shell::{cargo, run};

/// Passes its arguments on to `zone-sim`.
pub(crate) fn run_driver(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let quiet = ["run", "--quiet", "--package", "zone-sim", "--"];
    run(cargo(root).args(quiet).args(args))
}
