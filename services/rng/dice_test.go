package main

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// roll draws n values from [lo, hi] in one call.
func (d *dice) roll(n int, lo, hi int64) []int64 {
	source := d.take()
	defer d.release(source)
	values := make([]int64, n)
	for i := range values {
		values[i] = source.between(lo, hi)
	}

	return values
}

func TestTheSameSeedGivesTheSameCallsTheSameValues(t *testing.T) {
	first, second := newDice(7), newDice(7)
	for call := range 100 {
		if call%10 == 0 {
			runtime.GC() // empties the pool: it must not matter
		}
		a, b := first.roll(5, math.MinInt64, math.MaxInt64), second.roll(5, math.MinInt64, math.MaxInt64)
		if !slices.Equal(a, b) {
			t.Fatalf("call %d: %v and %v", call, a, b)
		}
	}
}

func TestConcurrentCallsShareOutTheSameSequences(t *testing.T) {
	const calls, workers = 800, 8
	var want []int64
	for d, i := newDice(7), 0; i < calls; i++ {
		want = append(want, d.roll(1, math.MinInt64, math.MaxInt64)...)
	}

	concurrent := newDice(7)
	got := make([][]int64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range calls / workers {
				got[w] = append(got[w], concurrent.roll(1, math.MinInt64, math.MaxInt64)...)
			}
		})
	}
	wg.Wait()

	all := slices.Concat(got...)
	slices.Sort(all)
	slices.Sort(want)
	if !slices.Equal(all, want) {
		t.Error("concurrent calls drew other values than as many calls in a row")
	}
}

func TestOtherSeedsGiveOtherValues(t *testing.T) {
	seen := map[int64]uint64{}
	for seed := range uint64(1000) {
		d := newDice(seed)
		value := d.roll(1, math.MinInt64, math.MaxInt64)[0]
		if other, ok := seen[value]; ok {
			t.Errorf("seeds %d and %d begin alike", other, d.seed)
		}
		seen[value] = d.seed
	}
}

func TestSeedZeroPicksASeed(t *testing.T) {
	a, b := newDice(0), newDice(0)
	if a.seed == 0 || a.seed == b.seed {
		t.Errorf("picked the seeds %d and %d", a.seed, b.seed)
	}
}

func TestValuesStayWithinTheirBounds(t *testing.T) {
	for _, bounds := range [][2]int64{
		{0, 0},
		{-1, 1},
		{math.MinInt64, math.MinInt64},
		{math.MaxInt64, math.MaxInt64},
		{math.MinInt64, math.MinInt64 + 1},
		{math.MaxInt64 - 1, math.MaxInt64},
		{math.MinInt64, 0},
		{-1, math.MaxInt64},
		{math.MinInt64, math.MaxInt64 - 1},
		{math.MinInt64 + 1, math.MaxInt64},
		{math.MinInt64, math.MaxInt64},
	} {
		seen := map[int64]bool{}
		for _, value := range newDice(1).roll(200, bounds[0], bounds[1]) {
			if value < bounds[0] || value > bounds[1] {
				t.Errorf("%d is not within %v", value, bounds)
			}
			seen[value] = true
		}
		// 200 draws miss one of two or three values with a chance under 1e-34.
		if want := min(uint64(bounds[1])-uint64(bounds[0]), 2); uint64(len(seen)) <= want/2 || len(seen) == 1 && want > 0 {
			t.Errorf("%v: drew only %d different values", bounds, len(seen))
		}
	}
}

// chiSquare is Pearson's statistic of counts against equal shares.
func chiSquare(counts []int) float64 {
	total := 0
	for _, n := range counts {
		total += n
	}
	expected := float64(total) / float64(len(counts))
	sum := 0.0
	for _, n := range counts {
		sum += (float64(n) - expected) * (float64(n) - expected) / expected
	}

	return sum
}

// The limits below are the 99.9th percentiles of chi-square. Seeds are fixed, so
// that a test passes always or never.
func TestEveryFaceIsEquallyLikely(t *testing.T) {
	const limit5, limit35 = 20.5, 66.6
	d := newDice(2026)
	within, across := make([]int, 6), make([]int, 6)
	pairs, neighbours := make([]int, 36), make([]int, 36)
	previous := int64(1)
	for range 60_000 {
		values := d.roll(2, 1, 6)
		first, second := values[0], values[1]
		within[second-1]++
		across[first-1]++
		pairs[(first-1)*6+second-1]++
		neighbours[(previous-1)*6+first-1]++
		previous = first
	}
	for _, test := range []struct {
		name   string
		counts []int
		limit  float64
	}{
		{"second draws of calls", within, limit5},
		{"first draws of calls", across, limit5},
		{"pairs within a call", pairs, limit35},
		{"pairs across neighbouring calls", neighbours, limit35},
	} {
		if x := chiSquare(test.counts); x > test.limit {
			t.Errorf("%s: chi-square %.1f > %.1f: %v", test.name, x, test.limit, test.counts)
		}
	}
}

// A remainder of 2^64 by a width of 3*2^62 would make the lowest third of the
// values twice as likely as the rest.
func TestAWideRangeHasNoModuloBias(t *testing.T) {
	const third = int64(1) << 62
	counts := make([]int, 3)
	for _, value := range newDice(2026).roll(30_000, -2*third, third-1) {
		counts[(uint64(value)+2*uint64(third))/uint64(third)]++
	}
	if x := chiSquare(counts); x > 13.8 {
		t.Errorf("chi-square %.1f: %v", x, counts)
	}
}

func TestEachBitOfTheFullRangeIsFair(t *testing.T) {
	const draws = 40_000
	ones := make([]int, 64)
	for _, value := range newDice(2026).roll(draws, math.MinInt64, math.MaxInt64) {
		for bit := range ones {
			ones[bit] += int(uint64(value) >> bit & 1)
		}
	}
	for bit, n := range ones {
		// Five standard deviations: of 64 bits none should be that far off.
		if math.Abs(float64(n)-draws/2) > 5*math.Sqrt(draws)/2 {
			t.Errorf("bit %d was set in %d of %d draws", bit, n, draws)
		}
	}
}
