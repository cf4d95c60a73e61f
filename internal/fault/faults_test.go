package fault

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

func TestLatencyVariesByItsJitter(t *testing.T) {
	for _, test := range []struct {
		random float64
		want   time.Duration
	}{{0, 50 * time.Millisecond}, {0.5, 100 * time.Millisecond}, {0.75, 125 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t)
			k.random = func() float64 { return test.random }
			k.replace(t, slow)
			for _, got := range []outcome{k.call(t.Context(), roll), k.stream(t.Context(), roll)} {
				if got.took != test.want || !got.handled {
					t.Errorf("%v: got %+v, want %v", test.random, got, test.want)
				}
			}
		})
	}
}

func TestASlowStartFallsEvenlyToNothingAndIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.replace(t, starting) // a second, over ten
		began := time.Now()
		for _, test := range []struct{ at, want time.Duration }{
			{0, time.Second},
			{1 * time.Second, 900 * time.Millisecond},
			{5 * time.Second, 500 * time.Millisecond},
			{9 * time.Second, 100 * time.Millisecond},
			{10 * time.Second, 0},
			{time.Hour, 0},
		} {
			time.Sleep(time.Until(began.Add(test.at)))
			got := k.call(t.Context(), roll)
			if got.took != test.want || (len(got.header) == 1) != (test.want > 0) {
				t.Errorf("after %v: %+v, want %v", test.at, got, test.want)
			}
			active := k.metric(t, "evenkeel_fault_active", "slow_start")
			answer, err := k.service.Get(t.Context(), &faultv1.GetRequest{})
			if over := test.want == 0; err != nil || over != (answer.GetFaults() == nil) || over != (active == 0) {
				t.Errorf("after %v: Get says %v, %v; the metric %v", test.at, answer, err, active)
			}
		}
	})
}

func TestErrorsFailTheirShareOfRPCs(t *testing.T) {
	k := newKit(t)
	k.replace(t, &faultv1.Faults{Errors: &faultv1.Errors{Rate: 0.3}})
	var failed []float64
	for _, random := range []float64{0, 0.29, 0.3, 0.5, 0.99} {
		k.random = func() float64 { return random }
		got := k.call(t.Context(), roll)
		if got.err != nil {
			failed = append(failed, random)
			if status.Code(got.err) != codes.Unavailable {
				t.Errorf("got %v, want UNAVAILABLE, the default", got.err)
			}
		}
	}
	if diff := cmp.Diff([]float64{0, 0.29}, failed); diff != "" {
		t.Error(diff)
	}
}

func TestClearLetsDelayedRPCsGoOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.replace(t, &faultv1.Faults{
			Latency: &faultv1.Latency{Duration: durationpb.New(time.Minute)}, Errors: failing.GetErrors(),
		})
		done := make(chan outcome)
		go func() { done <- k.call(t.Context(), roll) }()
		time.Sleep(time.Second)
		k.replace(t, nil)
		got := <-done
		want := outcome{handled: true, header: []string{"latency"}, took: time.Second}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Error(diff)
		}
	})
}

func TestADelayEndsWithItsRPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.replace(t, slow)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		got := k.call(ctx, roll)
		if got.took != 10*time.Millisecond || got.handled || status.Code(got.err) != codes.DeadlineExceeded ||
			!slices.Equal(got.trailer, []string{"latency"}) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestAStreamThatEndsWithoutAnAnswerNamesTheFaultInItsTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.replace(t, slow)
		s := &stream{ctx: t.Context()}
		err := k.Stream(nil, s, rollStream, failingHandler)
		if status.Code(err) != codes.NotFound || s.header != nil || !slices.Equal(s.trailer[Key], []string{"latency"}) {
			t.Errorf("%v, header %v, trailer %v", err, s.header, s.trailer)
		}
	})
}

func TestAStreamsOwnHeaderNamesTheFaultToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		k.replace(t, slow)
		s := &stream{ctx: t.Context()}
		if err := k.Stream(nil, s, rollStream, headerHandler); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(metadata.Pairs("own", "1", Key, "latency"), s.header); diff != "" || s.trailer != nil {
			t.Errorf("%s, trailer %v", diff, s.trailer)
		}
	})
}

func TestGetSaysWhatIsInForceWithDefaults(t *testing.T) {
	k := newKit(t)
	requested := &faultv1.Faults{Errors: &faultv1.Errors{Rate: 0.1}, SlowStart: starting.GetSlowStart()}
	set, err := k.service.Set(t.Context(), &faultv1.SetRequest{Faults: requested})
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.service.Get(t.Context(), &faultv1.GetRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &faultv1.Faults{Errors: &faultv1.Errors{Rate: 0.1, Code: "UNAVAILABLE"}, SlowStart: starting.GetSlowStart()}
	for _, faults := range []*faultv1.Faults{set.GetFaults(), got.GetFaults()} {
		if diff := cmp.Diff(want, faults, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	if requested.GetErrors().GetCode() != "" {
		t.Error("Set wrote into the request")
	}
}

func TestARefusedSetLeavesTheFaultsInForce(t *testing.T) {
	k := newKit(t)
	k.replace(t, failing)
	if _, err := k.service.Set(t.Context(), &faultv1.SetRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Fatalf("got %v", err)
	}
	if got := k.call(t.Context(), roll); status.Code(got.err) != codes.ResourceExhausted {
		t.Errorf("got %+v", got)
	}
}

var rollStream = &grpc.StreamServerInfo{FullMethod: "/rng.v1.RngService/RollStream"}

func failingHandler(any, grpc.ServerStream) error {
	return status.Error(codes.NotFound, "the service's own")
}

func headerHandler(_ any, s grpc.ServerStream) error {
	if err := s.SendHeader(metadata.Pairs("own", "1")); err != nil {
		return err
	}

	return s.SendMsg("one")
}
