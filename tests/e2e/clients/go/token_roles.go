package main

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/api"
)

// tokenRoles drives token roles, batch tokens, capabilities in three spellings, and wrapping.
func tokenRoles(ctx context.Context, client *api.Client) error {
	logical := client.Logical()
	role := map[string]interface{}{
		"allowed_policies":        []string{"default"},
		"allowed_policies_glob":   []string{"team-*"},
		"orphan":                  true,
		"token_period":            "1h",
		"token_type":              "default-service",
		"token_no_default_policy": false,
		"path_suffix":             "go",
	}
	if _, err := logical.WriteWithContext(ctx, "auth/token/roles/Go", role); err != nil {
		return err
	}
	read, err := logical.ReadWithContext(ctx, "auth/token/roles/go")
	if err != nil {
		return err
	}
	list, err := logical.ListWithContext(ctx, "auth/token/roles")
	if err != nil {
		return err
	}
	auth := client.Auth().Token()
	made, err := auth.CreateWithRoleWithContext(ctx, &api.TokenCreateRequest{Policies: []string{"team-a"}}, "go")
	if err != nil {
		return err
	}
	_, refused := auth.CreateWithRoleWithContext(ctx, &api.TokenCreateRequest{Policies: []string{"other"}}, "go")
	looked, err := auth.LookupAccessorWithContext(ctx, made.Auth.Accessor)
	if err != nil {
		return err
	}
	return first(
		check(read.Data["name"] == "go" && read.Data["token_type"] == "default-service", "role: %v", read.Data),
		check(len(list.Data["keys"].([]interface{})) == 1, "roles: %v", list.Data),
		check(made.Auth.Orphan && made.Auth.LeaseDuration == 3600, "made: %+v", made.Auth),
		check(strings.Join(made.Auth.Policies, " ") == "default team-a", "policies: %v", made.Auth.Policies),
		check(status(refused) == 400, "another policy: %v", refused),
		check(looked.Data["path"] == "auth/token/create/go/go" && looked.Data["role"] == "go", "looked up: %v", looked.Data),
		batchTokens(ctx, client),
		capabilities(ctx, client, made.Auth),
	)
}

func batchTokens(ctx context.Context, client *api.Client) error {
	auth := client.Auth().Token()
	made, err := auth.CreateWithContext(ctx, &api.TokenCreateRequest{
		Type: "batch", Policies: []string{"default"}, TTL: "1h",
	})
	if err != nil {
		return err
	}
	own, err := client.Clone()
	if err != nil {
		return err
	}
	own.SetToken(made.Auth.ClientToken)
	looked, err := own.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return err
	}
	kind, err := looked.TokenID()
	if err != nil {
		return err
	}
	_, renewed := own.Auth().Token().RenewSelfWithContext(ctx, 60)
	revoked := auth.RevokeTreeWithContext(ctx, made.Auth.ClientToken)
	all := map[string]interface{}{"all": true}
	if _, err := client.Logical().WriteWithContext(ctx, "auth/token/revoke-batch", all); err != nil {
		return err
	}
	_, ended := own.Auth().Token().LookupSelfWithContext(ctx)
	return first(
		check(looked.Data["type"] == "batch" && kind == made.Auth.ClientToken, "looked up: %v", looked.Data),
		check(made.Auth.Accessor == "" && !made.Auth.Renewable, "made: %+v", made.Auth),
		check(status(renewed) == 400, "renewed: %v", renewed),
		check(status(revoked) == 400, "revoked: %v", revoked),
		check(status(ended) == 403, "cut off: %v", ended),
	)
}

func capabilities(ctx context.Context, client *api.Client, auth *api.SecretAuth) error {
	sys := client.Sys()
	byToken, err := sys.CapabilitiesWithContext(ctx, auth.ClientToken, "auth/token/renew-self")
	if err != nil {
		return err
	}
	self, err := sys.CapabilitiesSelfWithContext(ctx, "sys/mounts")
	if err != nil {
		return err
	}
	body := map[string]interface{}{"accessor": auth.Accessor, "paths": []string{"sys/mounts", "auth/token/renew-self"}}
	byAccessor, err := client.Logical().WriteWithContext(ctx, "sys/capabilities-accessor", body)
	if err != nil {
		return err
	}
	at := func(path string) string { return byAccessor.Data[path].([]interface{})[0].(string) }
	return first(
		check(len(byToken) == 1 && byToken[0] == "update", "by token: %v", byToken),
		check(len(self) == 1 && self[0] == "root", "of root: %v", self),
		check(at("sys/mounts") == "deny" && at("auth/token/renew-self") == "update", "by accessor: %v", byAccessor.Data),
	)
}
