//go:build !next && !bare

package main

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/kataras/iris/v12"
	"github.com/kataras/iris/v12/mvc"
	"github.com/kataras/iris/v12/websocket"
	"github.com/kataras/neffos"
)

// frameworkSites are those of frameworks that serve the library.
var frameworkSites = map[string]site{"iris": irisSite(nil), "iris-mvc": controllerSite}

// sharedFrameworkSites are those whose servers can be prepared for an exchange.
func sharedFrameworkSites(prepare func(server *neffos.Server, path string) error) map[string]site {
	return map[string]site{"iris": irisSite(prepare)}
}

// irisSite is the application served from routes of Iris. prepare, if any, gets every server and its path.
func irisSite(prepare func(server *neffos.Server, path string) error) site {
	return func(path string, timeout time.Duration, complain func(error)) (http.Handler, error) {
		app := newIris()
		for below, namespaces := range map[string]neffos.Namespaces{
			"":         namespaces(timeout),
			mixedPath:  mixedNamespaces(),
			nativePath: nativeNamespaces(),
		} {
			server := newIrisServer(namespaces, timeout, complain)
			if prepare != nil {
				if err := prepare(server, path+below); err != nil {
					return nil, err
				}
			}
			route(app, path+below, server)
		}
		return built(app)
	}
}

// controllerSite is the application written as controllers of Iris.
func controllerSite(path string, timeout time.Duration, complain func(error)) (http.Handler, error) {
	app := newIris()
	application, mixed, native := controllers(app, path, timeout)
	for below, handler := range map[string]neffos.ConnHandler{
		"":         application,
		mixedPath:  mixed,
		nativePath: native,
	} {
		route(app, path+below, newIrisServer(handler, timeout, complain))
	}
	return built(app)
}

// controllers are those of the three endpoints. They leave nothing out: a matcher may give a method
// any wire name. Two things shape them all the same. A namespace is one controller's, as of two that
// Iris makes again for each connection, the second would get the events of the first. And the
// native-only endpoint's has no connection of its own, since one that has listens to the connect
// event behind the scenes, and then the library sees more than native messages.
func controllers(app *iris.Application, path string, timeout time.Duration) (application, mixed, native neffos.ConnHandler) {
	// Joined are controllers within an MVC application, and MVC applications.
	first := mvc.New(app.Party(path))
	first.Register(&questioner{timeout}, requestHeaders)
	first.HandleWebsocket(&appController{}).SetEventMatcher(wireName)
	first.HandleWebsocket(&anyController{}).SetEventMatcher(wireName)

	second := mvc.New(app.Party(path))
	second.HandleWebsocket(&refusedController{}).SetEventMatcher(wireName)
	second.HandleWebsocket(&stickyController{}).SetEventMatcher(wireName)
	second.HandleWebsocket(&semicolonController{}).SetEventMatcher(wireName)

	third := mvc.New(app.Party(path + mixedPath))
	third.HandleWebsocket(&mixedController{}).SetEventMatcher(wireName)

	fourth := mvc.New(app.Party(path + nativePath))
	fourth.HandleWebsocket(&nativeController{}).SetEventMatcher(wireName)

	return neffos.JoinConnHandlers(first, second), third, fourth
}

func newIris() *iris.Application {
	app := iris.New()
	app.Logger().SetLevel("disable") // the library's own words go through complain
	return app
}

func newIrisServer(handler neffos.ConnHandler, timeout time.Duration, complain func(error)) *neffos.Server {
	server := newServer(websocket.DefaultGorillaUpgrader, handler, timeout)
	server.OnUpgradeError = complain
	return server
}

// route gives the library every method, for it has an answer to each, where Iris would say 404 to all
// but GET: a client that lost its connection asks with HEAD whether to come back. (Of that answer
// Iris loses the 302 and says 200: it keeps a status without a body until its own end of the
// request, which a WebSocket's never has.)
func route(app *iris.Application, path string, server *neffos.Server) {
	app.Any(path, servedByIris(app, server, contextID))
}

// servedByIris serves the library with a context of its own. websocket.Handler gives its context to
// Iris's pool as soon as the connection is refused or has ended, while the router may still have to
// look at it. By then it can be another connection's: two of them would share one context, and with
// it an id.
func servedByIris(app *iris.Application, server *neffos.Server, id websocket.IDGenerator) iris.Handler {
	serve := websocket.Handler(server, id)
	return func(ctx iris.Context) {
		ctx.DisablePoolRelease()
		serve(app.ContextPool.Acquire(ctx.ResponseWriter().Naive(), ctx.Request()))
	}
}

// built makes app a handler, which Iris otherwise does when it begins to listen.
func built(app *iris.Application) (http.Handler, error) {
	if err := app.Build(); err != nil {
		return nil, err
	}
	return app, nil
}

// contextID is connectionID in the terms of Iris, which takes the id from its own context.
func contextID(ctx iris.Context) string {
	if ids := ctx.Request().Header.Values(idHeader); len(ids) > 0 {
		return ids[0]
	}
	return websocket.DefaultIDGenerator(ctx)
}

// wireName makes the event of a method: OnBroadcastOthers answers "broadcast-others". All of them
// begin with On because Iris makes a route of any method that begins with an HTTP verb, as Connect
// is one. The library asks for every event but those it fires itself.
func wireName(method string) (event string, ok bool) {
	switch method {
	case "OnAnyEvent", "OnNativeMessage":
		return "_" + method, true
	case "OnSemicolon":
		return "ec;ho", true
	}

	name, ok := strings.CutPrefix(method, "On")
	if !ok {
		return "", false
	}
	var wire strings.Builder
	for i, letter := range name {
		if i > 0 && unicode.IsUpper(letter) {
			wire.WriteByte('-')
		}
		wire.WriteRune(unicode.ToLower(letter))
	}
	return wire.String(), true
}
