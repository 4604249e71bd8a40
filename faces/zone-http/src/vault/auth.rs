//! What the auth methods have in common at the face: the `token_…` fields, faults, spellings.

use serde_json::{Value, json};
use zone_access::{AccessError, TokenChoice};
use zone_auth::{AuthError, TokenChange, TokenParams};
use zone_types::{Cidr, RequestPath};

use super::exchange::{Fault, chain};
use super::fields::Fields;
use super::sys::access_fault;
use crate::Zone;

/// A path below an auth method with the name in it in its one spelling, before anybody judges it
/// (A3).
pub(super) fn canonical(zone: &Zone, path: &RequestPath) -> Option<RequestPath> {
    let text = path.as_str();
    let mount = zone.system.access().mount_of(text).ok()??;
    let place = mount.path.as_str();
    let rest = zone_auth::canonical(mount.kind, &text[place.len()..])?;
    RequestPath::from_text(&format!("{place}{rest}")).ok()
}

/// Reads the `token_…` fields. `older` are the names that each had before, by the name since.
pub(super) fn token_change(
    fields: &Fields<'_>,
    older: &[(&str, &'static str)],
) -> Result<TokenChange, Fault> {
    let name = |name: &'static str| {
        let old = older.iter().find(|(new, _)| *new == name);
        match old {
            Some((_, old)) if !fields.0.contains_key(name) => *old,
            _ => name,
        }
    };
    if fields.flag("token_strictly_bind_ip")?.unwrap_or(false) {
        let text = "field 'token_strictly_bind_ip': not supported; give token_bound_cidrs";
        return Err(Fault::bad_request(text));
    }
    Ok(TokenChange {
        policies: fields.list(name("token_policies"))?,
        ttl: fields.seconds(name("token_ttl"))?,
        max_ttl: fields.seconds(name("token_max_ttl"))?,
        explicit_max_ttl: fields.seconds("token_explicit_max_ttl")?,
        period: fields.seconds(name("token_period"))?,
        num_uses: count(fields, "token_num_uses")?,
        bound_cidrs: cidrs(fields, name("token_bound_cidrs"))?,
        no_default_policy: fields.flag("token_no_default_policy")?,
        token_type: token_type(fields)?,
    })
}

fn token_type(fields: &Fields<'_>) -> Result<Option<Option<TokenChoice>>, Fault> {
    Ok(match fields.text("token_type")?.as_deref() {
        None => None,
        Some("" | "default") => Some(None),
        Some(word) => Some(Some(TokenChoice::parse(word).ok_or_else(|| {
            Fault::bad_request(
                "field 'token_type': expected default, default-service, default-batch, service \
                 or batch",
            )
        })?)),
    })
}

/// A count that is not below zero.
pub(super) fn count(fields: &Fields<'_>, name: &str) -> Result<Option<u64>, Fault> {
    let below = |_| Fault::bad_request(format!("field '{name}': must not be negative"));
    let number = fields.number(name)?;
    number
        .map(|number| u64::try_from(number).map_err(below))
        .transpose()
}

/// Address blocks.
pub(super) fn cidrs(fields: &Fields<'_>, name: &str) -> Result<Option<Vec<Cidr>>, Fault> {
    let Some(texts) = fields.list(name)? else {
        return Ok(None);
    };
    let parse = |text: &String| {
        text.parse()
            .map_err(|fault| Fault::bad_request(format!("field '{name}': {fault}")))
    };
    texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

/// The `token_…` fields as Vault shows them.
pub(super) fn show_token(params: &TokenParams) -> Value {
    json!({
        "token_bound_cidrs": shown_cidrs(&params.bound_cidrs),
        "token_explicit_max_ttl": params.explicit_max_ttl,
        "token_max_ttl": params.max_ttl,
        "token_no_default_policy": params.no_default_policy,
        "token_num_uses": params.num_uses,
        "token_period": params.period,
        "token_policies": params.policies,
        "token_ttl": params.ttl,
        "token_type": params.token_type.map_or("default", TokenChoice::as_str),
    })
}

/// Blocks as Vault shows them: one address without its length.
fn shown_cidrs(cidrs: &[Cidr]) -> Vec<String> {
    let show = |cidr: &Cidr| {
        let text = cidr.to_string();
        let whole = if text.contains(':') { "/128" } else { "/32" };
        text.strip_suffix(whole).unwrap_or(&text).to_owned()
    };
    cidrs.iter().map(show).collect()
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::NotFound => Self::not_found(),
            AuthError::Credentials(text) | AuthError::Missing(text) => Self::bad_request(text),
            AuthError::Invalid(text) => Self::bad_request(text),
            AuthError::Overloaded => Self::new(429, error.to_string()),
            AuthError::Busy => Self::new(409, error.to_string()),
            AuthError::Access(AccessError::Corrupt) | AuthError::Corrupt => {
                Self::internal(chain(&error))
            }
            AuthError::Access(error) => access_fault(&error),
            error => Self::internal(chain(&error)),
        }
    }
}
