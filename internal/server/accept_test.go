package server

import (
	"context"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/evenkeel/evenkeel/internal/telemetry"
)

func TestHealthKnowsEveryServiceBeforeTheFirstConnectionIsAccepted(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: "rng"}, telemetry.Config{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{
		BindAddress: "127.0.0.1", DrainTimeout: time.Second, KeepaliveTime: time.Minute, KeepaliveTimeout: time.Minute,
	}, tel)
	if err != nil {
		t.Fatal(err)
	}
	// So many that telling health of all of them takes longer than a connection would.
	const services = 20_000
	for i := range services {
		s.GRPC.RegisterService(&grpc.ServiceDesc{ServiceName: strconv.Itoa(i)}, nil)
	}
	accepting := make(chan struct{}, 1)
	s.listener = askingListener{Listener: s.listener, ask: func() {
		known := 0
		for name := range s.GRPC.GetServiceInfo() {
			answer, _ := s.health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
			if answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
				known++
			}
		}
		if known != len(s.GRPC.GetServiceInfo()) {
			t.Errorf("health knows %d of %d services", known, len(s.GRPC.GetServiceInfo()))
		}
		accepting <- struct{}{}
	}}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-accepting
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := tel.Shutdown(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
}

func TestAnEndThatComesBeforeTheBeginningIsNoFailure(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), telemetry.Identity{Service: "rng"}, telemetry.Config{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{BindAddress: "127.0.0.1", KeepaliveTime: time.Minute, KeepaliveTimeout: time.Minute}, tel)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// As when the drain's GracefulStop overtakes the goroutine that is to serve.
	s.GRPC.Stop()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := tel.Shutdown(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
}

// askingListener asks whenever the server is about to accept a connection.
type askingListener struct {
	net.Listener

	ask func()
}

func (l askingListener) Accept() (net.Conn, error) {
	l.ask()

	return l.Listener.Accept()
}
