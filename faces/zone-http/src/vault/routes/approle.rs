//! AppRole, below `auth/`.

use super::{Field, Route, delete, flag, list, number, object, read, text, texts, time, write};

const ROLE: &[Field] = &[
    flag("bind_secret_id", "Whether a secret id is needed"),
    text("role_id", "A role id of one's own choice"),
    flag("local_secret_ids", "Only when the role is made"),
    texts("secret_id_bound_cidrs", "From where secret ids count"),
    number(
        "secret_id_num_uses",
        "Logins of a secret id; 0 for unlimited",
    ),
    time(
        "secret_id_ttl",
        "How long a secret id counts; 0 for unlimited",
    ),
    texts("token_policies", "Policies of the tokens"),
    time("token_ttl", "Time to live of the tokens"),
    time("token_max_ttl", "No renewal goes beyond it"),
    time(
        "token_explicit_max_ttl",
        "Nor beyond this, also of periodic tokens",
    ),
    time("token_period", "Makes the tokens periodic"),
    number("token_num_uses", "Uses of the tokens; 0 for unlimited"),
    texts("token_bound_cidrs", "From where tokens are got and used"),
    flag("token_no_default_policy", "Leaves out the policy default"),
    text(
        "token_type",
        "default, service, batch, default-service or default-batch",
    ),
];
const METADATA: Field = object(
    "metadata",
    "Notes for the tokens: texts by name, or JSON of them",
);
const CIDRS: Field = texts(
    "cidr_list",
    "From where it counts, within what the role says",
);
const TOKEN_CIDRS: Field = texts("token_bound_cidrs", "From where its tokens count, likewise");
const NUM_USES: Field = number("num_uses", "Logins, within what the role says");
const TTL: Field = time("ttl", "How long it counts, within what the role says");
const TEXT: Field = text("secret_id", "The secret id");
const ACCESSOR: Field = text("secret_id_accessor", "The accessor of the secret id");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "login",
        about: "A role id and a secret id for a token",
        does: &[write(&[
            text("role_id", "The role id"),
            text("secret_id", "Not needed if the role does not bind it"),
        ])],
    },
    Route {
        pattern: "tidy/secret-id",
        about: "Removes secret ids that have ended",
        does: &[write(&[])],
    },
    Route {
        pattern: "role",
        about: "The names of all roles",
        does: &[list(&[])],
    },
    Route {
        pattern: "role/{name}",
        about: "A role: what may log in, and what it gets",
        does: &[read(&[]), write(ROLE), delete()],
    },
    Route {
        pattern: "role/{name}/role-id",
        about: "The role id",
        does: &[read(&[]), write(&[text("role_id", "The role id")])],
    },
    Route {
        pattern: "role/{name}/secret-id",
        about: "Makes a secret id; lists the accessors of those that there are",
        does: &[
            list(&[]),
            write(&[METADATA, CIDRS, TOKEN_CIDRS, NUM_USES, TTL]),
        ],
    },
    Route {
        pattern: "role/{name}/custom-secret-id",
        about: "Makes a secret id of one's own choice",
        does: &[write(&[TEXT, METADATA, CIDRS, TOKEN_CIDRS, NUM_USES, TTL])],
    },
    Route {
        pattern: "role/{name}/secret-id/lookup",
        about: "What is known of a secret id",
        does: &[write(&[TEXT])],
    },
    Route {
        pattern: "role/{name}/secret-id/destroy",
        about: "Ends a secret id",
        does: &[write(&[TEXT]), delete()],
    },
    Route {
        pattern: "role/{name}/secret-id-accessor/lookup",
        about: "What is known of a secret id, by its accessor",
        does: &[write(&[ACCESSOR])],
    },
    Route {
        pattern: "role/{name}/secret-id-accessor/destroy",
        about: "Ends a secret id, by its accessor",
        does: &[write(&[ACCESSOR]), delete()],
    },
    Route {
        pattern: "role/{name}/policies",
        about: "The policies of the tokens",
        does: &[read(&[]), write(&[texts("token_policies", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/period",
        about: "Makes the tokens periodic",
        does: &[read(&[]), write(&[time("token_period", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/token-num-uses",
        about: "Uses of the tokens",
        does: &[read(&[]), write(&[number("token_num_uses", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/token-ttl",
        about: "Time to live of the tokens",
        does: &[read(&[]), write(&[time("token_ttl", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/token-max-ttl",
        about: "The bound of renewals",
        does: &[read(&[]), write(&[time("token_max_ttl", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/token-bound-cidrs",
        about: "From where tokens are got and used",
        does: &[
            read(&[]),
            write(&[texts("token_bound_cidrs", "")]),
            delete(),
        ],
    },
    Route {
        pattern: "role/{name}/bind-secret-id",
        about: "Whether a secret id is needed",
        does: &[read(&[]), write(&[flag("bind_secret_id", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/secret-id-num-uses",
        about: "Logins of a secret id",
        does: &[
            read(&[]),
            write(&[number("secret_id_num_uses", "")]),
            delete(),
        ],
    },
    Route {
        pattern: "role/{name}/secret-id-ttl",
        about: "How long a secret id counts",
        does: &[read(&[]), write(&[time("secret_id_ttl", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/secret-id-bound-cidrs",
        about: "From where secret ids count",
        does: &[
            read(&[]),
            write(&[texts("secret_id_bound_cidrs", "")]),
            delete(),
        ],
    },
    Route {
        pattern: "role/{name}/bound-cidr-list",
        about: "The older name of secret-id-bound-cidrs",
        does: &[read(&[]), write(&[texts("bound_cidr_list", "")]), delete()],
    },
    Route {
        pattern: "role/{name}/local-secret-ids",
        about: "As it was set when the role was made",
        does: &[read(&[])],
    },
];
