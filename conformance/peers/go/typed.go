//go:build !untyped

package main

import (
	"time"

	"github.com/kataras/neffos"
)

// ReadData reads as the library does, with a turn for each message.
func (g *gate) ReadData(timeout time.Duration) ([]byte, neffos.MessageType, error) {
	if g.nested.Load() {
		return g.Socket.ReadData(timeout)
	}
	g.back()
	data, kind, err := g.Socket.ReadData(timeout)
	if err == nil { // else nothing will be handled
		g.came(data)
	}
	return data, kind, err
}

// emit keeps to the kind of the message it was caused by: an event name or a body of arbitrary
// bytes is not valid in a text message.
func emit(ns *neffos.NSConn, event string, body []byte, binary bool) bool {
	if binary {
		return ns.EmitBinary(event, body)
	}
	return ns.Emit(event, body)
}
