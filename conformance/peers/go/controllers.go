//go:build !next && !bare

package main

import (
	"net/http"
	"time"

	"github.com/kataras/iris/v12"
	"github.com/kataras/neffos"
)

// questioner is the service that is one for all connections: it knows how long to wait for what they
// are asked.
type questioner struct{ timeout time.Duration }

// requestHeaders is the dependency that Iris makes for each connection, out of the context that
// Iris keeps for it.
func requestHeaders(ctx iris.Context) http.Header {
	return ctx.Request().Header
}

// appController is the namespace "app", one value a connection. A connection that leaves the namespace
// and comes back gets the value it had, unless another controller was made for it meanwhile, so
// nothing that belongs to one stay may be kept here.
type appController struct {
	Client    *neffos.NSConn
	Headers   http.Header
	Questions *questioner
}

func (c *appController) Namespace() string { return "app" }

func (c *appController) OnRoomJoin(msg neffos.Message) error {
	return refuseRoom("locked", errRoomLocked)(c.Client, msg)
}

func (c *appController) OnRoomLeave(msg neffos.Message) error {
	return refuseRoom("sticky", errRoomSticky)(c.Client, msg)
}

func (c *appController) OnHeader(msg neffos.Message) error { return replyHeader(c.Headers, msg) }

func (c *appController) OnEcho(msg neffos.Message) error { return echo(c.Client, msg) }

func (c *appController) OnFail(msg neffos.Message) error { return fail(c.Client, msg) }

func (c *appController) OnSilent(msg neffos.Message) error { return silent(c.Client, msg) }

func (c *appController) OnWhoami(msg neffos.Message) error { return whoami(c.Client, msg) }

func (c *appController) OnTries(msg neffos.Message) error { return tries(c.Client, msg) }

func (c *appController) OnPush(msg neffos.Message) error { return push(c.Client, msg) }

func (c *appController) OnBroadcastOthers(msg neffos.Message) error {
	return broadcastOthers(c.Client, msg)
}

func (c *appController) OnBroadcastAll(msg neffos.Message) error { return broadcastAll(c.Client, msg) }

func (c *appController) OnBroadcastRoom(msg neffos.Message) error {
	return broadcastRoom(c.Client, msg)
}

func (c *appController) OnBroadcastTo(msg neffos.Message) error { return broadcastTo(c.Client, msg) }

func (c *appController) OnCloseMe(msg neffos.Message) error { return closeMe(c.Client, msg) }

func (c *appController) OnAskMe(msg neffos.Message) error {
	return askMe(c.Questions.timeout)(c.Client, msg)
}

func (c *appController) OnAskAll(msg neffos.Message) error {
	return askAll(c.Questions.timeout)(c.Client, msg)
}

func (c *appController) OnJoinMe(msg neffos.Message) error {
	return joinMe(c.Questions.timeout)(c.Client, msg)
}

func (c *appController) OnLeaveMe(msg neffos.Message) error {
	return leaveMe(c.Questions.timeout)(c.Client, msg)
}

func (c *appController) OnConnectMe(msg neffos.Message) error {
	return connectMe(c.Questions.timeout)(c.Client, msg)
}

func (c *appController) OnDisconnectMe(msg neffos.Message) error {
	return disconnectMe(c.Questions.timeout)(c.Client, msg)
}

// The namespaces below keep nothing for a connection, so one value serves them all and its methods
// learn whose event it is.

type anyController struct{}

func (anyController) Namespace() string { return "any" }

func (anyController) OnAnyEvent(ns *neffos.NSConn, msg neffos.Message) error {
	return nameEvent(ns, msg)
}

type refusedController struct{}

func (refusedController) Namespace() string { return "refused" }

func (refusedController) OnNamespaceConnect(*neffos.NSConn, neffos.Message) error {
	return errNamespaceClosed
}

type stickyController struct{}

func (stickyController) Namespace() string { return "sticky" }

func (stickyController) OnNamespaceDisconnect(*neffos.NSConn, neffos.Message) error {
	return errNamespaceSticky
}

type semicolonController struct{}

func (semicolonController) Namespace() string { return "semi;colon" }

func (semicolonController) OnSemicolon(ns *neffos.NSConn, msg neffos.Message) error {
	return echo(ns, msg)
}

// mixedController is the empty namespace of the mixed endpoint, one value a connection.
type mixedController struct{ Client *neffos.NSConn }

func (c *mixedController) OnEcho(msg neffos.Message) error { return echo(c.Client, msg) }

func (c *mixedController) OnNativeMessage(msg neffos.Message) error { return echoNative(c.Client, msg) }

type nativeController struct{}

func (nativeController) OnNativeMessage(ns *neffos.NSConn, msg neffos.Message) error {
	return echoNative(ns, msg)
}
