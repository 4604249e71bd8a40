//! The native form.

use super::*;

fn fault_of(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("zonehead.toml");
    std::fs::write(&file, text).unwrap();
    load(&[file]).unwrap_err().to_string()
}

const GOOD: &str = "zone = \"zone.example\"\n[storage]\npath = \"/var/lib/zonehead\"\n\
                    [[listener]]\naddress = \"127.0.0.1:8200\"\n";

#[test]
fn the_documented_example_is_valid() {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/how-to/zonehead.toml"
    );
    let settings = load(&[example.into()]).unwrap();
    assert_eq!(settings.zone, "zone.example.org");
}

#[test]
fn a_fault_names_file_line_and_key() {
    let text = fault_of(&format!("{GOOD}colour = 1\n"));
    assert!(text.contains("zonehead.toml: "), "{text}");
    assert!(text.contains("line 6") && text.contains("colour"), "{text}");
    let text = fault_of(&GOOD.replace("127.0.0.1:8200", "somewhere"));
    assert!(text.contains("line 5"), "{text}");
    let text = fault_of(&GOOD.replace("/var/lib", "var/lib"));
    assert!(text.contains("'storage.path'"), "{text}");
    let text = fault_of(&format!("{GOOD}cert_file = \"/a\"\n"));
    assert!(text.contains("'key_file'"), "{text}");
    let text = fault_of("zone = \"a b\"\n[storage]\npath = \"/x\"\n");
    assert!(text.contains("'zone'"), "{text}");
    assert!(fault_of("").contains("zone"));
}

#[test]
fn lease_times_are_seconds_or_text_and_fit_together() {
    let times = |lines: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("zonehead.toml");
        std::fs::write(&file, format!("{lines}\n{GOOD}")).unwrap();
        let settings = load(&[file]).map_err(|fault| fault.to_string())?;
        Ok::<_, String>((settings.lease_times.default, settings.lease_times.max))
    };
    const USUAL: u64 = 768 * 3600;
    assert_eq!(times(""), Ok((USUAL, USUAL)));
    assert_eq!(times("max_lease_ttl = \"1h30m\""), Ok((5400, 5400)));
    assert_eq!(times("default_lease_ttl = 60"), Ok((60, USUAL)));
    let both = "default_lease_ttl = \"1d\"\nmax_lease_ttl = \"8760h\"";
    assert_eq!(times(both), Ok((86_400, 31_536_000)));
    for (lines, key) in [
        ("default_lease_ttl = \"769h\"", "'default_lease_ttl'"),
        ("max_lease_ttl = 0", "'max_lease_ttl'"),
        ("max_lease_ttl = \"87601h\"", "'max_lease_ttl'"),
        ("max_lease_ttl = \"soon\"", "'max_lease_ttl'"),
        ("max_lease_ttl = -1", "max_lease_ttl"),
    ] {
        assert!(times(lines).unwrap_err().contains(key), "{lines}");
    }
}

#[test]
fn defaults_are_filled_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("zonehead.toml");
    std::fs::write(&file, GOOD).unwrap();
    let settings = load(&[file]).unwrap();
    assert_eq!(
        settings.audit_directories,
        [Path::new("/var/lib/zonehead/audit")]
    );
    assert_eq!(settings.api_addr, "https://127.0.0.1:8200");
    assert!(!settings.listeners[0].tls12);
    assert!(settings.head_names().contains(&"localhost".to_owned()));
}
