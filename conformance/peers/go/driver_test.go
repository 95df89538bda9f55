package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// drivenSession is the parent of a driver: it writes operations and reads lines.
type drivenSession struct {
	t     *testing.T
	input io.WriteCloser
	lines chan string
	done  chan error
	saw   []string // since the last answer that was waited for
}

func newDriverSession(t *testing.T, dialer string) *drivenSession {
	stdin, input := io.Pipe()
	output, stdout := io.Pipe()
	s := &drivenSession{t: t, input: input, lines: make(chan string, 256), done: make(chan error, 1)}

	go func() {
		err := run(context.Background(), []string{"driver", "-dialer", dialer}, stdin, stdout, io.Discard)
		stdout.Close()
		s.done <- err
	}()
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() { input.Close() })

	if line := s.next(); !strings.HasPrefix(line, `{"ready":true,"driver":1,"peer":"neffos-go","version":"v`) {
		t.Fatalf("the first line is %s", line)
	}
	return s
}

func (s *drivenSession) next() string {
	s.t.Helper()
	select {
	case line, more := <-s.lines:
		if !more {
			s.t.Fatal("the driver has ended")
		}
		return line
	case <-time.After(testTimeout):
		s.t.Fatal("no line came")
	}
	return ""
}

func (s *drivenSession) send(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.input, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// answer waits for the answer to an operation and keeps what was seen before it.
func (s *drivenSession) answer(line string) string {
	s.t.Helper()
	s.send(line)
	s.saw = nil
	for {
		line := s.next()
		if !strings.HasPrefix(line, `{"saw":`) {
			return line
		}
		s.saw = append(s.saw, line)
	}
}

// expect is for an operation that is to be answered like that, behind these lines.
func (s *drivenSession) expect(line, want string, saw ...string) {
	s.t.Helper()
	if got := s.answer(line); got != want {
		s.t.Errorf("%s was answered %s want %s", line, got, want)
	}
	if !slices.Equal(s.saw, saw) {
		s.t.Errorf("before the answer to %s came %q want %q", line, s.saw, saw)
	}
}

// sees is for a line that comes before or behind the last answer, whichever was quicker.
func (s *drivenSession) sees(want string) {
	s.t.Helper()
	if i := slices.Index(s.saw, want); i >= 0 {
		s.saw = slices.Delete(s.saw, i, i+1)
	} else if got := s.next(); got != want {
		s.t.Errorf("the next line is %s want %s", got, want)
	}
}

func (s *drivenSession) dial(url, more string) {
	s.t.Helper()
	got := s.answer(fmt.Sprintf(`{"id":1,"op":"dial","url":%q%s}`, url, more))
	if !strings.HasPrefix(got, `{"id":1,"result":{"connection":1,"connection_id":"`) {
		s.t.Fatalf("dial was answered %s", got)
	}
}

// TestDriver goes once through all operations, on every endpoint with every dialer.
func TestDriver(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		for dialer := range dialers {
			t.Run(dialer, func(t *testing.T) {
				s := newDriverSession(t, dialer)
				s.expect(`{"id":7,"op":"made-up","namespace":7}`, `{"id":7,"unsupported":true}`)
				s.expect(fmt.Sprintf(`{"id":1,"op":"dial","url":%q,"headers":{"X-Conformance-Id":"me"}}`, url),
					`{"id":1,"result":{"connection":1,"connection_id":"me"}}`)

				s.expect(`{"id":1,"op":"connect","connection":1,"namespace":"app"}`, `{"id":1,"result":{}}`,
					`{"saw":"connected","connection":1,"namespace":"app"}`)
				s.expect(`{"id":2,"op":"connect","connection":1,"namespace":"app"}`, `{"id":2,"result":{}}`)
				s.expect(`{"id":3,"op":"connect","connection":1,"namespace":""}`, `{"id":3,"error":"bad namespace"}`)

				for i, room := range []string{"a", "b", "c"} {
					s.expect(fmt.Sprintf(`{"id":%d,"op":"join","connection":1,"namespace":"app","room":%q}`, 10+i, room),
						fmt.Sprintf(`{"id":%d,"result":{}}`, 10+i),
						fmt.Sprintf(`{"saw":"joined","connection":1,"namespace":"app","room":%q}`, room))
				}
				s.expect(`{"id":14,"op":"join","connection":1,"namespace":"app","room":"locked"}`, `{"id":14,"error":"room is locked"}`)
				s.expect(`{"id":15,"op":"leave","connection":1,"namespace":"app","room":"c"}`, `{"id":15,"result":{}}`,
					`{"saw":"left","connection":1,"namespace":"app","room":"c"}`)

				s.expect(`{"id":20,"op":"ask","connection":1,"namespace":"app","event":"echo","text":"a<é>"}`, `{"id":20,"result":{"text":"a<é>"}}`)
				s.expect(`{"id":21,"op":"ask","connection":1,"namespace":"app","event":"echo","base64":"/wA="}`, `{"id":21,"result":{"base64":"/wA="}}`)
				s.expect(`{"id":22,"timeout":1e300,"op":"ask","connection":1,"namespace":"app","event":"echo","text":""}`, `{"id":22,"result":{"text":""}}`)
				s.expect(`{"id":23,"op":"ask","connection":1,"namespace":"app","room":"a","event":"echo","text":"in a room"}`, `{"id":23,"result":{"text":"in a room"}}`)
				s.expect(`{"id":24,"op":"ask","connection":1,"namespace":"app","room":"z","event":"echo","text":""}`, `{"id":24,"error":"write closed"}`)
				s.expect(`{"id":25,"op":"ask","connection":1,"namespace":"app","event":"fail","text":"it broke"}`, `{"id":25,"error":"it broke"}`)
				s.expect(`{"id":26,"op":"ask","connection":1,"namespace":"app","event":"silent","text":"","timeout":0.01}`, `{"id":26,"error":"context deadline exceeded"}`)

				s.expect(`{"id":30,"op":"ask","connection":1,"namespace":"app","event":"push","text":"news"}`, `{"id":30,"result":{"text":"done"}}`,
					`{"saw":"event","connection":1,"namespace":"app","room":"","event":"news","text":"pushed"}`)
				s.expect(`{"id":31,"op":"ask","connection":1,"namespace":"app","event":"broadcast-all","base64":"AA=="}`, `{"id":31,"result":{"base64":"ZG9uZQ=="}}`,
					`{"saw":"event","connection":1,"namespace":"app","room":"","event":"news","base64":"AA=="}`)
				s.answer(`{"id":33,"op":"emit","connection":1,"namespace":"app","event":"ask-me","text":"me?"}`)
				s.sees(`{"saw":"event","connection":1,"namespace":"app","room":"","event":"question","text":"me?"}`)
				s.sees(`{"saw":"event","connection":1,"namespace":"app","room":"","event":"answer","text":"me?"}`)
				s.answer(`{"id":34,"op":"emit","connection":1,"namespace":"app","event":"connect-me","text":"semi;colon"}`)
				s.sees(`{"saw":"connected","connection":1,"namespace":"semi;colon"}`)
				s.answer(`{"id":35,"op":"emit","connection":1,"namespace":"app","event":"join-me","text":"d"}`)
				s.sees(`{"saw":"joined","connection":1,"namespace":"app","room":"d"}`)
				s.answer(`{"id":36,"op":"emit","connection":1,"namespace":"app","event":"join-me","text":"e"}`)
				s.sees(`{"saw":"joined","connection":1,"namespace":"app","room":"e"}`)
				// The library's client tells of a room before it replies; an ask comes behind the reply.
				s.expect(`{"id":38,"op":"ask","connection":1,"namespace":"app","event":"echo","text":""}`, `{"id":38,"result":{"text":""}}`)
				s.answer(`{"id":37,"op":"emit","connection":1,"namespace":"app","event":"leave-me","text":"e"}`)
				s.sees(`{"saw":"left","connection":1,"namespace":"app","room":"e"}`)

				if got := s.answer(`{"id":40,"op":"leave-all","connection":1,"namespace":"app"}`); got != `{"id":40,"result":{}}` {
					t.Errorf("leave-all was answered %s", got)
				}
				slices.Sort(s.saw) // the library goes through a map
				for i, room := range []string{"a", "b", "d"} {
					if want := fmt.Sprintf(`{"saw":"left","connection":1,"namespace":"app","room":%q}`, room); i >= len(s.saw) || s.saw[i] != want {
						t.Errorf("leave-all has left %q", s.saw)
						break
					}
				}
				s.expect(`{"id":41,"op":"leave","connection":1,"namespace":"app","room":"a"}`, `{"id":41,"error":"bad room"}`)
				s.expect(`{"id":42,"op":"disconnect","connection":1,"namespace":"semi;colon"}`, `{"id":42,"result":{}}`,
					`{"saw":"disconnected","connection":1,"namespace":"semi;colon"}`)
				s.expect(`{"id":43,"op":"ask","connection":1,"namespace":"semi;colon","event":"ec;ho","text":""}`, `{"id":43,"error":"write closed"}`)

				s.answer(`{"id":44,"op":"emit","connection":1,"namespace":"app","event":"disconnect-me","text":""}`)
				s.sees(`{"saw":"disconnected","connection":1,"namespace":"app"}`)
				s.expect(`{"id":45,"op":"connect","connection":1,"namespace":"app"}`, `{"id":45,"result":{}}`,
					`{"saw":"connected","connection":1,"namespace":"app"}`)

				s.expect(`{"id":50,"op":"close","connection":1}`, `{"id":50,"result":{}}`,
					`{"saw":"disconnected","connection":1,"namespace":"app"}`, `{"saw":"closed","connection":1}`)
				s.expect(`{"id":51,"op":"connect","connection":1,"namespace":"app"}`, fmt.Sprintf(`{"id":51,"error":%q}`, textOfClosed))
				s.expect(`{"id":52,"op":"close","connection":1}`, `{"id":52,"result":{}}`)
			})
		}
	})
}

func TestDriverOnTheMixedEndpoint(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		s := newDriverSession(t, "gorilla")
		s.dial(url+mixedPath, "")
		s.expect(`{"id":1,"op":"native","connection":1,"text":"too early"}`, `{"id":1,"error":"write closed"}`)
		s.expect(`{"id":2,"op":"connect","connection":1,"namespace":""}`, `{"id":2,"result":{}}`,
			`{"saw":"connected","connection":1,"namespace":""}`)

		s.answer(`{"id":3,"op":"native","connection":1,"text":"not a frame"}`)
		s.sees(`{"saw":"native","connection":1,"text":"not a frame"}`)
		s.answer(`{"id":4,"op":"native","connection":1,"base64":"AP8="}`)
		s.sees(`{"saw":"native","connection":1,"base64":"AP8="}`)
		s.expect(`{"id":5,"op":"ask","connection":1,"namespace":"","event":"echo","text":"a frame"}`, `{"id":5,"result":{"text":"a frame"}}`)
	})
}

func TestDriverSeesTheServersEnd(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		s := newDriverSession(t, "gobwas")
		s.dial(url, "")
		s.answer(`{"id":2,"op":"connect","connection":1,"namespace":"app"}`)
		s.answer(`{"id":3,"op":"emit","connection":1,"namespace":"app","event":"close-me","text":""}`)
		s.sees(`{"saw":"disconnected","connection":1,"namespace":"app"}`)
		s.sees(`{"saw":"closed","connection":1}`)
	})
}

// TestDriverDials is about dials that lead nowhere, and that their numbers are not given again.
func TestDriverDials(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		s := newDriverSession(t, "gorilla")
		s.expect(fmt.Sprintf(`{"id":1,"op":"dial","url":%q,"headers":{"X-Conformance-Refuse":"not you"}}`, url), `{"id":1,"error":"not you"}`)
		s.expect(fmt.Sprintf(`{"id":2,"op":"dial","url":%q,"headers":{"X-Conformance-Refuse":""}}`, url), `{"id":2,"error":""}`)
		s.expect(fmt.Sprintf(`{"id":3,"op":"dial","url":%q,"reconnect":true}`, url), `{"id":3,"unsupported":true}`)
		s.expect(fmt.Sprintf(`{"id":4,"op":"dial","url":"%s/nowhere"}`, url), `{"id":4,"error":"websocket: bad handshake"}`)
		s.expect(fmt.Sprintf(`{"id":5,"op":"dial","url":%q,"headers":{"X-Conformance-Id":"five"},"reconnect":false}`, url),
			`{"id":5,"result":{"connection":5,"connection_id":"five"}}`)
	})
}

// TestDriverIsAskedToConnect needs the server to wait until the client is accepted.
func TestDriverIsAskedToConnect(t *testing.T) {
	everyURL(t, askTimeout, func(t *testing.T, url string) {
		s := newDriverSession(t, "gorilla")
		s.dial(url, `,"headers":{"X-Conformance-Connect":"app"}`)
		s.sees(`{"saw":"connected","connection":1,"namespace":"app"}`)
	})
}

// scripted is a server that a test writes the messages of, one connection after the other.
func scripted(t *testing.T, play func(ws *websocket.Conn)) (url string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		play(ws)
		for err = nil; err == nil; { // until the client closes
			_, _, err = ws.ReadMessage()
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func TestDriverHasADeadlineForAHandshake(t *testing.T) {
	url := scripted(t, func(*websocket.Conn) {})
	s := newDriverSession(t, "gorilla")
	s.expect(fmt.Sprintf(`{"id":1,"op":"dial","url":%q,"timeout":0.01}`, url), `{"id":1,"error":"context deadline exceeded"}`)
}

// TestDriverSeesErrors has to be played: of two applications that both handle "fail", each would
// answer the other's indefinitely.
func TestDriverSeesErrors(t *testing.T) {
	url := scripted(t, func(ws *websocket.Conn) {
		play(ws, ";app;r;news;1;0;it broke", ";app;;news;1;0;")
	})
	s := newDriverSession(t, "gorilla")
	s.dial(url, "")
	s.answer(`{"id":1,"op":"connect","connection":1,"namespace":"app"}`)
	s.sees(`{"saw":"event","connection":1,"namespace":"app","room":"r","event":"news","error":true,"text":"it broke"}`)
	s.sees(`{"saw":"event","connection":1,"namespace":"app","room":"","event":"news","text":""}`) // reads as no error
}

// play accepts a client, lets it connect a namespace and writes the payloads.
func play(ws *websocket.Conn, payloads ...string) {
	ws.ReadMessage()
	ws.WriteMessage(websocket.TextMessage, []byte("Aid"))
	_, connect, _ := ws.ReadMessage()
	wait, _, _ := strings.Cut(string(connect), ";")
	for _, payload := range append([]string{wait + ";;;;;;"}, payloads...) {
		ws.WriteMessage(websocket.TextMessage, []byte(payload))
	}
}

// TestDriverRelays has another event between the question of a handler and its reply. A library that
// takes that for the reply does so here too: the driver does not hide it.
func TestDriverRelays(t *testing.T) {
	for _, test := range []struct{ name, between, want string }{
		{"the reply", "", `;app;;relay;0;0;echoed`},
		{"what comes first", `;app;;news;0;0;not the reply`, relayedPastAnother},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := make(chan string, 8)
			url := scripted(t, func(ws *websocket.Conn) {
				read := func() string {
					_, payload, _ := ws.ReadMessage()
					return string(payload)
				}
				write := func(payload string) { ws.WriteMessage(websocket.TextMessage, []byte(payload)) }

				play(ws, ";app;;relay;0;0;please")
				wait, _, _ := strings.Cut(read(), ";")
				if test.between != "" {
					write(test.between)
				}
				write(wait + ";app;;echo;0;0;echoed")
				got <- read()
			})
			s := newDriverSession(t, "gorilla")
			s.dial(url, "")
			s.answer(`{"id":2,"op":"connect","connection":1,"namespace":"app"}`)
			s.sees(`{"saw":"event","connection":1,"namespace":"app","room":"","event":"relay","text":"please"}`)
			select {
			case relayed := <-got:
				if relayed != test.want {
					t.Errorf("the driver relayed %q want %q", relayed, test.want)
				}
			case <-time.After(testTimeout):
				t.Fatal("nothing was relayed")
			}
		})
	}
}

// TestDriverAsksAtTheSameTime is answered in the wrong order, which an asker must not mind.
func TestDriverAsksAtTheSameTime(t *testing.T) {
	const asks = 20
	url := scripted(t, func(ws *websocket.Conn) {
		play(ws)
		var questions [][]byte
		for range asks {
			_, payload, _ := ws.ReadMessage()
			questions = append(questions, payload)
		}
		slices.Reverse(questions)
		for _, payload := range questions {
			ws.WriteMessage(websocket.TextMessage, payload)
		}
	})
	s := newDriverSession(t, "gorilla")
	s.dial(url, "")
	s.answer(`{"id":1,"op":"connect","connection":1,"namespace":"app"}`)

	want := map[string]bool{}
	for i := range asks {
		s.send(fmt.Sprintf(`{"id":%d,"op":"ask","connection":1,"namespace":"app","event":"e","text":"%d"}`, 100+i, i))
		want[fmt.Sprintf(`{"id":%d,"result":{"text":"%d"}}`, 100+i, i)] = true
	}
	for range asks {
		if line := s.next(); !want[line] {
			t.Errorf("unexpected: %s", line)
		} else {
			delete(want, line)
		}
	}
}

// TestDriverGoesOn follows each line that is no operation by one that is.
func TestDriverGoesOn(t *testing.T) {
	s := newDriverSession(t, "gorilla")
	for _, test := range []struct{ line, id string }{
		{`{`, "null"},
		{`[]`, "null"},
		{"\xff", "null"},
		{`{"op":"close"}`, "null"},
		{`{"id":0,"op":"close"}`, "null"},
		{`{"id":"1","op":"close"}`, "null"},
		{`{"id":1}`, "1"},
		{`{"id":2,"op":1}`, "2"},
		{`{"id":3,"op":"dial"}`, "3"},
		{`{"id":4,"op":"close"}`, "4"},
		{`{"id":5,"op":"close","connection":1}`, "5"},
		{`{"id":6,"op":"close","connection":1,"namespace":1}`, "6"},
		{`{"id":7,"op":"native","connection":1}`, "7"},
		{`{"id":8,"op":"native","connection":1,"text":"","base64":""}`, "8"},
		{`{"id":9,"op":"native","connection":1,"base64":"?"}`, "9"},
		{`{"id":10,"op":"close","connection":1,"misspelt":1}`, "10"},
		{`{"id":11,"op":"join","connection":1,"namespace":"app"}`, "11"},
	} {
		t.Run(test.line, func(t *testing.T) {
			got := s.answer(test.line)
			if want := `{"id":` + test.id + `,"error":"`; !strings.HasPrefix(got, want) {
				t.Errorf("answered %s want %s…", got, want)
			}
			var any map[string]any
			if err := json.Unmarshal([]byte(got), &any); err != nil {
				t.Error(err)
			}
			s.expect(`{"id":99,"op":"canary"}`, `{"id":99,"unsupported":true}`)
		})
	}
}

func TestDriverEndsWithItsInput(t *testing.T) {
	url := scripted(t, func(*websocket.Conn) {})
	s := newDriverSession(t, "gorilla")
	s.send(fmt.Sprintf(`{"id":1,"op":"dial","url":%q}`, url)) // under way when the input ends
	s.input.Close()
	select {
	case err := <-s.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testTimeout):
		t.Fatal("the driver goes on")
	}
}

func TestDriverCannotWrite(t *testing.T) {
	output, stdout := io.Pipe()
	output.Close()
	stdin, input := io.Pipe()
	defer input.Close()
	if err := run(context.Background(), []string{"driver"}, stdin, stdout, io.Discard); err == nil {
		t.Error("lines that go nowhere are no error")
	}
}
