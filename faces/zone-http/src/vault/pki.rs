//! PKI under `/v1/<mount>/`. (skeleton)
