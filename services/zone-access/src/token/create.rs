//! Making a token: one record, one accessor, one expiry entry, one child entry, one batch (S1).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zone_barrier::{BarrierError, Batch};
use zone_types::{Cidr, NamespaceId, Secret, Timestamp};

use super::life::TRIES;
use super::{AccessorRecord, DEEPEST, LONGEST, TokenEntry, TokenId, TokenRecord, tree};
use crate::expiry::{self, ExpiryKind};
use crate::permit::Permit;
use crate::policies::assignable;
use crate::record::{MARK, V1};
use crate::{Access, AccessError, DEFAULT_TTL_SECS, MAX_TTL_SECS, OpenState};

/// Largest record of a new token in bytes.
const LARGEST: usize = 16 * 1024;

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
        let caller = permit.token().ok_or(AccessError::Denied("no token"))?;
        if caller.record.num_uses > 0 {
            return Err(AccessError::invalid(
                "restricted use token cannot generate child tokens",
            ));
        }
        if !permit.sudo {
            refuse_privileged(&ask, permit)?;
        }
        let state = self.state()?;
        let policies = granted_policies(&ask, &caller.record, permit.sudo)?;
        if !permit.sudo && policies != caller.record.policies {
            let child = self.acl(&state, &policies).await?;
            // One of the parent's policies may hold another one back.
            if !permit.acl().is_some_and(|own| own.covers(&child)) {
                return Err(AccessError::invalid(
                    "child policies give more on some path than all policies of the parent do \
                     together; that needs sudo on this path",
                ));
            }
        }
        let record = record_for(&ask, policies, caller, permit)?;
        check_size(&record)?;
        self.store_new_token(&state, record, ask.id, Some(&caller.id))
            .await
    }

    /// The first token of a zone. Called by init alone, between its two steps.
    pub async fn create_root_token(&self) -> Result<Created, AccessError> {
        let record = TokenRecord {
            v: V1,
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
            max_ttl: 0,
            entity: None,
            role: None,
            auth_mount: None,
        };
        self.store_new_token(&self.state()?, record, None, None)
            .await
    }

    async fn store_new_token(
        &self,
        state: &Arc<OpenState>,
        mut record: TokenRecord,
        text: Option<Secret<String>>,
        creator: Option<&TokenId>,
    ) -> Result<Created, AccessError> {
        let (drawn, accessor) = self.drawn_token();
        let text = text.unwrap_or(drawn);
        record.accessor = accessor;
        let id = state.tokens.id_of(text.expose());
        for _ in 0..TRIES {
            let line = self.line_of(state, creator, &record).await?;
            let batch = creation_batch(state, Batch::new(), &id, &record, &line)?;
            // A custom id may have been looked up before: forget what the cache has.
            match self.change_tokens(state, batch, vec![id.clone()]).await {
                Ok(revision) => {
                    let entry = Arc::new(TokenEntry::new(id, record, revision));
                    return Ok(Created { text, entry });
                }
                Err(BarrierError::Conflict) => self.make_way(state, &id).await?,
                Err(other) => return Err(other.into()),
            }
        }
        Err(AccessError::Busy)
    }

    /// The text and the accessor of a new token.
    pub(super) fn drawn_token(&self) -> (Secret<String>, String) {
        let mut fill = |out: &mut [u8]| self.random.fill(out);
        let digits = zone_crypto::text::base62(24, &mut fill);
        let accessor = zone_crypto::text::base62(24, &mut fill);
        let text = Secret::new(format!("hvs.{}", digits.expose()));
        (text, accessor.expose().clone())
    }

    /// Whose records must still be as they are when the token is made. Of a child its parent's,
    /// whose own line is judged whenever the child is used; of an orphan the creator's whole
    /// line, since nothing else ties it to a creator that is revoked at this very moment.
    async fn line_of(
        &self,
        state: &OpenState,
        creator: Option<&TokenId>,
        record: &TokenRecord,
    ) -> Result<Vec<Arc<TokenEntry>>, AccessError> {
        let Some(creator) = creator else {
            return Ok(Vec::new());
        };
        let mut line = Vec::new();
        let lives = self.walk(state, creator, self.instant(), |entry| line.push(entry));
        if !lives.await? {
            return Err(AccessError::Denied("the parent token has ended"));
        }
        if record.parent.is_some() {
            if line.len() >= DEEPEST {
                return Err(AccessError::invalid(format!(
                    "a line of tokens has at most {DEEPEST}"
                )));
            }
            line.truncate(1);
        }
        Ok(line)
    }

    /// After a conflict: refuses an id that is taken, removes what an earlier token of that id
    /// left behind, and else (the creator was only renewed) lets the caller try again.
    async fn make_way(&self, state: &Arc<OpenState>, id: &TokenId) -> Result<(), AccessError> {
        if self.read_token(state, id).await?.is_some() {
            return Err(AccessError::invalid(
                "cannot create a token with a duplicate ID",
            ));
        }
        self.sweep_tree_of(state, id).await
    }
}

/// Adds a new token to `batch`.
pub(super) fn creation_batch(
    state: &OpenState,
    batch: Batch,
    id: &TokenId,
    record: &TokenRecord,
    line: &[Arc<TokenEntry>],
) -> Result<Batch, AccessError> {
    let tokens = &state.tokens;
    let accessor = AccessorRecord {
        v: V1,
        token: id.clone(),
    };
    let mut batch = batch
        .require_absent(tokens.key(id)?)
        // An earlier token of the same id may still have children: they must not come back.
        .require_absent(tree::work_key(id)?)
        .put(tokens.key(id)?, serde_json::to_vec(record)?)
        .put(
            tokens.accessor_key(&record.accessor)?,
            serde_json::to_vec(&accessor)?,
        );
    if let Some(end) = record.expire_time {
        batch = batch.put(expiry::key(end, ExpiryKind::Token, id.as_str())?, MARK);
    }
    if let Some(parent) = &record.parent {
        batch = batch.put(tokens.child_key(parent, id)?, MARK);
    }
    if let Some(mount) = &record.auth_mount {
        batch = batch.put(tokens.method_key(mount, id)?, MARK);
    }
    for entry in line {
        batch = batch.require(tokens.key(&entry.id)?, Some(entry.revision));
    }
    Ok(batch)
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
        policies.push(assignable(text)?.as_str().to_owned());
    }
    if policies.is_empty() {
        policies.clone_from(&caller.policies);
    }
    if policies.iter().any(|policy| policy == "root") {
        if !caller.is_root() {
            return Err(AccessError::invalid(
                "root tokens may not be created without parent token being root",
            ));
        }
        return Ok(vec!["root".into()]);
    }
    if !sudo && policies.iter().any(|p| !caller.policies.contains(p)) {
        return Err(AccessError::invalid(
            "child policies must be subset of parent",
        ));
    }
    let default = || "default".to_owned();
    if ask.no_default_policy {
        policies.retain(|policy| *policy != default());
    } else if sudo || caller.policies.contains(&default()) {
        policies.push(default());
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// The addresses of the new token: those asked for, else the caller's. Without sudo none from
/// which the caller itself could not come.
fn granted_cidrs(
    ask: &CreateToken,
    caller: &TokenRecord,
    sudo: bool,
) -> Result<Vec<String>, AccessError> {
    let mut asked = Vec::new();
    for text in &ask.bound_cidrs {
        asked.push(Cidr::parse(text).ok_or_else(|| {
            AccessError::invalid("bound_cidrs: give addresses or CIDR blocks, IPv4 in plain form")
        })?);
    }
    if sudo || caller.bound_cidrs.is_empty() {
        return Ok(ask.bound_cidrs.clone());
    }
    if asked.is_empty() {
        return Ok(caller.bound_cidrs.clone());
    }
    let held: Vec<Cidr> = caller
        .bound_cidrs
        .iter()
        .filter_map(|text| Cidr::parse(text))
        .collect();
    if asked
        .iter()
        .all(|cidr| held.iter().any(|mine| mine.contains(cidr)))
    {
        return Ok(ask.bound_cidrs.clone());
    }
    Err(AccessError::invalid(
        "bound_cidrs must lie within those of the parent",
    ))
}

fn record_for(
    ask: &CreateToken,
    policies: Vec<String>,
    caller: &TokenEntry,
    permit: &Permit,
) -> Result<TokenRecord, AccessError> {
    check_id(ask)?;
    let bound_cidrs = granted_cidrs(ask, &caller.record, permit.sudo)?;
    let is_root = policies.iter().any(|policy| policy == "root");
    let spans = Spans::granted(ask, permit, is_root);
    if is_root && spans.ttl == 0 && caller.record.expire_time.is_some() {
        return Err(AccessError::invalid(
            "expiring root tokens cannot create non-expiring root tokens",
        ));
    }
    let orphan = ask.no_parent || permit.rest() == "create-orphan";
    let now = permit.now();
    let span = Duration::from_secs(spans.ttl);
    Ok(TokenRecord {
        v: V1,
        namespace: permit.namespace().clone(),
        accessor: String::new(),
        policies,
        path: permit.path().as_str().to_owned(),
        meta: ask.meta.clone(),
        display_name: display_name(&ask.display_name),
        num_uses: ask.num_uses,
        creation_time: now,
        creation_ttl: spans.ttl,
        explicit_max_ttl: spans.explicit_max,
        period: spans.period,
        expire_time: (spans.ttl > 0).then(|| now.plus(span)),
        last_renewal: None,
        renewable: ask.renewable && spans.ttl > 0,
        parent: (!orphan).then(|| caller.id.clone()),
        bound_cidrs,
        max_ttl: 0,
        entity: caller.record.entity.clone(),
        role: None,
        auth_mount: None,
    })
}

fn display_name(asked: &str) -> String {
    let shown = asked.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
    if shown.is_empty() {
        "token".into()
    } else {
        format!("token-{shown}")
    }
}

/// What a client chooses freely must not make the cache and the scans heavy.
pub(super) fn check_size(record: &TokenRecord) -> Result<(), AccessError> {
    if serde_json::to_vec(record)?.len() > LARGEST {
        return Err(AccessError::invalid(
            "policies, metadata, display name and addresses of a token have at most 16 KiB",
        ));
    }
    Ok(())
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

/// The spans of a token in seconds; zero for none.
struct Spans {
    ttl: u64,
    explicit_max: u64,
    period: u64,
}

impl Spans {
    /// As in Vault: the mount's maximum bounds the TTL and the explicit maximum; a period escapes
    /// it, but not the explicit maximum. Only root may be without end.
    fn granted(ask: &CreateToken, permit: &Permit, is_root: bool) -> Self {
        let config = &permit.mount().config;
        let longest = or(config.max_lease_ttl, MAX_TTL_SECS);
        let bounded = |span: u64, bound: u64| if bound > 0 { span.min(bound) } else { span };
        if ask.period > 0 {
            let period = bounded(ask.period, ask.explicit_max_ttl);
            return Self {
                ttl: period,
                explicit_max: ask.explicit_max_ttl,
                period,
            };
        }
        let explicit_max = ask.explicit_max_ttl.min(longest);
        let ttl = if is_root && ask.ttl == 0 {
            explicit_max
        } else {
            let asked = or(ask.ttl, or(config.default_lease_ttl, DEFAULT_TTL_SECS));
            bounded(asked.min(longest), explicit_max)
        };
        Self {
            ttl,
            explicit_max,
            period: 0,
        }
    }
}

/// The latest end that a renewal at `now` may reach. `mount_max` is the longest lease time of the
/// mount that made the token, zero for the zone's.
pub(super) fn renewed_until(
    record: &TokenRecord,
    mount_max: u64,
    increment: u64,
    now: Timestamp,
) -> Timestamp {
    let secs = Duration::from_secs;
    let wanted = or(record.period, or(increment, record.creation_ttl));
    let mut end = now.plus(secs(wanted));
    if record.explicit_max_ttl > 0 {
        end = end.min(record.creation_time.plus(secs(record.explicit_max_ttl)));
    }
    if record.period == 0 {
        let longest = or(mount_max, MAX_TTL_SECS);
        let longest = longest.min(or(record.max_ttl, longest));
        end = end.min(record.creation_time.plus(secs(longest)));
    }
    end
}

/// The first number unless it is zero, which stands for not given.
pub(super) fn or(given: u64, otherwise: u64) -> u64 {
    if given > 0 { given } else { otherwise }
}
