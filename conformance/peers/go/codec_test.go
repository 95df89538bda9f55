//go:build !untyped

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// frame writes a decode request the way a person reads a frame.
func frame(payload, extra string) string {
	return fmt.Sprintf(`{"id":1,"op":"decode","payload":%s%s}`, quoted(payload), extra)
}

// message writes the answer to frame; fields are those that differ from an empty message.
func message(fields map[string]string) string {
	value := func(name, empty string) string {
		if value, ok := fields[name]; ok {
			return value
		}
		return empty
	}
	return fmt.Sprintf(`{"id":1,"message":{"wait":{"token":%s,"from_exchange":%s,"sender":%s},`+
		`"namespace":%s,"room":%s,"event":%s,"is_error":%s,"is_no_op":%s,"body":%s}}`,
		value("token", `""`), value("from_exchange", "false"), value("sender", `""`),
		value("namespace", `""`), value("room", `""`), value("event", `""`),
		value("is_error", "false"), value("is_no_op", "false"), value("body", `""`))
}

// encoding asks to write a message; the fields are in the order of the frame.
func encoding(wait, namespace, room, event, isError, isNoOp, body string) string {
	return fmt.Sprintf(`{"id":1,"op":"encode","message":{"wait":%s,"namespace":%s,"room":%s,`+
		`"event":%s,"is_error":%s,"is_no_op":%s,"body":%s}}`,
		wait, namespace, room, event, isError, isNoOp, body)
}

// quoted writes text as it stands in a line.
func quoted(text string) string {
	if !utf8.ValidString(text) {
		return fmt.Sprintf(`{"hex":"%x"}`, text)
	}
	value, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(value)
}

func written(payload string) string { return `{"id":1,"payload":` + quoted(payload) + `}` }

var codecCases = []struct{ name, line, want string }{
	{"six separators", frame("w;n;r;e;0;0;b", ""), message(map[string]string{
		"token": quoted("w"), "namespace": quoted("n"), "room": quoted("r"),
		"event": quoted("e"), "body": quoted("b"),
	})},
	{"separators in the body", frame(";;;;0;0;a;b;", ""), message(map[string]string{"body": quoted("a;b;")})},
	{"nothing but separators", frame(";;;;;;", ""), message(nil)},
	{"the lenient reading by name", frame(";;;;;;", `,"reading":"lenient"`), message(nil)},
	{"five separators", frame(";;;;0;0", ""), `{"id":1,"reject":true}`},
	{"empty payload", frame("", ""), `{"id":1,"reject":true}`},
	{"empty payload, native only", frame("", `,"native":"only"`), `{"id":1,"reject":true}`},
	{"escaped names", frame(";a@%!semicolon@%!b;;;0;0;", ""), message(map[string]string{"namespace": quoted("a;b")})},
	{"an escape in the token stays", frame("@%!semicolon@%!;;;;0;0;", ""), message(map[string]string{"token": quoted("@%!semicolon@%!")})},
	{"an escape in the body stays", frame(";;;;0;0;@%!semicolon@%!", ""), message(map[string]string{"body": quoted("@%!semicolon@%!")})},
	{"error", frame(";;;;1;0;no", ""), message(map[string]string{"is_error": "true", "body": quoted("no")})},
	{"error without text reads as none", frame(";;;;1;0;", ""), message(nil)},
	{"flags other than 1 are false", frame(";;;;x;y;b", ""), message(map[string]string{"body": quoted("b")})},
	{"no-op", frame(";;;;0;1;", ""), message(map[string]string{"is_no_op": "true"})},
	{"text that is no UTF-8", frame("\xff;\x00;;;0;0;\xc3", ""), message(map[string]string{
		"token": quoted("\xff"), "namespace": quoted("\x00"), "body": quoted("\xc3"),
	})},
	{"explicit sender", frame("neffos(0xa;;;;0;0;", ""), message(map[string]string{"sender": quoted("neffos(0xa")})},
	{"stack-exchange mark", frame("1!2;;;;0;0;", ""), message(map[string]string{
		"token": quoted("12"), "from_exchange": "true",
	})},
	{"a mark with nothing behind it", frame("1!;;;;0;0;", ""), message(map[string]string{"token": quoted("1!")})},
	{"native instead of a frame", frame("raw", `,"native":"fallback"`), `{"id":1,"native":"raw"}`},
	{"a frame where native messages come too", frame(";;;e;0;0;b", `,"native":"fallback"`), message(map[string]string{
		"event": quoted("e"), "body": quoted("b"),
	})},
	{"a frame of the event of native messages", frame(";;;_OnNativeMessage;0;0;b", `,"native":"fallback"`), message(map[string]string{
		"event": quoted("_OnNativeMessage"), "body": quoted("b"),
	})},
	{"native only leaves a frame alone", frame("w;n;r;e;0;0;b", `,"native":"only"`), `{"id":1,"native":"w;n;r;e;0;0;b"}`},
	{"binary", `{"id":1,"op":"decode","payload":{"base64":"Ozs7OzA7MDv/"}}`, message(map[string]string{
		"body": `{"base64":"/w=="}`,
	})},
	{"binary and native", `{"id":1,"op":"decode","payload":{"base64":"/w=="},"native":"only"}`,
		`{"id":1,"native":{"base64":"/w=="}}`},

	{"encode", encoding(`""`, `"n"`, `"r"`, `"e"`, "false", "false", `"b;"`), written(";n;r;e;0;0;b;")},
	{"encode bytes", encoding(`""`, `""`, `""`, `"e"`, "false", "false", `{"base64":"/w=="}`),
		`{"id":1,"payload":{"base64":"Ozs7ZTswOzA7/w=="}}`},
	{"encode text that is no UTF-8", encoding(`""`, `{"hex":"ff"}`, `""`, `""`, "false", "false", `""`), written(";\xff;;;0;0;")},
	{"encode names with separators", encoding(`""`, `";"`, `""`, `";"`, "false", "false", `""`),
		written(";@%!semicolon@%!;;@%!semicolon@%!;0;0;")},
	{"encode an error", encoding(`""`, `""`, `""`, `"e"`, "true", "false", `"no"`), written(";;;e;1;0;no")},
	{"encode an error without text", encoding(`""`, `""`, `""`, `"e"`, "true", "false", `""`), written(";;;e;1;0;")},
	{"encode a token", encoding(`"$1"`, `""`, `""`, `"e"`, "false", "false", `""`), `{"id":1,"unsupported":true}`},
	{"encode a no-op", encoding(`""`, `""`, `""`, `"e"`, "false", "true", `""`), `{"id":1,"unsupported":true}`},

	{"unknown op", `{"id":1,"op":"frobnicate"}`, `{"id":1,"unsupported":true}`},
	{"unknown field", frame(";;;;;;", `,"surprise":1`), `{"id":1,"unsupported":true}`},
	{"the strict reading", frame(";;;;;;", `,"reading":"strict"`), `{"id":1,"unsupported":true}`},
	{"limits", frame(";;;;;;", `,"limits":{"field":1}`), `{"id":1,"unsupported":true}`},
	{"no op", `{"id":1}`, `{"id":1,"error":"op is missing"}`},
	{"decode without a payload", `{"id":1,"op":"decode"}`, `{"id":1,"error":"payload is missing"}`},
	{"decode null", `{"id":1,"op":"decode","payload":null}`, `{"id":1,"error":"payload is missing"}`},
	{"decode two kinds at once", `{"id":1,"op":"decode","payload":{"hex":"","base64":""}}`,
		`{"id":1,"error":"payload: neither text, nor hex, nor base64"}`},
	{"encode without a body", `{"id":1,"op":"encode","message":{"event":"e"}}`,
		`{"id":1,"error":"message: all seven fields are needed"}`},
}

func TestCodecAnswers(t *testing.T) {
	for _, test := range codecCases {
		t.Run(test.name, func(t *testing.T) {
			if got := codecSession(t, test.line+"\n"); got != test.want+"\n" {
				t.Errorf("\n sent %s\n  got %s want %s", test.line, got, test.want)
			}
		})
	}
}

// TestCodecGoesOn sends what cannot be understood, each followed by what can: the answers must
// stay in step with the lines.
func TestCodecGoesOn(t *testing.T) {
	const canary = `{"id":7,"op":"canary"}`
	for _, line := range []string{
		"",
		"{",
		"[]",
		"null null",
		`{"op":"decode"}`,
		`{"id":"1","op":"decode"}`,
		`{"id":1.5,"op":"decode"}`,
		"\xff",
	} {
		t.Run(line, func(t *testing.T) {
			first, rest, _ := strings.Cut(codecSession(t, line+"\n"+canary+"\n"), "\n")
			if !strings.HasPrefix(first, `{"id":null,"error":"`) {
				t.Errorf("%q was answered %s", line, first)
			}
			if want := "{\"id\":7,\"unsupported\":true}\n"; rest != want {
				t.Errorf("the next line was answered %s want %s", rest, want)
			}
		})
	}
}

func TestCodecAnswersEveryLineInOrder(t *testing.T) {
	var lines, want strings.Builder
	for range 50 {
		for _, test := range codecCases {
			fmt.Fprintln(&lines, test.line)
			fmt.Fprintln(&want, test.want)
		}
	}
	if got := codecSession(t, lines.String()); got != want.String() {
		t.Error("the answers to many lines at once are not those to each line alone")
	}
}

func TestCodecAnswersALastLineWithoutItsEnd(t *testing.T) {
	if got, want := codecSession(t, `{"id":1,"op":"x"}`), "{\"id\":1,\"unsupported\":true}\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestCodecTakesLongLines(t *testing.T) {
	body := strings.Repeat("a", 1<<20)
	want := message(map[string]string{"body": quoted(body)}) + "\n"
	if got := codecSession(t, frame(";;;;0;0;"+body, "")+"\n"); got != want {
		t.Errorf("a body of a mebibyte came back as %d characters, not %d", len(got), len(want))
	}
}

// TestCodecAnswersBeforeItReadsOn plays a parent that sends no second line before it has the
// first answer, with the start of that second line already on its way.
func TestCodecAnswersBeforeItReadsOn(t *testing.T) {
	stdin, feed := io.Pipe()
	answers, stdout := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- serveCodec(stdin, stdout) }()
	go io.WriteString(feed, "{\"id\":1,\"op\":\"first\"}\n{\"op\":")

	got := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(answers)
		lines.ReadString('\n') // it is ready
		line, _ := lines.ReadString('\n')
		got <- line
	}()
	select {
	case line := <-got:
		if want := "{\"id\":1,\"unsupported\":true}\n"; line != want {
			t.Errorf("got %s want %s", line, want)
		}
	case <-time.After(testTimeout):
		t.Fatal("the answer is held back")
	}

	go io.Copy(io.Discard, answers)
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// codecSession gives the answers to the whole input, without the first line, which it checks.
func codecSession(t *testing.T, input string) string {
	t.Helper()
	var out strings.Builder
	if err := serveCodec(strings.NewReader(input), &out); err != nil {
		t.Fatal(err)
	}
	ready, answers, _ := strings.Cut(out.String(), "\n")
	if !strings.HasPrefix(ready, `{"ready":true,"codec":1,"peer":"neffos-go",`) {
		t.Errorf("the first line is %s", ready)
	}
	return answers
}

func BenchmarkCodecDecode(b *testing.B) {
	line := []byte(frame("$1700000000000000000;app;room;echo;0;0;a body of some length", ""))
	for b.Loop() {
		if _, ok := answerTo(line).(messageLine); !ok {
			b.Fatal("not decoded")
		}
	}
}
