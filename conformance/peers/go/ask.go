package main

import (
	"context"
	"time"

	"github.com/kataras/neffos"
)

// askPatience is how long a client has to answer "question".
const askPatience = 5 * time.Second

// answer is what the client made of a question.
type answer struct {
	reply neffos.Message
	err   error
}

// askMe asks the client back and tells it what it answered. It must not wait in the handler: there
// the library would take the very next message for the reply, whatever its token.
func askMe(patience time.Duration) neffos.MessageHandlerFunc {
	return func(ns *neffos.NSConn, msg neffos.Message) error {
		ctx := lifetimeOf(ns.Conn)
		go func() {
			given, ok := ask(ctx, ns.Conn, msg, patience)
			switch {
			case !ok:
			case given.err != nil:
				emit(ns, "answer-error", []byte(given.err.Error()), given.reply.SetBinary)
			default:
				emit(ns, "answer", given.reply.Body, given.reply.SetBinary)
			}
		}()
		return nil
	}
}

// ask sends msg's body as "question" and reports whether there is anything to tell the client.
//
// It goes through Server.Ask. Conn.Ask looks at a flag of the connection to find out whether it
// was called inside a handler, and from another goroutine that flag is a matter of luck. The
// library keeps listening after the patience is over, until the connection ends: it forgets no
// token on a deadline, and a late reply to a token nobody listens to blocks the reader for good.
//
// The price is that ids matter: connections given the same id are all asked, and one with an empty
// id is passed over, as broadcasts pass over their sender.
func ask(ctx context.Context, c *neffos.Conn, msg neffos.Message, patience time.Duration) (answer, bool) {
	question := neffos.Message{
		To:        c.ID(),
		Namespace: msg.Namespace,
		Event:     "question",
		Body:      msg.Body,
		SetBinary: msg.SetBinary,
	}

	answers := make(chan answer, 1)
	go func() {
		awaitListed(ctx, c)
		reply, err := c.Server().Ask(ctx, question)
		answers <- answer{reply, err}
	}()

	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case given := <-answers:
		return given, ctx.Err() == nil
	case <-deadline.C:
		// The error the library itself gives for an ask that was not answered in time.
		return answer{err: context.DeadlineExceeded}, true
	case <-ctx.Done():
		return answer{}, false
	}
}

// awaitListed returns when broadcasts reach c, or when it has ended. The library serves a connection
// while its way into the list of connections is still queued, and picks between that queue and a
// broadcast at random: a question asked at once can otherwise go round without its client.
func awaitListed(ctx context.Context, c *neffos.Conn) {
	for listed := false; !listed && ctx.Err() == nil; {
		c.Server().Do(func(other *neffos.Conn) { listed = listed || other == c }, false)
	}
}
