//! Making a token: one record, one accessor, one expiry entry, one child entry, one batch (S1).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use zone_barrier::{BarrierError, Batch};
use zone_ports::store::Revision;
use zone_types::{NamespaceId, Secret, Timestamp};

use super::life::TRIES;
use super::{AccessorRecord, LONGEST, TokenEntry, TokenId, TokenRecord, parse_cidr};
use crate::expiry::{self, ExpiryKind};
use crate::permit::Permit;
use crate::policies::policy_name;
use crate::{Access, AccessError, DEFAULT_TTL_SECS, MAX_TTL_SECS, OpenState};

/// What a caller asks of a new token. Spans in seconds; zero means not given.
#[derive(Debug, Default)]
pub struct CreateToken {
    /// A text of the caller's choice instead of a random one; needs sudo.
    pub id: Option<Secret<String>>,
    /// Policies; empty for the caller's own.
    pub policies: Vec<String>,
    /// Free metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// No parent; needs sudo unless the endpoint is the one for orphans.
    pub no_parent: bool,
    /// Leaves out `default`.
    pub no_default_policy: bool,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Time to live.
    pub ttl: u64,
    /// Longest life, whatever the renewals.
    pub explicit_max_ttl: u64,
    /// Makes it periodic; needs sudo.
    pub period: u64,
    /// Shown behind `token-`.
    pub display_name: String,
    /// Uses; zero for unlimited.
    pub num_uses: u64,
    /// Addresses from which it can be used.
    pub bound_cidrs: Vec<String>,
}

/// A new token. The only place where its text exists.
#[derive(Debug)]
pub struct Created {
    /// What the client presents from now on.
    pub text: Secret<String>,
    /// What is stored of it.
    pub entry: Arc<TokenEntry>,
}

impl Access {
    /// Makes a token for the permit's caller.
    pub async fn create_token(
        &self,
        permit: &Permit,
        ask: CreateToken,
    ) -> Result<Created, AccessError> {
        let caller = permit
            .token()
            .ok_or(AccessError::Denied("no token"))?
            .clone();
        if caller.record.num_uses > 0 {
            return Err(AccessError::invalid(
                "restricted use token cannot generate child tokens",
            ));
        }
        let orphan = ask.no_parent || permit.rest() == "create-orphan";
        if !permit.sudo {
            refuse_privileged(&ask, permit)?;
        }
        let policies = granted_policies(&ask, &caller.record, permit.sudo)?;
        let record = record_for(&ask, policies, &caller, orphan, permit)?;
        self.store_new_token(record, ask.id, Some(&caller)).await
    }

    /// The first token of a zone. Called by init alone, between its two steps.
    pub async fn create_root_token(&self) -> Result<Created, AccessError> {
        let record = TokenRecord {
            v: 1,
            namespace: NamespaceId::root(),
            accessor: String::new(),
            policies: vec!["root".into()],
            path: "auth/token/root".into(),
            meta: None,
            display_name: "root".into(),
            num_uses: 0,
            creation_time: self.now()?,
            creation_ttl: 0,
            explicit_max_ttl: 0,
            period: 0,
            expire_time: None,
            last_renewal: None,
            renewable: false,
            parent: None,
            bound_cidrs: Vec::new(),
        };
        self.store_new_token(record, None, None).await
    }

    async fn store_new_token(
        &self,
        mut record: TokenRecord,
        text: Option<Secret<String>>,
        parent: Option<&TokenEntry>,
    ) -> Result<Created, AccessError> {
        let state = self.state()?;
        let mut fill = |out: &mut [u8]| self.random.fill(out);
        let text = match text {
            Some(text) => text,
            None => {
                let digits = zone_crypto::text::base62(24, &mut fill);
                Secret::new(format!("hvs.{}", digits.expose()))
            }
        };
        record
            .accessor
            .clone_from(zone_crypto::text::base62(24, &mut fill).expose());
        let id = state.tokens.id_of(text.expose());
        let mut parent_revision = parent.map(|parent| parent.revision);
        for _ in 0..TRIES {
            let batch = self.creation_batch(&state, &id, &record, parent_revision)?;
            match self.barrier.commit(batch).await {
                Ok(revision) => {
                    // A custom id may have been looked up before: forget what the cache has.
                    state.tokens.drop_cached(&id);
                    let compiled = Mutex::new(None);
                    let entry = Arc::new(TokenEntry {
                        id,
                        record,
                        revision,
                        compiled,
                    });
                    return Ok(Created { text, entry });
                }
                Err(BarrierError::Conflict) => {
                    parent_revision = self
                        .changed_parent(&state, parent_revision, &record)
                        .await?;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    /// Why a creation met a conflict: a parent that was only renewed meanwhile gives its new
    /// revision.
    async fn changed_parent(
        &self,
        state: &OpenState,
        before: Option<Revision>,
        record: &TokenRecord,
    ) -> Result<Option<Revision>, AccessError> {
        if let Some(parent) = &record.parent {
            let found = self.read_token(state, parent).await?;
            let now = found
                .ok_or(AccessError::Denied("the parent token has ended"))?
                .revision;
            if before != Some(now) {
                return Ok(Some(now));
            }
        }
        Err(AccessError::invalid(
            "cannot create a token with a duplicate ID",
        ))
    }

    fn creation_batch(
        &self,
        state: &OpenState,
        id: &TokenId,
        record: &TokenRecord,
        parent_revision: Option<Revision>,
    ) -> Result<Batch, AccessError> {
        let tokens = &state.tokens;
        let accessor = AccessorRecord {
            v: 1,
            token: id.clone(),
        };
        let mut batch = Batch::new()
            .require_absent(tokens.key(id)?)
            .put(tokens.key(id)?, serde_json::to_vec(record)?)
            .put(
                tokens.accessor_key(&record.accessor)?,
                serde_json::to_vec(&accessor)?,
            );
        if let Some(end) = record.expire_time {
            batch = batch.put(
                expiry::key(end, ExpiryKind::Token, id.as_str())?,
                "{\"v\":1}",
            );
        }
        if let Some(parent_id) = &record.parent {
            // A child made while its parent is being revoked must not come to life.
            batch = batch
                .require(tokens.key(parent_id)?, parent_revision)
                .put(tokens.child_key(parent_id, id)?, "{\"v\":1}");
        }
        Ok(batch)
    }
}

/// What takes sudo on the endpoint, as in Vault.
fn refuse_privileged(ask: &CreateToken, permit: &Permit) -> Result<(), AccessError> {
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
fn granted_policies(
    ask: &CreateToken,
    caller: &TokenRecord,
    sudo: bool,
) -> Result<Vec<String>, AccessError> {
    let mut policies = Vec::new();
    for text in &ask.policies {
        policies.push(policy_name(text)?.as_str().to_owned());
    }
    if policies.is_empty() {
        policies.clone_from(&caller.policies);
        if ask.no_default_policy {
            policies.retain(|policy| policy != "default");
        }
    }
    let asks_root = policies.iter().any(|policy| policy == "root");
    if asks_root && !caller.is_root() {
        return Err(AccessError::invalid(
            "root tokens may not be created without parent token being root",
        ));
    }
    if !caller.is_root() && !sudo {
        let lacking = policies
            .iter()
            .any(|p| p != "default" && !caller.policies.contains(p));
        if lacking {
            return Err(AccessError::invalid(
                "child policies must be subset of parent",
            ));
        }
    }
    if !asks_root && !ask.no_default_policy {
        policies.push("default".into());
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

fn record_for(
    ask: &CreateToken,
    policies: Vec<String>,
    caller: &TokenEntry,
    orphan: bool,
    permit: &Permit,
) -> Result<TokenRecord, AccessError> {
    check_id(ask)?;
    if ask
        .bound_cidrs
        .iter()
        .any(|cidr| parse_cidr(cidr).is_none())
    {
        return Err(AccessError::invalid(
            "bound_cidrs: give addresses or CIDR blocks",
        ));
    }
    let is_root = policies.iter().any(|policy| policy == "root");
    let ttl = granted_ttl(ask, permit, is_root)?;
    if is_root && ttl == 0 && caller.record.expire_time.is_some() {
        return Err(AccessError::invalid(
            "expiring root tokens cannot create non-expiring root tokens",
        ));
    }
    let now = permit.now();
    let shown = ask
        .display_name
        .replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
    let display_name = if shown.is_empty() {
        "token".into()
    } else {
        format!("token-{shown}")
    };
    let span = std::time::Duration::from_secs(ttl);
    Ok(TokenRecord {
        v: 1,
        namespace: permit.namespace().clone(),
        accessor: String::new(),
        policies,
        path: permit.path().as_str().to_owned(),
        meta: ask.meta.clone(),
        display_name,
        num_uses: ask.num_uses,
        creation_time: now,
        creation_ttl: ttl,
        explicit_max_ttl: ask.explicit_max_ttl,
        period: ask.period,
        expire_time: (ttl > 0).then(|| now.plus(span)),
        last_renewal: None,
        renewable: ask.renewable && ttl > 0,
        parent: (!orphan).then(|| caller.id.clone()),
        bound_cidrs: ask.bound_cidrs.clone(),
    })
}

fn check_id(ask: &CreateToken) -> Result<(), AccessError> {
    let Some(id) = &ask.id else { return Ok(()) };
    let text = id.expose();
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > LONGEST || !printable {
        return Err(AccessError::invalid(
            "a custom token id is 1 to 256 printable ASCII characters",
        ));
    }
    // OpenBao's and Vault's prefixes mark tokens that the server made.
    if ["hvs.", "hvb.", "hvr.", "s.", "b.", "r."]
        .iter()
        .any(|prefix| text.starts_with(prefix))
    {
        return Err(AccessError::invalid(
            "a custom token id must not look like one of the server's",
        ));
    }
    Ok(())
}

fn granted_ttl(ask: &CreateToken, permit: &Permit, is_root: bool) -> Result<u64, AccessError> {
    let config = &permit.mount().config;
    let longest = if config.max_lease_ttl > 0 {
        config.max_lease_ttl
    } else {
        MAX_TTL_SECS
    };
    if ask.period > 0 {
        return Ok(ask.period);
    }
    if is_root && ask.ttl == 0 {
        return Ok(ask.explicit_max_ttl);
    }
    let default = if config.default_lease_ttl > 0 {
        config.default_lease_ttl
    } else {
        DEFAULT_TTL_SECS
    };
    let mut ttl = if ask.ttl > 0 { ask.ttl } else { default };
    ttl = ttl.min(longest);
    if ask.explicit_max_ttl > 0 {
        ttl = ttl.min(ask.explicit_max_ttl);
    }
    Ok(ttl)
}

/// The latest end that a renewal at `now` may reach.
pub(super) fn renewed_until(
    record: &TokenRecord,
    mount_max: u64,
    increment: u64,
    now: Timestamp,
) -> Timestamp {
    let secs = std::time::Duration::from_secs;
    let wanted = if record.period > 0 {
        now.plus(secs(record.period))
    } else {
        now.plus(secs(if increment > 0 {
            increment
        } else {
            record.creation_ttl
        }))
    };
    let mut end = wanted;
    if record.explicit_max_ttl > 0 {
        end = end.min(record.creation_time.plus(secs(record.explicit_max_ttl)));
    }
    if record.period == 0 {
        let longest = if mount_max > 0 {
            mount_max
        } else {
            MAX_TTL_SECS
        };
        end = end.min(record.creation_time.plus(secs(longest)));
    }
    end
}
