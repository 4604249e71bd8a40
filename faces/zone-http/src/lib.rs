//! The HTTP face: parse, ask for a permit, call one service, map the error.

pub mod vault;
