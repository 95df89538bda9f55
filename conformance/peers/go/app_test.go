package main

import (
	"bytes"
	"net/http"
	"slices"
	"testing"

	"github.com/kataras/neffos"
)

func TestEvents(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		c := dial.must(t, http.Header{
			idHeader:                {"me"},
			"X-Several":             {"one", "two"},
			"X-Websocket-Reconnect": {"3"},
		}, nil)

		for _, test := range []struct {
			name             string
			namespace, event string
			body             string
			binary           bool
			want, wantErr    string
		}{
			{name: "echo", namespace: "app", event: "echo", body: "a;b", want: "a;b"},
			{name: "echo binary", namespace: "app", event: "echo", body: "\xff\x00", binary: true, want: "\xff\x00"},
			{name: "echo nothing", namespace: "app", event: "echo"},
			{name: "fail", namespace: "app", event: "fail", body: "it broke", wantErr: "it broke"},
			{name: "fail binary", namespace: "app", event: "fail", body: "\xff", binary: true, wantErr: "\xff"},
			{name: "whoami", namespace: "app", event: "whoami", want: "me"},
			{name: "tries", namespace: "app", event: "tries", want: "3"},
			{name: "header", namespace: "app", event: "header", body: "x-conformance-id", want: "me"},
			{name: "several headers", namespace: "app", event: "header", body: "X-Several", want: "one, two"},
			{name: "no header", namespace: "app", event: "header", body: "X-None"},
			{name: "any event", namespace: "any", event: "what;ever", body: "x", want: "what;ever"},
			{name: "escaped names", namespace: "semi;colon", event: "ec;ho", body: "x", want: "x"},
		} {
			t.Run(test.name, func(t *testing.T) {
				reply, err := c.ask(c.connect(test.namespace), neffos.Message{
					Namespace: test.namespace, Event: test.event,
					Body: []byte(test.body), SetBinary: test.binary,
				})
				if got := errorText(err); got != test.wantErr {
					t.Errorf("error is %q, want %q", got, test.wantErr)
				}
				if !bytes.Equal(reply.Body, []byte(test.want)) {
					t.Errorf("body is %q, want %q", reply.Body, test.want)
				}
				if reply.SetBinary != test.binary {
					t.Errorf("binary is %v, want %v", reply.SetBinary, test.binary)
				}
			})
		}
	})
}

// TestSilent writes its ask as bytes, so that a reply would be an event like any other: the
// library keeps one that answers no ask of its own. The echo behind it is the barrier.
func TestSilent(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		c := dial.must(t, nil, nil)
		ns := c.connect("app")

		if err := c.gate.Socket.WriteText([]byte("$1;app;;silent;0;0;x"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ask(ns, neffos.Message{Namespace: "app", Event: "echo"}); err != nil {
			t.Fatal(err)
		}
		select {
		case event := <-c.events:
			t.Errorf("silent was answered: %v", event)
		default:
		}
	})
}

func TestPush(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		for _, binary := range []bool{false, true} {
			c := dial.must(t, nil, nil)
			reply, err := c.ask(c.connect("app"), neffos.Message{
				Namespace: "app", Event: "push", Body: []byte("news"), SetBinary: binary,
			})
			if err != nil || string(reply.Body) != "done" || reply.SetBinary != binary {
				t.Errorf("reply is %q, binary %v, %v", reply.Body, reply.SetBinary, err)
			}
			if got, want := c.next(), (received{"news", "pushed", binary}); got != want {
				t.Errorf("event is %v, want %v", got, want)
			}
		}
	})
}

func TestNoReconnection(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		c := dial.must(t, nil, nil)
		reply, err := c.ask(c.connect("app"), neffos.Message{Namespace: "app", Event: "tries"})
		if err != nil || string(reply.Body) != "0" {
			t.Errorf("tries are %q, %v", reply.Body, err)
		}
	})
}

func TestBroadcasts(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		clients := map[string]*client{}
		for _, id := range []string{"sender", "roommate", "other", "elsewhere"} {
			clients[id] = dial.must(t, http.Header{idHeader: {id}}, nil)
			if id == "elsewhere" {
				clients[id].connect("any")
				continue
			}
			ns := clients[id].connect("app")
			if id != "other" {
				if _, err := clients[id].join(ns, "room"); err != nil {
					t.Fatal(err)
				}
			}
		}

		for _, test := range []struct {
			event, room, body string
			binary            bool
			want              received
			reaches           []string
		}{
			{"broadcast-others", "", "x", false, received{"news", "x", false}, []string{"roommate", "other"}},
			{"broadcast-all", "", "\xff", true, received{"news", "\xff", true}, []string{"sender", "roommate", "other"}},
			{"broadcast-room", "room", "x", false, received{"news", "x", false}, []string{"roommate"}},
			{"broadcast-to", "", "other a text", false, received{"news", "a text", false}, []string{"other"}},
			{"broadcast-to", "", "sender", false, received{"news", "", false}, []string{"sender"}},
			{"broadcast-to", "", "elsewhere x", false, received{}, nil},
			{"broadcast-to", "", "nobody x", false, received{}, nil},
			{"broadcast-to", "", " x", false, received{}, nil},
		} {
			t.Run(test.event+" "+test.body, func(t *testing.T) {
				sender := clients["sender"]
				reply, err := sender.ask(sender.connect("app"), neffos.Message{
					Namespace: "app", Room: test.room, Event: test.event, Body: []byte(test.body), SetBinary: test.binary,
				})
				if err != nil || string(reply.Body) != "done" || reply.SetBinary != test.binary {
					t.Errorf("reply is %q, binary %v, %v", reply.Body, reply.SetBinary, err)
				}
				for id, c := range clients {
					var want []received
					if slices.Contains(test.reaches, id) {
						want = []received{test.want}
					}
					if got := c.sofar(); !slices.Equal(got, want) {
						t.Errorf("%s got %v want %v", id, got, want)
					}
				}
			})
		}
	})
}

// TestBroadcastHasNoToken reads the messages themselves: the library's client keeps tokens back.
func TestBroadcastHasNoToken(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		ws := dialRaw(t, url)
		ws.send("M", "$1;app;;_OnNamespaceConnect;0;0;", "$2;app;;broadcast-all;0;0;x")
		ws.receive() // the id
		ws.expect("$1;;;;;;", ";app;;news;0;0;x", "$2;app;;broadcast-all;0;0;done")
	})
}

func TestMixedEndpoint(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		ws := dialRaw(t, url+mixedPath)
		ws.send("M", "lost", "$1;;;_OnNamespaceConnect;0;0;", "not a frame", "$2;;;echo;0;0;a frame", "$3;app;;_OnNamespaceConnect;0;0;")
		ws.receive()
		ws.expect("$1;;;;;;", "not a frame", "$2;;;echo;0;0;a frame", "$3;app;;_OnNamespaceConnect;1;0;bad namespace")
	})
}

func TestNativeEndpoint(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		ws := dialRaw(t, url+nativePath)
		ws.send("M", "$1;;;_OnNamespaceConnect;0;0;", "text")
		ws.expect("M", "$1;;;_OnNamespaceConnect;0;0;", "text")
	})
}

func TestCloseMe(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		c := dial.must(t, nil, nil)
		c.connect("app").Emit("close-me", nil)
		select {
		case <-c.NotifyClose:
		case <-c.ctx.Done():
			t.Error("the connection goes on")
		}
	})
}

func TestRefusals(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		for _, test := range []struct {
			name, want string
			try        func(c *client) error
		}{
			{"connect", "namespace is closed", func(c *client) error {
				_, err := c.tryConnect("refused")
				return err
			}},
			{"connect to the unknown", "bad namespace", func(c *client) error {
				_, err := c.tryConnect("nowhere")
				return err
			}},
			{"disconnect", "namespace is sticky", func(c *client) error {
				return c.disconnect(c.connect("sticky"))
			}},
			{"disconnect elsewhere", "", func(c *client) error {
				return c.disconnect(c.connect("app"))
			}},
			{"join", "room is locked", func(c *client) error {
				_, err := c.join(c.connect("app"), "locked")
				return err
			}},
			{"leave", "room is sticky", func(c *client) error {
				room, err := c.join(c.connect("app"), "sticky")
				if err != nil {
					return err
				}
				return c.leave(room)
			}},
			{"join and leave elsewhere", "", func(c *client) error {
				room, err := c.join(c.connect("app"), "open")
				if err != nil {
					return err
				}
				return c.leave(room)
			}},
		} {
			t.Run(test.name, func(t *testing.T) {
				if got := errorText(test.try(dial.must(t, nil, nil))); got != test.want {
					t.Errorf("error is %q, want %q", got, test.want)
				}
			})
		}
	})
}

func TestHandshakeHeaders(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		if _, err := dial(http.Header{refuseHeader: {"not you"}}, nil); errorText(err) != "not you" {
			t.Errorf("refusal is %v", err)
		}
		if _, err := dial(http.Header{refuseHeader: {""}}, nil); err == nil || err.Error() != "" {
			t.Errorf("refusal without text is %v", err)
		}
		if c := dial.must(t, http.Header{idHeader: {"chosen"}}, nil); c.ID != "chosen" {
			t.Errorf("id is %q", c.ID)
		}
		if c := dial.must(t, nil, nil); len(c.ID) != len("00000000-0000-4000-8000-000000000000") {
			t.Errorf("generated id is %q", c.ID)
		}
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
