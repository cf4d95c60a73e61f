package scorecard_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/internal/loadreport"
	"github.com/evenkeel/evenkeel/tools/lab/results"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// at is a moment of the run.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func ref(seconds float64) *time.Time { return new(at(seconds)) }

// phases makes phases of ten seconds each.
func phases(names ...string) []results.ScenarioPhase {
	var all []results.ScenarioPhase
	for i, name := range names {
		all = append(all, results.ScenarioPhase{Name: name, StartedAt: at(float64(10 * i)), Seconds: 10})
	}

	return all
}

// answer is a frame in which one pod answered some RPCs.
func answer(seconds float64, rpcs int64, pod, address string) loadreport.Frame {
	return loadreport.Frame{
		Service: "rng", Start: at(seconds), Seconds: 0.1, RPCs: rpcs, Attempts: rpcs,
		LatencyMicros: [][2]int64{{1000, rpcs}}, Connections: 2,
		Pods: []loadreport.Pod{{
			Name: pod, Address: address, RPCs: rpcs, Attempts: rpcs,
			FirstAttempt: at(seconds), LastAttempt: at(seconds + 0.05),
		}},
	}
}

func TestSpreadIsOverThePodsThatWereReadyForTheWholePhase(t *testing.T) {
	r := scorecard.Record{
		Phases: phases("one", "two"),
		Lives: []scorecard.Life{
			{Name: "a", CreatedAt: at(-5), ReadyAt: ref(-4)},
			{Name: "b", CreatedAt: at(-5), ReadyAt: ref(-4)},
			{Name: "idle", CreatedAt: at(-5), ReadyAt: ref(-4)},
			{Name: "late", CreatedAt: at(2), ReadyAt: ref(3)},
			{Name: "leaver", CreatedAt: at(-5), ReadyAt: ref(-4), UnreadyAt: ref(9), EndedAt: ref(9.5)},
		},
		Frames: []loadreport.Frame{
			answer(1, 30, "a", ""), answer(2, 10, "b", ""), answer(5, 500, "late", ""), answer(6, 7, "leaver", ""),
			answer(12, 20, "a", ""), answer(13, 20, "b", ""), answer(14, 20, "idle", ""), answer(15, 20, "late", ""),
		},
	}
	run := r.Score()
	one, two := run.Phases[0], run.Phases[1]
	// a, b and idle: 30, 10 and 0.
	if *one.MaxOverMean != 30/(40.0/3) || *one.Jain != 40*40/(3*1000.0) {
		t.Errorf("one: max/mean %v, Jain %v", *one.MaxOverMean, *one.Jain)
	}
	if *two.MaxOverMean != 1 || *two.Jain != 1 {
		t.Errorf("two: max/mean %v, Jain %v", *two.MaxOverMean, *two.Jain)
	}
	if len(two.Pods) != 4 {
		t.Errorf("a pod that ended before the phase is in it: %+v", two.Pods)
	}
}

func TestSpreadIsUnknownWhereThereIsNothingToSpread(t *testing.T) {
	lives := []scorecard.Life{
		{Name: "a", CreatedAt: at(-5), ReadyAt: ref(-4)},
		{Name: "b", CreatedAt: at(-5), ReadyAt: ref(-4)},
	}
	for name, r := range map[string]scorecard.Record{
		"one pod":    {Phases: phases("p"), Lives: lives[:1], Frames: []loadreport.Frame{answer(1, 5, "a", "")}},
		"no pod":     {Phases: phases("p")},
		"no answers": {Phases: phases("p"), Lives: lives},
	} {
		p := r.Score().Phases[0]
		if p.MaxOverMean != nil || p.Jain != nil {
			t.Errorf("%s: max/mean %v, Jain %v", name, p.MaxOverMean, p.Jain)
		}
		if len(r.Frames) == 0 && (p.LatencyMs != results.Latency{} || p.Connections != nil) {
			t.Errorf("%s: latency %v, connections %v of nothing", name, p.LatencyMs, p.Connections)
		}
	}
}

func TestTimeToFirstRPCIsGivenWhereThePodBecameReadyEvenIfTheRPCCameLater(t *testing.T) {
	r := scorecard.Record{
		Phases: phases("up", "later"),
		Lives: []scorecard.Life{
			{Name: "quick", CreatedAt: at(1), ReadyAt: ref(2)},
			{Name: "slow", CreatedAt: at(1), ReadyAt: ref(2)},
			{Name: "never", CreatedAt: at(1), ReadyAt: ref(2)},
			{Name: "early", CreatedAt: at(1), ReadyAt: ref(2)},
			{Name: "old", CreatedAt: at(-9), ReadyAt: ref(-8)},
		},
		Frames: []loadreport.Frame{
			answer(1.5, 1, "early", ""), answer(2.5, 1, "quick", ""), answer(3, 1, "old", ""), answer(14, 1, "slow", ""),
		},
	}
	run := r.Score()
	got := map[string]*float64{}
	for _, p := range run.Phases[0].Pods {
		got[p.Name] = p.FirstRPCSeconds
	}
	want := map[string]*float64{"quick": new(0.5), "slow": new(12.0), "never": nil, "early": new(0.0), "old": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, p := range run.Phases[1].Pods {
		if p.FirstRPCSeconds != nil {
			t.Errorf("%s has a first RPC in a phase in which it did not become ready", p.Name)
		}
	}
}

func TestTimeOffADeadPodCountsAttemptsThatFailed(t *testing.T) {
	refused := answer(4, 0, "", "127.0.0.9:8081")
	refused.Pods[0].Attempts, refused.Pods[0].FailedAttempts = 3, 3
	r := scorecard.Record{
		Phases: phases("down"),
		Lives: []scorecard.Life{
			{Name: "hit", Address: "127.0.0.9", CreatedAt: at(-5), ReadyAt: ref(-4), UnreadyAt: ref(2), EndedAt: ref(3)},
			{Name: "left", Address: "127.0.0.8", CreatedAt: at(-5), ReadyAt: ref(-4), UnreadyAt: ref(2), EndedAt: ref(3)},
			{Name: "stays", Address: "127.0.0.7", CreatedAt: at(-5), ReadyAt: ref(-4)},
		},
		Frames: []loadreport.Frame{answer(1, 5, "left", "127.0.0.8:8081"), answer(1, 5, "hit", "127.0.0.9:8081"), refused},
	}
	got := map[string]*float64{}
	for _, p := range r.Score().Phases[0].Pods {
		got[p.Name] = p.OffSeconds
	}
	want := map[string]*float64{"hit": new(2.05), "left": new(0.0), "stays": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnAddressThatIsUsedAgainBelongsToThePodThatHadItThen(t *testing.T) {
	r := scorecard.Record{
		Phases: phases("p"),
		Lives: []scorecard.Life{
			{Name: "first", Address: "127.0.0.9", CreatedAt: at(-5), ReadyAt: ref(-4), UnreadyAt: ref(2), EndedAt: ref(3)},
			{Name: "second", Address: "127.0.0.9", CreatedAt: at(5), ReadyAt: ref(6)},
		},
		Frames: []loadreport.Frame{answer(1, 5, "", "127.0.0.9:8081"), answer(7, 8, "", "127.0.0.9:8081")},
	}
	got := map[string]int64{}
	for _, p := range r.Score().Phases[0].Pods {
		got[p.Name] = p.RPCs
	}
	if diff := cmp.Diff(map[string]int64{"first": 5, "second": 8}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRPCsThatAPhaseHitInFlightBelongToIt(t *testing.T) {
	failed := answer(9.95, 4, "", "") // straddles the beginning of the second phase
	failed.Failed, failed.ErrorsByCode, failed.FirstError = 2, map[string]int64{"UNAVAILABLE": 2}, "connection reset"
	r := scorecard.Record{
		Phases: phases("steady", "kill"),
		Frames: []loadreport.Frame{answer(-1, 9, "a", ""), answer(5, 1, "a", ""), failed, answer(20.1, 9, "a", "")},
	}
	run := r.Score()
	steady, kill := run.Phases[0], run.Phases[1]
	if steady.RPCs != 1 || steady.Failed != 0 {
		t.Errorf("steady: %d RPCs, %d failed", steady.RPCs, steady.Failed)
	}
	if kill.RPCs != 4 || kill.Failed != 2 || kill.ErrorsByCode["UNAVAILABLE"] != 2 || kill.FirstError != "connection reset" {
		t.Errorf("kill: %+v", kill)
	}
}

func TestRecoveryIsFromTheFirstReadyPodToTheFirstAnswer(t *testing.T) {
	lives := []scorecard.Life{
		{Name: "gone", CreatedAt: at(-5), ReadyAt: ref(-4), UnreadyAt: ref(1), EndedAt: ref(2)},
		{Name: "b", CreatedAt: at(11), ReadyAt: ref(12)},
		{Name: "c", CreatedAt: at(11), ReadyAt: ref(11.5)},
	}
	r := scorecard.Record{
		Phases: phases("to zero", "back", "later"), Lives: lives,
		Frames: []loadreport.Frame{answer(0.5, 5, "gone", ""), answer(13, 1, "b", ""), answer(14, 1, "c", "")},
	}
	run := r.Score()
	if got := run.Phases[1].RecoverySeconds; got == nil || *got != 1.5 {
		t.Errorf("recovery: %v, want 1.5", got)
	}
	if run.Phases[0].RecoverySeconds != nil || run.Phases[2].RecoverySeconds != nil {
		t.Error("a phase that began with a ready pod has a recovery")
	}
}

func TestCostIsWhatTheUsageRoseByAndUnknownWhereItIs(t *testing.T) {
	r := scorecard.Record{
		Phases: phases("one", "two"),
		Usage: []scorecard.Usage{
			{DNSQueries: new(int64(2)), WatchEvents: new(int64(1))},
			{DNSQueries: new(int64(5)), WatchEvents: new(int64(1))},
			{DNSQueries: new(int64(5)), WatchEvents: new(int64(9))},
		},
	}
	run := r.Score()
	if diff := cmp.Diff(results.Cost{DNSQueries: new(int64(3)), WatchEvents: new(int64(0))}, run.Phases[0].Cost); diff != "" {
		t.Error(diff)
	}
	if got := *run.Phases[1].Cost.WatchEvents; got != 8 {
		t.Errorf("watch events in the second phase: %d", got)
	}
}

func TestTheTimelineCountsEveryRPCOfTheRunOnce(t *testing.T) {
	r := scorecard.Record{
		Phases: phases("one", "two"),
		Lives:  []scorecard.Life{{Name: "a", CreatedAt: at(-5), ReadyAt: ref(-4)}},
	}
	var want int64
	for i := range 200 {
		r.Frames = append(r.Frames, answer(float64(i)/10, int64(i), "a", ""))
		want += int64(i)
	}
	timeline := r.Score().Timeline
	var rpcs, pod int64
	for i := range timeline.RPCs {
		rpcs += timeline.RPCs[i]
		pod += timeline.Pods[0].RPCs[i]
	}
	if rpcs != want || pod != want || len(timeline.RPCs) != 40 || timeline.BinSeconds != 0.5 {
		t.Errorf("%d RPCs, %d of the pod, want %d; %d bins of %v s", rpcs, pod, want, len(timeline.RPCs), timeline.BinSeconds)
	}
}

func TestLatencyIsInMilliseconds(t *testing.T) {
	f := answer(1, 100, "a", "")
	f.LatencyMicros = [][2]int64{{1000, 90}, {20_000, 9}, {300_000, 1}}
	got := (&scorecard.Record{Phases: phases("p"), Frames: []loadreport.Frame{f}}).Score().Phases[0].LatencyMs
	for name, figure := range map[string]struct{ got, want float64 }{
		"p50": {*got.P50, 1}, "p90": {*got.P90, 1}, "p99": {*got.P99, 20}, "max": {*got.Max, 300},
	} {
		if figure.got < figure.want*0.999 || figure.got > figure.want*1.001 {
			t.Errorf("%s: %v, want %v", name, figure.got, figure.want)
		}
	}
}
