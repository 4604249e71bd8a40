//! KV v2 under `/v1/<mount>/`. (skeleton)
