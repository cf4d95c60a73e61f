package telemetry

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	experimental "google.golang.org/grpc/experimental/opentelemetry"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats/opentelemetry"
	"google.golang.org/grpc/status"
)

// TraceOf is the number of the trace that a request is recorded in, "" if it is not.
func TraceOf(ctx context.Context) string {
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		return span.TraceID().String()
	}

	return ""
}

// Traced says whether spans are made.
func (t *Telemetry) Traced() bool { return t.spans != nil }

// DialOption has a gRPC channel make a span of each RPC and of each of its attempts, as gRFC A72 has it, if
// there is somewhere to send them.
//
// Traces alone: gRPC's own metrics through OpenTelemetry cost a third of a small server's
// throughput (docs/performance.md), so metrics are counted by us, under the same names.
func (t *Telemetry) DialOption() grpc.DialOption {
	if !t.Traced() {
		return grpc.EmptyDialOption{}
	}

	return opentelemetry.DialOption(opentelemetry.Options{TraceOptions: experimental.TraceOptions{
		TracerProvider: t.spans, TextMapPropagator: propagator,
	}})
}

// ServerOptions have a gRPC server make a span of each RPC, named as gRFC A72 has it, if there is somewhere to
// send them. They go before other interceptors, so that those see the span.
//
// They are interceptors and not gRPC's own stats.Handler, which tells of messages, too, but is called
// several times for every RPC, sampled or not. docs/performance.md has what they cost.
func (t *Telemetry) ServerOptions() []grpc.ServerOption {
	if !t.Traced() {
		return nil
	}
	r := &receiver{tracer: t.spans.Tracer("github.com/evenkeel/evenkeel/internal/telemetry"), sampler: t.sampler}

	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(r.unary), grpc.ChainStreamInterceptor(r.stream)}
}

// receiver makes spans of the RPCs that a server receives.
type receiver struct {
	tracer  trace.Tracer
	sampler sdktrace.Sampler
	names   sync.Map // of spans, by full method name
}

func (r *receiver) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, span := r.begin(ctx, info.FullMethod)
	resp, err := handler(ctx, req)
	finish(span, err)

	return resp, err
}

func (r *receiver) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, span := r.begin(stream.Context(), info.FullMethod)
	err := handler(srv, tracedStream{ServerStream: stream, ctx: ctx})
	finish(span, err)

	return err
}

func (r *receiver) begin(ctx context.Context, method string) (context.Context, trace.Span) {
	name := r.name(method)
	if (incoming{ctx}).Get(traceparent) != "" {
		ctx = propagator.Extract(ctx, incoming{ctx})
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		var begins bool
		if ctx, begins = r.root(ctx, name, method); !begins {
			return ctx, noop.Span{}
		}
	}
	ctx, span := r.tracer.Start(ctx, name, received...)
	if span.IsRecording() {
		service, name, _ := strings.Cut(method[1:], "/")
		span.SetAttributes(attribute.String("rpc.system", "grpc"),
			attribute.String("rpc.service", service), attribute.String("rpc.method", name))
	}

	return ctx, span
}

// root says whether an RPC begins a trace that is recorded. The tracer would ask the sampler, too, but makes a
// span first, and of a hundred RPCs ninety-nine need none.
func (r *receiver) root(ctx context.Context, name, method string) (context.Context, bool) {
	if method == grpc_health_v1.Health_Check_FullMethodName || method == grpc_health_v1.Health_Watch_FullMethodName {
		return ctx, false // a kubelet's, each second, and a channel's: of which nobody wants to read
	}
	id := newTraceID()
	decided := r.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: ctx, TraceID: id, Name: name, Kind: trace.SpanKindServer,
	})
	if decided.Decision == sdktrace.Drop {
		return ctx, false
	}

	return context.WithValue(ctx, rootKey{}, id), true
}

// traceparent is the header of W3C Trace Context.
const traceparent = "traceparent"

// received is what all spans of a server begin with.
var received = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}

// name is the name of a method's spans, made once. Methods that the server does not have
// never come here, so there is no end of them.
func (r *receiver) name(method string) string {
	name, ok := r.names.Load(method)
	if !ok {
		name, _ = r.names.LoadOrStore(method, "Recv."+strings.ReplaceAll(method[1:], "/", "."))
	}

	return name.(string) //nolint:forcetypeassert // the map has nothing else
}

// finish ends the span of an RPC with its status.
func finish(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	st := status.Convert(err)
	span.SetAttributes(attribute.Int("rpc.grpc.status_code", int(st.Code())))
	if err != nil {
		span.SetStatus(otelcodes.Error, st.Message())
	}
	span.End()
}

// tracedStream is a stream whose context has the span.
type tracedStream struct {
	grpc.ServerStream

	ctx context.Context
}

// Context is the stream's context, with the span.
func (s tracedStream) Context() context.Context { return s.ctx }

// incoming is the metadata of an RPC that a server received, for a propagator to read. Each
// look-up copies one value and not, as FromIncomingContext does, all of them.
type incoming struct{ ctx context.Context }

// Get is the first value of a key, "" without one.
func (c incoming) Get(key string) string {
	if values := metadata.ValueFromIncomingContext(c.ctx, key); len(values) > 0 {
		return values[0]
	}

	return ""
}

// Set does nothing: what was received stays as it is.
func (incoming) Set(string, string) {}

// Keys are those that W3C Trace Context has.
func (incoming) Keys() []string { return propagator.Fields() }
