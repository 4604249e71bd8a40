//! userpass, below `auth/`.

use super::{Field, Route, delete, flag, list, number, read, text, texts, time, write};

const USER: &[Field] = &[
    text("password", "At most 1024 bytes; a new user needs one"),
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

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "login/{username}",
        about: "A password for a token",
        does: &[write(&[text("password", "The password")])],
    },
    Route {
        pattern: "users",
        about: "The names of all users",
        does: &[list(&[])],
    },
    Route {
        pattern: "users/{username}",
        about: "A user, and what the tokens are like",
        does: &[read(&[]), write(USER), delete()],
    },
    Route {
        pattern: "users/{username}/password",
        about: "Sets the password",
        does: &[write(&[text("password", "The new password")])],
    },
    Route {
        pattern: "users/{username}/policies",
        about: "Sets the policies of the tokens",
        does: &[write(&[texts("token_policies", "")])],
    },
];
