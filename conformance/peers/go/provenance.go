package main

import (
	"runtime"
	"runtime/debug"
)

// libraryPath is the module under test.
const libraryPath = "github.com/kataras/neffos"

// provenance says which implementation produced a result, so that a report never has to guess.
type provenance struct {
	Peer    string `json:"peer"`
	Version string `json:"version"`
	Go      string `json:"go"`
}

func currentProvenance() provenance {
	return provenance{Peer: "neffos-go", Version: libraryVersion(), Go: runtime.Version()}
}

// libraryVersion asks the running binary rather than a constant here: a constant would go on
// naming the old version after an upgrade of go.mod, or under a replace directive.
func libraryVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}

	for _, module := range info.Deps {
		if module.Path != libraryPath {
			continue
		}
		if module.Replace != nil {
			return module.Replace.Path + " " + module.Replace.Version
		}
		return module.Version
	}
	return "unknown"
}
