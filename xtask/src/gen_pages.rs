//! `cargo xtask gen`: writes generated pages anew. Tests compare them with what the code says.

use std::path::Path;

use crate::shell::{cargo, run};

/// Writes `docs/reference/cli.md`.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(root.join("docs/reference"))?;
    run(cargo(root)
        .args([
            "test",
            "--quiet",
            "--package",
            "zonehead",
            "the_reference_page_is_current",
        ])
        .env("UPDATE_EXPECT", "1"))
}
