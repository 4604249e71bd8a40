"""Makes every call that hvac has for the core: none is left out without a reason.

Usage: hvac_calls.py URL CA_FILE DIRECTORY. The head must not be initialised. Each public method of
the classes below is counted as it is called; at the end those that were not called must be just
those that NOT_HERE names.
"""

import base64
import functools
import inspect
import os

from hvac import exceptions
from hvac.api import auth_methods, secrets_engines, system_backend
from hvac_zone import MORE, client, refuses

[DIRECTORY] = MORE

# Another script makes these, or the zone has no such thing (docs/vault-differences.md).
NOT_HERE = {
    "Namespace": "all",
    "Raft": "all",
    "Policies": {
        f"{verb}_{kind}"
        for kind in ("rgp_policy", "egp_policy")
        for verb in ("read", "create_or_update", "delete")
    }
    | {"list_rgp_policies", "list_egp_policies"},
}
CALLED = set()


def counted(kind):
    """Lets each public method that `kind` itself defines note that it was called."""
    for name, method in vars(kind).items():
        if name.startswith("_") or not inspect.isfunction(method):
            continue

        @functools.wraps(method)
        def call(*args, _method=method, _name=name, **kwargs):
            CALLED.add((kind.__name__, _name))
            return _method(*args, **kwargs)

        setattr(kind, name, call)
        yield name


COUNTED = {
    kind.__name__: set(counted(kind))
    for kind in [
        *(base for base in system_backend.SystemBackend.__mro__[1:] if base.__module__.startswith("hvac.api.system_backend.")),
        auth_methods.AppRole,
        auth_methods.Userpass,
        auth_methods.Token,
        secrets_engines.KvV1,
    ]
}


def made_zone():
    anybody = client()
    assert anybody.sys.read_init_status() == {"initialized": False}
    assert not anybody.sys.is_initialized()
    made = anybody.sys.initialize(secret_shares=3, secret_threshold=2)
    assert anybody.sys.is_sealed() and anybody.sys.read_seal_status()["n"] == 3
    assert anybody.sys.submit_unseal_key(made["keys"][0])["progress"] == 1
    assert anybody.sys.submit_unseal_key(reset=True)["progress"] == 0
    assert not anybody.sys.submit_unseal_keys(made["keys"][:2])["sealed"]
    for method, kind in (("HEAD", None), ("GET", dict)):
        health = anybody.sys.read_health_status(method=method)
        assert health.status_code == 200 if kind is None else health["sealed"] is False
    assert anybody.sys.read_health_status(active_code=299, method="GET").status_code == 299
    assert anybody.sys.read_leader_status()["is_self"] is True
    return client(made["root_token"]), made["keys"]


def kv1(root):
    kv = root.secrets.kv.v1
    root.sys.enable_secrets_engine("kv", "old", options={"version": "1"})
    at = {"mount_point": "old"}
    assert kv.create_or_update_secret("app/db", {"password": "a", "ttl": "20m"}, **at).status_code == 204
    read = kv.read_secret("app/db", **at)
    assert read["data"] == {"password": "a", "ttl": "20m"}, read
    assert read["lease_duration"] == 1200 and read["lease_id"] == "" and not read["renewable"]
    # hvac reads first to choose between POST and PUT.
    assert kv.create_or_update_secret("app/db", {"n": 9007199254740993}, **at).status_code == 204
    read = kv.read_secret("app/db", **at)
    assert read["data"] == {"n": 9007199254740993} and read["lease_duration"] == 2764800
    for method in ("POST", "PUT"):
        kv.create_or_update_secret("app/deep/er", {"a": {"b": [1, None, True]}}, method, **at)
    assert kv.read_secret("app/deep/er", **at)["data"] == {"a": {"b": [1, None, True]}}
    assert kv.list_secrets("app", **at)["data"] == {"keys": ["db", "deep/"]}
    assert kv.list_secrets("", **at)["data"] == {"keys": ["app/"]}
    refuses(exceptions.InvalidPath, kv.list_secrets, "none", **at)
    refuses(exceptions.InvalidRequest, kv.create_or_update_secret, "app/none", {}, "POST", **at)
    for _ in range(2):
        assert kv.delete_secret("app/db", **at).status_code == 204
    refuses(exceptions.InvalidPath, kv.read_secret, "app/db", **at)
    root.sys.disable_secrets_engine("old")
    refuses(exceptions.InvalidPath, kv.read_secret, "app/deep/er", **at)


def mounts(root):
    sys_ = root.sys
    sys_.enable_secrets_engine("kv", "team", description="theirs", config={"max_lease_ttl": "2h"})
    assert sys_.list_mounted_secrets_engines()["data"]["team/"]["description"] == "theirs"
    assert sys_.retrieve_mount_option("team", "version") == "1"
    assert sys_.retrieve_mount_option("cubbyhole", "version", "none") == "none"
    assert sys_.tune_mount_configuration(
        "team",
        default_lease_ttl="30m",
        description="ours",
        listing_visibility="unauth",
        audit_non_hmac_request_keys=["k"],
        force_no_cache=True,
    ).status_code == 204
    config = sys_.read_mount_configuration("team")["data"]
    assert config["default_lease_ttl"] == 1800 and config["max_lease_ttl"] == 7200
    assert config["description"] == "ours" and config["force_no_cache"] is True
    assert config["audit_non_hmac_request_keys"] == ["k"]
    moved = sys_.move_backend("team", "crew")
    assert moved["data"]["migration_id"]
    assert "crew/" in sys_.list_mounted_secrets_engines()["data"]
    assert sys_.disable_secrets_engine("crew").status_code == 204
    assert "crew/" not in sys_.list_mounted_secrets_engines()["data"]


def auth_mounts(root):
    sys_ = root.sys
    sys_.enable_auth_method("approle", description="machines", path="robots")
    listed = sys_.list_auth_methods()["data"]["robots/"]
    assert listed["type"] == "approle" and listed["description"] == "machines"
    assert sys_.tune_auth_method(
        "robots",
        default_lease_ttl="10m",
        max_lease_ttl="20m",
        description="more machines",
        listing_visibility="unauth",
        audit_non_hmac_response_keys=["k"],
    ).status_code == 204
    config = sys_.read_auth_method_tuning("robots")["data"]
    assert (config["default_lease_ttl"], config["max_lease_ttl"]) == (600, 1200)
    assert config["description"] == "more machines"
    refuses(exceptions.InvalidRequest, sys_.tune_auth_method, "robots", passthrough_request_headers=["x"])
    assert sys_.disable_auth_method("robots").status_code == 204
    assert "robots/" not in sys_.list_auth_methods()["data"]


def approle(root):
    root.sys.enable_auth_method("approle", path="robots")
    at, ar = {"mount_point": "robots"}, root.auth.approle
    ar.create_or_update_approle(
        "Web",
        bind_secret_id=True,
        secret_id_bound_cidrs=["127.0.0.0/8"],
        secret_id_num_uses=3,
        secret_id_ttl="1h",
        token_ttl="10m",
        token_max_ttl="1h",
        token_policies=["web"],
        token_bound_cidrs=["127.0.0.0/8"],
        token_explicit_max_ttl="2h",
        token_no_default_policy=True,
        token_num_uses=5,
        token_type="service",
        **at,
    )
    role = ar.read_role("web", **at)["data"]
    assert role["secret_id_bound_cidrs"] == ["127.0.0.0/8"] == role["token_bound_cidrs"]
    assert role["token_policies"] == ["web"] and role["token_no_default_policy"] is True
    assert (role["token_ttl"], role["token_explicit_max_ttl"], role["token_num_uses"]) == (600, 7200, 5)
    assert (role["secret_id_ttl"], role["secret_id_num_uses"]) == (3600, 3)
    assert ar.list_roles(**at)["data"]["keys"] == ["web"]
    role_id = ar.read_role_id("web", **at)["data"]["role_id"]
    made = ar.generate_secret_id("web", metadata={"team": "a"}, cidr_list=["127.0.0.1/32"],
                                 token_bound_cidrs=["127.0.0.0/16"], **at)["data"]
    for read, key in ((ar.read_secret_id, "secret_id"), (ar.read_secret_id_accessor, "secret_id_accessor")):
        info = read("web", made[key], **at)["data"]
        assert info["metadata"] == {"team": "a"} and info["cidr_list"] == ["127.0.0.1/32"], info
        assert info["token_bound_cidrs"] == ["127.0.0.0/16"] and info["secret_id_num_uses"] == 3
    assert ar.list_secret_id_accessors("web", **at)["data"]["keys"] == [made["secret_id_accessor"]]
    machine = client()
    auth = machine.auth.approle.login(role_id, made["secret_id"], **at)["auth"]
    assert machine.token == auth["client_token"] and auth["num_uses"] == 5, auth
    assert auth["policies"] == ["web"] and auth["metadata"] == {"role_name": "web", "team": "a"}
    stays = client().auth.approle.login(role_id, made["secret_id"], use_token=False, **at)["auth"]
    assert stays["client_token"] != auth["client_token"]
    ar.create_custom_secret_id("web", "mine", metadata={"a": "b"}, **at)
    wrapped = ar.create_custom_secret_id("web", "mine-too", wrap_ttl="60s", **at)["wrap_info"]
    assert client(wrapped["token"]).sys.unwrap()["data"]["secret_id"] == "mine-too"
    for secret_id in ("mine", "mine-too"):
        client().auth.approle.login(role_id, secret_id, **at)
        ar.destroy_secret_id("web", secret_id, **at)
        refuses(exceptions.InvalidRequest, client().auth.approle.login, role_id, secret_id, **at)
    ar.destroy_secret_id_accessor("web", made["secret_id_accessor"], **at)
    refuses(exceptions.InvalidPath, ar.read_secret_id_accessor, "web", made["secret_id_accessor"], **at)
    refuses(exceptions.InvalidPath, ar.list_secret_id_accessors, "web", **at)
    assert ar.update_role_id("web", "my-role", **at).status_code == 204
    assert ar.read_role_id("web", **at)["data"]["role_id"] == "my-role"
    assert ar.delete_role("web", **at).status_code == 204
    refuses(exceptions.InvalidPath, ar.read_role, "web", **at)
    root.sys.disable_auth_method("robots")


def userpass(root):
    root.sys.enable_auth_method("userpass", path="people")
    at, up = {"mount_point": "people"}, root.auth.userpass
    up.create_or_update_user("Ann", "correct horse", policies=["staff"], token_ttl="10m", **at)
    user = up.read_user("ann", **at)["data"]
    assert user["token_policies"] == ["staff"] and user["token_ttl"] == 600
    assert up.list_user(**at)["data"]["keys"] == ["ann"]
    person = client()
    auth = person.auth.userpass.login("ann", "correct horse", **at)["auth"]
    assert person.is_authenticated() and auth["policies"] == ["default", "staff"]
    refuses(exceptions.InvalidRequest, client().auth.userpass.login, "ann", "wrong", **at)
    refuses(exceptions.InvalidRequest, client().auth.userpass.login, "nobody", "wrong", **at)
    assert up.update_password_on_user("ann", "battery staple", **at).status_code == 204
    other = client()
    other.auth.userpass.login("ann", "battery staple", use_token=False, **at)
    assert other.token is None
    assert up.delete_user("ann", **at).status_code == 204
    refuses(exceptions.InvalidPath, up.read_user, "ann", **at)
    root.sys.disable_auth_method("people")


def tokens(root):
    auth = root.auth.token
    made = auth.create(
        policies=["default"], meta={"a": "b"}, display_name="py", ttl="1h", explicit_max_ttl="2h",
        num_uses=50, renewable=True, type="service",
    )["auth"]
    own = client(made["client_token"])
    looked = own.auth.token.lookup_self()["data"]
    assert looked["display_name"] == "token-py" and looked["num_uses"] == 49, looked
    assert auth.lookup(made["client_token"])["data"]["accessor"] == made["accessor"]
    assert auth.lookup_accessor(made["accessor"])["data"]["meta"] == {"a": "b"}
    assert made["accessor"] in auth.list_accessors()["data"]["keys"]
    for renewed in (
        own.auth.token.renew_self("30m"),
        auth.renew(made["client_token"], "30m"),
        auth.renew_accessor(made["accessor"], "30m"),
    ):
        assert renewed["auth"]["lease_duration"] == 1800
    wrapped = auth.renew_accessor(made["accessor"], "30m", wrap_ttl="1m")
    assert wrapped["wrap_info"]["creation_path"] == "auth/token/renew-accessor"
    orphan = auth.create_orphan(policies=["default"], period="1h")["auth"]
    periodic = auth.lookup(orphan["client_token"])["data"]
    assert periodic["orphan"] is True and periodic["period"] == 3600
    assert auth.create_or_update_role(
        "Ci", allowed_policies=["default", "team-a"], disallowed_policies=["root"], orphan=True,
        renewable=True, path_suffix="x", token_period="20m", token_explicit_max_ttl="3h",
    ).status_code == 204
    role = auth.read_role("ci")["data"]
    assert role["token_period"] == 1200 and role["orphan"] and role["token_explicit_max_ttl"] == 10800, role
    assert auth.list_roles()["data"]["keys"] == ["ci"]
    by_role = auth.create(role_name="ci", policies=["team-a"])["auth"]
    assert by_role["policies"] == ["default", "team-a"]
    assert auth.delete_role("ci").status_code == 204
    refuses(exceptions.InvalidPath, auth.list_roles)
    parent = auth.create(policies=["root"])["auth"]["client_token"]
    child = client(parent).auth.token.create(policies=["default"])["auth"]["client_token"]
    assert auth.revoke_and_orphan_children(parent).status_code == 204
    assert client(child).auth.token.lookup_self()["data"]["orphan"] is True
    assert auth.revoke(child).status_code == 204
    assert auth.revoke_accessor(orphan["accessor"]).status_code == 204
    assert own.auth.token.revoke_self().status_code == 204
    refuses(exceptions.Forbidden, own.auth.token.lookup_self)
    assert auth.tidy().status_code == 202


def policies(root):
    sys_, text = root.sys, 'path "a/*" { capabilities = ["read"] }'
    assert sys_.create_or_update_policy("One", text).status_code == 204
    assert sys_.read_policy("one")["rules"] == text
    assert "one" in sys_.list_policies()["policies"]
    assert sys_.delete_policy("one").status_code == 204
    assert sys_.create_or_update_acl_policy("two", text).status_code == 204
    assert sys_.read_acl_policy("two")["data"]["policy"] == text
    assert "two" in sys_.list_acl_policies()["data"]["keys"]
    token = root.auth.token.create(policies=["two"])["auth"]
    for who in ({"token": token["client_token"]}, {"accessor": token["accessor"]}):
        assert sys_.get_capabilities(["a/b", "c"], **who)["data"]["a/b"] == ["read"]
    assert client(token["client_token"]).sys.get_capabilities(["c"])["data"]["c"] == ["deny"]
    assert sys_.delete_acl_policy("two").status_code == 204
    refuses(exceptions.InvalidPath, sys_.read_acl_policy, "two")


def audit(root):
    sys_, file = root.sys, os.path.join(DIRECTORY, "calls.log")
    sys_.enable_audit_device("file", "from Python", {"file_path": file}, "calls")
    device = sys_.list_enabled_audit_devices()["data"]["calls/"]
    assert device["options"] == {"file_path": file} and device["description"] == "from Python"
    digest = sys_.calculate_hash("calls", "text")["data"]["hash"]
    assert digest.startswith("hmac-sha256:")
    assert sys_.disable_audit_device("calls").status_code == 204


def wrapping(root):
    wrapped = root.sys.wrap({"a": "b"}, ttl=60)["wrap_info"]
    assert wrapped["ttl"] == 60 and wrapped["creation_path"] == "sys/wrapping/wrap"
    assert root.sys.unwrap(wrapped["token"])["data"] == {"a": "b"}
    refuses(exceptions.InvalidRequest, root.sys.unwrap, wrapped["token"])


def leases(root):
    sys_ = root.sys
    sys_.enable_secrets_engine("pki", "leased")
    root.write_data("leased/root/generate/internal", data={"common_name": "Leased", "key_type": "ec"})
    role = {"allow_any_name": True, "key_type": "ec", "generate_lease": True, "enforce_hostnames": False}
    root.write_data("leased/roles/web", data=role)

    def issue():
        made = root.write_data("leased/issue/web", data={"common_name": "a.test", "ttl": "1h"})
        assert made["lease_id"].startswith("leased/issue/web/") and made["renewable"] is False
        assert 3590 <= made["lease_duration"] <= 3600
        return made["lease_id"], made["data"]["serial_number"]

    def revoked(serial):
        return root.read(f"leased/cert/{serial}")["data"]["revocation_time"] > 0

    lease, serial = issue()
    found = sys_.read_lease(lease)["data"]
    assert found["id"] == lease and found["renewable"] is False and 0 < found["ttl"] <= 3600
    assert found["expire_time"] and found["last_renewal"] is None
    assert sys_.list_leases("leased/issue/web")["data"]["keys"] == [lease.rsplit("/", 1)[1]]
    refuses(exceptions.InvalidRequest, sys_.renew_lease, lease)
    assert sys_.revoke_lease(lease).status_code in (202, 204)
    refuses(exceptions.InvalidRequest, sys_.read_lease, lease)
    one, other = issue(), issue()
    assert sys_.revoke_prefix("leased/issue/web").status_code in (202, 204)
    for lease, _ in (one, other):
        refuses(exceptions.InvalidRequest, sys_.read_lease, lease)
    _, last = issue()
    assert sys_.revoke_force("leased").status_code == 204
    assert revoked(last), "force waits for the engine"
    token = root.auth.token.create(policies=["root"], ttl="1h")["auth"]["client_token"]
    sys_.revoke_prefix("auth/token/create")
    refuses(exceptions.Forbidden, client(token).auth.token.lookup_self)
    root.auth.token.lookup_self()


def quotas(root):
    sys_ = root.sys
    refuses(exceptions.InvalidPath, sys_.list_quotas)
    assert sys_.create_or_update_quota("web", 100.5, path="cubbyhole/app", interval="1m", block_interval="90s").status_code == 204
    assert sys_.list_quotas()["data"] == {"keys": ["web"]}
    assert sys_.read_quota("web")["data"] == {
        "name": "web",
        "type": "rate-limit",
        "path": "cubbyhole/app",
        "rate": 100.5,
        "interval": 60,
        "block_interval": 90,
        "role": "",
        "inheritable": False,
    }
    assert sys_.create_or_update_quota("web", 2, path="cubbyhole/app", rate_limit_type="rate-limit", inheritable=False).status_code == 204
    read = sys_.read_quota("web")["data"]
    assert (read["rate"], read["interval"], read["block_interval"]) == (2, 1, 0), read
    # Roles are known after a login alone, and quotas count before.
    refuses(exceptions.InvalidRequest, sys_.create_or_update_quota, "web", 2, path="auth/token", role="app")
    refuses(exceptions.InvalidRequest, sys_.create_or_update_quota, "web", -1)
    sys_.create_or_update_quota("web", 2, path="cubbyhole/app", interval="1h")
    for _ in range(2):
        assert root.read("cubbyhole/app") is None
    refuses(exceptions.RateLimitExceeded, root.read, "cubbyhole/app")
    for _ in range(2):
        assert sys_.delete_quota("web").status_code == 204
    refuses(exceptions.InvalidPath, sys_.read_quota, "web")
    assert root.read("cubbyhole/app") is None


def keys(root, shares):
    sys_ = root.sys
    term = sys_.get_encryption_key_status()["data"]["term"]
    sys_.rotate_encryption_key()
    assert sys_.get_encryption_key_status()["data"]["term"] == term + 1
    sys_.start_rekey(secret_shares=1, secret_threshold=1)
    assert sys_.read_rekey_progress()["started"] is True
    assert sys_.cancel_rekey().status_code == 204
    nonce = sys_.start_rekey(secret_shares=2, secret_threshold=2)["nonce"]
    assert sys_.rekey(shares[0], nonce)["progress"] == 1
    shares = sys_.rekey_multi(shares[1:2], nonce)["keys"]
    nonce = sys_.start_rekey(secret_shares=2, secret_threshold=2, require_verification=True)["nonce"]
    made = sys_.rekey_multi(shares, nonce)
    nonce = sys_.read_rekey_verify_progress()["nonce"]
    assert sys_.rekey_verify(made["keys"][0], nonce)["progress"] == 1
    nonce = sys_.cancel_rekey_verify()["nonce"]
    assert sys_.rekey_verify_multi(made["keys"], nonce)["complete"]
    shares = made["keys"]
    # Shares for PGP keys are not offered, and with them no backup of them.
    refuses(exceptions.InvalidPath, sys_.read_backup_keys)
    otp = "abcdefghijklmnopqrstuvwxyz01"
    sys_.start_root_token_generation(otp=otp)
    assert sys_.read_root_generation_progress()["started"] is True
    assert sys_.cancel_root_generation().status_code == 204
    nonce = sys_.start_root_token_generation(otp=otp)["nonce"]
    for share in shares:
        ended = sys_.generate_root(share, nonce)
    coded = base64.b64decode(ended["encoded_root_token"] + "==")
    token = "".join(chr(a ^ ord(b)) for a, b in zip(coded, otp))
    assert client(token).auth.token.lookup_self()["data"]["policies"] == ["root"]
    assert sys_.step_down().status_code == 204
    assert sys_.seal().status_code == 204
    assert client().sys.is_sealed()


def ticked_off():
    for kind, names in COUNTED.items():
        named = NOT_HERE.get(kind, set())
        missing = {name for name in names if (kind, name) not in CALLED}
        expected = names if named == "all" else named
        assert missing == expected, (kind, missing ^ expected)


if __name__ == "__main__":
    ROOT, SHARES = made_zone()
    kv1(ROOT)
    mounts(ROOT)
    auth_mounts(ROOT)
    approle(ROOT)
    userpass(ROOT)
    tokens(ROOT)
    policies(ROOT)
    audit(ROOT)
    wrapping(ROOT)
    leases(ROOT)
    quotas(ROOT)
    keys(ROOT, SHARES)
    ticked_off()
    print(f"hvac: {len(CALLED)} calls ticked off")
