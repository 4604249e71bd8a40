//! What holders of shares have begun together: gone when the zone is sealed or killed.

use zone_access::TokenId;
use zone_types::Secret;

use crate::head::Shares;

/// A rekey that is under way.
#[derive(Clone, Debug)]
pub struct Rekey {
    /// Its nonce.
    pub nonce: String,
    /// Whether new shares have to be shown.
    pub verify: bool,
    /// Shares that were given.
    pub given: usize,
    /// New shares that do not count yet, and the nonce for showing them.
    pub offered: Option<(String, Shares)>,
    /// New shares that were shown.
    pub shown: usize,
}

/// A root token that is being made.
#[derive(Clone, Debug)]
pub struct Rooting {
    /// Its nonce.
    pub nonce: String,
    /// What the token is mixed with.
    pub otp: Secret<String>,
    /// Shares that were given.
    pub given: usize,
    /// They are of a set that was replaced since: with the next one they count no more.
    pub outdated: bool,
}

/// A root token that was made.
#[derive(Clone, Debug)]
pub struct Root {
    /// What its holder presents.
    pub text: Secret<String>,
    /// The same for who revokes it.
    pub id: TokenId,
    /// It was revoked.
    pub ended: bool,
}
