//go:build !untyped

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"unicode/utf8"

	"github.com/kataras/neffos"
)

// The possible lines of output, one type each so that each has exactly its own fields. What is
// unsupported is answered as by the driver.
type (
	codecReadyLine struct {
		Ready   bool   `json:"ready"`
		Codec   int    `json:"codec"`
		Peer    string `json:"peer"`
		Version string `json:"version"`
		Runtime string `json:"runtime"`
	}
	messageLine struct {
		ID      int     `json:"id"`
		Message decoded `json:"message"`
	}
	nativeLine struct {
		ID     int     `json:"id"`
		Native content `json:"native"`
	}
	payloadLine struct {
		ID      int     `json:"id"`
		Payload content `json:"payload"`
	}
	rejectLine struct {
		ID     int  `json:"id"`
		Reject bool `json:"reject"` // the library does not say why
	}
)

type (
	// decoded is a message that was read. The library takes the wait field apart as it reads.
	decoded struct {
		Wait      wait    `json:"wait"`
		Namespace content `json:"namespace"`
		Room      content `json:"room"`
		Event     content `json:"event"`
		IsError   bool    `json:"is_error"`
		IsNoOp    bool    `json:"is_no_op"`
		Body      content `json:"body"`
	}
	wait struct {
		Token        content `json:"token"`
		FromExchange bool    `json:"from_exchange"`
		Sender       content `json:"sender"`
	}
	// encodable is a message to be written. The pointers tell a missing field from an empty one.
	encodable struct {
		Wait      *content `json:"wait"`
		Namespace *content `json:"namespace"`
		Room      *content `json:"room"`
		Event     *content `json:"event"`
		IsError   *bool    `json:"is_error"`
		IsNoOp    *bool    `json:"is_no_op"`
		Body      *content `json:"body"`
	}
)

// content is text or, of a binary message, bytes. Text that is not UTF-8 travels as hexadecimal:
// a Go string may hold it, JSON may not.
type content struct {
	bytes  []byte
	binary bool
}

func text(value string) content { return content{bytes: []byte(value)} }

func (c content) MarshalJSON() ([]byte, error) {
	switch {
	case c.binary:
		return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(c.bytes)})
	case utf8.Valid(c.bytes):
		return json.Marshal(string(c.bytes))
	default:
		return json.Marshal(map[string]string{"hex": hex.EncodeToString(c.bytes)})
	}
}

func (c *content) UnmarshalJSON(data []byte) (err error) {
	if data[0] == '"' {
		var value string
		err = json.Unmarshal(data, &value)
		*c = text(value)
		return err
	}

	var value struct {
		Hex    *string `json:"hex"`
		Base64 *string `json:"base64"`
	}
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch {
	case value.Hex != nil && value.Base64 == nil:
		c.bytes, err = hex.DecodeString(*value.Hex)
	case value.Base64 != nil && value.Hex == nil:
		c.binary = true
		c.bytes, err = base64.StdEncoding.DecodeString(*value.Base64)
	default:
		err = errors.New("neither text, nor hex, nor base64")
	}
	return err
}

// serveCodec answers every line with a line. It knows no connection: whether a message makes sense
// at some moment is not asked here.
func serveCodec(stdin io.Reader, stdout io.Writer) error {
	in := bufio.NewReaderSize(stdin, 1<<16)
	out := bufio.NewWriterSize(stdout, 1<<16)
	answers := json.NewEncoder(out)

	who := currentProvenance()
	ready := codecReadyLine{true, 1, who.Peer, who.Version, runtime.Version()}
	if err := errors.Join(answers.Encode(ready), out.Flush()); err != nil {
		return err
	}

	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return errors.Join(err, out.Flush())
		}
		if len(line) > 0 {
			if err := answers.Encode(answerTo(line)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return out.Flush()
		}

		// Flush before the next read can block, and only then: whoever sends a line and waits has
		// its answer at once, whoever sends thousands pays for few writes.
		waiting, _ := in.Peek(in.Buffered())
		if bytes.IndexByte(waiting, '\n') < 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// fields are those of a request, by their names.
type fields map[string]json.RawMessage

// read puts a field into a value. A field that is missing is an error.
func (f fields) read(name string, into any) error {
	raw, there := f[name]
	if !there || string(raw) == "null" {
		return fmt.Errorf("%s is missing", name)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// choice gives the value of a field that has one of a few, the first of them where it is absent.
// Another value is nothing that this adapter has.
func (f fields) choice(name string, values ...string) (string, error) {
	if _, there := f[name]; !there {
		return values[0], nil
	}
	var value string
	if err := f.read(name, &value); err != nil {
		return "", err
	}
	if !slices.Contains(values, value) {
		return "", errUnsupported
	}
	return value, nil
}

// knowOnly is for a request with a field that nobody here reads: it must not be taken for done.
func (f fields) knowOnly(names ...string) error {
	for name := range f {
		if name != "id" && name != "op" && !slices.Contains(names, name) {
			return errUnsupported
		}
	}
	return nil
}

// answerTo never fails: what is wrong with a line is the answer to it.
func answerTo(line []byte) any {
	var (
		request fields
		id      int
		op      string
	)
	if err := json.Unmarshal(line, &request); err != nil {
		return errorLine{nil, err.Error()}
	}
	if err := request.read("id", &id); err != nil {
		return errorLine{nil, err.Error()}
	}
	if err := request.read("op", &op); err != nil {
		return errorLine{&id, err.Error()}
	}

	answer, err := any(nil), errUnsupported
	switch op {
	case "decode":
		answer, err = decode(id, request)
	case "encode":
		answer, err = encode(id, request)
	}
	switch {
	case err == nil:
		return answer
	case errors.Is(err, errUnsupported):
		return unsupportedLine{id, true}
	default:
		return errorLine{&id, err.Error()}
	}
}

func decode(id int, request fields) (any, error) {
	if err := request.knowOnly("payload", "reading", "native"); err != nil {
		return nil, err
	}
	if _, err := request.choice("reading", "lenient"); err != nil {
		return nil, err
	}
	native, err := request.choice("native", "never", "fallback", "only")
	if err != nil {
		return nil, err
	}
	var payload content
	if err := request.read("payload", &payload); err != nil {
		return nil, err
	}

	var kind neffos.MessageType = neffos.TextMessage
	if payload.binary {
		kind = neffos.BinaryMessage
	}
	msg := neffos.DeserializeMessage(kind, payload.bytes, native != "never", native == "only")
	hidden := reveal(&msg)
	if hidden.isInvalid {
		return rejectLine{id, true}, nil
	}

	body := content{msg.Body, msg.SetBinary}
	// A frame can have the event of native messages, and is no native message for it.
	if msg.IsNative && bytes.Equal(msg.Body, payload.bytes) {
		return nativeLine{id, body}, nil
	}
	if msg.Err != nil {
		body.bytes = []byte(msg.Err.Error())
	}
	return messageLine{id, decoded{
		Wait:      wait{text(hidden.wait), msg.FromStackExchange, text(msg.FromExplicit)},
		Namespace: text(msg.Namespace),
		Room:      text(msg.Room),
		Event:     text(msg.Event),
		IsError:   msg.Err != nil,
		IsNoOp:    hidden.isNoOp,
		Body:      body,
	}}, nil
}

func encode(id int, request fields) (any, error) {
	if err := request.knowOnly("message", "native"); err != nil {
		return nil, err
	}
	if _, err := request.choice("native", "never"); err != nil {
		return nil, err
	}
	var given encodable
	if err := request.read("message", &given); err != nil {
		return nil, err
	}
	if given.Wait == nil || given.Namespace == nil || given.Room == nil || given.Event == nil ||
		given.IsError == nil || given.IsNoOp == nil || given.Body == nil {
		return nil, errors.New("message: all seven fields are needed")
	}
	// The library makes these two itself and lets nobody set them.
	if len(given.Wait.bytes) > 0 || *given.IsNoOp {
		return nil, errUnsupported
	}

	msg := neffos.Message{
		Namespace: string(given.Namespace.bytes),
		Room:      string(given.Room.bytes),
		Event:     string(given.Event.bytes),
		Body:      given.Body.bytes,
		SetBinary: given.Body.binary,
	}
	if *given.IsError {
		msg.Err = errors.New(string(given.Body.bytes))
	}
	return payloadLine{id, content{msg.Serialize(), msg.SetBinary}}, nil
}
