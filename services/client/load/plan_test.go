package load

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/keys"
)

// perSecond adds the RPCs of frames up by the second that they were meant for.
func perSecond(frames []*loadreport.Frame) []int64 {
	var seconds []int64
	for i, f := range frames {
		if i%10 == 0 {
			seconds = append(seconds, 0)
		}
		seconds[len(seconds)-1] += f.RPCs
	}

	return seconds
}

func TestAChangedRateBeginsAtOnceAndLosesNoRPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls := int64(0)
		g := &Generator{Rate: 100, Call: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			calls++

			return nil
		}}
		for after, rate := range map[time.Duration]float64{
			2*time.Second + 33*time.Millisecond: 0.25, // the next RPC would be a long time off
			3*time.Second + 50*time.Millisecond: 500,
		} {
			time.AfterFunc(after, func() { g.Change(Plan{Rate: rate}) })
		}
		frames, totals := drive(t, g, 5*time.Second)
		if totals.RPCs != calls || totals.Failed != 0 {
			t.Errorf("%d RPCs recorded, %d failed, and %d called", totals.RPCs, totals.Failed, calls)
		}
		// 2.033 s at 100, from 0 on; one at once at each change; then 1.95 s at 500.
		if totals.RPCs < 204+1+974 || totals.RPCs > 204+1+977 {
			t.Errorf("%d RPCs, second by second %v", totals.RPCs, perSecond(frames))
		}
		if got := percentile(&totals, 100); got > time.Microsecond {
			t.Errorf("the change shows in the latency: %v", got)
		}
		if g.Plan().Rate != 500 || !g.Changed() || g.Rate != 100 {
			t.Errorf("the plan is %v of a generator that began with %v", g.Plan(), g.Rate)
		}
	})
}

func TestFromAnOpenLoopToAClosedOneAndBackEveryRPCIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls := int64(0)
		g := &Generator{Rate: 1000, Concurrency: 4, Call: func(context.Context) error {
			time.Sleep(3 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			calls++

			return nil
		}}
		var changing sync.WaitGroup
		changing.Go(func() {
			for i := range 40 {
				time.Sleep(37 * time.Millisecond)
				g.Change(Plan{Rate: float64(i % 2 * 1000), Concurrency: 4})
			}
		})
		_, totals := drive(t, g, 2*time.Second)
		changing.Wait()
		if totals.RPCs != calls || totals.Failed != 0 || calls < 1000 {
			t.Errorf("%d RPCs recorded, %d failed, and %d called", totals.RPCs, totals.Failed, calls)
		}
	})
}

func TestAGeneratorThatIsFarBehindHeedsALowerRateAndCountsWhatItOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alarm := &lateAlarm{late: 5 * time.Second, at: time.Now().Add(time.Second)}
		g := &Generator{Rate: 100, alarm: alarm, Call: func(context.Context) error { return nil }}
		time.AfterFunc(3*time.Second, func() { g.Change(Plan{Rate: 10}) })
		_, totals := drive(t, g, 7*time.Second)
		// It wakes at 3 s, where the change interrupts it; the second before that is sent.
		if totals.NotSent < 95 || totals.NotSent > 105 || totals.RPCs < 335 || totals.RPCs > 345 || totals.LastError != errNotOwed.Error() {
			t.Errorf("%d RPCs, %d not sent: %q", totals.RPCs, totals.NotSent, totals.LastError)
		}
	})
}

func TestKeysAndPayloadChangeWithThePlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var payload int
		g := &Generator{Rate: 100, Payload: 1, Call: func(context.Context) error { return nil }, SetPayload: func(n int) { payload = n }}
		set := keys.NewSet(keys.Config{Keys: keys.Uniform, KeyCount: 10, KeyHeader: "x-user-id"})
		time.AfterFunc(time.Second, func() { g.Change(Plan{Rate: 100, Keys: set, Payload: 1000}) })
		drive(t, g, 2*time.Second)
		if payload != 1000 || g.Plan().Keys != set || g.Plan().Payload != 1000 {
			t.Errorf("payload %d, plan %+v", payload, g.Plan())
		}
	})
}

func TestOnlyRatesThatAreMeantAreAccepted(t *testing.T) {
	for rate, ok := range map[float64]bool{0: true, MinRate: true, MaxRate: true, 0.0001: false, -1: false, MaxRate + 1: false} {
		if err := CheckRate(rate); (err == nil) != ok {
			t.Errorf("%v: %v", rate, err)
		}
	}
}
