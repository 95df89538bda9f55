//go:build !next && !bare

package main

import (
	"net/http"
	"time"

	"github.com/kataras/iris/v12/mvc"
	"github.com/kataras/iris/v12/websocket"
	"github.com/kataras/neffos"
)

// frameworkPlainSites are the plain servers of frameworks, each in a route for GET alone, as their
// documentation has it.
func frameworkPlainSites() map[string]site {
	return map[string]site{"plain-iris": plainIrisSite, "plain-iris-mvc": plainControllerSite}
}

// plainIrisSite has its IDs from a generator, and keeps something for each connection in the context of
// its request.
func plainIrisSite(path string, _ time.Duration, complain func(error)) (http.Handler, error) {
	app := newIris()
	server := newPlainServer(websocket.DefaultGorillaUpgrader, websocket.Namespaces{
		plainNamespace: {
			websocket.OnNamespaceConnected: func(ns *websocket.NSConn, _ websocket.Message) error {
				ctx := websocket.GetContext(ns.Conn)
				ctx.Values().Set("agent", ctx.GetHeader("User-Agent"))
				return nil
			},
			plainEvent: chat,
		},
	}, complain)
	app.Get(path, servedByIris(app, server, websocket.DefaultIDGenerator))
	return built(app)
}

// plainController is one value for each connection.
type plainController struct {
	*neffos.NSConn `stateless:"true"`
	Namespace      string
}

func (c *plainController) OnChat(msg neffos.Message) error { return chat(c.NSConn, msg) }

func plainControllerSite(path string, _ time.Duration, complain func(error)) (http.Handler, error) {
	app := newIris()
	m := mvc.New(app.Party(path))
	m.HandleWebsocket(&plainController{Namespace: plainNamespace}).SetEventMatcher(wireName)
	server := newPlainServer(websocket.DefaultGorillaUpgrader, m, complain)
	app.Get(path, servedByIris(app, server, websocket.DefaultIDGenerator))
	return built(app)
}
