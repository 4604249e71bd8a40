//! Real servers, real clients.
