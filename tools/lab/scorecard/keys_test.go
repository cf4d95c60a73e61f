package scorecard_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// picker says which of the pods that are ready gets the next RPC, which has a key.
type picker func(key int, pods []scorecard.Life) scorecard.Life

// roundRobin gives each pod its turn.
func roundRobin() picker {
	n := 0

	return func(_ int, pods []scorecard.Life) scorecard.Life {
		n++

		return pods[n%len(pods)]
	}
}

// hash gives a key to the pod with the highest score for both (rendezvous hashing), which
// moves no key without need.
func hash(key int, pods []scorecard.Life) scorecard.Life {
	best, most := pods[0], uint64(0)
	for _, pod := range pods {
		seed := uint64(key)
		for _, c := range pod.Name {
			seed = seed*1_000_003 + uint64(c)
		}
		if score := rand.NewPCG(seed, 7).Uint64(); score > most {
			best, most = pod, score
		}
	}

	return best
}

// modulo gives a key to a pod by its number: the usual mistake.
func modulo(key int, pods []scorecard.Life) scorecard.Life { return pods[key%len(pods)] }

// load sends 120 RPC/s with keys drawn by Zipf's law, or with equal chances without a
// skew, and reports them in frames of 100 ms as the client does.
func load(r *scorecard.Record, pick picker, skew float64, count int) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func() int { return random.IntN(count) }
	if skew > 0 {
		zipf := rand.NewZipf(random, skew, 1, uint64(count-1))
		draw = func() int { return int(zipf.Uint64()) }
	}
	for i := range 100 * len(r.Phases) {
		now := at(float64(i) / 10)
		var ready []scorecard.Life
		for _, l := range r.Lives {
			if !l.ReadyAt.After(now) && (l.UnreadyAt == nil || l.UnreadyAt.After(now)) {
				ready = append(ready, l)
			}
		}
		f := loadreport.Frame{Service: "rng", Start: now, Seconds: 0.1, RPCs: 12}
		for range 12 {
			if len(ready) == 0 {
				break
			}
			key := draw()
			pod := pick(key, ready)
			f.Pods = append(f.Pods, loadreport.Pod{
				Name: pod.Name, RPCs: 1, Attempts: 1, FirstAttempt: now, LastAttempt: now, Keys: map[int]int64{key: 1},
			})
		}
		r.Frames = append(r.Frames, f)
	}
}

// pods are ready from a time until another; without one, to the end.
func pods(prefix string, n int, from, until float64) []scorecard.Life {
	var lives []scorecard.Life
	for i := range n {
		l := scorecard.Life{Name: fmt.Sprintf("%s-%d", prefix, i), CreatedAt: at(from - 1), ReadyAt: ref(from)}
		if until > 0 {
			l.UnreadyAt = ref(until)
		}
		lives = append(lives, l)
	}

	return lives
}

func within(t *testing.T, name string, got *float64, low, high float64) {
	t.Helper()
	switch {
	case got == nil:
		t.Errorf("%s: none, want %v to %v", name, low, high)
	case *got < low || *got > high:
		t.Errorf("%s: %v, want %v to %v", name, *got, low, high)
	}
}

func TestAffinityIsWholeForAHashAndChanceForRoundRobin(t *testing.T) {
	for _, skew := range []float64{0, 1.1} {
		for _, n := range []int{2, 3, 6} {
			hashed := scorecard.Record{Phases: phases("steady"), Lives: pods("a", n, -4, 0)}
			load(&hashed, hash, skew, 300)
			within(t, "hash", hashed.Score().Phases[0].Affinity, 1, 1)
			turns := scorecard.Record{Phases: phases("steady"), Lives: pods("a", n, -4, 0)}
			load(&turns, roundRobin(), skew, 300)
			// Round robin is a little below chance: a key that comes again soon finds
			// another pod's turn.
			chance := 1 / float64(n)
			within(t, fmt.Sprintf("round robin of %d, skew %v", n, skew), turns.Score().Phases[0].Affinity, chance-0.06, chance+0.03)
		}
	}
}

func TestAChangeOfPodsCostsAffinityOnceForEachKeyThatMoves(t *testing.T) {
	r := scorecard.Record{Phases: phases("steady", "scale up"), Lives: append(pods("a", 3, -4, 0), pods("b", 3, 12, 0)...)}
	load(&r, hash, 1.1, 300)
	// 1200 RPCs, and some 90 keys that move while they are used.
	within(t, "affinity", r.Score().Phases[1].Affinity, 0.88, 0.98)
}

func TestTheOrderWithinAFrameIsTakenToBeAnyOfThem(t *testing.T) {
	frame := func(seconds float64, a, b int64) loadreport.Frame {
		f := loadreport.Frame{Start: at(seconds), Seconds: 0.1}
		for name, n := range map[string]int64{"a": a, "b": b} {
			f.Pods = append(f.Pods, loadreport.Pod{Name: name, RPCs: n, Keys: map[int]int64{7: n}})
		}

		return f
	}
	r := scorecard.Record{
		Phases: phases("p"),
		Lives: []scorecard.Life{
			{Name: "a", CreatedAt: at(-5), ReadyAt: ref(-4)}, {Name: "b", CreatedAt: at(-5), ReadyAt: ref(-4)},
		},
		Frames: []loadreport.Frame{frame(1, 20, 0), frame(2, 10, 10), frame(3, 0, 4)},
	}
	// Within frames 19, then 2*(10*9)/20, then 3; between them a half each.
	want := (19 + 9 + 3 + 0.5 + 0.5) / 43.0
	if got := r.Score().Phases[0].Affinity; got == nil || math.Abs(*got-want) > 1e-12 {
		t.Errorf("affinity %v, want %v", got, want)
	}
}

func TestAffinityIsUnknownWithoutKeysAndForAFewPairs(t *testing.T) {
	r := scorecard.Record{
		Phases: phases("none", "unique", "a few"), Lives: pods("a", 2, -4, 0),
		Frames: []loadreport.Frame{answer(1, 50, "a-0", "")},
	}
	keyed := func(seconds float64, rpcs int64, keys map[int]int64) {
		f := answer(seconds, rpcs, "a-0", "")
		f.Pods[0].Keys = keys
		r.Frames = append(r.Frames, f)
	}
	for key := range 50 {
		keyed(11+float64(key)/10, 1, map[int]int64{key: 1})
	}
	keyed(21, 30, map[int]int64{7: 30})
	for _, p := range r.Score().Phases {
		if p.Affinity != nil {
			t.Errorf("%s: affinity %v", p.Name, *p.Affinity)
		}
	}
	keyed(22, 1, map[int]int64{7: 1})
	within(t, "30 pairs", r.Score().Phases[2].Affinity, 1, 1)
}

func TestAKeyOfAPodThatCannotBeToldDoesNotCount(t *testing.T) {
	r := scorecard.Record{Phases: phases("p"), Lives: pods("a", 2, -4, 0)}
	f := answer(1, 100, "a stranger", "")
	f.Pods[0].Keys = map[int]int64{7: 100}
	r.Frames = append(r.Frames, f)
	if p := r.Score().Phases[0]; p.Affinity != nil {
		t.Errorf("affinity %v", *p.Affinity)
	}
}

func TestMovedKeysStandBesideTheLeastThatHadTo(t *testing.T) {
	scaled := append(pods("a", 3, -4, 0), pods("b", 3, 11, 0)...)
	crashed := append(pods("a", 5, -4, 0), append(pods("victim", 1, -4, 11), pods("heir", 1, 12, 0)...)...)
	for name, test := range map[string]struct {
		lives     []scorecard.Life
		pick      picker
		low, high float64
		ideal     float64
	}{
		"hash, scaled from 3 to 6":        {scaled, hash, 0.4, 0.6, 0.5},
		"modulo, scaled from 3 to 6":      {scaled, modulo, 0.35, 0.65, 0.5},
		"round robin, scaled from 3 to 6": {scaled, roundRobin(), 0.65, 0.97, 0.5},
		"hash, scaled from 4 to 3":        {append(pods("a", 3, -4, 0), pods("b", 1, -4, 11)...), hash, 0.12, 0.38, 0.25},
		"modulo, scaled from 4 to 3":      {append(pods("a", 3, -4, 0), pods("b", 1, -4, 11)...), modulo, 0.6, 0.9, 0.25},
		// The heir has another name, so it takes keys of all as well.
		"hash, one of six replaced": {crashed, hash, 0.18, 0.42, 1.0 / 6},
		"all replaced":              {append(pods("a", 3, -4, 12), pods("b", 3, 11, 0)...), hash, 1, 1, 1},
	} {
		r := scorecard.Record{Phases: phases("before", "after", "later"), Lives: test.lives}
		load(&r, test.pick, 1.1, 1000)
		got := r.Score().Phases
		within(t, name, got[1].MovedKeys, test.low, test.high)
		within(t, name+": ideal", got[1].MovedKeysIdeal, test.ideal-1e-9, test.ideal+1e-9)
		for _, p := range []results.Phase{got[0], got[2]} {
			if p.MovedKeys != nil || p.MovedKeysIdeal != nil {
				t.Errorf("%s: keys moved in %q, in which no pod came or went", name, p.Name)
			}
		}
	}
}

func TestMovedKeysAreUnknownWhereTooFewCanBeCompared(t *testing.T) {
	for name, test := range map[string]struct {
		lives []scorecard.Life
		count int
	}{
		"few keys":     {append(pods("a", 3, -4, 0), pods("b", 3, 11, 0)...), 15},
		"no pods left": {pods("a", 3, -4, 11), 300},
		"none before":  {pods("a", 3, 11, 0), 300},
	} {
		r := scorecard.Record{Phases: phases("before", "after"), Lives: test.lives}
		load(&r, hash, 0, test.count)
		if p := r.Score().Phases[1]; p.MovedKeys != nil || p.MovedKeysIdeal != nil {
			t.Errorf("%s: moved %v of %v", name, p.MovedKeys, p.MovedKeysIdeal)
		}
	}
}

func TestTheRunSaysWhichKeysThereWere(t *testing.T) {
	r := scorecard.Record{Keys: &results.Keys{Distribution: "zipf", Count: 300, Skew: 1.1, Header: "x-user-id"}}
	want := &results.Keys{Distribution: "zipf", Count: 300, Skew: 1.1, Header: "x-user-id"}
	if diff := cmp.Diff(want, r.Score().Keys); diff != "" {
		t.Error(diff)
	}
	if got := (&scorecard.Record{}).Score().Keys; got != nil {
		t.Errorf("keys where there were none: %+v", got)
	}
}
