package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kataras/neffos"
)

// TestServe is the parent of a peer: it reads the one line, connects where the line says, and
// ends the peer in each of the ways it promises to end.
func TestServe(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want map[string]site
		end  func(stdin io.Closer, signal context.CancelFunc)
	}{
		{"until stdin ends", nil, sites(), func(stdin io.Closer, _ context.CancelFunc) { stdin.Close() }},
		{"until a signal", nil, sites(), func(_ io.Closer, signal context.CancelFunc) { signal() }},
		{"without the application", []string{"-plain"}, plainSites(), func(stdin io.Closer, _ context.CancelFunc) { stdin.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, signal := context.WithCancel(context.Background())
			defer signal()
			stdin, feed := io.Pipe()
			defer feed.Close()
			printed, stdout := io.Pipe()

			done := make(chan error, 1)
			go func() {
				err := run(ctx, append([]string{"serve", "-addr", "127.0.0.1:0"}, test.args...), stdin, stdout, io.Discard)
				stdout.Close()
				done <- err
			}()

			lines := bufio.NewReader(printed)
			line, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			var ready readiness
			if err := json.Unmarshal(line, &ready); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if !ready.Ready || ready.provenance != currentProvenance() {
				t.Errorf("ready line is %s", line)
			}
			var host string
			for name := range test.want {
				host = dialEndpoint(t, ready.Endpoints[name], test.args == nil)
			}
			if len(ready.Endpoints) != len(test.want) {
				t.Errorf("endpoints are %v", ready.Endpoints)
			}

			test.end(feed, signal)
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(testTimeout):
				t.Fatal("the peer goes on")
			}
			if rest, _ := io.ReadAll(lines); len(rest) > 0 {
				t.Errorf("more was printed: %q", rest)
			}
			if conn, err := net.Dial("tcp", host); err == nil {
				conn.Close()
				t.Error("the port is still open")
			}
		})
	}
}

func dialEndpoint(t *testing.T, endpoint string, choosesID bool) (host string) {
	t.Helper()
	// As a URL parameter, the way a browser has to send it.
	query := url.Values{neffos.URLParamAsHeaderPrefix + idHeader: {"by parameter"}}
	client, err := newClient(t, dialers["gorilla"](nil), endpoint+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatalf("%q: %v", endpoint, err)
	}
	if choosesID != (client.ID == "by parameter") {
		t.Errorf("id is %q", client.ID)
	}

	where, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return where.Host
}

func TestServeWithoutAnAddressToListenOn(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	var out strings.Builder
	args := []string{"serve", "-addr", taken.Addr().String()}
	if err := run(context.Background(), args, strings.NewReader(""), &out, io.Discard); err == nil {
		t.Error("a taken address is no error")
	}
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}
