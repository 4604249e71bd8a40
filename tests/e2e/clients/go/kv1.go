package main

import (
	"context"
	"errors"
	"strings"

	"github.com/hashicorp/vault/api"
)

// secretsWithoutVersions drives KV version 1 by the library's own type, then gives it versions.
func secretsWithoutVersions(ctx context.Context, client *api.Client) error {
	sys, logical := client.Sys(), client.Logical()
	first := &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}
	done(sys.MountWithContext(ctx, "go-old", first))
	kv := client.KVv1("go-old")

	done(kv.Put(ctx, "app/db", map[string]any{"password": "one", "ttl": "30m", "port": 5432}))
	read := must(kv.Get(ctx, "app/db"))
	holds(read.Data["password"] == "one" && read.Data["ttl"] == "30m", read.Data)
	holds(number(read.Data["port"]) == 5432, read.Data)
	holds(read.Raw.LeaseDuration == 1800 && read.Raw.LeaseID == "" && !read.Raw.Renewable, read.Raw)
	holds(read.VersionMetadata == nil && read.CustomMetadata == nil, read)

	// A write leaves nothing of what was there.
	done(kv.Put(ctx, "app/db", map[string]any{"user": "app"}))
	read = must(kv.Get(ctx, "app/db"))
	holds(read.Data["user"] == "app" && len(read.Data) == 1, read.Data)
	holds(read.Raw.LeaseDuration == 2764800, read.Raw)

	done(kv.Put(ctx, "app/deep/er", map[string]any{"a": "b"}))
	listed := must(logical.ListWithContext(ctx, "go-old/app"))
	holds(same(listed.Data["keys"], "db", "deep/"), listed.Data)
	holds(must(logical.ListWithContext(ctx, "go-old/none")) == nil)
	_, err := logical.WriteWithContext(ctx, "go-old/app/empty", nil)
	refused(400, err)
	_, err = logical.JSONMergePatch(ctx, "go-old/app/db", map[string]any{"user": "x"})
	refused(405, err)

	done(kv.Delete(ctx, "app/deep/er"))
	done(kv.Delete(ctx, "app/deep/er"))
	_, err = kv.Get(ctx, "app/deep/er")
	holds(errors.Is(err, api.ErrSecretNotFound), err)
	holds(must(logical.ReadWithContext(ctx, "go-old/app/deep/er")) == nil)

	givenVersions(ctx, client)
	return sys.UnmountWithContext(ctx, "go-old")
}

// givenVersions is what `vault kv enable-versioning` calls, and what is there behind it.
func givenVersions(ctx context.Context, client *api.Client) {
	second := map[string]string{"version": "2"}
	done(client.Sys().TuneMountWithContext(ctx, "go-old", api.MountConfigInput{Options: second}))
	mount := must(client.Sys().GetMountWithContext(ctx, "go-old"))
	holds(mount.Options["version"] == "2", mount)
	kv := client.KVv2("go-old")
	read, err := kv.Get(ctx, "app/db")
	for status(err) == 400 && strings.Contains(err.Error(), "Upgrading from non-versioned") {
		read, err = kv.Get(ctx, "app/db")
	}
	done(err)
	holds(read.Data["user"] == "app" && read.VersionMetadata.Version == 1, read)
	put := must(kv.Put(ctx, "app/db", map[string]any{"user": "new"}, api.WithCheckAndSet(1)))
	holds(put.VersionMetadata.Version == 2, put)
	// Whoever still reads as before is told why there is nothing.
	old := must(client.KVv1("go-old").Get(ctx, "app/db"))
	holds(len(old.Data) == 0 && strings.Contains(old.Raw.Warnings[0], "versioned K/V"), old.Raw)
	first := map[string]string{"version": "1"}
	err = client.Sys().TuneMountWithContext(ctx, "go-old", api.MountConfigInput{Options: first})
	refused(400, err)
}
