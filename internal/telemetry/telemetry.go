// Package telemetry sets up what a process tells about itself: logs (slog),
// metrics (for Prometheus) and traces (OpenTelemetry; those of gRPC after gRFC A72,
// sent as OTLP when there is somewhere to send them).
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Config are the settings of a process's telemetry.
type Config struct {
	LogLevel  string `default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: ${enum}."`
	LogFormat string `default:"json" enum:"json,text" help:"Format of the log: ${enum}."`

	Traces Traces `embed:""`
}

// Telemetry is a process's telemetry, running.
type Telemetry struct {
	// Logger is the process's log.
	Logger *slog.Logger
	// Registry is what /metrics serves.
	Registry *prometheus.Registry
	// Tracer is a tracer for spans that gRPC does not make by itself.
	Tracer trace.TracerProvider

	spans   *sdktrace.TracerProvider // nil when there are none
	sampler sdktrace.Sampler         // of the spans
}

// Identity says which process this is. What is empty is left out.
type Identity struct {
	// Service is the name of the program, such as "rng".
	Service string
	// Version is the version of the build.
	Version string
	// Pod, Node and Zone say where it runs.
	Pod, Node, Zone string
}

// Start sets telemetry up, with the log going to w. The caller ends it with
// Shutdown, after everything that it should still hear of.
func Start(ctx context.Context, id Identity, cfg Config, w io.Writer) (*Telemetry, error) {
	t := &Telemetry{
		Logger:   newLogger(id, cfg, w),
		Registry: prometheus.NewRegistry(),
		Tracer:   noop.NewTracerProvider(),
	}
	t.Registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	// An error of the exporters is a line in the log, not on standard error.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		t.Logger.Warn("telemetry", "error", err)
	}))

	if cfg.Traces.Endpoint == "" {
		return t, nil
	}
	t.sampler = cfg.Traces.sampler()
	spans, err := cfg.Traces.start(ctx, id, t.sampler)
	if err != nil {
		return nil, err
	}
	t.spans = spans
	t.Tracer = spans
	otel.SetTracerProvider(spans)
	otel.SetTextMapPropagator(propagator)

	return t, nil
}

// Shutdown sends what has not been sent and stops. It gives up when ctx is done.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t.spans == nil {
		return nil
	}
	if err := t.spans.Shutdown(ctx); err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}

	return nil
}

func newLogger(id Identity, cfg Config, w io.Writer) *slog.Logger {
	// Validated by the enum; info is the zero value.
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel))
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if cfg.LogFormat == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	logger := slog.New(handler).With("service", id.Service)
	if id.Pod != "" {
		logger = logger.With("pod", id.Pod)
	}

	return logger
}
