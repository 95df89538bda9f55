package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/kataras/neffos"
)

// The request headers that steer the handshake. Both can be given as URL parameters too, the
// library turns X-Websocket-Header-<name> into <name> before anyone sees the request.
const (
	refuseHeader = "X-Conformance-Refuse"
	idHeader     = "X-Conformance-Id"
)

// The texts the application refuses with. The suite compares them octet by octet.
var (
	errRoomLocked      = errors.New("room is locked")
	errRoomSticky      = errors.New("room is sticky")
	errNamespaceClosed = errors.New("namespace is closed")
	errNamespaceSticky = errors.New("namespace is sticky")
)

// newApplication is the conformance application over one backend. patience is how long "ask-me"
// waits for the client's reply.
func newApplication(upgrade neffos.Upgrader, patience time.Duration) *neffos.Server {
	server := neffos.New(upgrade, namespaces(patience))
	server.IDGenerator = connectionID
	server.OnConnect = admit
	server.OnDisconnect = endLifetime

	// A connection that OnConnect refused can have been used all the same (a client may open
	// with "A"), so its end has to be told as well.
	server.FireDisconnectAlways = true

	// Server.Ask travels as a broadcast. The default broadcaster hands a message to whichever
	// connection happens to be waiting at that moment and may skip one; this one goes round all.
	server.SyncBroadcaster = true
	return server
}

// namespaces is what the application answers to. Whatever is missing here is missing on purpose:
// "nowhere" must stay unknown, and the empty namespace has no native handler.
func namespaces(patience time.Duration) neffos.Namespaces {
	return neffos.Namespaces{
		"app": {
			neffos.OnRoomJoin:  refuseRoom("locked", errRoomLocked),
			neffos.OnRoomLeave: refuseRoom("sticky", errRoomSticky),
			"echo":             echo,
			"fail":             fail,
			"silent":           silent,
			"whoami":           whoami,
			"push":             push,
			"ask-me":           askMe(patience),
		},
		"refused": {
			neffos.OnNamespaceConnect: refuse(errNamespaceClosed),
		},
		"sticky": {
			neffos.OnNamespaceDisconnect: refuse(errNamespaceSticky),
		},
		"semi;colon": {
			"ec;ho": echo,
		},
	}
}

// connectionID lets a case choose its id; a header that is present but empty chooses the empty id.
func connectionID(w http.ResponseWriter, r *http.Request) string {
	if ids := r.Header.Values(idHeader); len(ids) > 0 {
		return ids[0]
	}
	return neffos.DefaultIDGenerator(w, r)
}

// admit refuses on request; an empty text is a refusal too.
func admit(c *neffos.Conn) error {
	if texts := c.Socket().Request().Header.Values(refuseHeader); len(texts) > 0 {
		return errors.New(texts[0])
	}
	return nil
}

// echo replies with the body. The kind needs no care: the library answers a message in its kind.
func echo(_ *neffos.NSConn, msg neffos.Message) error {
	return neffos.Reply(msg.Body)
}

func fail(_ *neffos.NSConn, msg neffos.Message) error {
	return errors.New(string(msg.Body))
}

func silent(*neffos.NSConn, neffos.Message) error {
	return nil
}

func whoami(ns *neffos.NSConn, _ neffos.Message) error {
	return neffos.Reply([]byte(ns.Conn.ID()))
}

// push emits before it replies, which gives a case a barrier: when the reply is there, the event
// was sent.
func push(ns *neffos.NSConn, msg neffos.Message) error {
	emit(ns, string(msg.Body), []byte("pushed"), msg.SetBinary)
	return neffos.Reply([]byte("done"))
}

// emit keeps to the kind of the message it was caused by: an event name or a body of arbitrary
// octets is not valid in a text message.
func emit(ns *neffos.NSConn, event string, body []byte, binary bool) bool {
	if binary {
		return ns.EmitBinary(event, body)
	}
	return ns.Emit(event, body)
}

func refuse(reason error) neffos.MessageHandlerFunc {
	return func(*neffos.NSConn, neffos.Message) error { return reason }
}

func refuseRoom(room string, reason error) neffos.MessageHandlerFunc {
	return func(_ *neffos.NSConn, msg neffos.Message) error {
		if msg.Room == room {
			return reason
		}
		return nil
	}
}
