//go:build tools

// Package main names the programs that are built from modules of others.
package main

import _ "github.com/hashicorp/consul-template"
