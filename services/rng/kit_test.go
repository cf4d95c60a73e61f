package main

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/evenkeel/evenkeel/internal/servedby"
	"github.com/evenkeel/evenkeel/internal/server"
	"github.com/evenkeel/evenkeel/internal/telemetry"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// startKit runs the service with the whole kit around it, as main does. The drain
// that terminate begins cuts RPCs after 50 ms; it returns when all has ended.
func startKit(t testing.TB, traces telemetry.Traces) (terminate func(), address net.Addr) {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: "rng"}, telemetry.Config{Traces: traces}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	kit, err := server.New(server.Config{
		BindAddress: "127.0.0.1", PodName: "rng-0", Reflection: true, DrainTimeout: 50 * time.Millisecond,
		KeepaliveTime: time.Minute, KeepaliveTimeout: time.Minute,
	}, tel)
	if err != nil {
		t.Fatal(err)
	}
	rngv1.RegisterRngServiceServer(kit.GRPC, &service{dice: newDice(1)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- kit.Run(ctx) }()

	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := tel.Shutdown(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}, kit.Addr()
}

func TestHealthKnowsTheServiceByItsName(t *testing.T) {
	terminate, address := startKit(t, telemetry.Traces{})
	defer terminate()
	answer, err := grpc_health_v1.NewHealthClient(dial(t, address)).Check(testContext(t), &grpc_health_v1.HealthCheckRequest{
		Service: rngv1.RngService_ServiceDesc.ServiceName,
	}, grpc.WaitForReady(true))
	if err != nil || answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", answer, err)
	}
}

func TestTheDrainTimeoutEndsAStreamWithUnavailable(t *testing.T) {
	terminate, address := startKit(t, telemetry.Traces{})
	stream, err := rngv1.NewRngServiceClient(dial(t, address)).RollStream(testContext(t), &rngv1.RollStreamRequest{
		Interval: durationpb.New(time.Millisecond),
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	header, err := stream.Header()
	if err != nil || !slices.Equal(header.Get(servedby.Pod), []string{"rng-0"}) {
		t.Errorf("header %v, %v", header, err)
	}
	terminate()
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}
