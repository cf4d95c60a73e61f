package compare

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// The records here are made by hand; they claim nothing about any strategy.

var began = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// record is two overlays and their controls under two phases, changed as the functions say.
func record(changes ...func(*results.Results)) *results.Results {
	phases := []results.ScenarioPhase{
		{Name: "steady", Graceful: true, StartedAt: began, Seconds: 6},
		{Name: "kill", Action: "SIGKILL 1 pod", StartedAt: began.Add(6 * time.Second), Seconds: 6},
	}
	r := &results.Results{
		SchemaVersion: results.SchemaVersion, StartedAt: began,
		Environment: results.Environment{
			Kind: "local", Version: "v0.1.0", GoVersion: "go1.26.8", OS: "linux", Arch: "amd64", CPUs: 2, BusyFraction: new(0.6),
		},
		Scenario: results.Scenario{Name: "short", Service: "rng", Load: map[string]float64{"rng": 120, "geoip": 20}, Phases: phases},
	}
	for _, service := range []string{"rng", "geoip"} {
		for _, overlay := range []string{"clusterip", "endpointslice"} {
			run := results.Run{Overlay: overlay, Service: service, Control: service == "geoip", Target: "dns:///" + service}
			for _, p := range phases {
				run.Phases = append(run.Phases, results.Phase{
					Name: p.Name, StartedAt: p.StartedAt, Seconds: p.Seconds, RPCs: 720,
					MaxOverMean: new(1.0), Jain: new(1.0), Connections: new(int64(3)),
					LatencyMs: results.Latency{P50: new(0.5), P99: new(3.0)},
					Cost:      results.Cost{DNSQueries: new(int64(2))},
				})
			}
			run.Timeline = results.Timeline{StartedAt: began, BinSeconds: 1}
			r.Runs = append(r.Runs, run)
		}
	}
	for _, change := range changes {
		change(r)
	}
	return r
}

// at changes the nth phase of an overlay's service.
func at(overlay, service string, n int, change func(*results.Phase)) func(*results.Results) {
	return func(r *results.Results) {
		for i := range r.Runs {
			if run := &r.Runs[i]; run.Overlay == overlay && run.Service == service {
				change(&run.Phases[n])
			}
		}
	}
}

func p99(overlay, service string, ms float64) func(*results.Results) {
	return at(overlay, service, 0, func(p *results.Phase) { p.LatencyMs.P99 = &ms })
}

func failed(overlay string, phase int, n int64) func(*results.Results) {
	return at(overlay, "rng", phase, func(p *results.Phase) { p.Failed = n })
}

// side is one of these runs.
func side(label string, runs ...*results.Results) Side {
	s := Side{Label: label}
	for i, r := range runs {
		s.Files = append(s.Files, fmt.Sprintf("out/%s/%d/results.json", label, i+1))
		s.Results = append(s.Results, Record{r})
	}
	return s
}

// p99s are runs with these p99 of endpointslice in the first phase.
func p99s(label string, list ...float64) Side {
	var runs []*results.Results
	for _, ms := range list {
		runs = append(runs, record(p99("endpointslice", "rng", ms)))
	}
	return side(label, runs...)
}

func compared(t *testing.T, phases bool, sides ...Side) *Comparison {
	t.Helper()
	for _, s := range sides {
		for _, r := range s.Results {
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := Compare(sides, phases)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cell is that of a figure on the last side.
func cell(t *testing.T, c *Comparison, overlay, service, title string) Cell {
	t.Helper()
	for _, g := range c.Groups {
		for _, row := range g.Rows {
			if g.Overlay == overlay && g.Service == service && row.Title == title {
				return row.Cells[len(row.Cells)-1]
			}
		}
	}
	t.Fatalf("no %s of %s, %s", title, overlay, service)
	return Cell{}
}

// calledOut counts the cells with a verdict that differs, or a hint.
func calledOut(c *Comparison) (n int) {
	count := func(rows []Row) {
		for _, row := range rows {
			for _, cell := range row.Cells {
				if cell.Verdict.Differs() || cell.Hint {
					n++
				}
			}
		}
	}
	for _, g := range c.Groups {
		count(g.Rows)
		for _, p := range g.Phases {
			count(p.Rows)
		}
	}
	return n
}

// day is the report's sample: eight overlays, with keys, new pods and kills.
func day(t *testing.T) *results.Results {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "report", "testdata", "day.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := results.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
