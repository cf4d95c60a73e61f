package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/evenkeel/evenkeel/tools/lab/compare"
	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// tableWidth is that of the tables in documents, in columns.
const tableWidth = 100

// functions are what a template may say.
func (s sets) functions() template.FuncMap {
	return template.FuncMap{
		// table SET N is the table of the set's run number N, as the lab prints it.
		"table": s.table,
		// figure SET OVERLAY FIGURE is a figure that overlays are compared by, over the runs of a set: "0", or the lowest
		// and the highest, "0.02 to 0.05". FIGURE is the title that `lab compare` gives it.
		"figure": s.figure,
		// bars SET FIGURE LABEL=OVERLAY… is a bar chart of a figure, in Mermaid. With several runs it is the highest.
		"bars": s.bars,
		// grid SET OVERLAYS FIGURES is a table of overlays by figures, each a list with semicolons. The figure "failed" is what
		// the function of that name says; what a run has not is "–".
		"grid": s.grid,
		// phases SET OVERLAYS PHASES FIGURE is a table of overlays by phases.
		"phases": s.phases,
		// varied SET SETTING OVERLAYS VALUES FIGURE is a table of overlays by the values of a setting (lab run --vary).
		"varied": s.varied,
		// phase SET OVERLAY PHASE FIGURE is that of one phase.
		"phase": func(name, overlay, phase, title string) (string, error) {
			return s.phase(name, overlay, false, phase, title)
		},
		// predicted SET OVERLAY PHASE FIGURE MOST is "up to MOST", and an error if it was more.
		"predicted": func(name, overlay, phase, title string, most int) (string, error) {
			return s.predicted(name, overlay, false, phase, title, most)
		},
		// controlPredicted is the same of the service that nothing was done to.
		"controlPredicted": func(name, overlay, phase, title string, most int) (string, error) {
			return s.predicted(name, overlay, true, phase, title, most)
		},
		// control SET OVERLAY PHASE FIGURE is that of the service that nothing was done to.
		"control": func(name, overlay, phase, title string) (string, error) {
			return s.phase(name, overlay, true, phase, title)
		},
		// failed SET OVERLAY is how many RPCs of how many failed in all runs together: "0 of 378,090".
		"failed": s.failed,
		// runs SET is how many there are, runs SET OVERLAY how many of that overlay.
		"runs": s.runs,
		// bench SET BENCHMARK UNIT is the median of a benchmark's rounds.
		"bench": s.bench,
		// ratio SET BENCHMARK OTHER UNIT is the one's median over the other's.
		"ratio": s.ratio,
		// quote SET is what the run wrote.
		"quote": s.quote,
		// where SET is where, when and with what a set was measured.
		"where": s.where,
		// command SET is the command that repeats it.
		"command": func(name string) (string, error) {
			set, err := s.get(name)

			return set.Command, err
		},
		// list is a table of all sets.
		"list": s.list,
	}
}

func (s sets) table(name string, n int) (string, error) {
	set, err := s.get(name)
	if err != nil {
		return "", err
	}
	if n < 1 || n > len(set.Lab) {
		return "", fmt.Errorf("%s has the runs 1 to %d, and not %d", name, len(set.Lab), n)
	}
	var out strings.Builder
	if err := report.Table(&out, set.Lab[n-1], tableWidth); err != nil {
		return "", err
	}

	return "```\n" + strings.TrimRight(out.String(), "\n") + "\n```\n", nil
}

// run is one of an overlay, with its scenario.
type run struct {
	*results.Run

	scenario *results.Scenario
}

// of are the runs of an overlay's measured service, or of the control.
func (s sets) of(name, overlay string, control bool) ([]run, error) {
	set, err := s.get(name)
	if err != nil {
		return nil, err
	}
	var runs []run
	for _, r := range set.Lab {
		for i := range r.Runs {
			if r.Runs[i].Overlay == overlay && r.Runs[i].Control == control {
				runs = append(runs, run{&r.Runs[i], &r.Scenario})
			}
		}
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("%s has no overlay %q", name, overlay)
	}

	return runs, nil
}

func (s sets) runs(name string, overlay ...string) (int, error) {
	if len(overlay) == 0 {
		set, err := s.get(name)

		return len(set.commands()), err
	}
	runs, err := s.of(name, overlay[0], false)

	return len(runs), err
}

func (s sets) figure(name, overlay, title string) (string, error) {
	summaries, err := s.summaries(name, overlay)
	if err != nil {
		return "", err
	}

	return span(compare.Figures, title, summaries)
}

func (s sets) summaries(name, overlay string) ([]*results.Summary, error) {
	runs, err := s.of(name, overlay, false)
	if err != nil {
		return nil, err
	}
	summaries := make([]*results.Summary, len(runs))
	for i, run := range runs {
		summaries[i] = new(run.Summary(run.scenario))
	}

	return summaries, nil
}

func (s sets) phase(name, overlay string, control bool, phase, title string) (string, error) {
	phases, err := s.phasesOf(name, overlay, control, phase)
	if err != nil {
		return "", err
	}

	return span(compare.PhaseFigures, title, phases)
}

func (s sets) predicted(name, overlay string, control bool, phase, title string, most int) (string, error) {
	phases, err := s.phasesOf(name, overlay, control, phase)
	if err != nil {
		return "", err
	}
	values, text, err := sampleOf(compare.PhaseFigures, title, phases)
	if err != nil {
		return "", err
	}
	if worst := slices.Max(values); worst > float64(most) {
		return "", fmt.Errorf("%s, %s: %s is %s, and up to %d were predicted", overlay, phase, title, text(worst), most)
	}
	if most == 0 {
		return "0", nil
	}

	return "up to " + report.Count(int64(most)), nil
}

// phasesOf is one phase in each run of an overlay.
func (s sets) phasesOf(name, overlay string, control bool, phase string) ([]*results.Phase, error) {
	runs, err := s.of(name, overlay, control)
	if err != nil {
		return nil, err
	}
	phases := make([]*results.Phase, len(runs))
	for i, run := range runs {
		at := slices.IndexFunc(run.Phases, func(p results.Phase) bool { return p.Name == phase })
		if at < 0 {
			return nil, fmt.Errorf("%s has no phase %q", name, phase)
		}
		phases[i] = &run.Phases[at]
	}

	return phases, nil
}

// span is a figure over some runs.
func span[T any](figures []compare.Figure[T], title string, runs []*T) (string, error) {
	values, text, err := sampleOf(figures, title, runs)
	if err != nil {
		return "", err
	}
	low, high := text(slices.Min(values)), text(slices.Max(values))
	if low == high {
		return low, nil
	}

	return low + " to " + high, nil
}

// errLacks says that a run has not got a figure, such as how soon a pod was reached that never was.
var errLacks = errors.New("have no")

// sampleOf is what runs have as a figure, and how that is written.
func sampleOf[T any](figures []compare.Figure[T], title string, runs []*T) (values []float64, text func(float64) string, err error) {
	at := slices.IndexFunc(figures, func(f compare.Figure[T]) bool { return f.Title == title })
	if at < 0 {
		var titles []string
		for _, f := range figures {
			titles = append(titles, fmt.Sprintf("%q", f.Title))
		}

		return nil, nil, fmt.Errorf("there is no figure %q: give %s", title, strings.Join(titles, ", "))
	}
	sample := figures[at].Sample(runs)
	if len(sample.Values) != len(runs) {
		return nil, nil, fmt.Errorf("%d of %d runs: %w %s", len(runs)-len(sample.Values), len(runs), errLacks, title)
	}

	return sample.Values, figures[at].Text, nil
}

func (s sets) failed(name, overlay string) (string, error) {
	runs, err := s.of(name, overlay, false)
	if err != nil {
		return "", err
	}
	var failed, rpcs int64
	for _, run := range runs {
		sum := run.Summary(run.scenario)
		failed += sum.Failed
		rpcs += sum.RPCs
	}

	return fmt.Sprintf("%s of %s", report.Count(failed), report.Count(rpcs)), nil
}

func (s sets) quote(name string) (string, error) {
	set, err := s.get(name)
	if err == nil && len(set.Text) == 0 {
		err = fmt.Errorf("%s has nothing to quote, but %s", name, set.Output)
	}
	if err != nil {
		return "", err
	}

	return set.Text[0].content, nil
}
