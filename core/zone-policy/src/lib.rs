//! Policies: what a token may do on a path (Vault's rules).

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
