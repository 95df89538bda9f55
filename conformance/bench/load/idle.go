package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gobwas/ws"
)

// settle is how long memory is left alone before it is read: what the burst of opening needed only
// for a moment is freed by then, as far as the server frees it.
const settle = time.Second

// rested is the result of idle.
type rested struct {
	Measure     string `json:"measure"`
	Connections int    `json:"connections"`
	// Resident memory of the server, in bytes.
	Before int `json:"before"`
	After  int `json:"after"`
	// PerConnection is the difference, divided.
	PerConnection float64 `json:"per_connection"`
}

// idle holds connections with the namespace connected and reads how much memory the server has for
// them. Afterwards each has to answer: what has been dropped meanwhile would cost nothing.
func idle(url string, connections, pid int) (*rested, error) {
	pulse := newPulse()

	// The first connection loads what is loaded once.
	first, err := enter(url, pulse)
	if err != nil {
		return nil, err
	}
	if err := first.leave(); err != nil {
		return nil, err
	}

	time.Sleep(settle)
	before, err := resident(pid)
	if err != nil {
		return nil, err
	}
	all, err := enterAll(url, connections, pulse)
	if err != nil {
		return nil, err
	}
	defer all.close()
	time.Sleep(settle)
	after, err := resident(pid)
	if err != nil {
		return nil, err
	}

	pulse.beat() // the silence so far was ours
	err = each(connections, openers, func(i int) error { return all[i].alive(i) })
	if err != nil {
		return nil, err
	}
	if err := all.leave(); err != nil {
		return nil, err
	}
	return &rested{"idle", connections, before, after, float64(after-before) / float64(connections)}, nil
}

// alive asks for one echo.
func (c *conn) alive(number int) error {
	if err := c.send(ws.OpText, appendEcho(nil, number, 0)); err != nil {
		return err
	}
	message, err := c.receive()
	if err != nil {
		return fmt.Errorf("an idle connection is dead: %w", err)
	}
	if !bytes.Equal(message, appendEcho(nil, number, 0)) {
		return unexpected(message)
	}
	return nil
}
