//! Whole flows over a store in memory. The requests under `tests/data` were made by openssl 3.0.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod attacks;
mod authorities;
mod crash;
mod issuing;
mod leasing;
mod revoking;
mod zone;
