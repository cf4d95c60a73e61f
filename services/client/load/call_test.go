package load

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

const retryThrice = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.001s",
	"maxBackoff": "0.01s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// rngFunc is an rng server that is a function.
type rngFunc struct {
	rngv1.UnimplementedRngServiceServer

	roll func(ctx context.Context) error
}

func (s rngFunc) Roll(ctx context.Context, _ *rngv1.RollRequest) (*rngv1.RollResponse, error) {
	if err := s.roll(ctx); err != nil {
		return nil, err
	}

	return &rngv1.RollResponse{Values: []int64{6}}, nil
}

// startServer serves roll on a port of this machine until the test ends.
func startServer(t *testing.T, roll func(ctx context.Context) error) (*grpc.Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	rngv1.RegisterRngServiceServer(server, rngFunc{roll: roll})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})

	return server, listener.Addr().String()
}

func named(ctx context.Context, name string) error {
	return grpc.SetHeader(ctx, metadata.Pairs("x-served-by", name))
}

// recorded is a channel with a recorder on it.
type recorded struct {
	*Recorder

	client rngv1.RngServiceClient
	conn   *grpc.ClientConn
	feed   *Feed
	frames *Subscription
	end    func()
}

func record(t *testing.T, address, serviceConfig string) *recorded {
	t.Helper()
	feed := NewFeed()
	r := NewRecorder("rng", 10*time.Millisecond, feed)
	options := []grpc.DialOption{
		grpc.WithStatsHandler(r.StatsHandler()), grpc.WithTransportCredentials(insecure.NewCredentials()),
	}
	if serviceConfig != "" {
		options = append(options, grpc.WithDefaultServiceConfig(serviceConfig))
	}
	conn, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	rec := &recorded{
		Recorder: r, client: rngv1.NewRngServiceClient(conn), conn: conn, feed: feed, frames: feed.Subscribe(10_000),
		end: sync.OnceFunc(func() {
			cancel()
			running.Wait()
			feed.Close()
		}),
	}
	t.Cleanup(func() {
		rec.end()
		_ = conn.Close()
	})

	return rec
}

// roll makes n RPCs, one after another.
func (r *recorded) roll(t *testing.T, n int, timeout time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	calls := 0
	g := &Generator{Recorder: r.Recorder, Concurrency: 1, Timeout: timeout, Call: func(ctx context.Context) error {
		if calls++; calls == n {
			stop()
		}
		_, err := r.client.Roll(ctx, &rngv1.RollRequest{})

		return err
	}}
	g.Run(ctx)
}

func TestAnAttemptThatFailsIsNotAnRPCThatFails(t *testing.T) {
	_, address := startServer(t, func(ctx context.Context) error {
		md, _ := metadata.FromIncomingContext(ctx)
		if len(md.Get("grpc-previous-rpc-attempts")) > 0 {
			return named(ctx, "rng-0")
		}
		// Trailers alone: the name goes with them.
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-served-by", "rng-0"))

		return status.Error(codes.Unavailable, "the first one never works")
	})
	r := record(t, address, retryThrice)
	r.roll(t, 20, 10*time.Second)
	r.end()

	totals := r.Totals()
	if totals.RPCs != 20 || totals.Failed != 0 || totals.Attempts != 40 || totals.FailedAttempts != 20 || totals.TransparentRetries != 0 {
		t.Errorf("%+v", totals)
	}
	if len(totals.Pods) != 1 || totals.Pods[0].Name != "rng-0" || totals.Pods[0].Address != address ||
		totals.Pods[0].RPCs != 20 || totals.Pods[0].Attempts != 40 || totals.Pods[0].FailedAttempts != 20 {
		t.Errorf("the pod's part: %+v", totals.Pods)
	}
	if p := totals.Pods[0]; !p.FirstAttempt.Before(p.LastAttempt) || time.Since(p.LastAttempt) > time.Minute {
		t.Errorf("attempts from %v to %v", p.FirstAttempt, p.LastAttempt)
	}
}

func TestAnRPCWhoseServerHasSentAHeaderIsNotRetried(t *testing.T) {
	_, address := startServer(t, func(ctx context.Context) error {
		// With a header of its own the answer is not one of trailers alone, and that
		// commits the RPC (gRFC A6).
		if err := named(ctx, "rng-0"); err != nil {
			return err
		}

		return status.Error(codes.Unavailable, "never works")
	})
	r := record(t, address, retryThrice)
	r.roll(t, 5, 10*time.Second)
	r.end()

	totals := r.Totals()
	if totals.Failed != 5 || totals.Attempts != 5 || totals.Pods[0].Name != "rng-0" || totals.Pods[0].RPCs != 0 {
		t.Errorf("%+v", totals)
	}
}

func TestAnAttemptWithoutAConnectionHasNoAddress(t *testing.T) {
	r := record(t, "127.0.0.1:1", "") // nobody is there
	r.roll(t, 3, 10*time.Second)
	r.end()

	totals := r.Totals()
	if totals.Failed != 3 || totals.ErrorsByCode["UNAVAILABLE"] != 3 || totals.FailedAttempts != 3 || totals.Connections != 0 {
		t.Errorf("%+v", totals)
	}
	if len(totals.Pods) != 1 || totals.Pods[0].Name != "" || totals.Pods[0].Address != "" || totals.Pods[0].FirstAttempt.Before(totals.Since.Add(-time.Second)) {
		t.Errorf("pods: %+v", totals.Pods)
	}
}

func TestAnAttemptThatGetsNoAnswerIsKnownByItsAddress(t *testing.T) {
	arrived := make(chan struct{})
	_, address := startServer(t, func(ctx context.Context) error {
		close(arrived)
		<-ctx.Done()

		return nil
	})
	r := record(t, address, "")
	ctx, stop := context.WithCancel(t.Context())
	g := &Generator{Recorder: r.Recorder, Concurrency: 1, Timeout: 10 * time.Second, Call: func(ctx context.Context) error {
		stop()
		// It is given up when it is there, however long that takes.
		ctx, giveUp := context.WithCancel(ctx)
		go func() {
			<-arrived
			giveUp()
		}()
		_, err := r.client.Roll(ctx, &rngv1.RollRequest{})

		return err
	}}
	g.Run(ctx)
	r.end()

	totals := r.Totals()
	if totals.ErrorsByCode["CANCELLED"] != 1 || len(totals.Pods) != 1 ||
		totals.Pods[0].Name != "" || totals.Pods[0].Address != address || totals.Pods[0].FailedAttempts != 1 || totals.Pods[0].RPCs != 0 {
		t.Errorf("%+v", totals)
	}
}

func TestOpenConnectionsAreCounted(t *testing.T) {
	server, address := startServer(t, func(ctx context.Context) error { return named(ctx, "rng-0") })
	r := record(t, address, "")
	if r.Totals().Connections != 0 {
		t.Error("a connection before the first RPC")
	}
	r.roll(t, 1, 10*time.Second)
	if n := r.Totals().Connections; n != 1 {
		t.Errorf("%d connections after the first RPC", n)
	}
	awaitFrame(t, r, func(f *loadreport.Frame) bool { return f.Connections == 1 })
	server.Stop()
	awaitFrame(t, r, func(f *loadreport.Frame) bool { return f.Connections == 0 })
}

func awaitFrame(t *testing.T, r *recorded, is func(*loadreport.Frame) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	r.issuedUntil(1 << 62)
	for {
		select {
		case f := <-r.frames.Frames:
			if is(f) {
				return
			}
		case <-deadline:
			t.Fatal("no such frame")
		}
	}
}

func TestRPCsThatTheGeneratorDidNotSendAreNotRecorded(t *testing.T) {
	_, address := startServer(t, func(ctx context.Context) error { return named(ctx, "rng-0") })
	r := record(t, address, "")
	if _, err := r.client.Roll(t.Context(), &rngv1.RollRequest{}); err != nil {
		t.Fatal(err)
	}
	r.roll(t, 1, 10*time.Second)
	r.end()
	if totals := r.Totals(); totals.RPCs != 1 || totals.Attempts != 1 {
		t.Errorf("%+v", totals)
	}
}

func TestAConnectionThatBreaksUnderAnRPCLeavesACountOfBoth(t *testing.T) {
	var server atomic.Pointer[grpc.Server]
	arrived := make(chan struct{})
	s, address := startServer(t, func(ctx context.Context) error {
		close(arrived)
		<-ctx.Done()

		return nil
	})
	server.Store(s)
	r := record(t, address, "")
	var stopping sync.WaitGroup
	stopping.Go(func() {
		<-arrived
		server.Load().Stop()
	})
	r.roll(t, 1, 20*time.Second)
	stopping.Wait()
	r.end()
	totals := r.Totals()
	if totals.ErrorsByCode["UNAVAILABLE"] != 1 || totals.FailedAttempts != 1 || totals.Pods[0].Address != address {
		t.Errorf("%+v", totals)
	}
}
