package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// none stands for a figure that could not be measured.
const none = "–"

// even is the spread that the words call even: the busiest pod has at most this
// many times the mean share.
const even = 1.05

// finding says in one sentence what a run showed; the overlay is its subject.
func finding(sum *results.Summary) string {
	clauses := slices.DeleteFunc([]string{spreadClause(&sum.Steady), keyClause(&sum.Steady), reachClause(&sum.NewPods), failedClause(sum)},
		func(clause string) bool { return clause == "" })
	last := len(clauses) - 1
	if last == 0 {
		return clauses[0] + "."
	}
	return strings.Join(clauses[:last], ", ") + ", and " + clauses[last] + "."
}

func spreadClause(s *results.Steady) string {
	switch {
	case s.MaxOverMean == nil:
		return ""
	case s.Used == 1:
		return fmt.Sprintf("put all %s RPCs of the steady phase on 1 of %d pods", Count(s.RPCs), s.Pods)
	case s.Used < s.Pods:
		return fmt.Sprintf("used %d of %d steady pods, the busiest at %s× the mean", s.Used, s.Pods, Number(*s.MaxOverMean))
	case *s.MaxOverMean <= even:
		return fmt.Sprintf("spread its load evenly over %d pods (max/mean %s)", s.Pods, Number(*s.MaxOverMean))
	}
	return fmt.Sprintf("gave the busiest of %d pods %s× the mean", s.Pods, Number(*s.MaxOverMean))
}

// faithful is the affinity from which the words say that keys keep their pods.
const faithful = 0.9

func keepsKeys(s *results.Steady) bool { return s.Affinity != nil && *s.Affinity >= faithful }

// keyClause is for a run whose keys kept their pods; with one pod for all it is no news.
func keyClause(s *results.Steady) string {
	if !keepsKeys(s) || s.Used < 2 {
		return ""
	}
	return fmt.Sprintf("kept keys on their pods (%s of RPCs)", affinity(*s.Affinity))
}

func reachClause(p *results.NewPods) string {
	switch {
	case p.Count == 0:
		return ""
	case p.Count == 1 && p.Never == 1:
		return "never reached the new pod"
	case p.Never == p.Count:
		return fmt.Sprintf("never reached any of %d new pods", p.Count)
	case p.Count == 1:
		return fmt.Sprintf("reached the new pod after %s s", Number(*p.Worst))
	case p.Never == 0:
		return fmt.Sprintf("reached all %d new pods (median %s s, worst %s s)", p.Count, Number(*p.Median), Number(*p.Worst))
	}
	return fmt.Sprintf("never reached %d of %d new pods", p.Never, p.Count)
}

func failedClause(sum *results.Summary) string {
	switch {
	case sum.RPCs == 0:
		return "sent no RPC"
	case sum.Failed == 0:
		return fmt.Sprintf("failed none of %s RPCs", Count(sum.RPCs))
	case sum.GracefulFailed == 0:
		return fmt.Sprintf("failed no RPC in graceful phases (%s of %s in all)", Count(sum.Failed), Count(sum.RPCs))
	case sum.GracefulFailed == sum.Failed:
		return fmt.Sprintf("failed %s of %s RPCs, all in graceful phases", Count(sum.Failed), Count(sum.RPCs))
	}
	return fmt.Sprintf("failed %s RPCs in graceful phases (%s of %s in all)", Count(sum.GracefulFailed), Count(sum.Failed), Count(sum.RPCs))
}

// reached is the time to first RPC in one cell: median and worst, or how many
// pods have no such time.
func reached(p *results.NewPods) string {
	switch {
	case p.Count == 0:
		return none
	case p.Never > 0:
		return fmt.Sprintf("never %d/%d", p.Never, p.Count)
	}
	return Number(*p.Median) + " / " + Number(*p.Worst)
}

// brief is what stands over a run's small map: its failures, and its new pods.
func brief(sum *results.Summary) []figure {
	failed := figure{Text: "failed: " + Count(sum.Failed), Alarm: sum.GracefulFailed > 0}
	if sum.Failed > 0 && sum.GracefulRPCs > 0 {
		failed.Text = fmt.Sprintf("failed: %s graceful, %s all", Count(sum.GracefulFailed), Count(sum.Failed))
	}
	pods := figure{Text: "no new pod"}
	switch n := &sum.NewPods; {
	case n.Never > 0:
		pods = figure{Text: fmt.Sprintf("%d of %d new pods never reached", n.Never, n.Count), Alarm: true}
	case n.Count > 0:
		pods.Text = fmt.Sprintf("new pods reached in %s s", Number(*n.Worst))
	}

	return []figure{failed, pods}
}

// Count groups thousands: 14,032.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Number keeps about three digits: 0.04, 3.00, 30.1, 1,204.
func Number(f float64) string {
	switch size := math.Abs(f); {
	case size < 9.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case size < 99.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return Count(int64(math.Round(f)))
}

func orNone[T int64 | float64](value *T, text func(T) string) string {
	if value == nil {
		return none
	}
	return text(*value)
}

// index has the three digits that tell a nearly even spread from an even one.
func index(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }

func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 0, 64) + " %" }

// affinity is a share that is 100 % only if it is whole.
func affinity(f float64) string {
	if f >= 1 {
		return "100 %"
	}
	return strconv.FormatFloat(100*down(f, 1000), 'f', 1, 64) + " %"
}

// down rounds down to a whole number of parts; a hair below one counts as one.
func down(f, parts float64) float64 { return math.Floor(f*parts+1e-9) / parts }

// inWords spells small numbers out, as a heading does.
func inWords(n int) string {
	words := []string{"No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"}
	if n < len(words) {
		return words[n]
	}
	return strconv.Itoa(n)
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}
