package conformance

import (
	"context"
	"fmt"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// label marks the goroutines of a run, which hand it on to those that they start: other runs have resolvers too.
const label = "conformance run"

var runs atomic.Int64

// ownLabel is one that no other run has.
func ownLabel() pprof.LabelSet {
	return pprof.Labels(label, strconv.FormatInt(runs.Add(1), 10))
}

// running finds a goroutine of this run that runs code of some packages, and names its function there.
func running(ctx context.Context, packages []string) string {
	own, _ := pprof.Label(ctx, label)
	var profile strings.Builder
	const withNames = 1
	_ = pprof.Lookup("goroutine").WriteTo(&profile, withNames) // a Builder has no errors

	return runningIn(profile.String(), fmt.Sprintf("# labels: {%q:%q}", label, own), packages)
}

// runningIn reads a profile, which has a paragraph for all goroutines of the same stack and labels.
func runningIn(profile, labels string, packages []string) string {
	for paragraph := range strings.SplitSeq(profile, "\n\n") {
		if !strings.Contains(paragraph, labels) {
			continue
		}
		for line := range strings.Lines(paragraph) {
			// Such as "#	0x7f2a1b	example.org/module/package.(*Type).method+0x1b	/path/file.go:12".
			fields := strings.Split(line, "\t")
			if len(fields) < 3 || !slices.ContainsFunc(packages, func(prefix string) bool { return strings.HasPrefix(fields[2], prefix) }) {
				continue
			}
			function, _, _ := strings.Cut(fields[2], "+0x")

			return function[strings.LastIndexByte(function, '/')+1:]
		}
	}

	return ""
}
