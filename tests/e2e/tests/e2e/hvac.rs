//! hvac, a Vault client from PyPI.

use zone_e2e::{Place, root, tool};

#[test]
fn hvac_does_all_that_exists_as_against_vault() {
    let head = Place::new().start();
    let mut script = tool::python();
    script.arg(root().join("tests/e2e/clients/hvac_core.py"));
    script
        .arg(head.url())
        .arg(head.place.ca_file())
        .arg(head.place.data().join("audit"));
    let said = tool::text(&mut script);
    assert!(said.contains("hvac: all calls answered"), "{said}");
}

#[test]
fn hvac_finds_identity_as_vault_keeps_it() {
    let head = Place::new().start();
    let mut script = tool::python();
    script.arg(root().join("tests/e2e/clients/hvac_identity.py"));
    script.arg(head.url()).arg(head.place.ca_file());
    let said = tool::text(&mut script);
    assert!(said.contains("hvac: identity answers"), "{said}");
}

#[test]
fn hvac_has_no_call_for_the_core_that_is_not_answered() {
    let head = Place::new().start();
    let mut script = tool::python();
    script.arg(root().join("tests/e2e/clients/hvac_calls.py"));
    script
        .arg(head.url())
        .arg(head.place.ca_file())
        .arg(head.place.data().join("audit"));
    let said = tool::text(&mut script);
    assert!(said.contains("calls ticked off"), "{said}");
}
