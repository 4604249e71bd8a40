//! Logging in: an auth method has judged who it is, and a token comes of it.
//!
//! The token and whatever the method changes at that moment (a use of a secret id) are one batch
//! (S1): a login that was answered used up what it used up, and one that was not did not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zone_barrier::{BarrierError, Batch};
use zone_types::Cidr;

use super::create::{check_size, creation_batch, or};
use super::{Created, TokenEntry, TokenKind, TokenRecord};
use crate::identity::Recognised;
use crate::permit::Permit;
use crate::policies::policy_name;
use crate::record::V1;
use crate::{Access, AccessError, MountKind, OpenState};

/// By what name an auth method knows somebody. Exactly these bytes: `Ann` and `ann` are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasName {
    /// The name.
    pub name: String,
    /// What the method says about the alias.
    pub metadata: BTreeMap<String, String>,
}

/// What an auth method gives to whoever logged in. Spans in seconds; zero means not given.
#[derive(Clone, Debug, Default)]
pub struct LoginGrant {
    /// Policies, in any spelling; never `root`.
    pub policies: Vec<String>,
    /// Leaves out `default`.
    pub no_default_policy: bool,
    /// Whose login it is.
    pub alias: Option<AliasName>,
    /// Shown in audit lines.
    pub display_name: String,
    /// Free metadata of the token.
    pub meta: Option<BTreeMap<String, String>>,
    /// Time to live; the mount's default if not given.
    pub ttl: u64,
    /// No renewal goes beyond it; the mount's maximum bounds it.
    pub max_ttl: u64,
    /// Makes the token periodic.
    pub period: u64,
    /// A bound that not even a periodic token passes.
    pub explicit_max_ttl: u64,
    /// Uses; zero for unlimited.
    pub num_uses: u64,
    /// Addresses from which the token can be used; empty for all.
    pub bound_cidrs: Vec<Cidr>,
    /// How the token is kept.
    pub kind: TokenKind,
    /// The method's role.
    pub role: Option<String>,
}

impl Access {
    /// Makes the token of a login, and if nobody was known by that name his entity, and applies
    /// `with` in the same batch. `None` if a condition of `with` does not hold any more, or
    /// somebody else made or changed the entity, and nothing was done: judge again.
    ///
    /// # Errors
    ///
    /// [`AccessError::Denied`] unless the permit is for an auth method's mount.
    /// [`AccessError::Invalid`] names what the role asks for and cannot have.
    /// [`AccessError::QuotaExceeded`] if as many tokens of the method live as may.
    pub async fn log_in(
        &self,
        permit: &Permit,
        grant: &LoginGrant,
        with: Batch,
    ) -> Result<Option<Created>, AccessError> {
        let kind = permit.mount().kind;
        if !kind.is_auth() || kind == MountKind::Token {
            return Err(AccessError::Denied("nobody logs in there"));
        }
        let state = self.state()?;
        let mut record = record_of(permit, grant)?;
        let (known, with) = match &grant.alias {
            Some(alias) => {
                let mount = permit.mount();
                let at = (&mount.namespace, &*mount.accessor);
                let found = self.recognise(&state, with, at, alias, permit.now());
                let (known, with) = found.await?;
                record.entity = Some(known.entity.clone());
                (Some(known), with)
            }
            None => (None, with),
        };
        if grant.kind == TokenKind::Batch {
            // Nothing of it is stored, so no quota counts it.
            return self.batch_login(&state, record, with, known).await;
        }
        let _place = state.quotas.reserve(permit.mount(), permit.rest())?;
        let (text, accessor) = self.drawn_token();
        record.accessor = accessor;
        check_size(&record)?;
        let id = state.tokens.id_of(text.expose());
        let batch = creation_batch(&state, with, &id, &record, &[])?;
        let made = id.clone();
        let then = move |state: &OpenState, _| {
            state.tokens.drop_cached(&[made]);
            if let Some(known) = known {
                known.forget_in(state);
            }
        };
        match self.change(&state, batch, then).await {
            Ok(revision) => {
                let entry = Arc::new(TokenEntry::new(id, record, revision));
                Ok(Some(Created { text, entry }))
            }
            Err(BarrierError::Conflict) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

impl Access {
    /// The batch token of a login; only what the method changes, and a new entity, is stored.
    async fn batch_login(
        &self,
        state: &Arc<OpenState>,
        record: TokenRecord,
        with: Batch,
        known: Option<Recognised>,
    ) -> Result<Option<Created>, AccessError> {
        let unfit = [
            (record.period > 0, "period"),
            (record.num_uses > 0, "num_uses"),
            (record.explicit_max_ttl > 0, "explicit_max_ttl"),
        ];
        if let Some((_, field)) = unfit.iter().find(|(unfit, _)| *unfit) {
            return Err(AccessError::invalid(format!(
                "batch tokens cannot have \"{field}\" set"
            )));
        }
        let made = self.sealed_token(state, record, None)?;
        if with.changes.is_empty() && with.conditions.is_empty() {
            return Ok(Some(made));
        }
        let then = move |state: &OpenState, _| {
            if let Some(known) = known {
                known.forget_in(state);
            }
        };
        match self.change(state, with, then).await {
            Ok(_) => Ok(Some(made)),
            Err(BarrierError::Conflict) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

fn record_of(permit: &Permit, grant: &LoginGrant) -> Result<TokenRecord, AccessError> {
    let (ttl, explicit_max_ttl) = spans(permit, grant);
    let now = permit.now();
    Ok(TokenRecord {
        v: V1,
        namespace: permit.namespace().clone(),
        accessor: String::new(),
        policies: policies(grant)?,
        path: permit.path().as_str().to_owned(),
        meta: grant.meta.clone(),
        display_name: grant.display_name.clone(),
        num_uses: grant.num_uses,
        creation_time: now,
        creation_ttl: ttl,
        explicit_max_ttl,
        period: grant.period,
        expire_time: Some(now.plus(Duration::from_secs(ttl))),
        last_renewal: None,
        renewable: true,
        parent: None,
        bound_cidrs: grant.bound_cidrs.iter().map(Cidr::to_string).collect(),
        max_ttl: grant.max_ttl,
        entity: None,
        role: grant.role.clone(),
        auth_mount: Some(permit.mount().id.clone()),
    })
}

/// Normalised, sorted. A role that names `root` gives nothing (CVE-2025-5999).
fn policies(grant: &LoginGrant) -> Result<Vec<String>, AccessError> {
    let mut policies = Vec::new();
    for text in &grant.policies {
        policies.push(policy_name(text)?.as_str().to_owned());
    }
    if policies.iter().any(|policy| policy == "root") {
        return Err(AccessError::invalid(
            "auth methods cannot create root tokens",
        ));
    }
    if !grant.no_default_policy {
        policies.push("default".into());
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// The first time to live and the explicit maximum. The mount's maximum bounds both, but not a
/// period, as for tokens that others make.
fn spans(permit: &Permit, grant: &LoginGrant) -> (u64, u64) {
    let times = permit.lease_times();
    let bounded = |span: u64, bound: u64| if bound > 0 { span.min(bound) } else { span };
    if grant.period > 0 {
        let ttl = bounded(grant.period, grant.explicit_max_ttl);
        return (ttl, grant.explicit_max_ttl);
    }
    let longest = bounded(times.max, grant.max_ttl);
    let explicit_max_ttl = grant.explicit_max_ttl.min(longest);
    let asked = or(grant.ttl, times.default);
    (
        bounded(asked.min(longest), explicit_max_ttl),
        explicit_max_ttl,
    )
}
