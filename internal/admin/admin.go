// Package admin serves a process's HTTP side: /metrics for Prometheus, /livez and
// /readyz for whoever decides whether it lives and gets traffic.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server is the HTTP side of a process.
type Server struct {
	listener net.Listener
	mux      *http.ServeMux
	http     *http.Server
	ready    atomic.Bool
}

// Listen opens the address, such as ":8080". Nothing is answered before Serve.
func Listen(address string, metrics prometheus.Gatherer, logger *slog.Logger) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin port: %w", err)
	}
	s := &Server{listener: listener, mux: http.NewServeMux()}
	s.http = &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		EnableOpenMetrics: true, // which has exemplars
	}))
	s.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok")
	})
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.ready.Load() {
			answer(w, http.StatusOK, "ok")
		} else {
			answer(w, http.StatusServiceUnavailable, "not ready")
		}
	})

	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Handle adds a handler, with a pattern of http.ServeMux. Call it before Serve.
func (s *Server) Handle(pattern string, handler http.Handler) { s.mux.Handle(pattern, handler) }

// SetReady says what /readyz answers: 200 or 503. It is 503 at first.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// Serve answers until Shutdown.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port: %w", err)
	}

	return nil
}

// Shutdown lets requests in flight end until ctx is done, then cuts them.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		if err := s.http.Close(); err != nil {
			return fmt.Errorf("admin port: %w", err)
		}
	}

	return nil
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	// A client that has gone away is no news.
	_, _ = w.Write([]byte(text + "\n"))
}
