package main

import (
	"bytes"
	"slices"

	"github.com/gobwas/ws"
)

// echoed is the result of echo.
type echoed struct {
	Measure     string `json:"measure"`
	Connections int    `json:"connections"`
	Depth       int    `json:"depth"`
	Asks        int    `json:"asks"`
	pace
	tally
	// From when an ask is buffered to when its reply was read. With a full pipeline that is how long
	// the pipeline is, more than how quick the server is.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// echo asks on so many connections, of which each has depth asks open all the time.
func echo(url string, connections, depth, asks, server int) (*echoed, error) {
	share := (asks + connections - 1) / connections // rounded up, so that all do the same
	pulse := newPulse()
	all, err := enterAll(url, connections, pulse)
	if err != nil {
		return nil, err
	}
	defer all.close()

	lines := make([]*pipeline, connections)
	sequences := make([]*sequence, connections)
	for i, c := range all {
		sequences[i] = newSequence(share)
		lines[i] = &pipeline{conn: c, number: i, pulse: pulse, sequence: sequences[i]}
		lines[i].sent = make([]int64, 0, share)
		lines[i].took = make([]int64, 0, share)
	}
	meter, err := newMeter(pulse, server)
	if err != nil {
		return nil, err
	}
	err = each(connections, connections, func(i int) error { return lines[i].run(share, depth) })
	if err != nil {
		return nil, err
	}

	total := sum(sequences)
	result := &echoed{Measure: "echo", Connections: connections, Depth: depth, Asks: connections * share, tally: total}
	if result.pace, err = meter.stop(result.Asks - total.Lost); err != nil {
		return nil, err
	}
	if err := all.leave(); err != nil {
		return nil, err
	}
	var took []int64
	for _, line := range lines {
		took = append(took, line.took...)
	}
	slices.Sort(took)
	result.P50, result.P99 = milliseconds(took, 50), milliseconds(took, 99)
	return result, total.sound()
}

// pipeline is one connection that asks.
type pipeline struct {
	*conn
	number int
	pulse  *pulse
	*sequence
	sent []int64 // when each ask was
	took []int64 // how long each reply took, in their order
}

func (p *pipeline) run(asks, depth int) error {
	for range min(depth, asks) {
		if err := p.ask(); err != nil {
			return err
		}
	}
	for !p.complete() {
		message, err := p.receive()
		if givenUp(err) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := tokenNumber(message, len(p.sent))
		if err != nil {
			return err
		}
		p.scratch = appendEcho(p.scratch[:0], p.number, n)
		if !bytes.Equal(message, p.scratch) {
			return unexpected(message)
		}
		p.take(n)
		p.took = append(p.took, p.pulse.now()-p.sent[n])
		if len(p.sent) < asks {
			if err := p.ask(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pipeline) ask() error {
	n := len(p.sent)
	p.sent = append(p.sent, p.pulse.now())
	p.scratch = appendEcho(p.scratch[:0], p.number, n)
	return p.send(ws.OpText, p.scratch)
}

// milliseconds gives a percentile of sorted nanoseconds.
func milliseconds(sorted []int64, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[(len(sorted)-1)*percent/100]) / 1e6
}
