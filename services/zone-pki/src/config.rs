//! Settings of a mount: default issuer and key, addresses, revocation lists.

use zone_access::Permit;
use zone_barrier::Batch;

use crate::record::{CrlConfig, Urls, encode};
use crate::{PkiError, PkiService, keys};

/// Most addresses of one kind.
const MAX_URLS: usize = 16;
/// Bounds of a list's life.
const EXPIRY_SECS: std::ops::RangeInclusive<u64> = 60..=366 * 86_400;

/// Changes of the addresses; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct UrlsChange {
    /// See [`Urls::issuing_certificates`].
    pub issuing_certificates: Option<Vec<String>>,
    /// See [`Urls::crl_distribution_points`].
    pub crl_distribution_points: Option<Vec<String>>,
    /// See [`Urls::ocsp_servers`].
    pub ocsp_servers: Option<Vec<String>>,
    /// See [`Urls::enable_templating`].
    pub enable_templating: Option<bool>,
}

impl UrlsChange {
    /// The addresses after the change, checked.
    pub(crate) fn apply(&self, urls: &Urls) -> Result<Urls, PkiError> {
        let list =
            |change: &Option<Vec<String>>, old: &Vec<String>| change.clone().unwrap_or(old.clone());
        let urls = Urls {
            issuing_certificates: list(&self.issuing_certificates, &urls.issuing_certificates),
            crl_distribution_points: list(
                &self.crl_distribution_points,
                &urls.crl_distribution_points,
            ),
            ocsp_servers: list(&self.ocsp_servers, &urls.ocsp_servers),
            enable_templating: self.enable_templating.unwrap_or(urls.enable_templating),
        };
        let templating = urls.enable_templating;
        check(
            "issuing_certificates",
            &urls.issuing_certificates,
            templating,
            &["{{issuer_id}}"],
        )?;
        let shard = ["{{issuer_id}}", "{{shard}}"];
        check(
            "crl_distribution_points",
            &urls.crl_distribution_points,
            templating,
            &shard,
        )?;
        check(
            "ocsp_servers",
            &urls.ocsp_servers,
            templating,
            &["{{issuer_id}}"],
        )?;
        Ok(urls)
    }
}

/// Changes of how lists are made; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct CrlChange {
    /// See [`CrlConfig::expiry_secs`].
    pub expiry_secs: Option<u64>,
    /// See [`CrlConfig::auto_rebuild`].
    pub auto_rebuild: Option<bool>,
    /// See [`CrlConfig::grace_secs`].
    pub grace_secs: Option<u64>,
}

impl PkiService {
    /// Sets the default issuer (id or name) and whether it follows the newest.
    pub async fn set_default_issuer(
        &self,
        permit: &Permit,
        reference: Option<&str>,
        follows_latest: Option<bool>,
    ) -> Result<(), PkiError> {
        self.change(permit, |authority| {
            let mut config = authority.config.clone();
            if let Some(reference) = reference {
                let issuer = authority
                    .issuer(reference)
                    .map_err(|_| PkiError::field("default", "no such issuer on this mount"))?;
                if issuer.key.is_none() {
                    return Err(PkiError::field(
                        "default",
                        "the issuer's key is not on this mount, so it cannot issue",
                    ));
                }
                config.default_issuer = Some(issuer.record.id.clone());
            }
            config.default_follows_latest = follows_latest.unwrap_or(config.default_follows_latest);
            Ok((config, Batch::new(), ()))
        })
        .await
    }

    /// Sets the default key (id or name).
    pub async fn set_default_key(&self, permit: &Permit, reference: &str) -> Result<(), PkiError> {
        self.change(permit, |authority| {
            let key = authority
                .key(reference)
                .map_err(|_| PkiError::field("default", "no such key on this mount"))?;
            let mut config = authority.config.clone();
            config.default_key = Some(key.id.clone());
            Ok((config, Batch::new(), ()))
        })
        .await
    }

    /// Changes the mount's addresses.
    pub async fn set_urls(&self, permit: &Permit, change: &UrlsChange) -> Result<Urls, PkiError> {
        let key = keys::config(permit.mount(), "urls")?;
        self.change(permit, |authority| {
            let urls = change.apply(&authority.urls)?;
            let batch = Batch::new().put(key.clone(), encode(&urls)?);
            Ok((authority.config.clone(), batch, urls))
        })
        .await
    }

    /// Changes how lists are made.
    pub async fn set_crl_config(
        &self,
        permit: &Permit,
        change: &CrlChange,
    ) -> Result<CrlConfig, PkiError> {
        let key = keys::config(permit.mount(), "crl")?;
        self.change(permit, |authority| {
            let old = authority.crl;
            let crl = CrlConfig {
                expiry_secs: change.expiry_secs.unwrap_or(old.expiry_secs),
                auto_rebuild: change.auto_rebuild.unwrap_or(old.auto_rebuild),
                grace_secs: change.grace_secs.unwrap_or(old.grace_secs),
            };
            if !EXPIRY_SECS.contains(&crl.expiry_secs) {
                return Err(PkiError::field("expiry", "expected one minute to 366 days"));
            }
            let batch = Batch::new().put(key.clone(), encode(&crl)?);
            Ok((authority.config.clone(), batch, crl))
        })
        .await
    }
}

fn check(
    field: &str,
    urls: &[String],
    templating: bool,
    placeholders: &[&str],
) -> Result<(), PkiError> {
    if urls.len() > MAX_URLS {
        return Err(PkiError::field(field, "at most 16 URLs"));
    }
    for url in urls {
        let mut plain = url.clone();
        for placeholder in placeholders.iter().filter(|_| templating) {
            plain = plain.replace(placeholder, "0");
        }
        if plain.contains("{{") || plain.contains("}}") {
            return Err(PkiError::field(
                field,
                if templating {
                    "unknown placeholder; {{issuer_id}} is known, and {{shard}} in crl_distribution_points"
                } else {
                    "placeholders need enable_templating"
                },
            ));
        }
        let scheme = plain
            .split_once("://")
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let known = matches!(scheme.as_deref(), Some("http" | "https" | "ldap"));
        if !known || !zone_x509::is_uri(&plain) || plain.len() > 1024 {
            return Err(PkiError::field(field, "expected http, https or ldap URLs"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(url: &str, templating: bool) -> Result<Urls, String> {
        let change = UrlsChange {
            crl_distribution_points: Some(vec![url.into()]),
            enable_templating: Some(templating),
            ..UrlsChange::default()
        };
        change
            .apply(&Urls::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn placeholders_need_templating_and_must_be_known() {
        assert!(points("https://a/v1/pki/crl", false).is_ok());
        assert!(points("https://a/v1/pki/crl/shard/{{shard}}", true).is_ok());
        assert!(points("https://a/v1/pki/crl/shard/{{shard}}", false).is_err());
        assert!(points("{{cluster_path}}/crl", true).is_err());
        assert!(points("ftp://a/crl", false).is_err());
        let error = points("not a url", false).unwrap_err();
        assert!(error.contains("crl_distribution_points"), "{error}");
    }
}
