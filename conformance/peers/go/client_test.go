package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/kataras/neffos"
)

// testTimeout bounds every wait of the tests; none of them takes this long unless it fails.
const testTimeout = 10 * time.Second

// client is one connection of a test, and what reached it.
type client struct {
	*neffos.Client
	t      *testing.T
	ctx    context.Context
	gate   *gate
	events chan received
}

// received is an event the application emitted.
type received struct {
	event, body string
	binary      bool
}

// dialFunc opens a connection to the application under test.
type dialFunc func(header http.Header, question neffos.MessageHandlerFunc) (*client, error)

// everyPair runs a test over each endpoint with each dialer, as neither may depend on the other.
func everyPair(t *testing.T, timeout time.Duration, test func(t *testing.T, dial dialFunc)) {
	for dialer, newDialer := range dialers {
		t.Run(dialer, func(t *testing.T) {
			everyURL(t, timeout, func(t *testing.T, url string) {
				test(t, func(header http.Header, question neffos.MessageHandlerFunc) (*client, error) {
					return newClient(t, newDialer(header), url, question)
				})
			})
		})
	}
}

// everyURL runs a test over each endpoint, on a server of the test's own: broadcasts go to all.
func everyURL(t *testing.T, timeout time.Duration, test func(t *testing.T, url string)) {
	everyURLOf(t, sites(), timeout, test)
}

// everyURLOf does so over other endpoints.
func everyURLOf(t *testing.T, offered map[string]site, timeout time.Duration, test func(t *testing.T, url string)) {
	for name, newSite := range offered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, err := newSite("/"+name, timeout, func(err error) { t.Logf("no upgrade: %v", err) })
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			test(t, "ws"+strings.TrimPrefix(server.URL, "http")+"/"+name)
		})
	}
}

func newClient(t *testing.T, dial neffos.Dialer, url string, question neffos.MessageHandlerFunc) (*client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)

	c := &client{t: t, ctx: ctx, events: make(chan received, 16)}
	throughGate := func(ctx context.Context, url string) (neffos.Socket, error) {
		socket, err := dial(ctx, url)
		if err != nil {
			return nil, err
		}
		c.gate = newGate(socket)
		return c.gate, nil
	}

	// Dial heeds no deadline after the upgrade.
	dialed, err := within(ctx, func() (*neffos.Client, error) {
		return neffos.Dial(ctx, throughGate, url, c.handlers(question))
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(dialed.Close)
	c.Client = dialed
	return c, nil
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
	return neffos.Namespaces{"app": app, "refused": {}, "sticky": {}, "semi;colon": {}, "any": {}, "nowhere": {}}
}

func (c *client) tryConnect(namespace string) (ns *neffos.NSConn, err error) {
	err = c.gate.ask(c.ctx, func() (err error) {
		ns, err = c.Connect(c.ctx, namespace)
		return err
	})
	return ns, err
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
	return c.gate.ask(c.ctx, func() error { return ns.Disconnect(c.ctx) })
}

func (c *client) join(ns *neffos.NSConn, name string) (room *neffos.Room, err error) {
	err = c.gate.ask(c.ctx, func() (err error) {
		room, err = ns.JoinRoom(c.ctx, name)
		return err
	})
	return room, err
}

func (c *client) leave(room *neffos.Room) error {
	return c.gate.ask(c.ctx, func() error { return room.Leave(c.ctx) })
}

func (c *client) ask(ns *neffos.NSConn, msg neffos.Message) (reply neffos.Message, err error) {
	err = c.gate.ask(c.ctx, func() (err error) {
		reply, err = ns.Conn.Ask(c.ctx, msg)
		return err
	})
	return reply, err
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

// sofar is what has reached the client. What was written to it before is in it, as the reply to an
// ask comes behind that.
func (c *client) sofar() (events []received) {
	c.t.Helper()
	if _, err := c.ask(c.connect("any"), neffos.Message{Namespace: "any", Event: "barrier"}); err != nil {
		c.t.Fatal(err)
	}
	for {
		select {
		case event := <-c.events:
			events = append(events, event)
		default:
			return events
		}
	}
}

// raw is a connection without the library at its end.
type raw struct {
	*websocket.Conn
	t *testing.T
}

func dialRaw(t *testing.T, url string) raw {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	deadline := time.Now().Add(testTimeout)
	ws.SetReadDeadline(deadline)
	ws.SetWriteDeadline(deadline)
	return raw{ws, t}
}

func (r raw) send(payloads ...string) {
	r.t.Helper()
	for _, payload := range payloads {
		if err := r.WriteMessage(websocket.TextMessage, []byte(payload)); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r raw) receive() string {
	r.t.Helper()
	_, payload, err := r.ReadMessage()
	if err != nil {
		r.t.Fatal(err)
	}
	return string(payload)
}

func (r raw) expect(payloads ...string) {
	r.t.Helper()
	for _, want := range payloads {
		if got := r.receive(); got != want {
			r.t.Errorf("the next message is %q want %q", got, want)
		}
	}
}
