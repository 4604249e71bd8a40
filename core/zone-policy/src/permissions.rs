//! What one pattern permits, and how the rules of several policies about it are united.

use std::fmt;
use std::time::Duration;

use crate::Operation;
use crate::parameters::Parameters;

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(u16);

impl Capabilities {
    pub(crate) const CREATE: Self = Self(1);
    pub(crate) const DELETE: Self = Self(1 << 1);
    pub(crate) const DENY: Self = Self(1 << 2);
    pub(crate) const LIST: Self = Self(1 << 3);
    pub(crate) const PATCH: Self = Self(1 << 4);
    pub(crate) const READ: Self = Self(1 << 5);
    pub(crate) const SUDO: Self = Self(1 << 6);
    pub(crate) const UPDATE: Self = Self(1 << 7);

    /// Words and sets, sorted by word.
    const WORDS: [(&'static str, Self); 8] = [
        ("create", Self::CREATE),
        ("delete", Self::DELETE),
        ("deny", Self::DENY),
        ("list", Self::LIST),
        ("patch", Self::PATCH),
        ("read", Self::READ),
        ("sudo", Self::SUDO),
        ("update", Self::UPDATE),
    ];

    /// What a message lists when a word is unknown.
    pub(crate) const EXPECTED: &'static str =
        "create, delete, deny, list, patch, read, sudo or update";

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, set)| *set)
    }

    /// What the older attribute `policy` stands for.
    pub(crate) fn from_legacy(word: &str) -> Option<Self> {
        let read = Self::READ | Self::LIST;
        let write = read | Self::CREATE | Self::UPDATE | Self::DELETE;
        match word {
            "deny" => Some(Self::DENY),
            "read" => Some(read),
            "write" => Some(write),
            "sudo" => Some(write | Self::SUDO),
            _ => None,
        }
    }

    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS
            .into_iter()
            .filter(move |(_, set)| self.has(*set))
            .map(|(word, _)| word)
    }

    /// The place of the lowest member: one number below 8 for each single capability.
    pub(crate) fn lowest(self) -> usize {
        (self.0.trailing_zeros() & 7) as usize
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it allows anything: not a denial, not empty, not `sudo` alone.
    pub(crate) fn grants(self) -> bool {
        !self.has(Self::DENY) && self.0 & !Self::SUDO.0 != 0
    }
}

impl From<Operation> for Capabilities {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Create => Self::CREATE,
            Operation::Read => Self::READ,
            Operation::Update => Self::UPDATE,
            Operation::Delete => Self::DELETE,
            Operation::List => Self::LIST,
            Operation::Patch => Self::PATCH,
        }
    }
}

impl std::ops::BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.words()).finish()
    }
}

/// All that is said about one pattern.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Permissions {
    pub(crate) capabilities: Capabilities,
    pub(crate) parameters: Parameters,
    pub(crate) min_wrapping_ttl: Option<Duration>,
    pub(crate) max_wrapping_ttl: Option<Duration>,
}

impl Permissions {
    pub(crate) fn deny() -> Self {
        Self {
            capabilities: Capabilities::DENY,
            ..Self::default()
        }
    }

    /// `deny` on either side wins; else capabilities and parameters are united, and of two
    /// wrapping times the shorter stands (as in Vault).
    pub(crate) fn unite(&mut self, other: &Self) {
        if (self.capabilities | other.capabilities).has(Capabilities::DENY) {
            *self = Self::deny();
            return;
        }
        self.capabilities = self.capabilities | other.capabilities;
        self.parameters.unite(&other.parameters);
        let shorter = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).min();
        self.min_wrapping_ttl = shorter(self.min_wrapping_ttl, other.min_wrapping_ttl);
        self.max_wrapping_ttl = shorter(self.max_wrapping_ttl, other.max_wrapping_ttl);
    }

    /// Whether a wrapping time (or none) is within the bounds. A bound makes wrapping
    /// obligatory.
    pub(crate) fn allows_wrapping(&self, ttl: Option<Duration>) -> bool {
        let (min, max) = (self.min_wrapping_ttl, self.max_wrapping_ttl);
        if min.is_none() && max.is_none() {
            return true;
        }
        ttl.is_some_and(|ttl| min.is_none_or(|min| ttl >= min) && max.is_none_or(|max| ttl <= max))
    }

    /// Whether it can neither allow a thing nor widen another policy's rule for the same
    /// pattern. `sudo` alone can, and so can parameters without capabilities.
    pub(crate) fn grants_nothing(&self) -> bool {
        self.capabilities.has(Capabilities::DENY) || *self == Self::default()
    }

    /// Whether whoever has `self` on a path has at least what `other` gives there. May say no
    /// although he has.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let free = self.parameters.is_empty()
            && self.min_wrapping_ttl.is_none()
            && self.max_wrapping_ttl.is_none();
        let bound_alike = self.parameters == other.parameters
            && self.min_wrapping_ttl == other.min_wrapping_ttl
            && self.max_wrapping_ttl == other.max_wrapping_ttl;
        other.grants_nothing()
            || (self.capabilities.has(other.capabilities) && (free || bound_alike))
    }
}
