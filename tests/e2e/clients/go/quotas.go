package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/vault/api"
)

// quotas drives what Terraform's vault_quota_rate_limit and vault_quota_lease_count call (provider
// 5.x: look whether it exists, write, read; the same for an update; delete), and meets both limits.
func quotas(ctx context.Context, client *api.Client) error {
	rateLimits(ctx, client)
	leaseCounts(ctx, client)
	quotaSettings(ctx, client)
	return nil
}

// kept is what Terraform finds: each field that it keeps must be as it was written, or its next
// plan has a difference.
func kept(ctx context.Context, client *api.Client, path string, fields map[string]any) {
	read := must(client.Logical().ReadWithContext(ctx, path))
	for name, value := range fields {
		found := read.Data[name]
		if rate, is := value.(float64); is {
			holds(must(found.(json.Number).Float64()) == rate, path, name, value, read.Data)
			continue
		}
		holds(fmt.Sprint(found) == fmt.Sprint(value), path, name, value, read.Data)
	}
}

func missing(ctx context.Context, client *api.Client, path string) {
	holds(must(client.Logical().ReadWithContext(ctx, path)) == nil, path)
}

func rateLimits(ctx context.Context, client *api.Client) {
	sys, logical := client.Sys(), client.Logical()
	done(sys.MountWithContext(ctx, "go-kv", &api.MountInput{Type: "kv-v2"}))
	path := "sys/quotas/rate-limit/go"
	missing(ctx, client, path)
	whole := map[string]any{"path": "", "rate": 100000.5}
	must(logical.WriteWithContext(ctx, path, whole))
	kept(ctx, client, path, whole)
	kept(ctx, client, path, map[string]any{"name": "go", "type": "rate-limit", "interval": 1, "block_interval": 0, "role": ""})
	// A new path is a new resource: it removes the old one.
	must(logical.DeleteWithContext(ctx, path))
	one := map[string]any{"path": "go-kv/", "rate": 3.0, "interval": 3600, "block_interval": 7200, "inheritable": false}
	must(logical.WriteWithContext(ctx, path, one))
	kept(ctx, client, path, one)
	one["path"] = "go-kv/data/app"
	must(logical.WriteWithContext(ctx, path, one))
	kept(ctx, client, path, one)
	keys := must(logical.ListWithContext(ctx, "sys/quotas/rate-limit"))
	holds(same(keys.Data["keys"], "go"), keys)

	app := client.KVv2("go-kv")
	must(app.Put(ctx, "app", map[string]any{"a": "b"}))
	must(app.Get(ctx, "app"))
	must(app.Get(ctx, "app"))
	_, err := app.Get(ctx, "app")
	refused(429, err)
	must(app.Put(ctx, "other", map[string]any{"a": "b"}))
	one["role"] = "app"
	_, err = logical.WriteWithContext(ctx, path, one)
	refused(400, err)
	must(logical.DeleteWithContext(ctx, path))
	missing(ctx, client, path)
	must(app.Get(ctx, "app"))

	// Whoever moves a mount need not write its quotas again; with the mount they go.
	delete(one, "role")
	must(logical.WriteWithContext(ctx, path, one))
	done(sys.RemountWithContext(ctx, "go-kv", "go-moved"))
	kept(ctx, client, path, map[string]any{"path": "go-moved/data/app"})
	done(sys.UnmountWithContext(ctx, "go-moved"))
	missing(ctx, client, path)
}

func leaseCounts(ctx context.Context, client *api.Client) {
	sys, logical := client.Sys(), client.Logical()
	done(sys.EnableAuthWithOptionsWithContext(ctx, "go-users", &api.EnableAuthOptions{Type: "userpass"}))
	user := map[string]any{"password": "correct horse", "token_policies": "default"}
	must(logical.WriteWithContext(ctx, "auth/go-users/users/ann", user))
	path := "sys/quotas/lease-count/go"
	missing(ctx, client, path)
	quota := map[string]any{"path": "auth/go-users/", "max_leases": 1}
	must(logical.WriteWithContext(ctx, path, quota))
	kept(ctx, client, path, quota)
	kept(ctx, client, path, map[string]any{"counter": 0, "type": "lease-count"})
	quota["max_leases"] = 2
	must(logical.WriteWithContext(ctx, path, quota))
	login := func() (*api.Secret, error) {
		password := map[string]any{"password": "correct horse"}
		return logical.WriteWithContext(ctx, "auth/go-users/login/ann", password)
	}
	first := must(login())
	must(login())
	_, err := login()
	refused(429, err)
	kept(ctx, client, path, map[string]any{"counter": 2})
	done(as(client, first.Auth.ClientToken).Auth().Token().RevokeSelfWithContext(ctx, ""))
	kept(ctx, client, path, map[string]any{"counter": 1})
	must(login())
	must(logical.DeleteWithContext(ctx, path))
	missing(ctx, client, path)
	done(sys.DisableAuthWithContext(ctx, "go-users"))
}

func quotaSettings(ctx context.Context, client *api.Client) {
	logical := client.Logical()
	path := "sys/quotas/config"
	read := must(logical.ReadWithContext(ctx, path))
	holds(read.Data["enable_rate_limit_response_headers"] == false, read.Data)
	holds(len(texts(read.Data["rate_limit_exempt_paths"])) > 0, read.Data)
	settings := map[string]any{
		"enable_rate_limit_response_headers": true,
		"enable_rate_limit_audit_logging":    true,
		"rate_limit_exempt_paths":            []string{"sys/mounts"},
	}
	must(logical.WriteWithContext(ctx, path, settings))
	kept(ctx, client, path, settings)
	limit := map[string]any{"path": "sys/", "rate": 2, "interval": "1h"}
	must(logical.WriteWithContext(ctx, "sys/quotas/rate-limit/go", limit))
	for left := 1; left >= 0; left-- {
		answer := must(logical.ReadRawWithContext(ctx, "sys/policies/acl/default"))
		answer.Body.Close()
		holds(answer.StatusCode == 200, answer.StatusCode)
		holds(answer.Header.Get("X-Ratelimit-Limit") == "2", answer.Header)
		holds(answer.Header.Get("X-Ratelimit-Remaining") == fmt.Sprint(left), answer.Header)
	}
	answer, err := logical.ReadRawWithContext(ctx, "sys/policies/acl/default")
	refused(429, err)
	holds(answer.Header.Get("Retry-After") == "1800", answer.Header)
	for round := 0; round < 3; round++ {
		must(logical.ReadWithContext(ctx, "sys/mounts"))
	}
	must(logical.DeleteWithContext(ctx, "sys/quotas/rate-limit/go"))
	must(logical.ReadWithContext(ctx, "sys/policies/acl/default"))
}
