package main

import (
	"context"

	"github.com/kataras/neffos"
)

// lifetimeKey is where a connection keeps the context that ends with it.
const lifetimeKey = "lifetime"

type lifetime struct {
	ctx context.Context
	end context.CancelFunc
}

// lifetimeOf returns a context that ends with the connection. Only handlers may call it: they run
// one after the other, so the first of them makes it without a race.
func lifetimeOf(c *neffos.Conn) context.Context {
	if kept, ok := c.Get(lifetimeKey).(lifetime); ok {
		return kept.ctx
	}

	ctx, end := context.WithCancel(context.Background())
	c.Set(lifetimeKey, lifetime{ctx, end})
	return ctx
}

func endLifetime(c *neffos.Conn) {
	if kept, ok := c.Get(lifetimeKey).(lifetime); ok {
		kept.end()
	}
}
