//! Token roles: what tokens that are made at `auth/token/create/ROLE` are like.
//!
//! A role with a list of allowed policies gives them to whoever may use it. So writing a role is
//! granting: without sudo nobody writes one that gives what he lacks (attack 8).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zone_barrier::{BarrierError, Batch};
use zone_policy::{Acl, Policy};
use zone_ports::{Key, KeyRange};
use zone_types::Cidr;

use super::create::CreateToken;
use super::life::TRIES;
use super::{TokenKind, TokenRecord};
use crate::permit::Permit;
use crate::policies::{assignable, policy_name};
use crate::record::{V1, decode};
use crate::{Access, AccessError, OpenState};

/// Longest role name and path suffix in bytes.
const LONGEST_NAME: usize = 128;
/// Largest record of a role in bytes.
const LARGEST: usize = 16 * 1024;

/// Which kinds of tokens a role makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleKind {
    /// Service tokens, unless a batch token is asked for.
    #[default]
    DefaultService,
    /// Batch tokens, unless a service token is asked for.
    DefaultBatch,
    /// Service tokens, whatever is asked for.
    Service,
    /// Batch tokens, whatever is asked for.
    Batch,
}

impl RoleKind {
    /// Reads Vault's word; empty for the default.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" | "default" | "default-service" => Self::DefaultService,
            "default-batch" => Self::DefaultBatch,
            "service" => Self::Service,
            "batch" => Self::Batch,
            _ => return None,
        })
    }

    /// Vault's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }

    /// The kind of a token for which `asked` was asked.
    pub const fn of(self, asked: Option<TokenKind>) -> TokenKind {
        match (self, asked) {
            (Self::Service, _) | (Self::DefaultService, None) => TokenKind::Service,
            (Self::Batch, _) | (Self::DefaultBatch, None) => TokenKind::Batch,
            (_, Some(kind)) => kind,
        }
    }
}

/// A role as it is stored. Spans in seconds; zero means not given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRole {
    v: V1,
    /// Its name, trimmed and lower-cased.
    pub name: String,
    /// Policies that its tokens can have, whoever makes them; all of them if none is asked for.
    pub allowed_policies: Vec<String>,
    /// Patterns of further ones; `*` stands for any text.
    pub allowed_policies_glob: Vec<String>,
    /// Policies that its tokens never have.
    pub disallowed_policies: Vec<String>,
    /// Patterns of further ones.
    pub disallowed_policies_glob: Vec<String>,
    /// Its tokens have no parent.
    pub orphan: bool,
    /// Its tokens can be renewed, if their makers want it.
    pub renewable: bool,
    /// Stands behind the path of its tokens.
    pub path_suffix: String,
    /// Makes its tokens periodic.
    pub period: u64,
    /// Longest life of its tokens, renewals included.
    pub explicit_max_ttl: u64,
    /// Uses of its tokens; zero for unlimited.
    pub num_uses: u64,
    /// Its tokens lack `default`.
    pub no_default_policy: bool,
    /// Addresses from which its tokens can be used; empty for those of their makers.
    pub bound_cidrs: Vec<String>,
    /// Which kinds of tokens it makes.
    pub token_type: RoleKind,
    /// Names of aliases, or patterns, that its tokens can be given to.
    pub allowed_entity_aliases: Vec<String>,
}

/// What is to change in a role; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct RoleChange {
    /// See [`TokenRole::allowed_policies`].
    pub allowed_policies: Option<Vec<String>>,
    /// See [`TokenRole::allowed_policies_glob`].
    pub allowed_policies_glob: Option<Vec<String>>,
    /// See [`TokenRole::disallowed_policies`].
    pub disallowed_policies: Option<Vec<String>>,
    /// See [`TokenRole::disallowed_policies_glob`].
    pub disallowed_policies_glob: Option<Vec<String>>,
    /// See [`TokenRole::orphan`].
    pub orphan: Option<bool>,
    /// See [`TokenRole::renewable`].
    pub renewable: Option<bool>,
    /// See [`TokenRole::path_suffix`].
    pub path_suffix: Option<String>,
    /// See [`TokenRole::period`].
    pub period: Option<u64>,
    /// See [`TokenRole::explicit_max_ttl`].
    pub explicit_max_ttl: Option<u64>,
    /// See [`TokenRole::num_uses`].
    pub num_uses: Option<u64>,
    /// See [`TokenRole::no_default_policy`].
    pub no_default_policy: Option<bool>,
    /// See [`TokenRole::bound_cidrs`].
    pub bound_cidrs: Option<Vec<String>>,
    /// See [`TokenRole::token_type`].
    pub token_type: Option<RoleKind>,
    /// See [`TokenRole::allowed_entity_aliases`].
    pub allowed_entity_aliases: Option<Vec<String>>,
}

impl TokenRole {
    fn new(name: String) -> Self {
        Self {
            v: V1,
            name,
            allowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            period: 0,
            explicit_max_ttl: 0,
            num_uses: 0,
            no_default_policy: false,
            bound_cidrs: Vec::new(),
            token_type: RoleKind::default(),
            allowed_entity_aliases: Vec::new(),
        }
    }

    /// What is left of a wish under this role.
    pub(super) fn shape(&self, ask: &mut CreateToken) {
        ask.no_parent |= self.orphan;
        ask.no_default_policy |= self.no_default_policy || self.refuses("default");
        ask.renewable &= self.renewable;
        ask.num_uses = lower(ask.num_uses, self.num_uses);
        ask.explicit_max_ttl = lower(ask.explicit_max_ttl, self.explicit_max_ttl);
        ask.period = lower(ask.period, self.period);
    }

    /// What is left of a token's own terms when it is renewed: the role says it anew each time.
    pub(super) fn renew(&self, record: &mut TokenRecord) {
        record.period = self.period;
        record.explicit_max_ttl = lower(record.explicit_max_ttl, self.explicit_max_ttl);
    }

    /// Whether its tokens can have policies that their makers lack.
    pub(super) fn gives_policies(&self) -> bool {
        !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty()
    }

    /// The policies of a token of a role that gives some, before `default` is added.
    pub(super) fn given_policies(&self, asked: &[String]) -> Result<Vec<String>, AccessError> {
        if asked.is_empty() {
            return Ok(self.allowed_policies.clone());
        }
        let allowed = |policy: &String| {
            policy == "default"
                || self.allowed_policies.contains(policy)
                || matches_one(&self.allowed_policies_glob, policy)
        };
        match asked.iter().all(allowed) {
            true => Ok(asked.to_vec()),
            false => Err(AccessError::invalid(
                "token policies must be subset of the role's allowed policies or glob policies",
            )),
        }
    }

    /// Refuses policies that its tokens never have.
    pub(super) fn refuse_policies(&self, policies: &[String]) -> Result<(), AccessError> {
        match policies.iter().any(|policy| self.refuses(policy)) {
            true => Err(AccessError::invalid(
                "a token policy is disallowed by this role",
            )),
            false => Ok(()),
        }
    }

    fn refuses(&self, policy: &str) -> bool {
        self.disallowed_policies.iter().any(|name| name == policy)
            || matches_one(&self.disallowed_policies_glob, policy)
    }

    fn apply(&mut self, change: &RoleChange) -> Result<(), AccessError> {
        let given = |text: &str| Ok(assignable(text)?.to_string());
        let kept = |text: &str| Ok(policy_name(text)?.to_string());
        let alias = |text: &str| Ok(text.to_owned());
        for (list, change, read) in [
            (
                &mut self.allowed_policies,
                &change.allowed_policies,
                given as fn(&str) -> Result<String, AccessError>,
            ),
            (
                &mut self.disallowed_policies,
                &change.disallowed_policies,
                kept,
            ),
            (
                &mut self.allowed_policies_glob,
                &change.allowed_policies_glob,
                glob,
            ),
            (
                &mut self.disallowed_policies_glob,
                &change.disallowed_policies_glob,
                glob,
            ),
            (&mut self.bound_cidrs, &change.bound_cidrs, cidr),
            (
                &mut self.allowed_entity_aliases,
                &change.allowed_entity_aliases,
                alias,
            ),
        ] {
            if let Some(change) = change {
                *list = each(change, read)?;
            }
        }
        self.apply_terms(change)?;
        self.check()
    }

    /// Whether its tokens can be given to an alias of that name, byte for byte.
    pub(super) fn allows_alias(&self, name: &str) -> bool {
        matches_one(&self.allowed_entity_aliases, name)
    }

    fn apply_terms(&mut self, change: &RoleChange) -> Result<(), AccessError> {
        if let Some(suffix) = &change.path_suffix {
            self.path_suffix = path_suffix(suffix)?;
        }
        set(&mut self.orphan, change.orphan);
        set(&mut self.renewable, change.renewable);
        set(&mut self.period, change.period);
        set(&mut self.explicit_max_ttl, change.explicit_max_ttl);
        set(&mut self.num_uses, change.num_uses);
        set(&mut self.no_default_policy, change.no_default_policy);
        set(&mut self.token_type, change.token_type);
        Ok(())
    }

    /// As in Vault: what a batch token cannot be, a role for nothing else does not ask for.
    fn check(&self) -> Result<(), AccessError> {
        if serde_json::to_vec(self)?.len() > LARGEST {
            return Err(AccessError::invalid("a token role has at most 16 KiB"));
        }
        if self.token_type != RoleKind::Batch {
            return Ok(());
        }
        let unfit = [
            (!self.orphan, "non-orphan tokens"),
            (self.period > 0, "periodic tokens"),
            (self.renewable, "renewable tokens"),
            (self.explicit_max_ttl > 0, "tokens with an explicit max TTL"),
            (self.num_uses > 0, "tokens with limited use count"),
        ];
        match unfit.iter().find(|(unfit, _)| *unfit) {
            Some((_, what)) => Err(AccessError::invalid(format!(
                "'token_type' cannot be 'batch' when role is set to generate {what}"
            ))),
            None => Ok(()),
        }
    }
}

impl Access {
    /// The names of all token roles.
    pub async fn token_roles(&self, _permit: &Permit) -> Result<Vec<String>, AccessError> {
        let prefix = self.state()?.tokens.mount.prefix("role");
        let mut range = KeyRange::prefix(prefix.clone());
        let mut names = Vec::new();
        loop {
            let page = self.barrier.scan_keys(&range, 1000).await?;
            let Some(last) = page.last() else {
                return Ok(names);
            };
            range = range.after(last);
            for key in &page {
                let name = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
                names.push(name.map_err(|_| AccessError::Corrupt)?.to_owned());
            }
        }
    }

    /// One token role.
    pub async fn token_role(
        &self,
        _permit: &Permit,
        name: &str,
    ) -> Result<Option<TokenRole>, AccessError> {
        self.stored_role(&*self.state()?, &role_name(name)?).await
    }

    /// Makes or changes a token role. Without sudo only one that gives no more than the caller
    /// holds, whatever it gave before.
    pub async fn write_token_role(
        &self,
        permit: &Permit,
        name: &str,
        change: &RoleChange,
    ) -> Result<(), AccessError> {
        let state = self.state()?;
        let name = role_name(name)?;
        let key = role_key(&state, &name)?;
        for _ in 0..TRIES {
            let plain = self.barrier.get(&key).await?;
            let revision = plain.as_ref().map(|plain| plain.revision);
            let mut role = match &plain {
                Some(plain) => decode(plain)?,
                None => TokenRole::new(name.clone()),
            };
            role.apply(change)?;
            self.refuse_giving(permit, &role).await?;
            let batch = Batch::new()
                .require(key.clone(), revision)
                .put(key.clone(), serde_json::to_vec(&role)?);
            match self.barrier.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(BarrierError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    /// Removes a token role; its tokens can no longer be renewed. None of that name: no error, as
    /// in Vault.
    pub async fn delete_token_role(&self, _permit: &Permit, name: &str) -> Result<(), AccessError> {
        let key = role_key(&*self.state()?, &role_name(name)?)?;
        self.barrier.commit(Batch::new().delete(key)).await?;
        Ok(())
    }

    /// The role that the permit's path names, `None` if it names none.
    pub(super) async fn role_behind(
        &self,
        state: &Arc<OpenState>,
        permit: &Permit,
    ) -> Result<Option<TokenRole>, AccessError> {
        let Some(name) = permit.rest().strip_prefix("create/") else {
            return Ok(None);
        };
        match self.stored_role(state, &role_name(name)?).await? {
            Some(role) => Ok(Some(role)),
            None => Err(AccessError::invalid("unknown role")),
        }
    }

    pub(super) async fn stored_role(
        &self,
        state: &OpenState,
        name: &str,
    ) -> Result<Option<TokenRole>, AccessError> {
        match self.barrier.get(&role_key(state, name)?).await? {
            Some(plain) => Ok(Some(decode(&plain)?)),
            None => Ok(None),
        }
    }

    /// Refuses a role through which somebody would get what the permit's caller lacks, unless he
    /// has sudo.
    async fn refuse_giving(&self, permit: &Permit, role: &TokenRole) -> Result<(), AccessError> {
        if permit.sudo {
            return Ok(());
        }
        let none = AccessError::Denied("no token");
        let (Some(caller), Some(own)) = (permit.token(), permit.acl()) else {
            return Err(none);
        };
        refuse_privileged(role, &caller.record)?;
        if !role.gives_policies() {
            return Ok(());
        }
        let mut names = role.allowed_policies.clone();
        if !role.no_default_policy && !role.refuses("default") {
            names.push("default".into());
        }
        let held = |name| caller.record.policies.contains(name);
        // A policy that he holds beside one that denies is more than what he holds. But what
        // `default` fills in for each is for each to have.
        let default = policy_name("default")?;
        let texts: Vec<&str> = names.iter().map(String::as_str).collect();
        let state = self.state()?;
        let policies = self.parsed_policies(&state, &texts, Some(&default)).await?;
        let covered = |policy: &Arc<Policy>| own.covers(&Acl::widest(std::iter::once(&**policy)));
        match names.iter().all(held) && policies.iter().all(covered) {
            true => Ok(()),
            false => Err(AccessError::Denied(
                "the role gives policies that you do not hold; that needs sudo on this path",
            )),
        }
    }
}

/// What takes sudo for whoever makes a token himself takes it here too.
fn refuse_privileged(role: &TokenRole, caller: &TokenRecord) -> Result<(), AccessError> {
    if role.orphan || role.period > 0 {
        return Err(AccessError::Denied(
            "a role for orphan or periodic tokens needs sudo on this path",
        ));
    }
    if !role.allowed_policies_glob.is_empty() || !role.allowed_entity_aliases.is_empty() {
        return Err(AccessError::Denied(
            "a role with allowed_policies_glob or allowed_entity_aliases needs sudo on this path",
        ));
    }
    let parsed = |list: &[String]| -> Vec<Cidr> {
        list.iter().filter_map(|text| Cidr::parse(text)).collect()
    };
    let (held, given) = (parsed(&caller.bound_cidrs), parsed(&role.bound_cidrs));
    let within = |cidr: &Cidr| held.iter().any(|mine| mine.contains(cidr));
    if held.is_empty() || (!given.is_empty() && given.iter().all(within)) {
        return Ok(());
    }
    Err(AccessError::Denied(
        "token_bound_cidrs must lie within those of your token; else it needs sudo on this path",
    ))
}

/// A role name in its one spelling: trimmed, lower-cased.
pub fn role_name(text: &str) -> Result<String, AccessError> {
    let name = text.trim().to_lowercase();
    match is_word(&name) {
        true => Ok(name),
        false => Err(AccessError::invalid(
            "a token role's name has 1 to 128 letters, digits and '_', inside also '-' and '.'",
        )),
    }
}

fn path_suffix(text: &str) -> Result<String, AccessError> {
    match text.is_empty() || is_word(text) {
        true => Ok(text.to_owned()),
        false => Err(AccessError::invalid(
            "path_suffix: letters, digits and '_', inside also '-' and '.'",
        )),
    }
}

fn is_word(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let inside = |byte: u8| word(byte) || matches!(byte, b'-' | b'.');
    let bytes = text.as_bytes();
    text.len() <= LONGEST_NAME
        && bytes.first().copied().is_some_and(word)
        && bytes.last().copied().is_some_and(word)
        && text.bytes().all(inside)
}

/// A pattern of policy names in their one spelling.
fn glob(text: &str) -> Result<String, AccessError> {
    let text = text.trim().to_lowercase();
    policy_name(&text.replace('*', "x"))?;
    Ok(text)
}

fn cidr(text: &str) -> Result<String, AccessError> {
    match Cidr::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(AccessError::invalid(
            "token_bound_cidrs: give addresses or CIDR blocks, IPv4 in plain form",
        )),
    }
}

fn matches_one(globs: &[String], name: &str) -> bool {
    globs.iter().any(|glob| matches_glob(glob, name))
}

/// Whether `name` is `glob` with each `*` in it replaced by some text.
fn matches_glob(glob: &str, name: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The lower of two bounds of which zero is none.
fn lower(one: u64, other: u64) -> u64 {
    match (one, other) {
        (0, bound) | (bound, 0) => bound,
        _ => one.min(other),
    }
}

fn set<T: Copy>(field: &mut T, given: Option<T>) {
    *field = given.unwrap_or(*field);
}

/// Each text as `read` makes it, without duplicates.
fn each(
    list: &[String],
    read: impl Fn(&str) -> Result<String, AccessError>,
) -> Result<Vec<String>, AccessError> {
    let mut texts: Vec<String> = list
        .iter()
        .map(|text| read(text))
        .collect::<Result<_, _>>()?;
    texts.sort();
    texts.dedup();
    Ok(texts)
}

fn role_key(state: &OpenState, name: &str) -> Result<Key, AccessError> {
    Ok(state.tokens.mount.key("role", name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_matches_as_vault_has_it() {
        for (glob, name, want) in [
            ("app", "app", true),
            ("app", "apps", false),
            ("*", "", true),
            ("*", "app", true),
            ("app-*", "app-", true),
            ("app-*", "app", false),
            ("*-prod", "a-prod", true),
            ("*-prod", "a-prod-x", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*a*", "xa", false),
        ] {
            assert_eq!(matches_glob(glob, name), want, "{glob} {name}");
        }
    }

    #[test]
    fn names_have_one_spelling() {
        for (text, want) in [
            (" CI ", Some("ci")),
            ("a-b.c_d", Some("a-b.c_d")),
            ("a", Some("a")),
            ("", None),
            ("-a", None),
            ("a.", None),
            ("a/b", None),
            ("a*", None),
            ("ä", None),
        ] {
            assert_eq!(role_name(text).ok().as_deref(), want, "{text}");
        }
        assert!(role_name(&"a".repeat(129)).is_err());
    }
}
