package compare

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestAFileComparedWithItselfCallsNothingOut(t *testing.T) {
	r := day(t)
	for _, runs := range [][]*results.Results{{r}, {r, r, r}} {
		c := compared(t, true, side("a", runs...), side("b", runs...), side("c", runs...))
		if n := calledOut(c); n != 0 || c.Tally.CalledOut != 0 {
			t.Errorf("%d runs a side: %d differences of a file from itself:\n%v", len(runs), n, c.Findings())
		}
		if len(c.Environment)+len(c.Mismatches) > 0 {
			t.Errorf("a file does not match itself: %v %v", c.Environment, c.Mismatches)
		}
		if len(c.Groups) != 16 || len(c.Groups[0].Phases) != 7 {
			t.Errorf("%d groups with %d phases, want 16 with 7", len(c.Groups), len(c.Groups[0].Phases))
		}
	}
}

func TestTheSameRunsInAnotherOrderAreNoDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var list []float64
		for range 3 + r.IntN(4) {
			list = append(list, 1+r.Float64())
		}
		a := p99s("a", list...)
		r.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
		if c := compared(t, true, a, p99s("b", list...)); calledOut(c) != 0 {
			t.Fatalf("%v: %v", list, c.Findings())
		}
	}
}

func TestADifferenceIsCalledOutOnlyWhereTheRunsAreApart(t *testing.T) {
	for name, test := range map[string]struct {
		a, b []float64
		want Verdict
	}{
		"above":                     {[]float64{3.0, 3.1, 3.2}, []float64{4.0, 4.2, 4.1}, Higher},
		"below":                     {[]float64{4.0, 4.2, 4.1}, []float64{3.0, 3.1, 3.2}, Lower},
		"overlapping":               {[]float64{3.0, 3.1, 4.05}, []float64{4.0, 4.2, 4.1}, Noise},
		"touching":                  {[]float64{3, 3.1, 4}, []float64{4, 4.2, 4.1}, Noise},
		"equal":                     {[]float64{3, 3, 3}, []float64{3, 3, 3}, Equal},
		"two runs a side":           {[]float64{1, 2}, []float64{100, 200}, TooFew},
		"one run a side":            {[]float64{1}, []float64{100}, TooFew},
		"two runs against five":     {[]float64{1, 2}, []float64{13, 14, 15, 16, 17}, Higher},
		"apart, but close":          {[]float64{3.0, 3.2, 3.4}, []float64{3.5, 3.6, 3.7}, Noise},
		"as far apart as they vary": {[]float64{3, 4}, []float64{5, 5, 5, 5, 5}, Higher},
		"close, of four runs":       {[]float64{3.0, 3.2, 3.3, 3.4}, []float64{3.5, 3.6, 3.6, 3.7}, Noise},
		"close, of five runs":       {[]float64{3.0, 3.2, 3.3, 3.3, 3.4}, []float64{3.5, 3.6, 3.6, 3.7, 3.9}, Higher},
		"one run against three":     {[]float64{1}, []float64{3, 4, 5}, TooFew},
		"one spread within another": {[]float64{1, 2, 9}, []float64{3, 4, 5}, Noise},
	} {
		c := compared(t, false, p99s("a", test.a...), p99s("b", test.b...))
		if got := cell(t, c, "endpointslice", "rng", "p99, ms").Verdict; got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		if got := cell(t, c, "clusterip", "rng", "p99, ms").Verdict; got != Equal {
			t.Errorf("%s: the overlay that did not change is %q", name, got)
		}
	}
}

func TestTheChanceIsWhatCountingAllOrdersGives(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for m := 1; m <= 5; m++ {
			orders, apart := 0, 0
			for mask := range 1 << (n + m) {
				var a, b []*float64
				for i := range n + m {
					if mask&(1<<i) != 0 {
						a = append(a, new(float64(i)))
					} else {
						b = append(b, new(float64(i)))
					}
				}
				if len(a) != n {
					continue
				}
				orders++
				if Apart(NewSample(a), NewSample(b)) != 0 {
					apart++
				}
			}
			if got, want := Chance(n, m), float64(apart)/float64(orders); got != want {
				t.Errorf("%d and %d runs: %v, want %d of %d", n, m, got, apart, orders)
			}
		}
	}
}

func TestChanceAloneCallsOutAboutOneFigureInAHundred(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for name, draw := range map[string]func() float64{
		"normal": r.NormFloat64, "even": r.Float64, "exponential": r.ExpFloat64,
		"lognormal": func() float64 { return math.Exp(r.NormFloat64()) },
	} {
		for _, runs := range [][2]int{{3, 3}, {2, 5}, {3, 5}, {4, 4}, {4, 5}, {5, 5}, {7, 7}} {
			const figures = 5000
			called := 0
			for range figures {
				var sides [2][]*float64
				for k, n := range runs {
					for range n {
						sides[k] = append(sides[k], new(draw()))
					}
				}
				if exceeds(NewSample(sides[0]), NewSample(sides[1])) != 0 {
					called++
				}
			}
			if rate := float64(called) / figures; rate > 0.02 {
				t.Errorf("%s noise, %v runs: %.3f of figures are called out", name, runs, rate)
			}
		}
	}
}

func TestNoneAgainstSomeIsSaidHoweverFewTheRunsAre(t *testing.T) {
	for name, test := range map[string]struct {
		a, b []int64
		want Verdict
		line string
	}{
		"one run a side":       {[]int64{0}, []int64{4}, Some, "endpointslice, failed, graceful: a 0, b 4: more than 0 in 1 of 1 run of b"},
		"in one of three":      {[]int64{0, 0, 0}, []int64{0, 0, 4}, Some, "endpointslice, failed, graceful: a 0, b 0 (0–4): more than 0 in 1 of 3 runs of b"},
		"mended":               {[]int64{7, 4, 0}, []int64{0, 0, 0}, None, "endpointslice, failed, graceful: a 4 (0–7), b 0: more than 0 in 2 of 3 runs of a"},
		"some on both":         {[]int64{1, 0, 1}, []int64{2, 0, 2}, Noise, ""},
		"none on either":       {[]int64{0, 0, 0}, []int64{0, 0, 0}, Equal, ""},
		"more, where it fails": {[]int64{1, 2, 3}, []int64{14, 15, 16}, Higher, "endpointslice, failed, graceful: a 2 (1–3), b 15 (14–16): higher, × 7.50"},
	} {
		sides := []Side{{Label: "a"}, {Label: "b"}}
		for i, list := range [][]int64{test.a, test.b} {
			var runs []*results.Results
			for _, n := range list {
				runs = append(runs, record(failed("endpointslice", 0, n)))
			}
			sides[i] = side(sides[i].Label, runs...)
		}
		c := compared(t, false, sides...)
		if got := cell(t, c, "endpointslice", "rng", "failed, graceful").Verdict; got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		var lines []string
		for _, s := range c.Findings() {
			lines = append(lines, s.Lines...)
		}
		if test.line != "" && !slices.Contains(lines, test.line) || test.line == "" && lines != nil {
			t.Errorf("%s: %q, want %q", name, lines, test.line)
		}
	}
}

func TestADifferenceThatTheControlHasTooIsTheEnvironments(t *testing.T) {
	runs := func(label string, rng, geoip float64) Side {
		var list []*results.Results
		for i := range 3 {
			plus := float64(i) / 100
			list = append(list, record(p99("endpointslice", "rng", rng+plus), p99("endpointslice", "geoip", geoip+plus)))
		}
		return side(label, list...)
	}
	for name, test := range map[string]struct {
		geoip float64
		too   bool
	}{"higher likewise": {5, true}, "lower instead": {1, false}, "as before": {3, false}} {
		c := compared(t, true, runs("a", 3, 3), runs("b", 6, test.geoip))
		if got := cell(t, c, "endpointslice", "rng", "p99, ms"); got.Verdict != Higher || got.ControlToo != test.too {
			t.Errorf("control %s: %q, control too %v", name, got.Verdict, got.ControlToo)
		}
		i := slices.IndexFunc(c.Groups, func(g Group) bool { return g.Overlay == "endpointslice" && !g.Control })
		rows := c.Groups[i].Phases[0].Rows
		k := slices.IndexFunc(rows, func(r Row) bool { return r.Title == "p99, ms" })
		if got := rows[k].Cells[1]; got.Verdict != Higher || got.ControlToo != test.too {
			t.Errorf("control %s, phase: %q, control too %v", name, got.Verdict, got.ControlToo)
		}
	}
}

func TestWithOneRunASideTheControlsAreTheMeasureOfNoise(t *testing.T) {
	for name, test := range map[string]struct {
		rng, geoip float64
		hint       bool
	}{
		"more than the control": {6, 3.3, true},
		"as much":               {6, 6, false},
		"less":                  {3.3, 6, false},
		// A control that does not vary tells nothing.
		"control still": {6, 3, false},
	} {
		b := record(p99("endpointslice", "rng", test.rng), p99("clusterip", "geoip", test.geoip))
		c := compared(t, false, side("a", record()), side("b", b))
		if got := cell(t, c, "endpointslice", "rng", "p99, ms"); got.Verdict != TooFew || got.Hint != test.hint {
			t.Errorf("%s: %q, hint %v", name, got.Verdict, got.Hint)
		}
		if !strings.HasPrefix(c.Note(), "One run a side: no spread is known") {
			t.Errorf("%s: %s", name, c.Note())
		}
	}
	two := side("a", record(), record())
	if c := compared(t, false, two, two); !strings.HasPrefix(c.Note(), "Too few runs") {
		t.Error(c.Note())
	}
}

func TestTheNoteSaysWhatChanceAloneWouldCallOut(t *testing.T) {
	c := compared(t, false, p99s("a", 3, 3.1, 3.2), p99s("b", 4, 4.1, 4.2))
	want := "2 figures that vary were compared with enough runs, and 2 of them differ by more than the noise; if nothing differed, chance would make it about 0.02."
	if c.Note() != want {
		t.Errorf("got  %s\nwant %s", c.Note(), want)
	}
}

func TestAFigureThatSomeRunsLackHasOnlyTheOthersToStandOn(t *testing.T) {
	a, b := p99s("a", 3, 3.1, 3.2), p99s("b", 4, 4.1, 4.2)
	at("endpointslice", "rng", 0, func(p *results.Phase) { p.LatencyMs.P99 = nil })(b.Results[0].Results)
	at("endpointslice", "rng", 0, func(p *results.Phase) { p.LatencyMs.P50 = nil })(b.Results[0].Results)
	at("endpointslice", "rng", 0, func(p *results.Phase) { p.LatencyMs.P50 = nil })(b.Results[1].Results)
	at("endpointslice", "rng", 0, func(p *results.Phase) { p.LatencyMs.P50 = nil })(b.Results[2].Results)
	c := compared(t, false, a, b)
	if got := cell(t, c, "endpointslice", "rng", "p99, ms"); got.Verdict != TooFew || got.Runs != 3 || len(got.Values) != 2 {
		t.Errorf("%+v", got)
	}
	if got := cell(t, c, "endpointslice", "rng", "p50, ms"); got.Verdict != Unmeasured || got.Median != nil {
		t.Errorf("%+v", got)
	}
}

func TestTheMedianIsTheMiddleOrBetweenTheTwoInTheMiddle(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{5}, 5}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 3, 2, 1}, 2.5}, {[]float64{1e308, 1.5e308}, 1.25e308}} {
		var runs []*float64
		for _, v := range test.values {
			runs = append(runs, new(v))
		}
		if s := NewSample(runs); *s.Median != test.want || *s.Min != slices.Min(test.values) || *s.Max != slices.Max(test.values) {
			t.Errorf("%v: %v, %v to %v", test.values, *s.Median, *s.Min, *s.Max)
		}
	}
}

func TestWhatTheSidesDoNotHaveInCommonIsSaidByName(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*results.Results)
		want   []string
	}{
		"nothing":  {func(*results.Results) {}, []string{}},
		"scenario": {func(r *results.Results) { r.Scenario.Name = "rollouts" }, []string{"a, b: scenario short against rollouts"}},
		"load":     {func(r *results.Results) { r.Scenario.Load["rng"] = 300 }, []string{"a, b: load of rng 120 against 300 RPC/s"}},
		"another service under load": {
			func(r *results.Results) { r.Scenario.Load["dice"] = 1 }, []string{"a, b: load of dice 0.00 against 1.00 RPC/s"},
		},
		"phase": {
			func(r *results.Results) { r.Scenario.Phases[1].Action = "freeze 1 pod" },
			[]string{"a, b: phases [steady 6 s; kill: SIGKILL 1 pod 6 s] against [steady 6 s; kill: freeze 1 pod 6 s]"},
		},
		"service under fault": {func(r *results.Results) { r.Scenario.Service = "geoip" }, []string{"a, b: faults done to rng against geoip"}},
		"overlay": {
			func(r *results.Results) { r.Runs[0].Overlay, r.Runs[2].Overlay = "dns-srv", "dns-srv" },
			[]string{"in a, not in b: clusterip (rng), clusterip (geoip)", "in b, not in a: dns-srv (rng), dns-srv (geoip)"},
		},
		"target": {
			func(r *results.Results) { r.Runs[0].Target, r.Runs[1].Target = "srv:///rng", "srv:///rng" },
			[]string{"a, b: target dns:///rng against srv:///rng: clusterip (rng), endpointslice (rng)"},
		},
		"service config": {
			func(r *results.Results) { r.Runs[0].ServiceConfig = "{}" },
			[]string{"a, b: service config none against {}: clusterip (rng)"},
		},
		"keys": {
			func(r *results.Results) {
				r.Runs[0].Keys = &results.Keys{Distribution: "uniform", Count: 10, Header: "x-user-id"}
			},
			[]string{"a, b: keys none against 10, uniform, in x-user-id: clusterip (rng)"},
		},
	} {
		c := compared(t, true, side("a", record()), side("b", record(test.change)))
		if diff := cmp.Diff(test.want, c.Mismatches); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnOverlayOfOneSideOnlyIsNotCompared(t *testing.T) {
	b := record(func(r *results.Results) { r.Runs[0].Overlay, r.Runs[2].Overlay = "dns-srv", "dns-srv" })
	c := compared(t, false, side("a", record()), side("b", b))
	var names []string
	for _, g := range c.Groups {
		names = append(names, g.Overlay+" "+g.Service)
	}
	if diff := cmp.Diff([]string{"endpointslice rng", "endpointslice geoip"}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// With a third side that has it, it is compared with that one.
	c = compared(t, false, side("a", record()), side("b", b), side("c", record()))
	if len(c.Groups) != 4 || c.Groups[0].Overlay != "clusterip" || c.Groups[0].Rows[0].Cells[1].Verdict != Unmeasured || c.Groups[0].Rows[0].Cells[2].Verdict != Equal {
		t.Errorf("%+v", c.Groups)
	}
}

func TestPhasesAreFoundByNameAndOrder(t *testing.T) {
	a := record(func(r *results.Results) {
		// Two phases of one name, the second with failures.
		r.Scenario.Phases[1].Name = "steady"
		for i := range r.Runs {
			r.Runs[i].Phases[1].Name = "steady"
			r.Runs[i].Phases[1].Failed = 9
		}
	})
	c := compared(t, true, side("a", a), side("b", record()), side("c", a))
	phases := c.Groups[0].Phases
	if len(phases) != 2 {
		t.Fatalf("%d phases, want 2", len(phases))
	}
	// b has one phase of that name, which is the first of them; c has both.
	for n, want := range [][]Verdict{{"", Equal, Equal}, {"", Unmeasured, Equal}} {
		for k, cell := range phases[n].Rows[0].Cells {
			if cell.Verdict != want[k] {
				t.Errorf("phase %d, side %d: %q, want %q", n, k, cell.Verdict, want[k])
			}
		}
	}
}

func TestWhatDiffersInTheEnvironmentIsListed(t *testing.T) {
	b := record(func(r *results.Results) {
		r.Environment = results.Environment{Kind: "kubernetes", Version: "v0.1.0", GoVersion: "go1.26.8", OS: "linux", Arch: "arm64", CPUs: 8, BusyFraction: new(0.3)}
		r.Environment.Cluster = &results.Cluster{Version: "v1.36.3", Corefile: ". {\n    forward\n}\n", Nodes: []results.Node{{Name: "one", CPUs: 2}, {Name: "two", CPUs: 4}}}
	})
	other := record(func(r *results.Results) { r.Environment.CPUs = 4 })
	c := compared(t, false, side("a", record(), other), side("b", b))
	want := []Difference{
		{"arch", []string{"amd64", "arm64"}},
		{"busyFraction", []string{"60.0 %", "30.0 %"}},
		{"cluster.corefile", []string{"–", ". { forward }"}},
		{"cluster.nodes", []string{"–", "arch –, cpus 2, kernel –, kubelet –, name one, os –, runtime –; arch –, cpus 4, kernel –, kubelet –, name two, os –, runtime –"}},
		{"cluster.version", []string{"–", "v1.36.3"}},
		{"cpus", []string{"2, 4", "8"}},
		{"kind", []string{"local", "kubernetes"}},
	}
	if diff := cmp.Diff(want, c.Environment); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	busier := record(func(r *results.Results) { r.Environment.BusyFraction = new(0.65) })
	if c := compared(t, false, side("a", record()), side("b", busier)); len(c.Environment) > 0 {
		t.Errorf("a little more load is no other environment: %v", c.Environment)
	}
}

func TestRunsThatAreNoRepeatsAreNoSide(t *testing.T) {
	for want, change := range map[string]func(*results.Results){
		"scenario short against day":                 func(r *results.Results) { r.Scenario.Name = "day" },
		"load of rng 120 against 1.00 RPC/s":         func(r *results.Results) { r.Scenario.Load["rng"] = 1 },
		"endpointslice (geoip) is only in the first": func(r *results.Results) { r.Runs = r.Runs[:3] },
		"clusterip (rng): target dns:///rng against dns:///other": func(r *results.Results) {
			r.Runs[0].Target = "dns:///other"
		},
		"late (rng) is only in the second": func(r *results.Results) {
			run := r.Runs[0]
			run.Overlay = "late"
			r.Runs = append(r.Runs, run)
		},
	} {
		_, err := Compare([]Side{side("a", record(), record(change)), side("b", record())}, false)
		want := `side "a": out/a/1/results.json and out/a/2/results.json are no repeats of one experiment: ` + want
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := Compare([]Side{side("a", record())}, false); err == nil {
		t.Error("one side is compared with nothing")
	}
	if _, err := Compare([]Side{{Label: "a"}, {Label: "b"}}, false); err == nil {
		t.Error("sides without results are compared")
	}
}
