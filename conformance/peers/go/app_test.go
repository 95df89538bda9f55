package main

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/kataras/neffos"
)

func TestEvents(t *testing.T) {
	everyPair(t, askPatience, func(t *testing.T, dial dialFunc) {
		c := dial.must(t, http.Header{idHeader: {"me"}}, nil)
		c.connect("app")
		c.connect("semi;colon")

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
	everyPair(t, askPatience, func(t *testing.T, dial dialFunc) {
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
	everyPair(t, askPatience, func(t *testing.T, dial dialFunc) {
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

func TestRefusals(t *testing.T) {
	everyPair(t, askPatience, func(t *testing.T, dial dialFunc) {
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
	everyPair(t, askPatience, func(t *testing.T, dial dialFunc) {
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
