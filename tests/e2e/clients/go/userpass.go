package main

import (
	"context"

	"github.com/hashicorp/vault/api"
)

// users drives userpass. The library's helper for it needs a newer Go, so logins are writes here.
func users(ctx context.Context, client *api.Client) error {
	sys, logical := client.Sys(), client.Logical()
	options := &api.EnableAuthOptions{Type: "userpass", Config: api.AuthConfigInput{ListingVisibility: "unauth"}}
	done(sys.EnableAuthWithOptionsWithContext(ctx, "go-people", options))
	put := func(path string, data map[string]any) *api.Secret {
		return must(logical.WriteWithContext(ctx, "auth/go-people/"+path, data))
	}
	put("users/Ann", map[string]any{
		"password": "correct horse", "token_policies": []string{"staff"}, "token_ttl": "30m", "token_max_ttl": "1h",
	})
	user := must(logical.ReadWithContext(ctx, "auth/go-people/users/ann")).Data
	holds(same(user["token_policies"], "staff") && number(user["token_max_ttl"]) == 3600, user)
	for name := range user {
		holds(name != "password" && name != "password_hash", user)
	}
	list := must(logical.ListWithContext(ctx, "auth/go-people/users"))
	holds(same(list.Data["keys"], "ann"), list)

	stranger := must(client.Clone())
	stranger.ClearToken()
	login := func(name, password string) (*api.Secret, error) {
		body := map[string]any{"password": password}
		return stranger.Logical().WriteWithContext(ctx, "auth/go-people/login/"+name, body)
	}
	auth := must(login("ANN", "correct horse")).Auth
	holds(auth.Metadata["username"] == "ann" && auth.LeaseDuration == 1800 && auth.Orphan, auth)
	own := must(as(client, auth.ClientToken).Auth().Token().LookupSelfWithContext(ctx))
	holds(own.Data["path"] == "auth/go-people/login/ann" && own.Data["display_name"] == "go-people-ann", own.Data)
	_, wrong := login("ann", "wrong")
	_, nobody := login("nobody", "wrong")
	refused(400, wrong)
	refused(400, nobody)
	said := func(err error) string { return err.(*api.ResponseError).Errors[0] }
	holds(said(wrong) == said(nobody), wrong, nobody)

	put("users/ann/password", map[string]any{"password": "battery staple"})
	_, err := login("ann", "correct horse")
	refused(400, err)
	put("users/ann/policies", map[string]any{"token_policies": "staff,admins"})
	auth = must(login("ann", "battery staple")).Auth
	holds(len(auth.TokenPolicies) == 3 && auth.TokenPolicies[0] == "admins", auth)
	must(logical.DeleteWithContext(ctx, "auth/go-people/users/ann"))
	holds(must(logical.ReadWithContext(ctx, "auth/go-people/users/ann")) == nil)
	_, err = login("ann", "battery staple")
	refused(400, err)
	return sys.DisableAuthWithContext(ctx, "go-people")
}
