package live_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/admin"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/channel"
	"github.com/evenkeel/evenkeel/services/client/keys"
	"github.com/evenkeel/evenkeel/services/client/live"
	"github.com/evenkeel/evenkeel/services/client/load"
	"github.com/evenkeel/evenkeel/services/client/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a client that drives rng: its channel, generator and admin port as the process has
// them, real servers, and name resolution by hand.
type world struct {
	*testing.T

	hub       *live.Hub
	resolver  *manual.Resolver
	generator *load.Generator
	base      string
	pods      []*pod
	made      int
	end       func() // of the client
}

// pod is a server with a name.
type pod struct {
	rngv1.UnimplementedRngServiceServer

	name, address string
	server        *grpc.Server
	serving       sync.WaitGroup
	fail          atomic.Bool
	values        atomic.Int64 // how many the last request asked for
	user          atomic.Value // its key
}

func (p *pod) Roll(ctx context.Context, r *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-served-by", p.name)); err != nil {
		return nil, err
	}
	p.values.Store(int64(r.GetCount()))
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		p.user.Store(fmt.Sprint(md["x-user-id"]))
	}
	if p.fail.Load() {
		return nil, grpcstatus.Error(codes.Internal, "the <b>dice</b> are loaded")
	}

	return &rngv1.RollResponse{Values: []int64{1}}, nil
}

var worlds atomic.Int64

// newWorld starts a client of so many pods. Each world has a scheme of its own.
func newWorld(t *testing.T, pods int, rate float64, policy string) *world {
	t.Helper()
	scheme := fmt.Sprintf("byhand%d", worlds.Add(1))
	w := &world{T: t, hub: live.NewHub(), resolver: manual.NewBuilderWithScheme(scheme)}
	resolver.Register(w.resolver)
	for range pods {
		w.add()
	}
	t.Cleanup(func() {
		for _, p := range slices.Clone(w.pods) {
			w.stop(p)
		}
	})
	w.resolver.InitialState(w.state())
	target := scheme + ":///rng-headless"
	config := fmt.Sprintf(`{"loadBalancingConfig": [{%q: {}}], "methodConfig": [{"name": [{}], "waitForReady": true}]}`, policy)

	feed := load.NewFeed()
	recorder := load.NewRecorder("rng", 100*time.Millisecond, feed)
	watched := w.hub.Watch("rng", target)
	recorder.OnConnection(watched.Connection)
	subchannels := channel.NewSubchannels(prometheus.NewRegistry())
	conn, err := channel.New(channel.Strategy{Target: target, ServiceConfig: config},
		watched.DialOption(), grpc.WithStatsHandler(subchannels.Around(recorder.StatsHandler(), watched.Ended)))
	if err != nil {
		t.Fatal(err)
	}
	client := rngv1.NewRngServiceClient(conn)
	var request atomic.Pointer[rngv1.RollRequest]
	request.Store(&rngv1.RollRequest{Count: 1})
	w.generator = &load.Generator{
		Recorder: recorder, Rate: rate, Concurrency: 4, MaxInFlight: 100_000, Timeout: 30 * time.Second, Payload: 1,
		SetPayload: func(n int) { request.Store(&rngv1.RollRequest{Count: uint32(n)}) },
		Call: func(ctx context.Context) error {
			_, err := client.Roll(ctx, request.Load())

			return err
		},
	}
	watched.Driven(status.Service{Name: "rng", Target: target, ServiceConfig: config, Generator: w.generator})

	server, err := admin.Listen("127.0.0.1:0", prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server.Handle("GET /{$}", w.hub.ServePage(true))
	server.Handle("GET /live", w.hub.ServeStream())
	server.Handle("POST /control", w.hub.ServeControl(keys.Config{Keys: keys.None, KeyCount: 100, KeySkew: 1.1, KeyHeader: "x-user-id"}))
	w.base = "http://" + server.Addr().String()

	ctx, stop := context.WithCancel(context.Background())
	recording, stopRecording := context.WithCancel(context.Background())
	var driving, serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve() })
	serving.Go(func() { w.hub.Run(feed) })
	serving.Go(func() { recorder.Run(recording) })
	driving.Go(func() { w.generator.Run(ctx) })
	w.end = sync.OnceFunc(func() {
		stop()
		driving.Wait()
		stopRecording()
		feed.Close()
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(closing); err != nil {
			t.Error(err)
		}
		serving.Wait()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.end)

	return w
}

// add starts a pod, of which name resolution does not know yet.
func (w *world) add() *pod {
	w.Helper()
	w.made++
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.%d.%d:0", 1+w.made/200, 1+w.made%200))
	if err != nil {
		w.Fatal(err)
	}
	p := &pod{name: fmt.Sprintf("rng-5d8f9c-%03d", w.made), address: listener.Addr().String(), server: grpc.NewServer()}
	rngv1.RegisterRngServiceServer(p.server, p)
	p.serving.Go(func() { _ = p.server.Serve(listener) })
	w.pods = append(w.pods, p)

	return p
}

// stop stops a pod as Kubernetes does: GOAWAY, then the RPCs in flight.
func (w *world) stop(p *pod) {
	p.server.GracefulStop()
	p.serving.Wait()
	w.pods = slices.DeleteFunc(w.pods, func(other *pod) bool { return other == p })
}

func (w *world) state() resolver.State {
	var s resolver.State
	for _, p := range w.pods {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.address}}})
	}

	return s
}

// resolve tells the channel which pods there are.
func (w *world) resolve() { w.resolver.UpdateState(w.state()) }

// replace is a rolling update of one pod: the new one is known before the old one leaves. The old one is
// asked to stop while it is still known, which is what a GOAWAY is for.
func (w *world) replace(old *pod) {
	w.add()
	w.resolve()
	w.stop(old)
	w.resolve()
}
