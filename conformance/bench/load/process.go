package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of the times in /proc: Linux fixes it at this for every program, whatever the
// kernel's own clock.
const tick = 10 * time.Millisecond

// The fields of /proc/PID/stat, counted from the one after the program's name, which is the only
// one that can contain a space.
const (
	userTime   = 11
	systemTime = 12
)

// processorTime gives what a process has had of all processors; nothing for no process.
func processorTime(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the server's time: %w", err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= systemTime {
		return 0, fmt.Errorf("process %d tells no times", pid)
	}
	var ticks int
	for _, field := range fields[userTime : systemTime+1] {
		n, err := strconv.Atoi(string(field))
		if err != nil {
			return 0, fmt.Errorf("process %d tells no times: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// resident returns the resident memory of a process in bytes.
func resident(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("the server's memory: %w", err)
	}
	var kib int
	_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return 0, fmt.Errorf("process %d tells no VmRSS: %w", pid, err)
	}
	return kib << 10, nil
}
