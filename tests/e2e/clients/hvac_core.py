"""Drives a new head with hvac, a Vault client that others wrote.

Usage: hvac_core.py URL CA_FILE DIRECTORY. The head must not be initialised; it ends sealed.
Each assertion states what a Vault client relies on.
"""

import base64
import os
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hvac import exceptions
from hvac_zone import MORE, client, refuses

[DIRECTORY] = MORE


def init_and_unseal():
    anybody = client()
    assert anybody.sys.is_initialized() is False
    assert anybody.sys.read_health_status(method="GET").status_code == 501
    refuses(
        exceptions.InvalidRequest,
        anybody.sys.initialize,
        secret_shares=1,
        secret_threshold=1,
        pgp_keys=["bm8="],
    )
    made = anybody.sys.initialize(secret_shares=5, secret_threshold=3)
    assert len(made["keys"]) == 5 and len(made["keys_base64"]) == 5
    assert anybody.sys.is_initialized() and anybody.sys.is_sealed()
    assert anybody.sys.read_health_status(method="GET").status_code == 503
    root = client(made["root_token"])
    refuses(exceptions.VaultDown, root.secrets.kv.v2.read_configuration)
    assert anybody.sys.submit_unseal_key(made["keys"][0])["progress"] == 1
    refuses(exceptions.InvalidRequest, anybody.sys.submit_unseal_key, "00" * 33)
    assert anybody.sys.submit_unseal_key(reset=True)["progress"] == 0
    status = anybody.sys.submit_unseal_keys(made["keys_base64"][1:4])
    assert status["sealed"] is False and status["t"] == 3 and status["n"] == 5
    assert anybody.sys.read_health_status(method="HEAD").status_code == 200
    health = anybody.sys.read_health_status(method="GET")
    assert health["initialized"] is True and health["sealed"] is False
    leader = anybody.sys.read_leader_status()
    assert leader["ha_enabled"] is False
    assert root.is_authenticated() and not client("hvs.nobody").is_authenticated()
    return root, made


def policies(root):
    rules = 'path "secret/data/app/*" { capabilities = ["read"] }'
    for sys, read in [
        ("acl_policy", lambda name: root.sys.read_acl_policy(name)["data"]["policy"]),
        ("policy", lambda name: root.sys.read_policy(name)["rules"]),
    ]:
        create = getattr(root.sys, f"create_or_update_{sys}")
        delete = getattr(root.sys, f"delete_{sys}")
        assert create("App", rules).status_code == 204
        assert read("app") == rules
        create("app", {"path": {"secret/data/app/*": {"capabilities": ["list"]}}})
        assert '"list"' in read("app")
        names = root.sys.list_policies()["policies"]
        assert {"app", "default", "root"} <= set(names), names
        assert "app" in root.sys.list_acl_policies()["data"]["keys"]
        assert delete("app").status_code == 204
        refuses(exceptions.InvalidPath, read, "app")
    refuses(
        exceptions.InvalidRequest, root.sys.create_or_update_policy, "app", "path {"
    )
    refuses(exceptions.InvalidRequest, root.sys.delete_policy, "root")
    refuses(exceptions.InvalidRequest, root.sys.delete_policy, "default")


def token_roles(root):
    auth = root.auth.token
    assert auth.create_or_update_role(
        "CI", allowed_policies=["app"], orphan=True, renewable=False, path_suffix="py"
    ).status_code == 204
    role = auth.read_role("ci")["data"]
    assert role["allowed_policies"] == ["app"] and role["token_type"] == "default-service"
    assert auth.list_roles()["data"]["keys"] == ["ci"]
    made = auth.create(role_name="ci")["auth"]
    assert made["policies"] == ["app", "default"] and made["orphan"] and not made["renewable"]
    made = auth.create(role_name="ci", type="batch")["auth"]
    assert made["client_token"].startswith("hvb.") and made["token_type"] == "batch"
    me = client(made["client_token"]).auth.token.lookup_self()["data"]
    assert me["type"] == "batch" and me["role"] == "ci" and me["policies"] == ["app", "default"]
    refuses(exceptions.InvalidRequest, auth.revoke, made["client_token"])
    assert auth.delete_role("ci").status_code == 204
    refuses(exceptions.InvalidPath, auth.read_role, "ci")


def tokens(root):
    root.sys.create_or_update_policy(
        "app",
        'path "secret/data/app/*" { capabilities = ["create", "read", "update"] }\n'
        'path "auth/token/create" { capabilities = ["update"] }',
    )
    made = root.auth.token.create(
        policies=["app"], ttl="1h", explicit_max_ttl="2h", meta={"who": "test"}
    )["auth"]
    assert made["client_token"].startswith("hvs.") and made["renewable"] is True
    assert set(made["policies"]) == {"app", "default"} and made["lease_duration"] == 3600
    app = client(made["client_token"])
    me = app.auth.token.lookup_self()["data"]
    assert me["id"] == made["client_token"] and me["accessor"] == made["accessor"]
    assert me["meta"] == {"who": "test"} and me["type"] == "service"
    assert 0 < me["ttl"] <= 3600 and me["expire_time"] and me["orphan"] is False
    named = root.auth.token.lookup(made["client_token"])["data"]
    assert named["accessor"] == made["accessor"]
    by_accessor = root.auth.token.lookup_accessor(made["accessor"])["data"]
    assert by_accessor["id"] == "" and by_accessor["explicit_max_ttl"] == 7200
    assert made["accessor"] in root.auth.token.list_accessors()["data"]["keys"]
    assert app.auth.token.renew_self(increment="30m")["auth"]["lease_duration"] == 1800
    assert root.auth.token.renew(made["client_token"], "10h")["auth"]["lease_duration"] <= 7200
    renewed = root.auth.token.renew_accessor(made["accessor"], "20m")["auth"]
    assert renewed["lease_duration"] == 1200

    child = app.auth.token.create(policies=["app"])["auth"]["client_token"]
    refuses(exceptions.InvalidRequest, app.auth.token.create, policies=["root"])
    orphan = root.auth.token.create_orphan(policies=["app"], ttl="1h")["auth"]
    assert orphan["orphan"] is True
    stays = root.auth.token.create(policies=["app"])["auth"]["client_token"]
    grandchild = client(stays).auth.token.create(policies=["app"])["auth"]["client_token"]
    root.auth.token.revoke_and_orphan_children(stays)
    assert not client(stays).is_authenticated() and client(grandchild).is_authenticated()

    token_roles(root)
    limited = root.auth.token.create(policies=["app"], num_uses=2)["auth"]["client_token"]
    for _ in range(2):
        client(limited).auth.token.lookup_self()
    refuses(exceptions.Forbidden, client(limited).auth.token.lookup_self)
    own = root.auth.token.create(policies=["app"], id="my-own-token")["auth"]
    assert own["client_token"] == "my-own-token"

    assert root.auth.token.revoke_accessor(made["accessor"]).status_code == 204
    refuses(exceptions.Forbidden, app.auth.token.lookup_self)
    refuses(exceptions.Forbidden, client(child).auth.token.lookup_self)
    refuses(exceptions.Forbidden, root.auth.token.lookup, made["client_token"])
    root.auth.token.revoke(grandchild)
    assert not client(grandchild).is_authenticated()
    client(orphan["client_token"]).auth.token.revoke_self()
    assert not client(orphan["client_token"]).is_authenticated()


def mounts(root):
    root.sys.enable_secrets_engine("kv", "secret", options={"version": "2"})
    root.sys.enable_secrets_engine("kv-v2", "team/kv", description="a team's")
    refuses(exceptions.InvalidRequest, root.sys.enable_secrets_engine, "kv-v2", "secret")
    refuses(exceptions.InvalidRequest, root.sys.enable_secrets_engine, "nonesuch")
    listed = root.sys.list_mounted_secrets_engines()
    assert listed["secret/"]["options"] == {"version": "2"}
    assert listed["data"]["team/kv/"]["description"] == "a team's"
    assert root.sys.retrieve_mount_option("secret", "version") == "2"
    root.sys.tune_mount_configuration("secret", default_lease_ttl="1h", max_lease_ttl="2h")
    tuned = root.sys.read_mount_configuration("secret")["data"]
    assert tuned["default_lease_ttl"] == 3600 and tuned["max_lease_ttl"] == 7200
    assert root.sys.disable_secrets_engine("team/kv").status_code == 204
    assert "team/kv/" not in root.sys.list_mounted_secrets_engines()


def kv(root):
    kv2 = root.secrets.kv.v2
    read = lambda **more: kv2.read_secret_version("app/db", raise_on_deleted_version=True, **more)
    quiet = lambda **more: kv2.read_secret_version("app/db", raise_on_deleted_version=False, **more)
    kv2.configure(max_versions=20, cas_required=False, delete_version_after="0s")
    assert kv2.read_configuration()["data"]["max_versions"] == 20
    refuses(exceptions.InvalidPath, read)
    first = {"user": "app", "number": 7, "nested": {"list": [1, None, "ü"]}}
    assert kv2.create_or_update_secret("app/db", first, cas=0)["data"]["version"] == 1
    refuses(exceptions.InvalidRequest, kv2.create_or_update_secret, "app/db", {}, cas=0)
    assert read()["data"]["data"] == first
    assert kv2.create_or_update_secret("app/db", {"user": "b"}, cas=1)["data"]["version"] == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert kv2.patch("app/db", {"more": "x"})["data"]["version"] == 3
    assert read()["data"]["data"] == {"user": "b", "more": "x"}
    assert read(version=1)["data"]["data"] == first
    kv2.create_or_update_secret("app/deep/er", {"a": "b"})
    assert kv2.list_secrets("app")["data"]["keys"] == ["db", "deep/"]
    refuses(exceptions.InvalidPath, kv2.list_secrets, "nowhere")

    assert kv2.delete_latest_version_of_secret("app/db").status_code == 204
    refuses(exceptions.InvalidPath, read)
    gone = quiet()["data"]
    assert gone["data"] is None and gone["metadata"]["deletion_time"]
    assert kv2.undelete_secret_versions("app/db", [3]).status_code == 204
    assert read()["data"]["metadata"]["version"] == 3
    assert kv2.delete_secret_versions("app/db", [1, 2]).status_code == 204
    refuses(exceptions.InvalidPath, read, version=2)
    assert kv2.destroy_secret_versions("app/db", [1]).status_code == 204
    kv2.undelete_secret_versions("app/db", [1, 2])
    refuses(exceptions.InvalidPath, read, version=1)
    assert read(version=2)["data"]["data"] == {"user": "b"}

    # The larger of the mount's and the secret's own limit counts.
    kv2.configure(max_versions=1)
    kv2.update_metadata("app/db", max_versions=2, cas_required=True, custom_metadata={"a": "1"})
    meta = kv2.read_secret_metadata("app/db")["data"]
    assert meta["max_versions"] == 2 and meta["custom_metadata"] == {"a": "1"}
    assert meta["versions"]["1"]["destroyed"] is True and meta["current_version"] == 3
    refuses(exceptions.InvalidRequest, kv2.create_or_update_secret, "app/db", {"x": "y"})
    kv2.create_or_update_secret("app/db", {"x": "y"}, cas=3)
    assert set(kv2.read_secret_metadata("app/db")["data"]["versions"]) == {"3", "4"}
    assert kv2.delete_metadata_and_all_versions("app/db").status_code == 204
    refuses(exceptions.InvalidPath, kv2.read_secret_metadata, "app/db")

    app = client(root.auth.token.create(policies=["app"])["auth"]["client_token"])
    app.secrets.kv.v2.create_or_update_secret("app/mine", {"k": "v"})
    refuses(exceptions.Forbidden, app.secrets.kv.v2.create_or_update_secret, "other", {"k": "v"})
    refuses(exceptions.Forbidden, app.secrets.kv.v2.list_secrets, "app")


def pki(root):
    root.sys.enable_secrets_engine("pki", config={"max_lease_ttl": "8760h"})
    pki = root.secrets.pki
    refuses(exceptions.InvalidRequest, pki.generate_certificate, "svc", "a.svc.test")
    made = pki.generate_root("internal", "zone root", {"ttl": "8760h", "key_type": "ec"})["data"]
    assert "private_key" not in made
    ca = x509.load_pem_x509_certificate(pki.read_ca_certificate().encode())
    assert ca == x509.load_pem_x509_certificate(made["certificate"].encode())
    assert x509.load_pem_x509_certificate(pki.read_ca_certificate_chain().encode()) == ca
    urls = {"issuing_certificates": ["https://zone.test/ca"]}
    pki.set_urls(urls)
    assert pki.read_urls()["data"]["issuing_certificates"] == urls["issuing_certificates"]
    pki.set_crl_configuration(expiry="48h")
    assert pki.read_crl_configuration()["data"]["expiry"] == "48h"
    role = {"allowed_domains": "svc.test", "allow_subdomains": "true", "key_type": "ec",
            "key_bits": 256, "ttl": "1h", "max_ttl": "72h"}
    pki.create_or_update_role("svc", role)
    assert pki.read_role("svc")["data"]["allowed_domains"] == ["svc.test"]
    assert pki.list_roles()["data"]["keys"] == ["svc"]

    issued = pki.generate_certificate("svc", "a.svc.test", {"alt_names": "b.svc.test"})["data"]
    leaf = x509.load_pem_x509_certificate(issued["certificate"].encode())
    leaf.verify_directly_issued_by(ca)
    key = serialization.load_pem_private_key(issued["private_key"].encode(), None)
    assert key.public_key() == leaf.public_key() and issued["private_key_type"] == "ec"
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"a.svc.test", "b.svc.test"}
    assert issued["expiration"] == int(leaf.not_valid_after_utc.timestamp())
    refuses(exceptions.InvalidRequest, pki.generate_certificate, "svc", "a.other.test")

    own = ec.generate_private_key(ec.SECP384R1())
    pki.create_or_update_role("any", {**role, "key_type": "any"})
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "c.svc.test")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(own, hashes.SHA384())
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    signed = pki.sign_certificate("any", pem, "c.svc.test")["data"]
    assert x509.load_pem_x509_certificate(signed["certificate"].encode()).public_key() == own.public_key()

    serial = issued["serial_number"]
    assert pki.read_certificate(serial)["data"]["revocation_time"] == 0
    assert {serial, signed["serial_number"]} <= set(pki.list_certificates()["data"]["keys"])
    assert pki.revoke_certificate(serial)["data"]["revocation_time"] > 0
    assert pki.read_certificate(serial)["data"]["revocation_time"] > 0
    crl = x509.load_pem_x509_crl(pki.read_crl().encode())
    assert crl.is_signature_valid(ca.public_key())
    assert crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
    assert pki.rotate_crl()["data"]["success"] is True

    issuers = pki.list_issuers()["data"]["keys"]
    assert len(issuers) == 1
    pki.update_issuer(issuers[0], {"issuer_name": "first"})
    assert pki.read_issuer("first")["data"]["issuer_id"] == issuers[0]
    exported = pki.generate_root("exported", "second root", {"ttl": "24h"})["data"]
    assert exported["private_key_type"] == "rsa" and "PRIVATE KEY" in exported["private_key"]
    assert len(pki.list_issuers()["data"]["keys"]) == 2
    assert pki.delete_issuer(exported["issuer_id"]).status_code == 204
    root.sys.enable_secrets_engine("pki", "imported")
    bundle = exported["private_key"] + "\n" + exported["certificate"]
    pki.submit_ca_information(bundle, mount_point="imported")
    assert pki.read_ca_certificate("imported").strip() == exported["certificate"].strip()
    pki.delete_role("any")
    assert pki.list_roles()["data"]["keys"] == ["svc"]


def auth(root):
    """AppRole and userpass, each call as hvac's own documentation makes it."""
    root.sys.enable_auth_method(method_type="approle", description="machines")
    root.sys.enable_auth_method(method_type="userpass", path="people")
    listed = root.sys.list_auth_methods()["data"]
    assert listed["approle/"]["type"] == "approle" and listed["people/"]["type"] == "userpass"
    root.sys.tune_auth_method(path="approle", max_lease_ttl="2h")
    assert root.sys.read_auth_method_tuning(path="approle")["data"]["max_lease_ttl"] == 7200

    approle = root.auth.approle
    refuses(exceptions.InvalidPath, approle.list_roles)
    approle.create_or_update_approle(
        role_name="Some-Role", token_policies=["app"], token_type="service", token_ttl="10m"
    )
    assert approle.list_roles()["data"]["keys"] == ["some-role"]
    role = approle.read_role("some-role")["data"]
    assert role["token_policies"] == ["app"] and role["token_ttl"] == 600
    assert role["bind_secret_id"] is True and role["token_type"] == "service"
    role_id = approle.read_role_id("some-role")["data"]["role_id"]
    made = approle.generate_secret_id("some-role", metadata={"team": "a"}, cidr_list=["127.0.0.0/8"])
    secret_id, accessor = made["data"]["secret_id"], made["data"]["secret_id_accessor"]
    assert approle.list_secret_id_accessors("some-role")["data"]["keys"] == [accessor]
    assert approle.read_secret_id("some-role", secret_id)["data"]["metadata"] == {"team": "a"}
    info = approle.read_secret_id_accessor("some-role", accessor)["data"]
    assert info["cidr_list"] == ["127.0.0.0/8"] and info["secret_id_num_uses"] == 0

    machine = client()
    login = machine.auth.approle.login(role_id=role_id, secret_id=secret_id)
    assert login["auth"]["metadata"] == {"role_name": "some-role", "team": "a"}
    assert login["auth"]["token_policies"] == ["app", "default"] and login["auth"]["orphan"]
    assert machine.is_authenticated()
    assert machine.auth.token.renew_self()["auth"]["lease_duration"] == 600
    machine.auth.token.revoke_self()
    refuses(exceptions.InvalidRequest, client().auth.approle.login, role_id, "wrong")
    refuses(exceptions.InvalidRequest, client().auth.approle.login, "wrong", secret_id)
    approle.destroy_secret_id("some-role", secret_id)
    refuses(exceptions.InvalidRequest, client().auth.approle.login, role_id, secret_id)
    approle.update_role_id("some-role", "my-role-id")
    approle.create_custom_secret_id("some-role", "my-secret-id")
    assert client().auth.approle.login("my-role-id", "my-secret-id")["auth"]["client_token"]
    limited = approle.generate_secret_id("some-role", wrap_ttl="60s")["wrap_info"]["token"]
    unwrapped = client(limited).sys.unwrap()["data"]["secret_id"]
    assert client().auth.approle.login("my-role-id", unwrapped)["auth"]["client_token"]
    approle.destroy_secret_id_accessor(
        "some-role", approle.list_secret_id_accessors("some-role")["data"]["keys"][0]
    )
    approle.delete_role("some-role")
    refuses(exceptions.InvalidPath, approle.read_role, "some-role")

    userpass = root.auth.userpass
    userpass.create_or_update_user("Ann", "not-strong", policies="app", mount_point="people")
    assert userpass.list_user(mount_point="people")["data"]["keys"] == ["ann"]
    assert userpass.read_user("ann", mount_point="people")["data"]["token_policies"] == ["app"]
    person = client()
    login = person.auth.userpass.login("ANN", "not-strong", mount_point="people")
    assert login["auth"]["metadata"] == {"username": "ann"} and person.is_authenticated()
    userpass.update_password_on_user("ann", "better", mount_point="people")
    refuses(
        exceptions.InvalidRequest,
        client().auth.userpass.login,
        "ann",
        "not-strong",
        mount_point="people",
    )
    assert client().auth.userpass.login("ann", "better", mount_point="people")["auth"]["renewable"]
    userpass.delete_user("ann", mount_point="people")
    root.sys.disable_auth_method("people")
    assert not person.is_authenticated()
    root.sys.disable_auth_method("approle")
    assert set(root.sys.list_auth_methods()["data"]) == {"token/"}


def system(root, made):
    mine = root.sys.get_capabilities(["secret/data/x"])
    assert mine["data"]["capabilities"] == ["root"] == mine["capabilities"]
    token = root.auth.token.create(policies=["app"])["auth"]
    paths = ["secret/data/app/x", "sys/mounts"]
    for who in [{"token": token["client_token"]}, {"accessor": token["accessor"]}]:
        theirs = root.sys.get_capabilities(paths, **who)["data"]
        assert theirs["sys/mounts"] == ["deny"], theirs
        assert set(theirs["secret/data/app/x"]) == {"create", "read", "update"}, theirs
    before = root.sys.get_encryption_key_status()["data"]["term"]
    root.sys.rotate_encryption_key()
    assert root.sys.get_encryption_key_status()["data"]["term"] == before + 1

    devices = root.sys.list_enabled_audit_devices()
    assert devices["data"]["file/"]["type"] == "file"
    path = os.path.join(DIRECTORY, "second.log")
    root.sys.enable_audit_device("file", path="second", options={"path": path})
    assert "second/" in root.sys.list_enabled_audit_devices()["data"]
    digest = root.sys.calculate_hash("second", "value")["data"]["hash"]
    assert digest.startswith("hmac-sha256:")
    assert digest != root.sys.calculate_hash("file", "value")["data"]["hash"]
    root.secrets.kv.v2.create_or_update_secret("app/hashed", {"k": "value"})
    with open(path) as lines:
        assert digest in lines.read()
    root.sys.disable_audit_device("second")
    assert "second/" not in root.sys.list_enabled_audit_devices()["data"]
    refuses(exceptions.InvalidRequest, root.sys.disable_audit_device, "file")

    keys = ceremonies(root, made["keys"])
    assert root.sys.seal().status_code == 204
    assert client().sys.is_sealed()
    client().sys.submit_unseal_keys(keys)
    assert root.secrets.kv.v2.read_secret_version(
        "app/hashed", raise_on_deleted_version=True
    )["data"]["data"] == {"k": "value"}
    root.sys.seal()


def ceremonies(root, keys):
    """New shares, with and without verification, and a root token of them."""
    # Nobody without a token, as OpenBao has it by default.
    for call in [client().sys.read_rekey_progress, client().sys.read_root_generation_progress]:
        refuses(exceptions.Forbidden, call)
    assert root.sys.read_rekey_progress()["started"] is False
    nonce = root.sys.start_rekey(secret_shares=3, secret_threshold=2)["nonce"]
    refuses(exceptions.InvalidRequest, root.sys.start_rekey)
    assert root.sys.cancel_rekey().status_code == 204
    nonce = root.sys.start_rekey(secret_shares=3, secret_threshold=2)["nonce"]
    refuses(exceptions.InvalidRequest, root.sys.rekey, "00" * 33, nonce)
    done = root.sys.rekey_multi(keys[:3], nonce=nonce)
    assert done["complete"] and len(done["keys"]) == 3, done
    refuses(exceptions.InvalidRequest, root.sys.rekey_verify, done["keys"][0], nonce)

    nonce = root.sys.start_rekey(
        secret_shares=2, secret_threshold=2, require_verification=True
    )["nonce"]
    verifying = root.sys.rekey_multi(done["keys"][:2], nonce=nonce)
    nonce = verifying["verification_nonce"]
    assert root.sys.read_rekey_verify_progress()["progress"] == 0
    assert root.sys.cancel_rekey_verify()["progress"] == 0
    nonce = root.sys.read_rekey_verify_progress()["nonce"]
    assert root.sys.rekey_verify_multi(verifying["keys"], nonce=nonce)["complete"]
    keys = verifying["keys"]

    otp = "0123456789abcdefghijklmnopqr"
    nonce = root.sys.start_root_token_generation(otp=otp)["nonce"]
    assert root.sys.read_root_generation_progress()["started"] is True
    root.sys.cancel_root_generation()
    assert root.sys.read_root_generation_progress()["started"] is False
    nonce = root.sys.start_root_token_generation(otp=otp)["nonce"]
    assert root.sys.generate_root(keys[0], nonce)["progress"] == 1
    made = root.sys.generate_root(keys[1], nonce)
    coded = base64.b64decode(made["encoded_root_token"] + "==")
    token = "".join(chr(a ^ ord(b)) for a, b in zip(coded, otp))
    assert client(token).lookup_token()["data"]["policies"] == ["root"]

    root.secrets.kv.v2.create_or_update_secret("app/moved", {"k": "moved"})
    moved = root.sys.move_backend("secret", "elsewhere/kv")["data"]["migration_id"]
    status = root.read(f"sys/remount/status/{moved}")["data"]["migration_info"]
    assert status["status"] == "success", status
    read = root.secrets.kv.v2.read_secret_version
    found = read("app/moved", mount_point="elsewhere/kv", raise_on_deleted_version=True)
    assert found["data"]["data"] == {"k": "moved"}
    root.sys.move_backend("elsewhere/kv", "secret")
    return keys


if __name__ == "__main__":
    ROOT, MADE = init_and_unseal()
    policies(ROOT)
    tokens(ROOT)
    mounts(ROOT)
    kv(ROOT)
    pki(ROOT)
    auth(ROOT)
    system(ROOT, MADE)
    print("hvac: all calls answered as Vault answers them")
