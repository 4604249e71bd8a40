//! Certificates, requests and revocation lists (RFC 5280).
