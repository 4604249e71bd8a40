//! Policies at rest and compiled: parsed when written, compiled once for each set of names.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use zone_barrier::Batch;
use zone_policy::{Acl, Policy, PolicyName};
use zone_ports::{Key, KeyRange};

use crate::identity::Subject;
use crate::mount::{Mount, MountKind};
use crate::permit::Permit;
use crate::record::{V1, decode};
use crate::{Access, AccessError, OpenState};

/// The policy of wrapping tokens, which no other token can have.
pub(crate) const WRAPPING: &str = "response-wrapping";
/// Its text. It is not stored and cannot be changed.
const WRAPPING_POLICY: &str = r#"path "sys/wrapping/unwrap" {
    capabilities = ["update"]
}
path "sys/wrapping/rewrap" {
    capabilities = ["update"]
}
"#;

/// Stands for the stamp of an entity in what was filled for a token without one. Stamps of
/// entities are greater.
pub(crate) const NOBODY: u64 = 0;

/// A stored policy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRecord {
    v: V1,
    /// Its name, trimmed and lower-cased.
    pub name: String,
    /// Its text as it was written, HCL or JSON.
    pub text: String,
}

/// Policies by name, and compiled access lists by set of policy names: what a set says to everybody
/// is compiled once, and what its templates say to one entity once for each.
pub(crate) struct PolicyCache {
    parsed: Cache<(u64, Box<str>), Arc<Policy>>,
    sets: Cache<(u64, Box<str>), Arc<PolicySet>>,
    /// With the stamp of the entity whose facts filled the templates, or [`NOBODY`].
    filled: Cache<(u64, Box<str>, u64), Arc<Acl>>,
    /// Grows when any policy changes, so that a list compiled from old text is never found again.
    generation: AtomicU64,
}

/// A set of policies.
struct PolicySet {
    /// What it says to everybody, compiled.
    shared: Arc<Acl>,
    /// Those of its policies that say something else to each.
    templated: Vec<Arc<Policy>>,
}

impl Default for PolicyCache {
    fn default() -> Self {
        Self {
            parsed: Cache::new(1024),
            sets: Cache::new(1024),
            filled: Cache::new(4096),
            generation: AtomicU64::new(0),
        }
    }
}

impl PolicyCache {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

impl Access {
    /// The names of all policies, `root` among them.
    pub async fn policy_names(&self, _permit: &Permit) -> Result<Vec<String>, AccessError> {
        let mount = self.system_mount()?;
        let mut names = vec!["root".to_owned()];
        let prefix = mount.prefix("policy");
        let mut range = KeyRange::prefix(prefix.clone());
        loop {
            let page = self.barrier.scan_keys(&range, 1000).await?;
            let Some(last) = page.last() else { break };
            range = range.after(last);
            for key in &page {
                let name = std::str::from_utf8(&key.as_bytes()[prefix.len()..]);
                names.push(name.map_err(|_| AccessError::Corrupt)?.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// One policy; `None` if there is none of that name. `root` has no text.
    pub async fn policy(
        &self,
        _permit: &Permit,
        name: &str,
    ) -> Result<Option<PolicyRecord>, AccessError> {
        let name = policy_name(name)?;
        if name.as_str() == "root" {
            return Ok(Some(PolicyRecord {
                v: V1,
                name: "root".into(),
                text: String::new(),
            }));
        }
        if name.as_str() == WRAPPING {
            return Ok(Some(PolicyRecord {
                v: V1,
                name: WRAPPING.into(),
                text: WRAPPING_POLICY.into(),
            }));
        }
        self.stored_policy(&name).await
    }

    /// Writes a policy. Without sudo a caller can only write rules that its own policies cover
    /// (attack 8: nobody grants what he lacks).
    pub async fn write_policy(
        &self,
        permit: &Permit,
        name: &str,
        text: &str,
    ) -> Result<(), AccessError> {
        let name = policy_name(name)?;
        if is_fixed(&name) {
            return Err(AccessError::invalid(format!(
                "the policy '{}' cannot be changed",
                name.as_str()
            )));
        }
        let policy = Policy::parse(name.as_str(), text)
            .map_err(|fault| AccessError::invalid(format!("failed to parse policy: {fault}")))?;
        let state = self.state()?;
        self.refuse_gain(permit, &name, Some(&policy)).await?;
        self.store_policy(&state, &name, text).await
    }

    /// Removes a policy. One that is not there: no error, as in Vault. Without sudo not one that
    /// denies or that holds the caller back.
    pub async fn delete_policy(&self, permit: &Permit, name: &str) -> Result<(), AccessError> {
        let name = policy_name(name)?;
        if is_fixed(&name) || name.as_str() == "default" {
            return Err(AccessError::invalid(format!(
                "cannot delete the policy '{}'",
                name.as_str()
            )));
        }
        let state = self.state()?;
        self.refuse_gain(permit, &name, None).await?;
        let batch = Batch::new().delete(self.policy_key(&name)?);
        self.change_policies(&state, batch).await
    }

    /// Refuses to put `new` (`None`: nothing) in place of the policy `name` for a caller without
    /// sudo who would gain by it, or let others gain what nobody can foresee (attack 8).
    async fn refuse_gain(
        &self,
        permit: &Permit,
        name: &PolicyName,
        new: Option<&Policy>,
    ) -> Result<(), AccessError> {
        if permit.sudo {
            return Ok(());
        }
        let none = AccessError::Denied("no token");
        let (Some(caller), Some(own)) = (permit.token(), permit.acl()) else {
            return Err(none);
        };
        if !new.is_none_or(|new| own.covers(&Acl::widest(std::iter::once(new)))) {
            return Err(AccessError::Denied(
                "the policy grants more than you hold; that needs sudo on this path",
            ));
        }
        let state = self.state()?;
        let Some(old) = self.parsed_policy(&state, name).await? else {
            return Ok(());
        };
        let kept = |denial: &str| new.is_some_and(|new| new.denials().any(|known| known == denial));
        if !old.denials().all(kept) {
            return Err(AccessError::Denied(
                "a rule that denies can only be taken away with sudo on this path",
            ));
        }
        // A narrow rule of one policy holds back a wide one of another.
        let subject = self.subject_of(&state, caller).await?;
        let by_identity = subject.iter().flat_map(|subject| &subject.policies);
        let names = caller.record.policies.iter().chain(by_identity);
        let names: Vec<&str> = names.map(String::as_str).collect();
        if names.contains(&name.as_str()) {
            let policies = self.parsed_policies(&state, &names, Some(name)).await?;
            let policies = policies.iter().map(|policy| &**policy).chain(new);
            let facts = subject.as_ref().map(|subject| &subject.facts);
            if !own.covers(&Acl::compile_for(policies, facts)) {
                return Err(AccessError::Denied(
                    "you would hold more than before; that needs sudo on this path",
                ));
            }
        }
        Ok(())
    }

    /// Refuses to let the permit's caller give the policies `names` (in their one spelling) to
    /// others: without sudo he gives only what his own policies grant (attack 8). One that does
    /// not exist yet may come to grant anything; `default` comes with every login anyway.
    pub async fn refuse_to_give(
        &self,
        permit: &Permit,
        names: &[String],
    ) -> Result<(), AccessError> {
        let names: Vec<&String> = names.iter().filter(|name| *name != "default").collect();
        if permit.sudo || names.is_empty() {
            return Ok(());
        }
        let own = permit.acl().ok_or(AccessError::Denied("no token"))?;
        let state = self.state()?;
        let mut policies = Vec::new();
        for name in names {
            let found = self.parsed_policy(&state, &policy_name(name)?).await?;
            policies.push(found.ok_or(AccessError::Denied(
                "a policy that does not exist can only be given with sudo on this path",
            ))?);
        }
        match own.covers(&Acl::widest(policies.iter().map(|policy| &**policy))) {
            true => Ok(()),
            false => Err(AccessError::Denied(
                "the policies grant more than you hold; that needs sudo on this path",
            )),
        }
    }

    pub(crate) async fn write_default_policy(&self) -> Result<(), AccessError> {
        let state = self.state()?;
        self.store_policy(
            &state,
            &policy_name("default")?,
            zone_policy::DEFAULT_POLICY,
        )
        .await
    }

    async fn store_policy(
        &self,
        state: &Arc<OpenState>,
        name: &PolicyName,
        text: &str,
    ) -> Result<(), AccessError> {
        if text.len() > 96 * 1024 {
            return Err(AccessError::invalid("a policy has at most 96 KiB"));
        }
        let record = PolicyRecord {
            v: V1,
            name: name.as_str().into(),
            text: text.into(),
        };
        let value = serde_json::to_vec(&record)?;
        let batch = Batch::new().put(self.policy_key(name)?, value);
        self.change_policies(state, batch).await
    }

    /// A list that was compiled while the change was under way is filed under the generation
    /// before it, and so is never found again. The others make room.
    async fn change_policies(
        &self,
        state: &Arc<OpenState>,
        batch: Batch,
    ) -> Result<(), AccessError> {
        let then = |state: &OpenState, _| {
            state.policies.generation.fetch_add(1, Ordering::AcqRel);
            state.policies.parsed.clear();
            state.policies.sets.clear();
            state.policies.filled.clear();
        };
        self.change(state, batch, then).await?;
        Ok(())
    }

    /// The compiled access list of a set of policy names and of whoever holds them. A name
    /// without a policy grants nothing.
    pub(crate) async fn acl(
        &self,
        state: &OpenState,
        names: &[String],
        subject: Option<&Subject>,
    ) -> Result<Arc<Acl>, AccessError> {
        let generation = state.policies.generation();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        // What is whole by itself is not mixed with anything.
        if !names.iter().any(|name| matches!(*name, "root" | WRAPPING)) {
            let more = subject.map_or(&[][..], |subject| &subject.policies);
            names.extend(more.iter().map(String::as_str));
            names.sort_unstable();
            names.dedup();
        }
        let joined = names.join("\n").into_boxed_str();
        let set = self.set_of(state, (generation, &joined), &names).await?;
        if set.templated.is_empty() {
            return Ok(set.shared.clone());
        }
        let stamp = subject.map_or(NOBODY, |subject| subject.stamp);
        let key = (generation, joined, stamp);
        if let Some(acl) = state.policies.filled.get(&key) {
            return Ok(acl);
        }
        let templated = set.templated.iter().map(|policy| &**policy);
        let facts = subject.map(|subject| &subject.facts);
        let acl = Arc::new(Acl::fill(&set.shared, templated, facts));
        state.policies.filled.insert(key, acl.clone());
        Ok(acl)
    }

    /// The set of these names, joined and one by one.
    async fn set_of(
        &self,
        state: &OpenState,
        (generation, joined): (u64, &str),
        names: &[&str],
    ) -> Result<Arc<PolicySet>, AccessError> {
        let key = (generation, joined.into());
        if let Some(set) = state.policies.sets.get(&key) {
            return Ok(set);
        }
        let (shared, templated) = if names.contains(&"root") {
            (Acl::root(), Vec::new())
        } else if names.contains(&WRAPPING) {
            let policy = Policy::parse(WRAPPING, WRAPPING_POLICY);
            (Acl::compile_fixed(policy.iter()), Vec::new())
        } else {
            let mut policies = self.parsed_policies(state, names, None).await?;
            let shared = Acl::compile_fixed(policies.iter().map(|policy| &**policy));
            policies.retain(|policy| policy.has_templates());
            (shared, policies)
        };
        let set = Arc::new(PolicySet {
            shared: Arc::new(shared),
            templated,
        });
        state.policies.sets.insert(key, set.clone());
        Ok(set)
    }

    /// The policies of these names that there are, but for `without`.
    pub(crate) async fn parsed_policies(
        &self,
        state: &OpenState,
        names: &[&str],
        without: Option<&PolicyName>,
    ) -> Result<Vec<Arc<Policy>>, AccessError> {
        let mut policies = Vec::new();
        for name in names {
            let name = policy_name(name)?;
            if Some(&name) != without {
                policies.extend(self.parsed_policy(state, &name).await?);
            }
        }
        Ok(policies)
    }

    /// Those of the policies of these names that are there.
    pub(crate) async fn existing(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<Vec<Arc<Policy>>, AccessError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.parsed_policies(&*self.state()?, &names, None).await
    }

    /// A policy is read and parsed once until any policy changes.
    async fn parsed_policy(
        &self,
        state: &OpenState,
        name: &PolicyName,
    ) -> Result<Option<Arc<Policy>>, AccessError> {
        let key = (state.policies.generation(), name.as_str().into());
        if let Some(policy) = state.policies.parsed.get(&key) {
            return Ok(Some(policy));
        }
        let Some(record) = self.stored_policy(name).await? else {
            return Ok(None);
        };
        let policy = Policy::parse(&record.name, &record.text).map_err(|_| AccessError::Corrupt)?;
        let policy = Arc::new(policy);
        state.policies.parsed.insert(key, policy.clone());
        Ok(Some(policy))
    }

    async fn stored_policy(&self, name: &PolicyName) -> Result<Option<PolicyRecord>, AccessError> {
        match self.barrier.get(&self.policy_key(name)?).await? {
            Some(plain) => Ok(Some(decode(&plain)?)),
            None => Ok(None),
        }
    }

    fn policy_key(&self, name: &PolicyName) -> Result<Key, AccessError> {
        Ok(self.system_mount()?.key("policy", name.as_str())?)
    }

    fn system_mount(&self) -> Result<Arc<Mount>, AccessError> {
        self.state()?
            .mounts
            .built_in(MountKind::System)
            .ok_or(AccessError::Corrupt)
    }
}

/// A policy whose text is a matter of this head, not of the zone.
fn is_fixed(name: &PolicyName) -> bool {
    matches!(name.as_str(), "root" | WRAPPING)
}

/// The policies that somebody wants a token to have: each in its one spelling, none that is the
/// server's to give.
pub(crate) fn assignable(text: &str) -> Result<PolicyName, AccessError> {
    let name = policy_name(text)?;
    if name.as_str() == WRAPPING {
        return Err(AccessError::invalid(format!(
            "the policy '{WRAPPING}' cannot be assigned"
        )));
    }
    Ok(name)
}

/// The policies that a role or a user is to give: in their one spelling, sorted, none twice.
/// `root` is not given by logging in (attack 8, CVE-2025-5999).
pub fn login_policies(names: &[String]) -> Result<Vec<String>, AccessError> {
    let mut policies = Vec::new();
    for text in names {
        let name = assignable(text)?;
        if name.as_str() == "root" {
            return Err(AccessError::invalid(
                "the policy 'root' cannot be given by an auth method",
            ));
        }
        policies.push(name.as_str().to_owned());
    }
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// A policy name in its one spelling (trimmed, lower-cased).
pub(crate) fn policy_name(text: &str) -> Result<PolicyName, AccessError> {
    PolicyName::parse(text).map_err(|fault| AccessError::invalid(fault.to_string()))
}
