// Package load drives one gRPC service and records what became of every RPC.
//
// A Generator sends RPCs, a Recorder watches them through a stats.Handler on
// the channel and cuts what it saw into the frames of package loadreport, and a
// Feed hands the frames to whoever listens. None of them knows how the channel
// finds or balances its backends.
//
// Latency counts from the intended send time: in an open loop that is a fixed
// grid, so RPCs that had to wait behind a stall show the wait ("coordinated
// omission", Gil Tene). In a closed loop it is when the worker was free to send.
package load

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/services/client/keys"
)

// Generator sends the RPCs of one service.
type Generator struct {
	// Call makes one RPC and returns its status as an error. It is called from
	// many goroutines at once and must end soon after its context does.
	Call func(ctx context.Context) error
	// Keys are the keys that RPCs carry; nil means none.
	Keys *keys.Set
	// Recorder hears of every RPC.
	Recorder *Recorder
	// Rate is how many RPCs are begun in a second, evenly spaced, whether or not
	// the ones before have ended (an open loop). 0 makes a closed loop.
	Rate float64
	// Concurrency is how many workers of a closed loop call back to back.
	Concurrency int
	// Payload is how many values an RPC asks for, and SetPayload has Call ask for so many
	// from now on; nil where there is no such thing. Change calls it.
	Payload    int
	SetPayload func(int)
	// Timeout is how long an RPC may take, retries included. Up to a hundredth is added,
	// so that RPCs can share timers.
	Timeout time.Duration
	// MaxInFlight bounds the RPCs of an open loop that have not ended. One that is
	// due while so many are in flight is recorded as failed and not sent.
	MaxInFlight int

	// alarm is what the open loop sleeps with; nil means the most precise there is.
	alarm alarm

	deadlines *deadlines
	inFlight  sync.WaitGroup
	flying    atomic.Int64

	mu       sync.Mutex
	changed  *Plan // nil: the fields above are in force
	endPhase context.CancelFunc
}

// Run sends RPCs until ctx is done and returns when each of them has ended,
// which is at the latest one Timeout and a hundredth later.
func (g *Generator) Run(ctx context.Context) {
	g.deadlines = newDeadlines(g.Timeout)
	defer g.deadlines.stop()
	for ctx.Err() == nil {
		plan, phase := g.phase(ctx)
		if plan.Rate == 0 {
			g.Recorder.issuedUntil(math.MaxInt64)
			g.closedLoop(phase, plan)
		} else {
			g.openLoop(ctx, phase, plan)
		}
	}
	g.Recorder.issuedUntil(math.MaxInt64)
	g.inFlight.Wait()
}

// openLoop begins the RPC number n at start + n/Rate. When it wakes up late it
// begins all that are due at once, each with the time it was meant for. It ends with
// its phase, once all that were due until then have been begun.
func (g *Generator) openLoop(ctx, phase context.Context, plan Plan) {
	alarm := g.alarm
	if alarm == nil {
		alarm = newAlarm()
	}
	defer alarm.close()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(phase, func() {
		alarm.interrupt()
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted
		}
	}()

	draws := plan.Keys.Draws(0)
	// In this order: a frame that is closed meanwhile ends before the start.
	g.Recorder.issuedUntil(g.Recorder.now())
	start := g.Recorder.now()
	ended := int64(math.MaxInt64)
	for n := int64(0); ctx.Err() == nil; n++ {
		due := start + int64(float64(n)*float64(time.Second)/plan.Rate)
		g.Recorder.issuedUntil(due)
		for wait := due - g.Recorder.now(); wait > 0 && phase.Err() == nil; wait = due - g.Recorder.now() {
			alarm.sleep(phase, time.Duration(wait))
		}
		if ended == math.MaxInt64 && phase.Err() != nil {
			ended = g.Recorder.now()
		}
		if ctx.Err() != nil || due > ended {
			return
		}
		g.send(int(n), due, draws.Next(), plan.Keys, stillOwed(due, ended))
	}
}

// send begins one RPC of the open loop without waiting for its end, if it is owed still.
func (g *Generator) send(n int, due int64, key int, set *keys.Set, owed bool) {
	c := g.Recorder.begin(n, due, key)
	if !owed {
		g.Recorder.notSent(c, errNotOwed)

		return
	}
	if g.flying.Add(1) > int64(g.MaxInFlight) {
		g.flying.Add(-1)
		g.Recorder.notSent(c, tooManyError(g.MaxInFlight))

		return
	}
	g.inFlight.Go(func() {
		g.call(n, c, set)
		g.flying.Add(-1)
	})
}

// closedLoop keeps Concurrency RPCs in flight until its phase ends. It does not wait for the last of them.
func (g *Generator) closedLoop(phase context.Context, plan Plan) {
	for worker := range plan.Concurrency {
		g.inFlight.Go(func() {
			draws := plan.Keys.Draws(worker)
			for phase.Err() == nil {
				// The frame of a moment ago may have been closed since; then now is
				// a later time.
				if c := g.Recorder.begin(worker, g.Recorder.now(), draws.Next()); c != nil {
					g.call(worker, c, plan.Keys)
				}
			}
		})
	}
	<-phase.Done()
}

func (g *Generator) call(n int, c *call, set *keys.Set) {
	c.Context = g.deadlines.next(n)
	if c.key != keys.NoKey {
		c.Context = set.Attach(c.Context, int(c.key))
	}
	g.Recorder.end(c, g.Call(c))
}

// TuneGC lets garbage grow to some 32 MB before it is collected, if the generator is
// a closed loop: an RPC leaves 8 KB of it and the loop holds next to nothing, so Go,
// which collects when the heap has doubled, would do so dozens of times a
// second. It changes the process unless GOGC is set, and returns what undoes that.
func (g *Generator) TuneGC() (undo func()) {
	if g.Rate > 0 || g.Concurrency > manyWorkers || os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(closedLoopGC)

	return func() { debug.SetGCPercent(before) }
}

const (
	// closedLoopGC is how much garbage there may be, in hundredths of what is in use;
	// Go takes that to be 4 MB at least.
	closedLoopGC = 800
	// manyWorkers have so much in flight that Go's own pace is slow enough.
	manyWorkers = 256
)

// String says what the generator does, for the log and the report.
func (g *Generator) String() string {
	return g.Plan().String()
}

// String says what the plan is, but for its keys.
func (p Plan) String() string {
	if p.Rate == 0 {
		return fmt.Sprintf("closed loop, %d workers", p.Concurrency)
	}

	return fmt.Sprintf("open loop, %g RPCs/s", p.Rate)
}

// alarm sleeps with the precision that sending on a grid needs.
type alarm interface {
	// sleep returns after d or when interrupted, whichever is first; it may
	// return early.
	sleep(ctx context.Context, d time.Duration)
	// interrupt wakes the sleeper and keeps it awake.
	interrupt()
	close()
}

// coarseAlarm is the runtime's own timer. On Linux an idle Go process wakes up
// on whole milliseconds (golang.org/issue/44343).
type coarseAlarm struct{}

func (coarseAlarm) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (coarseAlarm) interrupt() {}
func (coarseAlarm) close()     {}
