//go:build untyped

package main

import (
	"errors"
	"io"
	"time"

	"github.com/kataras/neffos"
)

// Before v0.0.12 the library did not tell an application whether a message was text or binary. What
// it needs beside the same sources is here; see typed.go.

// ReadData reads as the library does, with a turn for each message.
func (g *gate) ReadData(timeout time.Duration) ([]byte, error) {
	if g.nested.Load() {
		return g.Socket.ReadData(timeout)
	}
	g.back()
	data, err := g.Socket.ReadData(timeout)
	if err == nil { // else nothing will be handled
		g.came(data)
	}
	return data, err
}

// emit has no binary messages of its own to choose from.
func emit(ns *neffos.NSConn, event string, body []byte, _ bool) bool {
	return ns.Emit(event, body)
}

// serveCodec has no library to serve: a codec adapter must know text from binary.
func serveCodec(io.Reader, io.Writer) error {
	return errors.New("this release has no message types")
}
