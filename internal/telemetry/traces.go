package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/url"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Traces are the settings of traces. Their names are OpenTelemetry's, and so are those of the
// environment that the SDK reads by itself: OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_*, OTEL_BSP_*
// and OTEL_SPAN_* (OpenTelemetry Environment Variable Specification).
type Traces struct {
	Endpoint   string  `name:"otel-exporter-otlp-endpoint" placeholder:"URL" help:"Where traces are sent as OTLP over gRPC, such as http://jaeger:4317. None are made without it."`
	Sampler    string  `name:"otel-traces-sampler" default:"parentbased_always_on" enum:"always_on,always_off,traceidratio,parentbased_always_on,parentbased_always_off,parentbased_traceidratio" help:"Which traces are recorded: ${enum}. With parentbased_, one that was begun elsewhere is recorded if it was there."`
	SamplerArg float64 `name:"otel-traces-sampler-arg" default:"1" help:"Part of the traces that a sampler by ratio records, 0 to 1."`

	// LoadRatio is the part, of the traces that Sampler would record, of those that begin with an
	// RPC of this process: the load of a generator, which nobody asked for by itself.
	LoadRatio float64 `kong:"-"`
}

// propagator carries a trace from a process to the next: W3C Trace Context.
var propagator = propagation.TraceContext{}

// attributeLimit is the longest text of an attribute, in characters. OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT
// sets another.
const attributeLimit = 1024

// Validate names the first setting that cannot be used. kong calls it.
func (c *Traces) Validate() error {
	if math.IsNaN(c.SamplerArg) || c.SamplerArg < 0 || c.SamplerArg > 1 {
		return fmt.Errorf("--otel-traces-sampler-arg: %v is out of range: give 0 to 1", c.SamplerArg)
	}
	if c.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("--otel-exporter-otlp-endpoint: %q is not an endpoint: give a URL such as http://jaeger:4317", c.Endpoint)
	}

	return nil
}

// start begins to send spans.
func (c *Traces) start(ctx context.Context, id Identity, sampler sdktrace.Sampler) (*sdktrace.TracerProvider, error) {
	described, err := describe(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(c.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("telemetry: traces: %w", err)
	}
	limits := sdktrace.NewSpanLimits() // with what the environment says
	if limits.AttributeValueLengthLimit < 0 && os.Getenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" {
		limits.AttributeValueLengthLimit = attributeLimit
	}

	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(described),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSampler(sampler),
		sdktrace.WithIDGenerator(identifiers{}),
	), nil
}

func (c *Traces) sampler() sdktrace.Sampler {
	ratio := sdktrace.TraceIDRatioBased(c.SamplerArg)
	var chosen sdktrace.Sampler
	switch c.Sampler {
	case "always_on":
		chosen = sdktrace.AlwaysSample()
	case "always_off":
		chosen = sdktrace.NeverSample()
	case "traceidratio":
		chosen = ratio
	case "parentbased_always_off":
		chosen = sdktrace.ParentBased(sdktrace.NeverSample())
	case "parentbased_traceidratio":
		chosen = sdktrace.ParentBased(ratio)
	default:
		chosen = sdktrace.ParentBased(sdktrace.AlwaysSample())
	}

	return loadSampler{Sampler: chosen, load: sdktrace.TraceIDRatioBased(c.LoadRatio)}
}

// loadSampler thins out the traces that begin with an RPC of this process.
type loadSampler struct {
	sdktrace.Sampler

	load sdktrace.Sampler
}

// ShouldSample is the sampler's decision, for the load only where that is in its part too.
func (s loadSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.Kind == trace.SpanKindClient && !trace.SpanContextFromContext(p.ParentContext).IsValid() {
		if decided := s.load.ShouldSample(p); decided.Decision == sdktrace.Drop {
			return decided
		}
	}

	return s.Sampler.ShouldSample(p)
}

// identifiers are random, but for a trace whose number was needed before its first span: the context has that.
type identifiers struct{}

// rootKey is the key of such a number in a context.
type rootKey struct{}

// NewIDs are those of a trace and of its first span.
func (identifiers) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(rootKey{}).(trace.TraceID)
	if !ok {
		id = newTraceID()
	}

	return id, identifiers{}.NewSpanID(ctx, id)
}

// NewSpanID is that of another span.
func (identifiers) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}

	return id
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}

	return id
}

// describe names the process with OpenTelemetry's semantic conventions. What the environment says
// goes before what is found out.
func describe(ctx context.Context, id Identity) (*resource.Resource, error) {
	attributes := []attribute.KeyValue{attribute.String("service.name", id.Service)}
	for _, a := range []struct{ key, value string }{
		{"service.version", id.Version},
		{"service.instance.id", id.Pod},
		{"k8s.pod.name", id.Pod},
		{"k8s.node.name", id.Node},
		{"cloud.availability_zone", id.Zone},
	} {
		if a.value != "" {
			attributes = append(attributes, attribute.String(a.key, a.value))
		}
	}

	return resource.New(ctx, resource.WithAttributes(attributes...), resource.WithFromEnv(), resource.WithTelemetrySDK())
}
