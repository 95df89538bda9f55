//go:build !next && !bare

package main

import (
	"net/http"
	"testing"

	"github.com/kataras/neffos"
)

func TestWireName(t *testing.T) {
	for method, want := range map[string]string{
		"OnEcho":            "echo",
		"OnBroadcastOthers": "broadcast-others",
		"OnAskMe":           "ask-me",
		"OnSemicolon":       "ec;ho",
		"OnAnyEvent":        neffos.OnAnyEvent,
		"OnNativeMessage":   neffos.OnNativeMessage,
		"Namespace":         "",
	} {
		if got, ok := wireName(method); got != want || ok != (want != "") {
			t.Errorf("%s is %q, %v", method, got, ok)
		}
	}
}

// TestControllersOfferWhatTheLibraryDoes compares names: an event that is missing would only be
// silent.
func TestControllersOfferWhatTheLibraryDoes(t *testing.T) {
	application, mixed, native := controllers(newIris(), "/", askTimeout)
	for _, test := range []struct {
		name      string
		got, want neffos.Namespaces
	}{
		{"application", application.GetNamespaces(), namespaces(askTimeout)},
		{"mixed", mixed.GetNamespaces(), mixedNamespaces()},
		{"native", native.GetNamespaces(), nativeNamespaces()},
	} {
		t.Run(test.name, func(t *testing.T) {
			if len(test.got) != len(test.want) {
				t.Errorf("there are %d namespaces, not %d", len(test.got), len(test.want))
			}
			for namespace, events := range test.want {
				for event := range events {
					if _, offered := test.got[namespace][event]; !offered {
						t.Errorf("%q has no %q", namespace, event)
					}
				}
				for event := range test.got[namespace] {
					// A controller that is made for a connection is made in this event.
					if _, wanted := events[event]; !wanted && event != neffos.OnNamespaceConnect {
						t.Errorf("%q has %q too", namespace, event)
					}
				}
			}
		})
	}
}

// TestEachConnectionIsItself has many at once: a controller or a context that two of them shared
// would answer for the wrong one.
func TestEachConnectionIsItself(t *testing.T) {
	everyPair(t, askTimeout, func(t *testing.T, dial dialFunc) {
		ids := []string{"a", "b", "c", "d", "e", "f"}
		var clients []*client
		for _, id := range ids {
			// Who is refused gives back what it was served with.
			if _, err := dial(http.Header{idHeader: {"nobody"}, refuseHeader: {"no"}}, nil); errorText(err) != "no" {
				t.Fatalf("refusal is %v", err)
			}
			clients = append(clients, dial.must(t, http.Header{idHeader: {id}}, nil))
			clients[len(clients)-1].connect("app")
		}
		for i, c := range clients {
			for _, question := range []neffos.Message{
				{Namespace: "app", Event: "whoami"},
				{Namespace: "app", Event: "header", Body: []byte(idHeader)},
			} {
				reply, err := c.ask(c.connect("app"), question)
				if err != nil || string(reply.Body) != ids[i] {
					t.Errorf("%s of %s is %q, %v", question.Event, ids[i], reply.Body, err)
				}
			}
		}
	})
}
