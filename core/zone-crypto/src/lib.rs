//! The one door to the crypto library.
