package main

import (
	"context"
	"time"

	"github.com/hashicorp/vault/api"
)

func secrets(ctx context.Context, client *api.Client) error {
	input := &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}
	if err := client.Sys().MountWithContext(ctx, "go-secret", input); err != nil {
		return err
	}
	kv := client.KVv2("go-secret")
	if _, err := kv.Put(ctx, "app/db", map[string]any{"password": "one"}, api.WithCheckAndSet(0)); err != nil {
		return err
	}
	_, err := kv.Put(ctx, "app/db", map[string]any{"password": "two"}, api.WithCheckAndSet(0))
	if err := check(status(err) == 400, "a stale write: %v", err); err != nil {
		return err
	}
	if _, err := kv.Patch(ctx, "app/db", map[string]any{"user": "app"}); err != nil {
		return err
	}
	read, err := kv.Get(ctx, "app/db")
	if err != nil {
		return err
	}
	old, err := kv.GetVersion(ctx, "app/db", 1)
	if err != nil {
		return err
	}
	versions, err := kv.GetVersionsAsList(ctx, "app/db")
	if err != nil {
		return err
	}
	if err := first(
		check(read.Data["password"] == "one" && read.Data["user"] == "app", "read: %v", read.Data),
		check(old.Data["user"] == nil, "version 1: %v", old.Data),
		check(len(versions) == 2, "versions: %v", versions),
		kv.Delete(ctx, "app/db"),
	); err != nil {
		return err
	}
	gone, err := kv.Get(ctx, "app/db")
	if err := first(err, check(gone.Data == nil, "a deleted secret: %v", gone)); err != nil {
		return err
	}
	if err := first(kv.Undelete(ctx, "app/db", []int{2}), kv.Destroy(ctx, "app/db", []int{1})); err != nil {
		return err
	}
	metadata(ctx, kv)
	_, err = kv.Get(ctx, "app/none")
	return first(
		check(err != nil, "a secret that is not there"),
		kv.DeleteMetadata(ctx, "app/db"),
		client.Sys().UnmountWithContext(ctx, "go-secret"),
	)
}

// metadata drives what the library has beside values: notes, limits, versions, and going back.
func metadata(ctx context.Context, kv *api.KVv2) {
	for _, user := range []string{"a", "b", "c"} {
		must(kv.Put(ctx, "app/notes", map[string]any{"user": user}))
	}
	done(kv.PutMetadata(ctx, "app/notes", api.KVMetadataPutInput{
		CASRequired: false, MaxVersions: 7, DeleteVersionAfter: 90 * time.Minute,
		CustomMetadata: map[string]any{"owner": "go", "floor": "3"},
	}))
	read := must(kv.GetMetadata(ctx, "app/notes"))
	holds(read.MaxVersions == 7 && read.DeleteVersionAfter == 90*time.Minute && read.CurrentVersion == 3, read)
	holds(read.CustomMetadata["owner"] == "go" && len(read.Versions) == 3, read)
	holds(!read.CreatedTime.IsZero() && !read.UpdatedTime.IsZero() && read.OldestVersion == 0, read)
	most, required, never := 5, true, time.Duration(0)
	done(kv.PatchMetadata(ctx, "app/notes", api.KVMetadataPatchInput{
		MaxVersions: &most, CASRequired: &required, DeleteVersionAfter: &never,
		CustomMetadata: map[string]any{"floor": nil, "room": "1"},
	}))
	read = must(kv.GetMetadata(ctx, "app/notes"))
	holds(read.MaxVersions == 5 && read.CASRequired && read.DeleteVersionAfter == 0, read)
	holds(read.CustomMetadata["room"] == "1" && read.CustomMetadata["owner"] == "go" && len(read.CustomMetadata) == 2, read)
	_, err := kv.Put(ctx, "app/notes", map[string]any{"user": "d"})
	refused(400, err)
	must(kv.Put(ctx, "app/notes", map[string]any{"user": "d"}, api.WithCheckAndSet(3)))

	done(kv.DeleteVersions(ctx, "app/notes", []int{1, 2}))
	gone := must(kv.GetVersion(ctx, "app/notes", 2))
	holds(gone.Data == nil && !gone.VersionMetadata.DeletionTime.IsZero(), gone)
	done(kv.Undelete(ctx, "app/notes", []int{2}))
	// The library reads version 2 and writes it with the number of the newest.
	back := must(kv.Rollback(ctx, "app/notes", 2))
	holds(back.VersionMetadata.Version == 5, back)
	newest := must(kv.Get(ctx, "app/notes"))
	holds(newest.Data["user"] == "b" && newest.CustomMetadata["owner"] == "go", newest)
	by := func(way string) map[string]any { return map[string]any{"by": way} }
	must(kv.Patch(ctx, "app/notes", by("patch"), api.WithMergeMethod("patch"), api.WithCheckAndSet(5)))
	// Reads and writes, and takes the number that it read.
	must(kv.Patch(ctx, "app/notes", by("rw"), api.WithMergeMethod("rw")))
	holds(must(kv.Get(ctx, "app/notes")).VersionMetadata.Version == 7)
	holds(must(kv.Get(ctx, "app/notes")).Data["by"] == "rw")
	done(kv.Destroy(ctx, "app/notes", []int{3}))
	holds(must(kv.GetMetadata(ctx, "app/notes")).Versions["3"].Destroyed)
	done(kv.DeleteMetadata(ctx, "app/notes"))
}
