"""Wrapping, cubbyhole, tools, CORS and the OpenAPI document, with hvac, curl and a validator.

Usage: hvac_wrapping.py URL CA_FILE ROOT_TOKEN. The zone is open and has KV version 2 at secret/.
"""

import base64
import hashlib
import json
import subprocess

from hvac import exceptions
from hvac_zone import CA_FILE, MORE, URL, client, refuses
from openapi_spec_validator import OpenAPIV30SpecValidator

[ROOT] = MORE


def curl(*args):
    """Status, header fields, body."""
    command = ["curl", "--silent", "--show-error", "--cacert", CA_FILE, "--include", *args]
    text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    head, _, body = text.partition("\r\n\r\n")
    lines = head.split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(lines[0].split()[1]), fields, body


def wrapping(root):
    made = root.auth.token.create(policies=["default"], wrap_ttl="60s")
    info = made["wrap_info"]
    assert made["auth"] is None and made["data"] is None
    assert info["ttl"] == 60 and info["creation_path"] == "auth/token/create"
    looked = client().adapter.post("/v1/sys/wrapping/lookup", json={"token": info["token"]})
    assert looked["data"]["creation_ttl"] == 60, looked
    # With the wrapping token as the client's.
    inner = client(info["token"]).sys.unwrap()
    assert inner["auth"]["accessor"] == info["wrapped_accessor"]
    assert client(inner["auth"]["client_token"]).is_authenticated()
    said = str(refuses(exceptions.InvalidRequest, client(info["token"]).sys.unwrap))
    assert "wrapping token is not valid or does not exist" in said, said
    # By a third party.
    wrapped = root.sys.wrap(payload={"zip": "zap"}, ttl=60)["wrap_info"]
    moved = root.adapter.post("/v1/sys/wrapping/rewrap", json={"token": wrapped["token"]})
    moved = moved["wrap_info"]
    assert moved["creation_path"] == "sys/wrapping/wrap"
    refuses(exceptions.InvalidRequest, root.sys.unwrap, wrapped["token"])
    assert root.sys.unwrap(moved["token"])["data"] == {"zip": "zap"}
    refuses(exceptions.InvalidRequest, root.sys.unwrap, moved["token"])


def wrapping_with_curl():
    token = f"X-Vault-Token: {ROOT}"
    body = json.dumps({"data": {"password": "open sesame"}})
    assert curl("-H", token, "-d", body, f"{URL}/v1/secret/data/wrapped")[0] == 200
    read = ["-H", token, f"{URL}/v1/secret/data/wrapped"]
    status, fields, text = curl("-H", "X-Vault-Wrap-TTL: 5m", *read)
    assert status == 200 and "sesame" not in text
    assert fields["content-type"] == "application/json" and fields["cache-control"] == "no-store"
    wrapping = json.loads(text)["wrap_info"]["token"]
    unwrap = ["-X", "PUT", "-H", f"X-Vault-Token: {wrapping}", f"{URL}/v1/sys/wrapping/unwrap"]
    status, fields, text = curl(*unwrap)
    assert status == 200 and fields["content-type"] == "application/json"
    assert json.loads(text)["data"]["data"] == {"password": "open sesame"}
    assert curl(*unwrap)[0] == 400
    assert curl("-H", "X-Vault-Wrap-TTL: soon", *read)[0] == 400
    assert curl("-H", "X-Vault-Wrap-TTL: 60", "-H", "X-Vault-Wrap-Format: jwt", *read)[0] == 400


def cubbyhole(root):
    own = client(root.auth.token.create(policies=["default"])["auth"]["client_token"])
    assert own.write("cubbyhole/notes/a", text="mine").status_code == 204
    assert own.read("cubbyhole/notes/a")["data"] == {"text": "mine"}
    assert own.list("cubbyhole/notes")["data"]["keys"] == ["a"]
    assert root.read("cubbyhole/notes/a") is None
    own.delete("cubbyhole/notes/a")
    assert own.read("cubbyhole/notes/a") is None


def tools(root):
    drawn = root.adapter.post("/v1/sys/tools/random/24", json={"format": "base64"})
    assert len(base64.b64decode(drawn["data"]["random_bytes"])) == 24
    text = base64.b64encode(b"adam").decode()
    for name, known in [("sha2-256", hashlib.sha256), ("sha2-512", hashlib.sha512), ("sha3-384", hashlib.sha3_384)]:
        hashed = root.adapter.post(f"/v1/sys/tools/hash/{name}", json={"input": text})
        assert hashed["data"]["sum"] == known(b"adam").hexdigest(), name


def cors(root):
    page = "https://ui.example"
    ask = ["-X", "OPTIONS", "-H", f"Origin: {page}", "-H", "Access-Control-Request-Method: PUT"]
    url = f"{URL}/v1/sys/mounts"
    assert curl(*ask, url)[0] == 405
    root.adapter.put("/v1/sys/config/cors", json={"allowed_origins": [page]})
    assert root.adapter.get("/v1/sys/config/cors")["data"]["enabled"] is True
    status, fields, text = curl(*ask, url)
    assert status == 204 and text == ""
    assert fields["access-control-allow-origin"] == page
    assert "PUT" in fields["access-control-allow-methods"].split(",")
    assert "X-Vault-Token" in fields["access-control-allow-headers"].split(",")
    read = ["-H", f"X-Vault-Token: {ROOT}", url]
    status, fields, _ = curl("-H", f"Origin: {page}", *read)
    assert status == 200 and fields["access-control-allow-origin"] == page
    assert curl("-H", "Origin: https://evil.example", *read)[0] == 403
    root.adapter.delete("/v1/sys/config/cors")
    assert curl(*ask, url)[0] == 405


def openapi(root):
    """What the zone says of itself is valid, and tells of what was called above."""
    document = root.adapter.get("/v1/sys/internal/specs/openapi")
    OpenAPIV30SpecValidator(document).validate()
    for path in [
        "/secret/data/{path}",
        "/sys/wrapping/unwrap",
        "/sys/tools/hash/{algorithm}",
        "/cubbyhole/{path}",
        "/auth/token/create",
    ]:
        assert path in document["paths"], path
    help_text = root.adapter.get("/v1/sys/wrapping/unwrap?help=1")
    OpenAPIV30SpecValidator(help_text["openapi"]).validate()
    assert "wrapping token" in help_text["help"]


def the_head(root):
    host = root.adapter.get("/v1/sys/host-info")["data"]
    assert host["memory"]["total"] > 0 and host["host"]["hostname"]
    assert root.adapter.get("/v1/sys/metrics")["Gauges"]
    levels = root.adapter.get("/v1/sys/loggers")["data"]
    root.adapter.put("/v1/sys/loggers/zone_http", json={"level": "trace"})
    assert root.adapter.get("/v1/sys/loggers")["data"] == {**levels, "zone_http": "trace"}
    root.adapter.delete("/v1/sys/loggers/zone_http")
    in_flight = root.adapter.get("/v1/sys/in-flight-req")
    assert any(one["request_path"] == "/v1/sys/in-flight-req" for one in in_flight.values())
    history = root.adapter.list("/v1/sys/version-history")["data"]
    assert len(history["keys"]) == 1
    refuses(exceptions.InvalidPath, root.adapter.get, "/v1/sys/raw/core/settings")


if __name__ == "__main__":
    first = client(ROOT)
    wrapping(first)
    wrapping_with_curl()
    cubbyhole(first)
    tools(first)
    cors(first)
    openapi(first)
    the_head(first)
    print("wrapping: all calls answered")
