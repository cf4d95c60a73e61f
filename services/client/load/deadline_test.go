package load

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestRPCsBegunTogetherShareADeadlineThatNoneExceedsByMoreThanAHundredth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeadlines(2 * time.Second)
		defer d.stop()
		first := d.next(0)
		time.Sleep(19 * time.Millisecond)
		if d.next(0) != first {
			t.Error("19 ms later there is another")
		}
		time.Sleep(time.Millisecond)
		second := d.next(0)
		if second == first {
			t.Error("20 ms later there is no other")
		}
		for name, ctx := range map[string]context.Context{"first": first, "second": second} {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) < 2*time.Second || time.Until(deadline) > 2020*time.Millisecond {
				t.Errorf("%s: %v is left", name, time.Until(deadline))
			}
		}
		time.Sleep(2001 * time.Millisecond)
		if first.Err() == nil || second.Err() != nil {
			t.Errorf("after their time: %v and %v", first.Err(), second.Err())
		}
	})
}

func TestWhatIsLeftForAServerIsAWholeNumberOfMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for left, want := range map[time.Duration]time.Duration{
			time.Second:                        time.Second,
			time.Second + 1:                    1001 * time.Millisecond,
			1234567 * time.Microsecond:         1235 * time.Millisecond,
			time.Nanosecond:                    time.Millisecond,
			0:                                  0,
			-time.Second:                       -time.Second + time.Millisecond,
			time.Second - 300*time.Microsecond: time.Second,
			999*time.Millisecond + 1:           time.Second,
			-500 * time.Microsecond:            0,
		} {
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(left))
			a := &attempt{Context: ctx}
			if deadline, ok := a.Deadline(); !ok || time.Until(deadline) != want {
				t.Errorf("with %v left: %v, want %v", left, time.Until(deadline), want)
			}
			cancel()
		}
		if _, ok := (&attempt{Context: context.Background()}).Deadline(); ok {
			t.Error("a deadline without one")
		}
	})
}
