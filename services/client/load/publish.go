package load

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// publisher is what closing frames needs. Only the goroutine of Run touches it.
type publisher struct {
	next      int64 // the frame that is closed next
	histogram *hdrhistogram.Histogram
}

func newPublisher() publisher { return publisher{histogram: newHistogram()} }

// newHistogram holds latencies from 1 us to somewhat over an hour, exact to two
// significant digits, in 27 KB.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(2*time.Hour/time.Microsecond), 2)
}

// sum adds up the tallies of a frame's shards.
type sum struct {
	frame     loadreport.Frame
	pods      map[podKey]*loadreport.Pod
	histogram *hdrhistogram.Histogram
	latency   int64 // sum of all, in microseconds
	time      func(int64) time.Time
}

// podKey is how a pod is known outside: connections to the same address are one.
type podKey struct{ name, address string }

// publish closes the next frame, which is sealed: it goes into the totals and to the feed.
// It ends at until if that is before its time.
func (r *Recorder) publish(until int64) {
	index := r.publisher.next
	r.publisher.next++
	start := index * r.frame
	s := sum{
		frame: loadreport.Frame{
			Service:     r.service,
			Start:       r.time(start),
			Seconds:     time.Duration(min(r.frame, until-start)).Seconds(),
			Connections: r.connections.Load(),
		},
		pods:      map[podKey]*loadreport.Pod{},
		histogram: r.publisher.histogram,
		time:      r.time,
	}
	s.histogram.Reset()
	r.take(index, &s)
	s.finish()
	r.totals.add(&s)
	r.feed.publish(&s.frame)
}

func (s *sum) add(t *tally) {
	s.frame.RPCs += t.rpcs
	s.frame.NotSent += t.notSent
	for c, n := range t.failed {
		s.frame.Failed += n
		if s.frame.ErrorsByCode == nil {
			s.frame.ErrorsByCode = map[string]int64{}
		}
		s.frame.ErrorsByCode[codeName(c)] += n
	}
	s.frame.FirstError = cmp.Or(s.frame.FirstError, t.firstError)
	for _, micros := range t.latencies {
		s.latency += int64(micros)
		// The histogram's range holds any uint32.
		_ = s.histogram.RecordValue(int64(micros))
	}
	for server, st := range t.servers {
		s.addServer(server, st)
	}
}

func (s *sum) addServer(server server, st *serverTally) {
	key := podKey{name: server.name}
	if server.remote != nil {
		key.address = server.remote.String()
	}
	first, last := s.time(st.first), s.time(st.last)
	p, ok := s.pods[key]
	if !ok {
		p = &loadreport.Pod{Name: key.name, Address: key.address, FirstAttempt: first, LastAttempt: last}
		s.pods[key] = p
	}
	p.RPCs += st.rpcs
	p.Attempts += st.attempts
	p.FailedAttempts += st.failedAttempts
	for key, n := range st.keys {
		if p.Keys == nil {
			p.Keys = make(map[int]int64, len(st.keys))
		}
		p.Keys[key] += n
	}
	if first.Before(p.FirstAttempt) {
		p.FirstAttempt = first
	}
	if last.After(p.LastAttempt) {
		p.LastAttempt = last
	}
	s.frame.Attempts += st.attempts
	s.frame.FailedAttempts += st.failedAttempts
	s.frame.TransparentRetries += st.transparentRetries
}

// finish fills the parts of the frame that need all of the sum.
func (s *sum) finish() {
	for _, p := range s.pods {
		s.frame.Pods = append(s.frame.Pods, *p)
	}
	slices.SortFunc(s.frame.Pods, func(a, b loadreport.Pod) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address))
	})
	if s.histogram.TotalCount() == 0 {
		return
	}
	for _, bar := range s.histogram.Distribution() {
		if bar.Count > 0 {
			s.frame.LatencyMicros = append(s.frame.LatencyMicros, [2]int64{bar.To, bar.Count})
		}
	}
}

// codeName is the code's canonical name, such as "UNAVAILABLE".
func codeName(c codes.Code) string { return code.Code(int32(min(c, 1<<30))).String() }
