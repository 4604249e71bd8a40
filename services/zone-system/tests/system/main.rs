//! The zone as a whole, over a store that dies where it is told to and over real audit files.

#![expect(clippy::unwrap_used, reason = "the whole crate is tests")]

mod audit;
mod background;
mod ceremonies;
mod common;
mod init;
mod records;
mod seal;
mod settings;
mod tampering;
