package main

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// wrapping drives wrapped answers as the library's callers do: a function says what is wrapped.
func wrapping(ctx context.Context, client *api.Client) error {
	second := &api.MountInput{Type: "kv-v2"}
	done(client.Sys().MountWithContext(ctx, "go-wrapped", second))
	must(client.KVv2("go-wrapped").Put(ctx, "app", map[string]any{"password": "one"}))
	var asked []string
	wrapper := must(client.Clone())
	wrapper.SetToken(client.Token())
	wrapper.SetWrappingLookupFunc(func(operation, path string) string {
		asked = append(asked, operation+" "+path)
		if strings.HasPrefix(path, "sys/wrapping/") && path != "sys/wrapping/wrap" {
			return ""
		}
		return "2m"
	})

	wrapped := must(wrapper.Logical().ReadWithContext(ctx, "go-wrapped/data/app"))
	holds(asked[0] == "GET go-wrapped/data/app", asked)
	info := wrapped.WrapInfo
	holds(wrapped.Data == nil && wrapped.Auth == nil && wrapped.LeaseID == "", wrapped)
	holds(info.TTL == 120 && info.CreationPath == "go-wrapped/data/app", info)
	holds(info.Accessor != "" && info.WrappedAccessor == "", info)
	holds(time.Since(info.CreationTime) < time.Minute && info.CreationTime.Nanosecond() != 0, info)

	looked := lookUp(ctx, client, info.Token)
	holds(number(looked["creation_ttl"]) == 120, looked)
	holds(looked["creation_path"] == "go-wrapped/data/app", looked)
	must(time.Parse(time.RFC3339Nano, looked["creation_time"].(string)))
	inner := must(client.Logical().UnwrapWithContext(ctx, info.Token))
	holds(inner.WrapInfo == nil && inner.Data["data"].(map[string]any)["password"] == "one", inner)
	_, err := client.Logical().UnwrapWithContext(ctx, info.Token)
	refused(400, err)
	_, err = client.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": info.Token})
	refused(400, err)

	wrappedToken(ctx, client, wrapper)
	rewrapped(ctx, client, wrapper)
	return client.Sys().UnmountWithContext(ctx, "go-wrapped")
}

func lookUp(ctx context.Context, client *api.Client, token string) map[string]any {
	body := map[string]any{"token": token}
	return must(client.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", body)).Data
}

// wrappedToken is made for somebody who has nothing but the wrapping token.
func wrappedToken(ctx context.Context, client, wrapper *api.Client) {
	request := &api.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h"}
	wrapped := must(wrapper.Auth().Token().CreateWithContext(ctx, request))
	holds(wrapped.Auth == nil && wrapped.WrapInfo.CreationPath == "auth/token/create", wrapped)
	stranger := must(client.Clone())
	stranger.ClearToken()
	got := must(stranger.Logical().UnwrapWithContext(ctx, wrapped.WrapInfo.Token))
	holds(got.Auth.Accessor == wrapped.WrapInfo.WrappedAccessor, got.Auth)
	own := as(client, got.Auth.ClientToken)
	must(own.Auth().Token().LookupSelfWithContext(ctx))
	// The library has made the wrapping token its own; nothing else can be done with it.
	_, err := stranger.Logical().UnwrapWithContext(ctx, "")
	refused(400, err)
}

// rewrapped moves what anybody wrapped; the old token is worth nothing any more.
func rewrapped(ctx context.Context, client, wrapper *api.Client) {
	body := map[string]any{"zip": "zap"}
	first := must(wrapper.Logical().WriteWithContext(ctx, "sys/wrapping/wrap", body)).WrapInfo
	moved := must(client.Logical().WriteWithContext(ctx, "sys/wrapping/rewrap", map[string]any{"token": first.Token}))
	info := moved.WrapInfo
	holds(info.TTL == 120 && info.CreationPath == "sys/wrapping/wrap", info)
	holds(info.Token != first.Token && info.Accessor != first.Accessor, info)
	_, err := client.Logical().UnwrapWithContext(ctx, first.Token)
	refused(400, err)
	// A wrapping token does nothing but be unwrapped.
	_, err = as(client, info.Token).Auth().Token().LookupSelfWithContext(ctx)
	refused(403, err)
	inner := must(client.Logical().UnwrapWithContext(ctx, info.Token))
	holds(inner.Data["zip"] == "zap" && len(inner.Data) == 1, inner)
}
