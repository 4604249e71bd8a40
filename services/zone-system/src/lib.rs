//! Init, seal, rotation, audit configuration.
