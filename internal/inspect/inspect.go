// Package inspect serves what gRPC knows about this process, on a port of its own:
// channelz (gRFC A14: channels, subchannels, servers and sockets, with their state
// and what they have carried), CSDS (gRFC A40: the xDS resources in use; only in a
// program that imports google.golang.org/grpc/xds), and reflection. Servers add
// faults (internal/fault).
//
// The port is off by default, and on 127.0.0.1 alone: what it tells, and what it lets
// a caller do, is for whoever operates the pod. No Service reaches it, whatever its
// ports are, and nobody by the pod's IP: both end on another address of the pod.
// `kubectl port-forward pod/...` does, for it connects within the pod, to its
// loopback; so do `kubectl exec` and an ephemeral container, which share the pod's
// network. Kubernetes asks for the right to pods/portforward and the like first.
// A pod with hostNetwork has no loopback of its own: there it is the node's.
package inspect

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/admin"
	"google.golang.org/grpc/reflection"

	"github.com/evenkeel/evenkeel/internal/config"
)

// Config is the setting of the inspect port. Embed it in a program's own.
type Config struct {
	Port int `name:"inspect-port" default:"0" help:"Port on 127.0.0.1 for channelz, CSDS and reflection, and in servers for faults, 1 to 65535. 0 is none."`
}

// Validate is an error when the port cannot be one. kong calls it.
func (c *Config) Validate() error {
	return config.InRange("inspect-port", c.Port, 0, 65535)
}

// Server is the inspect port of a process. A nil Server is one that is off.
type Server struct {
	listener net.Listener
	grpc     *grpc.Server
	cleanup  func()
	logger   *slog.Logger
	serving  sync.WaitGroup
}

// Listen opens the port, and has each of services added to what it serves. Nothing is
// answered before Start. The Server is nil, without an error, when the port is off.
func Listen(cfg Config, logger *slog.Logger, services ...func(grpc.ServiceRegistrar)) (*Server, error) {
	if cfg.Port == 0 {
		return nil, nil
	}

	return listen(cfg.Port, logger, services...)
}

// listen takes a free port for 0.
func listen(port int, logger *slog.Logger, services ...func(grpc.ServiceRegistrar)) (*Server, error) {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("inspect port: %w", err)
	}
	s := &Server{listener: listener, grpc: grpc.NewServer(), logger: logger}
	// channelz, and CSDS where grpc/xds has added it.
	if s.cleanup, err = admin.Register(s.grpc); err != nil {
		_ = listener.Close() // nobody has connected yet

		return nil, fmt.Errorf("inspect port: %w", err)
	}
	for _, register := range services {
		register(s.grpc)
	}
	reflection.Register(s.grpc)

	return s, nil
}

// Start begins to serve, and returns.
func (s *Server) Start() {
	if s == nil {
		return
	}
	s.serving.Go(func() {
		// A Close may come before the beginning.
		if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			// What the process is for goes on without it.
			s.logger.Warn("inspect port", "error", err)
		}
	})
	s.logger.Info("inspect port open", "inspect", s.listener.Addr().String())
}

// Close cuts whatever is in flight, so that nobody who looks on holds up the end of
// the process. A process closes this port last, so that its end can be looked at.
func (s *Server) Close() {
	if s == nil {
		return
	}
	s.grpc.Stop()
	_ = s.listener.Close() // if it was never served, Stop does not know it
	s.serving.Wait()
	s.cleanup()
}
