package experiment

import (
	"fmt"
	"math"

	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

// What a reader is warned of.
const (
	// rateTolerance is how far the rate may be from the scenario's, as a part of it.
	rateTolerance = 0.02
	// stealTolerance and busyTolerance are parts of the machine's CPU time.
	stealTolerance = 0.10
	busyTolerance  = 0.85
)

// notes are what a reader should know of a run before trusting its figures.
func notes(r *scorecard.Record, rate float64) []string {
	var out []string
	var rpcs, notSent int64
	var length float64
	for i := range r.Frames {
		rpcs += r.Frames[i].RPCs
		notSent += r.Frames[i].NotSent
		length += r.Frames[i].Seconds
	}
	if length > 0 {
		if got := float64(rpcs) / length; math.Abs(got-rate) > rate*rateTolerance {
			out = append(out, fmt.Sprintf("%s: the client sent %.1f RPC/s to %s, not %.1f.", r.Overlay, got, r.Service, rate))
		}
	}
	if notSent > 0 {
		out = append(out, fmt.Sprintf("%s: %d RPCs to %s were never sent: too many were in flight.",
			r.Overlay, notSent, r.Service))
	}

	return out
}

// machineNotes are what a reader should know of the machine.
func machineNotes(e results.Environment) []string {
	var out []string
	if e.StealFraction != nil && *e.StealFraction > stealTolerance {
		out = append(out, fmt.Sprintf("A hypervisor took %.0f %% of the CPU time: latencies are not this machine's own.",
			*e.StealFraction*100))
	}
	if e.BusyFraction != nil && *e.BusyFraction > busyTolerance {
		out = append(out, fmt.Sprintf("The CPUs were %.0f %% busy: latencies show the machine more than the strategies.",
			*e.BusyFraction*100))
	}

	return out
}
