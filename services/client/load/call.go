package load

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	"github.com/evenkeel/evenkeel/internal/servedby"
	"github.com/evenkeel/evenkeel/internal/telemetry"
)

// call is one RPC in flight. It is the RPC's context, so that carrying it costs no
// allocation beyond its own.
type call struct {
	context.Context

	frame    *openFrame
	shard    *shard
	intended int64 // nanoseconds since Recorder.base

	// mu guards the rest: gRPC reports the header of an attempt from the goroutine
	// that reads the connection, even after the RPC has ended at its deadline.
	mu    sync.Mutex
	tried int32
	key   int32  // number of the key that it carries; keys.NoKey without one
	trace string // that it is recorded in; "" without one
	first attempt
	later []*attempt
}

// attempt is one attempt of an RPC, as the stats.Handler saw it. It is the
// attempt's context.
type attempt struct {
	context.Context

	call        *call
	at          int64 // when it was handed to a connection or, without one, begun
	transparent bool
	failed      bool
	server      server
}

// server is whoever took an attempt.
type server struct {
	// remote is the connection's own net.Addr, compared by identity: making text of it
	// for every attempt would cost more than all the rest. nil without a connection.
	remote net.Addr
	// name is what the header x-served-by said.
	name string
}

type (
	callKey    struct{}
	attemptKey struct{}
)

func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}

	return c.Context.Value(key)
}

func (a *attempt) Value(key any) any {
	if key == (attemptKey{}) {
		return a
	}

	return a.Context.Value(key)
}

// Deadline is the RPC's, moved on so that a whole number of milliseconds is left. gRPC
// tells the server what is left as a header, and one whose value is new each time
// costs HPACK (RFC 7541) a table entry at both ends, a twentieth of the RPC. The
// client's own deadline is not moved.
func (a *attempt) Deadline() (time.Time, bool) {
	deadline, ok := a.Context.Deadline()
	if !ok {
		return deadline, false
	}
	now := time.Now()
	left := deadline.Sub(now) + time.Millisecond - time.Nanosecond

	return now.Add(left.Truncate(time.Millisecond)), true
}

// StatsHandler hears of connections and attempts. It goes on the service's channel
// with grpc.WithStatsHandler. RPCs that a Generator did not send pass unrecorded.
func (r *Recorder) StatsHandler() stats.Handler { return watcher{r} }

// watcher is a Recorder's ear on the channel.
type watcher struct{ *Recorder }

// TagRPC begins an attempt.
func (w watcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return ctx
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.first
	if c.tried > 0 {
		a = &attempt{}
		c.later = append(c.later, a)
	}
	c.tried++
	a.Context, a.call = ctx, c

	return a
}

// HandleRPC notes what an attempt tells about itself.
func (w watcher) HandleRPC(ctx context.Context, event stats.RPCStats) {
	switch event := event.(type) {
	case *stats.Begin:
		note(ctx, func(a *attempt) {
			a.at = int64(event.BeginTime.Sub(w.base))
			a.transparent = event.IsTransparentRetryAttempt
			a.call.trace = telemetry.TraceOf(ctx)
		})
	case *stats.OutHeader:
		now := w.now()
		note(ctx, func(a *attempt) {
			a.at = now
			a.server.remote = event.RemoteAddr
		})
	case *stats.InHeader:
		note(ctx, func(a *attempt) { a.name(event.Header) })
	case *stats.InTrailer:
		// A server that fails at once sends its headers and trailers as one.
		note(ctx, func(a *attempt) { a.name(event.Trailer) })
	case *stats.End:
		note(ctx, func(a *attempt) { a.failed = event.Error != nil })
	}
}

// note changes the attempt that ctx belongs to, if it belongs to one.
func note(ctx context.Context, change func(*attempt)) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return
	}
	a.call.mu.Lock()
	change(a)
	a.call.mu.Unlock()
}

func (a *attempt) name(md metadata.MD) {
	if a.server.name == "" {
		a.server.name = servedby.PodOf(md)
	}
}

// TagConn keeps the address of a connection's other end.
func (watcher) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, remoteKey{}, info.RemoteAddr)
}

type remoteKey struct{}

// HandleConn counts the open connections.
func (w watcher) HandleConn(ctx context.Context, event stats.ConnStats) {
	open := int64(-1)
	if _, begins := event.(*stats.ConnBegin); begins {
		open = 1
	}
	w.connections.Add(open)
	if remote, ok := ctx.Value(remoteKey{}).(net.Addr); ok && w.onConnection != nil {
		w.onConnection(remote.String(), open > 0)
	}
}
