package main

import (
	"net/http"
	"time"

	"github.com/kataras/neffos"
)

// A plain server is one as people have it: it knows nothing of the suite. It has one namespace, and
// there one event that reaches the others.
const (
	plainNamespace = "default"
	plainEvent     = "chat"
)

// plainSites are what serve offers with -plain, by the names that it prints.
func plainSites() map[string]site {
	all := frameworkPlainSites()
	for name, upgrade := range backends {
		all["plain-"+name] = plainSite(upgrade)
	}
	return all
}

// plainSite is such a server on the library by itself.
func plainSite(upgrade neffos.Upgrader) site {
	return func(_ string, _ time.Duration, complain func(error)) (http.Handler, error) {
		return newPlainServer(upgrade, neffos.Namespaces{
			plainNamespace: {plainEvent: chat},
		}, complain), nil
	}
}

// newPlainServer keeps to the library's defaults. Its sockets have gates all the same: of some ten
// thousand handshakes the library misses one, which is for no test to find.
func newPlainServer(upgrade neffos.Upgrader, handler neffos.ConnHandler, complain func(error)) *neffos.Server {
	server := neffos.New(gated(upgrade), handler)
	server.OnUpgradeError = complain
	return server
}

// chat tells everybody else.
func chat(ns *neffos.NSConn, msg neffos.Message) error {
	ns.Conn.Server().Broadcast(ns, msg)
	return nil
}
