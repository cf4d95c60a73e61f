package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/services/client/keys"
)

// checkOrder is an error when a frame is missing, out of place or twice there.
func checkOrder(t *testing.T, frames []*loadreport.Frame) {
	t.Helper()
	for i, f := range frames {
		if i > 0 && !f.Start.Equal(frames[i-1].Start.Add(frameLength)) {
			t.Fatalf("frame %d begins at %v, the one before at %v", i, f.Start, frames[i-1].Start)
		}
		if i < len(frames)-1 && f.Seconds != frameLength.Seconds() {
			t.Errorf("frame %d is %v s long", i, f.Seconds)
		}
		if !f.Start.Equal(f.Start.Truncate(frameLength)) {
			t.Errorf("frame %d begins at %v, not at a multiple of its length", i, f.Start)
		}
	}
}

func TestEveryRPCIsInTheFrameThatItWasMeantForWheneverItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(33 * time.Millisecond) // not at the beginning of a frame
		frames, totals := drive(t, &Generator{Rate: 1000, Timeout: 2 * time.Second, Call: func(context.Context) error {
			time.Sleep(rand.N(1500 * time.Millisecond))
			if rand.IntN(10) == 0 {
				return status.Error(codes.Unavailable, "down")
			}

			return nil
		}}, 5*time.Second)

		checkOrder(t, frames)
		var rpcs, failed, latencies int64
		for i, f := range frames {
			switch {
			case i == 0 && f.RPCs != 67:
				t.Errorf("the first frame, begun 33 ms late, has %d RPCs", f.RPCs)
			case i > 0 && i < 50 && f.RPCs != 100:
				t.Errorf("frame %d has %d RPCs, not 100", i, f.RPCs)
			}
			rpcs += f.RPCs
			failed += f.ErrorsByCode["UNAVAILABLE"]
			for _, bar := range f.LatencyMicros {
				latencies += bar[1]
			}
			if f.Failed != f.ErrorsByCode["UNAVAILABLE"] {
				t.Errorf("frame %d: %d failed, by code %v", i, f.Failed, f.ErrorsByCode)
			}
		}
		if rpcs != totals.RPCs || failed != totals.Failed || latencies != rpcs-failed || latencies != totals.Latency.TotalCount() {
			t.Errorf("frames: %d RPCs, %d failed, %d latencies; totals: %d, %d, %d",
				rpcs, failed, latencies, totals.RPCs, totals.Failed, totals.Latency.TotalCount())
		}
	})
}

func TestAFrameIsPublishedOnceItsLastRPCHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := NewFeed()
		r := NewRecorder("rng", frameLength, feed)
		subscription := feed.Subscribe(100)
		recording, stop := context.WithCancel(t.Context())
		var recorder sync.WaitGroup
		recorder.Go(func() { r.Run(recording) })
		begun := time.Now()

		slow := r.begin(0, r.now(), keys.NoKey)
		r.end(r.begin(1, r.now(), keys.NoKey), nil)
		r.issuedUntil(math.MaxInt64)
		time.Sleep(730 * time.Millisecond)
		synctest.Wait()
		if n := len(subscription.Frames); n != 0 {
			t.Errorf("%d frames published while an RPC of the first was in flight", n)
		}
		if r.begin(0, 0, keys.NoKey) != nil || r.begin(1, 0, keys.NoKey) != nil {
			t.Error("a frame that is over took another RPC")
		}
		r.end(slow, nil)
		synctest.Wait()
		if n := len(subscription.Frames); n != 7 {
			t.Errorf("%d frames published when it ended after 7", n)
		}
		if f := <-subscription.Frames; f.RPCs != 2 || !f.Start.Equal(begun) {
			t.Errorf("the first frame: %+v", f)
		}
		stop()
		recorder.Wait()
	})
}

func TestTheLastFrameIsAsLongAsItLasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frames, _ := drive(t, &Generator{Rate: 100, Call: func(context.Context) error { return nil }}, 235*time.Millisecond)

		if last := frames[len(frames)-1]; len(frames) != 3 || math.Abs(last.Seconds-0.035) > 1e-9 || last.RPCs != 4 {
			t.Errorf("%d frames, the last %+v", len(frames), last)
		}
	})
}

func TestWorkersThatSendAtOnceLoseNothing(t *testing.T) {
	feed := NewFeed()
	r := NewRecorder("rng", 10*time.Millisecond, feed)
	subscription := feed.Subscribe(100_000)
	recording, stopRecording := context.WithCancel(t.Context())
	var recorder sync.WaitGroup
	recorder.Go(func() { r.Run(recording) })
	running, stop := context.WithCancel(t.Context())
	var calls atomic.Int64
	g := &Generator{Recorder: r, Concurrency: 32, Timeout: time.Second, Call: func(context.Context) error {
		if calls.Add(1) == 20_000 {
			stop()
		}

		return nil
	}}
	g.Run(running)
	stopRecording()
	recorder.Wait()
	feed.Close()

	var rpcs int64
	var last time.Time
	for f := range subscription.Frames {
		rpcs += f.RPCs
		if !last.IsZero() && !f.Start.Equal(last.Add(10*time.Millisecond)) {
			t.Fatalf("frame at %v after the one at %v", f.Start, last)
		}
		last = f.Start
	}
	if rpcs != calls.Load() || r.Totals().RPCs != rpcs {
		t.Errorf("%d RPCs in frames, %d in the totals, of %d", rpcs, r.Totals().RPCs, calls.Load())
	}
}

func TestPodsOfLongAgoAreFoldedIntoOne(t *testing.T) {
	r := NewRecorder("rng", frameLength, NewFeed())
	const pods = 3 * maxPods
	for i := range pods {
		c := r.begin(i, r.publisher.next*r.frame, keys.NoKey)
		c.tried = 1
		c.first.at = int64(i) * int64(time.Second)
		c.first.failed = i%2 == 0
		c.first.server = server{remote: &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i)), Port: 1}, name: fmt.Sprint("pod-", i)}
		var err error
		if c.first.failed {
			err = errors.New("down")
		}
		r.end(c, err)
		if i%7 == 0 {
			r.seal(r.publisher.next)
			r.publish(math.MaxInt64)
		}
	}
	r.seal(r.publisher.next)
	r.publish(math.MaxInt64)
	totals := r.Totals()
	if len(totals.Pods) != maxPods || totals.OtherPods != pods-maxPods {
		t.Fatalf("%d pods kept and %d folded of %d", len(totals.Pods), totals.OtherPods, pods)
	}
	sum := totals.Others
	for _, p := range totals.Pods {
		merge(&sum, p)
		if p.FirstAttempt.Before(totals.Others.LastAttempt) {
			t.Errorf("%s was kept and a later one folded", p.Name)
		}
	}
	if sum.Attempts != pods || sum.RPCs != pods/2 || sum.FailedAttempts != pods/2 {
		t.Errorf("kept and folded together: %+v", sum)
	}
	if !sum.FirstAttempt.Equal(r.base) || !sum.LastAttempt.Equal(r.base.Add((pods-1)*time.Second)) {
		t.Errorf("first %v and last %v attempt of all", sum.FirstAttempt.Sub(r.base), sum.LastAttempt.Sub(r.base))
	}
}

func TestMemoryDoesNotGrowWithTheNumberOfFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder("rng", frameLength, NewFeed())
		recording, stop := context.WithCancel(t.Context())
		var recorder sync.WaitGroup
		recorder.Go(func() { r.Run(recording) })
		g := &Generator{
			Recorder: r, Rate: 50, MaxInFlight: 100, Timeout: time.Second, alarm: coarseAlarm{},
			Call: func(context.Context) error { time.Sleep(rand.N(time.Second)); return nil },
		}
		running, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		g.Run(running)
		stop()
		recorder.Wait()
		for i := range r.shards {
			s := &r.shards[i]
			if len(s.open) != 0 || cap(s.open) > 64 || len(s.spare) > maxSpare {
				t.Errorf("shard %d after 3000 frames: %d frames open (room for %d), %d kept", i, len(s.open), cap(s.open), len(s.spare))
			}
		}
		if totals := r.Totals(); totals.RPCs < 14_990 {
			t.Errorf("%d RPCs in 5 minutes", totals.RPCs)
		}
	})
}

func TestABadServersErrorTextIsCutToALineOfReason(t *testing.T) {
	tally := newTally()
	text := make([]byte, 10*maxErrorText)
	for i := range text {
		text[i] = "é"[i%2]
	}
	tally.addRPC(codes.Internal, 0, status.Error(codes.Internal, string(text)))
	if n := len(tally.firstError); n > maxErrorText || n < maxErrorText/2 {
		t.Errorf("%d bytes of text kept", n)
	}
}
