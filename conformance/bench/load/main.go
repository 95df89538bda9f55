// Command load puts a server of the conformance application under load and counts what comes back.
//
//	load echo       -url U -connections N -depth D -asks TOTAL   pipelined asks
//	load fanout     -url U -connections N -broadcasts B          one event to many connections;
//	                -from V                                      with as many at V, who sends it
//	load handshakes -url U -count N -parallel P                  connections opened and closed
//	load idle       -url U -connections N -pid PID               memory of connections at rest
//
// Each prints one JSON object on standard output; reasons go to standard error. Given the server's
// process with -pid, the others say how busy that was, too. It knows the frames and the application,
// and not which server it speaks to.
//
// The exit status is 0 after a measurement, 1 if there could be none, 2 for a wrong command line,
// and 3 after a measurement in which messages were lost, repeated or out of order.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// limit ends a run that does not end by itself. No measure is meant to take a quarter of that; a
// server that sends without end, and never what is expected, would be read indefinitely.
const limit = 2 * time.Minute

const usage = `usage:
  load echo       -url U [-pid PID] [-connections N] [-depth D] [-asks TOTAL]
  load fanout     -url U [-from V] [-pid PID] [-connections N] [-broadcasts B]
  load handshakes -url U [-pid PID] [-count N] [-parallel P]
  load idle       -url U -pid PID [-connections N]
`

var (
	// errUsage marks a mistake in the command line, as opposed to a failed measurement.
	errUsage = errors.New("wrong command line")

	// errUnsound marks a measurement whose figures are not worth much: messages went astray in it.
	errUnsound = errors.New("messages went astray")
)

func main() {
	time.AfterFunc(limit, func() { end(fmt.Errorf("not done after %v", limit)) })
	end(run(os.Args[1:], os.Stdout))
}

func end(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "load: %v\n%s", err, usage)
		os.Exit(2)
	case errors.Is(err, errUnsound):
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(3)
	default:
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no subcommand", errUsage)
	}
	name := args[0]
	flags := flag.NewFlagSet("load "+name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // end prints the usage, once
	url := flags.String("url", "", "the application's URL")
	pid := flags.Int("pid", 0, "the server's process")
	number := func(name string, value int) *int { return flags.Int(name, value, "") }

	// What is not said is what the bench takes; the numbers themselves have no deeper reason.
	var measure func() (any, error)
	switch name {
	case "echo":
		connections, depth, asks := number("connections", 1), number("depth", 100), number("asks", 100_000)
		measure = func() (any, error) { return echo(*url, *connections, *depth, *asks, *pid) }
	case "fanout":
		connections, broadcasts := number("connections", 1000), number("broadcasts", 100)
		from := flags.String("from", "", "")
		measure = func() (any, error) { return fanout(*url, *from, *connections, *broadcasts, *pid) }
	case "handshakes":
		count, parallel := number("count", 2000), number("parallel", 16)
		measure = func() (any, error) { return handshakes(*url, *count, *parallel, *pid) }
	case "idle":
		connections := number("connections", 1000)
		measure = func() (any, error) { return idle(*url, *connections, *pid) }
	default:
		return fmt.Errorf("%w: unknown subcommand %q", errUsage, name)
	}

	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w: %v", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: unexpected %q", errUsage, flags.Arg(0))
	}
	var wrong error
	flags.VisitAll(func(f *flag.Flag) {
		value, ok := f.Value.(flag.Getter).Get().(int)
		optional := f.Name == "pid" && name != "idle"
		if ok && value < 1 && !(optional && value == 0) {
			wrong = fmt.Errorf("%w: -%s has to be given, and at least 1", errUsage, f.Name)
		}
	})
	if *url == "" {
		wrong = fmt.Errorf("%w: -url has to be given", errUsage)
	}
	if wrong != nil {
		return wrong
	}

	result, err := measure()
	if err != nil && !errors.Is(err, errUnsound) {
		return err
	}
	return errors.Join(err, json.NewEncoder(stdout).Encode(result))
}
