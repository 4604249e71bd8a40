//! `roles`.

use serde_json::{Map, Value, json};
use zone_pki::{PkiService, Role};

use super::super::exchange::{Answer, Call, Fault, Reply, to_raw};
use super::super::fields::Fields;
use super::issue::unknown;

/// Switches of Vault's roles that are not offered: only their default is taken.
const NOT_OFFERED: [(&str, &str); 5] = [
    ("use_pss", "RSA-PSS signatures are not offered"),
    (
        "allow_token_displayname",
        "not offered; use allowed_domains",
    ),
    ("allowed_domains_template", "templates are not offered"),
    ("allowed_uri_sans_template", "templates are not offered"),
    ("no_store_metadata", "there is no metadata to store"),
];

/// Every field of a role; what a client sends beyond is named in a warning.
const KNOWN: [&str; 54] = [
    "name",
    "backend",
    "issuer_ref",
    "ttl",
    "max_ttl",
    "allow_localhost",
    "allowed_domains",
    "allow_bare_domains",
    "allow_subdomains",
    "allow_glob_domains",
    "allow_wildcard_certificates",
    "allow_any_name",
    "enforce_hostnames",
    "allow_ip_sans",
    "allowed_uri_sans",
    "allowed_other_sans",
    "allowed_user_ids",
    "allowed_serial_numbers",
    "server_flag",
    "client_flag",
    "code_signing_flag",
    "email_protection_flag",
    "key_type",
    "key_bits",
    "signature_bits",
    "key_usage",
    "ext_key_usage",
    "ext_key_usage_oids",
    "use_csr_common_name",
    "use_csr_sans",
    "ou",
    "organization",
    "country",
    "locality",
    "province",
    "street_address",
    "postal_code",
    "require_cn",
    "cn_validations",
    "policy_identifiers",
    "basic_constraints_valid_for_non_ca",
    "not_before_duration",
    "not_after",
    "no_store",
    "generate_lease",
    "use_pss",
    "allow_token_displayname",
    "allowed_domains_template",
    "allowed_uri_sans_template",
    "no_store_metadata",
    "lease",
    "lease_max",
    "serial_number_source",
    "not_before",
];

pub(super) async fn write(pki: &PkiService, call: &Call, name: &str) -> Result<Reply, Fault> {
    let mut role = Role::default();
    apply(&call.data, &mut role)?;
    let role = pki.put_role(&call.permit, name, role).await?;
    answer(&role, unknown(&call.data, &KNOWN))
}

pub(super) async fn patch(pki: &PkiService, call: &Call, name: &str) -> Result<Reply, Fault> {
    let role = pki
        .patch_role(&call.permit, name, |role| apply(&call.data, role))
        .await?;
    answer(&role, unknown(&call.data, &KNOWN))
}

pub(super) async fn read(pki: &PkiService, call: &Call, name: &str) -> Result<Reply, Fault> {
    answer(&*pki.role(&call.permit, name).await?, None)
}

pub(super) async fn list(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    Reply::keys(&pki.role_names(&call.permit).await?)
}

pub(super) async fn delete(pki: &PkiService, call: &Call, name: &str) -> Result<Reply, Fault> {
    pki.delete_role(&call.permit, name).await?;
    Ok(Reply::NoContent)
}

fn answer(role: &Role, warning: Option<String>) -> Result<Reply, Fault> {
    let mut data =
        serde_json::to_value(role).map_err(|_| Fault::internal("a role cannot be encoded"))?;
    if let Value::Object(map) = &mut data {
        for (name, _) in NOT_OFFERED {
            map.insert(name.to_owned(), Value::Bool(false));
        }
        map.entry("generate_lease").or_insert(Value::Bool(false));
        map.insert("serial_number_source".into(), json!("json-csr"));
    }
    let warnings = warning.into_iter().collect();
    Ok(Reply::Data(Answer {
        data: Some(to_raw(&data)?),
        warnings,
        ..Answer::default()
    }))
}

/// Takes over each field that is there.
fn apply(data: &Map<String, Value>, role: &mut Role) -> Result<(), Fault> {
    let fields = Fields(data);
    for (name, reason) in NOT_OFFERED {
        if fields.flag(name)? == Some(true) {
            return Err(Fault::bad_request(format!("field '{name}': {reason}")));
        }
    }
    if fields
        .text("serial_number_source")?
        .is_some_and(|source| source != "json-csr")
    {
        return Err(Fault::bad_request(
            "field 'serial_number_source': only json-csr is offered",
        ));
    }
    for old in ["lease", "lease_max", "not_before"] {
        if fields.text(old)?.is_some_and(|text| !text.is_empty()) {
            return Err(Fault::bad_request(format!(
                "field '{old}': not offered; use ttl, max_ttl and not_before_duration"
            )));
        }
    }
    apply_flags(&fields, role)?;
    apply_lists(&fields, role)?;
    apply_texts(&fields, role)?;
    apply_numbers(&fields, role)
}

fn apply_flags(fields: &Fields<'_>, role: &mut Role) -> Result<(), Fault> {
    for (name, flag) in [
        ("allow_localhost", &mut role.allow_localhost),
        ("allow_bare_domains", &mut role.allow_bare_domains),
        ("allow_subdomains", &mut role.allow_subdomains),
        ("allow_glob_domains", &mut role.allow_glob_domains),
        (
            "allow_wildcard_certificates",
            &mut role.allow_wildcard_certificates,
        ),
        ("allow_any_name", &mut role.allow_any_name),
        ("enforce_hostnames", &mut role.enforce_hostnames),
        ("allow_ip_sans", &mut role.allow_ip_sans),
        ("server_flag", &mut role.server_flag),
        ("client_flag", &mut role.client_flag),
        ("code_signing_flag", &mut role.code_signing_flag),
        ("email_protection_flag", &mut role.email_protection_flag),
        ("use_csr_common_name", &mut role.use_csr_common_name),
        ("use_csr_sans", &mut role.use_csr_sans),
        ("require_cn", &mut role.require_cn),
        (
            "basic_constraints_valid_for_non_ca",
            &mut role.basic_constraints_valid_for_non_ca,
        ),
        ("no_store", &mut role.no_store),
        ("generate_lease", &mut role.generate_lease),
    ] {
        if let Some(value) = fields.flag(name)? {
            *flag = value;
        }
    }
    Ok(())
}

fn apply_lists(fields: &Fields<'_>, role: &mut Role) -> Result<(), Fault> {
    for (name, list) in [
        ("allowed_domains", &mut role.allowed_domains),
        ("allowed_uri_sans", &mut role.allowed_uri_sans),
        ("allowed_other_sans", &mut role.allowed_other_sans),
        ("allowed_user_ids", &mut role.allowed_user_ids),
        ("allowed_serial_numbers", &mut role.allowed_serial_numbers),
        ("key_usage", &mut role.key_usage),
        ("ext_key_usage", &mut role.ext_key_usage),
        ("ext_key_usage_oids", &mut role.ext_key_usage_oids),
        ("ou", &mut role.ou),
        ("organization", &mut role.organization),
        ("country", &mut role.country),
        ("locality", &mut role.locality),
        ("province", &mut role.province),
        ("street_address", &mut role.street_address),
        ("postal_code", &mut role.postal_code),
        ("cn_validations", &mut role.cn_validations),
        ("policy_identifiers", &mut role.policy_identifiers),
    ] {
        if let Some(value) = fields.list(name)? {
            *list = value;
        }
    }
    Ok(())
}

fn apply_texts(fields: &Fields<'_>, role: &mut Role) -> Result<(), Fault> {
    for (name, text) in [
        ("issuer_ref", &mut role.issuer_ref),
        ("key_type", &mut role.key_type),
        ("not_after", &mut role.not_after),
    ] {
        if let Some(value) = fields.text(name)? {
            *text = value;
        }
    }
    Ok(())
}

fn apply_numbers(fields: &Fields<'_>, role: &mut Role) -> Result<(), Fault> {
    for (name, secs) in [
        ("ttl", &mut role.ttl),
        ("max_ttl", &mut role.max_ttl),
        ("not_before_duration", &mut role.not_before_duration),
    ] {
        if let Some(value) = fields.duration(name)? {
            *secs = value.as_secs();
        }
    }
    // Bits belong to a type: a new type brings its own unless the request names some.
    if fields.text("key_type")?.is_some() {
        role.key_bits = 0;
    }
    for (name, bits) in [
        ("key_bits", &mut role.key_bits),
        ("signature_bits", &mut role.signature_bits),
    ] {
        if let Some(value) = fields.number(name)? {
            *bits = u32::try_from(value).map_err(|_| {
                Fault::bad_request(format!("field '{name}': expected a number of bits"))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Result<Role, Vec<String>> {
        let data = zone_types::json::parse_object(text.as_bytes()).unwrap();
        let mut role = Role::default();
        apply(&data, &mut role).map_err(|fault| fault.errors)?;
        Ok(role)
    }

    #[test]
    fn every_field_of_a_role_is_known_and_read() {
        let Value::Object(map) = serde_json::to_value(Role::default()).unwrap() else {
            panic!()
        };
        for name in map.keys() {
            assert!(KNOWN.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn all_values_may_come_as_text() {
        let role = role(
            r#"{"allowed_domains":"a.example, b.example","allow_subdomains":"true","ttl":"1h",
                "max_ttl":7200,"key_type":"ec","key_bits":"384","require_cn":"false",
                "not_before_duration":"60s"}"#,
        )
        .unwrap();
        assert_eq!(role.allowed_domains, ["a.example", "b.example"]);
        assert_eq!(
            (role.ttl, role.max_ttl, role.not_before_duration),
            (3600, 7200, 60)
        );
        assert_eq!((role.key_type.as_str(), role.key_bits), ("ec", 384));
        assert!(role.allow_subdomains && !role.require_cn);
    }

    #[test]
    fn what_is_not_offered_is_refused_not_ignored() {
        for (name, _) in NOT_OFFERED {
            let errors = role(&format!(r#"{{"{name}":true}}"#)).unwrap_err();
            assert!(errors[0].contains(name), "{errors:?}");
            assert!(role(&format!(r#"{{"{name}":"false"}}"#)).is_ok(), "{name}");
        }
    }
}
