// Command peer puts the Go implementation of neffos under the conformance suite.
//
// It is a program of its own, spoken to over pipes and sockets, so that the suite needs no Go to
// be written in and can hold any other implementation to the same lines:
//
//	peer serve [-addr 127.0.0.1:0]         the conformance application over gorilla, over gobwas
//	                                       and from Iris, by itself and as controllers
//	peer serve -plain                      servers as people have them, which know no suite
//	peer serve -exchange redis://HOST:PORT the application, with an exchange that links servers
//	peer driver [-dialer gorilla|gobwas]   the library's client, made to do what lines say
//	peer undriven [-dialer …] URL          the library's client, left to itself
//	peer codec                             the library's codec as JSON lines, stdin to stdout
//	peer version                           what exactly is being tested
//
// Nothing in this module works around what the library sends or accepts: whatever is seen on the
// wire is the library's own behaviour. Standard output carries answers only, logs go to stderr.
// The exit status is 0 after an orderly end, 1 if the work failed and 2 for a wrong command line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage:
  peer serve [-addr 127.0.0.1:0] [-plain | -exchange redis://HOST:PORT|nats://HOST:PORT]
  peer driver [-dialer gorilla|gobwas]
  peer undriven [-dialer gorilla|gobwas] URL
  peer codec
  peer version
`

// errUsage marks a mistake in the command line, not a failure of the work.
var errUsage = errors.New("wrong command line")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "peer: %v\n%s", err, usage)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "peer: %v\n", err)
		os.Exit(1)
	}
}

// run is main without the process around it, so that tests can be the parent.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no subcommand", errUsage)
	}

	name := args[0]
	flags := flag.NewFlagSet("peer "+name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints the usage, once
	addr := "127.0.0.1:0"
	dialer := "gorilla"
	isPlain := false
	exchange := ""
	switch name {
	case "serve":
		flags.StringVar(&addr, "addr", addr, "address to listen on")
		flags.BoolVar(&isPlain, "plain", isPlain, "without the conformance application")
		flags.StringVar(&exchange, "exchange", exchange, "the exchange that links servers")
	case "driver", "undriven":
		flags.StringVar(&dialer, "dialer", dialer, "what opens the connections")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	wanted := 0
	if name == "undriven" {
		wanted = 1
	}
	if flags.NArg() != wanted {
		return fmt.Errorf("%w: expected %d arguments, actual %d", errUsage, wanted, flags.NArg())
	}

	if _, known := dialers[dialer]; !known {
		return fmt.Errorf("%w: no dialer %q", errUsage, dialer)
	}

	switch name {
	case "serve":
		offered := sites()
		switch {
		case isPlain && exchange != "":
			return fmt.Errorf("%w: -plain and -exchange exclude each other", errUsage)
		case isPlain:
			offered = plainSites()
		case exchange != "":
			var err error
			if offered, err = exchangeSites(exchange); err != nil {
				return err
			}
		}
		return serve(ctx, addr, offered, stdin, stdout, stderr)
	case "driver":
		return drive(ctx, dialer, stdin, stdout)
	case "undriven":
		return live(ctx, dialer, flags.Arg(0))
	case "codec":
		return serveCodec(stdin, stdout)
	case "version":
		return json.NewEncoder(stdout).Encode(currentProvenance())
	default:
		return fmt.Errorf("%w: unknown subcommand %q", errUsage, name)
	}
}
