package compare

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/tools/lab/report"
	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// environment lists what is not the same of where the sides ran, whatever fields it has, by
// their names in results.json. How busy the machine was is never the same: such a
// fraction is listed where the sides' medians differ by a tenth of all processors' time.
func environment(sides []Side) []Difference {
	var names []string
	fields := make([][]map[string]any, len(sides))
	for i, s := range sides {
		for _, r := range s.Results {
			f := flat(r.Environment)
			fields[i] = append(fields[i], f)
			names = slices.AppendSeq(names, maps.Keys(f))
		}
	}
	slices.Sort(names)
	list := []Difference{}
	for _, name := range slices.Compact(names) {
		d := Difference{Name: name}
		var medians []float64
		for _, runs := range fields {
			var texts []string
			var fractions []*float64
			for _, f := range runs {
				if v, ok := f[name].(float64); ok {
					fractions = append(fractions, &v)
				}
				if text := value(f[name]); !slices.Contains(texts, text) {
					texts = append(texts, text)
				}
			}
			if median := NewSample(fractions).Median; median != nil && strings.HasSuffix(name, "Fraction") {
				texts = []string{percent(*median)}
				medians = append(medians, *median)
			}
			d.Values = append(d.Values, strings.Join(texts, ", "))
		}
		alike := !slices.ContainsFunc(d.Values, func(v string) bool { return v != d.Values[0] })
		if len(medians) == len(sides) {
			alike = slices.Max(medians)-slices.Min(medians) < 0.1
		}
		if !alike {
			list = append(list, d)
		}
	}
	return list
}

// flat is the environment as JSON has it, with the names of nested fields joined by dots.
func flat(e results.Environment) map[string]any {
	fields := map[string]any{}
	text, err := json.Marshal(e)
	if err != nil {
		return fields // it was decoded from JSON
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return fields // likewise
	}
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for name, v := range tree {
			if branch, ok := v.(map[string]any); ok {
				walk(prefix+name+".", branch)
			} else {
				fields[prefix+name] = v
			}
		}
	}
	walk("", tree)
	return fields
}

// value writes one in a line.
func value(v any) string {
	var parts []string
	switch v := v.(type) {
	case nil:
		return none
	case []any:
		for _, one := range v {
			parts = append(parts, value(one))
		}
		return strings.Join(parts, "; ")
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+" "+value(v[name]))
		}
		return strings.Join(parts, ", ")
	default:
		return cmp.Or(strings.Join(strings.Fields(fmt.Sprint(v)), " "), none)
	}
}

// mismatches say in which way the experiments of the sides were not the same; what is so of
// several runs is said once.
func mismatches(sides []Side) []string {
	said := []string{}
	names := map[string][]string{}
	note := func(what string, of ...string) {
		if !slices.Contains(said, what) {
			said = append(said, what)
		}
		names[what] = append(names[what], of...)
	}
	first := &sides[0]
	for i := range sides[1:] {
		other := &sides[i+1]
		between := first.Label + ", " + other.Label + ": "
		for _, what := range scenarioDiffers(first.Results[0], other.Results[0]) {
			note(between + what)
		}
		for _, run := range first.runs() {
			like := other.Results[0].run(run)
			if like == nil {
				note(fmt.Sprintf("in %s, not in %s", first.Label, other.Label), nameOf(run))
				continue
			}
			for _, what := range strategyDiffers(run, like) {
				note(between+what, nameOf(run))
			}
		}
		for _, run := range other.runs() {
			if first.Results[0].run(run) == nil {
				note(fmt.Sprintf("in %s, not in %s", other.Label, first.Label), nameOf(run))
			}
		}
	}
	for i, what := range said {
		if of := names[what]; len(of) > 0 {
			said[i] += ": " + strings.Join(of, ", ")
		}
	}
	return said
}

// scenarioDiffers says where two records are not of the same scenario.
func scenarioDiffers(a, b Record) []string {
	var said []string
	s, t := &a.Scenario, &b.Scenario
	if s.Name != t.Name {
		said = append(said, fmt.Sprintf("scenario %s against %s", s.Name, t.Name))
	}
	if s.Service != t.Service {
		said = append(said, fmt.Sprintf("faults done to %s against %s", s.Service, t.Service))
	}
	services := slices.Collect(maps.Keys(s.Load))
	services = slices.AppendSeq(services, maps.Keys(t.Load))
	slices.Sort(services)
	for _, service := range slices.Compact(services) {
		if s.Load[service] != t.Load[service] {
			said = append(said, fmt.Sprintf("load of %s %s against %s RPC/s", service, report.Number(s.Load[service]), report.Number(t.Load[service])))
		}
	}
	if x, y := phases(s), phases(t); !slices.Equal(x, y) {
		said = append(said, fmt.Sprintf("phases [%s] against [%s]", strings.Join(x, "; "), strings.Join(y, "; ")))
	}
	return said
}

// phases are the steps of a script. Their seconds are whole, as somebody chose them.
func phases(s *results.Scenario) []string {
	var list []string
	for _, p := range s.Phases {
		name := p.Name
		if p.Action != "" {
			name += ": " + p.Action
		}
		list = append(list, fmt.Sprintf("%s %.0f s", name, p.Seconds))
	}
	return list
}

// strategyDiffers says where two runs of an overlay and a service are not of the same strategy.
func strategyDiffers(a, b *results.Run) []string {
	var said []string
	add := func(what, x, y string) {
		if x != y {
			said = append(said, fmt.Sprintf("%s %s against %s", what, orNone(x), orNone(y)))
		}
	}
	add("target", a.Target, b.Target)
	add("service config", a.ServiceConfig, b.ServiceConfig)
	add("keys", keys(a), keys(b))
	if a.Control != b.Control {
		said = append(said, "control in one only")
	}
	return said
}

func keys(run *results.Run) string {
	if run.Keys == nil {
		return ""
	}
	return run.Keys.String()
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// none stands for what is not there.
const none = "–"
