// Package server is the kit that every gRPC server of the suite is made with:
// health, keepalive, reflection, telemetry, who served in the response header, and
// above all an end that loses no RPC.
//
// When the context of Run ends (on SIGTERM, in Main), a server drains in this order:
//
//  1. Health turns NOT_SERVING and /readyz 503, so that nobody new comes.
//  2. It goes on serving for the drain delay, while the news spreads. Until then
//     clients that have not heard may still open connections.
//  3. GracefulStop: GOAWAY on every connection, RPCs in flight go on.
//  4. What is still in flight at the drain timeout is cut (Stop); its callers
//     see UNAVAILABLE.
//  5. The admin port closes, then the inspect port, and Main flushes telemetry, so
//     that the drain itself is in it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/evenkeel/evenkeel/internal/admin"
	"github.com/evenkeel/evenkeel/internal/fault"
	"github.com/evenkeel/evenkeel/internal/inspect"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// adminGrace is how long a scrape in flight may hold up the end of the process.
const adminGrace = time.Second

// Server is a gRPC server with its admin port.
type Server struct {
	// GRPC is where services are registered, before Run.
	GRPC *grpc.Server
	// Admin is the HTTP side; handlers are added before Run.
	Admin *admin.Server
	// Logger is the process's log.
	Logger *slog.Logger
	// Telemetry is the process's telemetry.
	Telemetry *telemetry.Telemetry

	cfg      Config
	listener net.Listener
	draining prometheus.Gauge
	health   *health.Server
	inspect  *inspect.Server
}

// New opens the ports. Connections wait, unanswered, until Run.
func New(cfg Config, t *telemetry.Telemetry) (*Server, error) {
	listener, err := net.Listen("tcp", cfg.address(cfg.Port))
	if err != nil {
		return nil, fmt.Errorf("gRPC port: %w", err)
	}
	connections := newConnectionMetrics(t.Registry)
	var s *Server
	faults := fault.New(t.Registry, t.Logger, func(refuse bool) { s.sayServing(!refuse) })
	inspectServer, err := inspect.Listen(cfg.Inspect, t.Logger, faults.Register)
	if err != nil {
		_ = listener.Close() // nobody has connected yet

		return nil, err
	}
	adminServer, err := admin.Listen(cfg.address(cfg.AdminPort), t.Registry, t.Logger)
	if err != nil {
		// The process ends without the port; nobody has connected yet.
		_ = listener.Close()
		inspectServer.Close()

		return nil, err
	}

	calls := newCallMetrics(t.Registry)
	served := servedBy(cfg)
	recovery := newRecovery(t)
	s = &Server{
		GRPC: grpc.NewServer(append(t.ServerOptions(),
			grpc.ChainUnaryInterceptor(around{calls, served, faults, recovery}.unary),
			// The same for streams, from without to within.
			grpc.ChainStreamInterceptor(calls.stream, served.stream, faults.Stream, recovery.stream),
			grpc.KeepaliveParams(keepalive.ServerParameters{
				MaxConnectionAge:      cfg.MaxConnectionAge, // 0 is infinity to gRPC too
				MaxConnectionAgeGrace: cfg.MaxConnectionAgeGrace,
				Time:                  cfg.KeepaliveTime,
				Timeout:               cfg.KeepaliveTimeout,
			}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
				MinTime:             cfg.KeepaliveMinTime,
				PermitWithoutStream: true,
			}),
		)...),
		Admin:     adminServer,
		Logger:    t.Logger,
		Telemetry: t,
		cfg:       cfg,
		listener:  countedListener{Listener: listener, metrics: connections, userTimeout: cfg.KeepaliveTimeout},
		draining:  newDrainingMetric(t.Registry),
		health:    health.NewServer(),
		inspect:   inspectServer,
	}
	grpc_health_v1.RegisterHealthServer(s.GRPC, s.health)
	if cfg.Reflection {
		reflection.Register(s.GRPC)
	}

	return s, nil
}

// Addr is the address that gRPC is served on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx is done, then drains. It returns an error if a port fails
// before that.
func (s *Server) Run(ctx context.Context) error {
	grpcDone := make(chan error, 1)
	adminDone := make(chan error, 1)
	// Before the first connection is accepted: health answers NOT_FOUND for a service
	// that it has not been told of, and a connection may be waiting already.
	s.sayServing(true)
	go func() { grpcDone <- s.GRPC.Serve(s.listener) }()
	go func() { adminDone <- s.Admin.Serve() }()

	s.Admin.SetReady(true)
	s.inspect.Start()
	defer s.inspect.Close()
	s.Logger.Info("serving", "grpc", s.Addr().String(), "admin", s.Admin.Addr().String())

	var grpcErr, adminErr error
	select {
	case <-ctx.Done():
		s.drain()
		grpcErr = <-grpcDone
	case grpcErr = <-grpcDone:
	case adminErr = <-adminDone:
		s.GRPC.Stop()

		return errors.Join(adminErr, <-grpcDone)
	}

	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminGrace)
	defer cancel()
	if err := s.Admin.Shutdown(closing); err != nil {
		return err
	}
	if errors.Is(grpcErr, grpc.ErrServerStopped) {
		grpcErr = nil // the drain was over before Serve had begun
	}
	if grpcErr != nil {
		grpcErr = fmt.Errorf("gRPC port: %w", grpcErr)
	}

	return errors.Join(grpcErr, <-adminDone)
}

// sayServing is what health says of the server as a whole ("") and of each service,
// until a drain begins: that has the last word.
func (s *Server) sayServing(serving bool) {
	status := grpc_health_v1.HealthCheckResponse_SERVING
	if !serving {
		status = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", status)
	for name := range s.GRPC.GetServiceInfo() {
		s.health.SetServingStatus(name, status)
	}
}

// drain is steps 1 to 4 of the package's comment.
func (s *Server) drain() {
	began := time.Now()
	s.health.Shutdown()
	s.draining.Set(1)
	s.Admin.SetReady(false)
	s.Logger.Info("draining", "delay", s.cfg.DrainDelay, "timeout", s.cfg.DrainTimeout)
	time.Sleep(s.cfg.DrainDelay)

	stopped := make(chan struct{})
	go func() {
		s.GRPC.GracefulStop()
		close(stopped)
	}()
	timeout := time.NewTimer(s.cfg.DrainTimeout)
	defer timeout.Stop()
	select {
	case <-stopped:
		s.Logger.Info("drained", "took", time.Since(began))
	case <-timeout.C:
		s.Logger.Warn("drain timeout: cutting the RPCs still in flight", "timeout", s.cfg.DrainTimeout)
		s.GRPC.Stop()
		<-stopped
	}
}
