//! userpass: people log in with a name and a password.
//!
//! ```text
//! user/NAME                a user: the Argon2id hash of the password, and what tokens are like
//! lock/NAME                the user is locked until then
//! ```
//!
//! Wrong passwords are counted in memory and locks are stored: a head that restarts forgets up to
//! four wrong ones of each user, and no lock. A count in the store would have to be written before
//! the answer, for users alone, and so would tell users from strangers by the time it takes; and
//! for strangers too it would let anybody write to the store. For the same reason the lock is
//! written behind the answer that brings it about; in memory it holds at once.

mod lockout;
mod login;
mod user;

pub use lockout::LockedUsers;
pub(crate) use lockout::Lockout;
pub use user::{MAX_PASSWORD, UserChange};
pub(crate) use user::{read, user_key};
