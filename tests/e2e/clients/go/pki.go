package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"

	"github.com/hashicorp/vault/api"
)

func certificates(ctx context.Context, client *api.Client) error {
	if err := client.Sys().MountWithContext(ctx, "go-pki", &api.MountInput{Type: "pki"}); err != nil {
		return err
	}
	logical := client.Logical()
	root, err := logical.WriteWithContext(ctx, "go-pki/root/generate/internal", map[string]any{
		"common_name": "Go root", "key_type": "ec", "ttl": "48h",
	})
	if err != nil {
		return err
	}
	if _, err := logical.WriteWithContext(ctx, "go-pki/roles/web", map[string]any{
		"allowed_domains": "go.test", "allow_subdomains": true, "key_type": "ec", "max_ttl": "24h",
	}); err != nil {
		return err
	}
	issued, err := logical.WriteWithContext(ctx, "go-pki/issue/web", map[string]any{
		"common_name": "www.go.test", "ttl": "1h",
	})
	if err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(issued.Data["certificate"].(string)))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(root.Data["certificate"].(string)))
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "www.go.test"}); err != nil {
		return err
	}
	_, err = logical.WriteWithContext(ctx, "go-pki/revoke", map[string]any{
		"serial_number": issued.Data["serial_number"],
	})
	return first(err, client.Sys().UnmountWithContext(ctx, "go-pki"))
}
