//! The audit trail from outside: what devices write and what verification finds.

mod common;
mod kill;
mod stream;
mod trail;
mod verify;
