// Package interrupt turns SIGTERM and SIGINT into the end of a context, once.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends at the first SIGTERM or SIGINT. By then signals
// do what they do by default again, so a second one ends the process:
// signal.NotifyContext would take it and do nothing. The caller calls the function
// when it has no more use for the context.
func Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-signals:
		case <-ctx.Done():
		}
		signal.Stop(signals)
		cancel()
	}()

	return ctx, func() {
		cancel()
		<-stopped
	}
}
