package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// frame writes a decode request the way a person reads a frame.
func frame(payload, extra string) string {
	return fmt.Sprintf(`{"op":"decode","kind":"text","payload_hex":"%x"%s}`, payload, extra)
}

// message writes the answer to frame; fields are those that differ from an empty message.
func message(fields map[string]string) string {
	out := make([]string, 0, 11)
	for _, field := range []struct{ name, empty string }{
		{"wait", `""`},
		{"namespace", `""`},
		{"room", `""`},
		{"event", `""`},
		{"body", `""`},
		{"error", "null"},
		{"is_no_op", "false"},
		{"from_explicit", `""`},
		{"from_stack_exchange", "false"},
		{"is_native", "false"},
		{"binary", "false"},
	} {
		value, ok := fields[field.name]
		if !ok {
			value = field.empty
		}
		out = append(out, fmt.Sprintf("%q:%s", field.name, value))
	}
	return "{" + strings.Join(out, ",") + "}"
}

func quoted(text string) string { return fmt.Sprintf(`"%x"`, text) }

var codecCases = []struct{ name, line, want string }{
	{"six separators", frame("w;n;r;e;0;0;b", ""), message(map[string]string{
		"wait": quoted("w"), "namespace": quoted("n"), "room": quoted("r"),
		"event": quoted("e"), "body": quoted("b"),
	})},
	{"separators in the body", frame(";;;;0;0;a;b;", ""), message(map[string]string{"body": quoted("a;b;")})},
	{"nothing but separators", frame(";;;;;;", ""), message(nil)},
	{"five separators", frame(";;;;0;0", ""), `{"invalid":true}`},
	{"empty payload", frame("", ""), `{"invalid":true}`},
	{"empty payload, native only", frame("", `,"only_native":true`), `{"invalid":true}`},
	{"escaped names", frame(";a@%!semicolon@%!b;;;0;0;", ""), message(map[string]string{"namespace": quoted("a;b")})},
	{"an escape in the token stays", frame("@%!semicolon@%!;;;;0;0;", ""), message(map[string]string{"wait": quoted("@%!semicolon@%!")})},
	{"an escape in the body stays", frame(";;;;0;0;@%!semicolon@%!", ""), message(map[string]string{"body": quoted("@%!semicolon@%!")})},
	{"error", frame(";;;;1;0;no", ""), message(map[string]string{"error": quoted("no")})},
	{"error without text reads as none", frame(";;;;1;0;", ""), message(nil)},
	{"flags other than 1 are false", frame(";;;;x;y;b", ""), message(map[string]string{"body": quoted("b")})},
	{"no-op", frame(";;;;0;1;", ""), message(map[string]string{"is_no_op": "true"})},
	{"octets that are not text", frame("\xff;\x00;;;0;0;\xc3", ""), message(map[string]string{
		"wait": quoted("\xff"), "namespace": quoted("\x00"), "body": quoted("\xc3"),
	})},
	{"explicit sender", frame("neffos(0xa;;;;0;0;", ""), message(map[string]string{"from_explicit": quoted("neffos(0xa")})},
	{"stack-exchange mark", frame("1!2;;;;0;0;", ""), message(map[string]string{
		"wait": quoted("12"), "from_stack_exchange": "true",
	})},
	{"a mark with nothing behind it", frame("1!;;;;0;0;", ""), message(map[string]string{"wait": quoted("1!")})},
	{"native instead of a frame", frame("raw", `,"allow_native":true`), message(map[string]string{
		"event": quoted("_OnNativeMessage"), "body": quoted("raw"), "is_native": "true",
	})},
	{"native by name", frame(";;;_OnNativeMessage;0;0;b", `,"allow_native":true`), message(map[string]string{
		"event": quoted("_OnNativeMessage"), "body": quoted("b"), "is_native": "true",
	})},
	{"native only leaves a frame alone", frame("w;n;r;e;0;0;b", `,"allow_native":true,"only_native":true`), message(map[string]string{
		"event": quoted("_OnNativeMessage"), "body": quoted("w;n;r;e;0;0;b"), "is_native": "true",
	})},
	{"binary", `{"op":"decode","kind":"binary","payload_hex":"3b3b3b3b303b303bff"}`, message(map[string]string{
		"body": `"ff"`, "binary": "true",
	})},

	{"encode", `{"op":"encode","namespace":"6e","room":"72","event":"65","body":"ff3b","error":null,"binary":true}`,
		`{"payload":"` + fmt.Sprintf("%x", ";n;r;e;0;0;\xff;") + `"}`},
	{"encode names with separators", `{"op":"encode","namespace":"3b","room":"","event":"3b","body":""}`,
		`{"payload":"` + fmt.Sprintf("%x", ";@%!semicolon@%!;;@%!semicolon@%!;0;0;") + `"}`},
	{"encode an error in place of the body", `{"op":"encode","namespace":"","room":"","event":"65","body":"62","error":"6e6f"}`,
		`{"payload":"` + fmt.Sprintf("%x", ";;;e;1;0;no") + `"}`},
	{"encode an error without text", `{"op":"encode","namespace":"","room":"","event":"65","body":"","error":""}`,
		`{"payload":"` + fmt.Sprintf("%x", ";;;e;1;0;") + `"}`},

	{"unknown op", `{"op":"frobnicate"}`, `{"unsupported":"frobnicate"}`},
	{"no op", `{}`, `{"unsupported":""}`},
	{"decode without a payload", `{"op":"decode","kind":"text"}`, `{"error":"decode: payload_hex is missing"}`},
	{"decode without a kind", `{"op":"decode","payload_hex":""}`, `{"error":"decode: kind is \"\", neither text nor binary"}`},
	{"encode without a body", `{"op":"encode","namespace":"","room":"","event":""}`,
		`{"error":"encode: namespace, room, event and body are all needed"}`},
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
	const canary = `{"op":"canary"}`
	for _, line := range []string{
		"",
		"{",
		"[]",
		"null null",
		`{"op":1}`,
		`{"op":"decode","kind":"text","payload_hex":"f"}`,
		`{"op":"decode","kind":"text","payload_hex":"zz"}`,
		"\xff",
	} {
		t.Run(line, func(t *testing.T) {
			first, rest, _ := strings.Cut(codecSession(t, line+"\n"+canary+"\n"), "\n")
			if !strings.HasPrefix(first, `{"error":"`) {
				t.Errorf("%q was answered %s", line, first)
			}
			if want := "{\"unsupported\":\"canary\"}\n"; rest != want {
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
	if got, want := codecSession(t, `{"op":"x"}`), "{\"unsupported\":\"x\"}\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestCodecTakesLongLines(t *testing.T) {
	body := strings.Repeat("61", 1<<20)
	line := fmt.Sprintf(`{"op":"decode","kind":"text","payload_hex":"%x%s"}`, ";;;;0;0;", body)
	want := message(map[string]string{"body": `"` + body + `"`}) + "\n"
	if got := codecSession(t, line+"\n"); got != want {
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
	go io.WriteString(feed, "{\"op\":\"first\"}\n{\"op\":")

	got := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(answers).ReadString('\n')
		got <- line
	}()
	select {
	case line := <-got:
		if want := "{\"unsupported\":\"first\"}\n"; line != want {
			t.Errorf("got %s want %s", line, want)
		}
	case <-time.After(testPatience):
		t.Fatal("the answer is held back")
	}

	go io.Copy(io.Discard, answers)
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func codecSession(t *testing.T, input string) string {
	t.Helper()
	var out strings.Builder
	if err := serveCodec(strings.NewReader(input), &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func BenchmarkCodecDecode(b *testing.B) {
	line := []byte(frame("$1700000000000000000;app;room;echo;0;0;a body of some length", ""))
	for b.Loop() {
		if _, ok := answerTo(line).(decoded); !ok {
			b.Fatal("not decoded")
		}
	}
}
