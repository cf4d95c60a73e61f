package main

import (
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
		// phase SET OVERLAY PHASE FIGURE is that of one phase.
		"phase": func(name, overlay, phase, title string) (string, error) {
			return s.phase(name, overlay, false, phase, title)
		},
		// control SET OVERLAY PHASE FIGURE is that of the service that nothing was done to.
		"control": func(name, overlay, phase, title string) (string, error) {
			return s.phase(name, overlay, true, phase, title)
		},
		// failed SET OVERLAY is how many RPCs of how many failed in all runs together: "0 of 378,090".
		"failed": s.failed,
		// runs SET is how many there are.
		"runs": func(name string) (int, error) {
			set, err := s.get(name)

			return len(set.Runs), err
		},
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
	if n < 1 || n > len(set.Runs) {
		return "", fmt.Errorf("%s has the runs 1 to %d, and not %d", name, len(set.Runs), n)
	}
	var out strings.Builder
	if err := report.Table(&out, set.Runs[n-1], tableWidth); err != nil {
		return "", err
	}

	return "```\n" + strings.TrimRight(out.String(), "\n") + "\n```\n", nil
}

// of are the runs of an overlay's measured service, or of the control, one for each repeat.
func (s sets) of(name, overlay string, control bool) (set, []*results.Run, error) {
	set, err := s.get(name)
	if err != nil {
		return set, nil, err
	}
	var runs []*results.Run
	for _, r := range set.Runs {
		i := slices.IndexFunc(r.Runs, func(run results.Run) bool { return run.Overlay == overlay && run.Control == control })
		if i < 0 {
			return set, nil, fmt.Errorf("%s has no overlay %q", name, overlay)
		}
		runs = append(runs, &r.Runs[i])
	}

	return set, runs, nil
}

func (s sets) figure(name, overlay, title string) (string, error) {
	set, runs, err := s.of(name, overlay, false)
	if err != nil {
		return "", err
	}
	summaries := make([]*results.Summary, len(runs))
	for i, run := range runs {
		summaries[i] = new(run.Summary(&set.Runs[i].Scenario))
	}

	return span(compare.Figures, title, summaries)
}

func (s sets) phase(name, overlay string, control bool, phase, title string) (string, error) {
	_, runs, err := s.of(name, overlay, control)
	if err != nil {
		return "", err
	}
	phases := make([]*results.Phase, len(runs))
	for i, run := range runs {
		at := slices.IndexFunc(run.Phases, func(p results.Phase) bool { return p.Name == phase })
		if at < 0 {
			return "", fmt.Errorf("%s has no phase %q", name, phase)
		}
		phases[i] = &run.Phases[at]
	}

	return span(compare.PhaseFigures, title, phases)
}

// span is a figure over some runs.
func span[T any](figures []compare.Figure[T], title string, runs []*T) (string, error) {
	at := slices.IndexFunc(figures, func(f compare.Figure[T]) bool { return f.Title == title })
	if at < 0 {
		var titles []string
		for _, f := range figures {
			titles = append(titles, fmt.Sprintf("%q", f.Title))
		}

		return "", fmt.Errorf("there is no figure %q: give %s", title, strings.Join(titles, ", "))
	}
	f := figures[at]
	sample := f.Sample(runs)
	if len(sample.Values) != len(runs) {
		return "", fmt.Errorf("%d of %d runs have no %s", len(runs)-len(sample.Values), len(runs), title)
	}
	low, high := f.Text(slices.Min(sample.Values)), f.Text(slices.Max(sample.Values))
	if low == high {
		return low, nil
	}

	return low + " to " + high, nil
}

func (s sets) failed(name, overlay string) (string, error) {
	set, runs, err := s.of(name, overlay, false)
	if err != nil {
		return "", err
	}
	var failed, rpcs int64
	for i, run := range runs {
		sum := run.Summary(&set.Runs[i].Scenario)
		failed += sum.Failed
		rpcs += sum.RPCs
	}

	return fmt.Sprintf("%s of %s", report.Count(failed), report.Count(rpcs)), nil
}

func (s sets) where(name string) (string, error) {
	set, err := s.get(name)
	if err != nil {
		return "", err
	}
	r := set.Runs[0]
	e := r.Environment
	words := []string{r.StartedAt.UTC().Format("2006-01-02")}
	if c := e.Cluster; c != nil {
		words = append(words, fmt.Sprintf("Kubernetes %s, %d nodes", c.Version, len(c.Nodes)))
		if c.ProxyMode != "" {
			words = append(words, "kube-proxy with "+c.ProxyMode)
		}
	} else {
		words = append(words, "local lab")
	}
	words = append(words, fmt.Sprintf("%d CPUs, %s/%s", e.CPUs, e.OS, e.Arch))
	if busy := busyOf(set); busy != "" {
		words = append(words, busy)
	}

	return strings.Join(words, ", "), nil
}

// busyOf says how busy the machine was in the runs of a set.
func busyOf(s set) string {
	var busy []float64
	for _, r := range s.Runs {
		if r.Environment.BusyFraction == nil {
			return ""
		}
		busy = append(busy, 100**r.Environment.BusyFraction)
	}
	low, high := fmt.Sprintf("%.0f", slices.Min(busy)), fmt.Sprintf("%.0f", slices.Max(busy))
	if low == high {
		return low + " % busy"
	}

	return low + " to " + high + " % busy"
}

func (s sets) list() (string, error) {
	var out strings.Builder
	out.WriteString("| set | what it is | runs | measured |\n| --- | --- | --- | --- |\n")
	for _, set := range s {
		where, err := s.where(set.Name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "| [%s](%s) | %s | %d | %s |\n", set.Name, set.Name, set.About, len(set.Runs), where)
	}

	return out.String(), nil
}
