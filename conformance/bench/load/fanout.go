package main

import (
	"bytes"
	"fmt"

	"github.com/gobwas/ws"
)

// outstanding is how many broadcasts are asked for at a time: enough that a server need not wait for
// the next, and few, since a server may hold each of them for every connection.
const outstanding = 4

// fannedOut is the result of fanout.
type fannedOut struct {
	Measure     string `json:"measure"`
	Connections int    `json:"connections"`
	Broadcasts  int    `json:"broadcasts"`
	Deliveries  int    `json:"deliveries"`
	pace
	tally
}

// fanout has one connection ask for broadcasts, and all others check what they receive. With from, the
// one is at that server, with as many others there: both servers share their clients.
func fanout(url, from string, connections, broadcasts, server int) (*fannedOut, error) {
	pulse := newPulse()
	var all conns
	defer func() { all.close() }()
	enterMore := func(url string, n int) error {
		more, err := enterAll(url, n, pulse)
		all = append(all, more...)
		return err
	}
	if from == "" {
		from = url
	} else if err := enterMore(from, connections); err != nil {
		return nil, err
	}
	if err := enterMore(url, connections); err != nil {
		return nil, err
	}
	connections = len(all)
	if err := enterMore(from, 1); err != nil {
		return nil, err
	}

	sequences := make([]*sequence, connections)
	for i := range sequences {
		sequences[i] = newSequence(broadcasts)
	}
	meter, err := newMeter(pulse, server)
	if err != nil {
		return nil, err
	}
	err = each(connections+1, connections+1, func(i int) error {
		if i == connections {
			return all[i].broadcast(broadcasts)
		}
		return all[i].listen(sequences[i])
	})
	if err != nil {
		return nil, err
	}

	total := sum(sequences)
	delivered := connections*broadcasts - total.Lost
	pace, err := meter.stop(delivered)
	if err != nil {
		return nil, err
	}
	if err := all.leave(); err != nil {
		return nil, err
	}
	return &fannedOut{"fanout", connections, broadcasts, delivered, pace, total}, total.sound()
}

// broadcast asks for all broadcasts. Its own connection is none of the others: it gets replies only.
func (c *conn) broadcast(broadcasts int) error {
	asked := 0
	ask := func() error {
		c.scratch = appendBroadcast(c.scratch[:0], asked)
		asked++
		return c.send(ws.OpText, c.scratch)
	}
	for range min(outstanding, broadcasts) {
		if err := ask(); err != nil {
			return err
		}
	}
	for done := range broadcasts {
		message, err := c.receive()
		if err != nil {
			return fmt.Errorf("%d of %d broadcasts were done: %w", done, broadcasts, err)
		}
		n, err := tokenNumber(message, asked)
		if err != nil {
			return err
		}
		c.scratch = appendDone(c.scratch[:0], n)
		if !bytes.Equal(message, c.scratch) {
			return unexpected(message)
		}
		if asked < broadcasts {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	return nil
}

// listen receives until everything has come or nothing comes any more.
func (c *conn) listen(sequence *sequence) error {
	for !sequence.complete() {
		message, err := c.receive()
		if givenUp(err) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := newsNumber(message, len(sequence.seen))
		if err != nil {
			return err
		}
		c.scratch = appendNews(c.scratch[:0], n)
		if !bytes.Equal(message, c.scratch) {
			return unexpected(message)
		}
		sequence.take(n)
	}
	return nil
}
