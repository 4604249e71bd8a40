//! From a request to a permit, or to a refusal that the audit trail can hold.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use zone_policy::{Acl, Operation};
use zone_types::{EntityId, RequestPath, Secret};

use crate::identity::Subject;
use crate::mount::{Mount, MountKind};
use crate::permit::Permit;
use crate::token::{Compiled, TokenEntry, bound_to};
use crate::{Access, AccessError, OpenState, open};

/// What a caller wants.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The token that came with the request.
    pub token: Option<&'a Secret<String>>,
    /// Where, canonical.
    pub path: &'a RequestPath,
    /// What.
    pub operation: Operation,
    /// The request's fields, for parameter constraints.
    pub data: Option<&'a Map<String, Value>>,
    /// Where the caller is, as the listener (or a trusted proxy) saw it.
    pub remote: Option<IpAddr>,
    /// The wrapping time that the caller asked for.
    pub wrap_ttl: Option<Duration>,
}

/// Who asked what a path is good for. No permit: it opens nothing.
#[derive(Debug)]
pub struct Helped {
    /// The mount that serves the path.
    pub mount: Arc<Mount>,
    /// The path below it.
    pub rest: String,
    /// Who asked.
    pub token: Arc<TokenEntry>,
}

/// Why nothing was permitted.
#[derive(Debug)]
pub struct Refusal {
    /// The kind, which decides the status.
    pub kind: RefusalKind,
    /// Who asked, if that is known; for the audit trail.
    pub token: Option<Arc<TokenEntry>>,
    /// Why, for the audit trail; names no value.
    pub reason: String,
    /// The rule that decided, with its policy and line; `None` if none matched, or no policy was
    /// asked.
    pub rule: Option<Arc<str>>,
    /// Whether the policies were asked, and refused.
    pub judged: bool,
}

/// Kinds of refusals.
#[derive(Debug)]
pub enum RefusalKind {
    /// The zone is sealed.
    Sealed,
    /// No token, or one that does not count.
    NoToken,
    /// The policies do not allow it.
    Denied,
    /// They do, but nothing is mounted there.
    NoMount,
    /// Access itself failed.
    Failed(AccessError),
}

impl Refusal {
    fn new(kind: RefusalKind, reason: &str) -> Self {
        Self {
            kind,
            token: None,
            reason: reason.to_owned(),
            rule: None,
            judged: false,
        }
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let reason = error.to_string();
        let kind = match error {
            AccessError::Sealed => RefusalKind::Sealed,
            AccessError::Denied(_) => RefusalKind::Denied,
            other => RefusalKind::Failed(other),
        };
        Self::new(kind, &reason)
    }
}

impl Access {
    /// Judges one request. The one way to a [`Permit`] (A2).
    ///
    /// Order: open endpoints, then the token (does it count, may it come from here, is a use
    /// left), then the policies, then the mount, so that a caller without rights learns nothing
    /// about mounts. As in Vault, a request that is refused by the policies is a use too.
    pub async fn authorize(&self, ask: Ask<'_>) -> Result<Permit, Refusal> {
        let state = self.state()?;
        let mount = state.mounts.resolve(ask.path.as_str());
        if let Some(mount) = &mount {
            let rest = &ask.path.as_str()[mount.path.as_str().len()..];
            if open::is_open(mount.kind, rest, ask.operation) {
                return self.open_permit(&state, mount.clone(), &ask).await;
            }
        }
        let entry = self.caller(&state, &ask).await?;
        let acl = match self.acl_of(&state, &entry).await {
            Ok(acl) => acl,
            Err(error) => {
                return Err(Refusal {
                    token: Some(entry),
                    ..error.into()
                });
            }
        };
        let Some(entry) = self.use_token(&state, entry.clone()).await? else {
            return Err(Refusal {
                token: Some(entry),
                ..Refusal::new(RefusalKind::NoToken, "no use of the token is left")
            });
        };
        match judge(&ask, mount, &acl) {
            Ok(allowed) => Ok(Permit {
                times: self.times.of(&allowed.mount),
                mount: allowed.mount,
                path: ask.path.clone(),
                operation: ask.operation,
                now: self.instant(),
                token: Some(entry),
                sudo: allowed.sudo,
                rule: allowed.rule,
                acl: Some(acl),
                wrap_ttl: ask.wrap_ttl,
            }),
            Err(refusal) => Err(Refusal {
                token: Some(entry),
                ..refusal
            }),
        }
    }

    /// Judges a request for help. Whoever may do anything below a mount may know what its engine
    /// offers; others do not even learn that there is one.
    pub async fn authorize_help(&self, ask: Ask<'_>) -> Result<Helped, Refusal> {
        let state = self.state()?;
        let path = ask.path.as_str();
        let mount = state.mounts.resolve(path);
        let mount = mount.or_else(|| state.mounts.resolve(&format!("{path}/")));
        let entry = self.caller(&state, &ask).await?;
        let acl = self.acl_of(&state, &entry).await?;
        let refused = |kind, reason, entry| {
            Err(Refusal {
                token: Some(entry),
                ..Refusal::new(kind, reason)
            })
        };
        let Some(token) = self.use_token(&state, entry.clone()).await? else {
            return refused(RefusalKind::NoToken, "no use of the token is left", entry);
        };
        let seen =
            mount.filter(|mount| !token.record.is_wrapping() && acl.reaches(mount.path.as_str()));
        match seen {
            Some(mount) => Ok(Helped {
                rest: path
                    .get(mount.path.as_str().len()..)
                    .unwrap_or("")
                    .to_owned(),
                mount,
                token,
            }),
            None => refused(
                RefusalKind::Denied,
                "nothing is allowed below the mount",
                token,
            ),
        }
    }

    /// A permit for an open endpoint. A token that came along is looked up (some answers tell a
    /// caller more if he is known), but a bad one changes nothing.
    async fn open_permit(
        &self,
        state: &OpenState,
        mount: Arc<Mount>,
        ask: &Ask<'_>,
    ) -> Result<Permit, Refusal> {
        let mut token = match ask.token {
            Some(_) => self.caller(state, ask).await.ok(),
            None => None,
        };
        let mut acl = None;
        if let Some(entry) = &token {
            match self.acl_of(state, entry).await {
                Ok(found) => acl = Some(found),
                Err(AccessError::Denied(_)) => token = None,
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Permit {
            times: self.times.of(&mount),
            mount,
            path: ask.path.clone(),
            operation: ask.operation,
            now: self.instant(),
            token,
            acl,
            sudo: false,
            rule: Some("open endpoint".into()),
            wrap_ttl: ask.wrap_ttl,
        })
    }

    async fn caller(&self, state: &OpenState, ask: &Ask<'_>) -> Result<Arc<TokenEntry>, Refusal> {
        let no_token = |reason| Refusal::new(RefusalKind::NoToken, reason);
        let text = ask
            .token
            .ok_or_else(|| no_token("missing client token"))?
            .expose();
        let entry = self
            .find(state, text, self.instant())
            .await?
            .ok_or_else(|| no_token("bad token"))?;
        if !bound_to(&entry.record.bound_cidrs, ask.remote) {
            return Err(Refusal {
                token: Some(entry),
                ..no_token("the token is bound to other addresses")
            });
        }
        Ok(entry)
    }

    /// The compiled policies of a token and of the entity behind it, kept with it until any policy
    /// changes, or for one with an entity identity.
    ///
    /// # Errors
    ///
    /// [`AccessError::Denied`] if the entity is disabled or gone.
    pub(crate) async fn acl_of(
        &self,
        state: &OpenState,
        entry: &TokenEntry,
    ) -> Result<Arc<Acl>, AccessError> {
        let entity = entry.record.entity.as_ref();
        let identity = entity.map_or(0, |_| state.identity.generation());
        let of = (state.policies.generation(), identity);
        if let Some(compiled) = &*entry.compiled.lock()
            && compiled.of == of
        {
            return Ok(compiled.acl.clone());
        }
        let subject = self.subject_of(state, entry).await?;
        let acl = self
            .acl(state, &entry.record.policies, subject.as_deref())
            .await?;
        let compiled = Compiled {
            of,
            acl: acl.clone(),
        };
        *entry.compiled.lock() = Some(compiled);
        Ok(acl)
    }

    /// Who is behind a token; `None` if it has no entity.
    pub(crate) async fn subject_of(
        &self,
        state: &OpenState,
        entry: &TokenEntry,
    ) -> Result<Option<Arc<Subject>>, AccessError> {
        let Some(id) = &entry.record.entity else {
            return Ok(None);
        };
        let subject = self.subject(state, id).await?;
        match subject {
            Some(subject) if !subject.disabled => Ok(Some(subject)),
            Some(_) => Err(AccessError::Denied("the entity of the token is disabled")),
            None => Err(AccessError::Denied("the entity of the token is gone")),
        }
    }

    /// The policies that come to the tokens of an entity: sorted, none if it is disabled or gone.
    pub async fn identity_policies(
        &self,
        entity: Option<&EntityId>,
    ) -> Result<Vec<String>, AccessError> {
        let Some(id) = entity else {
            return Ok(Vec::new());
        };
        let subject = self.subject(&*self.state()?, id).await?;
        let counts = subject.filter(|subject| !subject.disabled);
        Ok(counts.map_or_else(Vec::new, |subject| subject.policies.clone()))
    }

    /// What the policies of `entry` allow on `path`, as `sys/capabilities` answers.
    pub async fn capabilities(
        &self,
        entry: &TokenEntry,
        path: &str,
    ) -> Result<Vec<&'static str>, AccessError> {
        let state = self.state()?;
        Ok(self.acl_of(&state, entry).await?.capabilities(path))
    }

    /// Whether the permit's caller may do anything at or below `mount`.
    pub fn sees(&self, permit: &Permit, mount: &Mount) -> bool {
        permit
            .acl()
            .is_some_and(|acl| acl.reaches(mount.path.as_str()))
    }

    /// The mount that holds the tokens.
    pub fn token_mount(&self) -> Result<Arc<Mount>, AccessError> {
        self.state()?
            .mounts
            .built_in(MountKind::Token)
            .ok_or(AccessError::Corrupt)
    }
}

/// What the policies allow, and where.
struct Allowed {
    mount: Arc<Mount>,
    sudo: bool,
    rule: Option<Arc<str>>,
}

fn judge(ask: &Ask<'_>, mount: Option<Arc<Mount>>, acl: &Acl) -> Result<Allowed, Refusal> {
    let decision = acl.check(&zone_policy::Ask {
        path: ask.path,
        operation: ask.operation,
        parameters: ask.data,
        wrap_ttl: ask.wrap_ttl,
    });
    let denied = |reason: &str| Refusal {
        rule: decision.rule.map(|rule| rule.text()),
        judged: true,
        ..Refusal::new(RefusalKind::Denied, reason)
    };
    if let Some(denial) = decision.denied_because {
        return Err(denied(&denial.to_string()));
    }
    let Some(mount) = mount else {
        return Err(Refusal::new(
            RefusalKind::NoMount,
            "nothing is mounted there",
        ));
    };
    let rest = &ask.path.as_str()[mount.path.as_str().len()..];
    if open::needs_sudo(mount.kind, rest) && !decision.sudo {
        return Err(denied("the endpoint needs sudo"));
    }
    Ok(Allowed {
        mount,
        sudo: decision.sudo,
        rule: decision.rule.map(|rule| rule.text()),
    })
}
