//! The one golden list of endpoints that need no token (A2), and of those that need sudo.
//!
//! `*` at the end matches any rest, `+` one segment, as in policies.

use zone_policy::Operation;

use crate::mount::MountKind;

/// Open endpoints below each mount of a kind that are read. The seal endpoints, which the face
/// serves before there is a mount table, do not stand here.
pub const OPEN: &[(MountKind, &[&str])] = &[
    (
        MountKind::Pki,
        &[
            "ca",
            "ca/pem",
            "ca_chain",
            "cert/+",
            "cert/+/raw",
            "cert/+/raw/pem",
            "crl",
            "crl/pem",
            "crl/chain",
            "crl/shard/+",
            "issuer/+/der",
            "issuer/+/pem",
            "issuer/+/json",
            "issuer/+/crl",
            "issuer/+/crl/der",
            "issuer/+/crl/pem",
        ],
    ),
    (
        MountKind::System,
        &[
            "internal/ui/mounts",
            "internal/ui/mounts/*",
            "wrapping/lookup",
        ],
    ),
];

/// Open endpoints that are written to: a secret in the body stands for the token.
pub const OPEN_WRITES: &[(MountKind, &[&str])] = &[
    (MountKind::System, &["wrapping/lookup"]),
    (MountKind::AppRole, &["login"]),
    (MountKind::Userpass, &["login/+"]),
];

/// Endpoints that need sudo on top of their capability, as in Vault.
pub const SUDO: &[(MountKind, &[&str])] = &[
    (
        MountKind::System,
        &[
            "audit",
            "audit/*",
            "auth/*",
            "config/auditing/*",
            "config/cors",
            "config/ui/*",
            "host-info",
            "in-flight-req",
            "leases",
            "leases/lookup/*",
            "leases/revoke-force/*",
            "leases/revoke-prefix/*",
            "loggers",
            "loggers/*",
            "rotate",
            "rotate/config",
            "rekey/*",
            "generate-root/*",
            "step-down",
            "seal",
            "raw",
            "raw/*",
            "remount",
        ],
    ),
    (
        MountKind::Token,
        &[
            "accessors",
            "create-orphan",
            "revoke-orphan",
            "revoke-batch",
        ],
    ),
];

/// Whether `rest` below a mount of `kind` may be asked for without a token.
pub fn is_open(kind: MountKind, rest: &str, operation: Operation) -> bool {
    match operation {
        Operation::Read => listed(OPEN, kind, rest),
        Operation::Create | Operation::Update => listed(OPEN_WRITES, kind, rest),
        Operation::Delete | Operation::List | Operation::Patch => false,
    }
}

/// Whether `rest` below a mount of `kind` needs sudo, in either spelling of its end.
pub fn needs_sudo(kind: MountKind, rest: &str) -> bool {
    listed(SUDO, kind, rest) || listed(SUDO, kind, rest.strip_suffix('/').unwrap_or(rest))
}

fn listed(table: &[(MountKind, &[&str])], kind: MountKind, rest: &str) -> bool {
    table
        .iter()
        .filter(|(of, _)| *of == kind)
        .flat_map(|(_, patterns)| patterns.iter())
        .any(|pattern| matches(pattern, rest))
}

fn matches(pattern: &str, rest: &str) -> bool {
    if let Some(prefix) = pattern.strip_suffix('*') {
        return rest.starts_with(prefix);
    }
    let (mut left, mut right) = (pattern.split('/'), rest.split('/'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some("+"), Some(segment)) if !segment.is_empty() => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_of_auth_methods_only_logins_are_open() {
        assert!(is_open(MountKind::AppRole, "login", Operation::Update));
        assert!(!is_open(MountKind::AppRole, "login", Operation::Read));
        assert!(!is_open(MountKind::AppRole, "login/x", Operation::Update));
        assert!(!is_open(MountKind::AppRole, "role/x", Operation::Update));
        assert!(is_open(MountKind::Userpass, "login/ann", Operation::Update));
        assert!(!is_open(
            MountKind::Userpass,
            "login/ann",
            Operation::Delete
        ));
        assert!(!is_open(MountKind::Userpass, "login/", Operation::Update));
        assert!(!is_open(
            MountKind::Userpass,
            "users/ann",
            Operation::Update
        ));
    }

    #[test]
    fn a2_open_lists_are_exact() {
        assert!(is_open(
            MountKind::System,
            "wrapping/lookup",
            Operation::Update
        ));
        for (rest, operation) in [
            ("wrapping/lookup", Operation::Delete),
            ("wrapping/lookup", Operation::Patch),
            ("wrapping/lookup/x", Operation::Update),
            ("wrapping/unwrap", Operation::Update),
            ("internal/ui/mounts", Operation::Update),
        ] {
            assert!(!is_open(MountKind::System, rest, operation), "{rest}");
        }
        for (kind, rest, open) in [
            (MountKind::AppRole, "login", true),
            (MountKind::AppRole, "login/x", false),
            (MountKind::AppRole, "role/login", false),
            (MountKind::Userpass, "login/ann", true),
            (MountKind::Userpass, "login", false),
            (MountKind::Userpass, "login/", false),
            (MountKind::Userpass, "login/ann/x", false),
            (MountKind::Userpass, "users/ann", false),
            (MountKind::Token, "login", false),
            (MountKind::Kv, "login", false),
        ] {
            let read = is_open(kind, rest, Operation::Read);
            let other = [Operation::List, Operation::Delete, Operation::Patch];
            assert!(
                !read && !other.iter().any(|o| is_open(kind, rest, *o)),
                "{rest}"
            );
            assert_eq!(is_open(kind, rest, Operation::Update), open, "{rest}");
        }
        assert!(is_open(MountKind::Pki, "ca/pem", Operation::Read));
        assert!(is_open(MountKind::Pki, "cert/aa-bb", Operation::Read));
        assert!(!is_open(MountKind::Pki, "cert/", Operation::Read));
        assert!(!is_open(MountKind::Pki, "certs", Operation::Read));
        assert!(!is_open(MountKind::Pki, "ca/pem", Operation::Update));
        assert!(!is_open(MountKind::Pki, "ca/pem/x", Operation::Read));
        assert!(!is_open(MountKind::Kv, "ca", Operation::Read));
        assert!(needs_sudo(MountKind::System, "audit/file"));
        assert!(needs_sudo(MountKind::System, "auth/approle/tune"));
        assert!(!needs_sudo(MountKind::System, "auth"));
        assert!(!needs_sudo(MountKind::System, "audit-hash/file"));
    }
}
