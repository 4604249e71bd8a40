package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hashicorp/vault/api"
)

func tokens(ctx context.Context, client *api.Client) error {
	renewable := true
	auth := client.Auth().Token()
	made, err := auth.CreateWithContext(ctx, &api.TokenCreateRequest{
		Policies:       []string{"default"},
		TTL:            "1h",
		ExplicitMaxTTL: "2h",
		DisplayName:    "go",
		Metadata:       map[string]string{"who": "go"},
		Renewable:      &renewable,
	})
	if err != nil {
		return err
	}
	token, accessor := made.Auth.ClientToken, made.Auth.Accessor
	own, err := client.Clone()
	if err != nil {
		return err
	}
	own.SetToken(token)
	looked, err := own.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return err
	}
	ttl, err := looked.Data["ttl"].(json.Number).Int64()
	if err != nil {
		return err
	}
	byAccessor, err := auth.LookupAccessorWithContext(ctx, accessor)
	if err != nil {
		return err
	}
	renewed, err := own.Auth().Token().RenewSelfWithContext(ctx, 7000)
	if err != nil {
		return err
	}
	can, err := own.Sys().CapabilitiesSelfWithContext(ctx, "auth/token/lookup-self")
	if err != nil {
		return err
	}
	if err := first(
		check(made.Auth.LeaseDuration == 3600 && made.Auth.Renewable, "made: %+v", made.Auth),
		check(ttl > 3590 && ttl <= 3600, "ttl: %d", ttl),
		check(looked.Data["display_name"] == "token-go", "display name: %v", looked.Data["display_name"]),
		check(byAccessor.Data["id"] == "", "an accessor shows a token"),
		check(renewed.Auth.LeaseDuration > 6990, "renewed: %+v", renewed.Auth),
		check(len(can) == 1 && can[0] == "read", "capabilities: %v", can),
		watched(own, renewed),
	); err != nil {
		return err
	}
	child, err := auth.CreateOrphanWithContext(ctx, &api.TokenCreateRequest{NumUses: 1})
	if err != nil {
		return err
	}
	own.SetToken(child.Auth.ClientToken)
	if _, err := own.Auth().Token().LookupSelfWithContext(ctx); err != nil {
		return err
	}
	_, err = own.Auth().Token().LookupSelfWithContext(ctx)
	if err := check(status(err) == 403, "a used token: %v", err); err != nil {
		return err
	}
	ended(ctx, client)
	if err := auth.RevokeAccessorWithContext(ctx, accessor); err != nil {
		return err
	}
	_, err = auth.LookupWithContext(ctx, token)
	return check(status(err) == 403, "a revoked token: %v", err)
}

// watched lets the library's own watcher renew once.
func watched(client *api.Client, secret *api.Secret) error {
	watcher, err := client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret, Increment: 60})
	if err != nil {
		return err
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case err := <-watcher.DoneCh():
		return check(false, "the watcher ended: %v", err)
	case renewal := <-watcher.RenewCh():
		return check(renewal.Secret.Auth != nil, "renewal: %+v", renewal.Secret)
	case <-time.After(30 * time.Second):
		return check(false, "the watcher did not renew")
	}
}

// ended drives the library's other ways to renew and end tokens.
func ended(ctx context.Context, client *api.Client) {
	auth := client.Auth().Token()
	make := func(by *api.Client) *api.SecretAuth {
		request := &api.TokenCreateRequest{Policies: []string{"root"}, TTL: "1h"}
		return must(by.Auth().Token().CreateWithContext(ctx, request)).Auth
	}
	orphaned := func(token string) bool {
		return must(auth.LookupWithContext(ctx, token)).Data["orphan"].(bool)
	}
	parent := make(client)
	child := make(as(client, parent.ClientToken))
	grandchild := make(as(client, child.ClientToken))
	for _, renewed := range []*api.Secret{
		must(auth.RenewWithContext(ctx, parent.ClientToken, 1800)),
		must(auth.RenewAccessorWithContext(ctx, parent.Accessor, 1800)),
		must(auth.RenewTokenAsSelfWithContext(ctx, parent.ClientToken, 1800)),
	} {
		holds(renewed.Auth.LeaseDuration == 1800 && renewed.Auth.Accessor == parent.Accessor, renewed.Auth)
	}
	holds(!orphaned(child.ClientToken))
	done(auth.RevokeOrphanWithContext(ctx, parent.ClientToken))
	holds(orphaned(child.ClientToken) && !orphaned(grandchild.ClientToken))
	done(auth.RevokeTreeWithContext(ctx, child.ClientToken))
	_, err := auth.LookupWithContext(ctx, grandchild.ClientToken)
	refused(403, err)
	last := make(client)
	done(as(client, last.ClientToken).Auth().Token().RevokeSelfWithContext(ctx, ""))
	_, err = auth.LookupAccessorWithContext(ctx, last.Accessor)
	refused(403, err)
}
