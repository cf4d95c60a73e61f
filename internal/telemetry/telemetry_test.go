package telemetry_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/evenkeel/evenkeel/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink takes spans as Jaeger would, over a real socket.
type sink struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans []string // service and span name
	trace map[string]bool
	whole []*tracepb.Span
}

func newSink() *sink { return &sink{trace: map[string]bool{}} }

// await waits until so many spans have come.
func (s *sink) await(t *testing.T, n int) {
	t.Helper()
	for {
		s.mu.Lock()
		come := len(s.whole)
		s.mu.Unlock()
		if come >= n {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%d of %d spans", come, n)
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *sink) Export(
	_ context.Context, r *collector.ExportTraceServiceRequest,
) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == string(attribute.Key("service.name")) {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.whole = append(s.whole, span)
				s.spans = append(s.spans, service+" "+span.GetName())
				s.trace[string(span.GetTraceId())] = true
			}
		}
	}

	return &collector.ExportTraceServiceResponse{}, nil
}

func serve(t *testing.T, s *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	return listener.Addr().String()
}

func TestAnRPCIsOneTraceThroughBothEndsAndShutdownSendsIt(t *testing.T) {
	spans := newSink()
	collecting := grpc.NewServer()
	collector.RegisterTraceServiceServer(collecting, spans)
	endpoint := "http://" + serve(t, collecting)

	start := func(service string) *telemetry.Telemetry {
		cfg := telemetry.Config{LogLevel: "info", LogFormat: "json", Traces: telemetry.Traces{Endpoint: endpoint, LoadRatio: 1}}
		tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: service}, cfg, &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}

		return tel
	}
	client, server := start("client"), start("server")
	serving := grpc.NewServer(server.ServerOptions()...)
	grpc_health_v1.RegisterHealthServer(serving, health.NewServer())
	conn, err := grpc.NewClient("passthrough:///"+serve(t, serving),
		client.DialOption(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tel := range []*telemetry.Telemetry{client, server} {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}

	spans.mu.Lock()
	defer spans.mu.Unlock()
	got := strings.Join(spans.spans, "\n")
	for _, want := range []string{"client Sent.grpc.health.v1.Health.Check", "server Recv.grpc.health.v1.Health.Check"} {
		if !strings.Contains(got, want) {
			t.Errorf("no span %q among:\n%s", want, got)
		}
	}
	if len(spans.trace) != 1 {
		t.Errorf("%d traces, want one:\n%s", len(spans.trace), got)
	}
}

func TestTheLogSaysWhichPodAndKeepsToItsLevel(t *testing.T) {
	var log bytes.Buffer
	id := telemetry.Identity{Service: "rng", Pod: "rng-1"}
	tel, err := telemetry.Start(t.Context(), id, telemetry.Config{LogLevel: "warn", LogFormat: "text"}, &log)
	if err != nil {
		t.Fatal(err)
	}
	tel.Logger.Info("quiet")
	tel.Logger.Warn("loud")
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := log.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "msg=loud service=rng pod=rng-1") {
		t.Error(got)
	}
}
