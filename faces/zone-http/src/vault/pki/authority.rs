//! Issuers and keys: `root/generate`, `issuers`, `issuer/…`, `keys`, `key/…`, imports.

use serde::Serialize;
use serde_json::{Map, Value, json};
use zone_crypto::sign::Hash;
use zone_pki::{
    GeneratedRoot, Issuer, IssuerChange, IssuerUsage, LeafNotAfter, PkiService, RootAsk, UrlsChange,
};
use zone_types::Secret;
use zone_x509::{NameConstraints, Subject, Subtree, colon_hex};

use super::super::exchange::{Answer, Call, Fault, Reply, to_raw};
use super::super::fields::Fields;
use super::fetch::pem;
use super::issue::{Bundle, Format, Parts, read_ask};

#[derive(Serialize)]
struct RootData {
    #[serde(flatten)]
    bundle: Bundle,
    issuer_id: String,
    issuer_name: String,
    key_id: String,
    key_name: String,
}

pub(super) async fn generate_root(
    pki: &PkiService,
    call: &Call,
    kind: &str,
) -> Result<Reply, Fault> {
    let exported = match kind {
        "internal" => false,
        "exported" => true,
        "existing" | "kms" => {
            return Err(Fault::bad_request(
                "only internal and exported keys are offered",
            ));
        }
        _ => return Err(Fault::unsupported_path()),
    };
    let fields = Fields(&call.data);
    let format = Format::read(&fields)?;
    let ask = read_root(&fields)?;
    let root = pki.generate_root(&call.permit, &ask).await?;
    let GeneratedRoot {
        der,
        issuer_id,
        issuer_name,
        key_id,
        key_name,
        private_key,
        warnings,
        ..
    } = root;
    let key = exported.then_some(&*private_key);
    let bundle = Bundle::new(
        format,
        &Parts {
            der: &der,
            issuing_ca: None,
            chain: None,
            key,
        },
    )?;
    let data = RootData {
        bundle,
        issuer_id,
        issuer_name,
        key_id,
        key_name,
    };
    Ok(Reply::Data(Answer {
        data: Some(to_raw(&data)?),
        warnings,
        ..Answer::default()
    }))
}

fn read_root(fields: &Fields<'_>) -> Result<RootAsk, Fault> {
    let list = |name| fields.list(name).map(Option::unwrap_or_default);
    let text = |name| fields.text(name).map(Option::unwrap_or_default);
    if !list("permitted_uri_domains")?.is_empty() || !list("excluded_uri_domains")?.is_empty() {
        return Err(Fault::bad_request(
            "URI name constraints are not offered: common TLS libraries refuse every certificate \
             with a URI name below them",
        ));
    }
    if fields.flag("use_pss")? == Some(true) {
        return Err(Fault::bad_request(
            "field 'use_pss': RSA-PSS signatures are not offered",
        ));
    }
    let names = read_ask(fields)?;
    let bits = fields.number("key_bits")?.unwrap_or(0);
    let bits = u32::try_from(bits)
        .map_err(|_| Fault::bad_request("field 'key_bits': expected a number of bits"))?;
    let family = text("key_type")?;
    let family = if family.is_empty() { "rsa" } else { &family };
    Ok(RootAsk {
        subject: Subject {
            common_name: names.common_name.clone(),
            serial_number: names.serial_number.clone(),
            country: list("country")?,
            organization: list("organization")?,
            organizational_unit: list("ou")?,
            locality: list("locality")?,
            province: list("province")?,
            street_address: list("street_address")?,
            postal_code: list("postal_code")?,
        },
        names,
        backdate: fields.duration("not_before_duration")?,
        key_type: Some(RootAsk::key_type_of(family, bits)?),
        hash: Some(hash(fields.number("signature_bits")?)?),
        max_path_length: path_length(fields.number("max_path_length")?)?,
        constraints: constraints(fields)?,
        issuer_name: text("issuer_name")?,
        key_name: text("key_name")?,
    })
}

fn hash(bits: Option<i64>) -> Result<Hash, Fault> {
    match bits {
        None | Some(0 | 256) => Ok(Hash::Sha256),
        Some(384) => Ok(Hash::Sha384),
        Some(512) => Ok(Hash::Sha512),
        Some(_) => Err(Fault::bad_request(
            "field 'signature_bits': expected 0, 256, 384 or 512",
        )),
    }
}

fn path_length(length: Option<i64>) -> Result<Option<u8>, Fault> {
    match length {
        None | Some(-1) => Ok(None),
        Some(length) => u8::try_from(length)
            .map(Some)
            .map_err(|_| Fault::bad_request("field 'max_path_length': expected -1 to 255")),
    }
}

fn constraints(fields: &Fields<'_>) -> Result<NameConstraints, Fault> {
    let set = |prefix: &str| -> Result<Vec<Subtree>, Fault> {
        let list = |suffix: &str| {
            let name = format!("{prefix}_{suffix}");
            fields
                .list(&name)
                .map(|list| (name, list.unwrap_or_default()))
        };
        let mut trees: Vec<Subtree> = list("dns_domains")?
            .1
            .into_iter()
            .map(Subtree::Dns)
            .collect();
        let (name, ranges) = list("ip_ranges")?;
        for range in ranges {
            let tree = Subtree::parse_cidr(&range);
            trees.push(tree.ok_or_else(|| {
                Fault::bad_request(format!("field '{name}': expected networks (10.0.0.0/8)"))
            })?);
        }
        trees.extend(list("email_addresses")?.1.into_iter().map(Subtree::Email));
        Ok(trees)
    };
    Ok(NameConstraints {
        permitted: set("permitted")?,
        excluded: set("excluded")?,
    })
}

pub(super) async fn import(pki: &PkiService, call: &Call, with_keys: bool) -> Result<Reply, Fault> {
    let bundle = Secret::new(Fields(&call.data).required("pem_bundle")?);
    let imported = pki.import(&call.permit, &bundle, with_keys).await?;
    let mapping: Map<String, Value> = imported
        .mapping
        .into_iter()
        .map(|(issuer, key)| (issuer, key.into()))
        .collect();
    let or_null = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
    Reply::data(&json!({
        "mapping": mapping,
        "imported_issuers": or_null(imported.issuers),
        "imported_keys": or_null(imported.keys),
        "existing_issuers": or_null(imported.existing_issuers),
        "existing_keys": or_null(imported.existing_keys),
    }))
}

pub(super) async fn list_issuers(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let authority = pki.authority(&call.permit).await?;
    let default = authority.default_issuer();
    with_info(authority.issuers().iter().map(|issuer| {
        let record = issuer.record();
        let info = json!({
            "issuer_name": record.name,
            "is_default": default == Some(record.id.as_str()),
            "key_id": record.key_id.clone().unwrap_or_default(),
            "serial_number": issuer.certificate().serial().to_string(),
        });
        (record.id.clone(), info)
    }))
}

pub(super) async fn list_keys(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let authority = pki.authority(&call.permit).await?;
    let default = authority.default_key();
    with_info(authority.keys().iter().map(|key| {
        let info = json!({ "key_name": key.name(), "is_default": default == Some(key.id()) });
        (key.id().to_owned(), info)
    }))
}

fn with_info(entries: impl Iterator<Item = (String, Value)>) -> Result<Reply, Fault> {
    let info: Map<String, Value> = entries.collect();
    if info.is_empty() {
        return Err(Fault::not_found());
    }
    let keys: Vec<&String> = info.keys().collect();
    Reply::data(&json!({ "keys": keys, "key_info": info }))
}

pub(super) async fn read_issuer(
    pki: &PkiService,
    call: &Call,
    reference: &str,
) -> Result<Reply, Fault> {
    issuer_data(&*pki.issuer(&call.permit, reference).await?)
}

fn issuer_data(issuer: &Issuer) -> Result<Reply, Fault> {
    let record = issuer.record();
    let mut data = json!({
        "issuer_id": record.id,
        "issuer_name": record.name,
        "key_id": record.key_id.clone().unwrap_or_default(),
        "certificate": pem(issuer.certificate()),
        "manual_chain": (!record.manual_chain.is_empty()).then_some(&record.manual_chain),
        "ca_chain": issuer.chain().iter().map(pem).collect::<Vec<_>>(),
        "leaf_not_after_behavior": record.leaf_not_after.as_str(),
        "usage": record.usage.as_text(),
        "revocation_signature_algorithm": "",
        "revoked": false,
        "issuing_certificates": record.urls.issuing_certificates,
        "crl_distribution_points": record.urls.crl_distribution_points,
        "ocsp_servers": record.urls.ocsp_servers,
        "enable_aia_url_templating": record.urls.enable_templating,
    });
    data["subject_key_id"] = issuer
        .certificate()
        .key_id()
        .map(|id| colon_hex(&id))
        .unwrap_or_default()
        .into();
    Reply::data(&data)
}

pub(super) async fn update_issuer(
    pki: &PkiService,
    call: &Call,
    reference: &str,
) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    if fields
        .text("revocation_signature_algorithm")?
        .is_some_and(|text| !text.is_empty())
    {
        return Err(Fault::bad_request(
            "field 'revocation_signature_algorithm': lists are signed as the key usually signs",
        ));
    }
    let change = IssuerChange {
        name: fields.text("issuer_name")?,
        usage: fields
            .list("usage")?
            .map(|names| IssuerUsage::parse(&names))
            .transpose()?,
        leaf_not_after: fields
            .text("leaf_not_after_behavior")?
            .map(|text| LeafNotAfter::parse(&text))
            .transpose()?,
        manual_chain: fields.list("manual_chain")?,
        urls: UrlsChange {
            enable_templating: fields.flag("enable_aia_url_templating")?,
            ..super::config::urls_change(&fields)?
        },
    };
    // The id does not change; the name that the caller used may.
    let id = pki
        .issuer(&call.permit, reference)
        .await?
        .record()
        .id
        .clone();
    pki.update_issuer(&call.permit, &id, &change).await?;
    read_issuer(pki, call, &id).await
}

pub(super) async fn delete_issuer(
    pki: &PkiService,
    call: &Call,
    reference: &str,
) -> Result<Reply, Fault> {
    pki.delete_issuer(&call.permit, reference).await?;
    Ok(Reply::NoContent)
}

pub(super) async fn read_key(
    pki: &PkiService,
    call: &Call,
    reference: &str,
) -> Result<Reply, Fault> {
    let key = pki.key(&call.permit, reference).await?;
    Reply::data(&json!({
        "key_id": key.id(),
        "key_name": key.name(),
        "key_type": key.family(),
        "subject_key_id": colon_hex(&key.subject_key_id()),
    }))
}

pub(super) async fn update_key(
    pki: &PkiService,
    call: &Call,
    reference: &str,
) -> Result<Reply, Fault> {
    let name = Fields(&call.data).text("key_name")?;
    let name = name.ok_or_else(|| Fault::bad_request("missing key_name"))?;
    let id = pki.key(&call.permit, reference).await?.id().to_owned();
    pki.rename_key(&call.permit, &id, &name).await?;
    read_key(pki, call, &id).await
}

pub(super) async fn delete_key(
    pki: &PkiService,
    call: &Call,
    reference: &str,
) -> Result<Reply, Fault> {
    pki.delete_key(&call.permit, reference).await?;
    Ok(Reply::NoContent)
}
