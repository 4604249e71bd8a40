//! AppRole: machines log in with a role id, which may be known, and a secret id, which may not.
//!
//! ```text
//! key/hmac                 the key of the mount's HMACs
//! role/NAME                a role
//! role-id/HMAC             whose role id that is
//! s/UID/id/HMAC            a secret id of the role UID
//! s/UID/accessor/HMAC      which secret id an accessor stands for
//! ```
//!
//! A role has an id of its own beside its name (UID), so that secret ids of a role that was
//! deleted are never those of another of its name. Deleting a role is one batch; its secret ids
//! are removed in the background.

mod key;
mod login;
mod role;
mod secret_id;

pub use role::{Role, RoleChange};
pub(crate) use role::{read as read_role, role_key};
pub use secret_id::{Generated, NewSecretId, SecretIdAt, SecretIdInfo, SecretIdText};
