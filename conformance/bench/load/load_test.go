package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// script is a server's side of one connection: what it sends when it gets a message.
type script func(send func(string), message string)

// serve runs a server that opens connections as it should and leaves the rest to a script, which is
// one for each test. It returns its URL.
func serve(t *testing.T, make func() script) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go converse(raw, make())
		}
	}()
	return "ws://" + listener.Addr().String() + "/"
}

func converse(raw net.Conn, answer script) {
	defer raw.Close()
	if _, err := ws.Upgrade(raw); err != nil {
		return
	}
	send := func(message string) { ws.WriteFrame(raw, ws.NewTextFrame([]byte(message))) }
	for {
		frame, err := ws.ReadFrame(raw)
		if err != nil || frame.Header.OpCode != ws.OpText {
			return
		}
		message := string(ws.UnmaskFrameInPlace(frame).Payload)
		switch {
		case message == "M":
			send("Aid")
		case strings.HasSuffix(message, ";_OnNamespaceConnect;0;0;"):
			token, _, _ := strings.Cut(message, ";")
			send(token + ";;;;;;")
		default:
			answer(send, message)
		}
	}
}

// asks makes scripts that know how many asks came before.
func asks(answer func(send func(string), n int, message string)) func() script {
	return func() script {
		n := 0
		return func(send func(string), message string) {
			answer(send, n, message)
			n++
		}
	}
}

func TestEchoCountsWhatGoesAstray(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(send func(string), n int, message string)
		want   tally
	}{
		"nothing": {func(send func(string), n int, message string) { send(message) }, tally{}},
		"a lost reply": {func(send func(string), n int, message string) {
			if n != 7 {
				send(message)
			}
		}, tally{Lost: 1}},
		"a repeated reply": {func(send func(string), n int, message string) {
			send(message)
			if n == 7 {
				send(message)
			}
		}, tally{Repeated: 1}},
		"a late reply": {late(), tally{Reordered: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := echo(serve(t, asks(test.answer)), 1, 4, 100, os.Getpid())
			if result == nil || result.tally != test.want {
				t.Fatalf("%+v, %v", result, err)
			}
			if astray := test.want != (tally{}); errors.Is(err, errUnsound) != astray {
				t.Fatalf("the error is %v", err)
			}
			if result.Rate <= 0 || result.P99 < result.P50 || result.P50 <= 0 {
				t.Fatalf("the figures are %+v", result)
			}
		})
	}
}

// late delays one reply until after the next.
func late() func(send func(string), n int, message string) {
	var held string
	return func(send func(string), n int, message string) {
		if n == 7 {
			held = message
			return
		}
		send(message)
		if n == 8 {
			send(held)
		}
	}
}

func TestEchoRefusesWhatIsNoReply(t *testing.T) {
	for name, wrong := range map[string]func(message string) string{
		"another body":   func(m string) string { return m + "x" },
		"another event":  func(m string) string { return strings.Replace(m, "echo", "ohce", 1) },
		"an error":       func(m string) string { return strings.Replace(m, "0;0", "1;0", 1) },
		"another token":  func(m string) string { return "$99999" + m[strings.Index(m, ";"):] },
		"not a frame":    func(m string) string { return "M" },
		"another's body": func(m string) string { return strings.Replace(m, "/0 ", "/1 ", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, asks(func(send func(string), n int, message string) {
				if n == 7 {
					message = wrong(message)
				}
				send(message)
			}))
			if result, err := echo(url, 1, 4, 100, 0); err == nil || errors.Is(err, errUnsound) {
				t.Fatalf("%+v, %v", result, err)
			}
		})
	}
}

// A server without other connections broadcasts nothing: all is lost, and the reply is "done".
func TestFanoutGivesUpWhatIsMissing(t *testing.T) {
	t.Parallel()
	url := serve(t, asks(func(send func(string), n int, message string) {
		token, _, _ := strings.Cut(message, ";")
		send(token + ";app;;broadcast-others;0;0;done")
	}))
	for from, lost := range map[string]int{"": 15, url: 30} {
		result, err := fanout(url, from, 3, 5, 0)
		if !errors.Is(err, errUnsound) || result.Lost != lost || result.Deliveries != 0 {
			t.Fatalf("%+v, %v", result, err)
		}
	}
}

func TestIdleAsksWhetherConnectionsLive(t *testing.T) {
	t.Parallel()
	url := serve(t, asks(func(send func(string), n int, message string) { send(message) }))
	if result, err := idle(url, 3, os.Getpid()); err != nil || result.Before == 0 || result.After == 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	mute := serve(t, asks(func(func(string), int, string) {}))
	if result, err := idle(mute, 3, os.Getpid()); !errors.Is(err, errSilence) {
		t.Fatalf("%+v, %v", result, err)
	}
}

func TestRunPrintsOneObject(t *testing.T) {
	t.Parallel()
	url := serve(t, asks(func(func(string), int, string) {}))
	var out bytes.Buffer
	if err := run([]string{"handshakes", "-url", url, "-count", "5", "-parallel", "2"}, &out); err != nil {
		t.Fatal(err)
	}
	var printed struct {
		Measure string
		Count   int
		Rate    float64
	}
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil || printed.Measure != "handshakes" || printed.Count != 5 || printed.Rate <= 0 {
		t.Fatalf("%s, %v", &out, err)
	}
}

func TestRunRefusesWrongCommandLines(t *testing.T) {
	for _, line := range []string{
		"", "nothing", "echo", "echo -url u -depth 0", "echo -url u -pid -1", "echo -url u more",
		"idle -url u", "fanout -url u -parallel 3", "handshakes -url u -count many",
	} {
		var out bytes.Buffer
		if err := run(strings.Fields(line), &out); !errors.Is(err, errUsage) || out.Len() > 0 {
			t.Errorf("%q: %v, printed %q", line, err, &out)
		}
	}
}

func TestBodiesAreOfOneSize(t *testing.T) {
	for _, n := range []int{0, 7, 99_999, 1 << 40} {
		if body := appendBody(nil, n, n); len(body) != bodySize {
			t.Errorf("%d bytes for %d", len(body), n)
		}
		message := appendNews(nil, n)
		if got, err := newsNumber(message, n+1); err != nil || got != n {
			t.Errorf("%q is read as %d, %v", message, got, err)
		}
		if _, err := newsNumber(message, n); err == nil {
			t.Errorf("%q is none of %d", message, n)
		}
	}
}
