package main

import (
	"testing"
	"time"
)

// again is how long a client waits before it says the same again: a server may not have listed the
// others yet, and its broadcaster may pass one over.
const again = 20 * time.Millisecond

// TestPlain chats, and looks for what a plain server must not have.
func TestPlain(t *testing.T) {
	everyURLOf(t, plainSites(), askTimeout, func(t *testing.T, url string) {
		speaker, listener := dialRaw(t, url), dialRaw(t, url)
		for _, c := range []raw{speaker, listener} {
			c.send("M")
			if got := c.receive(); got == "A" || got[0] != 'A' {
				t.Fatalf("the handshake is answered %q", got)
			}
			c.send("$1;app;;_OnNamespaceConnect;0;0;", "$2;default;;_OnNamespaceConnect;0;0;")
			c.expect("$1;app;;_OnNamespaceConnect;1;0;bad namespace", "$2;;;;;;")
		}
		speaker.send("$3;default;;echo;0;0;hi", "$4;default;room;_OnRoomJoin;0;0;")
		speaker.expect("$4;;;;;;")

		heard := make(chan struct{})
		go func() {
			defer close(heard)
			listener.expect(";default;;chat;0;0;hello")
		}()
		for {
			speaker.send(";default;;chat;0;0;hello")
			select {
			case <-heard:
				return
			case <-time.After(again):
			}
		}
	})
}
