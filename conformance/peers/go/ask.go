package main

import (
	"context"
	"strings"
	"time"

	"github.com/kataras/neffos"
)

// askTimeout is how long a client has to answer what the server asks it.
const askTimeout = 5 * time.Second

// asking is a handler that asks the client, and lets the connection go on meanwhile: in the handler
// the library would take the very next message for the reply, whatever its token. A connection that
// ends does not end the wait for its reply, so the timeout is what ends it.
//
// The library forgets no token on a deadline. It has room for one late reply to each, a second one
// would block the connection's reader for good.
func asking(timeout time.Duration, ask func(context.Context, *neffos.NSConn, neffos.Message) error) neffos.MessageHandlerFunc {
	return func(ns *neffos.NSConn, msg neffos.Message) error {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			gateOf(ns.Conn).ask(ctx, func() error { return ask(ctx, ns, msg) })
		}()
		return nil
	}
}

// askMe asks the client back and tells it what it answered.
func askMe(timeout time.Duration) neffos.MessageHandlerFunc {
	return asking(timeout, func(ctx context.Context, ns *neffos.NSConn, msg neffos.Message) error {
		reply, err := ns.Conn.Ask(ctx, neffos.Message{
			Namespace: msg.Namespace,
			Event:     "question",
			Body:      msg.Body,
			SetBinary: msg.SetBinary,
		})
		if err != nil {
			emit(ns, "answer-error", []byte(err.Error()), reply.SetBinary)
		} else {
			emit(ns, "answer", reply.Body, reply.SetBinary)
		}
		return err
	})
}

// askAll asks every client in a room, of all servers, and tells the asking one the first reply. The
// body is the room and a text. The cases of exchanges need it, and no other does.
func askAll(timeout time.Duration) neffos.MessageHandlerFunc {
	return func(ns *neffos.NSConn, msg neffos.Message) error {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			room, text, _ := strings.Cut(string(msg.Body), " ")
			reply, err := ns.Conn.Server().Ask(ctx, neffos.Message{
				Namespace: msg.Namespace,
				Room:      room,
				Event:     news,
				Body:      []byte(text),
			})
			if err != nil {
				emit(ns, "answer-error", []byte(err.Error()), false)
			} else {
				emit(ns, "answer", reply.Body, false)
			}
		}()
		return neffos.Reply([]byte("done"))
	}
}

func joinMe(timeout time.Duration) neffos.MessageHandlerFunc {
	return asking(timeout, func(ctx context.Context, ns *neffos.NSConn, msg neffos.Message) error {
		_, err := ns.JoinRoom(ctx, string(msg.Body))
		return err
	})
}

// leaveMe asks nothing where the room was not joined: the library has no way to.
func leaveMe(timeout time.Duration) neffos.MessageHandlerFunc {
	return asking(timeout, func(ctx context.Context, ns *neffos.NSConn, msg neffos.Message) error {
		return leave(ctx, ns, string(msg.Body))
	})
}

func leave(ctx context.Context, ns *neffos.NSConn, name string) error {
	room := ns.Room(name)
	if room == nil {
		return neffos.ErrBadRoom
	}
	return room.Leave(ctx)
}

// connectMe asks nothing where the namespace is connected already or the application does not let
// it be connected: the library looks at its own side first.
func connectMe(timeout time.Duration) neffos.MessageHandlerFunc {
	return asking(timeout, func(ctx context.Context, ns *neffos.NSConn, msg neffos.Message) error {
		_, err := ns.Conn.Connect(ctx, string(msg.Body))
		return err
	})
}

func disconnectMe(timeout time.Duration) neffos.MessageHandlerFunc {
	return asking(timeout, func(ctx context.Context, ns *neffos.NSConn, _ neffos.Message) error {
		return ns.Disconnect(ctx)
	})
}

// connectAccepted asks the client to connect, when it has been told that it is accepted. Called in
// OnConnect, Connect would race with that: the library lets both go as soon as the client's opening
// is read, and its own client loses a request that comes before the acceptance.
func connectAccepted(c *neffos.Conn, namespace string, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	g := gateOf(c)
	select {
	case <-g.accepted:
	case <-ctx.Done():
		return
	}
	g.ask(ctx, func() error {
		_, err := c.Connect(ctx, namespace)
		return err
	})
}
