package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/kataras/neffos"
)

// request is one line of input. The pointers tell a missing field from an empty one: a misspelt
// name must not read as an empty payload.
type request struct {
	Op string `json:"op"`

	// decode
	Kind        string  `json:"kind"`
	Payload     *octets `json:"payload_hex"`
	AllowNative bool    `json:"allow_native"`
	OnlyNative  bool    `json:"only_native"`

	// encode
	Namespace *octets `json:"namespace"`
	Room      *octets `json:"room"`
	Event     *octets `json:"event"`
	Body      *octets `json:"body"`
	Error     *octets `json:"error"`
	Binary    bool    `json:"binary"`
}

// The possible answers, one type each so that each has exactly its own fields.
type (
	decoded struct {
		Wait              octets  `json:"wait"`
		Namespace         octets  `json:"namespace"`
		Room              octets  `json:"room"`
		Event             octets  `json:"event"`
		Body              octets  `json:"body"`
		Error             *octets `json:"error"`
		IsNoOp            bool    `json:"is_no_op"`
		FromExplicit      octets  `json:"from_explicit"`
		FromStackExchange bool    `json:"from_stack_exchange"`
		IsNative          bool    `json:"is_native"`
		Binary            bool    `json:"binary"`
	}
	invalid struct {
		Invalid bool `json:"invalid"`
	}
	encoded struct {
		Payload octets `json:"payload"`
	}
	unsupported struct {
		Op string `json:"unsupported"`
	}
	failure struct {
		Text string `json:"error"`
	}
)

// octets travel as hexadecimal: a Go string or a frame need not be UTF-8, JSON must be.
type octets []byte

func (o octets) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, o), nil
}

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.AppendDecode([]byte{}, text)
	return err
}

// serveCodec answers every line with a line. It knows no connection: whether a message makes sense
// at some moment is not asked here.
func serveCodec(stdin io.Reader, stdout io.Writer) error {
	in := bufio.NewReaderSize(stdin, 1<<16)
	out := bufio.NewWriterSize(stdout, 1<<16)
	answers := json.NewEncoder(out)

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

// answerTo never fails: what is wrong with a line is the answer to it.
func answerTo(line []byte) any {
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		return failure{err.Error()}
	}

	switch req.Op {
	case "decode":
		return decode(req)
	case "encode":
		return encode(req)
	default:
		return unsupported{req.Op}
	}
}

func decode(req request) any {
	if req.Payload == nil {
		return failure{"decode: payload_hex is missing"}
	}
	kind, err := messageType(req.Kind)
	if err != nil {
		return failure{err.Error()}
	}

	msg := neffos.DeserializeMessage(kind, *req.Payload, req.AllowNative, req.OnlyNative)
	hidden := reveal(&msg)
	if hidden.isInvalid {
		return invalid{true}
	}

	answer := decoded{
		Wait:              octets(hidden.wait),
		Namespace:         octets(msg.Namespace),
		Room:              octets(msg.Room),
		Event:             octets(msg.Event),
		Body:              msg.Body,
		IsNoOp:            hidden.isNoOp,
		FromExplicit:      octets(msg.FromExplicit),
		FromStackExchange: msg.FromStackExchange,
		IsNative:          msg.IsNative,
		Binary:            msg.SetBinary,
	}
	if msg.Err != nil {
		text := octets(msg.Err.Error())
		answer.Error = &text
	}
	return answer
}

func encode(req request) any {
	if req.Namespace == nil || req.Room == nil || req.Event == nil || req.Body == nil {
		return failure{"encode: namespace, room, event and body are all needed"}
	}

	msg := neffos.Message{
		Namespace: string(*req.Namespace),
		Room:      string(*req.Room),
		Event:     string(*req.Event),
		Body:      *req.Body,
		SetBinary: req.Binary,
	}
	if req.Error != nil {
		msg.Err = errors.New(string(*req.Error))
	}
	return encoded{msg.Serialize()}
}

func messageType(kind string) (neffos.MessageType, error) {
	switch kind {
	case "text":
		return neffos.TextMessage, nil
	case "binary":
		return neffos.BinaryMessage, nil
	default:
		return 0, fmt.Errorf("decode: kind is %q, neither text nor binary", kind)
	}
}
