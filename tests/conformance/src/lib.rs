//! The suites that each backend of a port must pass.
