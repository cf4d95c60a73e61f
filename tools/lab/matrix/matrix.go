// Package matrix runs overlays x scenarios x repeats and writes one page about them.
//
// All overlays of one scenario run at once, in one run, so that they meet the same
// machine. The repeats are the outermost loop: what changes over hours (a busier
// machine) then meets every scenario, and whoever interrupts a matrix has some of each.
//
// In the folder of a matrix, SCENARIO/N/ has the results.json and the report.html of
// the Nth repeat; index.html and matrix.json stand beside them and are written after
// every run. A run that fails is recorded with its error, and the others go on.
//
// In the page, overlays are told apart by the rule of package compare: one that is
// not marked as behind the best may be as good, for all that the runs can tell.
package matrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/compare"
	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// Runner runs one experiment: the overlays at once under a scenario, a file. It may
// write what it likes into the folder out, such as logs; results.json and report.html
// there are the matrix's to write.
type Runner func(ctx context.Context, scenario string, overlays []string, out string) (*results.Results, error)

// Scenario is one of a matrix.
type Scenario struct {
	// Name is the name of its folder, Path the file.
	Name, Path string
	// Length is how long its phases take together, by which the time left is guessed.
	Length time.Duration
}

// Matrix is what to run.
type Matrix struct {
	Overlays  []string
	Scenarios []Scenario
	Repeats   int
	// Out is the folder that it is written to.
	Out string
	// Resume skips the runs whose results are in Out.
	Resume bool

	Run Runner
	// Say is told what happens, in lines.
	Say func(string)
	// Now is the clock; nil for the real one.
	Now func() time.Time
}

// MaxRepeats bounds a matrix: a slip of a finger is not to take a month.
const MaxRepeats = 100

var folderName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (m *Matrix) validate() error {
	switch {
	case len(m.Overlays) == 0:
		return errors.New("overlays: none, want 1 or more")
	case len(m.Scenarios) == 0:
		return errors.New("scenarios: none, want 1 or more")
	case m.Repeats < 1 || m.Repeats > MaxRepeats:
		return fmt.Errorf("repeats: %d, want 1 to %d", m.Repeats, MaxRepeats)
	}
	for i, o := range m.Overlays {
		// In the results an overlay has the name of its folder.
		if slices.ContainsFunc(m.Overlays[:i], func(other string) bool { return filepath.Base(other) == filepath.Base(o) }) {
			return fmt.Errorf("overlay %s: given twice, or two folders have that name", o)
		}
	}
	for i, s := range m.Scenarios {
		if !folderName.MatchString(s.Name) {
			return fmt.Errorf("scenario %q: its file's name is to be a folder: want letters, digits, '.', '-' and '_'", s.Name)
		}
		if slices.ContainsFunc(m.Scenarios[:i], func(t Scenario) bool { return t.Name == s.Name }) {
			return fmt.Errorf("scenario %s: given twice, or two files have that name", s.Name)
		}
	}
	return nil
}

// Execute runs what there is to run and returns the record. It fails when the matrix is
// wrong (UsageError), when a run has failed (the record has the errors, and Say was told),
// and with the context's error. The record is nil if nothing was begun, and else written.
func (m *Matrix) Execute(ctx context.Context) (*Record, error) {
	if err := m.validate(); err != nil {
		return nil, UsageError{err}
	}
	rec, err := m.begin()
	if err != nil {
		return nil, err
	}
	if err := rec.write(m.Out); err != nil {
		return rec, err
	}
	left := newForecast(m, rec)
	failed := 0
	for i := range rec.Runs {
		run := &rec.Runs[i]
		where := fmt.Sprintf("%d of %d: %s, repeat %d", i+1, len(rec.Runs), run.Scenario, run.Repeat)
		if run.State == Finished {
			m.Say(where + ": is there already")
			continue
		}
		m.Say(where + left.words())
		began := m.now()
		err := m.one(ctx, rec, run)
		if ctx.Err() != nil {
			// Whatever the runner made of being interrupted, this run has not failed.
			run.State, run.Error = Waiting, ""
			return rec, errors.Join(ctx.Err(), rec.write(m.Out))
		}
		run.Seconds = m.now().Sub(began).Seconds()
		left.ran(run)
		if err != nil {
			run.State, run.Error = Failed, err.Error()
			m.Say(where + " failed: " + err.Error())
			failed++
		}
		if err := rec.write(m.Out); err != nil {
			return rec, err
		}
	}
	if failed > 0 {
		return rec, fmt.Errorf("%d of %d runs failed: %s says why", failed, len(rec.Runs), filepath.Join(m.Out, "index.html"))
	}
	return rec, nil
}

// UsageError is an error in what the matrix was given.
type UsageError struct{ error }

func (e UsageError) Unwrap() error { return e.error }

// one does a run, and writes its files when it has succeeded.
func (m *Matrix) one(ctx context.Context, rec *Record, run *Run) error {
	dir := filepath.Join(m.Out, filepath.FromSlash(run.Folder))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	at := slices.IndexFunc(m.Scenarios, func(s Scenario) bool { return s.Name == run.Scenario })
	r, err := m.Run(ctx, m.Scenarios[at].Path, m.Overlays, dir)
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("the run gave no results")
	}
	if !holds(r, m.Overlays) {
		return errors.New("the results are not of the overlays that were to run")
	}
	// A scenario that somebody edits in between is another one.
	if err := rec.repeats(run.Scenario, Run{Folder: run.Folder, results: r}); err != nil {
		return err
	}
	// The page comes first: a run counts as finished once its results.json is there.
	if err := replace(filepath.Join(dir, "report.html"), func(f *os.File) error { return report.HTML(f, r) }); err != nil {
		return err
	}
	if err := replace(filepath.Join(dir, "results.json"), func(f *os.File) error { return results.Encode(f, r) }); err != nil {
		return err
	}
	run.State, run.Error, run.results = Finished, "", r
	return nil
}

// begin makes the record of a matrix, with what is there already if it is resumed.
func (m *Matrix) begin() (*Record, error) {
	rec := &Record{StartedAt: m.now().UTC(), Repeats: m.Repeats, Rule: compare.Rule}
	for _, o := range m.Overlays {
		rec.Overlays = append(rec.Overlays, filepath.Base(o))
	}
	for _, s := range m.Scenarios {
		rec.Scenarios = append(rec.Scenarios, s.Name)
	}
	for repeat := 1; repeat <= m.Repeats; repeat++ {
		for _, s := range m.Scenarios {
			run := Run{Scenario: s.Name, Repeat: repeat, Folder: s.Name + "/" + strconv.Itoa(repeat), State: Waiting}
			if err := m.find(&run); err != nil {
				return nil, err
			}
			rec.Runs = append(rec.Runs, run)
		}
	}
	for _, s := range m.Scenarios {
		if err := rec.repeats(s.Name); err != nil {
			return nil, UsageError{err}
		}
	}
	return rec, nil
}

// find fills in a run that is there already. Hours of somebody's runs are not written over
// unless that was asked for.
func (m *Matrix) find(run *Run) error {
	path := filepath.Join(m.Out, filepath.FromSlash(run.Folder), "results.json")
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	if !m.Resume {
		return UsageError{fmt.Errorf("%s is there already: give --resume to keep it and run what is missing, or another folder", path)}
	}
	r, err := results.Decode(file)
	switch {
	case err != nil:
		m.Say(fmt.Sprintf("%s cannot be read and is run again: %v", path, err))
		return nil
	case !holds(r, m.Overlays):
		return UsageError{fmt.Errorf("%s is of other overlays: give those, or another folder", path)}
	}
	run.State, run.results = Finished, r
	return nil
}

// holds says whether results are of these overlays and no other.
func holds(r *results.Results, overlays []string) bool {
	has := map[string]bool{}
	for i := range r.Runs {
		has[r.Runs[i].Overlay] = true
	}
	return len(has) == len(overlays) && !slices.ContainsFunc(overlays, func(o string) bool { return !has[filepath.Base(o)] })
}

func (m *Matrix) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// replace writes a file so that it is whole or not there at all.
func replace(path string, fill func(*os.File) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	err = errors.Join(fill(file), file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
