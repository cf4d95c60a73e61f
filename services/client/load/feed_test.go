package load

import (
	"testing"

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

func drain(s *Subscription) (n int) {
	for range s.Frames {
		n++
	}

	return n
}
