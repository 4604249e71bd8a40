//! Making a token: one record, one accessor, one expiry entry, one child entry, one batch (S1). Of
//! a batch token nothing is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zone_barrier::{Approval, BarrierError, Batch};
use zone_types::{NamespaceId, Secret};

use super::batch::refuse_unfit;
use super::grant::{granted_cidrs, granted_policies, refuse_privileged};
use super::life::TRIES;
use super::role::{RoleKind, TokenRole};
use super::spans::Spans;
pub(super) use super::spans::{or, renewed_until};
use super::{AccessorRecord, DEEPEST, LONGEST, TokenEntry, TokenId, TokenKind, TokenRecord, tree};
use crate::expiry::{self, ExpiryKind};
use crate::permit::Permit;
use crate::record::{MARK, V1};
use crate::{Access, AccessError, OpenState};

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
    /// How it is kept; what its role says, else as a service token.
    pub kind: Option<TokenKind>,
    /// Whose it is in place of the caller's entity's: an alias of `auth/token/` that the role
    /// allows.
    pub entity_alias: Option<String>,
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
    /// Makes a token for the permit's caller, by the role that the path names if it names one.
    pub async fn create_token(
        &self,
        permit: &Permit,
        mut ask: CreateToken,
    ) -> Result<Created, AccessError> {
        let caller = permit.token().ok_or(AccessError::Denied("no token"))?;
        refuse_childless(caller)?;
        if !permit.sudo {
            refuse_privileged(&ask, permit)?;
        }
        let state = self.state()?;
        let role = self.role_behind(&state, permit).await?;
        let role = role.as_ref();
        if let Some(role) = role {
            role.shape(&mut ask);
        }
        let policies = granted_policies(&ask, &caller.record, role, permit.sudo)?;
        if !role.is_some_and(TokenRole::gives_policies) {
            self.refuse_more(&state, permit, &policies).await?;
        }
        let kinds = role.map_or(RoleKind::DefaultService, |role| role.token_type);
        let batch = kinds.of(ask.kind) == TokenKind::Batch;
        if batch {
            refuse_unfit(&ask, &policies)?;
        }
        let mut record = record_for(&ask, policies, caller, permit, role)?;
        if let Some(alias) = &ask.entity_alias {
            check_alias(role, alias)?;
            record.entity = Some(self.entity_of_alias(&state, permit, alias).await?);
        }
        if batch {
            return self.made_batch(&state, record, caller).await;
        }
        check_size(&record)?;
        self.store_new_token(&state, record, ask.id, Some(&caller.id))
            .await
    }

    /// Refuses policies that together give more than the caller's, unless he has sudo: one of his
    /// may hold another one back.
    async fn refuse_more(
        &self,
        state: &OpenState,
        permit: &Permit,
        policies: &[String],
    ) -> Result<(), AccessError> {
        let same = |caller: &Arc<TokenEntry>| caller.record.policies == policies;
        if permit.sudo || permit.token().is_some_and(same) {
            return Ok(());
        }
        // The child has the same entity.
        let subject = match permit.token() {
            Some(caller) => self.subject_of(state, caller).await?,
            None => None,
        };
        let child = self.acl(state, policies, subject.as_deref()).await?;
        match permit.acl().is_some_and(|own| own.covers(&child)) {
            true => Ok(()),
            false => Err(AccessError::invalid(
                "child policies give more on some path than all policies of the parent do \
                 together; that needs sudo on this path",
            )),
        }
    }

    async fn made_batch(
        &self,
        state: &OpenState,
        record: TokenRecord,
        creator: &TokenEntry,
    ) -> Result<Created, AccessError> {
        let parent = record.parent.is_some().then_some(creator);
        let made = self.sealed_token(state, record, parent)?;
        // Looked at last, so that a creator that was revoked before this answer made none.
        match self.live(state, &creator.id, self.instant()).await? {
            Some(_) => Ok(made),
            None => Err(AccessError::Denied("the parent token has ended")),
        }
    }

    /// A root token for those who gave a threshold of key shares.
    pub async fn regenerate_root_token(&self, _approved: Approval) -> Result<Created, AccessError> {
        self.create_root_token().await
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

fn record_for(
    ask: &CreateToken,
    policies: Vec<String>,
    caller: &TokenEntry,
    permit: &Permit,
    role: Option<&TokenRole>,
) -> Result<TokenRecord, AccessError> {
    check_id(ask)?;
    let bound_cidrs = granted_cidrs(ask, &caller.record, role, permit.sudo)?;
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
        path: path_of(permit, role),
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
        role: role.map(|role| role.name.clone()),
        auth_mount: None,
    })
}

/// A token is given to an alias only by a role that says so.
fn check_alias(role: Option<&TokenRole>, alias: &str) -> Result<(), AccessError> {
    match role {
        None => Err(AccessError::invalid(
            "'entity_alias' is only allowed in combination with token role",
        )),
        Some(role) if role.allows_alias(alias) => Ok(()),
        Some(_) => Err(AccessError::invalid("invalid 'entity_alias' value")),
    }
}

/// What has no children.
fn refuse_childless(caller: &TokenEntry) -> Result<(), AccessError> {
    if caller.kind == TokenKind::Batch {
        return Err(AccessError::invalid(
            "batch tokens cannot create more tokens",
        ));
    }
    if caller.record.num_uses > 0 {
        return Err(AccessError::invalid(
            "restricted use token cannot generate child tokens",
        ));
    }
    Ok(())
}

fn path_of(permit: &Permit, role: Option<&TokenRole>) -> String {
    let path = permit.path().as_str();
    match role.map_or("", |role| &role.path_suffix) {
        "" => path.to_owned(),
        suffix => format!("{path}/{suffix}"),
    }
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
