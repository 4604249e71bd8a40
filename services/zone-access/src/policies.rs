//! Policies at rest and compiled: parsed when written, compiled once for each set of names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use zone_barrier::Batch;
use zone_policy::{Acl, Policy, PolicyName};
use zone_ports::{Key, KeyRange};

use crate::mount::{Mount, MountKind};
use crate::permit::Permit;
use crate::{Access, AccessError, OpenState};

/// A stored policy.
#[derive(Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    v: u8,
    /// Its name, trimmed and lower-cased.
    pub name: String,
    /// Its text as it was written, HCL or JSON.
    pub text: String,
}

/// Compiled access lists by set of policy names.
pub(crate) struct PolicyCache {
    compiled: Cache<(u64, Box<str>), Arc<Acl>>,
    /// Grows when any policy changes, so that a list compiled from old text is never found again.
    generation: AtomicU64,
}

impl Default for PolicyCache {
    fn default() -> Self {
        Self {
            compiled: Cache::new(4096),
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
        let mut range = KeyRange::prefix(mount.prefix("policy"));
        loop {
            let page = self.barrier.scan(&range, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            range = range.after(last);
            for (_, plain) in &page {
                names.push(serde_json::from_slice::<PolicyRecord>(&plain.value)?.name);
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
                v: 1,
                name: "root".into(),
                text: String::new(),
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
        if name.as_str() == "root" {
            return Err(AccessError::invalid("the policy 'root' cannot be changed"));
        }
        let policy = Policy::parse(name.as_str(), text)
            .map_err(|fault| AccessError::invalid(format!("failed to parse policy: {fault}")))?;
        if !permit.sudo {
            let caller = permit.acl().ok_or(AccessError::Denied("no token"))?;
            if !caller.covers(&Acl::compile(std::iter::once(&policy))) {
                return Err(AccessError::Denied(
                    "the policy grants more than you hold; that needs sudo on this path",
                ));
            }
        }
        self.store_policy(&name, text).await
    }

    /// Removes a policy. One that is not there: no error, as in Vault.
    pub async fn delete_policy(&self, _permit: &Permit, name: &str) -> Result<(), AccessError> {
        let name = policy_name(name)?;
        if matches!(name.as_str(), "root" | "default") {
            return Err(AccessError::invalid(format!(
                "cannot delete the policy '{}'",
                name.as_str()
            )));
        }
        self.barrier
            .commit(Batch::new().delete(self.policy_key(&name)?))
            .await?;
        self.policies_changed()
    }

    pub(crate) async fn write_default_policy(&self) -> Result<(), AccessError> {
        self.store_policy(&policy_name("default")?, zone_policy::DEFAULT_POLICY)
            .await
    }

    async fn store_policy(&self, name: &PolicyName, text: &str) -> Result<(), AccessError> {
        if text.len() > 96 * 1024 {
            return Err(AccessError::invalid("a policy has at most 96 KiB"));
        }
        let record = PolicyRecord {
            v: 1,
            name: name.as_str().into(),
            text: text.into(),
        };
        let value = serde_json::to_vec(&record)?;
        self.barrier
            .commit(Batch::new().put(self.policy_key(name)?, value))
            .await?;
        self.policies_changed()
    }

    /// The compiled access list of a set of policy names (sorted). A name without a policy grants
    /// nothing.
    pub(crate) async fn acl(
        &self,
        state: &OpenState,
        names: &[String],
    ) -> Result<Arc<Acl>, AccessError> {
        let generation = state.policies.generation.load(Ordering::Acquire);
        let key = (generation, names.join("\n").into_boxed_str());
        if let Some(acl) = state.policies.compiled.get(&key) {
            return Ok(acl);
        }
        let acl = Arc::new(self.compile(names).await?);
        state.policies.compiled.insert(key, acl.clone());
        Ok(acl)
    }

    async fn compile(&self, names: &[String]) -> Result<Acl, AccessError> {
        if names.iter().any(|name| name == "root") {
            return Ok(Acl::root());
        }
        let mut policies = Vec::new();
        for name in names {
            if let Some(record) = self.stored_policy(&policy_name(name)?).await? {
                policies.push(
                    Policy::parse(&record.name, &record.text).map_err(|_| AccessError::Corrupt)?,
                );
            }
        }
        Ok(Acl::compile(policies.iter()))
    }

    async fn stored_policy(&self, name: &PolicyName) -> Result<Option<PolicyRecord>, AccessError> {
        match self.barrier.get(&self.policy_key(name)?).await? {
            Some(plain) => Ok(Some(serde_json::from_slice(&plain.value)?)),
            None => Ok(None),
        }
    }

    fn policy_key(&self, name: &PolicyName) -> Result<Key, AccessError> {
        Ok(self.system_mount()?.key("policy", name.as_str())?)
    }

    fn system_mount(&self) -> Result<Arc<Mount>, AccessError> {
        self.state()?
            .mounts
            .of_kind(MountKind::System)
            .ok_or(AccessError::Corrupt)
    }

    fn policies_changed(&self) -> Result<(), AccessError> {
        self.state()?
            .policies
            .generation
            .fetch_add(1, Ordering::Release);
        Ok(())
    }
}

/// A policy name in its one spelling (trimmed, lower-cased).
pub(crate) fn policy_name(text: &str) -> Result<PolicyName, AccessError> {
    PolicyName::parse(text).map_err(|fault| AccessError::invalid(fault.to_string()))
}
