package scorecard

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// spread returns the largest share over the mean share, and Jain's fairness index
// (Jain, Chiu and Hawe 1984): the square of the sum over n times the sum of squares.
// Both are nil for fewer than two pods and where nothing was answered.
func spread(answered []int64) (maxOverMean, jain *float64) {
	var sum, squares, largest float64
	for _, n := range answered {
		x := float64(n)
		sum += x
		squares += x * x
		largest = max(largest, x)
	}
	if len(answered) < 2 || sum == 0 {
		return nil, nil
	}
	n := float64(len(answered))

	return new(largest / (sum / n)), new(sum * sum / (n * squares))
}

// latency adds up the histograms of frames.
type latency struct{ histogram *hdrhistogram.Histogram }

// longest is the longest latency that is told apart, in microseconds.
const longest = int64(time.Hour / time.Microsecond)

func newLatency() latency { return latency{hdrhistogram.New(1, longest, 3)} }

func (l latency) add(pairs [][2]int64) {
	for _, pair := range pairs {
		// In range by construction, so it cannot fail.
		_ = l.histogram.RecordValues(min(max(pair[0], 1), longest), pair[1])
	}
}

func (l latency) milliseconds() results.Latency {
	if l.histogram.TotalCount() == 0 {
		return results.Latency{}
	}
	at := func(quantile float64) *float64 {
		return new(float64(l.histogram.ValueAtQuantile(quantile)) / 1000)
	}

	return results.Latency{P50: at(50), P90: at(90), P99: at(99), Max: at(100)}
}

// timeline cuts the run into bins. A frame counts in the bin that it begins in.
func (r *Record) timeline() results.Timeline {
	if len(r.Phases) == 0 {
		return results.Timeline{BinSeconds: binSeconds}
	}
	start := r.Phases[0].StartedAt
	length := end(r.Phases[len(r.Phases)-1]).Sub(start).Seconds()
	bins := max(1, int(length/binSeconds+0.5))
	t := results.Timeline{
		StartedAt: start, BinSeconds: binSeconds,
		RPCs: make([]int64, bins), Failed: make([]int64, bins),
		Pods: make([]results.TimelinePod, 0, len(r.Lives)),
	}
	for _, l := range r.Lives {
		t.Pods = append(t.Pods, results.TimelinePod{
			Name: l.Name, ReadyAt: l.ReadyAt, UnreadyAt: l.UnreadyAt, EndedAt: l.EndedAt,
			EndReason: l.EndReason, RPCs: make([]int64, bins),
		})
	}
	for i := range r.Frames {
		f := &r.Frames[i]
		bin := r.bin(f, start)
		if bin < 0 || bin >= bins {
			continue
		}
		t.RPCs[bin] += f.RPCs
		t.Failed[bin] += f.Failed
		for j := range f.Pods {
			if at := r.podOf(&f.Pods[j]); at >= 0 {
				t.Pods[at].RPCs[bin] += f.Pods[j].RPCs
			}
		}
	}

	return t
}

// bin is the bin that a frame begins in; the frame that straddles the beginning of
// the run is in the first.
func (r *Record) bin(f *loadreport.Frame, start time.Time) int {
	if r.phaseOf(f) < 0 {
		return -1
	}

	return int(max(0, f.Start.Sub(start).Seconds()) / binSeconds)
}
