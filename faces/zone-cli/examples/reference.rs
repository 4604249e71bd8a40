//! Prints `docs/reference/cli.md`.

fn main() {
    print!("{}", zone_cli::reference());
}
