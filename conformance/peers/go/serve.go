package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/kataras/neffos"
	"github.com/kataras/neffos/gobwas"
	"github.com/kataras/neffos/gorilla"
)

// backends are the WebSocket implementations the library comes with. Each keeps its own defaults,
// Origin policy included: where they differ is part of what the suite records.
var backends = map[string]neffos.Upgrader{
	"gorilla": gorilla.DefaultUpgrader,
	"gobwas":  gobwas.DefaultUpgrader,
}

// What stands behind the path of an endpoint for its two companions.
const (
	mixedPath  = "/mixed"
	nativePath = "/native"
)

// site serves an endpoint and its companions below path. Upgrades that fail go to complain.
type site func(path string, timeout time.Duration, complain func(error)) (http.Handler, error)

// sites are what serve offers, by the names that it prints.
func sites() map[string]site {
	all := maps.Clone(frameworkSites)
	for name, upgrade := range backends {
		all[name] = librarySite(upgrade, nil)
	}
	return all
}

// librarySite is the library by itself. prepare, if any, gets every server and its path.
func librarySite(upgrade neffos.Upgrader, prepare func(server *neffos.Server, path string) error) site {
	return func(path string, timeout time.Duration, complain func(error)) (http.Handler, error) {
		mux := http.NewServeMux()
		for below, namespaces := range map[string]neffos.Namespaces{
			"":         namespaces(timeout),
			mixedPath:  mixedNamespaces(),
			nativePath: nativeNamespaces(),
		} {
			server := newServer(upgrade, namespaces, timeout)
			server.OnUpgradeError = complain
			if prepare != nil {
				if err := prepare(server, path+below); err != nil {
					return nil, err
				}
			}
			mux.Handle(path+below, server)
		}
		return mux, nil
	}
}

// readiness is the one line that serve prints, when connections are accepted.
type readiness struct {
	Ready bool `json:"ready"`
	provenance
	Endpoints map[string]string `json:"endpoints"`
}

// serve runs what is offered, the conformance application or other servers, until ctx ends or stdin does. A parent that dies, however
// it dies, closes its end of the pipe: no peer outlives its suite.
//
// The WebSocket connections are not closed one by one on the way out. net/http has given them away
// and the end of the process takes them; waiting for them could only delay it.
func serve(ctx context.Context, addr string, offered map[string]site, stdin io.Reader, stdout, stderr io.Writer) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}

	logger := log.New(stderr, "peer: ", log.LstdFlags|log.Lmicroseconds)
	mux := http.NewServeMux()
	ready := readiness{Ready: true, provenance: currentProvenance(), Endpoints: map[string]string{}}
	for name, newSite := range offered {
		path := "/" + name
		handler, err := newSite(path, askTimeout, func(err error) { logger.Printf("%s: no upgrade: %v", name, err) })
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler)
		ready.Endpoints[name] = "ws://" + listener.Addr().String() + path
	}

	server := &http.Server{Handler: mux, ErrorLog: logger}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	// The listener queues whoever connects before Serve gets to run, so this is not too early.
	if err := json.NewEncoder(stdout).Encode(ready); err != nil {
		return errors.Join(err, server.Close())
	}

	abandoned := make(chan struct{})
	go func() {
		io.Copy(io.Discard, stdin) // an error ends the input as well
		close(abandoned)
	}()

	select {
	case err := <-served:
		return err
	case <-abandoned:
	case <-ctx.Done():
	}
	return server.Close()
}
