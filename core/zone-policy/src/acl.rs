//! Policies compiled for one set of names, and the judgement of a request.
//!
//! # Which rule decides
//!
//! Rules about the same pattern are one rule: their union, unless one of them denies. Of the
//! patterns that match a path one decides alone, in Vault's order:
//!
//! 1. a pattern without wildcards, that is the path itself;
//! 2. else the one whose first wildcard (`+` or `*`) stands further right;
//! 3. then one without `*` at its end; then the one with fewer `+`; then the longer; then the
//!    greater as text.
//!
//! # Lists
//!
//! A list comes with `/` at its end, but rules about its path may be written without. Both
//! spellings are looked up: first each exactly, the one with `/` first; then the best pattern
//! that matches *either*. So a `deny` on `a/b/*` holds for a list of `a/b` although `a/*` also
//! matches the other spelling (GHSA-xp3c-3jw3-4vcr).
//!
//! # Cost
//!
//! For what all callers share and for what templates gave this one: one hash look-up, one binary search over prefixes and one walk down a tree of segments for the
//! patterns with `+`. Nothing is allocated unless the rule constrains parameters.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use serde_json::{Map, Value};
use zone_types::RequestPath;

use crate::name::PolicyName;
use crate::pattern::Pattern;
use crate::permissions::{Capabilities, Permissions};
use crate::policy::{PathRule, Place};
use crate::segments::Segments;
use crate::{Identity, Operation, Policy};

/// The rules of a set of policies, compiled.
#[derive(Debug)]
pub struct Acl {
    root: bool,
    /// Sorted by the text of the pattern.
    rules: Vec<Rule>,
    /// By the whole path.
    exact: HashMap<Box<str>, usize>,
    /// Patterns that end in `*` and hold no `+`, sorted by what stands before the `*`.
    prefixes: Vec<Prefix>,
    /// Patterns with `+`.
    segments: Segments,
    /// Rules that this list shares with others. Where both have a pattern, ours counts.
    base: Option<Arc<Self>>,
    /// Denials whose templates could not be filled: they come before all other rules.
    pub(crate) barred: Vec<Rule>,
    /// What templates could grant to somebody; of [`Acl::widest`] alone, and never judged by.
    pub(crate) wide: Vec<Rule>,
}

#[derive(Debug)]
struct Prefix {
    rule: usize,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
}

/// All that a set of policies says about one pattern.
#[derive(Debug)]
pub struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) permissions: Permissions,
    sources: Vec<Source>,
    /// The text of the grounds by capability, made when it is first asked for.
    texts: [OnceLock<Arc<str>>; 8],
}

/// One stanza that had a part in a rule.
#[derive(Debug, Clone)]
struct Source {
    policy: PolicyName,
    line: Option<u32>,
    capabilities: Capabilities,
}

/// A request, as far as policies look at it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Where.
    pub path: &'a RequestPath,
    /// What. Whether a write is a create or an update is the caller's to find out.
    pub operation: Operation,
    /// The fields at the top of the body or the query; `None` is as none.
    pub parameters: Option<&'a Map<String, Value>>,
    /// The wrapping time that was asked for.
    pub wrap_ttl: Option<Duration>,
}

/// What came out.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Whether the policies allow it.
    pub allowed: bool,
    /// Whether they also give `sudo` there. Never without `allowed`.
    pub sudo: bool,
    /// The rule that decided; `None` if none matched.
    pub rule: Option<Grounds<'a>>,
    /// Why not. `None` if allowed.
    pub denied_because: Option<Denial>,
}

/// The rule behind a decision. `Display`: `"secret/*" (app line 3, base)`, the stanzas that had
/// a say.
#[derive(Debug, Clone, Copy)]
pub struct Grounds<'a> {
    rule: Option<&'a Rule>,
    capability: Capabilities,
}

/// Why policies do not allow a request. Names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No pattern matches the path.
    #[error("no rule matches the path")]
    NoRule,
    /// The rule that matches best denies.
    #[error("the rule for the path denies")]
    Explicit,
    /// The rule that matches best does not hold the capability.
    #[error("the rule for the path does not grant the capability")]
    NotGranted,
    /// The rule demands response wrapping within bounds.
    #[error("the rule for the path demands another wrapping TTL")]
    Wrapping,
    /// A required parameter is not there.
    #[error("a required parameter is missing")]
    ParameterMissing,
    /// A parameter has a denied value.
    #[error("a parameter is denied")]
    ParameterDenied,
    /// A parameter, or its value, is not among the allowed ones.
    #[error("a parameter is not allowed")]
    ParameterNotAllowed,
}

impl Acl {
    /// What the policy `root` stands for: everything, with sudo.
    pub fn root() -> Self {
        Self {
            root: true,
            ..Self::compile(std::iter::empty())
        }
    }

    /// Compiles a set of policies for a caller of whom templates can tell nothing. Their order
    /// does not matter.
    pub fn compile<'a>(policies: impl Iterator<Item = &'a Policy> + Clone) -> Self {
        Self::compile_for(policies, None)
    }

    /// Compiles a set of policies for one caller.
    pub fn compile_for<'a>(
        policies: impl Iterator<Item = &'a Policy> + Clone,
        identity: Option<&Identity>,
    ) -> Self {
        let base = Self::compile_fixed(policies.clone());
        if policies.clone().any(Policy::has_templates) {
            Self::fill(&Arc::new(base), policies, identity)
        } else {
            base
        }
    }

    /// Compiles what a set of policies says to everybody: [`Acl::fill`] adds the rest.
    pub fn compile_fixed<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut gathered = Gathered::default();
        for (policy, rule) in policies.flat_map(with_rules) {
            if let Place::Fixed(pattern) = &rule.place {
                gathered.add(policy, rule, pattern.clone(), None);
            }
        }
        gathered.indexed()
    }

    /// Adds to `base` what the templates of `policies` say to one caller. Only that is compiled
    /// and takes memory.
    pub fn fill<'a>(
        base: &Arc<Self>,
        policies: impl Iterator<Item = &'a Policy>,
        identity: Option<&Identity>,
    ) -> Self {
        let mut gathered = Gathered::default();
        for (policy, rule) in policies.flat_map(with_rules) {
            let Place::Template(template) = &rule.place else {
                continue;
            };
            match template.fill(identity) {
                Some(pattern) => gathered.add(policy, rule, pattern, Some(base)),
                None if rule.permissions.capabilities.has(Capabilities::DENY) => {
                    let pattern = template.prefix();
                    gathered.barred.push(rule_of(policy, rule, pattern));
                }
                None => {}
            }
        }
        Self {
            base: Some(base.clone()),
            ..gathered.indexed()
        }
    }

    /// Compiles a set of policies as they would be for whoever gains most by them, to be held
    /// against by [`Acl::covers`]. Denials that templates would give do not count: nobody knows
    /// where they stand.
    pub fn widest<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut gathered = Gathered::default();
        for (policy, rule) in policies.flat_map(with_rules) {
            match &rule.place {
                Place::Fixed(pattern) => gathered.add(policy, rule, pattern.clone(), None),
                Place::Template(template) => {
                    gathered.wide.push(rule_of(policy, rule, template.widest()));
                }
            }
        }
        gathered.indexed()
    }

    fn index(mut rules: Vec<Rule>) -> Self {
        for rule in &mut rules {
            rule.sources
                .sort_by(|a, b| (&a.policy, a.line).cmp(&(&b.policy, b.line)));
        }
        let mut acl = Self {
            root: false,
            rules: Vec::new(),
            exact: HashMap::new(),
            prefixes: Vec::new(),
            segments: Segments::default(),
            base: None,
            barred: Vec::new(),
            wide: Vec::new(),
        };
        for (at, rule) in rules.iter().enumerate() {
            match (rule.pattern.has_segments(), rule.pattern.is_prefix()) {
                (true, _) => acl.segments.insert(&rule.pattern, at),
                (false, true) => acl.prefixes.push(Prefix {
                    rule: at,
                    parent: None,
                }),
                (false, false) => {
                    acl.exact.insert(rule.pattern.body().into(), at);
                }
            }
        }
        acl.rules = rules;
        acl.nest_prefixes();
        acl
    }

    fn nest_prefixes(&mut self) {
        let (rules, prefixes) = (&self.rules, &mut self.prefixes);
        let body = |prefix: &Prefix| rules[prefix.rule].pattern.body();
        prefixes.sort_by(|a, b| body(a).cmp(body(b)));
        for at in 1..prefixes.len() {
            let mut above = Some(at - 1);
            while let Some(candidate) = above {
                if body(&prefixes[at]).starts_with(body(&prefixes[candidate])) {
                    break;
                }
                above = prefixes[candidate].parent;
            }
            prefixes[at].parent = above;
        }
    }

    /// Whether this is [`Acl::root`].
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Judges a request.
    pub fn check<'a>(&'a self, ask: &Ask<'_>) -> Decision<'a> {
        let capability = Capabilities::from(ask.operation);
        if self.root {
            let grounds = Grounds {
                rule: None,
                capability,
            };
            return Decision {
                allowed: true,
                sudo: true,
                rule: Some(grounds),
                denied_because: None,
            };
        }
        let Some(rule) = self.rule_for(ask.path.as_str(), ask.operation == Operation::List) else {
            let denied_because = Some(Denial::NoRule);
            return Decision {
                allowed: false,
                sudo: false,
                rule: None,
                denied_because,
            };
        };
        let denied_because = judge(&rule.permissions, capability, ask).err();
        let allowed = denied_because.is_none();
        Decision {
            allowed,
            sudo: allowed && rule.permissions.capabilities.has(Capabilities::SUDO),
            rule: Some(Grounds {
                rule: Some(rule),
                capability,
            }),
            denied_because,
        }
    }

    /// What is allowed on `path`, in the words of `sys/capabilities`: sorted, `root` alone for
    /// root, `deny` alone for nothing. A leading `/` is dropped.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.root {
            return vec!["root"];
        }
        let path = path.trim_start_matches('/');
        match self
            .rule_for(path, true)
            .map(|rule| rule.permissions.capabilities)
        {
            Some(set) if !set.is_empty() && !set.has(Capabilities::DENY) => set.words().collect(),
            _ => vec!["deny"],
        }
    }

    /// Whether anything may be done at or below `mount` (which ends in `/`), as far as single
    /// rules tell: a rule that another one overrides everywhere still counts.
    pub fn reaches(&self, mount: &str) -> bool {
        if self.root || self.capabilities(mount) != ["deny"] {
            return true;
        }
        if self.bar_on(mount).is_some() {
            return false;
        }
        self.all_rules().any(|rule| {
            let below = match rule.pattern.has_segments() {
                true => rule.pattern.enters(mount),
                false => rule.pattern.body().starts_with(mount),
            };
            below && rule.permissions.capabilities.grants()
        })
    }

    /// The one rule that decides about `path`.
    fn rule_for(&self, path: &str, list: bool) -> Option<&Rule> {
        let bare = path.strip_suffix('/').filter(|_| list);
        if let Some(bar) = self.bar_on(path) {
            return Some(bar);
        }
        let exact = self.exact_rule(path).or_else(|| self.exact_rule(bare?));
        if exact.is_some() {
            return exact;
        }
        let mut best: Option<&Rule> = None;
        for acl in self.layers() {
            // Of two with one rank, and so one pattern, the first counts.
            let mut consider = |at: usize| {
                let rule = &acl.rules[at];
                if best.is_none_or(|best| rule.pattern.rank() > best.pattern.rank()) {
                    best = Some(rule);
                }
            };
            for path in [Some(path), bare].into_iter().flatten() {
                acl.longest_prefix(path).into_iter().for_each(&mut consider);
                acl.segments.matches(path, &mut consider);
            }
        }
        best
    }

    /// This list, and what it shares with others.
    fn layers(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.base.as_deref())
    }

    fn exact_rule(&self, path: &str) -> Option<&Rule> {
        self.layers()
            .find_map(|acl| acl.exact.get(path).map(|at| &acl.rules[*at]))
    }

    /// All rules that count.
    pub(crate) fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        let shared = self.base.iter().flat_map(|base| &base.rules);
        let counts = |rule: &&Rule| self.rule_at(rule.pattern.text()).is_none();
        self.rules.iter().chain(shared.filter(counts))
    }

    /// Our own rule for just this pattern.
    fn rule_at(&self, text: &str) -> Option<&Rule> {
        let at = self
            .rules
            .binary_search_by(|rule| rule.pattern.text().cmp(text));
        at.ok().map(|at| &self.rules[at])
    }

    fn bar_on(&self, path: &str) -> Option<&Rule> {
        let bars = |bar: &&Rule| path.starts_with(bar.pattern.body());
        self.barred.iter().find(bars)
    }

    /// The greatest prefix not above `path` begins with each prefix of `path` there is, so the
    /// longest of them is it or one of its parents.
    fn longest_prefix(&self, path: &str) -> Option<usize> {
        let body = |prefix: &Prefix| self.rules[prefix.rule].pattern.body();
        let mut at = self
            .prefixes
            .partition_point(|prefix| body(prefix) <= path)
            .checked_sub(1);
        while let Some(prefix) = at.map(|at| &self.prefixes[at]) {
            if path.starts_with(body(prefix)) {
                return Some(prefix.rule);
            }
            at = prefix.parent;
        }
        None
    }
}

/// The rules of a set of policies by the text of their patterns.
#[derive(Default)]
struct Gathered {
    by_text: BTreeMap<Box<str>, Rule>,
    barred: Vec<Rule>,
    wide: Vec<Rule>,
}

impl Gathered {
    /// Adds a rule to what is known of its pattern, in `base` too.
    fn add(&mut self, policy: &Policy, rule: &PathRule, pattern: Pattern, base: Option<&Acl>) {
        let text: Box<str> = pattern.text().into();
        let shared = || base.and_then(|base| base.rule_at(&text));
        match self.by_text.get_mut(&text) {
            Some(known) => known.unite(policy, rule),
            None => {
                let new = match shared() {
                    Some(known) => {
                        let mut new = known.again();
                        new.unite(policy, rule);
                        new
                    }
                    None => rule_of(policy, rule, pattern),
                };
                self.by_text.insert(text, new);
            }
        }
    }

    fn indexed(self) -> Acl {
        Acl {
            barred: self.barred,
            wide: self.wide,
            ..Acl::index(self.by_text.into_values().collect())
        }
    }
}

impl Rule {
    fn unite(&mut self, policy: &Policy, rule: &PathRule) {
        self.permissions.unite(&rule.permissions);
        self.sources.push(Source::of(policy, rule));
    }

    /// The same rule once more.
    fn again(&self) -> Self {
        Self {
            pattern: self.pattern.clone(),
            permissions: self.permissions.clone(),
            sources: self.sources.clone(),
            texts: Default::default(),
        }
    }
}

fn with_rules(policy: &Policy) -> impl Iterator<Item = (&Policy, &PathRule)> {
    policy.rules.iter().map(move |rule| (policy, rule))
}

fn rule_of(policy: &Policy, rule: &PathRule, pattern: Pattern) -> Rule {
    Rule {
        pattern,
        permissions: rule.permissions.clone(),
        sources: vec![Source::of(policy, rule)],
        texts: Default::default(),
    }
}

impl Source {
    fn of(policy: &Policy, rule: &PathRule) -> Self {
        Self {
            policy: policy.name().clone(),
            line: rule.line,
            capabilities: rule.permissions.capabilities,
        }
    }
}

fn judge(rule: &Permissions, capability: Capabilities, ask: &Ask<'_>) -> Result<(), Denial> {
    if rule.capabilities.has(Capabilities::DENY) {
        return Err(Denial::Explicit);
    }
    if !rule.capabilities.has(capability) {
        return Err(Denial::NotGranted);
    }
    if !rule.allows_wrapping(ask.wrap_ttl) {
        return Err(Denial::Wrapping);
    }
    match ask.operation {
        Operation::List | Operation::Delete => Ok(()),
        Operation::Create | Operation::Read | Operation::Update | Operation::Patch => {
            rule.parameters.check(ask.parameters)
        }
    }
}

impl Grounds<'_> {
    /// The pattern of the rule; `*` for root.
    pub fn pattern(&self) -> &str {
        self.rule.map_or("*", |rule| rule.pattern.text())
    }

    /// The policies whose stanzas granted the capability or denied, else all that say anything
    /// about the pattern; `root` for root.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        let root = self.rule.is_none().then_some("root");
        root.into_iter()
            .chain(self.sources().map(|source| source.policy.as_str()))
    }

    /// The same with the lines of their stanzas, where the policy is HCL.
    pub fn lines(&self) -> impl Iterator<Item = (&str, Option<u32>)> {
        let root = self.rule.is_none().then_some(("root", None));
        root.into_iter().chain(
            self.sources()
                .map(|source| (source.policy.as_str(), source.line)),
        )
    }

    /// What `Display` prints, made once for each rule and capability.
    pub fn text(&self) -> Arc<str> {
        static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| "root".into());
        let Some(rule) = self.rule else {
            return ROOT.clone();
        };
        rule.texts[self.capability.lowest()]
            .get_or_init(|| self.to_string().into())
            .clone()
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        let sources = self.rule.map_or(&[][..], |rule| &rule.sources);
        let telling = Capabilities::DENY | self.capability;
        let any = sources
            .iter()
            .any(|source| source.capabilities.meets(telling));
        sources
            .iter()
            .filter(move |source| !any || source.capabilities.meets(telling))
    }
}

impl fmt::Display for Grounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rule.is_none() {
            return f.write_str("root");
        }
        write!(f, "{:?} (", self.pattern())?;
        for (at, source) in self.sources().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", source.policy)?;
            if let Some(line) = source.line {
                write!(f, " line {line}")?;
            }
        }
        f.write_str(")")
    }
}
