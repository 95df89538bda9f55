package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kataras/neffos"
)

// shortTimeout is the deadline of questions nobody answers. Answers have to come within it too,
// so it is long beside a round trip in one process.
const shortTimeout = 500 * time.Millisecond

func TestAskMe(t *testing.T) {
	everyPair(t, shortTimeout, func(t *testing.T, dial dialFunc) {
		for _, test := range []struct {
			name     string
			question neffos.MessageHandlerFunc
			binary   bool
			want     received
		}{
			{"reply", func(_ *neffos.NSConn, msg neffos.Message) error {
				return neffos.Reply(append([]byte("re: "), msg.Body...))
			}, false, received{"answer", "re: x", false}},
			{"binary reply", func(_ *neffos.NSConn, msg neffos.Message) error {
				return neffos.Reply(append([]byte{0xff}, msg.Body...))
			}, true, received{"answer", "\xffx", true}},
			{"error", func(*neffos.NSConn, neffos.Message) error {
				return errors.New("do not ask")
			}, false, received{"answer-error", "do not ask", false}},
			{"error without text", func(*neffos.NSConn, neffos.Message) error {
				return errors.New("") // reads as success on this side
			}, false, received{"answer", "", false}},
			{"nothing", func(*neffos.NSConn, neffos.Message) error {
				return nil
			}, false, received{"answer-error", "context deadline exceeded", false}},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				c := dial.must(t, nil, test.question)
				c.connect("app").Conn.Write(neffos.Message{
					Namespace: "app", Event: "ask-me", Body: []byte("x"), SetBinary: test.binary,
				})
				if got := c.next(); got != test.want {
					t.Errorf("event is %v, want %v", got, test.want)
				}
			})
		}
	})
}

// TestAskMeLateReply makes sure that the peer stays usable: a reply after the deadline must be
// taken by somebody. The deadline runs since before the question was sent, so a client that holds
// it for twice as long is late.
func TestAskMeLateReply(t *testing.T) {
	everyPair(t, shortTimeout, func(t *testing.T, dial dialFunc) {
		c := dial.must(t, nil, func(*neffos.NSConn, neffos.Message) error {
			time.Sleep(2 * shortTimeout)
			return neffos.Reply([]byte("too late"))
		})
		ns := c.connect("app")
		ns.Emit("ask-me", nil)

		if got, want := c.next(), (received{"answer-error", "context deadline exceeded", false}); got != want {
			t.Fatalf("event is %v, want %v", got, want)
		}
		reply, err := c.ask(ns, neffos.Message{Namespace: "app", Event: "echo", Body: []byte("still there")})
		if err != nil || string(reply.Body) != "still there" {
			t.Errorf("after a late reply echo answers %q, %v", reply.Body, err)
		}
	})
}

// TestJoinMeIsDoneWithItsReply broadcasts into the room right behind the reply that joins it.
func TestJoinMeIsDoneWithItsReply(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		ws := dialRaw(t, url)
		ws.send("M", "$1;app;;_OnNamespaceConnect;0;0;")
		ws.receive() // the id
		ws.expect("$1;;;;;;")
		for range 50 {
			ws.send(";app;;join-me;0;0;room")
			token, rest, _ := strings.Cut(ws.receive(), ";")
			if want := "app;room;_OnRoomJoin;0;0;"; rest != want {
				t.Fatalf("the server asks %q want %q", rest, want)
			}
			ws.send(token+";;;;;;", "$2;app;room;echo;0;0;x") // the reply has the room, and goes only into a joined one
			ws.expect("$2;app;room;echo;0;0;x")

			ws.send(";app;;leave-me;0;0;room")
			token, _, _ = strings.Cut(ws.receive(), ";")
			ws.send(token + ";;;;;;")
		}
	})
}
