package compare

import (
	"cmp"
	"math"
	"slices"
)

// Rule is the rule of noise for those who read a comparison.
const Rule = "A difference is called out when every run of one side is above every run of the other and, with fewer than five runs a side, " +
	"the gap between them is at least as wide as the wider of their spreads. If nothing but chance differed, that would happen to about 1 figure " +
	"in 100. It takes three runs a side, or two against five. A count that is 0 in all runs of one side and not in the other's is said as it is."

const (
	// few is the largest chance of being apart with which anything is called out: that of
	// three runs a side.
	few = 0.1
	// rare is the chance of being apart that is small enough without a gap, and about how many
	// figures the rule calls out by chance.
	rare = 0.01
)

// Sample is what one figure came to in the runs of one side.
type Sample struct {
	// Runs are all runs of the side.
	Runs int `json:"runs"`
	// Values are those of the runs that could measure the figure, in ascending order.
	Values []float64 `json:"values"`
	// Median, Min and Max are of the values; nil when there is none.
	Median *float64 `json:"median"`
	Min    *float64 `json:"min"`
	Max    *float64 `json:"max"`
}

// NewSample is a sample of runs; a run that could not measure the figure is nil.
func NewSample(runs []*float64) Sample {
	s := Sample{Runs: len(runs), Values: []float64{}}
	for _, v := range runs {
		if v != nil {
			s.Values = append(s.Values, *v)
		}
	}
	slices.Sort(s.Values)
	n := len(s.Values)
	if n == 0 {
		return s
	}
	// Halves are added, since a sum of two large values may not be a number.
	s.Median = new(s.Values[(n-1)/2]/2 + s.Values[n/2]/2)
	s.Min, s.Max = new(s.Values[0]), new(s.Values[n-1])
	return s
}

// Verdict is what a sample is beside the first side's.
type Verdict string

// The verdicts.
const (
	// Noise: the runs of the two sides overlap, or are too close.
	Noise Verdict = "noise"
	// Higher and Lower: every run is above, or below, every run of the first side, by more
	// than the noise.
	Higher Verdict = "higher"
	Lower  Verdict = "lower"
	// Some: the count is 0 in every run of the first side and not in all of this one.
	Some Verdict = "some"
	// None: the count is 0 in every run of this side and not in all of the first.
	None Verdict = "none"
	// TooFew: there are too few runs to tell a difference from chance.
	TooFew Verdict = "too few runs"
	// Equal: the values are one and the same in all runs of both.
	Equal Verdict = "equal"
	// Unmeasured: one of the sides has no such figure.
	Unmeasured Verdict = "not measured"
)

// Differs says whether the verdict calls out a difference.
func (v Verdict) Differs() bool { return v.direction() != 0 }

// direction is 1 for more than the first side's, -1 for less, and 0 for neither.
func (v Verdict) direction() int {
	switch v {
	case Higher, Some:
		return 1
	case Lower, None:
		return -1
	}
	return 0
}

// Chance is how likely n and m runs are apart, whichever is above, if nothing but
// chance differs: 2 / C(n+m, n). It is the two-sided p of the Mann-Whitney U test
// (1947) at its extreme; ties make it smaller.
func Chance(n, m int) float64 {
	orders := 1.0
	for i := 1; i <= n; i++ {
		orders = orders * float64(m+i) / float64(i)
	}
	return min(1, 2/orders)
}

// Apart is 1 if every value of b is above every value of a, -1 if every one is below, and 0
// if they overlap or one has none.
func Apart(a, b Sample) int {
	switch {
	case len(a.Values) == 0 || len(b.Values) == 0:
		return 0
	case *b.Min > *a.Max:
		return 1
	case *b.Max < *a.Min:
		return -1
	}
	return 0
}

// gap is the distance between two samples that are apart; below 0 they overlap.
func gap(a, b Sample) float64 { return max(*b.Min-*a.Max, *a.Min-*b.Max) }

// spread is the wider one's of two samples.
func spread(a, b Sample) float64 { return max(*a.Max-*a.Min, *b.Max-*b.Min) }

// exceeds is 1 if b is above a by more than the noise, -1 if it is below, and else 0.
func exceeds(a, b Sample) int {
	if enough(a, b) && (chance(a, b) <= rare || gap(a, b) >= spread(a, b)) {
		return Apart(a, b)
	}
	return 0
}

func chance(a, b Sample) float64 { return Chance(len(a.Values), len(b.Values)) }

func enough(a, b Sample) bool {
	return len(a.Values) > 0 && len(b.Values) > 0 && chance(a, b) <= few
}

// constant says that there is one value in both, which chance cannot set apart.
func constant(a, b Sample) bool {
	return cmp.Compare(*a.Min, *a.Max) == 0 && cmp.Compare(*b.Min, *b.Max) == 0 && cmp.Compare(*a.Min, *b.Min) == 0
}

// Judge says what b is beside a, by the rule.
func (f Figure[T]) Judge(a, b Sample) Verdict {
	if len(a.Values) == 0 || len(b.Values) == 0 {
		return Unmeasured
	}
	if f.Countable && *a.Min >= 0 && *b.Min >= 0 {
		switch {
		case *a.Max == 0 && *b.Max > 0:
			return Some
		case *a.Max > 0 && *b.Max == 0:
			return None
		}
	}
	switch above := exceeds(a, b); {
	case constant(a, b):
		return Equal
	case !enough(a, b):
		return TooFew
	case above > 0:
		return Higher
	case above < 0:
		return Lower
	}
	return Noise
}

// proportion is the difference of the medians as a part of the larger: 0 to 1, or up to 2 if
// their signs differ.
func proportion(a, b Sample) float64 {
	larger := max(math.Abs(*a.Median), math.Abs(*b.Median))
	if larger == 0 {
		return 0
	}
	return math.Abs(*a.Median/larger - *b.Median/larger)
}
