// The Go client library of Vault against a head. Each area is one word on the command line; the
// environment says where the head is and which token counts, as for every Vault client.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/vault/api"
)

// An area of the API, in a file of its own.
var areas = map[string]func(context.Context, *api.Client) error{
	"sys":         system,
	"tokens":      tokens,
	"token-roles": tokenRoles,
	"kv":          secrets,
	"pki":         certificates,
}

func main() {
	if len(os.Args) != 2 || areas[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: clients AREA")
		os.Exit(2)
	}
	client, err := api.NewClient(api.DefaultConfig())
	if err == nil {
		err = areas[os.Args[1]](context.Background(), client)
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
