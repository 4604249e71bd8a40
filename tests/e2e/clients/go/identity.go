package main

import (
	"context"

	"github.com/hashicorp/vault/api"
)

// identities drives entities, aliases and groups, and what a login gets by them.
func identities(ctx context.Context, client *api.Client) error {
	sys, logical := client.Sys(), client.Logical()
	done(sys.EnableAuthWithOptionsWithContext(ctx, "userpass", &api.EnableAuthOptions{Type: "userpass"}))
	accessor := must(sys.ListAuthWithContext(ctx))["userpass/"].Accessor
	put := func(path string, data map[string]any) *api.Secret {
		return must(logical.WriteWithContext(ctx, path, data))
	}
	made := put("identity/entity", map[string]any{
		"name": "ann", "policies": []string{"staff"}, "metadata": map[string]string{"team": "blue"},
	}).Data
	entity := made["id"].(string)
	alias := put("identity/entity-alias", map[string]any{
		"name": "ann", "canonical_id": entity, "mount_accessor": accessor,
		"custom_metadata": map[string]string{"floor": "3"},
	}).Data
	holds(alias["canonical_id"] == entity, alias)
	read := must(logical.ReadWithContext(ctx, "identity/entity/id/"+entity)).Data
	held := read["aliases"].([]any)[0].(map[string]any)
	holds(held["id"] == alias["id"] && held["mount_type"] == "userpass" && held["mount_accessor"] == accessor, held)
	holds(read["metadata"].(map[string]any)["team"] == "blue" && same(read["policies"], "staff"), read)
	group := put("identity/group", map[string]any{
		"name": "crew", "policies": "crew", "member_entity_ids": []string{entity},
	}).Data["id"].(string)

	// What a login gets by identity.
	put("auth/userpass/users/ann", map[string]any{"password": "correct horse"})
	auth := put("auth/userpass/login/ann", map[string]any{"password": "correct horse"}).Auth
	holds(auth.EntityID == entity, auth)
	holds(len(auth.IdentityPolicies) == 2 && len(auth.TokenPolicies) == 1 && len(auth.Policies) == 3, auth)
	own := must(as(client, auth.ClientToken).Auth().Token().LookupSelfWithContext(ctx))
	holds(own.Data["entity_id"] == entity && same(own.Data["identity_policies"], "crew", "staff"), own.Data)

	groups(ctx, client, accessor, entity, group)
	lookups(ctx, client, accessor, entity, group)
	merged(ctx, client, accessor, entity)
	must(logical.DeleteWithContext(ctx, "identity/entity/id/"+entity))
	holds(must(logical.ReadWithContext(ctx, "identity/entity/id/"+entity)) == nil)
	_, err := as(client, auth.ClientToken).Auth().Token().LookupSelfWithContext(ctx)
	holds(err == nil || status(err) == 403, err)
	return sys.DisableAuthWithContext(ctx, "userpass")
}

// groups are nested, and external ones have an alias.
func groups(ctx context.Context, client *api.Client, accessor, entity, group string) {
	logical := client.Logical()
	outer := must(logical.WriteWithContext(ctx, "identity/group", map[string]any{
		"name": "all", "member_group_ids": group,
	})).Data["id"].(string)
	read := must(logical.ReadWithContext(ctx, "identity/entity/id/"+entity)).Data
	holds(same(read["direct_group_ids"], group) && same(read["inherited_group_ids"], outer), read)
	holds(len(texts(read["group_ids"])) == 2, read)
	inner := must(logical.ReadWithContext(ctx, "identity/group/name/crew")).Data
	holds(inner["id"] == group && inner["type"] == "internal" && same(inner["parent_group_ids"], outer), inner)
	_, err := logical.WriteWithContext(ctx, "identity/group/id/"+group, map[string]any{"member_group_ids": outer})
	refused(400, err)
	names := must(logical.ListWithContext(ctx, "identity/group/name"))
	holds(same(names.Data["keys"], "all", "crew"), names)
	external := must(logical.WriteWithContext(ctx, "identity/group", map[string]any{
		"name": "outside", "type": "external",
	})).Data["id"].(string)
	alias := must(logical.WriteWithContext(ctx, "identity/group-alias", map[string]any{
		"name": "cn=x", "mount_accessor": accessor, "canonical_id": external,
	})).Data["id"].(string)
	found := must(logical.ReadWithContext(ctx, "identity/group/id/"+external)).Data
	holds(found["alias"].(map[string]any)["id"] == alias, found)
	for _, path := range []string{"group-alias/id/" + alias, "group/id/" + external, "group/name/all"} {
		must(logical.DeleteWithContext(ctx, "identity/"+path))
	}
}

func lookups(ctx context.Context, client *api.Client, accessor, entity, group string) {
	look := func(kind string, by map[string]any) *api.Secret {
		return must(client.Logical().WriteWithContext(ctx, "identity/lookup/"+kind, by))
	}
	for _, by := range []map[string]any{
		{"name": "ann"}, {"id": entity}, {"alias_name": "ann", "alias_mount_accessor": accessor},
	} {
		found := look("entity", by).Data
		holds(found["id"] == entity, by, found)
	}
	holds(look("group", map[string]any{"name": "crew"}).Data["id"] == group)
	holds(look("entity", map[string]any{"name": "nobody"}) == nil, "somebody")
}

// merged makes one entity of two: whoever logs in as the other is the first from then on.
func merged(ctx context.Context, client *api.Client, accessor, entity string) {
	logical := client.Logical()
	done(client.Sys().EnableAuthWithOptionsWithContext(ctx, "second", &api.EnableAuthOptions{Type: "userpass"}))
	body := map[string]any{"password": "correct horse"}
	must(logical.WriteWithContext(ctx, "auth/second/users/ann2", body))
	other := must(logical.WriteWithContext(ctx, "auth/second/login/ann2", body)).Auth
	holds(other.EntityID != "" && other.EntityID != entity, other)
	must(logical.WriteWithContext(ctx, "identity/entity/merge", map[string]any{
		"from_entity_ids": []string{other.EntityID}, "to_entity_id": entity,
	}))
	again := must(logical.WriteWithContext(ctx, "auth/second/login/ann2", body)).Auth
	holds(again.EntityID == entity && len(again.IdentityPolicies) == 2, again)
	own := must(as(client, other.ClientToken).Auth().Token().LookupSelfWithContext(ctx))
	holds(same(own.Data["identity_policies"], "crew", "staff"), own.Data)
	done(client.Sys().DisableAuthWithContext(ctx, "second"))
}
