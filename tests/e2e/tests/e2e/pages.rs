//! Shell completion and manual pages, in the shells and the formatter that people have.

use zone_e2e::{Place, tool};

fn script(place: &Place, shell: &str) -> String {
    let mut command = place.command();
    let text = tool::text(command.args(["completion", shell]));
    place.write(&format!("completion.{shell}"), &text);
    text
}

#[test]
fn bash_completes_commands_and_flags() {
    let place = Place::new();
    script(&place, "bash");
    let completed = |line: &str| {
        let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let asked = format!(
            "source completion.bash; COMP_WORDS=({}); COMP_CWORD={}; _zonehead zonehead '{}' '{}'; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1,
            line.rsplit(' ').next().unwrap(),
            line.rsplit(' ').nth(1).unwrap(),
        );
        let mut command = place.program("bash");
        tool::text(command.args(["--norc", "-c", &asked]))
    };
    let lists = |line: &str, word: &str| {
        let found = completed(line);
        assert!(
            found.lines().any(|one| one == word),
            "{line}: {word} in {found}"
        );
    };
    lists("zonehead op", "operator");
    lists("zonehead operator un", "unseal");
    lists("zonehead kv get --fo", "--format");
    lists("zonehead server --con", "--config");
}

#[test]
fn zsh_and_fish_read_their_scripts() {
    let place = Place::new();
    for (shell, marker) in [
        ("zsh", "#compdef zonehead"),
        ("fish", "complete -c zonehead"),
    ] {
        let text = script(&place, shell);
        assert!(text.contains(marker), "{shell}");
        let mut command = place.program(shell);
        let file = place.file(&format!("completion.{shell}"));
        let said = tool::said(&tool::run(command.arg("-n").arg(file)));
        assert!(said.starts_with("exit status: 0"), "{shell}: {said}");
    }
    // fish answers without a terminal.
    let asked = "source completion.fish; complete -C 'zonehead operator un'";
    let mut command = place.program("fish");
    let found = tool::text(command.args(["--no-config", "-c", asked]));
    assert!(
        found.lines().any(|line| line.starts_with("unseal")),
        "{found}"
    );
}

#[test]
fn each_command_has_a_manual_page() {
    let place = Place::new();
    let mut command = place.command();
    let said = tool::text(command.args(["man", "pages"]));
    let pages: Vec<_> = std::fs::read_dir(place.file("pages"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(
        said.starts_with(&format!("{} pages", pages.len())),
        "{said}"
    );
    assert!(pages.len() > 40, "{said}");
    for page in &pages {
        // Errors only: warnings are about style.
        let mut lint = place.program("mandoc");
        let output = tool::run(lint.args(["-T", "lint", "-W", "error"]).arg(page.path()));
        assert!(output.status.success(), "{}", tool::said(&output));
    }
    let read = |name: &str| {
        let mut command = place.program("mandoc");
        tool::text(
            command
                .args(["-T", "ascii"])
                .arg(place.file("pages").join(name)),
        )
        .replace('\u{8}', "")
    };
    let page = read("zonehead-operator-unseal.1");
    assert!(page.contains("zonehead-operator-unseal(1)"), "{page}");
    assert!(page.contains("share"), "{page}");
}
