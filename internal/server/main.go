package server

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/evenkeel/evenkeel/internal/interrupt"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// flushTimeout is how long sending the last telemetry may take.
const flushTimeout = 3 * time.Second

// Main is the life of a gRPC server's process: it sets telemetry and the server
// up, lets setup register services, serves until SIGTERM or SIGINT, drains, flushes
// telemetry and returns the exit status: 0 after a drain, 1 after a failure.
// A second signal ends the process at once. What setup starts, it stops when its
// context ends or in the function that it returns, which runs after the drain.
func Main(
	service string, cfg Config, telemetryConfig telemetry.Config,
	setup func(ctx context.Context, s *Server) (cleanup func(), err error),
) int {
	ctx, stop := interrupt.Context(context.Background())
	defer stop()

	if err := run(ctx, service, cfg, telemetryConfig, setup); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", service, err)

		return 1
	}

	return 0
}

func run(
	ctx context.Context, service string, cfg Config, telemetryConfig telemetry.Config,
	setup func(ctx context.Context, s *Server) (cleanup func(), err error),
) error {
	t, err := telemetry.Start(ctx, cfg.Identity(service), telemetryConfig, os.Stderr)
	if err != nil {
		return err
	}
	s, err := New(cfg, t)
	if err != nil {
		return err
	}
	cleanup, err := setup(ctx, s)
	if err != nil {
		return err
	}
	runErr := s.Run(ctx)
	if cleanup != nil {
		cleanup()
	}

	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := t.Shutdown(flushing); err != nil {
		// The RPCs were served; telemetry that nobody takes does not change that.
		t.Logger.Warn("telemetry not flushed", "error", err)
	}

	return runErr
}
