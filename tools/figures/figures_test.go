package main

import (
	"os"
	"path/filepath"
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

	return sets{{Name: "day", About: "A day.", Command: "bin/lab run --out OUT", Repeats: 2, Runs: []*results.Results{one, other}}}
}

func TestAFigureIsThatOfAllRuns(t *testing.T) {
	s := sample(t)
	for source, want := range map[string]string{
		`{{figure "day" "api-watch" "failed, graceful"}}`:     "0",
		`{{figure "day" "endpointslice" "failed, graceful"}}`: "0 to 1,234",
		`{{figure "day" "clusterip" "max/mean"}}`:             "3.00",
		`{{phase "day" "endpointslice" "steady" "failed"}}`:   "0 to 1,234",
		`{{control "day" "endpointslice" "steady" "failed"}}`: "0",
		`{{runs "day"}}`:    "2",
		`{{command "day"}}`: "bin/lab run --out OUT",
		`{{len (figure "day" "clusterip" "max/mean")}} characters`: "4 characters",
	} {
		got, err := evaluate(source, s)
		if err != nil || got != want {
			t.Errorf("%s is %q, not %q: %v", source, got, want, err)
		}
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
		"a\nb <!--{{figure \"night\" \"x\" \"failed, all\"}}-->0<!--/-->":          `2: {{figure "night" "x" "failed, all"}}: figure: there is no set "night": give day`,
		"<!--{{figure \"day\" \"endpointslices\" \"failed, all\"}}-->0<!--/-->":    `1: {{figure "day" "endpointslices" "failed, all"}}: figure: day has no overlay "endpointslices"`,
		"<!--{{figure \"day\" \"endpointslice\" \"failures\"}}-->0<!--/-->":        `there is no figure "failures": give "failed, graceful", "failed, all"`,
		"<!--{{phase \"day\" \"endpointslice\" \"night\" \"failed\"}}-->0<!--/-->": `day has no phase "night"`,
		"<!--{{table \"day\" 3}}--><!--/-->":                                       `day has the runs 1 to 2, and not 3`,
		"<!--{{runs \"day\"}}-->2":                                                 `no <!--/--> ends it`,
		"<!--{{runs \"day\"}}-->2 <!--{{runs \"day\"}}-->2<!--/-->":                `no <!--/--> ends it`,
		"<!--{{rums \"day\"}}-->2<!--/-->":                                         `function "rums" not defined`,
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
		"- {name: day, about: A day., command: true, repeats: 1}\n":  "a command that writes to OUT",
		"- {name: day, about: A day., command: x OUT}\n":             "repeats of 1 or more",
		"- {name: day, abuot: A day., command: x OUT, repeats: 1}\n": "field abuot not found",
		"- {about: A day., command: x OUT, repeats: 1}\n":            `set 1 (""): give a name`,
	} {
		if _, err := readList(filepath.Join(source(t, list), "docs", "results")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", list, err, want)
		}
	}
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
