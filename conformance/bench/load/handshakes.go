package main

// handshakesReport is the result of handshakes.
type handshakesReport struct {
	Measure  string `json:"measure"`
	Count    int    `json:"count"`
	Parallel int    `json:"parallel"`
	pace
}

// handshakes opens connections, says M on each, waits for A, and closes it again.
func handshakes(url string, count, parallel, server int) (*handshakesReport, error) {
	pulse := newPulse()
	meter, err := newMeter(pulse, server)
	if err != nil {
		return nil, err
	}
	err = each(count, parallel, func(int) error {
		c, err := open(url, pulse)
		if err != nil {
			return err
		}
		return c.leave()
	})
	if err != nil {
		return nil, err
	}
	pulse.beat() // the last connection's end
	pace, err := meter.stop(count)
	if err != nil {
		return nil, err
	}
	return &handshakesReport{"handshakes", count, parallel, pace}, nil
}
