package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// leased makes a CA whose roles web and more give leases.
func leased(ctx context.Context, client *api.Client, mount string) {
	logical := client.Logical()
	done(client.Sys().MountWithContext(ctx, mount, &api.MountInput{Type: "pki"}))
	must(logical.WriteWithContext(ctx, mount+"/root/generate/internal", map[string]any{
		"common_name": "Go leases", "key_type": "ec", "ttl": "48h",
	}))
	for _, role := range []string{"web", "more"} {
		must(logical.WriteWithContext(ctx, mount+"/roles/"+role, map[string]any{
			"allowed_domains": "go.test", "allow_subdomains": true, "key_type": "ec",
			"max_ttl": "24h", "generate_lease": true,
		}))
	}
}

// given is a certificate with its lease.
func given(ctx context.Context, client *api.Client, path string) *api.Secret {
	issued := must(client.Logical().WriteWithContext(ctx, path, map[string]any{
		"common_name": "www.go.test", "ttl": "1h",
	}))
	holds(strings.HasPrefix(issued.LeaseID, path+"/") && !issued.Renewable, issued)
	holds(issued.LeaseDuration > 3500 && issued.LeaseDuration <= 3600, issued.LeaseDuration)
	return issued
}

// isRevoked waits until the engine has taken a certificate back.
func isRevoked(ctx context.Context, client *api.Client, mount string, issued *api.Secret) {
	path := fmt.Sprintf("%s/cert/%s", mount, issued.Data["serial_number"])
	for {
		found := must(client.Logical().ReadWithContext(ctx, path))
		if number(found.Data["revocation_time"]) > 0 {
			return
		}
		done(ctx.Err())
	}
}

// stands says that a certificate was not revoked.
func stands(ctx context.Context, client *api.Client, mount string, issued *api.Secret) {
	path := fmt.Sprintf("%s/cert/%s", mount, issued.Data["serial_number"])
	found := must(client.Logical().ReadWithContext(ctx, path))
	holds(number(found.Data["revocation_time"]) == 0, found)
	must(client.Sys().LookupWithContext(ctx, issued.LeaseID))
}

func leases(ctx context.Context, client *api.Client) error {
	sys := client.Sys()
	leased(ctx, client, "go-leases")

	one := given(ctx, client, "go-leases/issue/web")
	found := must(sys.LookupWithContext(ctx, one.LeaseID))
	holds(found.Data["id"] == one.LeaseID && found.Data["renewable"] == false, found)
	end := must(time.Parse(time.RFC3339, found.Data["expire_time"].(string)))
	holds(time.Until(end) > 50*time.Minute && time.Until(end) <= time.Hour, end)
	listed := must(client.Logical().ListWithContext(ctx, "sys/leases/lookup/go-leases/issue"))
	holds(same(listed.Data["keys"], "web/"), listed)

	// A certificate has its end in itself.
	_, err := sys.RenewWithContext(ctx, one.LeaseID, 60)
	refused(400, err)
	_, err = sys.RenewWithContext(ctx, one.LeaseID+"x", 60)
	refused(400, err)

	other := given(ctx, client, "go-leases/issue/web")
	done(sys.RevokeWithContext(ctx, one.LeaseID))
	_, err = sys.LookupWithContext(ctx, one.LeaseID)
	refused(400, err)
	isRevoked(ctx, client, "go-leases", one)
	stands(ctx, client, "go-leases", other)
	// Whoever waits finds it done; what is gone is no error.
	done(sys.RevokeWithOptionsWithContext(ctx, &api.RevokeOptions{LeaseID: other.LeaseID, Sync: true}))
	isRevoked(ctx, client, "go-leases", other)
	done(sys.RevokeWithContext(ctx, other.LeaseID))

	byPath(ctx, client)
	withItsToken(ctx, client)
	return sys.UnmountWithContext(ctx, "go-leases")
}

// byPath ends what was given out below a path, and nothing beside it.
func byPath(ctx context.Context, client *api.Client) {
	sys := client.Sys()
	var ended []*api.Secret
	for i := 0; i < 5; i++ {
		ended = append(ended, given(ctx, client, "go-leases/issue/web"))
	}
	stays := given(ctx, client, "go-leases/issue/more")
	done(sys.RevokePrefixWithContext(ctx, "go-leases/issue/web"))
	for _, one := range ended {
		_, err := sys.LookupWithContext(ctx, one.LeaseID)
		refused(400, err)
		isRevoked(ctx, client, "go-leases", one)
	}
	stands(ctx, client, "go-leases", stays)
	done(sys.RevokeForceWithContext(ctx, "go-leases/issue"))
	_, err := sys.LookupWithContext(ctx, stays.LeaseID)
	refused(400, err)
	isRevoked(ctx, client, "go-leases", stays)
}

// withItsToken ends a lease by ending whom it was given to.
func withItsToken(ctx context.Context, client *api.Client) {
	made := must(client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{TTL: "1h"}))
	own := as(client, made.Auth.ClientToken)
	issued := given(ctx, own, "go-leases/issue/web")
	stands(ctx, client, "go-leases", issued)
	done(client.Auth().Token().RevokeTreeWithContext(ctx, made.Auth.ClientToken))
	_, err := client.Sys().LookupWithContext(ctx, issued.LeaseID)
	refused(400, err)
	isRevoked(ctx, client, "go-leases", issued)
}
