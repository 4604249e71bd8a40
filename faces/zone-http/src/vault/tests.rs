//! The face as a whole, over a zone in memory.

mod audited;
mod open;
mod shapes;
mod sys;
mod wrapping;
