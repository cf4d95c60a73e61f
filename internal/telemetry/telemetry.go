// Package telemetry sets up what a process tells about itself: logs (slog),
// metrics (for Prometheus) and traces (OpenTelemetry; those of gRPC after gRFC A72,
// sent as OTLP when there is somewhere to send them).
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	experimental "google.golang.org/grpc/experimental/opentelemetry"
	"google.golang.org/grpc/stats/opentelemetry"
)

// Config are the settings of a process's telemetry.
type Config struct {
	LogLevel  string `default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: ${enum}."`
	LogFormat string `default:"json" enum:"json,text" help:"Format of the log: ${enum}."`

	OTLPEndpoint string  `name:"otel-exporter-otlp-endpoint" placeholder:"URL" help:"Where traces are sent as OTLP over gRPC, such as http://jaeger:4317. None are made without it."`
	SampleRatio  float64 `name:"trace-sample-ratio" default:"1" help:"Part of the traces begun here that is recorded, 0 to 1. A trace begun elsewhere is recorded if it was there."`
}

// Validate names the first setting that is out of range.
func (c *Config) Validate() error {
	if math.IsNaN(c.SampleRatio) || c.SampleRatio < 0 || c.SampleRatio > 1 {
		return fmt.Errorf("--trace-sample-ratio: %v is out of range: give 0 to 1", c.SampleRatio)
	}
	if c.OTLPEndpoint == "" {
		return nil
	}
	u, err := url.Parse(c.OTLPEndpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("--otel-exporter-otlp-endpoint: %q is not an endpoint: give a URL such as http://jaeger:4317",
			c.OTLPEndpoint)
	}

	return nil
}

// Telemetry is a process's telemetry, running.
type Telemetry struct {
	// Logger is the process's log.
	Logger *slog.Logger
	// Registry is what /metrics serves.
	Registry *prometheus.Registry
	// Tracer is a tracer for spans that gRPC does not make by itself.
	Tracer trace.TracerProvider

	spans *sdktrace.TracerProvider // nil when there are none
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

	if cfg.OTLPEndpoint == "" {
		return t, nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(cfg.OTLPEndpoint))
	if err != nil {
		return nil, fmt.Errorf("telemetry: traces: %w", err)
	}
	t.spans = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(describe(id)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
	)
	t.Tracer = t.spans
	otel.SetTracerProvider(t.spans)
	otel.SetTextMapPropagator(propagation.TraceContext{})

	return t, nil
}

// ServerOption has a gRPC server make a span of each RPC, if there is somewhere to
// send them. Without that it costs nothing.
func (t *Telemetry) ServerOption() grpc.ServerOption {
	if t.spans == nil {
		return grpc.EmptyServerOption{}
	}

	return opentelemetry.ServerOption(t.options())
}

// DialOption does the same for a gRPC channel.
func (t *Telemetry) DialOption() grpc.DialOption {
	if t.spans == nil {
		return grpc.EmptyDialOption{}
	}

	return opentelemetry.DialOption(t.options())
}

// options asks for traces alone. gRPC's own metrics through OpenTelemetry cost a third
// of a small server's throughput (docs/performance.md), so the server kit counts
// for itself, under the same names.
func (t *Telemetry) options() opentelemetry.Options {
	return opentelemetry.Options{TraceOptions: experimental.TraceOptions{
		TracerProvider:    t.spans,
		TextMapPropagator: propagation.TraceContext{},
	}}
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

// describe names the process with OpenTelemetry's semantic conventions.
func describe(id Identity) *resource.Resource {
	attributes := []attribute.KeyValue{attribute.String("service.name", id.Service)}
	for _, a := range []struct{ key, value string }{
		{"service.version", id.Version},
		{"k8s.pod.name", id.Pod},
		{"k8s.node.name", id.Node},
		{"cloud.availability_zone", id.Zone},
	} {
		if a.value != "" {
			attributes = append(attributes, attribute.String(a.key, a.value))
		}
	}

	return resource.NewSchemaless(attributes...)
}
