package results

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 11, 21, 22, 50, 0, 0, time.UTC)

func after(seconds float64) *time.Time {
	return new(start.Add(time.Duration(seconds * float64(time.Second))))
}

// day has two phases that only watch, with a scaling and a kill between them.
func day() (*Scenario, *Run) {
	s := &Scenario{Name: "day", Service: "rng", Phases: []ScenarioPhase{
		{Name: "steady", Graceful: true, StartedAt: *after(0), Seconds: 10},
		{Name: "scale up", Action: "scale to 3", Graceful: true, StartedAt: *after(10), Seconds: 10},
		{Name: "kill", Action: "SIGKILL 1 pod", StartedAt: *after(20), Seconds: 10},
		{Name: "calm", Graceful: true, StartedAt: *after(30), Seconds: 10},
	}}
	r := &Run{Overlay: "clusterip", Service: "rng"}
	for _, p := range s.Phases {
		r.Phases = append(r.Phases, Phase{Name: p.Name, StartedAt: p.StartedAt, Seconds: p.Seconds, RPCs: 100})
	}
	return s, r
}

func TestFailuresAreCountedInAllAndWithoutAnExcuse(t *testing.T) {
	s, r := day()
	for i, failed := range []int64{1, 2, 40, 8} {
		r.Phases[i].Failed = failed
	}
	sum := r.Summary(s)
	if sum.RPCs != 400 || sum.Failed != 51 {
		t.Errorf("%d of %d failed, want 51 of 400", sum.Failed, sum.RPCs)
	}
	if sum.GracefulRPCs != 300 || sum.GracefulFailed != 11 {
		t.Errorf("%d of %d failed in graceful phases, want 11 of 300", sum.GracefulFailed, sum.GracefulRPCs)
	}
}

func TestTheSteadyFiguresAreTheWorstOfThePhasesWithoutAnAction(t *testing.T) {
	s, r := day()
	pods := func(rpcs ...int64) (pods []Pod) {
		for i, n := range rpcs {
			pods = append(pods, Pod{Name: string(rune('a' + i)), RPCs: n, ReadyAt: after(-1)})
		}
		return pods
	}
	r.Phases[0].MaxOverMean, r.Phases[0].Jain = new(1.2), new(0.9)
	r.Phases[0].LatencyMs = Latency{P50: new(0.7), P99: new(3.0)}
	r.Phases[0].Pods = pods(40, 60)
	r.Phases[1].MaxOverMean, r.Phases[1].Jain = new(9.0), new(0.1)
	r.Phases[1].LatencyMs = Latency{P50: new(90.0), P99: new(900.0)}
	r.Phases[3].MaxOverMean, r.Phases[3].Jain = new(2.0), new(0.5)
	r.Phases[3].LatencyMs = Latency{P50: new(0.5), P99: new(4.0)}
	r.Phases[3].Pods = pods(90, 0)
	sum := r.Summary(s)
	want := Steady{MaxOverMean: new(2.0), Jain: new(0.5), P50: new(0.7), P99: new(4.0), Pods: 2, Used: 1, RPCs: 90}
	if diff := cmp.Diff(want, sum.Steady); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if sum.P99 == nil || *sum.P99 != 900 {
		t.Errorf("the highest p99 of all phases is %v, want 900", sum.P99)
	}
}

func TestAffinityIsTheLowestOfThePhasesWithoutAnAction(t *testing.T) {
	s, r := day()
	for i, affinity := range []*float64{new(0.98), new(0.4), nil, new(0.95)} {
		r.Phases[i].Affinity = affinity
	}
	if got := r.Summary(s).Steady.Affinity; got == nil || *got != 0.95 {
		t.Errorf("affinity %v, want 0.95", got)
	}
}

func TestMovedKeysAreOfThePhaseInWhichMostMovedWithoutNeed(t *testing.T) {
	s, r := day()
	if got := r.Summary(s).Moved; got != (Moved{}) {
		t.Errorf("without keys: %+v", got)
	}
	r.Phases[1].MovedKeys, r.Phases[1].MovedKeysIdeal = new(0.52), new(0.5)
	r.Phases[2].MovedKeys, r.Phases[2].MovedKeysIdeal = new(0.3), new(0.17)
	// All had to move: that says nothing of the strategy.
	r.Phases[3].MovedKeys, r.Phases[3].MovedKeysIdeal = new(1.0), new(1.0)
	if diff := cmp.Diff(Moved{Keys: new(0.3), Ideal: new(0.17)}, r.Summary(s).Moved); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestOnlyPodsReadyForTheWholePhaseAreReadyThroughoutIt(t *testing.T) {
	p := Phase{StartedAt: *after(10), Seconds: 10, Pods: []Pod{
		{Name: "before", ReadyAt: after(0)},
		{Name: "as it began", ReadyAt: after(10)},
		{Name: "until it ended", ReadyAt: after(0), UnreadyAt: after(20)},
		{Name: "became ready in it", ReadyAt: after(10.1)},
		{Name: "stopped in it", ReadyAt: after(0), UnreadyAt: after(19.9)},
		{Name: "drains since before it", ReadyAt: after(0), UnreadyAt: after(9)},
		{Name: "never ready"},
	}}
	var got []string
	for _, pod := range p.ReadyThroughout() {
		got = append(got, pod.Name)
	}
	if diff := cmp.Diff([]string{"before", "as it began", "until it ended"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNewPodsAreThoseThatBecameReadyInTheRun(t *testing.T) {
	s, r := day()
	r.Phases[0].Pods = []Pod{{Name: "old", ReadyAt: after(-1)}}
	r.Phases[1].Pods = []Pod{
		{Name: "old", ReadyAt: after(-1)},
		{Name: "quick", ReadyAt: after(11), FirstRPCSeconds: new(0.1)},
		{Name: "slow", ReadyAt: after(10), FirstRPCSeconds: new(12.0)},
		{Name: "unused", ReadyAt: after(19.9)},
		{Name: "stillborn"},
	}
	// A pod is new once, however many phases it lives through.
	r.Phases[2].Pods = []Pod{{Name: "unused", ReadyAt: after(19.9)}, {Name: "slow", ReadyAt: after(10)}}
	r.Phases[3].Pods = []Pod{{Name: "late", ReadyAt: after(39), FirstRPCSeconds: new(0.3)}, {Name: "last", ReadyAt: after(40)}}
	want := NewPods{Count: 5, Never: 2, Median: new(0.3), Worst: new(12.0)}
	if diff := cmp.Diff(want, r.Summary(s).NewPods); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r.Phases[3].Pods = nil
	want = NewPods{Count: 3, Never: 1, Median: new(6.05), Worst: new(12.0)}
	if diff := cmp.Diff(want, r.Summary(s).NewPods); diff != "" {
		t.Errorf("of an even number (-want +got):\n%s", diff)
	}
}

func TestTheWorstTimeOffADeadPodIsOverAllPhases(t *testing.T) {
	s, r := day()
	if got := r.Summary(s).OffPods; got.Count != 0 || got.Worst != nil {
		t.Errorf("without a pod that left: %+v, want no figure", got)
	}
	r.Phases[1].Pods = []Pod{{Name: "a", OffSeconds: new(0.0)}}
	r.Phases[2].Pods = []Pod{{Name: "b", OffSeconds: new(2.5)}, {Name: "c", OffSeconds: new(1.0)}}
	want := OffPods{Count: 3, Worst: new(2.5)}
	if diff := cmp.Diff(want, r.Summary(s).OffPods); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestACostThatOnePhaseLacksIsNotSummedUp(t *testing.T) {
	s, r := day()
	for i := range r.Phases {
		r.Phases[i].Cost = Cost{DNSQueries: new(int64(i)), WatchEvents: new(int64(2))}
		r.Phases[i].Connections = new(int64(3 - i))
	}
	r.Phases[2].Cost.WatchEvents = nil
	sum := r.Summary(s)
	if diff := cmp.Diff(Cost{DNSQueries: new(int64(6))}, sum.Cost); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if *sum.Connections != 3 {
		t.Errorf("%d connections, want the largest, 3", *sum.Connections)
	}
}

func TestTheSummaryOfNothingHasNoFigures(t *testing.T) {
	if diff := cmp.Diff(Summary{}, (&Run{}).Summary(&Scenario{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
