package main

import (
	"fmt"
	"net/url"

	"github.com/kataras/neffos"
	"github.com/kataras/neffos/stackexchange/nats"
	"github.com/kataras/neffos/stackexchange/redis"
)

// exchangeChannel is what servers that belong together have in common. The path of the endpoint is
// added, or a broadcast would reach the clients of every endpoint.
const exchangeChannel = "neffos-wire"

// exchangeSites are those of the library by itself and of Iris, with a connection to an exchange.
func exchangeSites(address string) (map[string]site, error) {
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "redis" && parsed.Scheme != "nats") {
		return nil, fmt.Errorf("%w: expected redis://HOST:PORT or nats://HOST:PORT, actual %q", errUsage, address)
	}
	join := func(server *neffos.Server, path string) error { return joined(server, parsed, path) }
	all := sharedFrameworkSites(join)
	for name, upgrade := range backends {
		all[name] = librarySite(upgrade, join)
	}
	return all, nil
}

// joined connects the server of an endpoint to the exchange.
func joined(server *neffos.Server, address *url.URL, path string) error {
	exchange, err := newExchange(address, exchangeChannel+path)
	if err != nil {
		return fmt.Errorf("no exchange at %s: %w", address.Redacted(), err)
	}
	return server.UseStackExchange(exchange)
}

func newExchange(address *url.URL, channel string) (neffos.StackExchange, error) {
	if address.Scheme == "redis" {
		return redis.NewStackExchange(redis.Config{Addr: address.Host}, channel)
	}
	exchange, err := nats.NewStackExchange(address.String())
	if err != nil {
		return nil, err
	}
	exchange.SubjectPrefix = channel
	return exchange, nil
}
