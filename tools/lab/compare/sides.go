package compare

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// Side is one experiment: its results files are repeats.
type Side struct {
	Label string `json:"label"`
	// Files are the names that the runs were read from, Results what they hold.
	Files   []string `json:"files"`
	Results []Record `json:"-"`
}

// Record is one results file.
type Record struct{ *results.Results }

// MaxSides and MaxFiles bound a comparison, which nobody could read otherwise.
const (
	MaxSides = 20
	MaxFiles = 100
	maxLabel = 40
)

// ParseSide reads LABEL=FILE[,FILE…], or FILE[,FILE…] with the label of the first file's
// folder. A name with "=" or "," in it cannot be given.
func ParseSide(arg string) (Side, error) {
	label, list, labelled := strings.Cut(arg, "=")
	if !labelled {
		list = arg
	}
	s := Side{Files: strings.Split(list, ",")}
	switch {
	case labelled && label == "":
		return Side{}, fmt.Errorf("%q: the label is empty, want LABEL=FILE[,FILE…]", arg)
	case strings.Contains(list, "="):
		return Side{}, fmt.Errorf("%q: two equals signs, want LABEL=FILE[,FILE…]", arg)
	case len(s.Files) > MaxFiles:
		return Side{}, fmt.Errorf("%.40q…: %d files, want at most %d", arg, len(s.Files), MaxFiles)
	}
	for i, file := range s.Files {
		if file == "" {
			return Side{}, fmt.Errorf("%q: the name of a file is empty, want LABEL=FILE[,FILE…]", arg)
		}
		// The same run twice would pass for a spread of none.
		if slices.ContainsFunc(s.Files[:i], func(f string) bool { return filepath.Clean(f) == filepath.Clean(file) }) {
			return Side{}, fmt.Errorf("%q: %q is given twice: repeats are runs of their own", arg, file)
		}
	}
	if !labelled {
		label = labelOf(s.Files[0])
	}
	if n := utf8.RuneCountInString(label); n < 1 || n > maxLabel || label != report.Printable(label) {
		return Side{}, fmt.Errorf("label %q: want 1 to %d printable characters", label, maxLabel)
	}
	s.Label = label
	return s, nil
}

// labelOf is the folder of a results.json, and the name of any other file: of
// out/before/results.json it is before, of before.json too.
func labelOf(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), ".json")
	if dir := filepath.Base(filepath.Dir(file)); name == "results" && dir != "." && dir != "/" && dir != ".." {
		return dir
	}
	return name
}

// Read reads sides from arguments (see ParseSide) with their files. Labels differ.
func Read(args []string) ([]Side, error) {
	if len(args) < 2 || len(args) > MaxSides {
		return nil, fmt.Errorf("sides: %d of them, want 2 to %d", len(args), MaxSides)
	}
	var sides []Side
	for _, arg := range args {
		s, err := ParseSide(arg)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(sides, func(other Side) bool { return other.Label == s.Label }) {
			return nil, fmt.Errorf("label %q: two sides have it, want LABEL=FILE with a label of its own for each", s.Label)
		}
		for _, name := range s.Files {
			r, err := results.Read(name)
			if err != nil {
				return nil, err
			}
			s.Results = append(s.Results, Record{r})
		}
		sides = append(sides, s)
	}
	return sides, nil
}

// Check says where the files of a side are not repeats of one experiment.
func (s *Side) Check() error {
	if len(s.Results) == 0 || len(s.Files) != len(s.Results) {
		return fmt.Errorf("compare: side %q has %d results of %d files", s.Label, len(s.Results), len(s.Files))
	}
	first := s.Results[0]
	for i, r := range s.Results[1:] {
		differ := scenarioDiffers(first, r)
		for _, run := range first.all() {
			other := r.run(run)
			if other == nil {
				differ = append(differ, nameOf(run)+" is only in the first")
				continue
			}
			for _, what := range strategyDiffers(run, other) {
				differ = append(differ, nameOf(run)+": "+what)
			}
		}
		for _, run := range r.all() {
			if first.run(run) == nil {
				differ = append(differ, nameOf(run)+" is only in the second")
			}
		}
		if len(differ) > 0 {
			return fmt.Errorf("side %q: %s and %s are no repeats of one experiment: %s", s.Label, s.Files[0], s.Files[i+1], differ[0])
		}
	}
	return nil
}

// runs are those of the first file; the others have the same.
func (s *Side) runs() []*results.Run { return s.Results[0].all() }

func (r Record) all() []*results.Run {
	var all []*results.Run
	for i := range r.Runs {
		all = append(all, &r.Runs[i])
	}
	return all
}

// run finds the run of the same overlay and service, or nil.
func (r Record) run(like *results.Run) *results.Run {
	for _, run := range r.all() {
		if run.Overlay == like.Overlay && run.Service == like.Service {
			return run
		}
	}
	return nil
}

// phase finds in the same run the phase that is like the nth of a script, or nil. Of several
// phases with one name it is the one that comes as late among them.
func (r Record) phase(like *results.Run, script *results.Scenario, n int) *results.Phase {
	run := r.run(like)
	if run == nil {
		return nil
	}
	before := 0
	for _, p := range script.Phases[:n] {
		if p.Name == script.Phases[n].Name {
			before++
		}
	}
	for i := range run.Phases {
		switch {
		case run.Phases[i].Name != script.Phases[n].Name:
		case before > 0:
			before--
		default:
			return &run.Phases[i]
		}
	}
	return nil
}

func nameOf(run *results.Run) string { return run.Overlay + " (" + run.Service + ")" }
