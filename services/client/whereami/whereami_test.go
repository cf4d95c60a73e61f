package whereami

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	experimental "google.golang.org/grpc/experimental/opentelemetry"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats/opentelemetry"
	"google.golang.org/grpc/status"

	geoipv1 "github.com/evenkeel/evenkeel/proto/geoip/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is both services in one server.
type backend struct {
	rngv1.UnimplementedRngServiceServer
	geoipv1.UnimplementedGeoipServiceServer

	lookup func(context.Context, *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error)
	roll   func(context.Context) error

	mu     sync.Mutex
	traces []string
}

func (b *backend) note(ctx context.Context, pod string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	b.mu.Lock()
	b.traces = append(b.traces, md.Get("traceparent")...)
	b.mu.Unlock()

	return grpc.SetHeader(ctx, metadata.Pairs("x-served-by", pod))
}

func (b *backend) Lookup(ctx context.Context, r *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
	if err := b.note(ctx, "geoip-7"); err != nil {
		return nil, err
	}
	if b.lookup != nil {
		return b.lookup(ctx, r)
	}

	return &geoipv1.LookupResponse{Address: r.GetAddress(), Country: &geoipv1.Country{IsoCode: "CH", Name: "Switzerland"}}, nil
}

func (b *backend) Roll(ctx context.Context, _ *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if err := b.note(ctx, "rng-3"); err != nil {
		return nil, err
	}
	if b.roll != nil {
		if err := b.roll(ctx); err != nil {
			return nil, err
		}
	}

	return &rngv1.RollResponse{Values: []int64{5}}, nil
}

// serve serves what register registers, until the test ends.
func serve(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) net.Addr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	register(server)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})

	return listener.Addr()
}

// dial is a channel, until the test ends.
func dial(t *testing.T, address net.Addr, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address.String(),
		append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// door is a front door to b.
func door(t *testing.T, b *backend, options ...grpc.DialOption) Door {
	t.Helper()
	conn := dial(t, serve(t, func(s *grpc.Server) {
		rngv1.RegisterRngServiceServer(s, b)
		geoipv1.RegisterGeoipServiceServer(s, b)
	}), options...)

	return Door{GeoIP: conn, Rng: conn, Timeout: 10 * time.Second}
}

func ask[A any](t *testing.T, h http.Handler, target string) (int, A) {
	t.Helper()
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodGet, target, nil)
	request.RemoteAddr = "[2001:db8::9%eth0]:4711"
	h.ServeHTTP(recorder, request)
	if got := recorder.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: %s", target, got)
	}
	var answer A
	decoder := json.NewDecoder(recorder.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&answer); err != nil {
		t.Fatalf("%s: %v", target, err)
	}

	return recorder.Code, answer
}

func TestTheAnswerHasWhatBothServicesSayAndWhoSaidIt(t *testing.T) {
	b := &backend{lookup: func(_ context.Context, r *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
		return &geoipv1.LookupResponse{
			Address: r.GetAddress(), Network: "8.8.8.0/24",
			Country:          &geoipv1.Country{IsoCode: "US", Name: "United States"},
			City:             &geoipv1.City{Name: "Mountain View"},
			Location:         &geoipv1.Location{Latitude: 37.4, Longitude: -122.1},
			AutonomousSystem: &geoipv1.AutonomousSystem{Number: 15169, Organization: "Google LLC"},
		}, nil
	}}
	code, answer := ask[Answer](t, door(t, b), "/api/whereami?ip=8.8.8.8")
	want := Answer{
		IP: "8.8.8.8", Network: "8.8.8.0/24", Country: &Country{ISOCode: "US", Name: "United States"},
		City: "Mountain View", Location: &Location{Latitude: 37.4, Longitude: -122.1},
		AS: &AS{Number: 15169, Organization: "Google LLC"}, Number: 5,
		ServedBy: map[string]string{"geoip": "geoip-7", "rng": "rng-3"},
	}
	if diff := cmp.Diff(want, answer); code != http.StatusOK || diff != "" {
		t.Errorf("%d: %s", code, diff)
	}
}

func TestWithoutAnAddressTheCallersIsMeant(t *testing.T) {
	if code, answer := ask[Answer](t, door(t, &backend{}), "/api/whereami"); code != http.StatusOK || answer.IP != "2001:db8::9" {
		t.Errorf("%d: %+v", code, answer)
	}
}

func TestAnAddressThatIsNoneIsABadRequestAndAsksNobody(t *testing.T) {
	for _, ip := range []string{"x", "8.8.8", "8.8.8.8:53", "fe80::1%eth0", "8.8.8.0/24", strings.Repeat("8", 10_000), "\x00", "<script>"} {
		nobody := Door{}
		code, failure := ask[Failure](t, nobody, "/api/whereami?ip="+url.QueryEscape(ip))
		if code != http.StatusBadRequest || failure.Code != "INVALID_ARGUMENT" || failure.Service != "" ||
			!strings.Contains(failure.Message, "give an IPv4 or IPv6 address") || len(failure.Message) > 300 {
			t.Errorf("%.20q: %d %+v", ip, code, failure)
		}
	}
}

func TestWithoutBothServicesThereIsNoAnswer(t *testing.T) {
	d := door(t, &backend{})
	d.GeoIP = nil
	if code, failure := ask[Failure](t, d, "/api/whereami?ip=8.8.8.8"); code != http.StatusNotImplemented ||
		!strings.Contains(failure.Message, "--geoip-target") {
		t.Errorf("%d %+v", code, failure)
	}
}

func TestEachStatusOfAServiceIsAnHTTPStatus(t *testing.T) {
	for code, want := range map[codes.Code]int{
		codes.InvalidArgument: 400, codes.FailedPrecondition: 400, codes.OutOfRange: 400, codes.Unauthenticated: 401,
		codes.PermissionDenied: 403, codes.NotFound: 404, codes.Aborted: 409, codes.AlreadyExists: 409,
		codes.ResourceExhausted: 429, codes.Canceled: 499, codes.Unknown: 500, codes.Internal: 500, codes.DataLoss: 500,
		codes.Unimplemented: 501, codes.Unavailable: 503, codes.DeadlineExceeded: 504, 42: 500,
	} {
		b := &backend{lookup: func(context.Context, *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
			return nil, status.Error(code, "because")
		}}
		got, failure := ask[Failure](t, door(t, b), "/api/whereami?ip=8.8.8.8")
		if got != want || failure.Message != "because" || failure.Service != "geoip" || failure.Code == "" {
			t.Errorf("%v: %d %+v, want %d", code, got, failure, want)
		}
	}
}

func TestAFailureOfRngIsOne(t *testing.T) {
	b := &backend{roll: func(context.Context) error { return status.Error(codes.Unavailable, "no dice") }}
	if code, failure := ask[Failure](t, door(t, b), "/api/whereami?ip=8.8.8.8"); code != http.StatusServiceUnavailable ||
		failure.Service != "rng" || failure.Code != "UNAVAILABLE" {
		t.Errorf("%d %+v", code, failure)
	}
}

func TestBothServicesAreAskedAtTheSameTime(t *testing.T) {
	looking, rolling := make(chan struct{}), make(chan struct{})
	b := &backend{
		lookup: func(ctx context.Context, r *geoipv1.LookupRequest) (*geoipv1.LookupResponse, error) {
			close(looking)

			return &geoipv1.LookupResponse{Address: r.GetAddress()}, await(ctx, rolling)
		},
		roll: func(ctx context.Context) error {
			close(rolling)

			return await(ctx, looking)
		},
	}
	if code, failure := ask[any](t, door(t, b), "/api/whereami?ip=8.8.8.8"); code != http.StatusOK {
		t.Errorf("%d %v", code, failure)
	}
}

// await waits for something, or for the end of ctx.
func await(ctx context.Context, something <-chan struct{}) error {
	select {
	case <-something:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// atOnce answers, with nothing, and takes no time that a deadline could find too long.
type atOnce struct{ grpc.ClientConnInterface }

func (atOnce) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return nil }

func TestAServiceThatDoesNotAnswerIsAGatewayTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	b := &backend{roll: func(context.Context) error { <-release; return nil }}
	d := door(t, b)
	d.GeoIP, d.Timeout = atOnce{}, 50*time.Millisecond
	if code, failure := ask[Failure](t, d, "/api/whereami?ip=8.8.8.8"); code != http.StatusGatewayTimeout || failure.Service != "rng" {
		t.Errorf("%d %+v", code, failure)
	}
}

func TestOneRequestIsOneTraceThroughBothServices(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	b := &backend{}
	d := door(t, b, opentelemetry.DialOption(opentelemetry.Options{TraceOptions: experimental.TraceOptions{
		TracerProvider: tracer, TextMapPropagator: propagation.TraceContext{},
	}}))
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	request := httptest.NewRequest(http.MethodGet, "/api/whereami?ip=8.8.8.8", nil)
	request.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	recorder := httptest.NewRecorder()
	d.Traced(tracer).ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Fatal(recorder.Code, recorder.Body)
	}
	var answer Answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || answer.TraceID != trace {
		t.Errorf("the answer names the trace %q: %v", answer.TraceID, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.traces) != 2 {
		t.Fatalf("the services heard of %q", b.traces)
	}
	for _, parent := range b.traces {
		if !strings.HasPrefix(parent, "00-"+trace+"-") {
			t.Errorf("a service heard of another trace: %s", parent)
		}
	}
	for _, span := range spans.Ended() {
		if span.SpanContext().TraceID().String() != trace {
			t.Errorf("%s is of another trace", span.Name())
		}
	}
	if len(spans.Ended()) < 5 { // the request, two RPCs, an attempt of each
		t.Errorf("%d spans", len(spans.Ended()))
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"", "8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "fe80::1%lo", "x", "1.2.3.4.5", "%00", "::", "010.1.1.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ip string) {
		address, err := addressOf(ip, "192.0.2.1:1234")
		if err != nil {
			recorder := httptest.NewRecorder()
			Door{}.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/api/whereami?ip="+url.QueryEscape(ip), nil))
			if recorder.Code != http.StatusBadRequest || !json.Valid(recorder.Body.Bytes()) {
				t.Errorf("%q: %d %s", ip, recorder.Code, recorder.Body)
			}

			return
		}
		if parsed, err := netip.ParseAddr(address); err != nil || parsed.Zone() != "" {
			t.Errorf("%q was taken for %q", ip, address)
		}
	})
}
