package scorecard

import (
	"maps"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

const (
	// minPairs is the fewest pairs of RPCs with the same key that an affinity is given for,
	// and minKeys the fewest keys with a pod before and after that moved keys are: below,
	// chance decides.
	minPairs = 30
	minKeys  = 20
	// keyWindow is the end of a phase in which a key's pod is looked for. A phase that is
	// shorter than two of them has a window of half of it, so that what its action
	// stirs up comes before.
	keyWindow = 3 * time.Second
)

// served counts RPCs by the key that they carried and the pod, as an index in Lives,
// that answered them.
type served map[int]map[int]float64

// add adds what a frame tells of keys. RPCs whose pod cannot be told are left out.
func (r *Record) add(into served, f *loadreport.Frame) {
	for i := range f.Pods {
		if len(f.Pods[i].Keys) == 0 {
			continue
		}
		pod := r.podOf(&f.Pods[i])
		if pod < 0 {
			continue
		}
		for key, n := range f.Pods[i].Keys {
			if n <= 0 {
				continue
			}
			if into[key] == nil {
				into[key] = map[int]float64{}
			}
			into[key][pod] += float64(n)
		}
	}
}

// affinity is the share of a phase's RPCs that went to the pod of the RPC with the
// same key before them in the phase; nil for fewer than minPairs of such pairs.
//
// The order of the RPCs within a frame is not known. Every order counts alike: of m RPCs
// with a key, n of each pod, an RPC and the one before it are on the same pod with the
// chance sum n(n-1) / m(m-1).
func (r *Record) affinity(index int) *float64 {
	before := served{}
	var pairs, same float64
	for i := range r.Frames {
		if r.phaseOf(&r.Frames[i]) != index {
			continue
		}
		now := served{}
		r.add(now, &r.Frames[i])
		for _, key := range slices.Sorted(maps.Keys(now)) { // in order, so that sums repeat to the last digit
			m, last := total(now[key]), total(before[key])
			pairs += m - 1
			var within, across float64
			for pod, n := range now[key] {
				within += n * (n - 1)
				across += n * before[key][pod]
			}
			same += within / m
			if last > 0 {
				pairs++
				same += across / (m * last)
			}
			before[key] = now[key]
		}
	}
	if pairs < minPairs {
		return nil
	}

	return new(same / pairs)
}

func total(pods map[int]float64) float64 {
	var sum float64
	for _, n := range pods {
		sum += n
	}

	return sum
}

// movedKeys compares the end of a phase with the end of the phase before: the share
// of keys that changed their pod, and the share that had to. Both are nil when the ready
// pods are the same, and where fewer than minKeys keys have a pod in both.
func (r *Record) movedKeys(index int) (moved, ideal *float64) {
	if index == 0 {
		return nil, nil
	}
	ideal = r.mustMove(end(r.Phases[index-1]), end(r.Phases[index]))
	if ideal == nil {
		return nil, nil
	}
	from, to := r.homes(index-1), r.homes(index)
	var both, gone float64
	for key, pod := range from {
		now, ok := to[key]
		if !ok {
			continue
		}
		both++
		if now != pod {
			gone++
		}
	}
	if both < minKeys {
		return nil, nil
	}

	return new(gone / both), ideal
}

// mustMove is the least share of keys that move when the pods ready at one time give
// way to those of another, if each pod has its equal share of the keys; nil if they are
// the same or there are none at one of the times.
func (r *Record) mustMove(from, to time.Time) *float64 {
	var before, after, both float64
	for _, l := range r.Lives {
		was, is := readyAt(l, from), readyAt(l, to)
		if was {
			before++
		}
		if is {
			after++
		}
		if was && is {
			both++
		}
	}
	if before == 0 || after == 0 || before+after == 2*both {
		return nil
	}

	return new(1 - both/max(before, after))
}

// readyAt says whether the pod was ready just before t.
func readyAt(l Life, t time.Time) bool {
	return l.ReadyAt != nil && l.ReadyAt.Before(t) && (l.UnreadyAt == nil || !l.UnreadyAt.Before(t))
}

// homes is each key's pod at the end of a phase: the one that answered more than half
// of its RPCs. A key without such a pod is not there.
func (r *Record) homes(index int) map[int]int {
	phase := r.Phases[index]
	window := min(keyWindow, seconds(phase.Seconds)/2)
	from := end(phase).Add(-window)
	seen := served{}
	for i := range r.Frames {
		if f := &r.Frames[i]; r.phaseOf(f) == index && !f.Start.Before(from) {
			r.add(seen, f)
		}
	}
	homes := map[int]int{}
	for key, pods := range seen {
		all := total(pods)
		for pod, n := range pods {
			if 2*n > all {
				homes[key] = pod
			}
		}
	}

	return homes
}
