package main

import (
	"context"
	"time"

	"github.com/kataras/neffos"
)

// redialDelay is how long the client that nobody drives waits before it dials again.
const redialDelay = 20 * time.Millisecond

// timeout is how long it waits for a connection, a namespace or a reply.
const timeout = 5 * time.Second

// live is a client that nobody drives, as an application has one: it connects a namespace, emits an
// event, and dials again when its connection is lost. It goes on until ctx ends.
func live(ctx context.Context, dialer, url string) error {
	for ctx.Err() == nil {
		visit(ctx, dialer, url)
		select {
		case <-ctx.Done():
		case <-time.After(redialDelay):
		}
	}
	return nil
}

func visit(ctx context.Context, dialer, url string) {
	short, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	events := neffos.Events{"chat": func(*neffos.NSConn, neffos.Message) error { return nil }}
	client, err := within(short, func() (*neffos.Client, error) {
		return neffos.Dial(short, dialers[dialer](nil), url, neffos.Namespaces{"default": events})
	})
	if err != nil {
		return
	}
	defer client.Close()

	ns, err := client.Connect(short, "default")
	if err == nil {
		ns.Emit("chat", []byte("hello"))
	}
	select {
	case <-ctx.Done():
	case <-client.NotifyClose:
	}
}
