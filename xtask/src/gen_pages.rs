//! `cargo xtask gen`: writes generated pages anew. Tests compare them with what the code says.

use std::path::Path;

use crate::shell::{cargo, run};

/// Packages and the tests that hold a page against the code.
const PAGES: [(&str, &str); 2] = [
    ("zonehead", "the_reference_page_is_current"),
    ("zone-http", "the_openapi_document_is_current"),
];

/// Writes `docs/reference/cli.md` and `docs/reference/openapi.json`.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(root.join("docs/reference"))?;
    for (package, test) in PAGES {
        run(cargo(root)
            .args(["test", "--quiet", "--package", package, test])
            .env("UPDATE_EXPECT", "1"))?;
    }
    Ok(())
}
