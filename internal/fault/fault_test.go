package fault

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const roll = "/rng.v1.RngService/Roll"

// One fault each, and all of them.
var (
	slow     = &faultv1.Faults{Latency: &faultv1.Latency{Duration: durationpb.New(100 * time.Millisecond), Jitter: 0.5}}
	failing  = &faultv1.Faults{Errors: &faultv1.Errors{Rate: 1, Code: "RESOURCE_EXHAUSTED"}}
	starting = &faultv1.Faults{SlowStart: &faultv1.SlowStart{
		Latency: durationpb.New(time.Second), Duration: durationpb.New(10 * time.Second),
	}}
	refusing   = &faultv1.Faults{RefuseHealth: true}
	everything = &faultv1.Faults{
		Latency: slow.GetLatency(), Errors: failing.GetErrors(), SlowStart: starting.GetSlowStart(), RefuseHealth: true,
	}
)

func TestAnRPCThatNoFaultTouchesIsLeftAlone(t *testing.T) {
	k := newKit(t)
	for name, test := range map[string]struct {
		set    *faultv1.Faults
		method string
	}{
		"no faults":                      {nil, roll},
		"unhealthy, but an RPC":          {refusing, roll},
		"slow and failing, but health":   {&faultv1.Faults{Latency: slow.GetLatency(), Errors: failing.GetErrors()}, "/grpc.health.v1.Health/Check"},
		"everything, but the reflection": {everything, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"},
	} {
		k.replace(t, test.set)
		got := k.call(t.Context(), test.method)
		if diff := cmp.Diff(outcome{handled: true, took: got.took}, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhateverAFaultTouchesSaysSo(t *testing.T) {
	injected := status.Error(codes.ResourceExhausted, "injected by evenkeel's fault service")
	for name, test := range map[string]struct {
		set     *faultv1.Faults
		method  string
		touched []string
		err     error
	}{
		"latency":       {slow, roll, []string{"latency"}, nil},
		"errors":        {failing, roll, []string{"errors"}, injected},
		"slow start":    {starting, roll, []string{"slow_start"}, nil},
		"refuse health": {refusing, "/grpc.health.v1.Health/Check", []string{"refuse_health"}, nil},
		"everything":    {everything, roll, []string{"latency", "slow_start", "errors"}, injected},
	} {
		for _, kind := range []string{"unary", "stream"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					k := newKit(t)
					k.replace(t, test.set)
					call := k.call
					if kind == "stream" {
						call = k.stream
					}
					spans := tracetest.NewSpanRecorder()
					provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
					ctx, span := provider.Tracer("test").Start(t.Context(), "rpc")
					got := call(ctx, test.method)
					span.End()

					want := outcome{handled: test.err == nil, err: test.err, took: got.took}
					if test.err == nil {
						want.header = test.touched
					} else {
						want.trailer = test.touched
					}
					if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{}), cmp.Comparer(sameStatus)); diff != "" {
						t.Error(diff)
					}
					attributes := spans.Ended()[0].Attributes()
					if len(attributes) != 1 || attributes[0].Key != "evenkeel.fault" ||
						!slices.Equal(attributes[0].Value.AsStringSlice(), test.touched) {
						t.Errorf("the span has %v", attributes)
					}
					for _, fault := range []string{"latency", "errors", "slow_start", "refuse_health"} {
						count := 0.0
						if slices.Contains(test.touched, fault) {
							count = 1
						}
						if got := k.metric(t, "evenkeel_faults_injected_total", fault); got != count {
							t.Errorf("%s was injected %v times, want %v", fault, got, count)
						}
					}
				})
			})
		}
	}
}

func TestAMetricSaysWhichFaultsAreInForce(t *testing.T) {
	k := newKit(t)
	active := func() (names []string) {
		for _, fault := range []string{"latency", "errors", "slow_start", "refuse_health"} {
			if k.metric(t, "evenkeel_fault_active", fault) == 1 {
				names = append(names, fault)
			}
		}

		return names
	}
	for _, test := range []struct {
		set  *faultv1.Faults
		want []string
	}{
		{nil, nil},
		{slow, []string{"latency"}},
		{failing, []string{"errors"}}, // in its place
		{starting, []string{"slow_start"}},
		{refusing, []string{"refuse_health"}},
		{everything, []string{"latency", "errors", "slow_start", "refuse_health"}},
		{nil, nil},
	} {
		k.replace(t, test.set)
		if diff := cmp.Diff(test.want, active()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheLogWarnsWhenFaultsAreSetAndCleared(t *testing.T) {
	k := newKit(t)
	k.replace(t, everything)
	k.replace(t, nil)
	k.replace(t, nil) // there are none: no news
	want := `level=WARN msg="faults set" latency=100ms jitter=0.5 errorRate=1 code=RESOURCE_EXHAUSTED slowStart=1s over=10s refuseHealth=true
level=WARN msg="faults cleared"
`
	if diff := cmp.Diff(want, k.log.String()); diff != "" {
		t.Error(diff)
	}
}

func TestHealthIsRefusedOnceAndGivenBackOnce(t *testing.T) {
	k := newKit(t)
	for _, set := range []*faultv1.Faults{slow, refusing, everything, refusing, slow, nil, everything, nil} {
		k.replace(t, set)
	}
	if want := []bool{true, false, true, false}; !slices.Equal(k.refused, want) {
		t.Errorf("got %v, want %v", k.refused, want)
	}
}

func TestFaultsChangeWhileRPCsRun(t *testing.T) {
	k := newKit(t)
	brief := &faultv1.Faults{
		Latency: &faultv1.Latency{Duration: durationpb.New(time.Microsecond), Jitter: 1},
		Errors:  &faultv1.Errors{Rate: 0.5}, RefuseHealth: true,
	}
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 100 {
				k.replace(t, brief)
				if _, err := k.service.Get(t.Context(), nil); err != nil {
					t.Error(err)
				}
				k.replace(t, nil)
			}
		})
		running.Go(func() {
			for range 300 {
				got := k.call(t.Context(), roll)
				if got.handled != (got.err == nil) || (got.err != nil && !slices.Contains(got.trailer, "errors")) {
					t.Errorf("got %+v", got)
				}
				k.metric(t, "evenkeel_fault_active", "latency")
			}
		})
	}
	running.Wait()
	if got := k.call(t.Context(), roll); got.header != nil || got.err != nil {
		t.Errorf("after the last Clear: %+v", got)
	}
	if refused := len(k.refused); refused%2 != 0 {
		t.Errorf("health was refused or given back %d times: it is refused still", refused)
	}
}

// kit is an injector with all that it is connected to.
type kit struct {
	*Injector

	service  *service
	registry *prometheus.Registry
	log      bytes.Buffer
	refused  []bool // each call of refuseHealth
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{registry: prometheus.NewRegistry()}
	withoutTime := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}

		return a
	}}
	k.Injector = New(k.registry, slog.New(slog.NewTextHandler(&k.log, withoutTime)), func(refuse bool) {
		k.refused = append(k.refused, refuse)
	})
	k.service = &service{injector: k.Injector}

	return k
}

// replace sets faults, or clears them if they are nil.
func (k *kit) replace(t *testing.T, set *faultv1.Faults) {
	t.Helper()
	var err error
	if set == nil {
		_, err = k.service.Clear(t.Context(), &faultv1.ClearRequest{})
	} else {
		_, err = k.service.Set(t.Context(), &faultv1.SetRequest{Faults: set})
	}
	if err != nil {
		t.Error(err)
	}
}

// outcome is what became of an RPC.
type outcome struct {
	handled         bool // it came to the service
	err             error
	header, trailer []string // the faults that they name
	took            time.Duration
}

// call makes a unary RPC.
func (k *kit) call(ctx context.Context, method string) outcome {
	var o outcome
	transport := &transport{}
	began := time.Now()
	_, o.err = k.Unary(grpc.NewContextWithServerTransportStream(ctx, transport), nil, &grpc.UnaryServerInfo{FullMethod: method},
		func(context.Context, any) (any, error) {
			o.handled = true

			return "answer", nil
		})
	o.header, o.trailer, o.took = transport.header[Key], transport.trailer[Key], time.Since(began)

	return o
}

// stream makes an RPC that is answered with two messages.
func (k *kit) stream(ctx context.Context, method string) outcome {
	var o outcome
	began := time.Now()
	stream := &stream{ctx: ctx}
	o.err = k.Stream(nil, stream, &grpc.StreamServerInfo{FullMethod: method}, func(_ any, s grpc.ServerStream) error {
		o.handled = true

		if err := s.SendMsg("one"); err != nil {
			return err
		}

		return s.SendMsg("two")
	})
	o.header, o.trailer, o.took = stream.header[Key], stream.trailer[Key], time.Since(began)

	return o
}

func (k *kit) metric(t *testing.T, name, fault string) float64 {
	t.Helper()
	families, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == fault {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no %s of %s", name, fault)

	return 0
}

// transport is where interceptors of unary RPCs put metadata.
type transport struct{ header, trailer metadata.MD }

func (*transport) Method() string { return "" }
func (tr *transport) SetHeader(md metadata.MD) error {
	tr.header = metadata.Join(tr.header, md)

	return nil
}
func (tr *transport) SendHeader(md metadata.MD) error { return tr.SetHeader(md) }
func (tr *transport) SetTrailer(md metadata.MD) error {
	tr.trailer = metadata.Join(tr.trailer, md)

	return nil
}

// stream is a server's end of a stream; it takes no header once a message was sent.
type stream struct {
	grpc.ServerStream

	ctx             context.Context
	header, trailer metadata.MD
	sent            bool
}

func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) SetHeader(md metadata.MD) error {
	if s.sent {
		return fmt.Errorf("the header was sent")
	}
	s.header = metadata.Join(s.header, md)

	return nil
}
func (s *stream) SendHeader(md metadata.MD) error {
	err := s.SetHeader(md)
	s.sent = true

	return err
}
func (s *stream) SetTrailer(md metadata.MD) { s.trailer = metadata.Join(s.trailer, md) }
func (s *stream) SendMsg(any) error {
	s.sent = true

	return nil
}

func sameStatus(a, b error) bool {
	return status.Code(a) == status.Code(b) && status.Convert(a).Message() == status.Convert(b).Message()
}
