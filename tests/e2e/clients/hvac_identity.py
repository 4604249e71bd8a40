"""Drives the identity of a new head with hvac, a Vault client that others wrote.

Usage: hvac_identity.py URL CA_FILE. The head must not be initialised. The assertions are those of
hvac's own tests of identity, and what a caller relies on beside them.
"""

from hvac import exceptions
from hvac_zone import client, refuses


def opened():
    made = client().sys.initialize(secret_shares=1, secret_threshold=1)
    client().sys.submit_unseal_key(made["keys"][0])
    return client(made["root_token"])


def entities(root):
    identity = root.secrets.identity
    refuses(exceptions.InvalidPath, identity.list_entities)
    made = identity.create_or_update_entity("test-entity", metadata={"team": "blue"})
    entity = made["data"]["id"]
    assert made["data"]["name"] == "test-entity" and made["data"]["aliases"] is None
    again = identity.create_or_update_entity("test-entity", entity_id=entity, policies=["p", "Q"])
    assert again.status_code == 204
    assert identity.create_or_update_entity_by_name("test-entity").status_code == 204
    other = identity.create_or_update_entity_by_name("other", metadata={"a": "b"})["data"]["id"]
    for read in (identity.read_entity(entity), identity.read_entity_by_name("TEST-entity")):
        data = read["data"]
        assert data["id"] == entity and data["name"] == "test-entity"
        assert data["policies"] == ["p", "q"] and data["metadata"] == {"team": "blue"}
        assert data["disabled"] is False and data["group_ids"] == []
    refuses(exceptions.InvalidPath, identity.read_entity, "no-such-id")
    refuses(exceptions.InvalidPath, identity.read_entity_by_name, "no-such-name")
    assert identity.update_entity(entity, name="renamed", disabled=True).status_code == 204
    assert identity.read_entity(entity)["data"]["disabled"] is True
    for method in ("LIST", "GET"):
        assert set(identity.list_entities(method)["data"]["keys"]) == {entity, other}
        assert identity.list_entities_by_name(method)["data"]["keys"] == ["other", "renamed"]
    info = identity.list_entities()["data"]["key_info"]
    assert info[other]["name"] == "other"
    for spelling in (" Root", "ROOT", "root\u2003"):
        refuses(exceptions.InvalidRequest, identity.update_entity, entity, policies=[spelling])
    assert identity.merge_entities([other], entity).status_code == 204
    assert identity.read_entity(entity)["data"]["merged_entity_ids"] == [other]
    third = identity.create_or_update_entity("third")["data"]["id"]
    merged = identity.merge_entities(third, entity, conflicting_alias_ids_to_keep=[other])
    assert merged.status_code == 204
    refuses(exceptions.InvalidRequest, identity.merge_entities, [third], entity)
    for delete in (identity.delete_entity, identity.delete_entity):
        assert delete(entity).status_code == 204
    assert identity.delete_entity_by_name("renamed").status_code == 204
    refuses(exceptions.InvalidPath, identity.list_entities)


def aliases(root, accessor):
    identity = root.secrets.identity
    entity = identity.create_or_update_entity("with-alias")["data"]["id"]
    made = identity.create_or_update_entity_alias("test-alias", entity, accessor)["data"]
    alias = made["id"]
    assert made["canonical_id"] == entity
    again = identity.create_or_update_entity_alias("test-alias", entity, accessor)
    assert again.status_code == 204
    data = identity.read_entity_alias(alias)["data"]
    assert data["id"] == alias and data["mount_path"] == "auth/approle/"
    refuses(exceptions.InvalidPath, identity.read_entity_alias, "no-such-id")
    updated = identity.update_entity_alias(alias, "Test-Alias", entity, accessor)
    assert updated["data"]["id"] == alias
    refuses(
        exceptions.InvalidRequest,
        identity.update_entity_alias,
        alias,
        "x",
        entity,
        "not a valid accessor",
    )
    for method in ("LIST", "GET"):
        assert identity.list_entity_aliases(method)["data"]["keys"] == [alias]
    fresh = identity.create_or_update_entity_alias("nobody-yet", None, accessor)["data"]
    assert fresh["canonical_id"] != entity
    found = identity.lookup_entity(entity_id=entity)["data"]
    assert found["name"] == "with-alias" and found["aliases"][0]["name"] == "Test-Alias"
    for by in (
        {"alias_id": alias},
        {"name": "with-alias"},
        {"alias_name": "Test-Alias", "alias_mount_accessor": accessor},
    ):
        assert identity.lookup_entity(**by)["data"]["id"] == entity, by
    assert identity.lookup_entity(entity_id="no-such-id").status_code == 204
    assert identity.delete_entity_alias(alias).status_code == 204
    assert identity.delete_entity_alias(alias).status_code == 204
    for delete in (entity, fresh["canonical_id"]):
        identity.delete_entity(delete)
    refuses(exceptions.InvalidPath, identity.list_entity_aliases)


def groups(root, accessor):
    identity = root.secrets.identity
    entity = identity.create_or_update_entity("member")["data"]["id"]
    inner = identity.create_or_update_group("inner", metadata={"k": "v"})["data"]["id"]
    empty = identity.read_group(inner)["data"]
    assert empty["member_entity_ids"] is None and empty["member_group_ids"] is None
    made = identity.create_or_update_group(
        "test-group",
        group_type="internal",
        policies=["p"],
        member_group_ids=[inner],
        member_entity_ids=[entity],
    )
    group = made["data"]["id"]
    for read in (identity.read_group(group), identity.read_group_by_name("test-group")):
        data = read["data"]
        assert data["id"] == group and data["type"] == "internal"
        assert data["member_entity_ids"] == [entity] and data["member_group_ids"] == [inner]
    assert identity.read_entity(entity)["data"]["direct_group_ids"] == [group]
    refuses(
        exceptions.InvalidRequest,
        identity.update_group,
        inner,
        "inner",
        member_group_ids=[group],
    )
    error = refuses(
        exceptions.InvalidRequest,
        identity.update_group,
        group,
        "test-group",
        group_type="external",
    )
    assert "group type cannot be changed" in str(error)
    assert identity.update_group(group, "test-group", policies=["q"]).status_code == 204
    assert identity.create_or_update_group_by_name("Test-Group").status_code == 204
    refuses(exceptions.InvalidPath, identity.read_group_by_name, "no-such-group")
    for method in ("LIST", "GET"):
        assert set(identity.list_groups(method)["data"]["keys"]) == {group, inner}
        assert identity.list_groups_by_name(method)["data"]["keys"] == ["inner", "test-group"]
    outer = identity.create_or_update_group("outer", group_type="external")["data"]["id"]
    assert identity.read_group(outer)["data"]["member_entity_ids"] is None
    alias = identity.create_or_update_group_alias("cn=x", None, accessor, outer)["data"]["id"]
    same = identity.update_group_alias(alias, "cn=x", accessor, outer)
    assert same.status_code == 204
    assert identity.update_group_alias(alias, "cn=y", accessor, outer)["data"]["id"] == alias
    assert identity.read_group_alias(alias)["data"]["name"] == "cn=y"
    refuses(exceptions.InvalidPath, identity.read_group_alias, "no-such-id")
    for method in ("LIST", "GET"):
        assert identity.list_group_aliases(method)["data"]["keys"] == [alias]
    for by in (
        {"group_id": outer},
        {"name": "outer"},
        {"alias_id": alias},
        {"alias_name": "cn=y", "alias_mount_accessor": accessor},
    ):
        assert identity.lookup_group(**by)["data"]["id"] == outer, by
    assert identity.lookup_group(group_id="no-such-id").status_code == 204
    assert identity.delete_group_alias(alias).status_code == 204
    refuses(exceptions.InvalidPath, identity.list_group_aliases)
    for one in (inner, outer):
        assert identity.delete_group(one).status_code == 204
    assert identity.delete_group_by_name("test-group").status_code == 204
    refuses(exceptions.InvalidPath, identity.list_groups)
    assert identity.read_entity(entity)["data"]["direct_group_ids"] == []
    identity.delete_entity(entity)


if __name__ == "__main__":
    ROOT = opened()
    ROOT.sys.enable_auth_method("approle")
    ACCESSOR = ROOT.sys.list_auth_methods()["data"]["approle/"]["accessor"]
    entities(ROOT)
    aliases(ROOT, ACCESSOR)
    groups(ROOT, ACCESSOR)
    print("hvac: identity answers as Vault does")
