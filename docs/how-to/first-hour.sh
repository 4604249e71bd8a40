#!/usr/bin/env bash
# The first hour with a new head: from init to a policy, a person, a machine with a wrapped secret
# id, and a new root token. Each command explains itself with -help. Every change of this
# project runs this script. Needs VAULT_ADDR and VAULT_CACERT, as docs/how-to/run-it.md sets them, and jq.
set -euo pipefail
say() { printf '\n== %s\n' "$*"; }

say "Make the zone: five shares of which three open it, and a first root token"
zonehead operator init -key-shares=5 -key-threshold=3 -format=json > init.json
share() { jq -r ".unseal_keys_b64[$1]" init.json; }
zonehead status || true
for keeper in 0 1 2; do share $keeper | zonehead operator unseal > status.txt; done
cat status.txt

say "Log in with the first token; it is kept in ~/.zonehead/token"
jq -r .root_token init.json | zonehead login -

say "A place for secrets, and a secret"
zonehead secrets enable -path=secret kv-v2
zonehead kv put secret/web/db password=hunter2

say "A policy: who has it may read what belongs to web"
zonehead policy write web - <<'HCL'
path "secret/data/web/*" {
  capabilities = ["read"]
}
HCL
zonehead policy read web

say "A person"
zonehead auth enable userpass
printf 'correct horse' | zonehead write auth/userpass/users/ann password=- policies=web
token=$(printf 'correct horse' | zonehead login -method=userpass -token-only username=ann password=-)
VAULT_TOKEN=$token zonehead kv get -field=password secret/web/db
if VAULT_TOKEN=$token zonehead kv put secret/web/db password=changed 2> refused.txt; then exit 1; fi
grep -q 'permission denied' refused.txt

say "A machine: its secret id leaves wrapped, and is opened once"
zonehead auth enable approle
zonehead write auth/approle/role/web token_policies=web secret_id_num_uses=1
role_id=$(zonehead read -field=role_id auth/approle/role/web/role-id)
wrapped=$(zonehead write -wrap-ttl=60s -field=wrapping_token -force auth/approle/role/web/secret-id)
secret_id=$(zonehead unwrap -field=secret_id "$wrapped")
if zonehead unwrap "$wrapped" 2> refused.txt; then exit 1; fi
token=$(printf %s "$secret_id" | zonehead login -method=approle -token-only role_id="$role_id" secret_id=-)
VAULT_TOKEN=$token zonehead kv get -field=password secret/web/db

say "A new root token from three shares, and the end of the first"
zonehead operator generate-root -init -format=json > attempt.json
nonce=$(jq -r .nonce attempt.json)
for keeper in 0 1 2; do
  share $keeper | zonehead operator generate-root -nonce="$nonce" -format=json - > made.json
done
root=$(zonehead operator generate-root -decode="$(jq -r .encoded_token made.json)" -otp="$(jq -r .otp attempt.json)")
zonehead token revoke -self
if zonehead token lookup 2> refused.txt; then exit 1; fi
VAULT_TOKEN=$root zonehead token lookup

say "Done"
