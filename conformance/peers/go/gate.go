package main

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kataras/neffos"
)

// A gate is a socket that lets either its connection handle a message or somebody else ask the other
// side: begin to, or make something of the reply. Never both at once.
//
// The library needs it. Conn.Ask, and Connect, JoinRoom and the others that are made of it, look at
// a flag of the connection to find out whether they were called inside a handler. Inside one they
// read the socket themselves and take the very next message for the reply, whatever its token. From
// another goroutine that flag is a matter of luck: it says whether some handler runs just now. Who
// has the gate's turn knows that none does.
//
// And what follows from a reply, say that a room is joined now, follows in the goroutine that asked.
// A message behind the reply may overtake that, so it waits here.
//
// The gate also holds back the first message of a connection, which is the handshake's, for a
// moment. On either side the library looks whether it may go on and only then begins to wait until
// it may; what comes in between is missed, and the handshake hangs indefinitely. Without the gate that
// is one connection of some ten thousand, and under the race detector one of some hundreds.
//
// What travels is the library's own, byte by byte. Only the moment is chosen.
type gate struct {
	neffos.Socket
	request *http.Request

	begun    atomic.Bool   // the first message has been read
	turn     chan struct{} // full while somebody has the turn
	handling atomic.Bool   // the reader has it
	asker    atomic.Pointer[asker]

	mu       sync.Mutex
	asking   map[string]question // by token, until their reply comes
	answered question            // the reader's own: what it has just brought the reply to

	// nested is set while a handler asks by itself. That reads the socket, but it is not the reader
	// coming back from its handler.
	nested atomic.Bool

	// accepted is closed when the connection has been accepted, by a server or to a client.
	accepted   chan struct{}
	acceptance atomic.Bool
}

// unhurried is how long the first message is held back: long beside the few instructions between
// looking and waiting, and beside OnConnect here.
const unhurried = 2 * time.Millisecond

// asker is somebody who asks from outside a handler, for as long as ctx lasts.
type asker struct {
	ctx      context.Context
	question question
}

// question is one that an asker has put.
type question struct {
	token   string
	settled chan struct{} // closed when the asker is through with the reply
	over    <-chan struct{}
}

func newGate(socket neffos.Socket) *gate {
	return &gate{
		Socket:   socket,
		request:  socket.Request(),
		turn:     make(chan struct{}, 1),
		asking:   map[string]question{},
		accepted: make(chan struct{}),
	}
}

// gateKey is where the request of a server's connection keeps the gate. The request is the one
// thing that comes through when somebody else wraps the socket once more, as Iris does.
type gateKey struct{}

// gated puts a gate before each connection that upgrade makes.
func gated(upgrade neffos.Upgrader) neffos.Upgrader {
	return func(w http.ResponseWriter, r *http.Request) (neffos.Socket, error) {
		socket, err := upgrade(w, r)
		if err != nil {
			return nil, err
		}
		g := newGate(socket)
		g.request = r.WithContext(context.WithValue(r.Context(), gateKey{}, g))
		return g, nil
	}
}

// gateOf returns the gate of a connection to a server made with gated.
func gateOf(c *neffos.Conn) *gate {
	return c.Socket().Request().Context().Value(gateKey{}).(*gate)
}

// ask runs a call of the library that asks the other side once. It must not be used in a handler,
// which has the turn itself.
func (g *gate) ask(ctx context.Context, call func() error) error {
	a := &asker{ctx: ctx}
	if err := g.take(a); err != nil {
		return err
	}
	defer g.leave(a)
	return call()
}

// take waits for the turn, in which a may ask one question.
func (g *gate) take(a *asker) error {
	select {
	case g.turn <- struct{}{}:
		a.question = question{settled: make(chan struct{}), over: a.ctx.Done()}
		g.asker.Store(a)
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// next is for an asker that asks once more.
func (g *gate) next(a *asker) error {
	g.leave(a)
	return g.take(a)
}

// leave ends what take began, whether or not a question was asked.
func (g *gate) leave(a *asker) {
	g.pass(a)
	if a.question.settled == nil {
		return // it had no turn
	}
	g.mu.Lock()
	delete(g.asking, a.question.token)
	g.mu.Unlock()
	close(a.question.settled)
	a.question = question{}
}

// pass gives the turn away, if a still has it.
func (g *gate) pass(a *asker) {
	if g.asker.CompareAndSwap(a, nil) {
		<-g.turn
	}
}

// Request is on a client what the library has there, which is nothing.
func (g *gate) Request() *http.Request { return g.request }

// back is where a handler ends: the reader calls it before it reads on.
func (g *gate) back() {
	if g.handling.CompareAndSwap(true, false) {
		<-g.turn
	}
}

// came is where a handler begins: it takes the turn for a message that the reader has.
func (g *gate) came(data []byte) {
	if g.begun.CompareAndSwap(false, true) {
		time.Sleep(unhurried)
	}
	if g.answered.settled != nil {
		select {
		case <-g.answered.settled:
		case <-g.answered.over:
		}
	}
	g.turn <- struct{}{}
	g.handling.Store(true)
	g.answered = g.answers(data)
}

func (g *gate) WriteText(body []byte, timeout time.Duration) error {
	g.asked(body)
	err := g.Socket.WriteText(body, timeout)
	// The acceptance is the only text of a server that begins like this, but for the reply to a
	// token of that letter in a frame sent ahead of the handshake.
	if err == nil && len(body) > 0 && body[0] == 'A' && g.acceptance.CompareAndSwap(false, true) {
		close(g.accepted)
	}
	return err
}

func (g *gate) WriteBinary(body []byte, timeout time.Duration) error {
	g.asked(body)
	return g.Socket.WriteBinary(body, timeout)
}

// asked passes the asker's turn when its question goes out: the flag was looked at, the library
// listens, and the reply has to find the reader. What others write meanwhile has no token, as only
// askers and handlers write such, and no handler runs.
func (g *gate) asked(payload []byte) {
	a := g.asker.Load()
	token, _, _ := bytes.Cut(payload, separator)
	if a == nil || len(token) == 0 {
		return
	}
	a.question.token = string(token)
	g.mu.Lock()
	g.asking[a.question.token] = a.question
	g.mu.Unlock()
	g.pass(a)
}

// answers finds the question that a message is the reply to.
func (g *gate) answers(payload []byte) question {
	token, _, _ := bytes.Cut(payload, separator)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asking[string(token)]
}

// separator is what ends the token of a frame.
var separator = []byte(";")
