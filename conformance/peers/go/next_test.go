//go:build next

package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Where v0.0.25 of the library differs from the one before, as its tests see it; see library_test.go.
const (
	// textOfClosed has the code of the close frame, which this version sends.
	textOfClosed = "[1000] write closed"

	// relayedPastAnother is the reply: this version waits for it, and handles the event meanwhile.
	relayedPastAnother = `;app;;relay;0;0;echoed`
)

// TestCloseFrames sees that what the library can do with a socket now comes through the gate: without
// it the library ends TCP, and says nothing of it.
func TestCloseFrames(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		for _, test := range []struct {
			name     string
			header   http.Header
			messages []string
			code     int
			text     string
		}{
			{"closed by the application", nil,
				[]string{"M", "$1;app;;_OnNamespaceConnect;0;0;", "$2;app;;close-me;0;0;"},
				websocket.CloseNormalClosure, ""},
			{"refused", http.Header{refuseHeader: {"not today"}}, []string{"M"},
				websocket.ClosePolicyViolation, "not today"},
			{"refused by the peer", nil, []string{"Hno"}, websocket.CloseNormalClosure, ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				ws, _, err := websocket.DefaultDialer.Dial(url, test.header)
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				ws.SetReadDeadline(time.Now().Add(testTimeout))
				for _, message := range test.messages {
					ws.WriteMessage(websocket.TextMessage, []byte(message))
				}
				for err == nil {
					_, _, err = ws.ReadMessage()
				}
				if end, ok := err.(*websocket.CloseError); !ok || end.Code != test.code || end.Text != test.text {
					t.Errorf("it ended with %v, want %d %q", err, test.code, test.text)
				}
			})
		}
	})
}
