//! Password hashing: Argon2id (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};

/// Bytes of a hash.
pub const HASH_LEN: usize = 32;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// OWASP's recommendation with the least memory of its first two: 19 MiB, two passes, one
    /// lane.
    pub const USUAL: Self = Self {
        memory: 19 * 1024,
        passes: 2,
        lanes: 1,
    };
    /// The least that the algorithm takes; protects nothing.
    pub const LEAST: Self = Self {
        memory: 8,
        passes: 1,
        lanes: 1,
    };
}

/// The cost is outside of what the algorithm takes, or the password is longer than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be hashed with this cost")]
pub struct PasswordFault;

/// The Argon2id hash of `password`. Blocks for as long as `cost` says.
pub fn hash(password: &[u8], salt: &[u8; 16], cost: Cost) -> Result<[u8; HASH_LEN], PasswordFault> {
    let params = Params::new(cost.memory, cost.passes, cost.lanes, Some(HASH_LEN));
    let params = params.map_err(|_| PasswordFault)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = [0; HASH_LEN];
    argon
        .hash_password_into(password, salt, &mut out)
        .map_err(|_| PasswordFault)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the reference implementation (libargon2, through argon2-cffi 25.1):
    /// `hash_secret_raw(b"password", b"somesalt12345678", 2, 64, 1, 32, Type.ID)`.
    #[test]
    fn agrees_with_the_reference_implementation() {
        let cost = Cost {
            memory: 64,
            passes: 2,
            lanes: 1,
        };
        let hash = hash(b"password", b"somesalt12345678", cost).unwrap();
        assert_eq!(
            hex::encode(hash),
            "d1dd9f4bfa15a408c1ae553f4c84aa83d73afcdb94a3b5b597e8eb201489b96b"
        );
    }

    #[test]
    fn every_part_counts() {
        let base = hash(b"p", &[1; 16], Cost::LEAST).unwrap();
        let more = Cost {
            passes: 2,
            ..Cost::LEAST
        };
        assert_ne!(hash(b"q", &[1; 16], Cost::LEAST).unwrap(), base);
        assert_ne!(hash(b"p", &[2; 16], Cost::LEAST).unwrap(), base);
        assert_ne!(hash(b"p", &[1; 16], more).unwrap(), base);
        let none = Cost {
            memory: 0,
            ..Cost::LEAST
        };
        assert_eq!(hash(b"p", &[1; 16], none), Err(PasswordFault));
    }
}
