//go:build !next

package main

// Where v0.0.24 of the library differs from the next, as its tests see it; see next_test.go.
const (
	// textOfClosed is the error of what is asked on a connection that this side has closed.
	textOfClosed = "[-1] write closed"

	// relayedPastAnother is what a handler relays that asks, when another event comes before the
	// reply: that event.
	relayedPastAnother = `;app;;relay;0;0;not the reply`
)
