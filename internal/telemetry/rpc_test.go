package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// process is the telemetry of a process that sends its spans to s.
func process(t *testing.T, s *sink, service string, traces telemetry.Traces) *telemetry.Telemetry {
	t.Helper()
	collecting := grpc.NewServer()
	collector.RegisterTraceServiceServer(collecting, s)
	traces.Endpoint = "http://" + serve(t, collecting)
	tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: service}, telemetry.Config{Traces: traces}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})

	return tel
}

// healthServer serves health with the telemetry's spans.
func healthServer(t *testing.T, tel *telemetry.Telemetry, options ...grpc.DialOption) grpc_health_v1.HealthClient {
	t.Helper()
	serving := grpc.NewServer(tel.ServerOptions()...)
	grpc_health_v1.RegisterHealthServer(serving, health.NewServer())
	conn, err := grpc.NewClient("passthrough:///"+serve(t, serving),
		append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})

	return grpc_health_v1.NewHealthClient(conn)
}

// flush ends the telemetry, and returns what it sent.
func flush(t *testing.T, tel *telemetry.Telemetry, s *sink) []*tracepb.Span {
	t.Helper()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.whole
}

// id is the number of a trace.
const id = "0af7651916cd43dd8448eb211c80319c"

func TestATraceThatWasBegunElsewhereGoesOnIfItIsRecordedThere(t *testing.T) {
	s := newSink()
	tel := process(t, s, "rng", telemetry.Traces{Sampler: "parentbased_always_on"})
	client := healthServer(t, tel)
	for _, sampled := range []string{"00", "01"} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+id+"-b7ad6b7169203331-"+sampled)
		if _, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	spans := flush(t, tel, s)
	if len(spans) != 1 {
		t.Fatalf("%d spans, want that of the trace that is recorded", len(spans))
	}
	span := spans[0]
	if got := hex.EncodeToString(span.GetTraceId()) + " " + hex.EncodeToString(span.GetParentSpanId()); got != id+" b7ad6b7169203331" {
		t.Errorf("trace and parent: %s", got)
	}
	if span.GetName() != "Recv.grpc.health.v1.Health.Check" || span.GetKind() != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("%s, %s", span.GetName(), span.GetKind())
	}
}

func TestASpanOfAnRPCThatFailedHasItsStatus(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10") // milliseconds, not five seconds
	s := newSink()
	tel := process(t, s, "rng", telemetry.Traces{Sampler: "always_on"})
	client := healthServer(t, tel)
	traced := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+id+"-b7ad6b7169203331-01")
	if _, err := client.Check(traced, &grpc_health_v1.HealthCheckRequest{Service: "none"}); err == nil {
		t.Fatal("no error")
	}
	ctx, cancel := context.WithTimeout(traced, 10*time.Second)
	defer cancel()
	stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	// The server's part of
	// the stream ends some time after the client's.
	s.await(t, 2)
	spans := flush(t, tel, s)
	for i, want := range []struct{ name, status, code string }{
		{"Recv.grpc.health.v1.Health.Check", "unknown service", "5"},
		{"Recv.grpc.health.v1.Health.Watch", "Stream has ended.", "1"},
	} {
		got := spans[i]
		text := got.String()
		if got.GetName() != want.name || got.GetStatus().GetMessage() != want.status ||
			got.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR ||
			!strings.Contains(strings.ReplaceAll(text, " ", ""), `key:"rpc.grpc.status_code"value:{int_value:`+want.code+`}`) {
			t.Errorf("span %d: %s", i, text)
		}
	}
}

func TestAProbeBeginsNoTrace(t *testing.T) {
	s := newSink()
	tel := process(t, s, "rng", telemetry.Traces{Sampler: "always_on"})
	if _, err := healthServer(t, tel).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if spans := flush(t, tel, s); len(spans) > 0 {
		t.Errorf("spans: %v", spans)
	}
}

func TestAServerBeginsAsManyTracesAsTheSamplerSays(t *testing.T) {
	for ratio, want := range map[float64]func(int) bool{
		0: func(n int) bool { return n == 0 }, 1: func(n int) bool { return n == 400 },
		0.25: func(n int) bool { return n > 50 && n < 150 }, // as below
	} {
		s := newSink()
		tel := process(t, s, "rng", telemetry.Traces{Sampler: "parentbased_traceidratio", SamplerArg: ratio})
		client := healthServer(t, tel)
		for range 400 {
			if _, err := client.List(t.Context(), &grpc_health_v1.HealthListRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		traces := map[string]bool{}
		for _, span := range flush(t, tel, s) {
			traces[string(span.GetTraceId())] = true
			if len(span.GetParentSpanId()) > 0 || len(span.GetSpanId()) != 8 {
				t.Errorf("parent %x, span %x", span.GetParentSpanId(), span.GetSpanId())
			}
		}
		if !want(len(traces)) {
			t.Errorf("ratio %v: %d traces of 400 RPCs", ratio, len(traces))
		}
	}
}

func TestTheLoadBeginsAsManyTracesAsItShouldAndNoMore(t *testing.T) {
	for _, c := range []struct {
		sampler string
		load    float64
		want    func(n int) bool
	}{
		{"parentbased_always_on", 1, func(n int) bool { return n == 400 }},
		{"parentbased_always_on", 0, func(n int) bool { return n == 0 }},
		// One in four: fewer than 50 or more than 150 of 400 come once in 10^9 times.
		{"parentbased_always_on", 0.25, func(n int) bool { return n > 50 && n < 150 }},
		{"always_off", 1, func(n int) bool { return n == 0 }},
		{"parentbased_always_off", 1, func(n int) bool { return n == 0 }},
		{"traceidratio", 1, func(n int) bool { return n == 0 }}, // its argument is 0 here
		{"parentbased_traceidratio", 1, func(n int) bool { return n == 0 }},
	} {
		s := newSink()
		tel := process(t, s, "client", telemetry.Traces{Sampler: c.sampler, LoadRatio: c.load})
		client := healthServer(t, process(t, newSink(), "rng", telemetry.Traces{Sampler: "always_off"}), tel.DialOption())
		for range 400 {
			if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		traces := map[string]bool{}
		for _, span := range flush(t, tel, s) {
			traces[string(span.GetTraceId())] = true
		}
		if !c.want(len(traces)) {
			t.Errorf("%s, load %v: %d traces of 400 RPCs", c.sampler, c.load, len(traces))
		}
	}
}

func TestAResourceThatCannotBeReadIsAnError(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace")
	_, err := telemetry.Start(t.Context(), telemetry.Identity{Service: "rng"},
		telemetry.Config{Traces: telemetry.Traces{Endpoint: "http://127.0.0.1:1"}}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "OTEL_RESOURCE_ATTRIBUTES") {
		t.Errorf("got %v", err)
	}
}
