package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// each calls f with 0 to n-1, parallel of them at a time, and gives the errors. After the first
// error nothing more is begun: one reason is worth a message, a thousand times the same is not.
func each(n, parallel int, f func(int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Bool
		once   sync.Once
		first  error
		wait   sync.WaitGroup
	)
	for range min(n, parallel) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					failed.Store(true)
					once.Do(func() { first = fmt.Errorf("connection %d: %w", i, err) })
				}
			}
		}()
	}
	wait.Wait()
	return first
}

// pulse is when something last arrived, on any connection.
type pulse struct {
	began time.Time
	last  atomic.Int64 // nanoseconds since then
}

func newPulse() *pulse { return &pulse{began: time.Now()} }

// now gives nanoseconds since the pulse was made.
func (p *pulse) now() int64 { return int64(time.Since(p.began)) }

func (p *pulse) beat() { p.last.Store(p.now()) }

func (p *pulse) silent() bool { return p.now()-p.last.Load() >= int64(silence) }

// meter measures from its start to the last arrival, so that waiting in vain for what is missing
// does not count.
type meter struct {
	pulse  *pulse
	server int // process, 0 where it is not known
	start  int64
	ours   time.Duration
	theirs time.Duration
}

// pace is what every measure of a rate reports.
type pace struct {
	Seconds float64 `json:"seconds"`
	// Rate is in what was counted per second.
	Rate float64 `json:"rate"`
	// Busy is how much of the time this program had a processor, and ServerBusy how much the
	// server had one. Where the server's is well under 1, something else was the limit.
	Busy       float64 `json:"busy"`
	ServerBusy float64 `json:"server_busy,omitempty"`
}

// newMeter starts measuring. server is the process to be watched, or 0.
func newMeter(p *pulse, server int) (m meter, err error) {
	m = meter{pulse: p, server: server}
	if m.theirs, err = processorTime(server); err != nil {
		return m, err
	}
	m.ours, err = ownTime()
	m.start = p.now()
	return m, err
}

func (m meter) stop(count int) (pace, error) {
	took := time.Duration(m.pulse.last.Load() - m.start).Seconds()
	ours, err := ownTime()
	if err != nil {
		return pace{}, err
	}
	theirs, err := processorTime(m.server)
	if err != nil {
		return pace{}, err
	}
	if took <= 0 {
		return pace{}, errSilence
	}
	busy := func(spent time.Duration) float64 { return spent.Seconds() / took }
	return pace{took, float64(count) / took, busy(ours - m.ours), busy(theirs - m.theirs)}, nil
}

func ownTime() (time.Duration, error) {
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}

// sequence checks numbered messages of one connection: each once, in the order of the numbers.
type sequence struct {
	seen []bool
	high int // one more than the highest number seen
	tally
}

func newSequence(n int) *sequence { return &sequence{seen: make([]bool, n), tally: tally{Lost: n}} }

// tally is how many messages did not come as they should.
type tally struct {
	Lost      int `json:"lost"`
	Reordered int `json:"reordered"`
	Repeated  int `json:"repeated"`
}

// take notes the arrival of number n, which is in range.
func (s *sequence) take(n int) {
	switch {
	case s.seen[n]:
		s.Repeated++
		return
	case n < s.high:
		s.Reordered++
	default:
		s.high = n + 1
	}
	s.seen[n] = true
	s.Lost--
}

// complete is whether everything has come.
func (s *sequence) complete() bool { return s.Lost == 0 }

// sum adds the sequences of all connections up.
func sum(sequences []*sequence) (total tally) {
	for _, s := range sequences {
		total.Lost += s.Lost
		total.Reordered += s.Reordered
		total.Repeated += s.Repeated
	}
	return total
}

// sound is nil where nothing went astray.
func (t tally) sound() error {
	if t == (tally{}) {
		return nil
	}
	return fmt.Errorf("%w: %d lost, %d reordered, %d repeated", errUnsound, t.Lost, t.Reordered, t.Repeated)
}

// givenUp is whether an error is the end of waiting: what is missing then has been counted.
func givenUp(err error) bool { return errors.Is(err, errSilence) }
