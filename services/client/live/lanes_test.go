package live

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/evenkeel/evenkeel/internal/loadreport"
)

// frame is a tenth of a second in which pods, as name and address in turn, answered ten RPCs each.
func frame(pods ...string) *loadreport.Frame {
	f := &loadreport.Frame{Service: "rng", Start: time.Now(), Seconds: 0.1}
	for i := 0; i < len(pods); i += 2 {
		f.RPCs += 10
		f.Pods = append(f.Pods, loadreport.Pod{Name: pods[i], Address: pods[i+1], RPCs: 10, Attempts: 10})
	}

	return f
}

func state(addresses ...string) *resolver.State {
	s := &resolver.State{}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}

	return s
}

// rows are the names of the lanes, with their addresses.
func rows(w *Watched) string {
	var names []string
	for _, l := range w.lanes {
		names = append(names, l.name+"@"+l.address)
	}

	return fmt.Sprint(names)
}

func TestAPodThatComesBackToItsAddressKeepsItsRowAndAnotherGetsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		w := h.Watch("rng", "dns:///rng")
		step := func(change func()) {
			t.Helper()
			time.Sleep(2 * time.Second)
			h.locked(change)
		}
		step(func() { w.resolve(state("10.0.0.1:1")) })
		step(func() { h.find("rng").take(frame("a", "10.0.0.1:1"), h.version) })
		step(func() { w.resolve(state()) })
		step(func() { w.resolve(state("10.0.0.1:1")) })
		if got := rows(w); got != "[a@10.0.0.1:1 @10.0.0.1:1]" {
			t.Errorf("who came is not known yet: %s", got)
		}
		step(func() { w.take(frame("a", "10.0.0.1:1"), h.version) })
		if got := rows(w); got != "[a@10.0.0.1:1]" || len(w.lanes[0].spans) != 2 || !w.isKnown(w.lanes[0]) {
			t.Errorf("the same pod is back: %s %+v", got, w.lanes[0])
		}
		step(func() { w.resolve(state()) })
		step(func() { w.resolve(state("10.0.0.1:1")) })
		step(func() { w.take(frame("b", "10.0.0.1:1"), h.version) })
		if got := rows(w); got != "[a@10.0.0.1:1 b@10.0.0.1:1]" || w.isKnown(w.lanes[0]) || !w.isKnown(w.lanes[1]) {
			t.Errorf("another pod has the address: %s", got)
		}
		for _, e := range w.events {
			if e.Lane != w.lanes[0].id && e.Lane != w.lanes[1].id {
				t.Errorf("an event of a row that is not there: %+v", e)
			}
		}
	})
}

func TestPodsBehindOneAddressHaveRowsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		w := h.Watch("rng", "dns:///rng")
		h.locked(func() { w.resolve(state("10.96.0.1:1")) })
		for _, pod := range []string{"a", "b"} {
			w.Connection("10.96.0.1:1", true)
			time.Sleep(10 * time.Millisecond)
			h.take(frame(pod, "10.96.0.1:1"))
			time.Sleep(5 * time.Second)
		}
		if got := rows(w); got != "[a@10.96.0.1:1 b@10.96.0.1:1]" {
			t.Error(got)
		}
		var opened []int
		for _, e := range w.events {
			if e.Kind == kindOpened {
				opened = append(opened, e.Lane)
			}
		}
		if fmt.Sprint(opened) != "[1 2]" {
			t.Errorf("connections were opened to the rows %v", opened)
		}
	})
}

func TestAnEndlessRolloutKeepsNoMoreThanItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		w := h.Watch("rng", "dns:///rng")
		for i := range 2000 {
			now, next := fmt.Sprintf("10.1.%d.%d:1", i/200, i%200), fmt.Sprintf("10.1.%d.%d:1", (i+1)/200, (i+1)%200)
			h.locked(func() { w.resolve(state(now, next)) })
			w.Connection(next, true)
			h.take(frame(fmt.Sprint("pod-", i), now, fmt.Sprint("pod-", i+1), next))
			w.Connection(now, false)
			w.Ended("GOAWAY NO_ERROR")
			time.Sleep(100 * time.Millisecond)
			if i%10 == 0 {
				h.tell()
			}
		}
		if len(w.lanes) > maxLanes || len(w.byPod) > maxLanes || len(w.byAddress) > maxLanes || len(w.events) > maxEvents ||
			len(w.columns) > memory+1 || len(w.reasons) > maxEvents || len(w.lanes) < maxLanes/2 {
			t.Errorf("%d lanes, %d pods, %d addresses, %d events, %d columns, %d reasons",
				len(w.lanes), len(w.byPod), len(w.byAddress), len(w.events), len(w.columns), len(w.reasons))
		}
		time.Sleep(memory * 2 * time.Second)
		h.tell()
		if len(w.lanes) != 2 || len(w.events) != 0 || len(w.columns) != 0 {
			t.Errorf("after a long quiet time: %s, %d events, %d columns", rows(w), len(w.events), len(w.columns))
		}
	})
}

func TestAReasonIsGivenOnlyWhereItIsCertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		w := h.Watch("rng", "dns:///rng")
		closed := func(reasons ...string) string {
			t.Helper()
			w.events = nil
			for i, reason := range reasons {
				if reason != "" {
					w.Ended(reason)
				}
				w.Connection(fmt.Sprintf("10.0.0.%d:1", i), false)
			}
			h.tell()
			var kinds []string
			for _, e := range w.events {
				kinds = append(kinds, e.Kind+":"+e.Text)
			}

			return fmt.Sprint(kinds)
		}
		for _, test := range []struct {
			reasons []string
			want    string
		}{
			{[]string{"GOAWAY NO_ERROR", "GOAWAY NO_ERROR"}, "[goaway:GOAWAY NO_ERROR goaway:GOAWAY NO_ERROR]"},
			{[]string{"subchannel shutdown"}, "[closed:subchannel shutdown]"},
			{[]string{"connection reset"}, "[broken:connection reset]"},
			{[]string{"GOAWAY NO_ERROR", "connection reset"}, "[closed:GOAWAY NO_ERROR or connection reset closed:GOAWAY NO_ERROR or connection reset]"},
			{[]string{""}, "[closed:]"},
		} {
			if got := closed(test.reasons...); got != test.want {
				t.Errorf("%q: %s, want %s", test.reasons, got, test.want)
			}
		}
	})
}

func TestAFrameOfManySecondsIsSpreadOverThem(t *testing.T) {
	h := NewHub()
	w := h.Watch("rng", "dns:///rng")
	f := frame("a", "10.0.0.1:1")
	f.Start, f.Seconds, f.RPCs = time.Unix(1000, 0), 3, 100
	h.take(f)
	if len(w.columns) != 3 || w.columns[0].rpcs+w.columns[1].rpcs+w.columns[2].rpcs != 100 || w.columns[1].rpcs < 33 || w.complete != 1003 {
		t.Errorf("%+v, complete to %d", w.columns, w.complete)
	}
}
