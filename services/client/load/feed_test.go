package load

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

func TestASubscriberThatFallsBehindIsCutOffAndTheOthersAreNot(t *testing.T) {
	feed := NewFeed()
	slow, quick := feed.Subscribe(2), feed.Subscribe(100)
	for i := range 5 {
		feed.publish(&loadreport.Frame{RPCs: int64(i)})
	}
	feed.Close()

	if n := drain(slow); n != 2 || !slow.Behind() {
		t.Errorf("the slow subscriber got %d frames, behind: %v", n, slow.Behind())
	}
	if n := drain(quick); n != 5 || quick.Behind() {
		t.Errorf("the quick subscriber got %d frames, behind: %v", n, quick.Behind())
	}
}

func TestASubscriptionEndsWhenItIsClosedAndBeginsClosedWhenTheFeedIs(t *testing.T) {
	feed := NewFeed()
	s := feed.Subscribe(1)
	s.Close()
	s.Close()
	feed.publish(&loadreport.Frame{})
	if n := drain(s); n != 0 || s.Behind() {
		t.Errorf("%d frames after the end, behind: %v", n, s.Behind())
	}
	feed.Close()
	late := feed.Subscribe(1)
	if n := drain(late); n != 0 {
		t.Errorf("%d frames of a feed that is closed", n)
	}
	late.Close()
}

func TestASubscriberThatWasCutOffHearsWhatItMissedInTheLastMinute(t *testing.T) {
	feed := NewFeed()
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for second := range 100 {
		feed.publish(&loadreport.Frame{Start: begun.Add(time.Duration(second) * time.Second), RPCs: int64(second)})
	}
	all, some, none := feed.SubscribeSince(0, begun), feed.SubscribeSince(1, begun.Add(98*time.Second)), feed.Subscribe(1)
	feed.publish(&loadreport.Frame{Start: begun.Add(100 * time.Second), RPCs: 100})
	feed.Close()

	if n := drain(all); n != 61 || !all.Behind() {
		t.Errorf("the first has %d frames, not those of a minute; behind: %v", n, all.Behind())
	}
	if first := <-some.Frames; first.RPCs != 98 {
		t.Errorf("what was missed begins with the frame of second %d", first.RPCs)
	}
	if n := drain(some); n != 2 {
		t.Errorf("after it there are %d frames", n)
	}
	if n := drain(none); n != 1 {
		t.Errorf("a subscription from now on has %d frames", n)
	}
}

func drain(s *Subscription) (n int) {
	for range s.Frames {
		n++
	}

	return n
}
