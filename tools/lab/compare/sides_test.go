package compare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

func TestASideIsALabelAndItsFiles(t *testing.T) {
	for arg, want := range map[string]Side{
		"before=a.json":                     {Label: "before", Files: []string{"a.json"}},
		"before=a.json,b.json":              {Label: "before", Files: []string{"a.json", "b.json"}},
		"nftables, 5 pods=a.json":           {Label: "nftables, 5 pods", Files: []string{"a.json"}},
		"out/before/results.json":           {Label: "before", Files: []string{"out/before/results.json"}},
		"out/a/results.json,x/results.json": {Label: "a", Files: []string{"out/a/results.json", "x/results.json"}},
		"before.json":                       {Label: "before", Files: []string{"before.json"}},
		"results.json":                      {Label: "results", Files: []string{"results.json"}},
		"../results.json":                   {Label: "results", Files: []string{"../results.json"}},
		"/results.json":                     {Label: "results", Files: []string{"/results.json"}},
	} {
		got, err := ParseSide(arg)
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", arg, diff)
		}
	}
}

func TestABadSideIsOneLineThatSaysWhatIsAccepted(t *testing.T) {
	for arg, want := range map[string]string{
		"":                             `"": the name of a file is empty, want LABEL=FILE[,FILE…]`,
		"=a.json":                      `"=a.json": the label is empty, want LABEL=FILE[,FILE…]`,
		"a=":                           `"a=": the name of a file is empty, want LABEL=FILE[,FILE…]`,
		"a=b.json,":                    `"a=b.json,": the name of a file is empty, want LABEL=FILE[,FILE…]`,
		"a=b=c":                        `"a=b=c": two equals signs, want LABEL=FILE[,FILE…]`,
		"a=x.json,./x.json":            `"a=x.json,./x.json": "./x.json" is given twice: repeats are runs of their own`,
		"\x1b[2J=a.json":               `label "\x1b[2J": want 1 to 40 printable characters`,
		strings.Repeat("é", 41) + "=a": `label "` + strings.Repeat("é", 41) + `": want 1 to 40 printable characters`,
		".json":                        `label "": want 1 to 40 printable characters`,
		"\xff=a":                       `label "\xff": want 1 to 40 printable characters`,
		"a=" + strings.Repeat("x,", MaxFiles) + "y": `"a=` + strings.Repeat("x,", 19) + `"…: 101 files, want at most 100`,
	} {
		if _, err := ParseSide(arg); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func FuzzParseSide(f *testing.F) {
	for _, seed := range []string{"", "=", ",", "a=b", "a=b,c", "out/x/results.json", "out/.json", "a=b=c", "\x00=\xff", "a\n=b", "é=/,/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		s, err := ParseSide(arg)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		if n := utf8.RuneCountInString(s.Label); n < 1 || n > maxLabel || s.Label != report.Printable(s.Label) {
			t.Errorf("label %q", s.Label)
		}
		if len(s.Files) < 1 || len(s.Files) > MaxFiles {
			t.Errorf("%d files", len(s.Files))
		}
		list := strings.Join(s.Files, ",")
		if list != arg && s.Label+"="+list != arg {
			t.Errorf("%q became %q and %q", arg, s.Label, s.Files)
		}
		for _, file := range s.Files {
			if file == "" {
				t.Errorf("an empty name in %q", s.Files)
			}
		}
	})
}

func TestSidesAreReadFromTheirFiles(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"a.json", "b.json", "c.json"} {
		path := filepath.Join(dir, name)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := results.Encode(file, record()); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	sides, err := Read([]string{"one=" + files[0] + "," + files[1], files[2]})
	if err != nil {
		t.Fatal(err)
	}
	if len(sides) != 2 || len(sides[0].Results) != 2 || sides[1].Label != "c" {
		t.Errorf("%+v", sides)
	}
	broken := filepath.Join(dir, "broken.json")
	if err := os.WriteFile(broken, []byte(`{"schemaVersion": 9}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"sides: 1 of them, want 2 to 20": {files[0]},
		`label "x": two sides have it, want LABEL=FILE with a label of its own for each`: {"x=" + files[0], "x=" + files[1]},
		broken + ": results: schemaVersion: 9, want 1":                                   {files[0], broken},
		"open " + filepath.Join(dir, "none.json") + ": no such file or directory":        {files[0], filepath.Join(dir, "none.json")},
	} {
		if _, err := Read(args); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
