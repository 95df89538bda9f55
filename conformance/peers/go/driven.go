package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/kataras/neffos"
	"github.com/kataras/neffos/gobwas"
	"github.com/kataras/neffos/gorilla"
)

// dialers are the library's two ways to open a connection, each made with the headers of one.
var dialers = map[string]func(http.Header) neffos.Dialer{
	"gorilla": func(h http.Header) neffos.Dialer { return gorilla.Dialer(&gorilla.Options{}, h) },
	"gobwas": func(h http.Header) neffos.Dialer {
		return gobwas.Dialer(gobwas.Options{Header: gobwas.Header(h)})
	},
}

// driven is one connection of the library's client, with the conformance application's side of a
// client on it.
type driven struct {
	number int
	out    *lineWriter
	client *neffos.Client
	gate   atomic.Pointer[gate]
	ended  chan struct{} // closed when the end has been told

	// conn is known since the first handler: the library's client keeps it to itself.
	conn atomic.Pointer[neffos.Conn]

	// rooms keeps leave-all apart from what else needs the library's lock over a namespace's rooms.
	// LeaveAll has it while it waits for replies, and who waits for it with the gate's turn in hand
	// would keep the reader from them.
	rooms      sync.RWMutex
	leavingAll atomic.Pointer[asker]
}

// sawLine tells what reached the application.
type sawLine struct {
	Saw        string  `json:"saw"`
	Connection int     `json:"connection"`
	Namespace  *string `json:"namespace,omitempty"`
	Room       *string `json:"room,omitempty"`
	Event      *string `json:"event,omitempty"`
	Error      bool    `json:"error,omitempty"`
	body
}

func newDriven(number int, out *lineWriter) *driven {
	return &driven{number: number, out: out, ended: make(chan struct{})}
}

// dial opens the connection. Only the upgrade of the library's Dial heeds ctx, so one that has not
// come back by then loses its connection, and the result is dropped if it comes after all.
func (c *driven) dial(ctx context.Context, dialer, url string, headers map[string]string) error {
	client, err := within(ctx, func() (*neffos.Client, error) {
		client, err := neffos.Dial(ctx, c.dialer(dialer, headers), url, c.application())
		if err == nil && ctx.Err() != nil {
			client.Close()
			return nil, ctx.Err()
		}
		return client, err
	})
	if err != nil {
		c.drop()
		return err
	}

	c.client = client
	go func() {
		<-client.NotifyClose
		c.out.write(sawLine{Saw: "closed", Connection: c.number})
		close(c.ended)
	}()
	return nil
}

func (c *driven) dialer(name string, headers map[string]string) neffos.Dialer {
	header := http.Header{}
	for key, value := range headers {
		header.Set(key, value)
	}
	open := dialers[name](header)
	return func(ctx context.Context, url string) (neffos.Socket, error) {
		socket, err := open(ctx, url)
		if err != nil {
			return nil, err
		}
		g := newGate(socket)
		c.gate.Store(g)
		return g, nil
	}
}

// drop closes the connection under the library, which may be stuck.
func (c *driven) drop() {
	if g := c.gate.Load(); g != nil {
		g.NetConn().Close()
	}
}

// unwanted is the namespace that the client does not let itself be connected to, and the room that
// it does not let itself be joined to.
const unwanted = "unwanted"

// refusing refuses what is unwanted; it learns of anything else afterwards.
func refusing(name string) error {
	if name == unwanted {
		return errors.New("not wanted")
	}
	return nil
}

// application is "The client's side" of the conformance application. One handler takes everything,
// so that nothing can reach a namespace unseen.
func (c *driven) application() neffos.Namespaces {
	events := func() neffos.Events { return neffos.Events{neffos.OnAnyEvent: c.handle} }
	all := neffos.Namespaces{}
	for _, name := range []string{"", "app", "any", "semi;colon", unwanted} {
		all[name] = events()
	}
	all[""][neffos.OnNativeMessage] = c.handleNative
	return all
}

func (c *driven) handle(ns *neffos.NSConn, msg neffos.Message) error {
	c.conn.Store(ns.Conn)

	switch msg.Event {
	case neffos.OnNamespaceConnect:
		return refusing(msg.Namespace)
	case neffos.OnRoomJoin:
		return refusing(msg.Room)
	case neffos.OnRoomLeave:
		return nil // it learns of this afterwards
	case neffos.OnNamespaceConnected:
		c.out.write(sawLine{Saw: "connected", Connection: c.number, Namespace: &msg.Namespace})
		return nil
	case neffos.OnNamespaceDisconnect:
		c.out.write(sawLine{Saw: "disconnected", Connection: c.number, Namespace: &msg.Namespace})
		return nil
	case neffos.OnRoomJoined:
		c.out.write(sawLine{Saw: "joined", Connection: c.number, Namespace: &msg.Namespace, Room: &msg.Room})
		return nil
	case neffos.OnRoomLeft:
		c.out.write(sawLine{Saw: "left", Connection: c.number, Namespace: &msg.Namespace, Room: &msg.Room})
		if msg.IsLocal && !msg.IsForced {
			c.leaveNext()
		}
		return nil
	}

	saw := sawLine{
		Saw: "event", Connection: c.number,
		Namespace: &msg.Namespace, Room: &msg.Room, Event: &msg.Event,
	}
	if msg.Err != nil {
		saw.Error = true
		saw.body = bodyOf([]byte(msg.Err.Error()), false)
	} else {
		saw.body = bodyOf(msg.Body, msg.SetBinary)
	}
	c.out.write(saw)

	switch msg.Event {
	case "echo", "question":
		return neffos.Reply(msg.Body)
	case "fail":
		return errors.New(string(msg.Body))
	case "relay":
		return c.relay(ns, msg)
	default:
		return nil
	}
}

func (c *driven) handleNative(ns *neffos.NSConn, msg neffos.Message) error {
	c.conn.Store(ns.Conn)
	c.out.write(sawLine{Saw: "native", Connection: c.number, body: bodyOf(msg.Body, msg.SetBinary)})
	return nil
}

// relay asks in the handler, which is what it is for: the library reads the next message there and
// takes it for the reply.
func (c *driven) relay(ns *neffos.NSConn, msg neffos.Message) error {
	ctx, cancel := context.WithTimeout(context.Background(), driverTimeout)
	defer cancel()

	g := c.gate.Load()
	g.nested.Store(true)
	defer g.nested.Store(false)
	reply, err := ns.Conn.Ask(ctx, neffos.Message{
		Namespace: msg.Namespace, Event: "echo", Body: msg.Body, SetBinary: msg.SetBinary,
	})
	if err != nil {
		return err
	}
	return neffos.Reply(reply.Body)
}

// namespace is nil where the namespace is not connected. Most of the library's methods bear that,
// and what they answer to it is theirs to say.
func (c *driven) namespace(op operation) *neffos.NSConn {
	conn := c.conn.Load()
	if conn == nil {
		return nil
	}
	return conn.Namespace(*op.Namespace)
}

func (c *driven) connect(ctx context.Context, op operation) (result, error) {
	return result{}, c.gate.Load().ask(ctx, func() error {
		_, err := c.client.Connect(ctx, *op.Namespace)
		return err
	})
}

func (c *driven) disconnect(ctx context.Context, op operation) (result, error) {
	return result{}, c.gate.Load().ask(ctx, func() error {
		return c.namespace(op).Disconnect(ctx)
	})
}

func (c *driven) join(ctx context.Context, op operation) (result, error) {
	c.rooms.RLock()
	defer c.rooms.RUnlock()
	return result{}, c.gate.Load().ask(ctx, func() error {
		_, err := c.namespace(op).JoinRoom(ctx, *op.Room)
		return err
	})
}

func (c *driven) leave(ctx context.Context, op operation) (result, error) {
	c.rooms.RLock()
	defer c.rooms.RUnlock()
	return result{}, c.gate.Load().ask(ctx, func() error {
		ns := c.namespace(op)
		if ns == nil {
			return neffos.ErrWrite // what joining is answered with
		}
		return leave(ctx, ns, *op.Room)
	})
}

// leaveAll asks once for each room, one after the other; between two of them it takes the gate's
// turn again, in leaveNext.
func (c *driven) leaveAll(ctx context.Context, op operation) (result, error) {
	c.rooms.Lock()
	defer c.rooms.Unlock()

	g := c.gate.Load()
	a := &asker{ctx: ctx}
	if err := g.take(a); err != nil {
		return result{}, err
	}
	c.leavingAll.Store(a)
	defer func() {
		c.leavingAll.Store(nil)
		g.leave(a)
	}()
	return result{}, c.namespace(op).LeaveAll(ctx)
}

// leaveNext is called between two rooms of a leave-all. Without the turn the next question would go
// out beside the handler of the last reply.
func (c *driven) leaveNext() {
	if a := c.leavingAll.Load(); a != nil {
		c.gate.Load().next(a)
	}
}

func (c *driven) emit(_ context.Context, op operation) (result, error) {
	return result{}, c.write(op.message())
}

func (c *driven) ask(ctx context.Context, op operation) (result, error) {
	if op.Room != nil {
		c.rooms.RLock()
		defer c.rooms.RUnlock()
	}
	var answer result
	err := c.gate.Load().ask(ctx, func() error {
		ns := c.namespace(op)
		if ns == nil {
			return neffos.ErrWrite // what the library gives for a namespace that was connected once
		}
		reply, err := ns.Conn.Ask(ctx, op.message())
		answer.body = bodyOf(reply.Body, reply.SetBinary)
		return err
	})
	return answer, err
}

func (c *driven) native(_ context.Context, op operation) (result, error) {
	msg := neffos.Message{IsNative: true}
	msg.Body, msg.SetBinary = op.data()
	return result{}, c.write(msg)
}

// write fails with the library's own word for it. All that the library tells is that it did not.
func (c *driven) write(msg neffos.Message) error {
	conn := c.conn.Load()
	if conn == nil || !conn.Write(msg) {
		return neffos.ErrWrite
	}
	return nil
}

// close answers when the end has been told.
func (c *driven) close(ctx context.Context, _ operation) (result, error) {
	c.client.Close()
	select {
	case <-c.ended:
		return result{}, nil
	case <-ctx.Done():
		return result{}, fmt.Errorf("the connection did not end: %w", ctx.Err())
	}
}

func (op operation) message() neffos.Message {
	msg := neffos.Message{Namespace: *op.Namespace, Event: *op.Event}
	msg.Body, msg.SetBinary = op.data()
	if op.Room != nil {
		msg.Room = *op.Room
	}
	return msg
}
