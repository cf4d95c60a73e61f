package fault

import (
	"context"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	faultv1 "github.com/evenkeel/evenkeel/proto/fault/v1"
)

// faults are those that one call of Set put in force. They do not change.
type faults struct {
	set *faultv1.Faults // with nothing left to be the default

	latency      time.Duration // 0 is none
	jitter       float64
	errorRate    float64 // 0 is none
	err          error
	slowStart    time.Duration // at first; 0 is none
	slowFrom     time.Time
	slowFor      time.Duration
	refuseHealth bool

	// ended is closed when others take their place, or none.
	ended chan struct{}
}

// touch delays an RPC, and may be an error for it. It returns which faults did.
func (f *faults) touch(ctx context.Context, random func() float64) (touched []string, err error) {
	var delay time.Duration
	if f.latency > 0 {
		touched = append(touched, latency)
		delay += f.vary(random())
	}
	if slow := f.slowness(time.Now()); slow > 0 {
		touched = append(touched, slowStart)
		delay += slow
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-f.ended:
			return touched, nil
		case <-ctx.Done():
			return touched, status.FromContextError(ctx.Err()).Err()
		}
	}
	if f.errorRate > 0 && random() < f.errorRate {
		return append(touched, errors), f.err
	}

	return touched, nil
}

// vary is the latency of one RPC, by a random number from 0 to 1.
func (f *faults) vary(random float64) time.Duration {
	return time.Duration(float64(f.latency) * (1 + f.jitter*(2*random-1)))
}

// slowness is what is left of the slow start's delay.
func (f *faults) slowness(now time.Time) time.Duration {
	left := f.slowFor - now.Sub(f.slowFrom)
	if f.slowStart == 0 || left <= 0 {
		return 0
	}

	return time.Duration(float64(f.slowStart) * float64(left) / float64(f.slowFor))
}

// active names the faults that still do something.
func (f *faults) active(now time.Time) []string {
	if f == nil {
		return nil
	}
	var names []string
	for _, fault := range []struct {
		name   string
		active bool
	}{
		{latency, f.latency > 0},
		{errors, f.errorRate > 0},
		{slowStart, f.slowness(now) > 0},
		{refuseHealth, f.refuseHealth},
	} {
		if fault.active {
			names = append(names, fault.name)
		}
	}

	return names
}

// message is the faults that still do something; nil if none does.
func (f *faults) message(now time.Time) *faultv1.Faults {
	if len(f.active(now)) == 0 {
		return nil
	}
	left := proto.CloneOf(f.set)
	if f.slowness(now) == 0 {
		left.SlowStart = nil
	}

	return left
}

// attributes are for the log.
func (f *faults) attributes() []any {
	var a []any
	if f.latency > 0 {
		a = append(a, "latency", f.latency.String(), "jitter", f.jitter)
	}
	if f.errorRate > 0 {
		a = append(a, "errorRate", f.errorRate, "code", f.set.GetErrors().GetCode())
	}
	if f.slowStart > 0 {
		a = append(a, "slowStart", f.slowStart.String(), "over", f.slowFor.String())
	}
	if f.refuseHealth {
		a = append(a, "refuseHealth", true)
	}

	return a
}
