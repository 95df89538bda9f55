//go:build next

package main

// Where v0.0.25 of the library differs from the one before, as its tests see it; see library_test.go.
const (
	// textOfClosed has the code of the close frame, which this version sends.
	textOfClosed = "[1000] write closed"

	// relayedPastAnother is the reply: this version waits for it, and handles the event meanwhile.
	relayedPastAnother = `;app;;relay;0;0;echoed`
)
