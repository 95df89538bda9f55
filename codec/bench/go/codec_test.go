// Package bench measures the codec of the Go package. The frames come as JSON on standard
// input, the times leave as the lines of `go test -bench`.
package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kataras/neffos"
)

var request struct {
	Fill   string
	Frames []struct {
		Key    string
		Head   string
		Size   int
		Binary bool
	}
}

func TestMain(m *testing.M) {
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, "no request on standard input:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func BenchmarkCodec(b *testing.B) {
	for _, frame := range request.Frames {
		fill := strings.Repeat(request.Fill, frame.Size/len(request.Fill)+1)
		payload := []byte(frame.Head + fill[:frame.Size-len(frame.Head)])
		kind := neffos.MessageType(neffos.TextMessage)
		if frame.Binary {
			kind = neffos.BinaryMessage
		}
		// Only the decoder can fill the token of an ask, so the message to encode is a decoded one.
		message := neffos.DeserializeMessage(kind, payload, false, false)
		if !bytes.Equal(message.Serialize(), payload) {
			b.Fatal("the payload does not survive decoding and encoding")
		}
		b.Run(frame.Key+"/decode", func(b *testing.B) {
			for b.Loop() {
				neffos.DeserializeMessage(kind, payload, false, false)
			}
		})
		b.Run(frame.Key+"/encode", func(b *testing.B) {
			for b.Loop() {
				message.Serialize()
			}
		})
	}
}
