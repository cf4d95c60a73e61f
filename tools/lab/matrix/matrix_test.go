package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a matrix whose runner is a fake: it makes results up, whose only purpose is to
// be told apart, in no time, and advances a clock of its own by what a run would take.
type bench struct {
	t      *testing.T
	m      Matrix
	now    time.Time
	said   []string
	ran    []string
	faults map[string]error
	// p99 is what endpointslice comes to, run by run; clusterip has 9.
	p99 func(run int) float64
	// change alters the results of a run.
	change func(folder string, r *results.Results)
}

func newBench(t *testing.T) *bench {
	b := &bench{
		t: t, now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), faults: map[string]error{},
		p99:    func(run int) float64 { return 1 + float64(run)/10 },
		change: func(string, *results.Results) {},
	}
	b.m = Matrix{
		Overlays: []string{"clusterip", "overlays/endpointslice"}, Repeats: 3, Out: t.TempDir(),
		Scenarios: []Scenario{{"day", "scenarios/day.yaml", time.Minute}, {"rollouts", "my/rollouts.yaml", 2 * time.Minute}},
		Run:       b.run,
		Say:       func(line string) { b.said = append(b.said, line) },
		Now:       func() time.Time { return b.now },
	}
	return b
}

func (b *bench) run(_ context.Context, scenario string, overlays []string, out string) (*results.Results, error) {
	if diff := cmp.Diff([]string{"clusterip", "overlays/endpointslice"}, overlays); diff != "" {
		b.t.Errorf("overlays (-want +got):\n%s", diff)
	}
	folder, err := filepath.Rel(b.m.Out, out)
	if err != nil {
		b.t.Fatal(err)
	}
	b.ran = append(b.ran, scenario+" "+filepath.ToSlash(folder))
	b.now = b.now.Add(90 * time.Second)
	if err := b.faults[folder]; err != nil {
		return nil, err
	}
	r := made(filepath.Base(filepath.Dir(folder)), b.p99(len(b.ran)))
	b.change(folder, r)
	return r, nil
}

// made is the results of a run that never was.
func made(scenario string, p99 float64) *results.Results {
	began := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	r := &results.Results{
		SchemaVersion: results.SchemaVersion, StartedAt: began,
		Environment: results.Environment{Kind: "local", CPUs: 2},
		Scenario: results.Scenario{
			Name: scenario, Service: "rng", Load: map[string]float64{"rng": 100},
			Phases: []results.ScenarioPhase{{Name: "steady", Graceful: true, StartedAt: began, Seconds: 6}},
		},
	}
	for _, service := range []string{"rng", "geoip"} {
		for _, overlay := range []string{"clusterip", "endpointslice"} {
			ms, failed := 9.0, int64(7)
			if overlay == "endpointslice" {
				ms, failed = p99, 0
			}
			r.Runs = append(r.Runs, results.Run{
				Overlay: overlay, Service: service, Control: service == "geoip",
				Phases: []results.Phase{{
					Name: "steady", StartedAt: began, Seconds: 6, RPCs: 600, Failed: failed, LatencyMs: results.Latency{P99: &ms},
				}},
				Timeline: results.Timeline{StartedAt: began, BinSeconds: 1},
			})
		}
	}
	return r
}

func (b *bench) page() string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.m.Out, "index.html"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// record is what matrix.json holds.
func (b *bench) record() *Record {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.m.Out, "matrix.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	var rec Record
	if err := json.Unmarshal(text, &rec); err != nil {
		b.t.Fatal(err)
	}
	return &rec
}

func (b *bench) states() []State {
	var list []State
	for _, run := range b.record().Runs {
		list = append(list, run.State)
	}
	return list
}

func TestEveryRepeatRunsEveryScenarioAndLeavesItsFiles(t *testing.T) {
	b := newBench(t)
	if _, err := b.m.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"scenarios/day.yaml day/1", "my/rollouts.yaml rollouts/1", "scenarios/day.yaml day/2",
		"my/rollouts.yaml rollouts/2", "scenarios/day.yaml day/3", "my/rollouts.yaml rollouts/3",
	}
	if diff := cmp.Diff(want, b.ran); diff != "" {
		t.Errorf("-want +ran:\n%s", diff)
	}
	for _, run := range b.record().Runs {
		if run.State != Finished || run.Seconds != 90 {
			t.Errorf("%+v", run)
		}
		text, err := os.ReadFile(filepath.Join(b.m.Out, run.Folder, "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := results.Decode(strings.NewReader(string(text))); err != nil {
			t.Error(err)
		}
	}
	files := b.files()
	if len(files) != 2+2*6 {
		t.Errorf("files: %q", files)
	}
	// Whatever the page refers to is there.
	links := regexp.MustCompile(`href="([^"#]+)(#[^"]*)?"`).FindAllStringSubmatch(b.page(), -1)
	if len(links) < 2*6+2*2*3 {
		t.Errorf("%d links", len(links))
	}
	for _, m := range links {
		if !slices.Contains(files, m[1]) && m[1] != "data:," {
			t.Errorf("the page refers to %s", m[1])
		}
	}
	// An overlay leads to its place in the report.
	report, err := os.ReadFile(filepath.Join(b.m.Out, "rollouts", "2", "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.page(), `<a href="rollouts/2/report.html#run-1"`) || !strings.Contains(string(report), ` id="run-1"`) {
		t.Error("the page does not lead to an overlay's place in a report")
	}
}

// files are all in the folder of the matrix.
func (b *bench) files() []string {
	b.t.Helper()
	var files []string
	err := filepath.WalkDir(b.m.Out, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(b.m.Out, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return files
}

func TestOverlaysAreToldApartByTheRuleOfNoise(t *testing.T) {
	for name, test := range map[string]struct {
		repeats int
		p99     func(int) float64
		want    Standing
	}{
		"three runs apart":   {3, func(run int) float64 { return 1 + float64(run) }, Behind},
		"three runs overlap": {3, func(run int) float64 { return 3 * float64(run) }, AsGood},
		"two runs apart":     {2, func(run int) float64 { return 1 + float64(run) }, ""},
	} {
		b := newBench(t)
		b.m.Repeats, b.p99, b.m.Scenarios = test.repeats, test.p99, b.m.Scenarios[:1]
		rec, err := b.m.Execute(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		figure := func(overlay string) Figure { return view{Record: rec}.Cell("day", overlay).Figure("p99, ms") }
		best, other := figure("endpointslice"), figure("clusterip")
		if best.Standing != Best || other.Standing != test.want || other.Alarm() {
			t.Errorf("%s: best %+v, other %+v", name, best, other)
		}
		if len(best.Values) != test.repeats {
			t.Errorf("%s: values %v", name, best.Values)
		}
	}
}

func TestOneRPCThatFailedIsBehindNone(t *testing.T) {
	b := newBench(t)
	b.m.Scenarios = b.m.Scenarios[:1]
	// clusterip fails 7 RPCs in one run of three, endpointslice none or 5 in the same run.
	for _, n := range []int64{0, 5} {
		b.m.Out = t.TempDir()
		b.change = func(folder string, r *results.Results) {
			if folder == "day/2" {
				r.Runs[1].Phases[0].Failed = n
				return
			}
			r.Runs[0].Phases[0].Failed = 0
		}
		rec, err := b.m.Execute(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		figure := func(overlay string) Figure { return view{Record: rec}.Cell("day", overlay).Figure("failed, all") }
		// None is better than some, although the medians are the same; some and fewer are not told apart.
		want := map[bool]Standing{true: Behind, false: Best}[n == 0]
		if got := figure("clusterip"); got.Standing != want || got.Alarm() != (n == 0) {
			t.Errorf("%d failed: clusterip %q, want %q", n, got.Standing, want)
		}
		if best := figure("endpointslice"); best.Standing != Best {
			t.Errorf("%d failed: %+v", n, best)
		}
	}
}

func TestAFailedRunIsRecordedAndTheRestGoesOn(t *testing.T) {
	b := newBench(t)
	b.faults["rollouts/1"] = errors.New("no cluster <b>here</b>")
	_, err := b.m.Execute(t.Context())
	if want := "1 of 6 runs failed: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if want := "2 of 6: rollouts, repeat 1 failed: no cluster <b>here</b>"; !slices.Contains(b.said, want) {
		t.Errorf("said %q, want %s", b.said, want)
	}
	if diff := cmp.Diff([]State{Finished, Failed, Finished, Finished, Finished, Finished}, b.states()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !strings.Contains(b.page(), "failed: no cluster &lt;b&gt;here&lt;/b&gt;") {
		t.Error("the page does not say why")
	}
	if n := len(b.record().Cells); n != 8 {
		t.Errorf("%d cells, want 8", n)
	}

	// What failed is what is left to do.
	delete(b.faults, "rollouts/1")
	b.ran, b.m.Resume = nil, true
	if _, err := b.m.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"my/rollouts.yaml rollouts/1"}, b.ran); diff != "" {
		t.Errorf("-want +ran:\n%s", diff)
	}
}

func TestResultsThatCannotBeWrittenOrAreOfOthersAreAFailure(t *testing.T) {
	for want, change := range map[string]func(*results.Results){
		"startedAt: missing": func(r *results.Results) { r.StartedAt = time.Time{} },
		"not of the overlays that were to run": func(r *results.Results) {
			r.Runs = slices.DeleteFunc(r.Runs, func(run results.Run) bool { return run.Overlay == "clusterip" })
		},
		"are no repeats of one experiment: load of rng 100 against 5.00 RPC/s": func(r *results.Results) { r.Scenario.Load["rng"] = 5 },
	} {
		b := newBench(t)
		b.change = func(folder string, r *results.Results) {
			if folder == "day/2" {
				change(r)
			}
		}
		_, err := b.m.Execute(t.Context())
		if run := b.record().Runs[2]; err == nil || run.State != Failed || !strings.Contains(run.Error, want) {
			t.Errorf("got %v and %+v, want %s", err, run, want)
		}
		if slices.Contains(b.files(), "day/2/results.json") {
			t.Errorf("%s: it has a results.json", want)
		}
	}
}

func TestNothingIsWrittenOverUnlessItIsResumed(t *testing.T) {
	b := newBench(t)
	b.m.Repeats = 1
	if _, err := b.m.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.page()
	_, err := b.m.Execute(t.Context())
	if _, usage := errors.AsType[UsageError](err); !usage || !strings.Contains(err.Error(), "day/1/results.json is there already: give --resume") {
		t.Errorf("got %v", err)
	}
	if b.page() != before || len(b.ran) != 2 {
		t.Errorf("something ran or was written: %q", b.ran)
	}
	b.m.Resume, b.m.Repeats = true, 2
	if _, err := b.m.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"scenarios/day.yaml day/2", "my/rollouts.yaml rollouts/2"}, b.ran[2:]); diff != "" {
		t.Errorf("-want +ran:\n%s", diff)
	}
	if !slices.Contains(b.said, "1 of 4: day, repeat 1: is there already") {
		t.Errorf("said %q", b.said)
	}
}

func TestResumingReadsWhatIsThere(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		err  string
		runs int
	}{
		"cut off": {`{"schemaVersion": 1, "ru`, "", 1},
		"empty":   {"", "", 1},
		"of other overlays": {
			encoded(t, func(r *results.Results) { r.Runs[0].Overlay, r.Runs[2].Overlay = "dns-srv", "dns-srv" }), "is of other overlays", 0,
		},
		"of another scenario": {
			encoded(t, func(r *results.Results) { r.Scenario.Name = "night" }), "1 of 2 runs failed: ", 1,
		},
		"whole": {encoded(t, func(*results.Results) {}), "", 1},
	} {
		b := newBench(t)
		b.m.Resume, b.m.Repeats, b.m.Scenarios = true, 2, b.m.Scenarios[:1]
		path := filepath.Join(b.m.Out, "day", "1", "results.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		runs := test.runs
		if test.err == "" && name != "whole" {
			runs = 2
		}
		_, err := b.m.Execute(t.Context())
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%s: got %v, want %s", name, err, test.err)
		}
		if len(b.ran) != runs {
			t.Errorf("%s: ran %q, want %d", name, b.ran, runs)
		}
	}
}

func encoded(t *testing.T, change func(*results.Results)) string {
	t.Helper()
	r := made("day", 1)
	change(r)
	var text strings.Builder
	if err := results.Encode(&text, r); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestAnInterruptLeavesWhatWasFinished(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.m.Run = func(ctx context.Context, scenario string, overlays []string, out string) (*results.Results, error) {
		if len(b.ran) == 2 {
			cancel()
			return nil, fmt.Errorf("stopped: %w", ctx.Err())
		}
		return b.run(ctx, scenario, overlays, out)
	}
	_, err := b.m.Execute(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]State{Finished, Finished, Waiting, Waiting, Waiting, Waiting}, b.states()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if n := len(b.record().Cells); n != 8 {
		t.Errorf("%d cells, want the 8 of the first repeat", n)
	}
	b.m.Run, b.m.Resume = b.run, true
	if _, err := b.m.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.ran) != 6 {
		t.Errorf("ran %q, want each run once", b.ran)
	}
}

func TestThePageIsThereWhileTheMatrixRuns(t *testing.T) {
	b := newBench(t)
	b.m.Run = func(ctx context.Context, scenario string, overlays []string, out string) (*results.Results, error) {
		if want := fmt.Sprintf("%d of 6 runs finished", len(b.ran)); !strings.Contains(b.page(), want) {
			t.Errorf("the page does not say %q", want)
		}
		return b.run(ctx, scenario, overlays, out)
	}
	if _, err := b.m.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestProgressSaysHowManyAreLeftAndForHowLong(t *testing.T) {
	b := newBench(t)
	b.m.Repeats = 2
	b.faults["day/2"] = errors.New("broken")
	_, _ = b.m.Execute(t.Context()) // a run fails, which another test is about
	// Scenarios of one and two minutes, of which each run takes a minute and a half.
	want := []string{
		"1 of 4: day, repeat 1 (about 6 min left)",
		"2 of 4: rollouts, repeat 1 (about 8 min left)",
		"3 of 4: day, repeat 2 (about 3 min left)",
		"3 of 4: day, repeat 2 failed: broken",
		"4 of 4: rollouts, repeat 2 (about 2 min left)",
	}
	if diff := cmp.Diff(want, b.said); diff != "" {
		t.Errorf("-want +said:\n%s", diff)
	}
}

func TestABadMatrixIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	for want, spoil := range map[string]func(*Matrix){
		"overlays: none, want 1 or more":   func(m *Matrix) { m.Overlays = nil },
		"scenarios: none, want 1 or more":  func(m *Matrix) { m.Scenarios = nil },
		"repeats: 0, want 1 to 100":        func(m *Matrix) { m.Repeats = 0 },
		"repeats: 101, want 1 to 100":      func(m *Matrix) { m.Repeats = 101 },
		"overlay x/clusterip: given twice": func(m *Matrix) { m.Overlays = append(m.Overlays, "x/clusterip") },
		"scenario day: given twice":        func(m *Matrix) { m.Scenarios = append(m.Scenarios, m.Scenarios[0]) },
		`scenario ".."`:                    func(m *Matrix) { m.Scenarios[0].Name = ".." },
		`scenario "a/b"`:                   func(m *Matrix) { m.Scenarios[0].Name = "a/b" },
	} {
		b := newBench(t)
		spoil(&b.m)
		_, err := b.m.Execute(t.Context())
		if _, usage := errors.AsType[UsageError](err); !usage || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if files := b.files(); len(files)+len(b.ran) > 0 {
			t.Errorf("%s: %q, ran %q", want, files, b.ran)
		}
	}
}
