//! `cargo xtask test`: the one test command.

use std::path::Path;

use anyhow::{Context, bail};

use crate::shell::{cargo, output, run};
use crate::{fuzz, setup};

/// How long CI drives each fuzz target.
const FUZZ_SECONDS: u64 = 20;

fn run_args(args: &[String]) -> anyhow::Result<(u64, &[String])> {
    let (own, passed) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], &args[at + 1..]),
        None => (args, &[][..]),
    };
    match own {
        [] => Ok((FUZZ_SECONDS, passed)),
        [flag, seconds] if flag == "--fuzz-seconds" => Ok((
            seconds.parse().context("--fuzz-seconds needs a number")?,
            passed,
        )),
        [other, ..] => bail!("test does not know {other:?}; arguments for cargo follow '--'"),
    }
}

/// Sets up, tests the workspace, drives the fuzz targets. All tests run even if some fail.
pub(crate) fn run_all(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let (fuzz_seconds, passed) = run_args(args)?;
    setup::install(root)?;
    // The end-to-end tests start the binary; cargo builds it for them only if asked.
    run(cargo(root).args(["build", "--package", "zonehead"]))?;
    let tested = run(cargo(root)
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(passed)
        .env(
            "ZONEHEAD_TEST_BIN",
            target_dir(root)?.join("debug/zonehead"),
        )
        .env("ZONEHEAD_TEST_VENV", root.join(setup::VENV))
        .env("ZONEHEAD_TEST_GO", root.join(setup::GO_PROGRAMS)));
    let fuzzed = match fuzz_seconds {
        0 => Ok(()),
        seconds => fuzz::run_driver(root, &["--seconds".to_owned(), seconds.to_string()]),
    };
    tested.and(fuzzed)
}

fn target_dir(root: &Path) -> anyhow::Result<std::path::PathBuf> {
    let text = output(cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    let dir = metadata["target_directory"]
        .as_str()
        .context("cargo metadata has a target_directory")?;
    Ok(dir.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_after_the_dashes_go_to_cargo() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(run_args(&[]).unwrap(), (20, &[][..]));
        let args = words("--fuzz-seconds 3 -- -p x");
        assert_eq!(run_args(&args).unwrap(), (3, &words("-p x")[..]));
        assert!(run_args(&words("-p x")).is_err());
        assert!(run_args(&words("--fuzz-seconds x")).is_err());
    }
}
