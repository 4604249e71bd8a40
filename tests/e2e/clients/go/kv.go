package main

import (
	"context"

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
	_, err = kv.Get(ctx, "app/none")
	return first(
		check(err != nil, "a secret that is not there"),
		kv.DeleteMetadata(ctx, "app/db"),
		client.Sys().UnmountWithContext(ctx, "go-secret"),
	)
}
