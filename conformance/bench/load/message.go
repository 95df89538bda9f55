package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// bodySize is the size of a body in bytes: a frame has about a hundred then, as in the benchmark
// of the codec.
const bodySize = 60

const fill = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

// appendBody appends a body that names a connection and a message: a reply that went to another
// connection, or to another ask, is noticed.
func appendBody(to []byte, connection, n int) []byte {
	start := len(to)
	to = strconv.AppendInt(to, int64(n), 10)
	to = append(to, '/')
	to = strconv.AppendInt(to, int64(connection), 10)
	to = append(to, ' ')
	return append(to, fill[:max(0, bodySize-(len(to)-start))]...)
}

// appendEcho appends the ask number n of a connection. Its reply is the same text, byte by byte.
func appendEcho(to []byte, connection, n int) []byte {
	return appendBody(append(appendToken(to, n), ";app;;echo;0;0;"...), connection, n)
}

// appendBroadcast appends the ask for broadcast number n.
func appendBroadcast(to []byte, n int) []byte {
	return appendBody(append(appendToken(to, n), ";app;;broadcast-others;0;0;"...), 0, n)
}

// appendDone appends the reply to it.
func appendDone(to []byte, n int) []byte {
	return append(appendToken(to, n), ";app;;broadcast-others;0;0;done"...)
}

const news = ";app;;news;0;0;"

// appendNews appends the event that it becomes.
func appendNews(to []byte, n int) []byte { return appendBody(append(to, news...), 0, n) }

func appendToken(to []byte, n int) []byte { return strconv.AppendInt(append(to, '$'), int64(n), 10) }

// tokenNumber reads the number of an ask from its reply, given that there were so many asks.
func tokenNumber(message []byte, asked int) (int, error) {
	return leadingNumber(message, "$", ";", asked)
}

// newsNumber reads the number of a broadcast.
func newsNumber(message []byte, broadcasts int) (int, error) {
	return leadingNumber(message, news, "/", broadcasts)
}

func leadingNumber(message []byte, before, after string, limit int) (int, error) {
	rest, ok := bytes.CutPrefix(message, []byte(before))
	digits, _, found := bytes.Cut(rest, []byte(after))
	n, err := strconv.Atoi(string(digits))
	if !ok || !found || err != nil || n < 0 || n >= limit {
		return 0, unexpected(message)
	}
	return n, nil
}

func unexpected(message []byte) error {
	return fmt.Errorf("an unexpected message: %.*q", shown, message)
}
