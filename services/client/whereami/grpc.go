package whereami

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"

	"github.com/evenkeel/evenkeel/internal/servedby"
	whereamiv1 "github.com/evenkeel/evenkeel/proto/whereami/v1"
)

// minPing is the shortest interval at which a connection may be pinged, in use or not: proxies in front ping those
// that they keep, and gRPC's own least, 5 minutes, has it hang up on them (gRFC A8). It is the other servers' default.
const minPing = 10 * time.Second

// Server is the gRPC side of the door: whereami.v1.WhereamiService, health and reflection. A nil Server is one that
// is off.
type Server struct {
	grpc     *grpc.Server
	health   *health.Server
	listener net.Listener
	logger   *slog.Logger
	serving  sync.WaitGroup
}

// Listen opens the address, such as ":9300". Nothing is answered before Start. Answers say that pod served them.
func Listen(address string, d Door, pod string, logger *slog.Logger, options ...grpc.ServerOption) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("gRPC port: %w", err)
	}
	s := &Server{
		grpc: grpc.NewServer(append(options,
			grpc.ChainUnaryInterceptor(signed(metadata.Pairs(servedby.Pod, pod))),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		)...),
		health:   health.NewServer(), // says SERVING of the server as a whole
		listener: listener,
		logger:   logger,
	}
	whereamiv1.RegisterWhereamiServiceServer(s.grpc, service{door: d})
	s.health.SetServingStatus(whereamiv1.WhereamiService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)

	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Start begins to serve, and returns.
func (s *Server) Start() {
	s.serving.Go(func() {
		// An end that comes before the beginning is no failure.
		if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			// The load and the door over HTTP go on without it.
			s.logger.Warn("gRPC port", "error", err)
		}
	})
	s.logger.Info("front door open", "grpc", s.Addr().String())
}

// Shutdown says NOT_SERVING, lets RPCs in flight end until ctx is done, then cuts them.
func (s *Server) Shutdown(ctx context.Context) {
	if s == nil {
		return
	}
	s.health.Shutdown()
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
	s.serving.Wait()
}

// service is whereami.v1.WhereamiService.
type service struct {
	whereamiv1.UnimplementedWhereamiServiceServer

	door Door
}

// Locate is WhereamiService.Locate.
func (s service) Locate(ctx context.Context, r *whereamiv1.LocateRequest) (*whereamiv1.LocateResponse, error) {
	caller := ""
	if p, ok := peer.FromContext(ctx); ok {
		caller = p.Addr.String()
	}

	return s.door.locate(ctx, r.GetIp(), caller)
}

// signed says which pod served.
func signed(by metadata.MD) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		servedby.Sign(ctx, by, err)

		return resp, err
	}
}
