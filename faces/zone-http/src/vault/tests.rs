//! The face as a whole, over a zone in memory.

mod attack;
mod audited;
mod auth;
mod cases;
mod ceremonies;
mod events;
mod host;
mod inputs;
mod methods;
mod open;
mod quotas;
mod routes;
mod shapes;
mod sys;
mod tokens;
mod wrapping;
