package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/gobwas/ws"
)

const (
	// silence is how long nothing may arrive, on any connection, until what is missing is given up.
	// A server on the same machine sends within milliseconds; pauses of a garbage collector or of
	// a busy machine's scheduler take less than a second.
	silence = 3 * time.Second

	// buffered is the size of a connection's buffers: a whole pipeline of asks, a hundred of them
	// with a hundred bytes each, leaves in one write.
	buffered = 16 << 10

	// maxMessage is the most that is read of a message. Nothing that the application is asked for
	// comes near it; a larger length is a broken frame, and is not to be allocated.
	maxMessage = 64 << 10

	// shown is how much of a wrong message is quoted.
	shown = 200
)

var (
	errSilence = fmt.Errorf("nothing came for %v", silence)
	errClosed  = errors.New("the server closed the connection")
)

// conn is one client's connection. It is for one goroutine.
//
// What it sends is buffered until it would block in reading, as pipelining clients do: asks that
// can leave together take one system call.
type conn struct {
	raw     net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	payload []byte // of the last message received, used again for the next
	scratch []byte // of the message that is made, used again for the next
}

// dial opens a WebSocket connection. Arrivals on it are reported to pulse.
func dial(url string, pulse *pulse) (*conn, error) {
	dialer := ws.Dialer{Timeout: silence}
	raw, early, _, err := dialer.Dial(context.Background(), url)
	if err != nil {
		return nil, fmt.Errorf("no connection: %w", err)
	}
	if early != nil {
		raw.Close()
		return nil, errors.New("the server spoke before it was spoken to")
	}
	out := bufio.NewWriterSize(sink{raw}, buffered)
	in := bufio.NewReaderSize(source{raw, out, pulse}, buffered)
	return &conn{raw: raw, in: in, out: out}, nil
}

// open returns a connection after its handshake.
func open(url string, pulse *pulse) (*conn, error) {
	c, err := dial(url, pulse)
	if err != nil {
		return nil, err
	}
	answer, err := c.exchange("M")
	if err == nil && answer[0] != 'A' {
		err = fmt.Errorf("M was answered with %.*q", shown, answer)
	}
	if err != nil {
		c.raw.Close()
		return nil, fmt.Errorf("no handshake: %w", err)
	}
	return c, nil
}

// enter gives a connection that has the application's namespace connected.
func enter(url string, pulse *pulse) (*conn, error) {
	c, err := open(url, pulse)
	if err != nil {
		return nil, err
	}
	answer, err := c.exchange("$1;app;;_OnNamespaceConnect;0;0;")
	if err == nil && string(answer) != "$1;;;;;;" {
		err = fmt.Errorf("it was answered with %.*q", shown, answer)
	}
	if err != nil {
		c.raw.Close()
		return nil, fmt.Errorf("namespace app was not connected: %w", err)
	}
	return c, nil
}

// enterAll gives n connections as enter does. They are opened in rounds, and all that are open answer
// between these, so that no server's heartbeat misses a reply while others are still being opened.
func enterAll(url string, n int, pulse *pulse) (conns, error) {
	all := make(conns, n)
	for begin := 0; begin < n; begin += round {
		err := each(min(round, n-begin), openers, func(i int) (err error) {
			all[begin+i], err = enter(url, pulse)
			return err
		})
		if err == nil && begin > 0 {
			err = each(begin, openers, func(i int) error { return all[i].alive(i) })
		}
		if err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

// round is how many connections are opened before all answer: so few that a server opens them well
// within the twenty seconds that the shortest heartbeat here waits, on a busy machine too.
const round = 1000

// openers is how many connections are opened at a time where their opening is not what is measured:
// enough to keep a server busy, and fewer than any listener's queue is long.
const openers = 16

type conns []*conn

// leave ends them in order, after a measurement: what the server does at a connection's end must not
// disturb what is measured next.
func (all conns) leave() error {
	return each(len(all), openers, func(i int) error { return all[i].leave() })
}

// close ends without a word what has not ended yet, after a failure.
func (all conns) close() {
	for _, c := range all {
		if c != nil {
			c.raw.Close()
		}
	}
}

// exchange sends one message and gives the next that comes, which is never empty.
func (c *conn) exchange(message string) ([]byte, error) {
	c.scratch = append(c.scratch[:0], message...)
	if err := c.send(ws.OpText, c.scratch); err != nil {
		return nil, err
	}
	return c.receive()
}

// send buffers a frame. The payload is masked in place, so the caller must not use it again.
func (c *conn) send(kind ws.OpCode, payload []byte) error {
	return ws.WriteFrame(c.out, ws.MaskFrameInPlace(ws.NewFrame(kind, true, payload)))
}

// receive gives the next text message, valid until the next call. Pings are answered on the way,
// and empty messages, which mean nothing, are passed over.
func (c *conn) receive() ([]byte, error) {
	c.payload = c.payload[:0]
	state := ws.StateClientSide
	for {
		header, err := ws.ReadHeader(c.in)
		if errors.Is(err, io.EOF) {
			return nil, errClosed
		}
		if err != nil {
			return nil, err
		}
		if err := ws.CheckHeader(header, state); err != nil {
			return nil, err
		}
		start := len(c.payload)
		if header.Length > int64(maxMessage-start) {
			return nil, fmt.Errorf("a message of %d bytes", int64(start)+header.Length)
		}
		c.payload = append(c.payload, make([]byte, header.Length)...)
		if _, err := io.ReadFull(c.in, c.payload[start:]); err != nil {
			return nil, err
		}
		switch header.OpCode {
		case ws.OpPing:
			if err := c.send(ws.OpPong, c.payload[start:]); err != nil {
				return nil, err
			}
			c.payload = c.payload[:start]
		case ws.OpPong:
			c.payload = c.payload[:start]
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(c.payload[start:])
			return nil, fmt.Errorf("%w: %d %q", errClosed, code, reason)
		case ws.OpBinary:
			return nil, errors.New("a binary message, where only text was sent")
		default:
			if !header.Fin {
				state = state.Set(ws.StateFragmented)
				continue
			}
			state = state.Clear(ws.StateFragmented)
			if len(c.payload) > 0 {
				return c.payload, nil
			}
		}
	}
}

// leave closes the connection in order and returns when the server has ended it too: what a server
// does at a connection's end is part of what a connection costs.
func (c *conn) leave() error {
	defer c.raw.Close()
	if err := c.send(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")); err != nil {
		return err
	}
	// With a close frame of its own or without, by an orderly end or a reset: all of it is an end.
	if _, err := io.Copy(io.Discard, c.in); errors.Is(err, errSilence) {
		return fmt.Errorf("a close frame did not end the connection: %w", err)
	}
	return nil
}

// source reads from the network; before it waits, what is buffered leaves.
type source struct {
	raw   net.Conn
	out   *bufio.Writer
	pulse *pulse
}

func (s source) Read(p []byte) (int, error) {
	if err := s.out.Flush(); err != nil {
		return 0, err
	}
	for {
		if err := s.raw.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return 0, err
		}
		n, err := s.raw.Read(p)
		if n > 0 {
			s.pulse.beat()
			return n, err
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// Others may be served first; only when nobody is, nothing more will come.
		if s.pulse.silent() {
			return 0, errSilence
		}
	}
}

// sink writes to the network, with a deadline each time: bufio writes on its own when it is full.
type sink struct{ raw net.Conn }

func (s sink) Write(p []byte) (int, error) {
	if err := s.raw.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	n, err := s.raw.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("the server read nothing for %v", silence)
	}
	return n, err
}
