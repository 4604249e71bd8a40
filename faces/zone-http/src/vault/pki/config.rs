//! `config/issuers`, `config/keys`, `config/urls`, `config/crl`, `root/replace`.

use serde_json::json;
use zone_pki::{Authority, CrlChange, CrlConfig, PkiService, Urls, UrlsChange};
use zone_types::duration::format_go;

use super::super::exchange::{Call, Fault, Reply};
use super::super::fields::Fields;

pub(super) async fn read(pki: &PkiService, call: &Call, name: &str) -> Result<Reply, Fault> {
    let authority = pki.authority(&call.permit).await?;
    match name {
        "issuers" => issuers(&authority),
        "keys" => Reply::data(&json!({ "default": authority.default_key().unwrap_or("") })),
        "urls" => urls(authority.urls()),
        "crl" => crl(authority.crl_config()),
        _ => Err(Fault::unsupported_path()),
    }
}

pub(super) async fn write(pki: &PkiService, call: &Call, name: &str) -> Result<Reply, Fault> {
    let fields = Fields(&call.data);
    match name {
        "issuers" => {
            let default = fields.text("default")?.filter(|text| !text.is_empty());
            let follows = fields.flag("default_follows_latest_issuer")?;
            if default.is_none() && follows.is_none() {
                return Err(Fault::bad_request("missing default"));
            }
            pki.set_default_issuer(&call.permit, default.as_deref(), follows)
                .await?;
            issuers(&*pki.authority(&call.permit).await?)
        }
        "keys" => {
            pki.set_default_key(&call.permit, &fields.required("default")?)
                .await?;
            read(pki, call, name).await
        }
        "urls" => urls(&pki.set_urls(&call.permit, &urls_change(&fields)?).await?),
        "crl" => crl(&pki
            .set_crl_config(&call.permit, &crl_change(&fields)?)
            .await?),
        _ => Err(Fault::unsupported_path()),
    }
}

/// `root/replace`: another way to say `config/issuers`.
pub(super) async fn replace_root(pki: &PkiService, call: &Call) -> Result<Reply, Fault> {
    let default = Fields(&call.data)
        .text("default")?
        .filter(|text| !text.is_empty());
    // As in Vault, a root that is named `next` takes over if nothing else is said.
    let default = default.unwrap_or_else(|| "next".to_owned());
    pki.set_default_issuer(&call.permit, Some(&default), None)
        .await?;
    issuers(&*pki.authority(&call.permit).await?)
}

fn issuers(authority: &Authority) -> Result<Reply, Fault> {
    Reply::data(&json!({
        "default": authority.default_issuer().unwrap_or(""),
        "default_follows_latest_issuer": authority.default_follows_latest(),
    }))
}

fn urls(urls: &Urls) -> Result<Reply, Fault> {
    Reply::data(urls)
}

pub(super) fn urls_change(fields: &Fields<'_>) -> Result<UrlsChange, Fault> {
    Ok(UrlsChange {
        issuing_certificates: fields.list("issuing_certificates")?,
        crl_distribution_points: fields.list("crl_distribution_points")?,
        ocsp_servers: fields.list("ocsp_servers")?,
        enable_templating: fields.flag("enable_templating")?,
    })
}

/// Settings of what is not built: only their present value is taken.
const FIXED: [(&str, bool); 8] = [
    ("disable", false),
    ("ocsp_disable", true),
    ("enable_delta", false),
    ("cross_cluster_revocation", false),
    ("unified_crl", false),
    ("unified_crl_on_existing_paths", false),
    ("allow_expired_cert_revocation", false),
    ("skip_expired", false),
];

fn crl_change(fields: &Fields<'_>) -> Result<CrlChange, Fault> {
    for (name, value) in FIXED {
        if fields.flag(name)?.is_some_and(|asked| asked != value) {
            return Err(Fault::bad_request(format!(
                "field '{name}': only {value} is offered here"
            )));
        }
    }
    Ok(CrlChange {
        expiry_secs: fields.duration("expiry")?.map(|span| span.as_secs()),
        auto_rebuild: fields.flag("auto_rebuild")?,
        grace_secs: fields
            .duration("auto_rebuild_grace_period")?
            .map(|span| span.as_secs()),
    })
}

fn crl(config: &CrlConfig) -> Result<Reply, Fault> {
    // Vault gives back the text that was written, such as 72h; Go's notation would be 72h0m0s.
    let span = |secs| {
        let text = format_go(std::time::Duration::from_secs(secs));
        let minutes = text
            .strip_suffix("m0s")
            .map(|minutes| format!("{minutes}m"));
        let text = minutes.unwrap_or(text);
        let hours = text.strip_suffix("h0m").map(|hours| format!("{hours}h"));
        hours.unwrap_or(text)
    };
    let mut data = json!({
        "expiry": span(config.expiry_secs),
        "auto_rebuild": config.auto_rebuild,
        "auto_rebuild_grace_period": span(config.grace_secs),
        "ocsp_expiry": "12h",
        "delta_rebuild_interval": "15m",
    });
    for (name, value) in FIXED.iter().take(6) {
        data[*name] = (*value).into();
    }
    Reply::data(&data)
}
