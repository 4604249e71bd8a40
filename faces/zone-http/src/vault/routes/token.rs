//! `auth/token/`.

use super::{Route, flag, list, number, object, read, text, texts, time, write};

const CREATE: &[super::Field] = &[
    text("id", "A text of one's own choice; needs sudo"),
    texts(
        "policies",
        "Of the caller's own; all of them if none is named",
    ),
    object("meta", "Notes: texts by name"),
    flag("no_parent", "Makes an orphan; needs sudo"),
    flag("no_default_policy", "Leaves out the policy default"),
    flag("renewable", "Whether it can be renewed"),
    time("ttl", "Time to live"),
    time("explicit_max_ttl", "Longest life, whatever the renewals"),
    time("period", "Makes it periodic; needs sudo"),
    text("display_name", "Shown in the audit trail"),
    number("num_uses", "Uses; 0 for unlimited"),
    texts("bound_cidrs", "Addresses from which it can be used"),
    text("type", "service or batch"),
    text(
        "entity_alias",
        "Whose it is: an alias of auth/token/ that the role allows",
    ),
];
const ROLE: &[super::Field] = &[
    texts("allowed_policies", "Policies that its tokens can have"),
    texts("allowed_policies_glob", "Patterns of further ones"),
    texts("disallowed_policies", "Policies that its tokens never have"),
    texts("disallowed_policies_glob", "Patterns of further ones"),
    texts(
        "allowed_entity_aliases",
        "Aliases that its tokens can be given to",
    ),
    flag("orphan", "Its tokens have no parent"),
    flag("renewable", "Its tokens can be renewed"),
    text("path_suffix", "Stands behind the path of its tokens"),
    time("token_period", "Makes its tokens periodic"),
    time("period", "Older name of token_period"),
    time(
        "token_explicit_max_ttl",
        "Longest life, whatever the renewals",
    ),
    time("explicit_max_ttl", "Older name of token_explicit_max_ttl"),
    number("token_num_uses", "Uses of its tokens; 0 for unlimited"),
    flag("token_no_default_policy", "Leaves out the policy default"),
    texts(
        "token_bound_cidrs",
        "Addresses from which its tokens can be used",
    ),
    texts("bound_cidrs", "Older name of token_bound_cidrs"),
    text(
        "token_type",
        "service, batch, default-service or default-batch",
    ),
];
const CUT: &[super::Field] = &[
    text("role", "Of tokens that this role made"),
    text("mount", "Whose role; auth/token/ if not given"),
    text("entity_id", "Of tokens of this entity"),
    flag("all", "Of all batch tokens"),
    text(
        "issued_before",
        "RFC 3339 or seconds since 1970; now if not given",
    ),
];
const TOKEN: &[super::Field] = &[text("token", "The token")];
const ACCESSOR: &[super::Field] = &[text("accessor", "The token's accessor")];
const INCREMENT: super::Field = time("increment", "How much longer");

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "accessors",
        about: "The accessors of all tokens",
        does: &[list(&[])],
    },
    Route {
        pattern: "create",
        about: "Makes a token",
        does: &[write(CREATE)],
    },
    Route {
        pattern: "create/{role}",
        about: "Makes a token by a token role",
        does: &[write(CREATE)],
    },
    Route {
        pattern: "create-orphan",
        about: "Makes a token without a parent",
        does: &[write(CREATE)],
    },
    Route {
        pattern: "lookup",
        about: "What is known of a token; of the calling one if it is read",
        does: &[read(&[]), write(TOKEN)],
    },
    Route {
        pattern: "lookup-self",
        about: "What is known of the calling token",
        does: &[read(&[]), write(&[])],
    },
    Route {
        pattern: "lookup-accessor",
        about: "What is known of a token, by its accessor",
        does: &[write(ACCESSOR)],
    },
    Route {
        pattern: "renew",
        about: "Lets a token live longer",
        does: &[write(&[text("token", "The token"), INCREMENT])],
    },
    Route {
        pattern: "renew-self",
        about: "Lets the calling token live longer",
        does: &[write(&[INCREMENT])],
    },
    Route {
        pattern: "renew-accessor",
        about: "Lets a token live longer, by its accessor",
        does: &[write(&[
            text("accessor", "The token's accessor"),
            INCREMENT,
        ])],
    },
    Route {
        pattern: "revoke",
        about: "Ends a token and all below it",
        does: &[write(TOKEN)],
    },
    Route {
        pattern: "revoke-self",
        about: "Ends the calling token and all below it",
        does: &[write(&[])],
    },
    Route {
        pattern: "revoke-accessor",
        about: "Ends a token and all below it, by its accessor",
        does: &[write(ACCESSOR)],
    },
    Route {
        pattern: "revoke-batch",
        about: "Ends batch tokens by when they were made; read, the marks that do",
        does: &[read(&[]), write(CUT)],
    },
    Route {
        pattern: "roles",
        about: "The names of token roles",
        does: &[list(&[])],
    },
    Route {
        pattern: "roles/{role}",
        about: "A token role: what tokens made at create/{role} are like",
        does: &[read(&[]), write(ROLE), super::delete()],
    },
    Route {
        pattern: "tidy",
        about: "Removes in the background what ended tokens left behind",
        does: &[write(&[])],
    },
    Route {
        pattern: "revoke-orphan",
        about: "Ends a token; its children live on",
        does: &[write(TOKEN)],
    },
];
