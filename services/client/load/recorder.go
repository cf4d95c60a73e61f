package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Recorder records the RPCs of one service, frame by frame.
//
// What an RPC costs here bounds what the generator can generate, so RPCs are
// spread over shards that share nothing, and text, sorting and histograms wait
// until a frame is closed.
type Recorder struct {
	service string
	frame   int64     // length of a frame in nanoseconds
	base    time.Time // start of frame 0; times in here are nanoseconds since then
	feed    *Feed
	shards  []shard

	connections  atomic.Int64
	onConnection func(address string, open bool)
	// issued is the intended time before which no more RPCs will be begun.
	issued atomic.Int64
	// drained has a token when a frame that only waited for its RPCs may be closed.
	drained chan struct{}

	publisher publisher
	totals    totals
	exemplars exemplars
}

// shard is a part of the RPCs.
type shard struct {
	mu     sync.Mutex
	sealed int64        // frames before this one take no more RPCs
	open   []*openFrame // by index
	spare  []*openFrame
	_      [64]byte // keeps neighbours off the cache line
}

// openFrame is a shard's part of a frame that is not closed yet.
type openFrame struct {
	index   int64
	pending int // RPCs begun that have not ended
	tally   tally
}

// NewRecorder records the RPCs of a service in frames of the given length,
// which it hands to feed. Run closes the frames.
func NewRecorder(service string, frame time.Duration, feed *Feed) *Recorder {
	now := time.Now()
	r := &Recorder{
		service: service,
		frame:   int64(frame),
		// Frames begin at multiples of their length, so those of several clients
		// match. The subtraction keeps the monotonic reading.
		base:    now.Add(-now.Sub(now.Truncate(frame))),
		feed:    feed,
		shards:  make([]shard, min(runtime.GOMAXPROCS(0), 8)),
		drained: make(chan struct{}, 1),
	}
	r.publisher = newPublisher()
	r.totals = newTotals(now)

	return r
}

// OnConnection has f hear of each connection that is opened or closed, with the address
// of its other end. f must not wait. Call it before the channel is used.
func (r *Recorder) OnConnection(f func(address string, open bool)) { r.onConnection = f }

// Run closes frames as their RPCs end, until ctx is done; then it closes the
// rest, the last one short. End the generator first: an RPC still in flight
// then is lost.
func (r *Recorder) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.closeAll()

			return
		case <-timer.C:
			r.closeReady()
			timer.Reset(r.untilNextFrame())
		case <-r.drained:
			r.closeReady()
		}
	}
}

// untilNextFrame is when a frame may next be ready for lack of more RPCs.
func (r *Recorder) untilNextFrame() time.Duration {
	now := r.now()
	if r.issued.Load()/r.frame < now/r.frame {
		// The generator is about to begin the last RPCs of a frame that is over.
		return generatorLag
	}

	return time.Duration(r.frame - now%r.frame)
}

// generatorLag is how late a generator often is.
const generatorLag = 5 * time.Millisecond

// now is the time.
func (r *Recorder) now() int64 { return int64(time.Since(r.base)) }

// time is the time t of this recorder's reckoning.
func (r *Recorder) time(t int64) time.Time { return r.base.Add(time.Duration(t)) }

// issuedUntil says that every RPC meant to be sent before t has been begun.
func (r *Recorder) issuedUntil(t int64) { r.issued.Store(t) }

// begin opens the record of an RPC in the frame of its intended send time. It is
// nil when that frame has been closed, which cannot happen at or after the time
// given to issuedUntil. Any number will do for n; RPCs with the same one wait for each other.
// The key is the number of the one that the RPC carries.
func (r *Recorder) begin(n int, intended int64, key int) *call {
	s := &r.shards[uint(n)%uint(len(r.shards))]
	index := intended / r.frame
	s.mu.Lock()
	defer s.mu.Unlock()
	if index < s.sealed {
		return nil
	}
	f := s.frame(index)
	f.pending++

	return &call{frame: f, shard: s, intended: intended, key: int32(key)}
}

// frame is the shard's frame of that index, opened if need be.
func (s *shard) frame(index int64) *openFrame {
	at := len(s.open)
	for ; at > 0 && s.open[at-1].index >= index; at-- {
		if s.open[at-1].index == index {
			return s.open[at-1]
		}
	}
	var f *openFrame
	if last := len(s.spare) - 1; last >= 0 {
		f, s.spare = s.spare[last], s.spare[:last]
	} else {
		f = &openFrame{tally: newTally()}
	}
	f.index = index
	s.open = append(s.open, nil)
	copy(s.open[at+1:], s.open[at:])
	s.open[at] = f

	return f
}

// end records what became of an RPC.
func (r *Recorder) end(c *call, err error) {
	latency := r.now() - c.intended
	code := codes.OK
	if err != nil {
		code = status.Code(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	t := &c.frame.tally
	t.addRPC(code, latency, err)
	for i := range c.tried {
		a := &c.first
		if i > 0 {
			a = c.later[i-1]
		}
		t.addAttempt(a, code == codes.OK && i == c.tried-1, int(c.key))
	}
	r.settle(c)
	if code == codes.OK && c.trace != "" {
		r.exemplars.add(Exemplar{TraceID: c.trace, Latency: time.Duration(latency), At: r.time(c.intended + latency)})
	}
}

// notSent records an RPC that the generator did not send, and why.
func (r *Recorder) notSent(c *call, why error) {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	t := &c.frame.tally
	t.notSent++
	t.addRPC(codes.ResourceExhausted, 0, why)
	r.settle(c)
}

// tooManyError is the bound on RPCs in flight that kept an RPC from being sent.
type tooManyError int

func (e tooManyError) Error() string {
	return fmt.Sprintf("not sent: %d RPCs are in flight already", int(e))
}

// errNotOwed is why an RPC was not sent that was due long before its phase ended.
var errNotOwed = errors.New("not sent: the load was changed while the generator was over a second behind")

// settle takes an RPC that has ended off its frame, and wakes whoever closes
// frames if it waited for this one.
func (r *Recorder) settle(c *call) {
	c.frame.pending--
	if c.frame.pending == 0 && c.frame.index < c.shard.sealed {
		select {
		case r.drained <- struct{}{}:
		default:
		}
	}
}

// seal stops new RPCs of the frame and says whether all of it have ended.
func (r *Recorder) seal(index int64) bool {
	ended := true
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.sealed = max(s.sealed, index+1)
		if len(s.open) > 0 && s.open[0].index == index && s.open[0].pending > 0 {
			ended = false
		}
		s.mu.Unlock()
	}

	return ended
}

// take moves what the shards hold of a sealed frame into sum.
func (r *Recorder) take(index int64, sum *sum) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		var f *openFrame
		if len(s.open) > 0 && s.open[0].index == index {
			f = s.open[0]
			s.open = append(s.open[:0], s.open[1:]...)
		}
		s.mu.Unlock()
		if f == nil {
			continue
		}
		sum.add(&f.tally)
		f.tally.reset()
		s.mu.Lock()
		if len(s.spare) < maxSpare {
			s.spare = append(s.spare, f)
		}
		s.mu.Unlock()
	}
}

// maxSpare is how many frames a shard keeps for use again.
const maxSpare = 16

// closeReady closes, in order, the frames that are over and whose RPCs have ended.
func (r *Recorder) closeReady() {
	for {
		over := min(r.now(), r.issued.Load()) / r.frame
		if r.publisher.next >= over || !r.seal(r.publisher.next) {
			return
		}
		r.publish(math.MaxInt64)
	}
}

// closeAll closes every frame up to now.
func (r *Recorder) closeAll() {
	now := r.now()
	for r.publisher.next <= now/r.frame {
		r.seal(r.publisher.next)
		r.publish(now)
	}
}
