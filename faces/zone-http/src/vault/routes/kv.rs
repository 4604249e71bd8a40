//! KV.

use super::{Route, delete, flag, list, number, object, patch, read, text, texts, time, write};

const SETTINGS: &[super::Field] = &[
    number("max_versions", "Versions to keep; 0 for the mount's"),
    flag(
        "cas_required",
        "Whether each write names the version it follows",
    ),
    flag(
        "metadata_cas_required",
        "The same for writes of the metadata",
    ),
    time(
        "delete_version_after",
        "Versions are deleted so long after they were written",
    ),
];

const METADATA: &[super::Field] = &[
    number("max_versions", "Versions to keep; 0 for the mount's"),
    flag(
        "cas_required",
        "Whether each write names the version it follows",
    ),
    flag(
        "metadata_cas_required",
        "The same for writes of the metadata",
    ),
    time(
        "delete_version_after",
        "Versions are deleted so long after they were written",
    ),
    object("custom_metadata", "Notes: texts by name"),
    number(
        "metadata_cas",
        "The metadata's version that this one follows",
    ),
];

const SECRET: &[super::Field] = &[
    object("data", "The secret"),
    object(
        "options",
        "cas: the version that this one follows; 0 for the first",
    ),
];

const VERSIONS: &[super::Field] = &[texts("versions", "Numbers of versions")];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "config",
        about: "What holds for all secrets of the mount",
        does: &[read(&[]), write(SETTINGS)],
    },
    Route {
        pattern: "data/{path*}",
        about: "A secret: its newest version, or the one that is asked for",
        does: &[
            read(&[number("version", "0 for the newest")]),
            write(SECRET),
            patch(SECRET),
            delete(),
        ],
    },
    Route {
        pattern: "subkeys/{path*}",
        about: "The keys of a secret without their values",
        does: &[read(&[
            number("version", "0 for the newest"),
            number("depth", "Levels to show; 0 for all"),
        ])],
    },
    Route {
        pattern: "metadata/{path*}",
        about: "What is known of a secret and its versions; the names below a folder",
        does: &[
            read(&[]),
            list(&[
                text("after", "Only names behind this one"),
                number("limit", "At most so many"),
            ]),
            write(METADATA),
            patch(METADATA),
            delete(),
        ],
    },
    Route {
        pattern: "metadata",
        about: "The names at the top",
        does: &[list(&[
            text("after", "Only names behind this one"),
            number("limit", "At most so many"),
        ])],
    },
    Route {
        pattern: "delete/{path*}",
        about: "Deletes versions; they can be brought back",
        does: &[write(VERSIONS)],
    },
    Route {
        pattern: "undelete/{path*}",
        about: "Brings deleted versions back",
        does: &[write(VERSIONS)],
    },
    Route {
        pattern: "destroy/{path*}",
        about: "Removes versions for good",
        does: &[write(VERSIONS)],
    },
];

/// Version 1.
pub(super) const ROUTES_1: &[Route] = &[Route {
    pattern: "{path*}",
    about: "A secret, whatever its fields are; the names below a folder",
    does: &[read(&[]), list(&[]), write(&[]), delete()],
}];
