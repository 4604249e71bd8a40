//! Shell completion and manual pages, from the definition of the command line.

use std::path::Path;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

/// Prints the completion script of `shell`.
pub(crate) fn completion(mut command: Command, shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "zonehead", &mut script);
    std::io::Write::write_all(&mut std::io::stdout(), &script).context("printing the script")
}

/// Writes `zonehead.1` and a page for each command below it, `zonehead-kv-get.1`, to `directory`.
pub(crate) fn manual(command: Command, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("making {}", directory.display()))?;
    let command = command.disable_help_subcommand(true);
    let pages = page(&command, "zonehead", directory)?;
    println!("{pages} pages in {}", directory.display());
    Ok(())
}

/// Writes the page of `command`, then those below it. How many.
fn page(command: &Command, name: &str, directory: &Path) -> anyhow::Result<usize> {
    // A title of its own: the page of `kv get` is about `zonehead-kv-get`.
    let titled = command
        .clone()
        .display_name(name.to_owned())
        .bin_name(name.replace('-', " "));
    let mut text = Vec::new();
    let source = concat!("zonehead ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(titled)
        .source(source)
        .render(&mut text)?;
    let file = directory.join(format!("{name}.1"));
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let mut pages = 1;
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        pages += page(below, &format!("{name}-{}", below.get_name()), directory)?;
    }
    Ok(pages)
}
