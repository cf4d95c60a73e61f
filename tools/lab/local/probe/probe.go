// Package probe asks containers how they are, on the schedule and with the thresholds of the kubelet's startup,
// liveness and readiness probes, over real gRPC and HTTP.
package probe

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Run asks check once after delay, then every spec.PeriodSeconds, each time with spec.TimeoutSeconds to answer, until
// ctx ends.
//
// It reports the verdict (nil for healthy) when there is a first one and then when it changes between healthy and
// not. A verdict takes spec.SuccessThreshold or spec.FailureThreshold answers of one kind in a row.
func Run(ctx context.Context, spec *corev1.Probe, delay time.Duration, check func(context.Context) error, report func(error)) {
	first := time.NewTimer(delay)
	defer first.Stop()
	select {
	case <-first.C:
	case <-ctx.Done():
		return
	}
	next := time.NewTicker(seconds(spec.PeriodSeconds))
	defer next.Stop()

	var reported, healthy bool // what was last reported, if anything
	var last bool              // the last answer
	var inARow int32
	for {
		err := ask(ctx, spec, check)
		if ctx.Err() != nil {
			return
		}
		if good := err == nil; good == last {
			inARow++
		} else {
			last, inARow = good, 1
		}
		needed := spec.FailureThreshold
		if last {
			needed = spec.SuccessThreshold
		}
		if inARow >= needed && (!reported || healthy != last) {
			reported, healthy = true, last
			report(err)
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
	}
}

func ask(ctx context.Context, spec *corev1.Probe, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(spec.TimeoutSeconds))
	defer cancel()

	return check(ctx)
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
