//! Policies: what a token may do on a path (Vault's rules).
//!
//! ```text
//! text ──Policy::parse──▶ Policy ─┐         Identity ─┐
//! text ──Policy::parse──▶ Policy ─┴─Acl::compile_for──┴─▶ Acl ──check(&Ask)──▶ Decision
//! ```
//!
//! # What must hold
//!
//! * Nothing is allowed that no rule grants, and of all rules that match a path exactly one
//!   decides: the exact one, else the best by [`Acl`]'s order. `deny` inside a pattern beats
//!   whatever else is said about the same pattern.
//! * A policy is refused as a whole if any part of it is not understood: a constraint that is
//!   skipped grants more than its author wrote.
//! * A pattern that no canonical path can match is refused, because a `deny` that never bites
//!   is worse than an error.
//! * A template is filled with values that stand for themselves alone; one that cannot be filled
//!   grants nothing, and a `deny` in it then holds for all that it might have meant
//!   (`template.rs`).
//! * Text from outside never panics and never recurses deeper than a fixed bound.
//!
//! # Deliberately absent
//!
//! Expiring rules and `{{time…}}` (they would need a clock), control groups, step-up MFA,
//! Sentinel.
//!
//! Source: Vault's documentation of policies; `docs/vault-differences.md` names what is stricter.

mod acl;
mod cover;
mod name;
mod parameters;
mod pattern;
mod permissions;
mod policy;
mod segments;
mod template;

pub use acl::{Acl, Ask, Decision, Denial, Grounds, Rule};
pub use name::{NameFault, PolicyName};
pub use policy::{MAX_TEXT, Policy, PolicyFault};
pub use template::{AliasFacts, GroupFacts, Identity};

/// The policy `default`, which each token has unless it is made without: a token may look at,
/// renew and revoke itself, read its entity, ask what it may do, keep things in its cubbyhole and use wrapping.
pub const DEFAULT_POLICY: &str = include_str!("default.hcl");

/// What a request does, as policies judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A write to what does not exist yet.
    Create,
    /// A read.
    Read,
    /// A write to what exists, or to an endpoint that knows no existence.
    Update,
    /// A removal.
    Delete,
    /// A list of children.
    List,
    /// A partial write (RFC 7396).
    Patch,
}

impl Operation {
    /// The word in policies, audit lines and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Patch => "patch",
        }
    }
}

/// Drives the parser and the compiled rules with arbitrary bytes; panics if a promise of this
/// crate is broken. For `tests/fuzz`.
pub fn fuzz_policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(policy) = Policy::parse("fuzz", text) else {
        return;
    };
    let acl = Acl::compile(std::iter::once(&policy));
    let identity = Identity {
        id: text.to_owned(),
        name: "+".to_owned(),
        ..Identity::default()
    };
    let filled = Acl::compile_for(std::iter::once(&policy), Some(&identity));
    assert!(
        filled.covers(&filled) && Acl::root().covers(&Acl::widest(std::iter::once(&policy))),
        "templates keep the order of rights"
    );
    let paths = policy.patterns().flat_map(|pattern| {
        let filled = pattern.replace('+', "seg");
        [
            filled.replace('*', "tail"),
            filled.replace('*', ""),
            pattern.to_owned(),
        ]
    });
    for text in paths {
        let words = acl.capabilities(&text);
        assert!(!words.is_empty(), "an answer has at least one word");
        let Ok(path) = zone_types::RequestPath::from_text(&text) else {
            continue;
        };
        let ask = Ask {
            path: &path,
            operation: Operation::List,
            parameters: None,
            wrap_ttl: None,
        };
        let decision = acl.check(&ask);
        assert!(
            !decision.allowed || words.contains(&"list"),
            "check agrees with capabilities"
        );
        assert!(
            decision.allowed != decision.denied_because.is_some(),
            "a refusal has a reason"
        );
        let _ = acl.reaches(&text);
    }
    assert!(
        acl.covers(&acl),
        "whoever holds rules may write the same rules"
    );
}
