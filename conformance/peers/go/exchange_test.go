package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestServeWithoutTheExchange(t *testing.T) {
	for _, address := range []string{"redis://127.0.0.1:1", "nats://127.0.0.1:1"} {
		t.Run(address, func(t *testing.T) {
			args := []string{"serve", "-exchange", address}
			err := run(context.Background(), args, strings.NewReader(""), io.Discard, io.Discard)
			if err == nil || errors.Is(err, errUsage) || !strings.Contains(err.Error(), "no exchange at "+address) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
