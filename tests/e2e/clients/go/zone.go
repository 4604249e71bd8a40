package main

import (
	"context"
	"encoding/base64"

	"github.com/hashicorp/vault/api"
)

// wholeZone makes a zone, opens and closes it, replaces its shares, and makes a root token of
// them. The head has no zone yet.
func wholeZone(ctx context.Context, client *api.Client) error {
	sys := client.Sys()
	holds(!must(sys.InitStatusWithContext(ctx)))
	holds(!must(sys.HealthWithContext(ctx)).Initialized)
	made := must(sys.InitWithContext(ctx, &api.InitRequest{SecretShares: 3, SecretThreshold: 2}))
	holds(len(made.Keys) == 3 && len(made.KeysB64) == 3 && made.RootToken != "", "init")
	open := func(shares []string) {
		var status *api.SealStatusResponse
		for _, share := range shares {
			status = must(sys.UnsealWithContext(ctx, share))
		}
		holds(!status.Sealed, status)
	}
	holds(must(sys.UnsealWithContext(ctx, made.Keys[0])).Progress == 1)
	holds(must(sys.ResetUnsealProcessWithContext(ctx)).Progress == 0)
	open(made.Keys[:2])
	client.SetToken(made.RootToken)

	keys := rekeyed(ctx, sys, made.KeysB64)
	done(sys.SealWithContext(ctx))
	holds(must(sys.SealStatusWithContext(ctx)).Sealed)
	holds(must(sys.HealthWithContext(ctx)).Sealed)
	_, err := sys.ListMountsWithContext(ctx)
	refused(503, err)
	_, err = sys.UnsealWithContext(ctx, made.Keys[0])
	refused(400, err)
	open(keys)
	generated(ctx, client, keys)
	return nil
}

// rekeyed is a rekey that was cancelled, and one that was verified.
func rekeyed(ctx context.Context, sys *api.Sys, old []string) []string {
	holds(!must(sys.RekeyStatusWithContext(ctx)).Started)
	ask := &api.RekeyInitRequest{SecretShares: 2, SecretThreshold: 2, RequireVerification: true}
	must(sys.RekeyInitWithContext(ctx, ask))
	done(sys.RekeyCancelWithContext(ctx))
	begun := must(sys.RekeyInitWithContext(ctx, ask))
	holds(begun.Started && begun.N == 2 && begun.Required == 2 && begun.VerificationRequired, begun)
	first := must(sys.RekeyUpdateWithContext(ctx, old[0], begun.Nonce))
	holds(!first.Complete)
	holds(must(sys.RekeyStatusWithContext(ctx)).Progress == 1)
	done2 := must(sys.RekeyUpdateWithContext(ctx, old[1], begun.Nonce))
	holds(done2.Complete && len(done2.Keys) == 2 && done2.VerificationRequired, done2.Complete)
	status := must(sys.RekeyVerificationStatusWithContext(ctx))
	holds(status.Started && status.N == 2 && status.T == 2 && status.Nonce == done2.VerificationNonce, status)
	must(sys.RekeyVerificationUpdateWithContext(ctx, done2.Keys[0], status.Nonce))
	holds(must(sys.RekeyVerificationStatusWithContext(ctx)).Progress == 1)
	done(sys.RekeyVerificationCancelWithContext(ctx))
	status = must(sys.RekeyVerificationStatusWithContext(ctx))
	holds(status.Progress == 0, status)
	for at, share := range done2.Keys {
		answer := must(sys.RekeyVerificationUpdateWithContext(ctx, share, status.Nonce))
		holds(answer.Complete == (at == 1), answer)
	}
	holds(!must(sys.RekeyStatusWithContext(ctx)).Started)
	return done2.Keys
}

// generated is a root token whose text only who has the password can read.
func generated(ctx context.Context, client *api.Client, keys []string) {
	sys := client.Sys()
	status := must(sys.GenerateRootStatusWithContext(ctx))
	holds(!status.Started && status.OTPLength == 28, status)
	must(sys.GenerateRootInitWithContext(ctx, "", ""))
	done(sys.GenerateRootCancelWithContext(ctx))
	begun := must(sys.GenerateRootInitWithContext(ctx, "", ""))
	holds(begun.Started && len(begun.OTP) == 28 && begun.Required == 2, begun.OTPLength)
	holds(!must(sys.GenerateRootUpdateWithContext(ctx, keys[0], begun.Nonce)).Complete)
	ended := must(sys.GenerateRootUpdateWithContext(ctx, keys[1], begun.Nonce))
	holds(ended.Complete && ended.EncodedToken == ended.EncodedRootToken, ended.Complete)
	token := must(base64.RawStdEncoding.DecodeString(ended.EncodedToken))
	for at := range token {
		token[at] ^= begun.OTP[at]
	}
	fresh := as(client, string(token))
	own := must(fresh.Auth().Token().LookupSelfWithContext(ctx))
	holds(same(own.Data["policies"], "root") && own.Data["orphan"] == true, own.Data)
	done(fresh.Auth().Token().RevokeSelfWithContext(ctx, ""))
}
