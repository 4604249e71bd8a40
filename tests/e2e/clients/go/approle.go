package main

import (
	"context"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
)

// appRoles drives AppRole from its mount to its end; logins with the library's own helper.
func appRoles(ctx context.Context, client *api.Client) error {
	sys, logical := client.Sys(), client.Logical()
	done(sys.EnableAuthWithOptionsWithContext(ctx, "go-machines", &api.EnableAuthOptions{
		Type: "approle", Description: "machines", Config: api.AuthConfigInput{MaxLeaseTTL: "4h"},
	}))
	method := must(sys.GetAuthWithContext(ctx, "go-machines"))
	holds(method.Type == "approle" && method.Config.MaxLeaseTTL == 14400, method)
	put := func(path string, data map[string]any) *api.Secret {
		return must(logical.WriteWithContext(ctx, "auth/go-machines/"+path, data))
	}
	put("role/Web", map[string]any{
		"token_policies": "web", "token_ttl": "20m", "token_max_ttl": 3600, "secret_id_ttl": "1h",
	})
	role := must(logical.ReadWithContext(ctx, "auth/go-machines/role/web")).Data
	holds(same(role["token_policies"], "web") && number(role["token_ttl"]) == 1200, role)
	holds(role["bind_secret_id"] == true && number(role["secret_id_ttl"]) == 3600, role)
	roles := must(logical.ListWithContext(ctx, "auth/go-machines/role"))
	holds(same(roles.Data["keys"], "web"), roles)
	roleID := must(logical.ReadWithContext(ctx, "auth/go-machines/role/web/role-id")).Data["role_id"].(string)
	made := put("role/web/secret-id", map[string]any{"metadata": `{"team":"a"}`}).Data
	holds(number(made["secret_id_ttl"]) == 3600 && number(made["secret_id_num_uses"]) == 0, made)

	auth := must(logIn(ctx, client, roleID, made["secret_id"].(string))).Auth
	holds(auth.LeaseDuration == 1200 && auth.Renewable && auth.Orphan && auth.EntityID != "", auth)
	holds(auth.Metadata["role_name"] == "web" && auth.Metadata["team"] == "a", auth)
	holds(len(auth.TokenPolicies) == 2 && auth.TokenPolicies[1] == "web", auth)
	own := as(client, auth.ClientToken)
	holds(must(own.Auth().Token().RenewSelfWithContext(ctx, 60)).Auth.LeaseDuration == 60)

	secretIDs(ctx, client, roleID, made, put)
	limits(ctx, client, roleID, put)
	must(logical.DeleteWithContext(ctx, "auth/go-machines/role/web"))
	_, err := logIn(ctx, client, roleID, made["secret_id"].(string))
	refused(400, err)
	done(sys.DisableAuthWithContext(ctx, "go-machines"))
	_, err = own.Auth().Token().LookupSelfWithContext(ctx)
	refused(403, err)
	return nil
}

// logIn is a login of a client that has no token.
func logIn(ctx context.Context, client *api.Client, roleID, secretID string, more ...approle.LoginOption) (*api.Secret, error) {
	options := append([]approle.LoginOption{approle.WithMountPath("go-machines")}, more...)
	auth := must(approle.NewAppRoleAuth(roleID, &approle.SecretID{FromString: secretID}, options...))
	stranger := must(client.Clone())
	stranger.ClearToken()
	return stranger.Auth().Login(ctx, auth)
}

type putter func(path string, data map[string]any) *api.Secret

// secretIDs looks at secret ids by themselves and by their accessors, and ends them.
func secretIDs(ctx context.Context, client *api.Client, roleID string, made map[string]any, put putter) {
	byText := map[string]any{"secret_id": made["secret_id"]}
	byAccessor := map[string]any{"secret_id_accessor": made["secret_id_accessor"]}
	looked := put("role/web/secret-id/lookup", byText).Data
	holds(looked["secret_id_accessor"] == made["secret_id_accessor"], looked)
	again := put("role/web/secret-id-accessor/lookup", byAccessor).Data
	holds(again["metadata"].(map[string]any)["team"] == "a" && again["secret_id"] == nil, again)
	list := must(client.Logical().ListWithContext(ctx, "auth/go-machines/role/web/secret-id"))
	holds(same(list.Data["keys"], made["secret_id_accessor"].(string)), list)

	own := put("role/web/custom-secret-id", map[string]any{"secret_id": "my-own"}).Data
	holds(own["secret_id"] == "my-own", own)
	must(logIn(ctx, client, roleID, "my-own"))
	put("role/web/secret-id/destroy", map[string]any{"secret_id": "my-own"})
	_, err := logIn(ctx, client, roleID, "my-own")
	refused(400, err)

	wrapper := as(client, client.Token())
	wrapper.SetWrappingLookupFunc(func(_, _ string) string { return "60s" })
	path := "auth/go-machines/role/web/secret-id"
	wrapped := must(wrapper.Logical().WriteWithContext(ctx, path, nil)).WrapInfo
	holds(wrapped.CreationPath == path && wrapped.TTL == 60, wrapped)
	must(logIn(ctx, client, roleID, wrapped.Token, approle.WithWrappingToken()))
	_, err = logIn(ctx, client, roleID, wrapped.Token, approle.WithWrappingToken())
	holds(err != nil, "a wrapping token twice")

	put("role/web/secret-id-accessor/destroy", byAccessor)
	_, err = logIn(ctx, client, roleID, made["secret_id"].(string))
	refused(400, err)
	holds(must(client.Logical().WriteWithContext(ctx, "auth/go-machines/role/web/secret-id/lookup", byText)) == nil)
}

// limits are a number of logins, and addresses.
func limits(ctx context.Context, client *api.Client, roleID string, put putter) {
	twice := put("role/web/secret-id", map[string]any{"num_uses": 2}).Data["secret_id"].(string)
	must(logIn(ctx, client, roleID, twice))
	must(logIn(ctx, client, roleID, twice))
	_, err := logIn(ctx, client, roleID, twice)
	refused(400, err)
	elsewhere := map[string]any{"cidr_list": []string{"10.9.8.0/24"}}
	bound := put("role/web/secret-id", elsewhere).Data["secret_id"].(string)
	_, err = logIn(ctx, client, roleID, bound)
	refused(400, err)
	put("role/web/token-bound-cidrs", map[string]any{"token_bound_cidrs": "10.9.8.0/24"})
	free := put("role/web/secret-id", nil).Data["secret_id"].(string)
	_, err = logIn(ctx, client, roleID, free)
	refused(400, err)
	must(client.Logical().DeleteWithContext(ctx, "auth/go-machines/role/web/token-bound-cidrs"))
	must(logIn(ctx, client, roleID, free))
	tidied := put("tidy/secret-id", nil)
	holds(tidied != nil && len(tidied.Warnings) == 1, tidied)
}
