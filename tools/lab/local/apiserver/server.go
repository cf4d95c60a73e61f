package apiserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Options of a Server; the zero value is fine.
type Options struct {
	Logger *slog.Logger // gets one line per request at level Debug; nil is silence
}

// Server serves a Store over HTTP, as the Kubernetes API server would. It is an [http.Handler]; a caller that shuts
// its http.Server down gracefully also registers [Server.Close]:
//
//	httpServer.RegisterOnShutdown(server.Close)
type Server struct {
	store  *Store
	logger *slog.Logger

	mu      sync.Mutex
	tokens  map[string]user
	costs   map[string]*cost // by namespace
	watches map[*stream]struct{}
	down    bool
	closed  bool
}

// NewServer returns a server for the objects of a store.
func NewServer(store *Store, options Options) *Server {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		store:   store,
		logger:  options.Logger,
		tokens:  make(map[string]user),
		costs:   make(map[string]*cost),
		watches: make(map[*stream]struct{}),
	}
}

// Usage is what the users of a namespace have cost the server so far. It never falls.
type Usage struct {
	Requests    int64 // with a valid token, whatever the answer
	WatchEvents int64 // sent, bookmarks and errors included
	WatchBytes  int64 // of those events as JSON lines, without HTTP's own framing
}

type cost struct{ requests, watchEvents, watchBytes atomic.Int64 }

// Usage returns what the tokens of a namespace have cost so far.
func (s *Server) Usage(namespace string) Usage {
	c := s.costOf(namespace)
	return Usage{Requests: c.requests.Load(), WatchEvents: c.watchEvents.Load(), WatchBytes: c.watchBytes.Load()}
}

func (s *Server) costOf(namespace string) *cost {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.costs[namespace]
	if c == nil {
		c = &cost{}
		s.costs[namespace] = c
	}
	return c
}

// Why a watch ended, other than by its own timeout or its client.
var (
	errEnded = errors.New("the server ended the watch")
	errDown  = errors.New("the server is down")
)

// SetDown takes the server down, or brings it up again. While it is down, open watches are cut and every new request
// is: the connection is reset (TCP RST) without an answer. That is as far as a handler can go: the listener still
// accepts connections, so a client sees "connection reset", not "connection refused", and an idle connection breaks
// when it is next used. Over HTTP/2, the stream is reset and the connection stays.
//
// The Store, the tokens and the counts live on, as behind one of several API servers.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	if down {
		for each := range s.watches {
			each.cut()
		}
	}
}

// CloseWatches ends all watches in good order, as a real server does when their time is up.
func (s *Server) CloseWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for each := range s.watches {
		each.end(errEnded)
	}
}

// Close ends all watches in good order, now and as soon as one is opened: without that, a graceful shutdown of the
// HTTP server would wait for them.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.CloseWatches()
}

func (s *Server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// join registers a watch that is about to start, unless it must not. The caller leaves when it is over.
func (s *Server) join(watch *stream) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down:
		watch.cut()
	case s.closed:
		watch.end(errEnded)
	}
	s.watches[watch] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, watch)
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.isDown() {
		reset(w)
		return
	}
	start := time.Now()
	u, err := s.serve(w, r)
	s.logger.LogAttrs(r.Context(), slog.LevelDebug, "api request", slog.String("method", r.Method), slog.String("uri", r.URL.RequestURI()),
		slog.String("user", u.name), slog.Duration("took", time.Since(start)), slog.Any("error", err))
	switch {
	case errors.Is(err, errDown):
		reset(w)
	case err != nil:
		writeError(w, err)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (user, error) {
	w.Header().Set("Cache-Control", "no-cache, private")
	req := parse(r.Method, r.URL)
	u, err := s.authenticate(r.Header, req)
	if err != nil {
		return u, err
	}
	caller := s.costOf(u.namespace)
	caller.requests.Add(1)
	if r.Method != http.MethodGet {
		// Before authorization, so that nobody looks for the Role that would allow it.
		return u, apierrors.NewMethodNotSupported(req.groupResource(), req.verb)
	}
	if err := s.authorize(u, req); err != nil {
		return u, err
	}
	switch {
	case req.resource == "":
		return u, serveDiscovery(w, r, req)
	case req.kind == nil:
		return u, notServed(req)
	case !acceptsJSON(r.Header.Values("Accept")):
		return u, errNotAcceptable(req)
	}
	switch req.verb {
	case "get":
		return u, s.get(r.Context(), w, req)
	case "list":
		return u, s.list(r.Context(), w, req)
	}
	return u, s.watch(r.Context(), w, req, caller)
}

// reset closes the connection so that its client sees it break, not end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: net/http answers this with RST_STREAM, and without a log line
	}
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn() // crypto/tls would say goodbye first
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes Close send RST; if it cannot, a FIN must do
	}
	_ = conn.Close()
}

// stream is an open watch, as those see it who may end it.
type stream struct {
	end     context.CancelCauseFunc
	control *http.ResponseController
}

// cut ends a watch even if it is blocked in a write, because its client does not read.
func (w *stream) cut() {
	w.end(errDown)
	_ = w.control.SetWriteDeadline(time.Now()) // not supported means that nothing can block
}
