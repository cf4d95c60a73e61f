package report

import (
	"math/rand/v2"
	"slices"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

var sampleKeys = results.Keys{Distribution: "zipf", Count: 300, Skew: 1.1, Header: "x-user-id"}

// followed is where the keys of a run went.
type followed struct {
	zipf *rand.Zipf
	// A key's pod of late, in the later half of the phase, and in that of the phase before.
	last, late, before map[int]int
	pairs, same        float64 // of the phase
}

func follow() *followed {
	return &followed{zipf: rand.NewZipf(rand.New(rand.NewPCG(1, 28)), sampleKeys.Skew, 1, uint64(sampleKeys.Count-1)), last: map[int]int{}, late: map[int]int{}}
}

func (f *followed) answered(key, pod int, late bool) {
	if before, ok := f.last[key]; ok {
		f.pairs++
		if before == pod {
			f.same++
		}
	}
	f.last[key] = pod
	if late {
		f.late[key] = pod
	}
}

// phase fills in what became of keys in a phase; ready are the pods at its beginning and
// at its end.
func (f *followed) phase(p *results.Phase, before, after []int) {
	if f.pairs > 0 {
		p.Affinity = new(f.same / f.pairs)
	}
	var both, moved, stay float64
	for key, pod := range f.late {
		if was, ok := f.before[key]; ok {
			both++
			if was != pod {
				moved++
			}
		}
	}
	for _, pod := range before {
		if slices.Contains(after, pod) {
			stay++
		}
	}
	if both > 0 && !slices.Equal(before, after) && len(before) > 0 && len(after) > 0 {
		p.MovedKeys, p.MovedKeysIdeal = new(moved/both), new(1-stay/float64(max(len(before), len(after))))
	}
	f.before, f.last, f.late, f.pairs, f.same = f.late, map[int]int{}, map[int]int{}, 0, 0
}
