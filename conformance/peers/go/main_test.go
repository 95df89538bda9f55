package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestCommandLineMistakes(t *testing.T) {
	for _, line := range []string{
		"", "frobnicate", "serve -port 1", "serve 127.0.0.1:0", "codec -addr 127.0.0.1:0", "codec x", "version x",
		"driver -dialer carrier-pigeon", "driver -addr 127.0.0.1:0", "serve -dialer gorilla",
		"driver -plain", "codec -plain", "driver -exchange redis://127.0.0.1:1",
		"serve -exchange here", "serve -exchange ftp://127.0.0.1:1", "serve -plain -exchange redis://127.0.0.1:1",
	} {
		t.Run(line, func(t *testing.T) {
			var out strings.Builder
			err := run(context.Background(), strings.Fields(line), strings.NewReader(""), &out, io.Discard)
			if !errors.Is(err, errUsage) {
				t.Errorf("error is %v", err)
			}
			if out.Len() > 0 {
				t.Errorf("printed %q", out.String())
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out strings.Builder
	if err := run(context.Background(), []string{"version"}, nil, &out, io.Discard); err != nil {
		t.Fatal(err)
	}

	var got map[string]string
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got["peer"] != "neffos-go" || got["go"] != runtime.Version() {
		t.Errorf("version is %v", got)
	}
	if !strings.HasPrefix(got["version"], "v") {
		t.Errorf("the library's version is %q", got["version"])
	}
}
