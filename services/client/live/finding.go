package live

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// window is what happened in the last whole seconds.
type window struct {
	from, to     int64 // seconds
	rpcs, failed int64
	lanes        map[int]int64 // RPCs answered
	answered     int64
	latencies    map[int64]int64 // in microseconds, how often
}

const (
	// windowLeast and windowMost are how many seconds it has.
	windowLeast, windowMost = 5, 30
	// enough is how many RPCs for each endpoint tell an even share from an uneven one.
	enough = 10
)

// window is long enough to say something about each endpoint that is known.
func (w *Watched) window() window {
	now := window{from: w.complete, to: w.complete, lanes: map[int]int64{}, latencies: map[int64]int64{}}
	wanted := enough * int64(len(w.known))
	for _, c := range slices.Backward(w.columns) {
		if c.second >= w.complete {
			continue
		}
		if old := w.complete - c.second; old > windowMost || (old > windowLeast && now.rpcs >= wanted) {
			break
		}
		now.from = c.second
		now.rpcs += c.rpcs
		now.failed += c.failed
		for id, of := range c.cells {
			now.lanes[id] += of.rpcs
			now.answered += of.rpcs
		}
		for micros, n := range c.latencies {
			now.latencies[micros] += n
		}
	}

	return now
}

func (w window) rps(n int64) float64 {
	if w.to == w.from {
		return 0
	}

	return float64(n) / float64(w.to-w.from)
}

func (w window) share(lane int) float64 {
	if w.answered == 0 {
		return 0
	}

	return float64(w.lanes[lane]) / float64(w.answered)
}

// latency is within which so large a part of the RPCs succeeded, in milliseconds; nil if none did.
func (w window) latency(part float64) *float64 {
	var all, sum int64
	for _, n := range w.latencies {
		all += n
	}
	for _, micros := range slices.Sorted(maps.Keys(w.latencies)) {
		if sum += w.latencies[micros]; float64(sum) >= part*float64(all) {
			ms := float64(micros) / 1000

			return &ms
		}
	}

	return nil
}

// evenly is the most that the busiest pod has, over the mean, of shares that are called even.
const evenly = 1.1

// finding says what happens, in a sentence; its kind changes when that is another thing.
func (w *Watched) finding(now window) (kind, text string) {
	switch {
	case now.rpcs == 0 && w.complete == 0:
		return "waiting", "No RPC has ended yet."
	case now.rpcs == 0:
		return "quiet", "No RPC has been sent in the last seconds."
	case now.failed == now.rpcs:
		return "failing", w.failing()
	}
	kind, text = w.shares(now)
	if now.failed > 0 {
		part := fmt.Sprintf("%.0f %%", 100*float64(now.failed)/float64(now.rpcs))
		if now.failed*100 < now.rpcs {
			part = "under 1 %"
		}
		kind, text = kind+"-failing", fmt.Sprintf("%s; %s of RPCs fail (%s)", text, part, w.code)
	}

	return kind, text + "."
}

func (w *Watched) failing() string {
	if w.resolved && len(w.known) == 0 {
		return fmt.Sprintf("Every RPC fails (%s): name resolution has no endpoint.", w.code)
	}

	return fmt.Sprintf("Every RPC fails (%s): %s", w.code, strings.TrimSuffix(w.firstErr, ".")+".")
}

// shares says who gets the RPCs that are answered. Those are even or not among the pods that were
// known for all of the window.
func (w *Watched) shares(now window) (kind, text string) {
	busy, behind := 0, map[string]bool{}
	var whole, joined []int64 // what each pod answered
	for _, l := range w.lanes {
		if _, known := w.known[l.address]; w.resolved && !known {
			continue // it is gone
		}
		n := now.lanes[l.id]
		if n > 0 {
			busy++
			behind[l.address] = true
		}
		if last := len(l.spans) - 1; last < 0 || l.spans[last].From <= now.from*1000 {
			whole = append(whole, n)
		} else {
			joined = append(joined, n)
		}
	}
	if len(whole) == 0 || slices.Max(whole) == 0 {
		whole = append(whole, joined...) // those that get something have only just begun
	}
	known := len(sortedFirsts(w.known))
	switch {
	case busy == 0:
		return "gone", "Only pods that name resolution has no more answer"
	case busy == 1 && known > 1:
		return "one-of-many", fmt.Sprintf("1 pod of %d that are known gets everything", known)
	case busy == 1 && known == 1:
		return "only-one", "1 pod gets everything: name resolution has 1 address"
	case busy == 1:
		return "one", "1 pod gets everything"
	case len(behind) == 1:
		return "behind-one", fmt.Sprintf("%d pods answered in the last %d s, all behind 1 address", busy, now.to-now.from)
	}
	most, mean := slices.Max(whole), mean(whole)
	figure := fmt.Sprintf("(max/mean %.2f)", float64(most)/mean)
	switch even := float64(most-1) <= evenly*mean; {
	case busy < known:
		return "some", fmt.Sprintf("%d pods of %d that are known get RPCs %s", busy, known, figure)
	case even:
		return "even", fmt.Sprintf("%d pods get even shares %s", busy, figure)
	default:
		return "uneven", fmt.Sprintf("%d pods get uneven shares %s", busy, figure)
	}
}

func mean(counts []int64) float64 {
	var sum int64
	for _, n := range counts {
		sum += n
	}

	return float64(sum) / float64(len(counts))
}
