//! From a role and a request to what will stand in the certificate, or to a refusal that names
//! the field. Pure: no store, no key, no clock.
//!
//! What holds of every [`Plan`]: each name in it, wherever it came from (field or CSR), is in the
//! one canonical form, was allowed by the role, and is not reserved (C3); common name and
//! alternative names show the same spelling; it ends neither in the past, nor beyond the role,
//! nor beyond the issuer (C1).

use std::net::IpAddr;
use std::time::Duration;

use zone_types::Timestamp;
use zone_x509::{AltName, Subject, dns_name, is_email, is_plain_text, is_uri};

use crate::PkiError;
use crate::names::{ReservedNames, glob};
use crate::record::LeafNotAfter;
use crate::role::Role;

/// Most alternative names in one certificate.
pub const MAX_NAMES: usize = 100;

/// What a caller asks of `issue` and `sign`.
#[derive(Clone, Debug, Default)]
pub struct IssueAsk {
    /// The common name; empty for none.
    pub common_name: String,
    /// Host names and mailboxes.
    pub alt_names: Vec<String>,
    /// IP addresses.
    pub ip_sans: Vec<String>,
    /// URIs.
    pub uri_sans: Vec<String>,
    /// `<oid>;UTF8:<text>`.
    pub other_sans: Vec<String>,
    /// User ids; none can be certified yet.
    pub user_ids: Vec<String>,
    /// The subject's serial number; empty for none.
    pub serial_number: String,
    /// Life of the certificate; zero or `None`: the role's.
    pub ttl: Option<Duration>,
    /// The end of the certificate (RFC 3339); empty for none.
    pub not_after: String,
    /// Whether the common name stays out of the alternative names.
    pub exclude_cn_from_sans: bool,
}

/// What a CSR asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requested {
    pub(crate) subject: Subject,
    pub(crate) names: Vec<AltName>,
}

/// Subject and names of the certificate to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) subject: Subject,
    pub(crate) names: Vec<AltName>,
}

/// Life of the certificate to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) warnings: Vec<String>,
}

/// Judges names. `requested` is what the CSR of a `sign` says.
pub(crate) fn plan(
    role: &Role,
    ask: &IssueAsk,
    requested: Option<&Requested>,
    reserved: &ReservedNames,
) -> Result<Plan, PkiError> {
    let common_name = common_name(role, ask, requested)?;
    let mut names = match requested {
        Some(requested) if role.use_csr_sans => canonical_all(&requested.names)?,
        _ => asked_names(ask)?,
    };
    if !ask.user_ids.is_empty() {
        return Err(PkiError::field(
            "user_ids",
            "user ids cannot be certified yet",
        ));
    }
    check_common_name(role, &common_name)?;
    let common_name = match name_of(&common_name) {
        Some(name) => {
            let text = match &name {
                AltName::Dns(text) | AltName::Email(text) => text.clone(),
                _ => common_name,
            };
            if !ask.exclude_cn_from_sans {
                names.insert(0, name);
            }
            text
        }
        None => common_name,
    };
    let mut unique: Vec<AltName> = Vec::with_capacity(names.len());
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    if unique.len() > MAX_NAMES {
        return Err(PkiError::refused(format!(
            "more than {MAX_NAMES} alternative names in one certificate"
        )));
    }
    for name in &unique {
        check_name(role, name)?;
        if reserved.holds(name) {
            return Err(reserved_name(name));
        }
    }
    if reserved.holds_text(&common_name) {
        return Err(PkiError::refused(format!(
            "common name {common_name} is reserved for the zone and its head"
        )));
    }
    let subject = Subject {
        serial_number: serial_number(role, ask, requested)?,
        common_name,
        country: role.country.clone(),
        organization: role.organization.clone(),
        organizational_unit: role.ou.clone(),
        locality: role.locality.clone(),
        province: role.province.clone(),
        street_address: role.street_address.clone(),
        postal_code: role.postal_code.clone(),
    };
    if subject.is_empty() && unique.is_empty() {
        return Err(PkiError::refused(
            "a certificate needs a subject or an alternative name: give common_name or alt_names",
        ));
    }
    Ok(Plan {
        subject,
        names: unique,
    })
}

/// Bounds of a certificate's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// When it is asked for.
    pub(crate) now: Timestamp,
    /// Life if nobody says anything.
    pub(crate) default_ttl: Duration,
    /// Longest life if the role says nothing.
    pub(crate) max_ttl: Duration,
    /// First and last second of the issuer.
    pub(crate) issuer: (Timestamp, Timestamp),
    /// What happens beyond the issuer's end.
    pub(crate) beyond: LeafNotAfter,
}

/// Judges the life of a leaf.
pub(crate) fn life(role: &Role, ask: &IssueAsk, bounds: &Bounds) -> Result<Life, PkiError> {
    let mut warnings = Vec::new();
    let max = match role.max_ttl {
        0 => bounds.max_ttl,
        secs => Duration::from_secs(secs),
    };
    let now = Timestamp::from_secs(bounds.now.secs());
    let fixed = if ask.not_after.is_empty() {
        &role.not_after
    } else {
        &ask.not_after
    };
    let not_after = if fixed.is_empty() {
        let asked = ask.ttl.filter(|ttl| !ttl.is_zero());
        if asked.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            return Err(PkiError::field("ttl", "at least one second"));
        }
        let ttl = asked.unwrap_or(match role.ttl {
            0 => bounds.default_ttl.min(max),
            secs => Duration::from_secs(secs),
        });
        if ttl > max {
            warnings.push(format!(
                "TTL {} is longer than permitted maxTTL {}, so maxTTL is being used",
                zone_types::duration::format_go(ttl),
                zone_types::duration::format_go(max)
            ));
        }
        now.plus(ttl.min(max))
    } else {
        fixed_end(fixed, now, max)?
    };
    let not_after = within_issuer(not_after, bounds)?;
    let not_before = now.minus(role.backdate()).max(bounds.issuer.0);
    if not_before >= not_after {
        return Err(PkiError::refused(format!(
            "the certificate would end before its issuer begins to be valid at {not_before}"
        )));
    }
    Ok(Life {
        not_before,
        not_after,
        warnings,
    })
}

/// An end that somebody named is taken as it is or refused, never moved.
pub(crate) fn fixed_end(text: &str, now: Timestamp, max: Duration) -> Result<Timestamp, PkiError> {
    let end = Timestamp::parse_rfc3339(text)
        .ok_or_else(|| PkiError::field("not_after", "expected an RFC 3339 instant"))?;
    let end = Timestamp::from_secs(end.secs());
    if end <= now {
        return Err(PkiError::field(
            "not_after",
            format!("{end} is in the past"),
        ));
    }
    let last = now.plus(max);
    if end > last {
        return Err(PkiError::field(
            "not_after",
            format!("{end} is beyond the longest life that is allowed, which ends at {last}"),
        ));
    }
    Ok(end)
}

/// C1: a leaf ends with its issuer at the latest.
fn within_issuer(not_after: Timestamp, bounds: &Bounds) -> Result<Timestamp, PkiError> {
    let end = bounds.issuer.1;
    if end <= bounds.now {
        return Err(PkiError::refused(format!(
            "the issuing CA expired at {end}"
        )));
    }
    if not_after <= end {
        return Ok(not_after);
    }
    match bounds.beyond {
        LeafNotAfter::Truncate => Ok(end),
        LeafNotAfter::Err => Err(PkiError::refused(format!(
            "cannot satisfy request, as TTL would result in notAfter of {not_after} that is beyond \
             the expiration of the CA certificate at {end}"
        ))),
    }
}

fn common_name(
    role: &Role,
    ask: &IssueAsk,
    requested: Option<&Requested>,
) -> Result<String, PkiError> {
    let mut name = match requested {
        Some(requested) if role.use_csr_common_name => requested.subject.common_name.clone(),
        _ => String::new(),
    };
    if name.is_empty() {
        name = ask.common_name.clone();
    }
    if name.is_empty() && role.require_cn {
        return Err(PkiError::refused(
            "the common_name field is required, or must be provided in a CSR with \
             \"use_csr_common_name\" set to true, unless \"require_cn\" is set to false",
        ));
    }
    if !is_plain_text(&name) {
        return Err(PkiError::field(
            "common_name",
            "has control, bidirectional or invisible characters, or blanks at an end",
        ));
    }
    if name.chars().count() > 64 {
        return Err(PkiError::field(
            "common_name",
            "at most 64 characters; a longer name can stand in alt_names alone",
        ));
    }
    Ok(name)
}

fn serial_number(
    role: &Role,
    ask: &IssueAsk,
    requested: Option<&Requested>,
) -> Result<String, PkiError> {
    let from_csr = requested
        .map(|r| r.subject.serial_number.as_str())
        .filter(|s| !s.is_empty());
    let number = from_csr.unwrap_or(&ask.serial_number);
    if number.is_empty() {
        return Ok(String::new());
    }
    if !role
        .allowed_serial_numbers
        .iter()
        .any(|pattern| glob(pattern, number))
    {
        return Err(PkiError::field("serial_number", "not allowed by this role"));
    }
    if number.len() > 64 || !number.is_ascii() || !is_plain_text(number) {
        return Err(PkiError::field(
            "serial_number",
            "expected at most 64 ASCII characters",
        ));
    }
    Ok(number.to_owned())
}

/// The alternative names out of the request's fields.
pub(crate) fn asked_names(ask: &IssueAsk) -> Result<Vec<AltName>, PkiError> {
    let total = ask.alt_names.len() + ask.ip_sans.len() + ask.uri_sans.len() + ask.other_sans.len();
    if total > 4 * MAX_NAMES {
        return Err(PkiError::refused(format!(
            "more than {MAX_NAMES} alternative names in one certificate"
        )));
    }
    let mut names = Vec::with_capacity(total + 1);
    for text in &ask.alt_names {
        let name = name_of(text).ok_or_else(|| {
            PkiError::field(
                "alt_names",
                "expected host names (in ASCII; international names as A-labels, xn--…) and mailboxes",
            )
        })?;
        names.push(name);
    }
    for text in &ask.ip_sans {
        let address: IpAddr = text
            .parse()
            .map_err(|_| PkiError::field("ip_sans", "expected IP addresses"))?;
        names.push(AltName::Ip(address));
    }
    for text in &ask.uri_sans {
        if !is_uri(text) {
            return Err(PkiError::field(
                "uri_sans",
                "expected absolute URIs in ASCII",
            ));
        }
        names.push(AltName::Uri(text.clone()));
    }
    for text in &ask.other_sans {
        let name = AltName::parse_other(text)
            .ok_or_else(|| PkiError::field("other_sans", "expected <oid>;UTF8:<text>"))?;
        names.push(canonical(&name)?);
    }
    Ok(names)
}

/// A host name or mailbox in its canonical form.
pub(crate) fn name_of(text: &str) -> Option<AltName> {
    if let Some((local, host)) = text.rsplit_once('@') {
        let mailbox = format!("{local}@{}", dns_name(host)?);
        return is_email(&mailbox).then_some(AltName::Email(mailbox));
    }
    dns_name(text).map(AltName::Dns)
}

fn canonical_all(names: &[AltName]) -> Result<Vec<AltName>, PkiError> {
    if names.len() > MAX_NAMES {
        return Err(PkiError::field(
            "csr",
            format!("asks for more than {MAX_NAMES} alternative names"),
        ));
    }
    names.iter().map(canonical).collect()
}

fn canonical(name: &AltName) -> Result<AltName, PkiError> {
    let canonical = match name {
        AltName::Dns(text) if !text.contains('@') => name_of(text),
        AltName::Email(text) if text.contains('@') => name_of(text),
        AltName::Ip(address) => Some(AltName::Ip(*address)),
        AltName::Uri(uri) => is_uri(uri).then(|| name.clone()),
        AltName::Other { value, .. } => {
            (is_plain_text(value) && value.len() <= 1024).then(|| name.clone())
        }
        AltName::Dns(_) | AltName::Email(_) => None,
    };
    canonical.ok_or_else(|| {
        PkiError::field(
            "csr",
            "an alternative name is not one that can stand in a certificate",
        )
    })
}

fn check_common_name(role: &Role, name: &str) -> Result<(), PkiError> {
    if name.is_empty() || role.cn_validations.iter().any(|v| v == "disabled") {
        return Ok(());
    }
    let refused = || {
        Err(PkiError::refused(format!(
            "common name {name} not allowed by this role"
        )))
    };
    let is_email = name.contains('@');
    let kind = if is_email { "email" } else { "hostname" };
    if !role.cn_validations.iter().any(|v| v == kind) {
        return refused();
    }
    match name_of(name) {
        Some(AltName::Dns(host)) if allows_host(role, &host, None) => Ok(()),
        Some(AltName::Email(mailbox)) if allows_mailbox(role, &mailbox) => Ok(()),
        // Not a name of any kind: free text, which only a role without enforce_hostnames takes.
        None if !role.enforce_hostnames && allows_text(role, name) => Ok(()),
        _ => refused(),
    }
}

fn check_name(role: &Role, name: &AltName) -> Result<(), PkiError> {
    let refused = |text: &str| {
        Err(PkiError::refused(format!(
            "subject alternate name {text} not allowed by this role"
        )))
    };
    match name {
        AltName::Dns(host) if allows_host(role, host, None) => Ok(()),
        AltName::Dns(host) => refused(host),
        AltName::Email(mailbox) if allows_mailbox(role, mailbox) => Ok(()),
        AltName::Email(mailbox) => refused(mailbox),
        AltName::Ip(_) if role.allow_ip_sans => Ok(()),
        AltName::Ip(address) => Err(PkiError::refused(format!(
            "IP Subject Alternative Names are not allowed in this role, but was provided {address}"
        ))),
        AltName::Uri(_) if role.allowed_uri_sans.is_empty() => Err(PkiError::refused(
            "URI Subject Alternative Names are not allowed in this role, but were provided",
        )),
        AltName::Uri(uri) => {
            if role
                .allowed_uri_sans
                .iter()
                .any(|pattern| glob(pattern, uri))
            {
                Ok(())
            } else {
                Err(PkiError::refused(
                    "URI Subject Alternative Names were provided which are not allowed for this role",
                ))
            }
        }
        AltName::Other { oid, value } => {
            let allowed = role.allowed_other_sans.iter().any(|pattern| {
                pattern == "*"
                    || matches!(AltName::parse_other(pattern),
                        Some(AltName::Other { oid: o, value: v }) if o == *oid && glob(&v, value))
            });
            if allowed {
                Ok(())
            } else {
                Err(PkiError::refused(format!(
                    "other SAN {oid} not allowed by this role"
                )))
            }
        }
    }
}

fn allows_mailbox(role: &Role, mailbox: &str) -> bool {
    let host = mailbox.rsplit_once('@').map_or("", |(_, host)| host);
    !host.starts_with("*.") && allows_host(role, host, Some(mailbox))
}

/// Whether the role allows a canonical host name; `mailbox` is the mailbox that it came from.
fn allows_host(role: &Role, host: &str, mailbox: Option<&str>) -> bool {
    let (base, is_wildcard) = match host.strip_prefix("*.") {
        Some(base) => (base, true),
        None => (host, false),
    };
    if is_wildcard && !role.allow_wildcard_certificates {
        return false;
    }
    if role.allow_any_name {
        return true;
    }
    if role.allow_localhost {
        for local in ["localhost", "localdomain"] {
            if (base == local && (!is_wildcard || role.allow_subdomains))
                || (role.allow_subdomains && is_below(base, local))
            {
                return true;
            }
        }
    }
    let name = mailbox.unwrap_or(host);
    role.allowed_domains.iter().any(|domain| {
        let bare = name.eq_ignore_ascii_case(domain)
            || (mailbox.is_some() && host.eq_ignore_ascii_case(domain));
        (role.allow_bare_domains && bare)
            || (role.allow_subdomains
                && (is_below(base, domain) || (is_wildcard && base.eq_ignore_ascii_case(domain))))
            || (role.allow_glob_domains
                && domain.contains('*')
                && glob(domain, &name.to_ascii_lowercase()))
    })
}

/// Free text as a common name.
fn allows_text(role: &Role, text: &str) -> bool {
    role.allow_any_name
        || role.allowed_domains.iter().any(|domain| {
            (role.allow_bare_domains && text.eq_ignore_ascii_case(domain))
                || (role.allow_glob_domains
                    && domain.contains('*')
                    && glob(domain, &text.to_ascii_lowercase()))
        })
}

fn is_below(host: &str, domain: &str) -> bool {
    host.len() > domain.len()
        && host.ends_with(domain)
        && host.as_bytes()[host.len() - domain.len() - 1] == b'.'
}

fn reserved_name(name: &AltName) -> PkiError {
    PkiError::refused(format!(
        "subject alternate name {name} is reserved for the zone and its head"
    ))
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
