package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// driverTimeout is the deadline of an operation that names none.
const driverTimeout = 10 * time.Second

// maxSeconds is more than anyone waits, and less than a Duration can hold.
const maxSeconds = 1e9

// driver makes the library's client do what the lines of its input say. It reads and writes lines;
// what an operation is to the client is not known here, see driven.go.
type driver struct {
	dialer string
	out    *lineWriter

	mu     sync.Mutex
	driven map[int]*driven // by number, once they are dialed
}

// operation is one line of input. The pointers tell a missing field from an empty one.
type operation struct {
	ID      *int     `json:"id"`
	Op      string   `json:"op"`
	Timeout *float64 `json:"timeout"` // seconds

	URL       *string           `json:"url"`
	Headers   map[string]string `json:"headers"`
	Reconnect bool              `json:"reconnect"`

	Connection *int    `json:"connection"`
	Namespace  *string `json:"namespace"`
	Room       *string `json:"room"`
	Event      *string `json:"event"`
	body
}

// body is of a text message or, in base64, of a binary one.
type body struct {
	Text   *string `json:"text,omitempty"`
	Base64 *[]byte `json:"base64,omitempty"`
}

// bodyOf writes a body down. Text that is not UTF-8 suffers: JSON cannot hold it.
func bodyOf(data []byte, binary bool) body {
	if binary {
		data = append([]byte{}, data...) // nil would be written as null
		return body{Base64: &data}
	}
	text := string(data)
	return body{Text: &text}
}

func (b body) data() (data []byte, binary bool) {
	if b.Base64 != nil {
		return *b.Base64, true
	}
	return []byte(*b.Text), false
}

// The possible lines of output, one type each so that each has exactly its own fields.
type (
	readyLine struct {
		Ready   bool   `json:"ready"`
		Driver  int    `json:"driver"`
		Peer    string `json:"peer"`
		Version string `json:"version"`
		Runtime string `json:"runtime"`
	}
	resultLine struct {
		ID     int    `json:"id"`
		Result result `json:"result"`
	}
	errorLine struct {
		ID    *int   `json:"id"` // null where none could be read
		Error string `json:"error"`
	}
	unsupportedLine struct {
		ID          int  `json:"id"`
		Unsupported bool `json:"unsupported"`
	}
)

// result is what came of an operation.
type result struct {
	Connection   int     `json:"connection,omitempty"`
	ConnectionID *string `json:"connection_id,omitempty"`
	body
}

// errUnsupported is what an operation fails with that this client has nothing for.
var errUnsupported = errors.New("unsupported")

// operations are what the driver knows, and the fields that each needs.
var operations = map[string]struct {
	needs []string
	run   func(*driven, context.Context, operation) (result, error)
}{
	"connect":    {[]string{"connection", "namespace"}, (*driven).connect},
	"disconnect": {[]string{"connection", "namespace"}, (*driven).disconnect},
	"join":       {[]string{"connection", "namespace", "room"}, (*driven).join},
	"leave":      {[]string{"connection", "namespace", "room"}, (*driven).leave},
	"leave-all":  {[]string{"connection", "namespace"}, (*driven).leaveAll},
	"emit":       {[]string{"connection", "namespace", "event", "text or base64"}, (*driven).emit},
	"ask":        {[]string{"connection", "namespace", "event", "text or base64"}, (*driven).ask},
	"native":     {[]string{"connection", "text or base64"}, (*driven).native},
	"close":      {[]string{"connection"}, (*driven).close},
	"dial":       {needs: []string{"url"}}, // makes what the others are given
}

// has tells whether a field came with the operation.
func (op operation) has(field string) bool {
	switch field {
	case "url":
		return op.URL != nil
	case "connection":
		return op.Connection != nil
	case "namespace":
		return op.Namespace != nil
	case "room":
		return op.Room != nil
	case "event":
		return op.Event != nil
	default:
		return (op.Text != nil) != (op.Base64 != nil) // one of them
	}
}

func (op operation) timeout() time.Duration {
	if op.Timeout == nil {
		return driverTimeout
	}
	return time.Duration(min(*op.Timeout, maxSeconds) * float64(time.Second))
}

// drive answers every line of stdin, until stdin or ctx ends. What is not answered by then has no
// one left to be answered to.
func drive(ctx context.Context, dialer string, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	d := &driver{dialer: dialer, out: newLineWriter(stdout), driven: map[int]*driven{}}
	defer d.abandon()
	here := currentProvenance()
	d.out.write(readyLine{
		Ready: true, Driver: 1, Peer: here.Peer, Version: here.Version,
		Runtime: runtime.Version() + ", " + dialer,
	})

	read := make(chan error, 1)
	go func() { read <- d.readLines(ctx, stdin) }()
	select {
	case err := <-read:
		return err
	case <-d.out.broken:
		return d.out.err
	case <-ctx.Done():
		return nil
	}
}

// readLines starts an operation with every line. A line without its end is one too.
func (d *driver) readLines(ctx context.Context, stdin io.Reader) error {
	in := bufio.NewReader(stdin)
	dialed := 0
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			op, run := d.parse(line)
			if run && op.Op == "dial" {
				dialed++
			}
			if run {
				go d.run(ctx, op, dialed)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// parse reads an operation, or answers what is none.
func (d *driver) parse(line []byte) (op operation, ok bool) {
	// Of an operation that it does not know, the driver does not know the fields either.
	var head struct {
		ID *int   `json:"id"`
		Op string `json:"op"`
	}
	err := json.Unmarshal(line, &head)
	if head.ID != nil && *head.ID < 1 {
		head.ID = nil
	}
	switch {
	case err == nil && head.ID == nil:
		err = errors.New("an operation has an id, a number from 1 on")
	case err == nil && head.Op == "":
		err = errors.New("an operation has an op")
	}
	if err != nil {
		d.out.write(errorLine{head.ID, err.Error()})
		return op, false
	}

	known, found := operations[head.Op]
	if !found {
		d.out.write(unsupportedLine{*head.ID, true})
		return op, false
	}
	fields := json.NewDecoder(bytes.NewReader(line))
	fields.DisallowUnknownFields() // a misspelt field must not read as one that is missing
	if err := fields.Decode(&op); err != nil {
		d.out.write(errorLine{head.ID, err.Error()})
		return op, false
	}
	for _, field := range known.needs {
		if !op.has(field) {
			d.out.write(errorLine{head.ID, fmt.Sprintf("%s needs %s", op.Op, field)})
			return op, false
		}
	}
	return op, true
}

// run does an operation and answers it. number is the connection's, if it dials one.
func (d *driver) run(ctx context.Context, op operation, number int) {
	ctx, cancel := context.WithTimeout(ctx, op.timeout())
	defer cancel()

	var done result
	var err error
	if op.Op == "dial" {
		done, err = d.dial(ctx, op, number)
	} else if c := d.find(*op.Connection); c != nil {
		done, err = within(ctx, func() (result, error) { return operations[op.Op].run(c, ctx, op) })
	} else {
		err = fmt.Errorf("there is no connection %d", *op.Connection)
	}

	switch {
	case err == errUnsupported:
		d.out.write(unsupportedLine{*op.ID, true})
	case err != nil:
		d.out.write(errorLine{op.ID, err.Error()})
	default:
		d.out.write(resultLine{*op.ID, done})
	}
}

func (d *driver) dial(ctx context.Context, op operation, number int) (result, error) {
	if op.Reconnect {
		return result{}, errUnsupported // the library's client stays closed
	}
	c := newDriven(number, d.out)
	if err := c.dial(ctx, d.dialer, *op.URL, op.Headers); err != nil {
		return result{}, err
	}
	d.mu.Lock()
	d.driven[number] = c
	d.mu.Unlock()
	return result{Connection: number, ConnectionID: &c.client.ID}, nil
}

func (d *driver) find(number int) *driven {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.driven[number]
}

// abandon writes no more and drops the connections, without waiting for anyone.
func (d *driver) abandon() {
	d.out.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.driven {
		c.drop()
	}
}

// lastWords is how long a call may take to say why it failed, once its time has run out.
const lastWords = 100 * time.Millisecond

// within waits for a call as long as ctx lasts: not everything in the library heeds it. What does
// gets to give its own error.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	outcomes := make(chan outcome, 1)
	go func() {
		value, err := call()
		outcomes <- outcome{value, err}
	}()

	select {
	case o := <-outcomes:
		return o.value, o.err
	case <-ctx.Done():
	}
	last := time.NewTimer(lastWords)
	defer last.Stop()
	select {
	case o := <-outcomes:
		return o.value, o.err
	case <-last.C:
		var none T
		return none, ctx.Err()
	}
}

// lineWriter writes whole lines, in the order in which they are given to it.
type lineWriter struct {
	mu      sync.Mutex
	lines   *json.Encoder
	stopped bool
	err     error
	broken  chan struct{} // closed when err is there
}

func newLineWriter(w io.Writer) *lineWriter {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	return &lineWriter{lines: lines, broken: make(chan struct{})}
}

func (w *lineWriter) write(line any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return
	}
	if err := w.lines.Encode(line); err != nil {
		w.err = err
		w.stopped = true
		close(w.broken)
	}
}

func (w *lineWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}
