//! `sys/`.

use zone_access::Operation;

use super::{
    Field, Route, decimal, delete, does, flag, list, number, object, read, text, texts, time, write,
};

const TOKEN: &[Field] = &[text(
    "token",
    "The wrapping token; the calling one if none is given",
)];
const POLICY: &[Field] = &[text("policy", "Its text, HCL or JSON, or base64 of it")];
const MOUNT: &[Field] = &[
    text("type", "The engine"),
    text("description", "Free text"),
    object("options", "The engine's options"),
    object("config", "What can be tuned"),
    time("default_lease_ttl", "Tune: default lease time"),
    time("max_lease_ttl", "Tune: longest lease time"),
    text("listing_visibility", "Tune: hidden or unauth"),
    texts(
        "audit_non_hmac_request_keys",
        "Tune: what stands in the clear in the audit trail",
    ),
    texts("audit_non_hmac_response_keys", "Tune: the same for answers"),
];

const LEVEL: &[Field] = &[text("level", "trace, debug, info, warn or error")];
const HASH: &[Field] = &[
    text("input", "The text, in base64"),
    text("algorithm", "sha2-256 if none is named"),
    text("format", "hex or base64"),
];
const RANDOM: &[Field] = &[
    number("bytes", "How many; 32 if nothing is said"),
    text("source", "platform"),
    text("format", "base64 or hex"),
];
const SHARE: &[Field] = &[
    text("key", "A key share, in hex or base64"),
    text("nonce", "That of the operation"),
];
const NONCE: &[Field] = &[text("nonce", "Cancels only the operation that has it")];

const LEASE: &[Field] = &[text("lease_id", "Which; else the one in the path")];
const RENEW_LEASE: &[Field] = &[
    text("lease_id", "Which; else the one in the path"),
    time("increment", "For how long from now"),
];
const REVOKE_LEASE: &[Field] = &[
    text("lease_id", "Which; else the one in the path"),
    flag("sync", "Waits for the engine"),
];
const QUOTA_PATH: Field = text(
    "path",
    "A mount, a path below one, or its beginning with *; all if none is given",
);
const QUOTA_INHERITABLE: Field = flag("inheritable", "Of a quota of the zone alone");
const RATE_LIMIT: &[Field] = &[
    QUOTA_PATH,
    decimal("rate", "Requests of one client in one interval"),
    time("interval", "One second if none is given"),
    time(
        "block_interval",
        "For how long whoever asked for more is refused",
    ),
    QUOTA_INHERITABLE,
];
const LEASE_COUNT: &[Field] = &[
    QUOTA_PATH,
    number("max_leases", "How many live at once"),
    QUOTA_INHERITABLE,
];
const QUOTA_CONFIG: &[Field] = &[
    flag(
        "enable_rate_limit_audit_logging",
        "Whether refused requests have lines in the audit trail",
    ),
    flag(
        "enable_rate_limit_response_headers",
        "Whether answers tell where the client stands",
    ),
    texts("rate_limit_exempt_paths", "What no rate limit is about"),
    texts("absolute_rate_limit_exempt_paths", "The same"),
];
const LEASES: &[Field] = &[text("type", "irrevocable, revoking or active")];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "leases",
        about: "Ended leases whose engine has still to take back what they stand for",
        does: &[read(&[
            text("type", "irrevocable or revoking"),
            text("limit", "How many; 10,000 if nothing is said, or none"),
        ])],
    },
    Route {
        pattern: "leases/count",
        about: "Numbers of leases",
        does: &[read(LEASES)],
    },
    Route {
        pattern: "leases/lookup",
        about: "A lease; the names of leases",
        does: &[write(LEASE), list(&[])],
    },
    Route {
        pattern: "leases/lookup/{prefix*}",
        about: "The names of leases below a path",
        does: &[list(&[])],
    },
    Route {
        pattern: "leases/renew",
        about: "Makes a lease live longer",
        does: &[write(RENEW_LEASE)],
    },
    Route {
        pattern: "leases/renew/{lease_id*}",
        about: "Makes a lease live longer",
        does: &[write(RENEW_LEASE)],
    },
    Route {
        pattern: "leases/revoke",
        about: "Ends a lease",
        does: &[write(REVOKE_LEASE)],
    },
    Route {
        pattern: "leases/revoke/{lease_id*}",
        about: "Ends a lease",
        does: &[write(REVOKE_LEASE)],
    },
    Route {
        pattern: "leases/revoke-prefix/{prefix*}",
        about: "Ends all leases and tokens given out below a path",
        does: &[write(&[flag("sync", "Waits for the engines")])],
    },
    Route {
        pattern: "leases/revoke-force/{prefix*}",
        about: "Ends leases below a path, and lets go of those whose engine fails",
        does: &[write(&[])],
    },
    Route {
        pattern: "leases/tidy",
        about: "One round of the background work at once",
        does: &[write(&[])],
    },
    Route {
        pattern: "quotas/config",
        about: "What holds for all rate limits",
        does: &[read(&[]), write(QUOTA_CONFIG)],
    },
    Route {
        pattern: "quotas/rate-limit",
        about: "The names of rate limits",
        does: &[list(&[])],
    },
    Route {
        pattern: "quotas/rate-limit/{name}",
        about: "How often one client may ask below a path",
        does: &[read(&[]), write(RATE_LIMIT), delete()],
    },
    Route {
        pattern: "quotas/lease-count",
        about: "The names of limits of leases",
        does: &[list(&[])],
    },
    Route {
        pattern: "quotas/lease-count/{name}",
        about: "How many leases may live below a path",
        does: &[read(&[]), write(LEASE_COUNT), delete()],
    },
    Route {
        pattern: "config/auditing/request-headers",
        about: "Request headers in the audit trail",
        does: &[read(&[]), list(&[])],
    },
    Route {
        pattern: "config/auditing/request-headers/{header}",
        about: "How a request header stands in the audit trail",
        does: &[
            read(&[]),
            write(&[flag("hmac", "As an HMAC, else in the clear")]),
            delete(),
        ],
    },
    Route {
        pattern: "config/cors",
        about: "Which web pages may call",
        does: &[
            read(&[]),
            write(&[
                texts(
                    "allowed_origins",
                    "Origins like https://ui.example, or * for all",
                ),
                texts("allowed_headers", "Request headers that they may send too"),
            ]),
            delete(),
        ],
    },
    Route {
        pattern: "config/ui/headers",
        about: "Headers that a user interface sends",
        does: &[read(&[]), list(&[])],
    },
    Route {
        pattern: "config/ui/headers/{header}",
        about: "A header that a user interface sends",
        does: &[
            read(&[flag("multivalue", "Whether all values are shown in a list")]),
            write(&[texts("values", "Its values")]),
            delete(),
        ],
    },
    Route {
        pattern: "host-info",
        about: "The machine",
        does: &[read(&[])],
    },
    Route {
        pattern: "in-flight-req",
        about: "The requests that are being served",
        does: &[read(&[])],
    },
    Route {
        pattern: "loggers",
        about: "How much is logged, by part of the program",
        does: &[read(&[]), write(LEVEL), delete()],
    },
    Route {
        pattern: "loggers/{name}",
        about: "How much a part of the program logs",
        does: &[read(&[]), write(LEVEL), delete()],
    },
    Route {
        pattern: "raw/{path*}",
        about: "Records of the store, decrypted, past every service; if the configuration says so",
        does: &[
            read(&[text("encoding", "base64 for values that are no text")]),
            list(&[]),
            write(&[
                text("value", "The value"),
                text("encoding", "base64 for values that are no text"),
                flag("compressed", "Not offered"),
            ]),
            delete(),
        ],
    },
    Route {
        pattern: "tools/hash",
        about: "Hashes a text",
        does: &[write(HASH)],
    },
    Route {
        pattern: "tools/hash/{algorithm}",
        about: "Hashes a text",
        does: &[write(HASH)],
    },
    Route {
        pattern: "tools/random",
        about: "Draws random bytes",
        does: &[write(RANDOM)],
    },
    Route {
        pattern: "tools/random/{source_or_bytes}",
        about: "Draws random bytes",
        does: &[write(RANDOM)],
    },
    Route {
        pattern: "tools/random/{source}/{bytes}",
        about: "Draws so many random bytes",
        does: &[write(RANDOM)],
    },
    Route {
        pattern: "version-history",
        about: "The versions of the program that opened the zone",
        does: &[list(&[])],
    },
    Route {
        pattern: "health",
        about: "Whether the zone is initialised and open",
        does: &[read(&[
            number("activecode", "The status for an open zone"),
            number("sealedcode", "The status for a sealed one"),
            number("uninitcode", "The status for one that was not initialised"),
        ])],
    },
    Route {
        pattern: "seal-status",
        about: "How the zone is sealed, and how far an unsealing is",
        does: &[read(&[])],
    },
    Route {
        pattern: "leader",
        about: "Who serves the zone",
        does: &[read(&[])],
    },
    Route {
        pattern: "init",
        about: "Makes the zone",
        does: &[
            read(&[]),
            write(&[
                number("secret_shares", "Unseal key shares"),
                number("secret_threshold", "How many of them open the zone"),
                texts("age_recipients", "To whom each share is encrypted"),
            ]),
        ],
    },
    Route {
        pattern: "unseal",
        about: "Gives one unseal key share",
        does: &[write(&[
            text("key", "The share, in hex or base64"),
            flag("reset", "Drops the shares that were given"),
            text("nonce", "With reset: drops those of all callers"),
        ])],
    },
    Route {
        pattern: "seal",
        about: "Seals the zone",
        does: &[write(&[])],
    },
    Route {
        pattern: "key-status",
        about: "The key that new records are encrypted with",
        does: &[read(&[])],
    },
    Route {
        pattern: "rotate",
        about: "Begins a new key",
        does: &[write(&[])],
    },
    Route {
        pattern: "rotate/config",
        about: "When a new key begins by itself",
        does: &[
            read(&[]),
            write(&[
                flag("enabled", "Whether keys also end by time"),
                number("max_operations", "Records under one key"),
                time(
                    "interval",
                    "How long a key lasts; 0 for ever, else a day or more",
                ),
            ]),
        ],
    },
    Route {
        pattern: "rekey/init",
        about: "Replaces the unseal key shares: begin, look, cancel",
        does: &[
            read(&[]),
            write(&[
                number("secret_shares", "New shares"),
                number("secret_threshold", "How many of them open the zone"),
                texts("age_recipients", "To whom each share is encrypted"),
                flag(
                    "require_verification",
                    "They count when their holders have shown them",
                ),
            ]),
            does(Operation::Delete, NONCE),
        ],
    },
    Route {
        pattern: "rekey/update",
        about: "Gives one share of the old set",
        does: &[write(SHARE)],
    },
    Route {
        pattern: "rekey/verify",
        about: "Gives one share of the new set; DELETE begins that anew",
        does: &[read(&[]), write(SHARE), delete()],
    },
    Route {
        pattern: "generate-root/attempt",
        about: "Makes a root token from key shares: begin, look, cancel",
        does: &[
            read(&[]),
            write(&[text("otp", "The password that the token is encoded with")]),
            does(Operation::Delete, NONCE),
        ],
    },
    Route {
        pattern: "generate-root/update",
        about: "Gives one share",
        does: &[write(SHARE)],
    },
    Route {
        pattern: "remount",
        about: "Moves a mount to another path",
        does: &[write(&[
            text("from", "Where it is"),
            text("to", "Where it is to be"),
        ])],
    },
    Route {
        pattern: "remount/status/{id}",
        about: "What became of a remount",
        does: &[read(&[])],
    },
    Route {
        pattern: "step-down",
        about: "Nothing to do: a zone has one head",
        does: &[write(&[])],
    },
    Route {
        pattern: "ha-status",
        about: "The heads of the zone",
        does: &[read(&[])],
    },
    Route {
        pattern: "mounts",
        about: "All mounts",
        does: &[read(&[]), list(&[])],
    },
    Route {
        pattern: "mounts/{path*}",
        about: "A mount; below tune what can be changed",
        does: &[read(&[]), write(MOUNT), delete()],
    },
    Route {
        pattern: "internal/specs/openapi",
        about: "The OpenAPI document of what the caller can see",
        does: &[read(&[flag(
            "generic_mount_paths",
            "Whether engines stand at places in braces",
        )])],
    },
    Route {
        pattern: "internal/ui/mounts",
        about: "The mounts that the caller can see",
        does: &[read(&[])],
    },
    Route {
        pattern: "internal/ui/mounts/{path*}",
        about: "The mount of a path",
        does: &[read(&[])],
    },
    Route {
        pattern: "policy",
        about: "The names of all policies",
        does: &[read(&[]), list(&[])],
    },
    Route {
        pattern: "policy/{name}",
        about: "A policy",
        does: &[read(&[]), write(POLICY), delete()],
    },
    Route {
        pattern: "policies/acl",
        about: "The names of all policies",
        does: &[list(&[])],
    },
    Route {
        pattern: "policies/acl/{name}",
        about: "A policy",
        does: &[read(&[]), write(POLICY), delete()],
    },
    Route {
        pattern: "locked-users",
        about: "Who is locked after too many wrong passwords",
        does: &[read(&[text("mount_accessor", "Of this auth method alone")])],
    },
    Route {
        pattern: "locked-users/{mount_accessor}/unlock/{alias_identifier}",
        about: "Lifts the lock of a user",
        does: &[write(&[])],
    },
    Route {
        pattern: "auth",
        about: "All auth methods",
        does: &[read(&[]), list(&[])],
    },
    Route {
        pattern: "auth/{path*}",
        about: "An auth method; below tune what can be changed",
        does: &[read(&[]), write(MOUNT), delete()],
    },
    Route {
        pattern: "audit",
        about: "All audit devices",
        does: &[read(&[]), list(&[])],
    },
    Route {
        pattern: "audit/{path}",
        about: "An audit device",
        does: &[
            write(&[
                text("type", "file, syslog or socket"),
                text("description", "Free text"),
                object(
                    "options",
                    "Of the type: file_path; facility, tag; address, socket_type",
                ),
            ]),
            delete(),
        ],
    },
    Route {
        pattern: "audit-hash/{path}",
        about: "What stands in the audit trail for a text",
        does: &[write(&[text("input", "The text")])],
    },
    Route {
        pattern: "events/subscribe/{type*}",
        about: "Events of a type, over a WebSocket or as server-sent events",
        does: &[read(&[flag("json", "Must be true for a WebSocket")])],
    },
    Route {
        pattern: "capabilities",
        about: "What a token may do on paths",
        does: &[write(&[
            text("token", "The token"),
            texts("paths", "The paths"),
        ])],
    },
    Route {
        pattern: "capabilities-self",
        about: "What the calling token may do on paths",
        does: &[write(&[texts("paths", "The paths")])],
    },
    Route {
        pattern: "capabilities-accessor",
        about: "What a token may do on paths, by its accessor",
        does: &[write(&[
            text("accessor", "The token's accessor"),
            texts("paths", "The paths"),
        ])],
    },
    Route {
        pattern: "metrics",
        about: "What the head counts",
        does: &[read(&[text("format", "prometheus or json")])],
    },
    Route {
        pattern: "wrapping/wrap",
        about: "Wraps whatever is sent",
        does: &[write(&[])],
    },
    Route {
        pattern: "wrapping/unwrap",
        about: "Gives the answer behind a wrapping token, once",
        does: &[write(TOKEN)],
    },
    Route {
        pattern: "wrapping/rewrap",
        about: "Moves the answer to a new wrapping token",
        does: &[write(TOKEN)],
    },
    Route {
        pattern: "wrapping/lookup",
        about: "What is known of a wrapping token",
        does: &[read(&[]), write(TOKEN)],
    },
];
