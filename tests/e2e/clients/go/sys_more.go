package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/vault/api"
)

// systemMore drives what sys.go leaves out: moves, audit devices, auth methods, capabilities,
// cross-origin requests, and what the head tells of itself.
func systemMore(ctx context.Context, client *api.Client) error {
	moves(ctx, client)
	auditDevices(ctx, client)
	authMethods(ctx, client)
	capable(ctx, client)
	crossOrigin(ctx, client)
	head(ctx, client)
	return nil
}

func moves(ctx context.Context, client *api.Client) {
	sys := client.Sys()
	done(sys.MountWithContext(ctx, "go-from", &api.MountInput{Type: "kv-v2"}))
	must(client.KVv2("go-from").Put(ctx, "app", map[string]any{"a": "b"}))
	before := must(sys.GetMountWithContext(ctx, "go-from"))
	started := must(sys.StartRemountWithContext(ctx, "go-from", "go-to"))
	status := must(sys.RemountStatusWithContext(ctx, started.MigrationID))
	holds(status.MigrationID == started.MigrationID, status)
	info := status.MigrationInfo
	holds(strings.Trim(info.SourceMount, "/") == "go-from" && strings.Trim(info.TargetMount, "/") == "go-to", info)
	// This one waits for the end by itself.
	done(sys.RemountWithContext(ctx, "go-to", "go-last"))
	read := must(client.KVv2("go-last").Get(ctx, "app"))
	after := must(sys.GetMountWithContext(ctx, "go-last"))
	holds(read.Data["a"] == "b" && after.Accessor == before.Accessor && after.UUID == before.UUID, read, after)
	_, err := sys.GetMountWithContext(ctx, "go-from")
	refused(400, err)
	_, err = sys.StartRemountWithContext(ctx, "go-nowhere", "go-to")
	refused(400, err)
	done(sys.UnmountWithContext(ctx, "go-last"))
}

func auditDevices(ctx context.Context, client *api.Client) {
	sys := client.Sys()
	file := filepath.Join(os.Getenv("ZONEHEAD_TEST_AUDIT_DIR"), "go.log")
	done(sys.EnableAuditWithOptionsWithContext(ctx, "go", &api.EnableAuditOptions{
		Type: "file", Description: "from Go", Options: map[string]string{"file_path": file},
	}))
	devices := must(sys.ListAuditWithContext(ctx))
	holds(devices["go/"].Type == "file" && devices["go/"].Options["file_path"] == file, devices["go/"])
	holds(devices["go/"].Description == "from Go" && devices["go/"].Path == "go/", devices["go/"])
	hash := must(sys.AuditHashWithContext(ctx, "go", client.Token()))
	holds(strings.HasPrefix(hash, "hmac-sha256:"), hash)
	holds(strings.Contains(string(must(os.ReadFile(file))), hash), "the hash of the token is not in the file")
	done(sys.DisableAuditWithContext(ctx, "go"))
	holds(must(sys.ListAuditWithContext(ctx))["go/"] == nil)
	outside := &api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": "/etc/go.log"}}
	refused(400, sys.EnableAuditWithOptionsWithContext(ctx, "go", outside))
}

func authMethods(ctx context.Context, client *api.Client) {
	sys := client.Sys()
	done(sys.EnableAuthWithOptionsWithContext(ctx, "go-auth", &api.EnableAuthOptions{Type: "approle"}))
	tune := api.MountConfigInput{DefaultLeaseTTL: "10m", MaxLeaseTTL: "20m", TokenType: "batch"}
	done(sys.TuneMountWithContext(ctx, "auth/go-auth", tune))
	config := must(sys.MountConfigWithContext(ctx, "auth/go-auth"))
	holds(config.DefaultLeaseTTL == 600 && config.MaxLeaseTTL == 1200 && config.TokenType == "batch", config)
	one := must(sys.GetAuthWithContext(ctx, "go-auth"))
	all := must(sys.ListAuthWithContext(ctx))
	holds(all["go-auth/"].Accessor == one.Accessor && one.Config.DefaultLeaseTTL == 600, one)
	holds(all["token/"].Type == "token" && all["token/"].Description != "", all["token/"])
	refused(400, sys.EnableAuthWithOptionsWithContext(ctx, "go-auth", &api.EnableAuthOptions{Type: "approle"}))
	refused(400, sys.EnableAuthWithOptionsWithContext(ctx, "go-other", &api.EnableAuthOptions{Type: "nonesuch"}))
	refused(400, sys.DisableAuthWithContext(ctx, "token"))
	done(sys.RemountWithContext(ctx, "auth/go-auth", "auth/go-moved"))
	holds(must(sys.GetAuthWithContext(ctx, "go-moved")).Accessor == one.Accessor)
	done(sys.DisableAuthWithContext(ctx, "go-moved"))
}

func capable(ctx context.Context, client *api.Client) {
	sys := client.Sys()
	done(sys.PutPolicyWithContext(ctx, "go-some", `path "secret/*" { capabilities = ["read", "list"] }`))
	made := must(client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{Policies: []string{"go-some"}}))
	join := func(list []string) string { return strings.Join(list, " ") }
	holds(join(must(sys.CapabilitiesWithContext(ctx, made.Auth.ClientToken, "secret/x"))) == "list read")
	holds(join(must(sys.CapabilitiesAccessorWithContext(ctx, made.Auth.Accessor, "other/x"))) == "deny")
	own := as(client, made.Auth.ClientToken)
	holds(join(must(own.Sys().CapabilitiesSelfWithContext(ctx, "secret/x"))) == "list read")
	_, err := own.Sys().ListMountsWithContext(ctx)
	refused(403, err)
	done(sys.DeletePolicyWithContext(ctx, "go-some"))
}

func crossOrigin(ctx context.Context, client *api.Client) {
	sys := client.Sys()
	ask := &api.CORSRequest{AllowedOrigins: []string{"https://ui.example"}, AllowedHeaders: []string{"X-Mine"}, Enabled: true}
	done(sys.ConfigureCORSWithContext(ctx, ask))
	status := must(sys.CORSStatusWithContext(ctx))
	holds(status.Enabled && status.AllowedOrigins[0] == "https://ui.example", status)
	holds(strings.Contains(strings.Join(status.AllowedHeaders, " "), "X-Mine"), status)
	done(sys.DisableCORSWithContext(ctx))
	holds(!must(sys.CORSStatusWithContext(ctx)).Enabled)
}

func head(ctx context.Context, client *api.Client) {
	sys, logical := client.Sys(), client.Logical()
	holds(len(must(sys.HAStatusWithContext(ctx)).Nodes) == 1)
	holds(must(sys.InitStatusWithContext(ctx)))
	status := must(sys.SealStatusWithContext(ctx))
	health := must(sys.HealthWithContext(ctx))
	holds(status.ClusterID != "" && status.ClusterID == health.ClusterID, status)
	holds(health.ServerTimeUTC > 0 && health.ReplicationPerformanceMode != "", health)
	for _, path := range []string{"sys/host-info", "sys/internal/ui/mounts", "sys/rotate/config", "sys/loggers"} {
		holds(len(must(logical.ReadWithContext(ctx, path)).Data) > 0, path)
	}
	for _, path := range []string{"sys/metrics", "sys/in-flight-req", "sys/internal/specs/openapi"} {
		answer := must(logical.ReadRawWithContext(ctx, path))
		text := must(io.ReadAll(answer.Body))
		answer.Body.Close()
		holds(answer.StatusCode == 200 && len(text) > 2 && text[0] == '{', path, answer.StatusCode)
	}
	history := must(logical.ListWithContext(ctx, "sys/version-history"))
	holds(len(texts(history.Data["keys"])) == 1, history)
	done(sys.StepDownWithContext(ctx))
}
