package server_test

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

func TestADrainingServerServesThroughTheDelayAndFinishesWhatIsInFlight(t *testing.T) {
	p := start(t, "--drain-delay=700ms", "--drain-timeout=10s")
	ctx := t.Context()
	rng := rngv1.NewRngServiceClient(p.dial())
	watch := watchHealth(t, p)

	// Longer than the delay: it is in flight when GracefulStop begins.
	inFlight := make(chan error, 1)
	headers := make(chan struct{})
	go func() {
		close(headers)
		_, err := rng.Roll(ctx, &rngv1.RollRequest{Max: new(int64(2000))})
		inFlight <- err
	}()
	<-headers
	awaitStarted(t, p, 1)

	signalled := time.Now() // the delay begins no earlier
	p.signal(syscall.SIGTERM)
	if got := <-watch; got != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health during the drain: %v", got)
	}
	for readyz(t, p) == http.StatusOK { // it turns just after health
	}
	// Whoever has not heard yet may still come, on a new connection.
	_, err := rngv1.NewRngServiceClient(p.dial()).Roll(ctx, &rngv1.RollRequest{Max: new(int64(0))})
	if heard := time.Since(signalled); heard > 700*time.Millisecond {
		t.Logf("the machine is too slow for the delay to have been seen: %v", heard)
	} else if err != nil {
		t.Errorf("a new connection during the drain delay: %v", err)
	}

	if err := <-inFlight; err != nil {
		t.Errorf("the RPC in flight: %v", err)
	}
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("exit: %v", state)
	}
}

func TestAStreamLongerThanTheDrainTimeoutIsCutAndTheServerStillExits0(t *testing.T) {
	p := start(t, "--drain-timeout=300ms")
	stream := openStream(t, p)

	signalled := time.Now()
	p.signal(syscall.SIGTERM)
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v, want UNAVAILABLE", err)
	}
	if after := time.Since(signalled); after < 300*time.Millisecond {
		t.Errorf("the stream was cut after %v, before the drain timeout", after)
	}
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("exit: %v", state)
	}
}

func TestWithoutADrainTimeoutRPCsInFlightAreCutAtOnce(t *testing.T) {
	p := start(t, "--drain-timeout=0s")
	stream := openStream(t, p)
	p.signal(syscall.SIGTERM)
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v, want UNAVAILABLE", err)
	}
	if state := p.wait(); state.ExitCode() != 0 {
		t.Errorf("exit: %v", state)
	}
}

func TestASecondSignalEndsTheServerAtOnce(t *testing.T) {
	p := start(t, "--drain-timeout=1h")
	watch := watchHealth(t, p)
	openStream(t, p)

	p.signal(syscall.SIGTERM)
	<-watch // the first signal has been taken
	p.signal(syscall.SIGTERM)
	state := p.wait()
	if ws, ok := state.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("exit: %v, want death by SIGTERM", state)
	}
}

// openStream has a stream in flight that only a cut ends.
func openStream(t *testing.T, p *process) grpc.ServerStreamingClient[rngv1.RollStreamResponse] {
	t.Helper()
	stream, err := rngv1.NewRngServiceClient(p.dial()).RollStream(t.Context(), &rngv1.RollStreamRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	return stream
}

// watchHealth delivers the first health status after SERVING.
func watchHealth(t *testing.T, p *process) <-chan grpc_health_v1.HealthCheckResponse_ServingStatus {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	watch, err := grpc_health_v1.NewHealthClient(p.dial()).Watch(ctx, &grpc_health_v1.HealthCheckRequest{
		Service: rngv1.RngService_ServiceDesc.ServiceName,
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := watch.Recv()
	if err != nil || first.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("health at first: %v, %v", first, err)
	}
	next := make(chan grpc_health_v1.HealthCheckResponse_ServingStatus, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := watch.Recv(); err == nil {
			next <- response.GetStatus()
		}
		close(next)
		// A watch is an RPC in flight: one that stays would hold the drain up.
		cancel()
	}()
	t.Cleanup(func() { <-done })

	return next
}

// readyz is the status of /readyz.
func readyz(t *testing.T, p *process) int {
	t.Helper()
	response, err := http.Get(p.url("/readyz"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	http.DefaultClient.CloseIdleConnections()

	return response.StatusCode
}
