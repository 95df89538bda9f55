//go:build next || bare

package main

import "github.com/kataras/neffos"

// frameworkSites are none. Iris v12 is written for v0.0.24 and those before, and does not build with
// the next line; of an older release, the tag bare leaves it out, which asks for a newer one.
var frameworkSites = map[string]site{}

func sharedFrameworkSites(func(server *neffos.Server, path string) error) map[string]site {
	return map[string]site{}
}

func frameworkPlainSites() map[string]site { return map[string]site{} }
