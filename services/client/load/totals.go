package load

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// maxPods is how many pods the totals keep apart. Pods come and go for as long as
// the generator runs; the ones not heard of for longest are folded into one.
const maxPods = 200

// Totals is what became of the RPCs of all frames closed so far.
type Totals struct {
	Since              time.Time
	RPCs               int64
	Failed             int64
	ErrorsByCode       map[string]int64
	NotSent            int64
	Attempts           int64
	FailedAttempts     int64
	TransparentRetries int64
	// Connections is how many are open now.
	Connections int64
	// Latency is the histogram of the RPCs that succeeded, in microseconds from
	// the intended send time, and LatencySum is their sum.
	Latency    *hdrhistogram.Histogram
	LatencySum time.Duration
	// Pods are the pods heard of most recently, by name and address.
	Pods []loadreport.Pod
	// OtherPods counts the pods that are not in Pods any more, and Others is what
	// they did together.
	OtherPods int64
	Others    loadreport.Pod
	// LastError is the first error of the last frame with one, at LastErrorAt.
	LastError   string
	LastErrorAt time.Time
}

type totals struct {
	mu   sync.Mutex
	sum  Totals
	pods map[podKey]*loadreport.Pod
}

func newTotals(since time.Time) totals {
	return totals{
		sum:  Totals{Since: since, ErrorsByCode: map[string]int64{}, Latency: newHistogram()},
		pods: map[podKey]*loadreport.Pod{},
	}
}

// Totals is a copy of the totals so far.
func (r *Recorder) Totals() Totals {
	t := &r.totals
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.sum
	c.Connections = r.connections.Load()
	c.ErrorsByCode = maps.Clone(c.ErrorsByCode)
	c.Latency = hdrhistogram.Import(c.Latency.Export())
	for _, p := range t.pods {
		c.Pods = append(c.Pods, *p)
	}
	slices.SortFunc(c.Pods, func(a, b loadreport.Pod) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address))
	})

	return c
}

// add adds a frame.
func (t *totals) add(s *sum) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &s.frame
	t.sum.RPCs += f.RPCs
	t.sum.Failed += f.Failed
	t.sum.NotSent += f.NotSent
	t.sum.Attempts += f.Attempts
	t.sum.FailedAttempts += f.FailedAttempts
	t.sum.TransparentRetries += f.TransparentRetries
	for code, n := range f.ErrorsByCode {
		t.sum.ErrorsByCode[code] += n
	}
	if f.FirstError != "" {
		t.sum.LastError, t.sum.LastErrorAt = f.FirstError, f.Start
	}
	t.sum.LatencySum += time.Duration(s.latency) * time.Microsecond
	// Both histograms have the same range: nothing is dropped.
	t.sum.Latency.Merge(s.histogram)
	for _, p := range f.Pods {
		t.addPod(p)
	}
}

func (t *totals) addPod(p loadreport.Pod) {
	// The totals of every key would grow for as long as the generator runs.
	p.Keys = nil
	key := podKey{name: p.Name, address: p.Address}
	if known, ok := t.pods[key]; ok {
		merge(known, p)

		return
	}
	t.pods[key] = &p
	if len(t.pods) <= maxPods {
		return
	}
	var oldest podKey
	for key, pod := range t.pods {
		if o, ok := t.pods[oldest]; !ok || pod.LastAttempt.Before(o.LastAttempt) {
			oldest = key
		}
	}
	if t.sum.OtherPods == 0 {
		t.sum.Others = *t.pods[oldest]
	} else {
		merge(&t.sum.Others, *t.pods[oldest])
	}
	t.sum.Others.Name, t.sum.Others.Address = "", ""
	t.sum.OtherPods++
	delete(t.pods, oldest)
}

// merge adds what p did to what into did.
func merge(into *loadreport.Pod, p loadreport.Pod) {
	into.RPCs += p.RPCs
	into.Attempts += p.Attempts
	into.FailedAttempts += p.FailedAttempts
	if p.FirstAttempt.Before(into.FirstAttempt) {
		into.FirstAttempt = p.FirstAttempt
	}
	if p.LastAttempt.After(into.LastAttempt) {
		into.LastAttempt = p.LastAttempt
	}
}
