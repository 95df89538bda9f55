//go:build next

package main

import (
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/kataras/neffos"
	"github.com/kataras/neffos/coder"
)

// This file is what the next line of the library needs beside the same sources. It is built with
//
//	GOTOOLCHAIN=go1.27.0 go build -modfile=go.next.mod -tags next
//
// (go mod tidy heeds no tags, and would look here for what the other line does not have: what go.mod
// and go.next.mod need is written by hand.)

// The library comes with a third WebSocket implementation now.
func init() {
	backends["coder"] = coder.DefaultUpgrader
	dialers["coder"] = func(h http.Header) neffos.Dialer {
		return coder.Dialer(&websocket.DialOptions{HTTPHeader: h})
	}
}

// The library looks by type assertions, which do not see through the gate, for what its sockets can
// do now: close with a code, ping, and bound what they read.

func (g *gate) Close(code int, reason string, timeout time.Duration) error {
	return g.Socket.(neffos.SocketCloser).Close(code, reason, timeout)
}

func (g *gate) Ping(timeout time.Duration) error {
	return g.Socket.(neffos.SocketPinger).Ping(timeout)
}

func (g *gate) SetReadLimit(n int64) {
	g.Socket.(neffos.SocketReadLimiter).SetReadLimit(n)
}
