package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestEveryFigureInTheDocumentsIsWhatTheRunsMeasured(t *testing.T) {
	if err := (writeCommand{Check: true, Root: "../.."}).Run(); err != nil {
		t.Error(err)
	}
}

// sample is a set of two runs, of which the second failed more.
func sample(t *testing.T) sets {
	t.Helper()
	one, err := results.Read("../lab/report/testdata/day.json")
	if err != nil {
		t.Fatal(err)
	}
	other, err := results.Read("../lab/report/testdata/day.json")
	if err != nil {
		t.Fatal(err)
	}
	for i := range other.Runs {
		if other.Runs[i].Overlay == "endpointslice" && !other.Runs[i].Control {
			other.Runs[i].Phases[0].Failed += 1234
		}
	}

	return sets{{Name: "day", About: "A day.", Command: "bin/lab run --out OUT", Repeats: 2, Output: labOutput, Lab: []*results.Results{one, other}}}
}

func TestAFigureIsThatOfAllRuns(t *testing.T) {
	s := sample(t)
	for source, want := range map[string]string{
		`{{figure "day" "api-watch" "failed, graceful"}}`:                "0",
		`{{figure "day" "endpointslice" "failed, graceful"}}`:            "0 to 1,234",
		`{{figure "day" "clusterip" "max/mean"}}`:                        "3.00",
		`{{phase "day" "endpointslice" "steady" "failed"}}`:              "0 to 1,234",
		`{{control "day" "endpointslice" "steady" "failed"}}`:            "0",
		`{{predicted "day" "endpointslice" "steady" "failed" 1234}}`:     "up to 1,234",
		`{{controlPredicted "day" "endpointslice" "steady" "failed" 3}}`: "up to 3",
		`{{predicted "day" "api-watch" "steady" "failed" 0}}`:            "0",
		`{{runs "day"}}`:    "2",
		`{{command "day"}}`: "bin/lab run --out OUT",
		`{{len (figure "day" "clusterip" "max/mean")}} characters`: "4 characters",
	} {
		got, err := evaluate(source, s)
		if err != nil || got != want {
			t.Errorf("%s is %q, not %q: %v", source, got, want, err)
		}
	}
	bars, err := evaluate(`{{bars "day" "failed, graceful" "watch=endpointslice" "DNS=dns-srv"}}`, s)
	if want := "\n```mermaid\nxychart-beta\n    x-axis [\"watch\", \"DNS\"]\n    y-axis \"failed, graceful\" 0 --> 1234\n    bar [1234, 0]\n```\n"; err != nil || bars != want {
		t.Errorf("the bars are %q: %v", bars, err)
	}
	grid, err := evaluate(`{{grid "day" "endpointslice;clusterip" "failed, graceful;DNS queries;max/mean"}}`, s)
	if want := "\n| | failed, graceful | DNS queries | max/mean |\n| --- | --- | --- | --- |\n| endpointslice | 0 to 1,234 | 0 | 1.00 |\n| clusterip | 0 | 7 | 3.00 |\n"; err != nil || grid != want {
		t.Errorf("the grid is %q: %v", grid, err)
	}
	varied, err := evaluate(`{{varied "day" "max-connection" "clusterip;dns-round-robin" "age" "max/mean"}}`, s)
	if want := "\n| | age |\n| --- | --- |\n| clusterip | 3.00 |\n| dns-round-robin | 1.00 |\n"; err != nil || varied != want {
		t.Errorf("what was varied is %q: %v", varied, err)
	}
	phases, err := evaluate(`{{phases "day" "endpointslice;clusterip" "steady;kill" "failed"}}`, s)
	if want := "\n| | steady | kill |\n| --- | --- | --- |\n| endpointslice | 0 to 1,234 | 0 |\n| clusterip | 0 | 0 |\n"; err != nil || phases != want {
		t.Errorf("the phases are %q: %v", phases, err)
	}
	table, err := evaluate(`{{table "day" 1}}`, s)
	if err != nil || !strings.HasPrefix(table, "\n```\n") || !strings.HasSuffix(table, "\n```\n") || !strings.Contains(table, "dns-srv") {
		t.Errorf("the table is %q: %v", table, err)
	}
}

func TestADocumentIsFilledAndStaysSo(t *testing.T) {
	s := sample(t)
	before := "It lost <!--{{figure \"day\" \"endpointslice\" \"failed, graceful\"}}-->9<!--/-->, and <!-- a remark --> " +
		"<!--{{runs \"day\"}}--><!--/--> runs.\n<!--{{table \"day\" 2}}-->\nold\n<!--/-->\nEnd."
	once, err := fill([]byte(before), s)
	if err != nil {
		t.Fatal(err)
	}
	if want := "It lost <!--{{figure \"day\" \"endpointslice\" \"failed, graceful\"}}-->0 to 1,234<!--/-->, and <!-- a remark --> <!--{{runs \"day\"}}-->2<!--/--> runs.\n"; !strings.HasPrefix(string(once), want) {
		t.Errorf("got %s", once)
	}
	if !strings.HasSuffix(string(once), "\n```\n<!--/-->\nEnd.") || strings.Contains(string(once), "old") {
		t.Errorf("got %s", once)
	}
	twice, err := fill(once, s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(once), string(twice)); diff != "" {
		t.Error(diff)
	}
}

func TestAMistakeNamesTheLineAndWhatThereIs(t *testing.T) {
	s := sample(t)
	for text, want := range map[string]string{
		"a\nb <!--{{figure \"night\" \"x\" \"failed, all\"}}-->0<!--/-->":                   `2: {{figure "night" "x" "failed, all"}}: figure: there is no set "night": give day`,
		"<!--{{figure \"day\" \"endpointslices\" \"failed, all\"}}-->0<!--/-->":             `1: {{figure "day" "endpointslices" "failed, all"}}: figure: day has no overlay "endpointslices"`,
		"<!--{{figure \"day\" \"endpointslice\" \"failures\"}}-->0<!--/-->":                 `there is no figure "failures": give "failed, graceful", "failed, all"`,
		"<!--{{phase \"day\" \"endpointslice\" \"night\" \"failed\"}}-->0<!--/-->":          `day has no phase "night"`,
		"<!--{{predicted \"day\" \"endpointslice\" \"steady\" \"failed\" 1233}}--><!--/-->": `endpointslice, steady: failed is 1,234, and up to 1233 were predicted`,
		"<!--{{table \"day\" 3}}--><!--/-->":                                                `day has the runs 1 to 2, and not 3`,
		"<!--{{runs \"day\"}}-->2":                                                          `no <!--/--> ends it`,
		"<!--{{runs \"day\"}}-->2 <!--{{runs \"day\"}}-->2<!--/-->":                         `no <!--/--> ends it`,
		"<!--{{rums \"day\"}}-->2<!--/-->":                                                  `function "rums" not defined`,
	} {
		if _, err := fill([]byte(text), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot:  %v\nwant: %s", text, err, want)
		}
	}
}

// source is a tree with a set that a command makes out of the sample.
func source(t *testing.T, list string) string {
	t.Helper()
	root := t.TempDir()
	folder := filepath.Join(root, "docs", "results")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "sets.yaml"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "README.md"), []byte("<!--{{runs \"day\"}}--><!--/-->\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	return root
}

func TestASetThatIsMeasuredAgainIsWhatDocumentsAreFilledFrom(t *testing.T) {
	day, err := filepath.Abs("../lab/report/testdata/day.json")
	if err != nil {
		t.Fatal(err)
	}
	root := source(t, "- {name: day, about: A day., command: cp "+day+" OUT/results.json, repeats: 2}\n")
	if err := (writeCommand{Root: root}).Run(); err == nil || !strings.Contains(err.Error(), "1.json") {
		t.Errorf("without results: %v", err)
	}
	if err := (measureCommand{Sets: []string{"day"}, Root: root}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (writeCommand{Check: true, Root: root}).Run(); err == nil || !strings.Contains(err.Error(), "README.md: line 1 is not what docs/results say: make results") {
		t.Errorf("a document that is not up to date: %v", err)
	}
	if err := (writeCommand{Root: root}).Run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil || string(text) != "<!--{{runs \"day\"}}-->2<!--/-->\n" {
		t.Errorf("the document says %s: %v", text, err)
	}
	if err := (writeCommand{Check: true, Root: root}).Run(); err != nil {
		t.Error(err)
	}
}

func TestABadListOfSetsIsRefused(t *testing.T) {
	for list, want := range map[string]string{
		"- {name: day, about: A day., command: true, repeats: 1}\n":                   `set 1 ("day"): command: "true": it has to write to OUT`,
		"- {name: day, about: A day., command: x OUT}\n":                              "repeats: 0: give 1 or more",
		"- {name: day, abuot: A day., command: x OUT, repeats: 1}\n":                  "field abuot not found",
		"- {about: A day., command: x OUT, repeats: 1}\n":                             `set 1 (""): give a name`,
		"- {name: day, about: A day., command: x OUT VARIANT, repeats: 1}\n":          "variants: 0: give some if the command has VARIANT",
		"- {name: day, about: A day., command: x OUT, repeats: 1, variants: [a]}\n":   "variants: 1: give some if the command has VARIANT",
		"- {name: day, about: A day., command: x OUT, repeats: 1, output: day.csv}\n": `output: "day.csv": give results.json, bench.txt or a name that ends in .md`,
	} {
		if _, err := readList(filepath.Join(source(t, list), "docs", "results")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", list, err, want)
		}
	}
}

// A set of several variants has the runs of each, and an overlay the runs that it is in.
func TestEachVariantIsRunAndOneAloneIfThatIsWanted(t *testing.T) {
	root := source(t, "- {name: day, about: A day., command: cp VARIANT OUT/results.json, repeats: 1, variants: [one.json, other.json]}\n")
	day, err := os.ReadFile("../lab/report/testdata/day.json")
	if err != nil {
		t.Fatal(err)
	}
	other := strings.ReplaceAll(string(day), `"endpointslice"`, `"slices"`)
	for name, content := range map[string]string{"one.json": string(day), "other.json": other} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, wanted := range []string{"day", "day/2"} {
		if err := (measureCommand{Sets: []string{wanted}, Root: root}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := readSets(filepath.Join(root, "docs", "results"))
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		`{{runs "day"}}`:                 "2",
		`{{runs "day" "endpointslice"}}`: "1",
		`{{runs "day" "slices"}}`:        "1",
		`{{runs "day" "api-watch"}}`:     "2",
	} {
		if got, err := evaluate(source, s); err != nil || got != want {
			t.Errorf("%s is %q, not %q: %v", source, got, want, err)
		}
	}
	err = measureCommand{Sets: []string{"day/3"}, Root: root}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "day has the runs 1 to 2, and not 3") {
		t.Errorf("day/3: %v", err)
	}
}

func TestBenchmarksAndTablesAreQuoted(t *testing.T) {
	root := source(t, `
- name: benchmarks
  about: Three rounds.
  repeats: 1
  output: bench.txt
  command: |
    for ns in 10 3000 20; do printf 'pkg: github.com/evenkeel/evenkeel/resolver/srv\nBenchmarkLookup/records=10-2 \t 5 \t %s ns/op\t 35400 rpc/s\nPASS\n' $ns; done > OUT/bench.txt
    printf 'BenchmarkOther-2 1 5 ns/op\nBenchmarkBroken-2 1 x ns/op\nBenchmark\n' >> OUT/bench.txt
- {name: table, about: A table., repeats: 1, output: table.md, command: "printf '| a |\n\n| b |\n' > OUT/table.md"}
`)
	if err := (measureCommand{Sets: []string{"benchmarks", "table"}, Root: root}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := readSets(filepath.Join(root, "docs", "results"))
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		`{{bench "benchmarks" "resolver/srv.Lookup/records=10" "ns/op"}}`:                      "20 ns",
		`{{bench "benchmarks" "resolver/srv.Lookup/records=10" "rpc/s"}}`:                      "35.4k",
		`{{ratio "benchmarks" "resolver/srv.Lookup/records=10" "resolver/srv.Other" "ns/op"}}`: "4.00",
		`{{quote "table"}}`: "\n| a |\n\n| b |\n",
	} {
		if got, err := evaluate(source, s); err != nil || got != want {
			t.Errorf("%s is %q, not %q: %v", source, got, want, err)
		}
	}
	for source, want := range map[string]string{
		`{{bench "benchmarks" "srv.Lookup" "ns/op"}}`:         "give resolver/srv.Lookup/records=10, resolver/srv.Other",
		`{{bench "benchmarks" "resolver/srv.Other" "rpc/s"}}`: `resolver/srv.Other has no "rpc/s": give ns/op`,
		`{{bench "table" "resolver/srv.Other" "rpc/s"}}`:      "table has no benchmarks, but table.md",
		`{{quote "benchmarks"}}`:                              "benchmarks has nothing to quote, but bench.txt",
		`{{table "table" 1}}`:                                 "table has the runs 1 to 0, and not 1",
		`{{figure "table" "clusterip" "max/mean"}}`:           `table has no overlay "clusterip"`,
	} {
		if _, err := evaluate(source, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", source, err, want)
		}
	}
	where, err := evaluate(`{{where "table"}}`, s)
	if err != nil || !strings.HasSuffix(where, runtime.GOOS+"/"+runtime.GOARCH) || !strings.HasPrefix(where, "20") {
		t.Errorf("where: %q, %v", where, err)
	}
}

func TestAQuantityHasAsManyDigitsAsItIsGoodFor(t *testing.T) {
	for want, q := range map[string]struct {
		value float64
		unit  string
	}{
		"67 µs": {67_040, "ns/op"}, "7.3 ms": {7_311_777, "ns/op"}, "1.9 s": {1.88e9, "ns/op"}, "22.8 µs": {22.8, "cpu-us/rpc"},
		"172 ns": {172, "ns/op"}, "1.2 ns": {1.238, "ns/op"}, "0": {0, "allocs/op"}, "421": {421.3, "bytes/endpoint"}, "35.4k": {35_400, "rpc/s"}, "1.4M": {1.35e6, "B/op"},
	} {
		if got := quantity(q.value, q.unit); got != want {
			t.Errorf("%v %s is written %q, not %q", q.value, q.unit, got, want)
		}
	}
}

func TestANumberIsARunsOrGiven(t *testing.T) {
	text := "It takes 30 s, `5 s` at\nmost <!--{{runs \"day\"}}-->7<!--/-->, [3](of/5), 1,000 RPCs,\n\n" +
		"```\n9 s\n```\n    8 s\nv1.2, grpc#99 or 2 % and 10.0.0.1:8081.\n[a]: https://b/77\n"
	g := given{"a.md": {"30 s", "1,000 RPCs", "2 %", "10.0.0.1:8081", "44"}}
	err := g.unmarked("a.md", []byte(text))
	if err == nil || err.Error() != `a.md:2: "3" is no figure of a run (<!--{{…}}-->), and docs/results/given.yaml does not have it
docs/results/given.yaml: a.md no longer has "44"` {
		t.Errorf("got %v", err)
	}
	if err := (given{}).unmarked("a.md", []byte("Ten of `12`.")); err != nil {
		t.Error(err)
	}
}

func FuzzBenchmarks(f *testing.F) {
	f.Add("pkg: github.com/evenkeel/evenkeel/a\nBenchmarkA-2 1 5 ns/op 3 B/op\n")
	f.Fuzz(func(t *testing.T, printed string) {
		for name, units := range parseBenchmarks(printed) {
			for unit, samples := range units {
				if _, err := (benchmarks{samples: map[string]map[string][]float64{name: units}}).median(name, unit); err != nil || len(samples) == 0 {
					t.Errorf("%q: %q %q: %v", printed, name, unit, err)
				}
			}
		}
	})
}

func FuzzFill(f *testing.F) {
	f.Add("<!--{{runs \"day\"}}-->2<!--/-->")
	f.Add("<!--{{<!--/-->")
	f.Fuzz(func(t *testing.T, text string) {
		s := sets{{Name: "day", About: "A day."}}
		if filled, err := fill([]byte(text), s); err == nil && !strings.Contains(text, "<!--{{") && string(filled) != text {
			t.Errorf("%q becomes %q, and has no figures", text, filled)
		}
	})
}
