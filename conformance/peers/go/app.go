package main

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kataras/neffos"
)

// The request headers that steer a connection. Each can be given as a URL parameter too, the
// library turns X-Websocket-Header-<name> into <name> before anyone sees the request.
const (
	refuseHeader  = "X-Conformance-Refuse"
	idHeader      = "X-Conformance-Id"
	connectHeader = "X-Conformance-Connect"
)

// The texts the application refuses with. The suite compares them byte by byte.
var (
	errRoomLocked      = errors.New("room is locked")
	errRoomSticky      = errors.New("room is sticky")
	errNamespaceClosed = errors.New("namespace is closed")
	errNamespaceSticky = errors.New("namespace is sticky")
)

// news is the event of every broadcast.
const news = "news"

// newServer offers namespaces over one backend. timeout is how long the server waits for what it
// asks a client.
func newServer(upgrade neffos.Upgrader, handler neffos.ConnHandler, timeout time.Duration) *neffos.Server {
	server := neffos.New(gated(upgrade), handler)
	server.IDGenerator = connectionID
	server.OnConnect = admit(timeout)

	// The default broadcaster hands a message to whichever connection happens to be waiting at that
	// moment and may skip one; this one goes round all.
	server.SyncBroadcaster = true
	return server
}

// namespaces is what the application answers to. Whatever is missing here is missing on purpose:
// "nowhere" must stay unknown, and so must the empty namespace.
func namespaces(timeout time.Duration) neffos.Namespaces {
	return neffos.Namespaces{
		"app": {
			neffos.OnRoomJoin:  refuseRoom("locked", errRoomLocked),
			neffos.OnRoomLeave: refuseRoom("sticky", errRoomSticky),
			"echo":             echo,
			"fail":             fail,
			"silent":           silent,
			"whoami":           whoami,
			"tries":            tries,
			"header":           header,
			"push":             push,
			"broadcast-others": broadcastOthers,
			"broadcast-all":    broadcastAll,
			"broadcast-room":   broadcastRoom,
			"broadcast-to":     broadcastTo,
			"ask-me":           askMe(timeout),
			"ask-all":          askAll(timeout),
			"join-me":          joinMe(timeout),
			"leave-me":         leaveMe(timeout),
			"connect-me":       connectMe(timeout),
			"disconnect-me":    disconnectMe(timeout),
			"close-me":         closeMe,
		},
		"any": {
			neffos.OnAnyEvent: nameEvent,
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

// mixedNamespaces is the endpoint of frames and native messages.
func mixedNamespaces() neffos.Namespaces {
	return neffos.Namespaces{
		"": {
			"echo":                 echo,
			neffos.OnNativeMessage: echoNative,
		},
	}
}

// nativeNamespaces is the endpoint without a handshake. It must stay this one event of this one
// namespace: that is how the library tells that an application uses native messages only.
func nativeNamespaces() neffos.Namespaces {
	return neffos.Namespaces{
		"": {neffos.OnNativeMessage: echoNative},
	}
}

// connectionID lets a case choose its id; a header that is present but empty chooses the empty id.
func connectionID(w http.ResponseWriter, r *http.Request) string {
	if ids := r.Header.Values(idHeader); len(ids) > 0 {
		return ids[0]
	}
	return neffos.DefaultIDGenerator(w, r)
}

// admit refuses on request; an empty text is a refusal too. An accepted client can be found by
// broadcasts, and is asked to connect if it wished to be.
func admit(timeout time.Duration) func(*neffos.Conn) error {
	return func(c *neffos.Conn) error {
		headers := c.Socket().Request().Header
		if texts := headers.Values(refuseHeader); len(texts) > 0 {
			return errors.New(texts[0])
		}
		awaitListed(c)
		if names := headers.Values(connectHeader); len(names) > 0 {
			go connectAccepted(c, names[0], timeout)
		}
		return nil
	}
}

// awaitListed returns when broadcasts reach c, or when it has ended. The library serves a connection
// while its way into the list of connections is still queued, and picks between that queue and a
// broadcast at random: what is broadcast at once could go round without it.
func awaitListed(c *neffos.Conn) {
	for listed := false; !listed && !c.IsClosed(); {
		c.Server().Do(func(other *neffos.Conn) { listed = listed || other == c }, false)
	}
}

// echo replies with the body. The kind needs no care: the library answers a message in its kind.
func echo(_ *neffos.NSConn, msg neffos.Message) error {
	return neffos.Reply(msg.Body)
}

// echoNative writes: the library does not send what a handler replies to a native message (DV-31).
func echoNative(ns *neffos.NSConn, msg neffos.Message) error {
	ns.Conn.Write(neffos.Message{IsNative: true, Body: msg.Body, SetBinary: msg.SetBinary})
	return nil
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

func tries(ns *neffos.NSConn, _ neffos.Message) error {
	return neffos.Reply([]byte(strconv.Itoa(ns.Conn.ReconnectTries)))
}

func header(ns *neffos.NSConn, msg neffos.Message) error {
	return replyHeader(ns.Conn.Socket().Request().Header, msg)
}

func replyHeader(headers http.Header, msg neffos.Message) error {
	return neffos.Reply([]byte(strings.Join(headers.Values(string(msg.Body)), ", ")))
}

// push emits before it replies, which gives a case a barrier: when the reply is there, the event
// was sent.
func push(ns *neffos.NSConn, msg neffos.Message) error {
	emit(ns, string(msg.Body), []byte("pushed"), msg.SetBinary)
	return done()
}

func broadcastOthers(ns *neffos.NSConn, msg neffos.Message) error {
	broadcast(ns, ns, neffos.Message{Body: msg.Body, SetBinary: msg.SetBinary})
	return done()
}

func broadcastAll(ns *neffos.NSConn, msg neffos.Message) error {
	broadcast(ns, nil, neffos.Message{Body: msg.Body, SetBinary: msg.SetBinary})
	return done()
}

func broadcastRoom(ns *neffos.NSConn, msg neffos.Message) error {
	broadcast(ns, ns, neffos.Message{Room: msg.Room, Body: msg.Body, SetBinary: msg.SetBinary})
	return done()
}

// broadcastTo sends nothing to the empty id: the library would take it for everybody.
func broadcastTo(ns *neffos.NSConn, msg neffos.Message) error {
	id, text, _ := bytes.Cut(msg.Body, []byte(" "))
	if len(id) > 0 {
		broadcast(ns, nil, neffos.Message{To: string(id), Body: text, SetBinary: msg.SetBinary})
	}
	return done()
}

// broadcast returns when msg was written to all it goes to, which the library does not wait for.
// The server's own goroutine takes one thing after the other: what it is given behind a broadcast
// is done when the broadcast is.
func broadcast(ns, except *neffos.NSConn, msg neffos.Message) {
	msg.Namespace = "app"
	msg.Event = news

	server := ns.Conn.Server()
	if except == nil {
		server.Broadcast(nil, msg)
	} else {
		server.Broadcast(except, msg)
	}
	server.Do(func(*neffos.Conn) {}, false)
}

func done() error {
	return neffos.Reply([]byte("done"))
}

func closeMe(ns *neffos.NSConn, _ neffos.Message) error {
	ns.Conn.Close()
	return nil
}

// nameEvent answers whatever a client sends. The library hands it its own notifications too.
func nameEvent(_ *neffos.NSConn, msg neffos.Message) error {
	if neffos.IsSystemEvent(msg.Event) {
		return nil
	}
	return neffos.Reply([]byte(msg.Event))
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
