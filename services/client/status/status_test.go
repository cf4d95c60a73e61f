package status_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/keys"
	"github.com/evenkeel/evenkeel/services/client/load"
	"github.com/evenkeel/evenkeel/services/client/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dice fails every fourth roll.
type dice struct {
	rngv1.UnimplementedRngServiceServer

	mu    sync.Mutex
	rolls int
}

func (d *dice) Roll(ctx context.Context, _ *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-served-by", "rng-<0>")); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rolls++; d.rolls%4 == 0 {
		return nil, grpcstatus.Error(codes.Internal, "<b>off the table</b>")
	}

	return &rngv1.RollResponse{Values: []int64{1}}, nil
}

// recordedSpan is of the trace that the first RPC of driven belongs to.
var recordedSpan = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 1}, TraceFlags: trace.FlagsSampled})

// driven is a service that has been called 40 times, 10 of them in vain.
func driven(t *testing.T, feed *load.Feed) []status.Service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	rngv1.RegisterRngServiceServer(server, &dice{})
	recorder := load.NewRecorder("rng", 10*time.Millisecond, feed)
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(recorder.StatsHandler()))
	if err != nil {
		t.Fatal(err)
	}
	var working sync.WaitGroup
	working.Go(func() { _ = server.Serve(listener) })
	recording, stopRecording := context.WithCancel(context.Background())
	working.Go(func() { recorder.Run(recording) })
	defer working.Wait()
	defer stopRecording()
	defer server.Stop()
	defer conn.Close()

	client := rngv1.NewRngServiceClient(conn)
	ctx, stop := context.WithCancel(t.Context())
	calls := 0
	generator := &load.Generator{
		Recorder: recorder, Concurrency: 1, Timeout: 10 * time.Second,
		Call: func(ctx context.Context) error {
			if calls++; calls == 40 {
				stop()
			}
			if calls == 1 {
				ctx = trace.ContextWithSpanContext(ctx, recordedSpan)
			}
			_, err := client.Roll(ctx, &rngv1.RollRequest{})

			return err
		},
	}
	generator.Run(ctx)

	return []status.Service{{
		Name: "rng", Target: "dns:///rng-headless:8081", ServiceConfig: `{"loadBalancingPolicy":"round_robin"}`, Generator: generator,
	}}
}

func get(t *testing.T, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}

	return w
}

func TestTheReportHasTheStrategyAndWhatBecameOfIt(t *testing.T) {
	w := get(t, status.ServeReport(driven(t, load.NewFeed())))
	var report status.Report
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&report); err != nil {
		t.Fatal(err)
	}
	s := report.Services[0]
	if s.Service != "rng" || s.Target != "dns:///rng-headless:8081" || s.ServiceConfig != `{"loadBalancingPolicy":"round_robin"}` ||
		s.Rate != 0 || s.Concurrency != 1 {
		t.Errorf("strategy and load: %+v", s)
	}
	if s.RPCs != 40 || s.Failed != 10 || s.ErrorsByCode["INTERNAL"] != 10 || s.Attempts != 40 || s.FailedAttempts != 10 {
		t.Errorf("counts: %+v", s)
	}
	l := s.LatencyMs
	if *l.P50 <= 0 || *l.P50 > *l.P90 || *l.P90 > *l.P99 || *l.P99 > *l.P999 || *l.P999 > *l.Max || *l.Max > 10_000 {
		t.Errorf("latency: %v %v %v %v %v", *l.P50, *l.P90, *l.P99, *l.P999, *l.Max)
	}
	if len(s.Pods) != 1 || s.Pods[0].Name != "rng-<0>" || s.Pods[0].RPCs != 30 || s.OtherPods != nil {
		t.Errorf("pods: %+v", s.Pods)
	}
	if !strings.Contains(s.LastError, "off the table") || s.LastErrorAt == nil || report.Seconds <= 0 {
		t.Errorf("last error %q at %v after %v s", s.LastError, s.LastErrorAt, report.Seconds)
	}
}

// idle is a service that has not been called.
func idle() []status.Service {
	return []status.Service{{
		Name: "geoip", Target: "geoip:9200",
		Generator: &load.Generator{Rate: 20, Recorder: load.NewRecorder("geoip", 100*time.Millisecond, load.NewFeed())},
	}}
}

func TestWhatWasNotMeasuredIsNullInTheReport(t *testing.T) {
	text := get(t, status.ServeReport(idle())).Body.String()
	for _, want := range []string{`"p50": null`, `"max": null`, `"pods": []`, `"errorsByCode": {}`, `"rpcs": 0`, `"rate": 20`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// keyed is a service whose RPCs carry keys.
func keyed() []status.Service {
	services := idle()
	services[0].Generator.Keys = keys.NewSet(keys.Config{Keys: keys.Zipf, KeyCount: 300, KeySkew: 1.1, KeyHeader: "x-user-id"})

	return services
}

func TestTheKeysAreInTheReportAndTheSummaryIfThereAreAny(t *testing.T) {
	show := func(services []status.Service) (report, summary string) {
		var text bytes.Buffer
		if err := status.PrintSummary(&text, status.NewReport(services)); err != nil {
			t.Fatal(err)
		}

		return get(t, status.ServeReport(services)).Body.String(), text.String()
	}
	report, summary := show(keyed())
	var got struct {
		Services []struct{ Keys map[string]any }
	}
	if err := json.Unmarshal([]byte(report), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"distribution": "zipf", "count": 300.0, "skew": 1.1, "header": "x-user-id"}
	if diff := cmp.Diff(want, got.Services[0].Keys); diff != "" {
		t.Error(diff)
	}
	if want := "keys: 300, zipf (s = 1.1), in x-user-id"; !strings.HasSuffix(summary, "geoip "+want+"\n") {
		t.Errorf("no %q in %s", want, summary)
	}
	report, summary = show(idle())
	for _, text := range []string{report, summary} {
		if strings.Contains(text, "keys") {
			t.Errorf("keys where there are none: %s", text)
		}
	}
}

func TestTheMetricsAreThoseOfTheTotals(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(status.NewMetrics(driven(t, load.NewFeed())))
	text := get(t, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})).Body.String()
	for _, want := range []string{
		`evenkeel_client_rpcs_total{code="OK",service="rng"} 30`,
		`evenkeel_client_rpcs_total{code="INTERNAL",service="rng"} 10`,
		`evenkeel_client_rpcs_not_sent_total{service="rng"} 0`,
		`evenkeel_client_attempts_total{ok="true",service="rng"} 30`,
		`evenkeel_client_attempts_total{ok="false",service="rng"} 10`,
		`evenkeel_client_transparent_retries_total{service="rng"} 0`,
		`evenkeel_client_connections{service="rng"} 0`,
		`evenkeel_client_rpc_latency_seconds_count{service="rng"} 30`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "evenkeel_client_rpc_latency_seconds" {
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		buckets := h.GetBucket()
		if h.GetSampleCount() != 30 || buckets[len(buckets)-1].GetCumulativeCount() != 30 || h.GetSampleSum() <= 0 {
			t.Errorf("latency: %v", h)
		}

		return
	}
	t.Error("no latency")
}

func TestALatencyWhoseTraceIsRecordedLeadsToIt(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(status.NewMetrics(driven(t, load.NewFeed())))
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, request)
	if n := strings.Count(w.Body.String(), `# {trace_id="`+recordedSpan.TraceID().String()+`"}`); n != 1 {
		t.Errorf("%d exemplars, want that of one RPC in\n%s", n, w.Body)
	}
}

func TestTheSummaryIsATableForPeople(t *testing.T) {
	var text bytes.Buffer
	if err := status.PrintSummary(&text, status.NewReport(append(driven(t, load.NewFeed()), idle()...))); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], "p99.9 ms") || len(lines[0]) != len(lines[1]) ||
		!strings.Contains(lines[2], "geoip") || !strings.Contains(lines[3], "rng failed: INTERNAL 10 (last, ") {
		t.Errorf("%s", text.String())
	}
}

func TestEventsAreTheFramesFromTheConnectionOn(t *testing.T) {
	feed := load.NewFeed()
	server := httptest.NewServer(status.ServeEvents(feed))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type %q", got)
	}
	driven(t, feed)
	feed.Close()

	var rpcs int64
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var f loadreport.Frame
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&f); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if f.Service != "rng" || f.Seconds <= 0 {
			t.Errorf("%+v", f)
		}
		rpcs += f.RPCs
	}
	if err := lines.Err(); err != nil || rpcs != 40 {
		t.Errorf("%d RPCs of 40, then %v", rpcs, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestAReaderThatGoesAwayEndsItsStream(t *testing.T) {
	server := httptest.NewServer(status.ServeEvents(load.NewFeed()))
	defer server.Close() // waits for the handler
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(response.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("reading on: %v", err)
	}
	_ = response.Body.Close()
}

// stuckWriter is a reader that takes nothing until it is released.
type stuckWriter struct {
	*httptest.ResponseRecorder

	released chan struct{}
	taken    int
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.released
	w.taken++

	return len(p), nil
}

func TestAReaderThatIsTooSlowIsCutOffAndHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := load.NewFeed()
		w := &stuckWriter{ResponseRecorder: httptest.NewRecorder(), released: make(chan struct{})}
		var serving sync.WaitGroup
		var ended any
		serving.Go(func() {
			defer func() { ended = recover() }()
			status.ServeEvents(feed).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil))
		})
		synctest.Wait()

		recorder := load.NewRecorder("rng", 100*time.Millisecond, feed)
		recording, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		defer stop()
		var working sync.WaitGroup
		working.Go(func() { recorder.Run(recording) })
		generator := &load.Generator{
			Recorder: recorder, Concurrency: 1, Timeout: time.Second,
			Call: func(context.Context) error { time.Sleep(10 * time.Millisecond); return nil },
		}
		generator.Run(recording)
		working.Wait()
		if totals := recorder.Totals(); totals.RPCs < 11_900 {
			t.Errorf("the generator was held up: %d RPCs in 2 minutes", totals.RPCs)
		}

		close(w.released)
		serving.Wait()
		if err, ok := ended.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("the stream ended with %v, not cut off", ended)
		}
		if w.taken == 0 || w.taken > 600 {
			t.Errorf("%d frames were kept for the reader", w.taken)
		}
	})
}

func ExamplePrintSummary() {
	_ = status.PrintSummary(os.Stdout, status.Report{Seconds: 2, Services: []status.ServiceReport{{Service: "rng", RPCs: 400}}})
	// Output:
	// service  RPCs  RPC/s  failed  failed attempts  pods  p50 ms  p90 ms  p99 ms  p99.9 ms  max ms
	//       rng   400  200.0       0                0     0       –       –       –         –       –
}
