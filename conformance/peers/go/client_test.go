package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kataras/neffos"
	"github.com/kataras/neffos/gobwas"
	"github.com/kataras/neffos/gorilla"
)

// testPatience bounds every wait of the tests; none of them takes this long unless it fails.
const testPatience = 10 * time.Second

// dialers are the library's two clients, each made with the headers of one connection.
var dialers = map[string]func(http.Header) neffos.Dialer{
	"gorilla": func(h http.Header) neffos.Dialer { return gorilla.Dialer(&gorilla.Options{}, h) },
	"gobwas": func(h http.Header) neffos.Dialer {
		return gobwas.Dialer(gobwas.Options{Header: gobwas.Header(h)})
	},
}

// client is one connection of a test, and what reached it.
type client struct {
	*neffos.Client
	t      *testing.T
	ctx    context.Context
	socket *watchedSocket
	events chan received
}

// received is an event the application emitted.
type received struct {
	event, body string
	binary      bool
}

// dialFunc opens a connection to the application under test.
type dialFunc func(header http.Header, question neffos.MessageHandlerFunc) (*client, error)

// everyPair runs a test over each backend with each dialer, as neither may depend on the other.
func everyPair(t *testing.T, patience time.Duration, test func(t *testing.T, dial dialFunc)) {
	for backend, upgrade := range backends {
		for dialer, newDialer := range dialers {
			t.Run(dialer+" to "+backend, func(t *testing.T) {
				app := newApplication(upgrade, patience)
				server := httptest.NewServer(app)
				t.Cleanup(server.Close)
				t.Cleanup(app.Close)
				url := "ws" + strings.TrimPrefix(server.URL, "http")

				test(t, func(header http.Header, question neffos.MessageHandlerFunc) (*client, error) {
					return newClient(t, newDialer(header), url, question)
				})
			})
		}
	}
}

func newClient(t *testing.T, dial neffos.Dialer, url string, question neffos.MessageHandlerFunc) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)

	c := &client{t: t, ctx: ctx, events: make(chan received, 16)}
	watched := func(ctx context.Context, url string) (neffos.Socket, error) {
		socket, err := dial(ctx, url)
		if err != nil {
			return nil, err
		}
		c.socket = &watchedSocket{Socket: socket}
		return c.socket, nil
	}

	dialed, err := dialAgain(ctx, watched, url, c.handlers(question))
	if err != nil {
		return nil, err
	}
	t.Cleanup(dialed.Close)
	c.Client = dialed
	return c, nil
}

// dialAgain is Dial with an end. The library's client can miss that its handshake is done (it looks
// whether it is, then starts to wait for it) and Dial heeds no deadline after the upgrade, so it can
// wait for ever: rarely, but often enough under the race detector.
func dialAgain(ctx context.Context, dial neffos.Dialer, url string, handlers neffos.ConnHandler) (*neffos.Client, error) {
	type result struct {
		client *neffos.Client
		err    error
	}
	for range 5 {
		results := make(chan result, 1)
		go func() {
			client, err := neffos.Dial(ctx, dial, url, handlers)
			results <- result{client, err}
		}()
		select {
		case dialed := <-results:
			return dialed.client, dialed.err
		case <-time.After(testPatience / 10):
		}
	}
	return nil, errors.New("every attempt to dial hung")
}

func (dial dialFunc) must(t *testing.T, header http.Header, question neffos.MessageHandlerFunc) *client {
	t.Helper()
	c, err := dial(header, question)
	if err != nil {
		t.Fatalf("dialing: %v", err)
	}
	return c
}

// handlers has to name a namespace for the Go client to be able to ask for it.
func (c *client) handlers(question neffos.MessageHandlerFunc) neffos.Namespaces {
	app := neffos.Events{
		neffos.OnAnyEvent: func(_ *neffos.NSConn, msg neffos.Message) error {
			if !neffos.IsSystemEvent(msg.Event) {
				c.events <- received{msg.Event, string(msg.Body), msg.SetBinary}
			}
			return nil
		},
	}
	if question != nil {
		app["question"] = question
	}
	return neffos.Namespaces{"app": app, "refused": {}, "sticky": {}, "semi;colon": {}, "nowhere": {}}
}

func (c *client) tryConnect(namespace string) (*neffos.NSConn, error) {
	c.settle()
	return c.Connect(c.ctx, namespace)
}

func (c *client) connect(namespace string) *neffos.NSConn {
	c.t.Helper()
	ns, err := c.tryConnect(namespace)
	if err != nil {
		c.t.Fatalf("connecting to %q: %v", namespace, err)
	}
	return ns
}

func (c *client) disconnect(ns *neffos.NSConn) error {
	c.settle()
	return ns.Disconnect(c.ctx)
}

func (c *client) join(ns *neffos.NSConn, room string) (*neffos.Room, error) {
	c.settle()
	return ns.JoinRoom(c.ctx, room)
}

func (c *client) leave(room *neffos.Room) error {
	c.settle()
	return room.Leave(c.ctx)
}

func (c *client) ask(ns *neffos.NSConn, msg neffos.Message) (neffos.Message, error) {
	c.settle()
	return ns.Conn.Ask(c.ctx, msg)
}

func (c *client) next() received {
	c.t.Helper()
	select {
	case event := <-c.events:
		return event
	case <-c.ctx.Done():
		c.t.Fatal("no event came")
		return received{}
	}
}

// settle waits for the library's reader to be back at the socket. Whoever has just got a reply or
// an event runs beside a reader that is still on its way out of the handler, and an ask made in
// that moment counts as made inside one: it would read the socket itself, next to the reader.
func (c *client) settle() {
	c.t.Helper()
	for !c.socket.reading.Load() {
		if c.ctx.Err() != nil {
			c.t.Fatal("the client reads no more")
		}
		time.Sleep(10 * time.Microsecond)
	}
}

// watchedSocket knows whether it is being read.
type watchedSocket struct {
	neffos.Socket
	reading atomic.Bool
}

func (s *watchedSocket) ReadData(timeout time.Duration) ([]byte, neffos.MessageType, error) {
	s.reading.Store(true)
	defer s.reading.Store(false)
	return s.Socket.ReadData(timeout)
}
