//! age recipients (age-encryption.org/v1) for key shares.
