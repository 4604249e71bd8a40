package main

import (
	"context"

	"github.com/hashicorp/vault/api"
)

func system(ctx context.Context, client *api.Client) error {
	sys := client.Sys()
	health, err := sys.HealthWithContext(ctx)
	if err != nil {
		return err
	}
	seal, err := sys.SealStatusWithContext(ctx)
	if err != nil {
		return err
	}
	leader, err := sys.LeaderWithContext(ctx)
	if err != nil {
		return err
	}
	if err := first(
		check(health.Initialized && !health.Sealed && !health.Standby, "health: %+v", health),
		check(health.Version == seal.Version && seal.Version != "", "versions: %q, %q", health.Version, seal.Version),
		check(seal.Type == "shamir" && !seal.Sealed && seal.N > 0, "seal status: %+v", seal),
		check(!leader.HAEnabled, "leader: %+v", leader),
		mounts(ctx, sys),
		policies(ctx, sys),
	); err != nil {
		return err
	}
	key, err := sys.KeyStatusWithContext(ctx)
	if err != nil {
		return err
	}
	if err := sys.RotateWithContext(ctx); err != nil {
		return err
	}
	next, err := sys.KeyStatusWithContext(ctx)
	if err != nil {
		return err
	}
	return check(next.Term == key.Term+1, "key terms: %d, %d", key.Term, next.Term)
}

func mounts(ctx context.Context, sys *api.Sys) error {
	input := &api.MountInput{Type: "kv", Description: "from Go", Options: map[string]string{"version": "2"}}
	if err := sys.MountWithContext(ctx, "go-kv", input); err != nil {
		return err
	}
	tune := api.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: "2h"}
	if err := sys.TuneMountWithContext(ctx, "go-kv", tune); err != nil {
		return err
	}
	config, err := sys.MountConfigWithContext(ctx, "go-kv")
	if err != nil {
		return err
	}
	all, err := sys.ListMountsWithContext(ctx)
	if err != nil {
		return err
	}
	mount := all["go-kv/"]
	if err := first(
		check(config.DefaultLeaseTTL == 3600 && config.MaxLeaseTTL == 7200, "tuned: %+v", config),
		check(mount != nil && mount.Type == "kv" && mount.Options["version"] == "2", "mount: %+v", mount),
	); err != nil {
		return err
	}
	if err := sys.UnmountWithContext(ctx, "go-kv"); err != nil {
		return err
	}
	all, err = sys.ListMountsWithContext(ctx)
	if err != nil {
		return err
	}
	return check(all["go-kv/"] == nil, "the mount is still there")
}

func policies(ctx context.Context, sys *api.Sys) error {
	const text = `path "secret/data/app" { capabilities = ["read"] }`
	if err := sys.PutPolicyWithContext(ctx, "Go-App", text); err != nil {
		return err
	}
	read, err := sys.GetPolicyWithContext(ctx, "go-app")
	if err != nil {
		return err
	}
	names, err := sys.ListPoliciesWithContext(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, name := range names {
		found = found || name == "go-app"
	}
	if err := first(
		check(read == text, "policy: %q", read),
		check(found, "policies: %v", names),
	); err != nil {
		return err
	}
	if err := sys.DeletePolicyWithContext(ctx, "go-app"); err != nil {
		return err
	}
	gone, err := sys.GetPolicyWithContext(ctx, "go-app")
	return first(err, check(gone == "", "policy after its removal: %q", gone))
}
