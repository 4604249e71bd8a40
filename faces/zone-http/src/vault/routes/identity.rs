//! `identity/`.

use super::{Field, Route, delete, flag, list, object, read, text, texts, write};

const ENTITY: &[Field] = &[
    text("id", "Changes the entity of that id"),
    text("name", "Unique, in any case"),
    texts("policies", "What its tokens may do on top; never root"),
    object("metadata", "Texts by name, for templates"),
    flag("disabled", "Its tokens are refused"),
];

const ENTITY_BY_ID: &[Field] = &[
    text("name", "Unique, in any case"),
    texts("policies", "What its tokens may do on top; never root"),
    object("metadata", "Texts by name, for templates"),
    flag("disabled", "Its tokens are refused"),
];

const ENTITY_BY_NAME: &[Field] = &[
    texts("policies", "What its tokens may do on top; never root"),
    object("metadata", "Texts by name, for templates"),
    flag("disabled", "Its tokens are refused"),
];

const GROUP: &[Field] = &[
    text("id", "Changes the group of that id"),
    text("name", "Unique, in any case"),
    text("type", "internal or external; cannot be changed"),
    texts("policies", "What its members may do on top; never root"),
    object("metadata", "Texts by name, for templates"),
    texts("member_entity_ids", "All entities in it"),
    texts("member_group_ids", "All groups in it"),
];

const GROUP_BY_ID: &[Field] = &[
    text("name", "Unique, in any case"),
    text("type", "internal or external; cannot be changed"),
    texts("policies", "What its members may do on top; never root"),
    object("metadata", "Texts by name, for templates"),
    texts("member_entity_ids", "All entities in it"),
    texts("member_group_ids", "All groups in it"),
];

const GROUP_BY_NAME: &[Field] = &[
    text("type", "internal or external; cannot be changed"),
    texts("policies", "What its members may do on top; never root"),
    object("metadata", "Texts by name, for templates"),
    texts("member_entity_ids", "All entities in it"),
    texts("member_group_ids", "All groups in it"),
];

const ALIAS: &[Field] = &[
    text("id", "Changes the alias of that id"),
    text("name", "As the auth method asserts it, byte for byte"),
    text("mount_accessor", "The accessor of the auth method"),
    text("canonical_id", "Whose it is; none makes one"),
    text("entity_id", "The older name of canonical_id"),
    object("custom_metadata", "Texts by name, for templates"),
];

const ALIAS_BY_ID: &[Field] = &[
    text("name", "As the auth method asserts it, byte for byte"),
    text("mount_accessor", "The accessor of the auth method"),
    text("canonical_id", "Whose it is"),
    text("entity_id", "The older name of canonical_id"),
    object("custom_metadata", "Texts by name, for templates"),
];

const GROUP_ALIAS: &[Field] = &[
    text("id", "Changes the alias of that id"),
    text("name", "As the auth method asserts it, byte for byte"),
    text("mount_accessor", "The accessor of the auth method"),
    text("canonical_id", "The external group; none makes one"),
];

const GROUP_ALIAS_BY_ID: &[Field] = &[
    text("name", "As the auth method asserts it, byte for byte"),
    text("mount_accessor", "The accessor of the auth method"),
    text("canonical_id", "The external group"),
];

const LOOKUP: &[Field] = &[
    text("id", "By its id, or"),
    text("name", "by its name, or"),
    text("alias_id", "by the id of an alias, or"),
    text("alias_name", "by an alias's name"),
    text(
        "alias_mount_accessor",
        "and the accessor of its auth method",
    ),
];

pub(super) const ROUTES: &[Route] = &[
    Route {
        pattern: "entity",
        about: "Makes or changes an entity: somebody, whichever way he logs in",
        does: &[write(ENTITY)],
    },
    Route {
        pattern: "entity/id",
        about: "The ids of all entities",
        does: &[list(&[])],
    },
    Route {
        pattern: "entity/id/{id}",
        about: "An entity",
        does: &[read(&[]), write(ENTITY_BY_ID), delete()],
    },
    Route {
        pattern: "entity/name",
        about: "The names of all entities",
        does: &[list(&[])],
    },
    Route {
        pattern: "entity/name/{name*}",
        about: "An entity",
        does: &[read(&[]), write(ENTITY_BY_NAME), delete()],
    },
    Route {
        pattern: "entity/merge",
        about: "Merges entities into one, with their aliases, policies, groups and tokens",
        does: &[write(&[
            texts("from_entity_ids", "Those that end"),
            text("to_entity_id", "The one that stays"),
            flag(
                "force",
                "Taken, and without effect: there are no MFA secrets",
            ),
            texts(
                "conflicting_alias_ids_to_keep",
                "Of two aliases of one auth method, the one that stays",
            ),
        ])],
    },
    Route {
        pattern: "entity/batch-delete",
        about: "Deletes entities",
        does: &[write(&[texts("entity_ids", "Which")])],
    },
    Route {
        pattern: "entity-alias",
        about: "Makes or changes an alias: a name under which an entity logs in",
        does: &[write(ALIAS)],
    },
    Route {
        pattern: "entity-alias/id",
        about: "The ids of all aliases of entities",
        does: &[list(&[])],
    },
    Route {
        pattern: "entity-alias/id/{id}",
        about: "An alias of an entity",
        does: &[read(&[]), write(ALIAS_BY_ID), delete()],
    },
    Route {
        pattern: "group",
        about: "Makes or changes a group of entities and groups",
        does: &[write(GROUP)],
    },
    Route {
        pattern: "group/id",
        about: "The ids of all groups",
        does: &[list(&[])],
    },
    Route {
        pattern: "group/id/{id}",
        about: "A group",
        does: &[read(&[]), write(GROUP_BY_ID), delete()],
    },
    Route {
        pattern: "group/name",
        about: "The names of all groups",
        does: &[list(&[])],
    },
    Route {
        pattern: "group/name/{name*}",
        about: "A group",
        does: &[read(&[]), write(GROUP_BY_NAME), delete()],
    },
    Route {
        pattern: "group-alias",
        about: "Makes or changes the alias of an external group",
        does: &[write(GROUP_ALIAS)],
    },
    Route {
        pattern: "group-alias/id",
        about: "The ids of all aliases of groups",
        does: &[list(&[])],
    },
    Route {
        pattern: "group-alias/id/{id}",
        about: "An alias of a group",
        does: &[read(&[]), write(GROUP_ALIAS_BY_ID), delete()],
    },
    Route {
        pattern: "lookup/entity",
        about: "Finds an entity",
        does: &[write(LOOKUP)],
    },
    Route {
        pattern: "lookup/group",
        about: "Finds a group",
        does: &[write(LOOKUP)],
    },
];
