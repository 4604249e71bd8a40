// The Go client library of Vault against a head. Each area is one word on the command line; the
// environment says where the head is and which token counts, as for every Vault client.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
)

// An area of the API, in a file of its own.
var areas = map[string]func(context.Context, *api.Client) error{
	"sys":         system,
	"sys-more":    systemMore,
	"zone":        wholeZone,
	"tokens":      tokens,
	"token-roles": tokenRoles,
	"leases":      leases,
	"kv":          secrets,
	"kv1":         secretsWithoutVersions,
	"wrapping":    wrapping,
	"approle":     appRoles,
	"userpass":    users,
	"identity":    identities,
	"pki":         certificates,
	"quotas":      quotas,
}

func main() {
	if len(os.Args) != 2 || areas[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clients AREA")
		os.Exit(2)
	}
	// What waits for a state waits no longer than this.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	client, err := api.NewClient(api.DefaultConfig())
	if err == nil {
		err = areas[os.Args[1]](ctx, client)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	fmt.Printf("%s: ok\n", os.Args[1])
}

// check turns a condition into an error that says what was found.
func check(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// status is the HTTP status of an error; 0 if it is none of the API's.
func status(err error) int {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}

// first is the first error of several checks.
func first(errors ...error) error {
	for _, err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// must is the value of a call that has to succeed. It panics else: the trace says which.
func must[T any](value T, err error) T {
	done(err)
	return value
}

// done is the same for a call without a value.
func done(err error) {
	if err != nil {
		panic(err)
	}
}

// holds stops like must, with what was found.
func holds(condition bool, found ...any) {
	if !condition {
		text, _ := json.Marshal(found)
		panic(string(text))
	}
}

// refused stops unless err is the API's with this status.
func refused(want int, err error) {
	holds(status(err) == want, "expected", want, fmt.Sprint(err))
}

// as is the same client with another token.
func as(client *api.Client, token string) *api.Client {
	own := must(client.Clone())
	own.SetToken(token)
	return own
}

// texts are the members of a list.
func texts(list any) []string {
	var all []string
	items, _ := list.([]any)
	for _, item := range items {
		all = append(all, item.(string))
	}
	return all
}

// same says whether a list has just these members, in this order.
func same(list any, members ...string) bool {
	return fmt.Sprint(texts(list)) == fmt.Sprint(members)
}

// number is what a number of an answer says.
func number(value any) int64 {
	return must(value.(json.Number).Int64())
}
