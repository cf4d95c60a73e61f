package server_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/evenkeel/evenkeel/internal/inspect/inspecttest"
	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

func TestWithoutTheInspectPortNobodySetsAFault(t *testing.T) {
	p := start(t)
	_, err := faultv1.NewFaultServiceClient(p.dial()).Set(t.Context(), failing(1))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want UNIMPLEMENTED", err)
	}
}

func TestAnInjectedErrorSaysSoAndCanBeRetried(t *testing.T) {
	p, inspect := startInspected(t, "--pod-name=rng-7")
	faults := faultv1.NewFaultServiceClient(inspect)
	if _, err := faults.Set(t.Context(), failing(1)); err != nil {
		t.Fatal(err)
	}
	const retries = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.001s",
		"maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	cc, err := grpc.NewClient("passthrough:///"+p.grpc,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(retries))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	rng := rngv1.NewRngServiceClient(cc)
	var trailer metadata.MD
	_, err = rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(0))}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.Unavailable || !strings.HasSuffix(status.Convert(err).Message(), "injected by evenkeel's fault service") {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(trailer["x-evenkeel-fault"], []string{"errors"}) || !slices.Equal(trailer["x-served-by"], []string{"rng-7"}) {
		t.Errorf("the trailer is %v", trailer)
	}
	for sample, want := range map[string]float64{
		`evenkeel_faults_injected_total{fault="errors"} `:                                                          3,
		`evenkeel_fault_active{fault="errors"} `:                                                                   1,
		`grpc_server_call_duration_seconds_count{grpc_method="rng.v1.RngService/Roll",grpc_status="UNAVAILABLE"} `: 3,
	} {
		if got := metric(t, p, sample); got != want {
			t.Errorf("%s is %v, want %v", sample, got, want)
		}
	}
	if _, err := faults.Clear(t.Context(), &faultv1.ClearRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(0))}); err != nil {
		t.Errorf("once cleared: %v", err)
	}
}

func TestADelayedAnswerSaysSo(t *testing.T) {
	p, inspect := startInspected(t)
	if _, err := faultv1.NewFaultServiceClient(inspect).Set(t.Context(), &faultv1.SetRequest{Faults: &faultv1.Faults{
		Latency: &faultv1.Latency{Duration: durationpb.New(time.Millisecond)},
	}}); err != nil {
		t.Fatal(err)
	}
	rng := rngv1.NewRngServiceClient(p.dial())
	var header metadata.MD
	if _, err := rng.Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(0))}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	stream, err := rng.RollStream(t.Context(), &rngv1.RollStreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	ofStream, err := stream.Header()
	if err != nil {
		t.Fatal(err)
	}
	for _, md := range []metadata.MD{header, ofStream} {
		if !slices.Equal(md["x-evenkeel-fault"], []string{"latency"}) || len(md["x-served-by"]) != 1 {
			t.Errorf("the header is %v", md)
		}
	}
}

func TestRefusedHealthIsAllThatIsRefused(t *testing.T) {
	p, inspect := startInspected(t)
	faults := faultv1.NewFaultServiceClient(inspect)
	watch := watchHealth(t, p)
	refuseHealth(t, faults)
	if got := <-watch; got != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a watch sees %v", got)
	}
	health := grpc_health_v1.NewHealthClient(p.dial())
	for _, service := range []string{"", rngv1.RngService_ServiceDesc.ServiceName} {
		var header metadata.MD
		got, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service}, grpc.Header(&header))
		if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING ||
			!slices.Equal(header["x-evenkeel-fault"], []string{"refuse_health"}) {
			t.Errorf("%q: %v, %v, header %v", service, got, err, header)
		}
	}
	livez, err := http.Get(p.url("/livez"))
	if err != nil {
		t.Fatal(err)
	}
	_ = livez.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if livez.StatusCode != http.StatusOK {
		t.Errorf("/livez: %d", livez.StatusCode)
	}
	if _, err := rngv1.NewRngServiceClient(p.dial()).Roll(t.Context(), &rngv1.RollRequest{Max: new(int64(0))}); err != nil {
		t.Error(err)
	}
	if _, err := faults.Clear(t.Context(), &faultv1.ClearRequest{}); err != nil {
		t.Fatal(err)
	}
	got, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("once cleared: %v, %v", got, err)
	}
}

func TestTheInspectPortOutlivesTheDrainAndDoesNotHoldItUp(t *testing.T) {
	p, inspect := startInspected(t, "--drain-timeout=1h")
	faults := faultv1.NewFaultServiceClient(inspect)
	refuseHealth(t, faults)
	// Somebody looks on, and does not stop.
	onlooker, err := reflection.NewServerReflectionClient(inspect).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// In flight until its caller leaves, so that the drain lasts.
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	stream, err := rngv1.NewRngServiceClient(p.dial()).RollStream(ctx, &rngv1.RollStreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	for readyz(t, p) == http.StatusOK {
	}
	if _, err := faults.Clear(t.Context(), &faultv1.ClearRequest{}); err != nil {
		t.Errorf("during the drain: %v", err)
	}
	leave()
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("exit: %v", state)
	}
	if _, err := onlooker.Recv(); err == nil {
		t.Error("the inspect port goes on")
	}
}

func TestADrainHasTheLastWordOnHealth(t *testing.T) {
	p, inspect := startInspected(t, "--drain-delay=1h")
	faults := faultv1.NewFaultServiceClient(inspect)
	refuseHealth(t, faults)
	health := grpc_health_v1.NewHealthClient(p.dial())
	if _, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	for readyz(t, p) == http.StatusOK {
	}
	if _, err := faults.Clear(t.Context(), &faultv1.ClearRequest{}); err != nil {
		t.Fatal(err)
	}
	got, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("during the drain, with the fault cleared: %v, %v", got, err)
	}
}

func TestAnInspectPortThatIsAnotherPortIsRefused(t *testing.T) {
	for _, args := range [][]string{{"--port=8090"}, {"--admin-port=8090"}} {
		refused(t, "--inspect-port: 8090 is another port of this process: give each its own", nil,
			append(args, "--inspect-port=8090")...)
	}
}

// startInspected runs a server with its inspect port open, and a connection to that.
func startInspected(t *testing.T, args ...string) (*process, *grpc.ClientConn) {
	t.Helper()
	port, address := inspecttest.FreePort(t)
	p := start(t, append(args, "--inspect-port="+port)...)
	cc, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true))) // it opens just after the others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })

	return p, cc
}

// failing are errors at a rate.
func failing(rate float64) *faultv1.SetRequest {
	return &faultv1.SetRequest{Faults: &faultv1.Faults{Errors: &faultv1.Errors{Rate: rate}}}
}

func refuseHealth(t *testing.T, faults faultv1.FaultServiceClient) {
	t.Helper()
	if _, err := faults.Set(t.Context(), &faultv1.SetRequest{Faults: &faultv1.Faults{RefuseHealth: true}}); err != nil {
		t.Fatal(err)
	}
}
