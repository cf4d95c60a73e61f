package report

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// page is what the template shows.
type page struct {
	Title string
	// Results are what the scripts draw from.
	Results *results.Results
	Date    string
	Facts   []string
	Groups  []group
	Columns []column
	// Rows are the runs of the service under fault, Controls the others.
	Rows, Controls []row
	PhaseColumns   []phaseColumn
	Command        string
}

// group is a heading over columns that stand beside each other.
type group struct {
	Title string
	Span  int
}

// row is a run: a line of the scorecard, a heat map and a table of its phases.
type row struct {
	*results.Run
	// Index is the run's place in the results.
	Index   int
	Finding string
	Brief   []figure
	Cells   []cell
	Phases  []phaseRow
}

type cell struct {
	figure
	// Why is the reason of a figure that is missing.
	Why  string
	Lead bool
}

// Class is the cell's in the style sheet.
func (c cell) Class() string {
	var classes []string
	if c.Lead {
		classes = append(classes, "lead")
	}
	if c.Alarm {
		classes = append(classes, "alarm")
	}
	return strings.Join(classes, " ")
}

type phaseRow struct {
	results.ScenarioPhase
	Codes, FirstError string
	Cells             []cell
}

// Anchor is the run's place in the page. An overlay's name is no part of it: a
// control run has the same.
func (r row) Anchor() string { return fmt.Sprintf("run-%d", r.Index) }

func newPage(r *results.Results) *page {
	p := &page{
		Results:      r,
		Date:         r.StartedAt.UTC().Format("2 January 2006, 15:04 UTC"),
		Columns:      columns(r.Keyed()),
		PhaseColumns: phaseColumns(r.Keyed()),
		Facts:        facts(r),
		Command:      command(r),
	}
	for _, c := range p.Columns {
		if c.Lead {
			p.Groups = append(p.Groups, group{Title: c.Group})
		}
		p.Groups[len(p.Groups)-1].Span++
	}
	for i := range r.Runs {
		line := newRow(p, r, i)
		if line.Control {
			p.Controls = append(p.Controls, line)
		} else {
			p.Rows = append(p.Rows, line)
		}
	}
	p.Title = fmt.Sprintf("%s %s, one scenario: %s", inWords(len(p.Rows)), plural(len(p.Rows), "overlay"), r.Scenario.Name)
	return p
}

func newRow(p *page, r *results.Results, i int) row {
	run := &r.Runs[i]
	sum := run.Summary(&r.Scenario)
	line := row{Run: run, Index: i, Finding: finding(&sum), Brief: brief(&sum)}
	for _, c := range p.Columns {
		line.Cells = append(line.Cells, cell{c.figure(&sum), c.Missing, c.Lead})
	}
	for n := range run.Phases {
		phase := &run.Phases[n]
		detail := phaseRow{
			ScenarioPhase: r.Scenario.Phases[n],
			Codes:         codes(phase.ErrorsByCode),
			FirstError:    phase.FirstError,
		}
		for _, c := range p.PhaseColumns {
			detail.Cells = append(detail.Cells, cell{c.figure(phase), c.Missing, false})
		}
		line.Phases = append(line.Phases, detail)
	}
	return line
}

// facts say under which conditions the figures came about, each in a few words.
func facts(r *results.Results) []string {
	env := r.Environment
	facts := []string{fmt.Sprintf("%s environment, lab %s", env.Kind, env.Version)}
	if c := env.Cluster; c != nil {
		fact := fmt.Sprintf("Kubernetes %s, %d nodes", c.Version, len(c.Nodes))
		if c.ProxyMode != "" {
			fact += ", kube-proxy with " + c.ProxyMode
		}
		facts = append(facts, fact)
	}
	machine := fmt.Sprintf("%s/%s, %d %s, %s", env.OS, env.Arch, env.CPUs, plural(env.CPUs, "CPU"), env.GoVersion)
	if env.BusyFraction != nil {
		machine += ", " + percent(*env.BusyFraction) + " busy"
	}
	if env.StealFraction != nil {
		machine += ", " + percent(*env.StealFraction) + " taken by the hypervisor"
	}
	var load []string
	for _, service := range slices.Sorted(maps.Keys(r.Scenario.Load)) {
		load = append(load, fmt.Sprintf("%s %s RPC/s", service, Count(int64(r.Scenario.Load[service]))))
	}
	if len(load) > 0 {
		facts = append(facts, "load per overlay: "+strings.Join(load, ", "))
	}
	var keys []string
	for i := range r.Runs {
		if k := r.Runs[i].Keys; k != nil && !slices.Contains(keys, k.String()) {
			keys = append(keys, k.String())
		}
	}
	if len(keys) > 0 {
		facts = append(facts, "keys: "+strings.Join(keys, "; "))
	}
	var length float64
	for _, p := range r.Scenario.Phases {
		length += p.Seconds
	}
	phases := len(r.Scenario.Phases)
	facts = append(facts, fmt.Sprintf("%d %s, %s s", phases, plural(phases, "phase"), Count(int64(length))))
	return append(facts, "faults on "+r.Scenario.Service, machine)
}

// command runs the experiment again.
func command(r *results.Results) string {
	words := []string{"lab", "run", "--env", r.Environment.Kind, "--scenario", "tools/lab/scenarios/" + r.Scenario.Name + ".yaml"}
	seen := map[string]bool{}
	for i := range r.Runs {
		if overlay := r.Runs[i].Overlay; !seen[overlay] {
			seen[overlay] = true
			words = append(words, overlay)
		}
	}
	for i, word := range words {
		// Somebody will paste this into a shell, and the record may be a stranger's.
		if !plainWord.MatchString(word) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

func codes(byCode map[string]int64) string {
	var list []string
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		list = append(list, fmt.Sprintf("%s %s", code, Count(byCode[code])))
	}
	return strings.Join(list, ", ")
}
