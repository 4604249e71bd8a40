//! What a caller may give to a token that it makes.

use zone_types::Cidr;

use super::create::CreateToken;
use super::{TokenRecord, TokenRole};
use crate::AccessError;
use crate::permit::Permit;
use crate::policies::assignable;

/// What takes sudo on the endpoint, as in Vault.
pub(super) fn refuse_privileged(ask: &CreateToken, permit: &Permit) -> Result<(), AccessError> {
    if ask.id.is_some() {
        return Err(AccessError::Denied(
            "a custom token id needs sudo on this path",
        ));
    }
    if ask.no_parent && permit.rest() != "create-orphan" {
        return Err(AccessError::Denied(
            "an orphan token needs sudo on this path",
        ));
    }
    if ask.period > 0 {
        return Err(AccessError::Denied(
            "a periodic token needs sudo on this path",
        ));
    }
    Ok(())
}

/// The policies of the new token: normalised, sorted; nobody grants what he lacks without sudo,
/// and only root grants root (attack 8).
pub(super) fn granted_policies(
    ask: &CreateToken,
    caller: &TokenRecord,
    role: Option<&TokenRole>,
    sudo: bool,
) -> Result<Vec<String>, AccessError> {
    let giving = role.filter(|role| role.gives_policies());
    let mut policies = chosen_policies(ask, caller, role)?;
    if policies.iter().any(|policy| policy == "root") {
        if !caller.is_root() {
            return Err(AccessError::invalid(
                "root tokens may not be created without parent token being root",
            ));
        }
        return Ok(vec!["root".into()]);
    }
    let lacks = |policy| !caller.policies.contains(policy);
    if giving.is_none() && !sudo && policies.iter().any(lacks) {
        return Err(AccessError::invalid(
            "child policies must be subset of parent",
        ));
    }
    let default = "default".to_owned();
    if !ask.no_default_policy && (giving.is_some() || sudo || caller.policies.contains(&default)) {
        policies.push(default);
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// The policies that are asked for, else the role's, else the caller's.
fn chosen_policies(
    ask: &CreateToken,
    caller: &TokenRecord,
    role: Option<&TokenRole>,
) -> Result<Vec<String>, AccessError> {
    let mut asked = Vec::new();
    for text in &ask.policies {
        asked.push(assignable(text)?.as_str().to_owned());
    }
    if let Some(role) = role {
        role.refuse_policies(&asked)?;
    }
    let mut policies = match role.filter(|role| role.gives_policies()) {
        Some(role) => role.given_policies(&asked)?,
        None if asked.is_empty() => caller.policies.clone(),
        None => asked,
    };
    if ask.no_default_policy {
        policies.retain(|policy| policy != "default");
    }
    if let Some(role) = role {
        role.refuse_policies(&policies)?;
    }
    Ok(policies)
}

/// The addresses of the new token: those asked for, else the role's, else the caller's. None that
/// is not of the role, or without sudo none from which the caller itself could not come.
pub(super) fn granted_cidrs(
    ask: &CreateToken,
    caller: &TokenRecord,
    role: Option<&TokenRole>,
    sudo: bool,
) -> Result<Vec<String>, AccessError> {
    let mut asked = Vec::new();
    for text in &ask.bound_cidrs {
        asked.push(Cidr::parse(text).ok_or_else(|| {
            AccessError::invalid("bound_cidrs: give addresses or CIDR blocks, IPv4 in plain form")
        })?);
    }
    let by_role = role.filter(|role| !role.bound_cidrs.is_empty());
    let held = by_role.map_or(&caller.bound_cidrs, |role| &role.bound_cidrs);
    if held.is_empty() || (sudo && by_role.is_none()) {
        return Ok(ask.bound_cidrs.clone());
    }
    if asked.is_empty() {
        return Ok(held.clone());
    }
    let held: Vec<Cidr> = held.iter().filter_map(|text| Cidr::parse(text)).collect();
    if asked
        .iter()
        .all(|cidr| held.iter().any(|mine| mine.contains(cidr)))
    {
        return Ok(ask.bound_cidrs.clone());
    }
    Err(AccessError::invalid(
        "bound_cidrs must lie within those of the parent, or of the role",
    ))
}
