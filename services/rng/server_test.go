package main

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is far beyond what any test needs: it ends one that hangs.
const deadline = 20 * time.Second

// serve runs the service on a loopback port until the test ends.
func serve(t testing.TB, seed uint64) (rngv1.RngServiceClient, *grpc.Server) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.WaitForHandlers(true))
	rngv1.RegisterRngServiceServer(srv, &service{dice: newDice(seed)})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})

	return rngv1.NewRngServiceClient(dial(t, listener.Addr())), srv
}

func dial(t testing.TB, address net.Addr) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})

	return conn
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)

	return ctx
}

func TestRollAppliesTheDocumentedDefaults(t *testing.T) {
	client, _ := serve(t, 1)
	for _, test := range []struct {
		name   string
		req    *rngv1.RollRequest
		count  int
		lo, hi int64
	}{
		{"nothing set is one die", &rngv1.RollRequest{}, 1, 1, 6},
		{"min alone", &rngv1.RollRequest{Min: new(int64(6)), Count: 1000}, 1000, 6, 6},
		{"max alone", &rngv1.RollRequest{Max: new(int64(1)), Count: 1}, 1, 1, 1},
		{"zero is a bound like any other", &rngv1.RollRequest{Min: new(int64(0)), Max: new(int64(0)), Count: 3}, 3, 0, 0},
		{"negative", &rngv1.RollRequest{Min: new(int64(-9)), Max: new(int64(-8)), Count: 50}, 50, -9, -8},
		{
			"all of int64",
			&rngv1.RollRequest{Min: new(int64(math.MinInt64)), Max: new(int64(math.MaxInt64)), Count: 1000},
			1000, math.MinInt64, math.MaxInt64,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, err := client.Roll(testContext(t), test.req)
			if err != nil {
				t.Fatal(err)
			}
			if len(resp.GetValues()) != test.count {
				t.Errorf("%d values, want %d", len(resp.GetValues()), test.count)
			}
			for _, value := range resp.GetValues() {
				if value < test.lo || value > test.hi {
					t.Errorf("%d is not within [%d, %d]", value, test.lo, test.hi)
				}
			}
		})
	}
}

func TestAStreamSendsWhatWasAskedForInOrder(t *testing.T) {
	client, _ := serve(t, 1)
	stream, err := client.RollStream(testContext(t), &rngv1.RollStreamRequest{
		Min: new(int64(-3)), Max: new(int64(3)), Count: 500, Interval: durationpb.New(0),
	})
	if err != nil {
		t.Fatal(err)
	}
	for want := uint64(1); ; want++ {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if want != 501 {
				t.Errorf("the stream ended after %d messages", want-1)
			}

			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetSequence() != want || resp.GetValue() < -3 || resp.GetValue() > 3 {
			t.Errorf("message %d: %v", want, resp)
		}
	}
}

// recorder is a stream that notes when each message was sent.
type recorder struct {
	grpc.ServerStreamingServer[rngv1.RollStreamResponse]

	ctx   context.Context
	began time.Time
	sent  []time.Duration
}

func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Send(*rngv1.RollStreamResponse) error {
	r.sent = append(r.sent, time.Since(r.began))

	return nil
}

func TestAStreamPausesBetweenItsMessages(t *testing.T) {
	for _, test := range []struct {
		name     string
		interval *durationpb.Duration
		want     []time.Duration
	}{
		{"not at all for 0", durationpb.New(0), []time.Duration{0, 0, 0}},
		{"as asked", durationpb.New(time.Minute), []time.Duration{0, time.Minute, 2 * time.Minute}},
		{"100 ms when not asked", nil, []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{ctx: t.Context(), began: time.Now()}
				s := &service{dice: newDice(1)}
				if err := s.RollStream(&rngv1.RollStreamRequest{Count: 3, Interval: test.interval}, r); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, r.sent); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestACancelledStreamDoesNotWaitForItsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := &recorder{ctx: ctx, began: time.Now()}
		s := &service{dice: newDice(1)}
		err := s.RollStream(&rngv1.RollStreamRequest{Interval: durationpb.New(time.Minute)}, r)
		if status.Code(err) != codes.DeadlineExceeded || time.Since(r.began) != time.Second {
			t.Errorf("after %v: %v", time.Since(r.began), err)
		}
	})
}

func TestAStreamWithoutACountGoesOnUntilCancelled(t *testing.T) {
	client, srv := serve(t, 1)
	ctx, cancel := context.WithCancel(testContext(t))
	stream, err := client.RollStream(ctx, &rngv1.RollStreamRequest{Interval: durationpb.New(0)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Canceled {
		t.Errorf("got %v, want CANCELED", err)
	}
	srv.GracefulStop() // returns only if the handler has noticed
}

func TestASeedRepeatsAClientsCalls(t *testing.T) {
	var runs [2][]int64
	for i := range runs {
		client, _ := serve(t, 42)
		for call := range 20 {
			resp, err := client.Roll(testContext(t), &rngv1.RollRequest{Max: new(int64(1_000_000)), Count: uint32(call)})
			if err != nil {
				t.Fatal(err)
			}
			runs[i] = append(runs[i], resp.GetValues()...)
			stream, err := client.RollStream(testContext(t), &rngv1.RollStreamRequest{Count: 1})
			if err != nil {
				t.Fatal(err)
			}
			one, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			runs[i] = append(runs[i], one.GetValue())
		}
	}
	if !slices.Equal(runs[0], runs[1]) {
		t.Errorf("two servers with one seed differ: %v and %v", runs[0], runs[1])
	}
}
