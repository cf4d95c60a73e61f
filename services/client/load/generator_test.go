package load

import (
	"context"
	"errors"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

const frameLength = 100 * time.Millisecond

// drive runs a generator for a while, inside a synctest bubble, and returns the
// frames and the totals.
func drive(t *testing.T, g *Generator, d time.Duration) ([]*loadreport.Frame, Totals) {
	t.Helper()
	feed := NewFeed()
	g.Recorder = NewRecorder("rng", frameLength, feed)
	if g.alarm == nil {
		g.alarm = coarseAlarm{} // the precise one is real time
	}
	if g.Timeout == 0 {
		g.Timeout = 10 * time.Second
	}
	if g.MaxInFlight == 0 {
		g.MaxInFlight = 10_000
	}
	subscription := feed.Subscribe(10_000)
	recording, stopRecording := context.WithCancel(t.Context())
	var recorder sync.WaitGroup
	recorder.Go(func() { g.Recorder.Run(recording) })
	running, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	g.Run(running)
	stopRecording()
	recorder.Wait()
	feed.Close()
	var frames []*loadreport.Frame
	for f := range subscription.Frames {
		frames = append(frames, f)
	}

	return frames, g.Recorder.Totals()
}

func percentile(t *Totals, p float64) time.Duration {
	return time.Duration(t.Latency.ValueAtPercentile(p)) * time.Microsecond
}

func TestAnOpenLoopSendsOnItsGridWhateverTheRate(t *testing.T) {
	for rate, seconds := range map[float64]float64{0.5: 10, 3: 10, 60: 10, 250: 10, 2000: 3, 33333: 0.3} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var mu sync.Mutex
			var sent []time.Duration
			_, totals := drive(t, &Generator{Rate: rate, Call: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				sent = append(sent, time.Since(start))

				return nil
			}}, time.Duration(seconds*float64(time.Second)))

			slices.Sort(sent)
			for n, at := range sent {
				want := time.Duration(float64(n) / rate * float64(time.Second))
				if off := at - want; off < -time.Microsecond || off > time.Microsecond {
					t.Fatalf("rate %v: RPC %d was sent at %v, %v off", rate, n, at, off)
				}
			}
			// The one that is due at the very end may or may not be sent.
			if got, want := float64(len(sent)), seconds*rate; math.Abs(got-want) > 1 {
				t.Errorf("rate %v: %v RPCs in %v s", rate, got, seconds)
			}
			if totals.RPCs != int64(len(sent)) || percentile(&totals, 100) > time.Microsecond {
				t.Errorf("rate %v: %d RPCs recorded of %d, latency up to %v",
					rate, totals.RPCs, len(sent), percentile(&totals, 100))
			}
		})
	}
}

// stallingServer serves one RPC at a time, each in a millisecond, but for a stall.
type stallingServer struct {
	free  chan struct{}
	stall func() time.Duration
}

func (s *stallingServer) serve(ctx context.Context) error {
	select {
	case s.free <- struct{}{}:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	time.Sleep(time.Millisecond + s.stall())
	<-s.free

	return nil
}

func TestAStallOfTheServerShowsInTheLatencyOfEveryRPCMeantForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		start := time.Now()
		server := &stallingServer{free: make(chan struct{}, 1), stall: func() (d time.Duration) {
			if time.Since(start) > 2*time.Second {
				once.Do(func() { d = time.Second })
			}

			return d
		}}
		_, totals := drive(t, &Generator{Rate: 100, Call: server.serve}, 10*time.Second)

		// 100 RPCs of 1000 were meant for the second of the stall: a tenth of all, and
		// some more that queued behind them. A generator that waits for the server
		// would have sent one.
		if p50 := percentile(&totals, 50); p50 > 2*time.Millisecond {
			t.Errorf("p50 is %v: the stall was not to touch it", p50)
		}
		if p99 := percentile(&totals, 99); p99 < 850*time.Millisecond || p99 > 1100*time.Millisecond {
			t.Errorf("p99 is %v: the stall of 1 s is hidden", p99)
		}
		if p91 := percentile(&totals, 91); p91 < 50*time.Millisecond {
			t.Errorf("p91 is %v: only a few RPCs show the stall", p91)
		}
		if totals.Failed != 0 || totals.RPCs < 1000 {
			t.Errorf("%d of %d RPCs failed", totals.Failed, totals.RPCs)
		}
	})
}

// lateAlarm oversleeps once.
type lateAlarm struct {
	coarseAlarm

	late time.Duration
	at   time.Time
}

func (a *lateAlarm) sleep(ctx context.Context, d time.Duration) {
	if a.late > 0 && time.Now().After(a.at) {
		d, a.late = d+a.late, 0
	}
	a.coarseAlarm.sleep(ctx, d)
}

func TestAfterAStallOfItsOwnTheGeneratorSendsWhatItMissedWithTheTimesItWasMeantFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alarm := &lateAlarm{late: 500 * time.Millisecond, at: time.Now().Add(2 * time.Second)}
		frames, totals := drive(t, &Generator{
			Rate: 200, alarm: alarm,
			Call: func(context.Context) error { return nil },
		}, 4*time.Second)

		for _, f := range frames[:39] {
			if f.RPCs != 20 {
				t.Errorf("frame of %v: %d RPCs, not 20", f.Start, f.RPCs)
			}
		}
		if got := percentile(&totals, 100); got < 490*time.Millisecond || got > 510*time.Millisecond {
			t.Errorf("the longest latency is %v, not the 500 ms of the stall", got)
		}
		// 100 of 800 were late, evenly from 500 ms down to nothing.
		if got := percentile(&totals, 95); got < 280*time.Millisecond || got > 320*time.Millisecond {
			t.Errorf("p95 is %v, not 300 ms", got)
		}
	})
}

func TestRPCsBeyondTheBoundAreCountedAndNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frames, totals := drive(t, &Generator{
			Rate: 100, MaxInFlight: 10, Timeout: time.Second,
			Call: func(ctx context.Context) error {
				<-ctx.Done()

				return status.FromContextError(ctx.Err()).Err()
			},
		}, 1900*time.Millisecond)

		// Ten are sent at once and ten more when those have timed out.
		want := map[string]int64{"DEADLINE_EXCEEDED": 20, "RESOURCE_EXHAUSTED": 170}
		if totals.ErrorsByCode["DEADLINE_EXCEEDED"] != 20 || totals.NotSent != totals.ErrorsByCode["RESOURCE_EXHAUSTED"] ||
			totals.RPCs != totals.Failed || totals.NotSent < 169 || totals.NotSent > 171 {
			t.Errorf("%+v: want about %v", totals, want)
		}
		if f := frames[5]; f.NotSent != 10 || f.Failed != 10 || f.Attempts != 0 || f.FirstError == "" {
			t.Errorf("a frame of nothing but RPCs not sent: %+v", f)
		}
	})
}

func TestAClosedLoopKeepsItsWorkersBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, totals := drive(t, &Generator{Concurrency: 8, Call: func(context.Context) error {
			time.Sleep(4 * time.Millisecond)

			return nil
		}}, 2*time.Second)

		if totals.RPCs < 3990 || totals.RPCs > 4010 {
			t.Errorf("%d RPCs: 8 workers with 4 ms each are to make 4000 in 2 s", totals.RPCs)
		}
		if p := percentile(&totals, 99); p < 3900*time.Microsecond || p > 4100*time.Microsecond {
			t.Errorf("p99 is %v, not 4 ms", p)
		}
	})
}

func TestTheGeneratorWaitsForTheRPCsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, totals := drive(t, &Generator{Rate: 10, Call: func(context.Context) error {
			time.Sleep(3 * time.Second)

			return nil
		}}, time.Second)

		if totals.RPCs < 10 || totals.Failed != 0 {
			t.Errorf("%d RPCs recorded, %d failed", totals.RPCs, totals.Failed)
		}
	})
}

func TestAnRPCsContextEndsAtTheTimeoutOrAHundredthLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, totals := drive(t, &Generator{Rate: 1000, Timeout: 250 * time.Millisecond, Call: func(ctx context.Context) error {
			begun := time.Now()
			<-ctx.Done()
			took := time.Since(begun)
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || took < 250*time.Millisecond || took > 252500*time.Microsecond {
				t.Errorf("the context ended after %v: %v", took, ctx.Err())
			}

			return status.Error(codes.DeadlineExceeded, "too late")
		}}, time.Second)

		if totals.ErrorsByCode["DEADLINE_EXCEEDED"] != totals.RPCs || totals.LastError != "rpc error: code = DeadlineExceeded desc = too late" {
			t.Errorf("%+v", totals)
		}
	})
}

func TestThePreciseAlarmWakesInTimeAndWhenInterrupted(t *testing.T) {
	a := newAlarm()
	defer a.close()
	begun := time.Now()
	a.sleep(t.Context(), 3*time.Millisecond)
	if d := time.Since(begun); d < 3*time.Millisecond {
		t.Errorf("woke after %v, before its time", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	woken := make(chan struct{})
	go func() {
		a.sleep(ctx, time.Hour)
		close(woken)
	}()
	cancel()
	a.interrupt()
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Fatal("still asleep")
	}
}

func TestOnlyAClosedLoopOfFewWorkersChangesTheGarbageCollector(t *testing.T) {
	t.Setenv("GOGC", "")
	for name, test := range map[string]struct {
		generator *Generator
		changes   bool
	}{
		"closed loop":                 {&Generator{Concurrency: 64}, true},
		"open loop":                   {&Generator{Concurrency: 64, Rate: 100}, false},
		"closed loop of many workers": {&Generator{Concurrency: 5000}, false},
	} {
		before := debug.SetGCPercent(100)
		undo := test.generator.TuneGC()
		during := debug.SetGCPercent(100)
		debug.SetGCPercent(during)
		undo()
		if after := debug.SetGCPercent(before); (during != 100) != test.changes || after != 100 {
			t.Errorf("%s: %d during, %d after", name, during, after)
		}
	}
	t.Setenv("GOGC", "50")
	defer (&Generator{Concurrency: 64}).TuneGC()()
	if during := debug.SetGCPercent(100); during == closedLoopGC {
		t.Error("GOGC was set, and not heeded")
	} else {
		debug.SetGCPercent(during)
	}
}
